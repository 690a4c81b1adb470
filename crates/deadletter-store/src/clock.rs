//! The one place that reads the machine's clocks; tests pass a clock of their own.

#![allow(clippy::disallowed_methods, reason = "the one place that asks the machine for the time")]

use deadletter_core::UnixMs;
use std::{
    sync::atomic::{AtomicI64, Ordering},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

/// A store's clock. Store time is the only time that leases, dues and deadlines know.
pub trait Clock: Send + Sync + 'static {
    /// The present instant.
    fn now(&self) -> UnixMs;

    /// How long a person waits while `ms` pass on this clock; shorter on a clock that runs fast.
    fn wait_for(&self, ms: i64) -> Duration {
        Duration::from_millis(ms.max(0).unsigned_abs())
    }

    /// How many milliseconds pass on this clock in one of the machine's.
    fn speed(&self) -> f64 {
        1.0
    }
}

/// The machine's wall clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> UnixMs {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        UnixMs(i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX))
    }
}

/// A wall clock that runs `speed` times as fast since `anchor`: for simulations.
///
/// Processes that share a store must share both numbers, or their times disagree.
#[derive(Clone, Copy, Debug)]
pub struct FastClock {
    anchor: UnixMs,
    speed: f64,
}

impl FastClock {
    /// A clock that agreed with the wall at `anchor`.
    #[must_use]
    pub fn new(anchor: UnixMs, speed: f64) -> Self {
        Self { anchor, speed: speed.clamp(0.01, 10_000.0) }
    }
}

impl Clock for FastClock {
    fn now(&self) -> UnixMs {
        let passed_ms = SystemClock.now().since(self.anchor) as f64;
        self.anchor.plus((passed_ms * self.speed) as i64)
    }

    fn wait_for(&self, ms: i64) -> Duration {
        Duration::from_secs_f64(ms.max(0) as f64 / 1_000.0 / self.speed)
    }

    fn speed(&self) -> f64 {
        self.speed
    }
}

/// A clock that stands still until it is moved: for tests and simulations.
#[derive(Debug)]
pub struct ManualClock(AtomicI64);

impl ManualClock {
    /// A clock that shows `now`.
    #[must_use]
    pub const fn at(now: UnixMs) -> Self {
        Self(AtomicI64::new(now.0))
    }

    /// Moves it by `ms` milliseconds (back when negative) and answers what it shows then.
    pub fn advance(&self, ms: i64) -> UnixMs {
        UnixMs(self.0.fetch_add(ms, Ordering::SeqCst)).plus(ms)
    }
}

impl Clock for ManualClock {
    fn now(&self) -> UnixMs {
        UnixMs(self.0.load(Ordering::SeqCst))
    }
}

/// Measures how long something takes, whatever the wall clock does meanwhile.
#[derive(Clone, Copy, Debug)]
pub struct Stopwatch(Instant);

impl Stopwatch {
    /// Starts now.
    #[must_use]
    pub fn start() -> Self {
        Self(Instant::now())
    }

    /// Microseconds since the start.
    #[must_use]
    pub fn elapsed_us(&self) -> u64 {
        u64::try_from(self.0.elapsed().as_micros()).unwrap_or(u64::MAX)
    }
}
