//! Calls by number, so that one that is sent twice is done once.
//!
//! A call has a lane for as long as it is under way, and a number there that rises. The script notes
//! the last number of each lane: whoever sends a call again learns that it was done, and a copy that
//! comes late does nothing.

use crate::{Error, Result};
use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::sync::{Semaphore, SemaphorePermit};

/// Calls under way at once: what more are sent only waits inside the server.
const LANES: u32 = 64;
/// How long a call waits for a lane.
const PATIENCE: Duration = Duration::from_secs(30);

/// The lanes of one handle.
pub(super) struct Lanes {
    /// A permit for each; closed with the store.
    permits: Semaphore,
    /// Guards those that nobody uses; never held across an await.
    idle: Mutex<Vec<Number>>,
}

/// A lane and the number of a call in it.
#[derive(Clone, Copy, Debug)]
struct Number {
    lane: u32,
    call: u64,
}

impl Lanes {
    pub(super) fn new() -> Self {
        let idle = (0..LANES).map(|lane| Number { lane, call: 0 }).collect();
        Self { permits: Semaphore::new(LANES as usize), idle: Mutex::new(idle) }
    }

    /// A lane with a new number. Errors: `Closed`, `Unavailable`.
    pub(super) async fn enter(&self, what: &str) -> Result<Lane<'_>> {
        let waited = tokio::time::timeout(PATIENCE, self.permits.acquire()).await;
        let permit = waited
            .map_err(|_| Error::Unavailable {
                what: format!("{what}: {LANES} other calls are under way"),
                source: None,
            })?
            .map_err(|_| Error::Closed)?;
        let mut number = self.lock().pop().expect("there are as many as permits");
        number.call += 1;
        Ok(Lane { lanes: self, number, _permit: permit })
    }

    /// `Closed`, once it is.
    pub(super) fn must_be_open(&self) -> Result<()> {
        if self.permits.is_closed() { Err(Error::Closed) } else { Ok(()) }
    }

    /// Waits for what is under way, and closes; again, and it does nothing.
    pub(super) async fn close(&self) {
        if let Ok(_all) = self.permits.acquire_many(LANES).await {
            self.permits.close();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Number>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A lane that a call has. Dropped, it goes back; its number is not used again.
pub(super) struct Lane<'l> {
    lanes: &'l Lanes,
    number: Number,
    _permit: SemaphorePermit<'l>,
}

impl Lane<'_> {
    /// As the script reads it: lane, number.
    pub(super) fn words(&self) -> [String; 2] {
        [self.number.lane.to_string(), self.number.call.to_string()]
    }
}

impl Drop for Lane<'_> {
    fn drop(&mut self) {
        self.lanes.lock().push(self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn no_two_calls_have_one_number() {
        let lanes = Lanes::new();
        let (one, two) = (lanes.enter("x").await.unwrap(), lanes.enter("x").await.unwrap());
        let first = one.words();
        assert_ne!(first, two.words());
        drop(one);
        let again = lanes.enter("x").await.unwrap().words();
        assert_eq!(again.first(), first.first());
        assert_ne!(again, first);
    }

    #[tokio::test]
    async fn a_closed_store_lets_no_call_in() {
        let lanes = Lanes::new();
        assert!(lanes.must_be_open().is_ok());
        lanes.close().await;
        lanes.close().await;
        assert!(matches!(lanes.enter("x").await, Err(Error::Closed)));
        assert!(matches!(lanes.must_be_open(), Err(Error::Closed)));
    }
}
