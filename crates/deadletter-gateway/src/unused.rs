//! How many answers expired before anybody was told of them, since the gateway began.

use crate::gateway::Gateway;
use deadletter::core::{
    UnixMs,
    counts::{Dim, TALLY_MS, expired_unread},
};
use std::sync::{Mutex, PoisonError};

/// Rows of counts that are added up at a time: a day of a busy gateway that nobody has asked.
const ROWS: u32 = 100_000;

/// What has been added up so far: counts of a minute that is over do not change any more.
#[derive(Debug)]
pub(crate) struct Unused {
    /// Guards the sum and the minute up to which it goes; never held across an await.
    so_far: Mutex<(UnixMs, u64)>,
}

impl Unused {
    /// From `now` on.
    pub(crate) const fn since(now: UnixMs) -> Self {
        Self { so_far: Mutex::new((minute(now), 0)) }
    }

    fn read(&self) -> (UnixMs, u64) {
        *self.so_far.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The sum of now; none where the store does not tell.
    pub(crate) async fn count(&self, gateway: &Gateway) -> Option<u64> {
        let (from, sum) = self.read();
        let now = gateway.store().clock().now();
        let tallies = gateway.store().tallies(Dim::All, from, ROWS).await.ok()?;
        let sum = sum + expired_unread(&tallies, from, now);
        let mut so_far = self.so_far.lock().unwrap_or_else(PoisonError::into_inner);
        // Somebody who asked at the same time may have been faster.
        if so_far.0 == from {
            *so_far = (minute(now), sum);
        }
        Some(sum)
    }
}

const fn minute(at: UnixMs) -> UnixMs {
    UnixMs(at.0 - at.0.rem_euclid(TALLY_MS))
}
