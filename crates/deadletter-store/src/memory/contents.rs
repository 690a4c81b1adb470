//! Everything that is stored, and the one way in which a row is written.

use super::{counts::Counts, operation::Operation, outbox::Outbox, rows::Rows};
use crate::{AuditEntry, Document, Worker};
use deadletter_core::{
    Delivery, Event, ItemState, OperationId, RowChange, TaskId, WorkerId, counts::Deltas,
};
use std::collections::{BTreeMap, BTreeSet};

/// An owner's idempotency key; tasks without an owner share one space of keys.
pub(super) type Key = (Option<String>, String);

/// What the lock guards.
#[derive(Debug, Default)]
pub(super) struct Contents {
    pub(super) rows: Rows,
    /// The task that holds each idempotency key now.
    pub(super) keys: BTreeMap<Key, TaskId>,
    pub(super) counts: Counts,
    /// Terminal changes by number, from 1; the newest is never deleted.
    pub(super) events: BTreeMap<u64, Event>,
    /// The numbers of each task's events.
    pub(super) events_of: BTreeMap<TaskId, Vec<u64>>,
    pub(super) operations: BTreeMap<OperationId, Operation>,
    pub(super) outbox: Outbox,
    pub(super) workers: BTreeMap<WorkerId, Worker>,
    pub(super) documents: BTreeMap<String, Document>,
    /// In the order in which it was appended.
    pub(super) audit: Vec<AuditEntry>,
    /// The numbers in the audit log that each writer has used.
    pub(super) audited: BTreeSet<(String, u64)>,
    /// Rises with every write.
    pub(super) pulse: u64,
}

impl Contents {
    /// Writes a row with all that follows from it, if the task still stands at the version that
    /// was read; answers whether it did.
    pub(super) fn write(&mut self, row: &RowChange) -> bool {
        let id = row.after.id;
        if self.rows.get(id).is_none_or(|stored| stored.task.version != row.expects) {
            return false;
        }
        self.rows.change(id, |stored| {
            let read_at = stored.task.verdict_read_at;
            stored.task = row.after.clone();
            if !row.differs.reading {
                stored.task.verdict_read_at = read_at;
            }
        });
        self.counts.add(Deltas::of_row(row));
        if let Some(event) = row.event() {
            self.append(event);
        }
        if let Some(delivery) = Delivery::of(row) {
            self.outbox.put(delivery);
        }
        if let Some(operation) = &row.settles {
            self.settle(operation, id, ItemState::Done);
        }
        self.pulse += 1;
        true
    }

    /// Appends an event, under the next number.
    pub(super) fn append(&mut self, event: Event) {
        let n = self.last_event() + 1;
        self.events_of.entry(event.task).or_default().push(n);
        self.events.insert(n, event);
    }

    /// Ends a pending item of an operation; an item that is settled stays as it is.
    pub(super) fn settle(&mut self, operation: &OperationId, task: TaskId, state: ItemState) {
        if let Some(operation) = self.operations.get_mut(operation) {
            operation.settle(task, state);
        }
    }
}
