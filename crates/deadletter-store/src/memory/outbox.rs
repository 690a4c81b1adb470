//! Deliveries by task, and those that wait by place and time.

use super::contents::Contents;
use crate::{Among, DeliveryCounts, Due, NextDelivery};
use deadletter_core::{Delivery, Settlement, TaskId, UnixMs};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// Where a delivery is found: its task, and the version at which that ended.
type Key = (TaskId, u64);

/// All deliveries. No delivery changes behind the times' back.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    deliveries: BTreeMap<Key, Delivery>,
    /// Those that wait, by place: nobody walks the others. No set is empty.
    waiting: HashMap<String, BTreeSet<(UnixMs, Key)>>,
    counts: DeliveryCounts,
}

impl Outbox {
    /// Adds a new delivery, or one that was taken out to be changed.
    pub(super) fn put(&mut self, delivery: Delivery) {
        let key = (delivery.task, delivery.version);
        if let Some(at) = delivery.due_at {
            self.waiting.entry(delivery.place.clone()).or_default().insert((at, key));
        }
        *self.counts.of(delivery.state) += 1;
        self.deliveries.insert(key, delivery);
    }

    fn remove(&mut self, key: Key) -> Option<Delivery> {
        let delivery = self.deliveries.remove(&key)?;
        if let Some(at) = delivery.due_at
            && let Some(waiting) = self.waiting.get_mut(&delivery.place)
        {
            waiting.remove(&(at, key));
            if waiting.is_empty() {
                self.waiting.remove(&delivery.place);
            }
        }
        *self.counts.of(delivery.state) -= 1;
        Some(delivery)
    }

    fn take(&mut self, due: &Due) -> Vec<Delivery> {
        let waiting = self.waiting.get(&due.place).into_iter().flatten();
        let waiting = waiting.take_while(|(at, _)| *at <= due.now);
        let keys = waiting.map(|(_, key)| *key).take(due.limit as usize);
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

    pub(super) fn next_due(&self, among: &Among) -> Option<NextDelivery> {
        let first = |(place, waiting): (&String, &BTreeSet<(UnixMs, Key)>)| {
            waiting.first().map(|(at, _)| (*at, place.clone()))
        };
        let next = match among {
            Among::AllBut(busy) => {
                let busy: BTreeSet<&String> = busy.iter().collect();
                self.waiting
                    .iter()
                    .filter(|(place, _)| !busy.contains(place))
                    .filter_map(first)
                    .min()
            }
            Among::These(places) => places
                .iter()
                .filter_map(|place| self.waiting.get_key_value(place))
                .filter_map(first)
                .min(),
        };
        next.map(|(due_at, place)| NextDelivery { place, due_at })
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
