//! How many tasks are open, known well enough to refuse in time: counted by the store now and then,
//! and by every acceptance in between. Never less than there are, so that a flood between two counts
//! is refused as well.

use deadletter::store::{self, Store, Totals};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Tasks that wait or are under way.
#[derive(Debug, Default)]
pub(crate) struct Load {
    /// Guards the counts; never held across an await.
    counts: Mutex<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    /// What the store counted last.
    counted: u64,
    /// Places whose tasks are not stored yet.
    storing: u64,
    /// Places whose tasks were stored since the store began to count last.
    stored: u64,
}

impl Counts {
    const fn open(&self) -> u64 {
        self.counted.saturating_add(self.storing).saturating_add(self.stored)
    }
}

/// A place among those that are open. Dropped, it is given back, unless its task was stored.
#[derive(Debug)]
pub(crate) struct Place<'a>(&'a Load);

impl Place<'_> {
    /// A task has it: it is the store's to count.
    pub(crate) fn keep(self) {
        self.0.counts().stored += 1;
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut counts = self.0.counts();
        counts.storing = counts.storing.saturating_sub(1);
    }
}

impl Load {
    pub(crate) fn open(&self) -> u64 {
        self.counts().open()
    }

    /// Takes a place, if there is one among `capacity`.
    pub(crate) fn take_place(&self, capacity: u64) -> Option<Place<'_>> {
        let mut counts = self.counts();
        if counts.open() >= capacity {
            return None;
        }
        counts.storing += 1;
        Some(Place(self))
    }

    /// Counts anew.
    pub(crate) async fn refresh(&self, store: &dyn Store) -> store::Result<()> {
        // These the store counts for certain; of those that come while it counts nobody knows.
        let before = self.counts().stored;
        let Totals { queued, submitting, polling, .. } = store.totals().await?;
        let open = [queued, submitting, polling].iter().sum::<i64>();
        let mut counts = self.counts();
        counts.counted = u64::try_from(open).unwrap_or(0);
        counts.stored = counts.stored.saturating_sub(before);
        Ok(())
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use deadletter::store::{MemoryStore, SystemClock};
    use std::sync::Arc;

    #[tokio::test]
    async fn places_end_at_the_capacity_and_come_back() {
        let load = Load::default();
        let first = load.take_place(2).expect("free");
        load.take_place(2).expect("free").keep();
        assert!(load.take_place(2).is_none());
        drop(first);
        assert_eq!(load.open(), 1);
        // What is being stored while the store counts is not forgotten.
        let storing = load.take_place(2).expect("free");
        load.refresh(&MemoryStore::new(Arc::new(SystemClock))).await.unwrap();
        assert_eq!(load.open(), 1);
        storing.keep();
        assert_eq!(load.open(), 1);
    }
}
