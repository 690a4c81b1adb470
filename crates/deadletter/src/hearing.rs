//! Since when the store hears this worker without a break.
//!
//! A store that was away, a line that was cut, a machine that slept: all workers were silent then, and
//! whoever comes back first must not take the others for dead. Who has not been heard for as long as
//! makes a silence cannot tell who was silent.

use crate::heartbeat::BEAT;
use deadletter_core::UnixMs;
use deadletter_store::{Clock, SILENT_MS};
use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};
use tokio::time::Instant;

/// Between two beats. Another worker was silent for one beat more at the most, and for the moment
/// until it tries again: together still less than makes a silence.
const BREAK_MS: f64 = 1.5 * BEAT.as_millis() as f64;
/// Nobody is silent for so long: 35,000 years.
const FOR_EVER_MS: i64 = 1 << 50;

/// What this worker's own beats tell of the store.
#[derive(Default)]
pub(crate) struct Hearing {
    /// Guards when the beats without a break began, and the last of them.
    beats: Mutex<Option<Beats>>,
}

#[derive(Clone, Copy)]
struct Beats {
    since: Instant,
    last_at: UnixMs,
}

impl Hearing {
    /// The store has taken a beat.
    pub(crate) fn is_heard(&self, clock: &dyn Clock) {
        let now = clock.now();
        let longest_ms = (BREAK_MS * clock.speed()) as i64;
        let mut beats = self.beats.lock().unwrap_or_else(PoisonError::into_inner);
        let unbroken = beats.filter(|beats| now.since(beats.last_at) <= longest_ms);
        let since = unbroken.map_or_else(Instant::now, |beats| beats.since);
        *beats = Some(Beats { since, last_at: now });
    }

    /// How long a worker is silent that is dead, by the store's clock: for ever, where this one cannot
    /// tell.
    pub(crate) fn silent_ms(&self, clock: &dyn Clock) -> i64 {
        let beats = *self.beats.lock().unwrap_or_else(PoisonError::into_inner);
        let silence = Duration::from_secs_f64(SILENT_MS / 1_000.0);
        let can_tell = beats.is_some_and(|beats| beats.since.elapsed() >= silence);
        if can_tell { (SILENT_MS * clock.speed()) as i64 } else { FOR_EVER_MS }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use deadletter_store::ManualClock;

    async fn beats(hearing: &Hearing, clock: &ManualClock, n: u32) {
        for _ in 0..n {
            tokio::time::advance(BEAT).await;
            clock.advance(BEAT.as_millis() as i64);
            hearing.is_heard(clock);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_was_not_heard_for_a_while_takes_nobody_for_dead_until_all_could_be_heard() {
        let (hearing, clock) = (Hearing::default(), ManualClock::at(UnixMs(1)));
        assert_eq!(hearing.silent_ms(&clock), FOR_EVER_MS);
        beats(&hearing, &clock, 3).await;
        assert_eq!(hearing.silent_ms(&clock), FOR_EVER_MS, "it has just begun");
        beats(&hearing, &clock, 1).await;
        assert_eq!(hearing.silent_ms(&clock), 6_000);

        // A machine that sleeps stops its own clock, and not the store's.
        clock.advance(60_000);
        hearing.is_heard(&clock);
        assert_eq!(hearing.silent_ms(&clock), FOR_EVER_MS);
        beats(&hearing, &clock, 3).await;
        assert_eq!(hearing.silent_ms(&clock), 6_000);
    }
}
