//! Deliveries by task, and those that wait by their time.

use super::contents::Contents;
use crate::{DeliveryCounts, Due};
use deadletter_core::{Delivery, Settlement, TaskId, UnixMs};
use std::collections::{BTreeMap, BTreeSet};

/// Where a delivery is found: its task, and the version at which that ended.
type Key = (TaskId, u64);

/// All deliveries. No delivery changes behind the times' back.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    deliveries: BTreeMap<Key, Delivery>,
    /// Those that wait: nobody walks the others.
    waiting: BTreeSet<(UnixMs, Key)>,
    counts: DeliveryCounts,
}

impl Outbox {
    /// Adds a new delivery, or one that was taken out to be changed.
    pub(super) fn put(&mut self, delivery: Delivery) {
        let key = (delivery.task, delivery.version);
        self.waiting.extend(delivery.due_at.map(|at| (at, key)));
        *self.counts.of(delivery.state) += 1;
        self.deliveries.insert(key, delivery);
    }

    fn remove(&mut self, key: Key) -> Option<Delivery> {
        let delivery = self.deliveries.remove(&key)?;
        if let Some(at) = delivery.due_at {
            self.waiting.remove(&(at, key));
        }
        *self.counts.of(delivery.state) -= 1;
        Some(delivery)
    }

    fn take(&mut self, due: &Due) -> Vec<Delivery> {
        let is_free = |key: &Key| {
            self.deliveries.get(key).is_some_and(|delivery| !due.busy.contains(&delivery.to))
        };
        let waiting = self.waiting.iter().take_while(|(at, _)| *at <= due.now);
        let keys = waiting.map(|(_, key)| *key).filter(is_free).take(due.limit as usize);
        let mut taken = Vec::new();
        for key in keys.collect::<Vec<_>>() {
            if let Some(delivery) = self.remove(key) {
                let delivery = delivery.taken(due.until);
                self.put(delivery.clone());
                taken.push(delivery);
            }
        }
        taken
    }

    fn settle(&mut self, settled: &Settlement) -> bool {
        let Some(mut delivery) = self.remove((settled.task, settled.version)) else { return false };
        let is_settled = delivery.settle(settled);
        self.put(delivery);
        is_settled
    }

    pub(super) fn next_due(&self, busy: &[String]) -> Option<UnixMs> {
        let mut waiting = self.waiting.iter();
        waiting.find_map(|(at, key)| {
            let delivery = self.deliveries.get(key)?;
            (!busy.contains(&delivery.to)).then_some(*at)
        })
    }

    pub(super) fn of(&self, task: TaskId, limit: u32) -> Vec<Delivery> {
        let theirs = self.deliveries.range((task, 0)..=(task, u64::MAX)).rev();
        theirs.map(|(_, delivery)| delivery.clone()).take(limit as usize).collect()
    }

    pub(super) const fn counts(&self) -> DeliveryCounts {
        self.counts
    }

    /// Drops a purged task's deliveries.
    pub(super) fn forget(&mut self, task: TaskId) {
        let theirs = self.deliveries.range((task, 0)..=(task, u64::MAX));
        for key in theirs.map(|(key, _)| *key).collect::<Vec<_>>() {
            self.remove(key);
        }
    }
}

impl Contents {
    pub(super) fn take_deliveries(&mut self, due: &Due) -> Vec<Delivery> {
        let taken = self.outbox.take(due);
        self.pulse += taken.len() as u64;
        taken
    }

    pub(super) fn settle_deliveries(&mut self, settled: &[Settlement]) -> Vec<bool> {
        self.pulse += settled.len() as u64;
        settled.iter().map(|settled| self.outbox.settle(settled)).collect()
    }
}
