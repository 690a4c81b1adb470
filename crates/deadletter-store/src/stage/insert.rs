//! New tasks, and to whom their idempotency keys lead.

use super::Stage;
use crate::{Inserted, Item};
use deadletter_core::{NewTask, Past, StateKind, Task, TaskId, UnixMs, counts::Deltas};

/// An owner's idempotency key; tasks without an owner share one space of keys.
pub(crate) type Key = (Option<String>, String);

/// The task that an idempotency key leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Holder {
    /// The task, which stands.
    pub(crate) task: TaskId,
    /// When the key may pass to another task.
    pub(crate) expires_at: Option<UnixMs>,
    /// True while the task has not ended.
    pub(crate) is_open: bool,
}

/// The key of a task, where it has one.
pub(crate) fn key_of(task: &Task) -> Option<Key> {
    task.idempotency_key.clone().map(|key| (task.owner.clone(), key))
}

/// A key that has a new holder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Passed {
    /// Whose it is now.
    pub(crate) to: Holder,
    /// To which task it leads as stored.
    pub(crate) was: Option<TaskId>,
}

impl Holder {
    /// Who holds the key of `task`.
    pub(crate) const fn of(task: &Task) -> Self {
        Self {
            task: task.id,
            expires_at: task.idempotency_expires_at,
            is_open: is_open(task.kind()),
        }
    }

    /// True where the key of `new` leads to this task.
    fn keeps_from(&self, new: &NewTask) -> bool {
        self.expires_at.is_none_or(|at| at > new.task.created_at)
            && (self.is_open || !new.is_folded || self.task == new.task.id)
    }
}

/// True while a task in this state has not ended.
pub(crate) const fn is_open(state: StateKind) -> bool {
    matches!(state, StateKind::Queued | StateKind::Submitting | StateKind::Polling)
}

impl Stage {
    /// Takes new tasks in, in order, one answer each.
    pub(crate) fn insert(&mut self, tasks: &[NewTask]) -> Vec<Inserted> {
        tasks.iter().map(|new| self.insert_one(new)).collect()
    }

    fn insert_one(&mut self, new: &NewTask) -> Inserted {
        let (task, key) = (&new.task, key_of(&new.task));
        let holder = key.as_ref().and_then(|key| self.keys.get(key));
        if let Some(holder) = holder.filter(|holder| holder.keeps_from(new)) {
            return Inserted::Existing(holder.task);
        }
        if self.rows.contains_key(&task.id) {
            return Inserted::IdTaken(task.id);
        }
        if let Some(key) = key {
            let stored = self.keys.insert(key.clone(), Holder::of(task)).map(|holder| holder.task);
            let was = self.writes.keys.get(&key).map_or(stored, |earlier| earlier.was);
            self.writes.keys.insert(key, Passed { to: Holder::of(task), was });
        }
        self.load(task.id, task.version, task.verdict_read_at);
        self.writes.counts.add(Deltas::of_insert(task));
        self.remember(task.id, &new.past);
        self.writes.inserted.push((task.clone(), new.payload.to_stored()));
        Inserted::New(task.id)
    }

    /// What a task brings along.
    fn remember(&mut self, task: TaskId, past: &Past) {
        let writes = &mut self.writes;
        writes.begun.extend(past.attempts.iter().cloned());
        writes.answers.extend(past.answers.iter().cloned());
        writes.events.extend(past.events.iter().cloned());
        writes.deliveries.extend(past.deliveries.iter().cloned());
        let items = past.items.iter().map(|(operation, version, state)| {
            (operation.clone(), Item { task, version: *version, state: *state })
        });
        writes.items.extend(items);
    }
}
