//! The one place that reads the wall clock; tests pass a clock of their own.

use deadletter_core::UnixMs;
use std::time::{SystemTime, UNIX_EPOCH};

/// A store's clock. Store time is the only time that leases, dues and deadlines know.
pub trait Clock: Send + Sync + 'static {
    /// The present instant.
    fn now(&self) -> UnixMs;
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
