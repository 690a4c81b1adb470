//! The virtual clock: real time multiplied by a speed, which can be frozen and pushed forward.
//!
//! Everything the simulator does by time (solve times, windows, bans, late answers) reads this
//! clock alone, so that a test moves it by hand and a demonstration runs it twenty times faster.

#![allow(clippy::disallowed_methods, reason = "the simulator's only look at the machine's clock")]

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::sync::watch;
use tokio::time::Instant;

/// A wait is cut into pieces of this length at most, so that a tiny speed cannot overflow a timer.
const LONGEST_NAP: Duration = Duration::from_secs(3600);

#[derive(Debug)]
pub(crate) struct Clock {
    /// Guards the last known pair of real and virtual time; held for arithmetic only.
    anchor: Mutex<Anchor>,
    /// Wakes sleepers when virtual time jumps or changes its pace.
    changed: watch::Sender<u64>,
}

#[derive(Debug)]
struct Anchor {
    real: Instant,
    virtual_ms: f64,
    speed: f64,
    /// False until the first request, when the scenario's clock waits for it.
    running: bool,
}

impl Anchor {
    fn now(&self, real: Instant) -> f64 {
        if !self.running {
            return self.virtual_ms;
        }
        let elapsed = real.saturating_duration_since(self.real);
        self.virtual_ms + elapsed.as_secs_f64() * 1000.0 * self.speed
    }
}

impl Clock {
    pub(crate) fn new(speed: f64, running: bool) -> Self {
        let anchor = Anchor { real: Instant::now(), virtual_ms: 0.0, speed, running };
        Self { anchor: Mutex::new(anchor), changed: watch::Sender::new(0) }
    }

    fn lock(&self) -> MutexGuard<'_, Anchor> {
        self.anchor.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Virtual milliseconds since the simulator's start (or since its first request).
    pub(crate) fn now_ms(&self) -> i64 {
        self.lock().now(Instant::now()) as i64
    }

    /// Real Unix milliseconds, for people who read the log beside another one.
    pub(crate) fn wall_ms() -> i64 {
        SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_millis() as i64)
    }

    pub(crate) fn speed(&self) -> f64 {
        self.lock().speed
    }

    /// Starts a clock that waits for the first request; later calls change nothing.
    pub(crate) fn release(&self) {
        let mut anchor = self.lock();
        if !anchor.running {
            anchor.real = Instant::now();
            anchor.running = true;
            drop(anchor);
            self.wake();
        }
    }

    pub(crate) fn set_speed(&self, speed: f64) {
        self.move_anchor(0.0, Some(speed));
    }

    pub(crate) fn advance_ms(&self, ms: u64) {
        self.move_anchor(ms as f64, None);
    }

    fn move_anchor(&self, jump_ms: f64, speed: Option<f64>) {
        let mut anchor = self.lock();
        let real = Instant::now();
        anchor.virtual_ms = anchor.now(real) + jump_ms;
        anchor.real = real;
        anchor.speed = speed.unwrap_or(anchor.speed);
        drop(anchor);
        self.wake();
    }

    fn wake(&self) {
        self.changed.send_modify(|n| *n = n.wrapping_add(1));
    }

    /// Waits until virtual time has reached `at_ms`, however it gets there.
    pub(crate) async fn sleep_until(&self, at_ms: i64) {
        let mut changed = self.changed.subscribe();
        loop {
            changed.borrow_and_update();
            let (left_ms, pace) = {
                let anchor = self.lock();
                let pace = if anchor.running { anchor.speed } else { 0.0 };
                (at_ms as f64 - anchor.now(Instant::now()), pace)
            };
            if left_ms <= 0.0 {
                return;
            }
            let nap_s = left_ms / 1000.0 / pace;
            let nap = Duration::try_from_secs_f64(nap_s).unwrap_or(LONGEST_NAP).min(LONGEST_NAP);
            // A millisecond more, because timers round and virtual time is truncated.
            let nap = nap + Duration::from_millis(1);
            tokio::select! {
                () = tokio::time::sleep(nap) => {}
                changed = changed.changed() => {
                    if changed.is_err() { return; }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frozen_clock_moves_only_by_hand() {
        let clock = Clock::new(0.0, true);
        assert_eq!(clock.now_ms(), 0);
        clock.advance_ms(1500);
        assert_eq!(clock.now_ms(), 1500);
    }

    #[test]
    fn a_waiting_clock_stands_until_it_is_released() {
        let clock = Clock::new(1_000_000.0, false);
        std::thread::yield_now();
        assert_eq!(clock.now_ms(), 0);
        clock.release();
        clock.set_speed(0.0);
        let stopped = clock.now_ms();
        assert_eq!(clock.now_ms(), stopped);
    }

    #[tokio::test]
    async fn a_sleeper_wakes_when_the_clock_is_pushed_past_its_instant() {
        let clock = std::sync::Arc::new(Clock::new(0.0, true));
        let sleeper = tokio::spawn({
            let clock = std::sync::Arc::clone(&clock);
            async move { clock.sleep_until(10_000).await }
        });
        clock.advance_ms(9_999);
        tokio::task::yield_now().await;
        assert!(!sleeper.is_finished());
        clock.advance_ms(1);
        sleeper.await.unwrap();
    }
}
