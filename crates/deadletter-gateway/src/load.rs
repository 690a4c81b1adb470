//! How many tasks are open, known well enough to refuse in time: counted by the store now and then,
//! and by every acceptance in between.

use deadletter::store::{self, Store, Totals};
use std::sync::atomic::{AtomicU64, Ordering};

/// Tasks that wait or are under way.
#[derive(Debug, Default)]
pub(crate) struct Load(AtomicU64);

impl Load {
    pub(crate) fn open(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// Takes a place, if there is one among `capacity`; gives up its count at the next look at the
    /// store.
    pub(crate) fn take_place(&self, capacity: u64) -> bool {
        let next = |open: u64| (open < capacity).then_some(open + 1);
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next).is_ok()
    }

    /// Gives a place back that no task took.
    pub(crate) fn give_back(&self) {
        let less = |open: u64| open.checked_sub(1);
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less).ok();
    }

    /// Counts anew.
    pub(crate) async fn refresh(&self, store: &dyn Store) -> store::Result<()> {
        let Totals { queued, submitting, polling, .. } = store.totals().await?;
        let open = [queued, submitting, polling].iter().sum::<i64>();
        self.0.store(u64::try_from(open).unwrap_or(0), Ordering::Relaxed);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_end_at_the_capacity_and_come_back() {
        let load = Load::default();
        assert!(load.take_place(2) && load.take_place(2) && !load.take_place(2));
        load.give_back();
        assert_eq!((load.open(), load.take_place(2)), (1, true));
    }
}
