//! What a call writes: each row once, whatever happened to it in between.

use super::{Counts, Key, Passed};
use crate::Item;
use deadletter_core::{
    Answer, Attempt, Delivery, Event, ItemState, OperationId, Task, TaskId, UnixMs,
};
use std::collections::BTreeMap;

/// All that is to be written, in one transaction.
#[derive(Debug, Default)]
pub(crate) struct Writes {
    /// New rows, with their requests as stored.
    pub(crate) inserted: Vec<(Task, String)>,
    /// Rows that have changed, as they are now.
    pub(crate) rows: BTreeMap<TaskId, RowWrite>,
    /// New attempts: intents, and what new tasks brought along.
    pub(crate) begun: Vec<Attempt>,
    /// Attempts that have changed, as they are now.
    pub(crate) learned: Vec<Written>,
    /// First answers of attempts; one that stands already stays.
    pub(crate) answers: Vec<Answer>,
    /// Terminal changes, in their order.
    pub(crate) events: Vec<Event>,
    /// New deliveries.
    pub(crate) deliveries: Vec<Delivery>,
    /// Items that new tasks brought along.
    pub(crate) items: Vec<(OperationId, Item)>,
    /// Items that end, if they are pending.
    pub(crate) settled: BTreeMap<(OperationId, TaskId), ItemState>,
    /// Keys that have a new holder.
    pub(crate) keys: BTreeMap<Key, Passed>,
    /// When verdicts were told; the rows' versions stay.
    pub(crate) readings: BTreeMap<TaskId, UnixMs>,
    /// Tasks to delete, with all that is theirs.
    pub(crate) purged: BTreeMap<TaskId, Task>,
    /// What it adds to the counts.
    pub(crate) counts: Counts,
}

/// A row that has changed.
#[derive(Debug)]
pub(crate) struct RowWrite {
    /// The row to write.
    pub(crate) after: Task,
    /// True where it differs in what no step of a task's life changes (`Differs::place`).
    pub(crate) place: bool,
}

/// An attempt that has changed.
#[derive(Debug)]
pub(crate) struct Written {
    /// The attempt to write.
    pub(crate) attempt: Attempt,
    /// True where an earlier open attempt of its task has its upstream id: of all others, no open
    /// attempt of the account has that, and a store may rely on it.
    pub(crate) has_namesake: bool,
}
