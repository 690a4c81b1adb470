//! The frozen tasks of one operation.

use crate::Item;
use deadletter_core::{ItemState, TaskId};
use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Bound,
};

/// Items by task.
#[derive(Debug, Default)]
pub(super) struct Operation {
    items: BTreeMap<TaskId, (u64, ItemState)>,
    /// Those that are pending, so that the next step does not walk past what is done.
    pending: BTreeSet<TaskId>,
}

impl Operation {
    /// Adds a pending item; false where the task is an item already.
    pub(super) fn freeze(&mut self, task: TaskId, version: u64) -> bool {
        if self.items.contains_key(&task) {
            return false;
        }
        self.items.insert(task, (version, ItemState::Pending));
        self.pending.insert(task)
    }

    /// Ends a pending item; one that is settled stays as it is.
    pub(super) fn settle(&mut self, task: TaskId, end: ItemState) {
        if end != ItemState::Pending
            && self.pending.remove(&task)
            && let Some((_, state)) = self.items.get_mut(&task)
        {
            *state = end;
        }
    }

    /// Drops the item of a task that is purged.
    pub(super) fn forget(&mut self, task: TaskId) {
        self.pending.remove(&task);
        self.items.remove(&task);
    }

    pub(super) fn item(&self, task: TaskId) -> Option<Item> {
        self.items.get(&task).map(|&(version, state)| Item { task, version, state })
    }

    /// Those that are pending behind a task.
    pub(super) fn pending(&self, after: Option<TaskId>) -> impl Iterator<Item = Item> {
        let behind = (after.map_or(Bound::Unbounded, Bound::Excluded), Bound::Unbounded);
        self.pending.range(behind).filter_map(|task| {
            let &(version, state) = self.items.get(task)?;
            Some(Item { task: *task, version, state })
        })
    }

    /// How many are pending, done, skipped.
    pub(super) fn tally(&self) -> [u64; 3] {
        let count = |wanted| self.items.values().filter(|(_, state)| *state == wanted).count();
        [ItemState::Pending, ItemState::Done, ItemState::Skipped].map(|state| count(state) as u64)
    }
}
