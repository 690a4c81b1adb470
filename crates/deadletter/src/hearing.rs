//! Since when the store hears this worker without a break, and who was silent meanwhile.
//!
//! A store that was away, a line that was cut, a machine that slept: all workers were silent then, and
//! whoever comes back first must not take the others for dead. So silence is told from beat to beat of
//! this worker, by the store's clock: what time has passed since its last one proves nothing, and
//! neither does a call that took long.

use crate::heartbeat::BEAT;
use deadletter_core::UnixMs;
use deadletter_store::SILENT_MS;
use std::sync::{Mutex, PoisonError};
use tokio::sync::Notify;

/// Between two beats. Another worker was silent for one beat more at the most, and for the moment
/// until it tries again: together still less than makes a silence.
const BREAK_MS: f64 = 1.5 * BEAT.as_millis() as f64;
/// Everybody has beaten since.
const NOBODY: UnixMs = UnixMs(0);

/// What this worker's own beats tell of the store.
#[derive(Default)]
pub(crate) struct Hearing {
    /// Guards the first and the last beat without a break between them, by the store's clock.
    beats: Mutex<Option<(UnixMs, UnixMs)>>,
    heard: Notify,
}

impl Hearing {
    /// The store has taken a beat at that instant of its clock, which runs so many times as fast as the
    /// wall's.
    pub(crate) fn is_heard(&self, at: UnixMs, speed: f64) {
        let longest_ms = (BREAK_MS * speed) as i64;
        let mut beats = self.beats.lock().unwrap_or_else(PoisonError::into_inner);
        let unbroken = beats.filter(|(_, last)| at.since(*last) <= longest_ms);
        *beats = Some((unbroken.map_or(at, |(first, _)| first), at));
        drop(beats);
        self.heard.notify_one();
    }

    /// Waits for the next beat that the store takes.
    pub(crate) async fn next(&self) {
        self.heard.notified().await;
    }

    /// Who beat last before that instant of the store's clock is dead: silent all the time in which this
    /// worker was heard.
    pub(crate) fn silent_before(&self, speed: f64) -> UnixMs {
        let silent_ms = (SILENT_MS * speed) as i64;
        let beats = *self.beats.lock().unwrap_or_else(PoisonError::into_inner);
        let heard = beats.filter(|(first, last)| last.since(*first) >= silent_ms);
        heard.map_or(NOBODY, |(_, last)| last.plus(-silent_ms))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn beats(hearing: &Hearing, seconds: &[i64]) {
        for second in seconds {
            hearing.is_heard(UnixMs(second * 1_000), 1.0);
        }
    }

    #[test]
    fn who_was_not_heard_for_a_while_takes_nobody_for_dead_until_all_could_be_heard() {
        let hearing = Hearing::default();
        assert_eq!(hearing.silent_before(1.0), NOBODY);
        beats(&hearing, &[10, 12, 14]);
        assert_eq!(hearing.silent_before(1.0), NOBODY, "it has just begun");
        beats(&hearing, &[16]);
        assert_eq!(hearing.silent_before(1.0), UnixMs(10_000));
        // The store was away, or the machine slept.
        beats(&hearing, &[60, 62, 64]);
        assert_eq!(hearing.silent_before(1.0), NOBODY);
        beats(&hearing, &[66, 68]);
        assert_eq!(hearing.silent_before(1.0), UnixMs(62_000));
    }

    #[test]
    fn a_store_that_is_away_after_the_last_beat_tells_of_nobody() {
        let hearing = Hearing::default();
        beats(&hearing, &[10, 12, 14, 16]);
        // However late it is by now: a worker that beat beside this one is not older than that.
        assert_eq!(hearing.silent_before(1.0), UnixMs(10_000));
    }
}
