//! The middle of every call that writes to a store across a network: what was loaded is changed
//! here, in order, as the memory store would change it, and what came of it is written in bulk.
//!
//! ```text
//! store: load, locked or at a version ──▶ Stage: decide ──▶ Writes ──▶ store: write, all or nothing
//! ```
//!
//! Without it such a store would go to its server for each row. What a store has not loaded does
//! not stand: before a call it loads the rows that the call names, for each of them all attempts
//! where it changes one, and whoever has an upstream id that a fact names. There is no rule here
//! but what the contract in [`crate::Tasks`] says of batches; no SQL, no clock, nothing to wait for.

mod attempts;
mod commit;
mod counts;
mod insert;
mod lease;
mod purge;
mod restore;
#[cfg(test)]
mod tests;
mod writes;

pub(crate) use counts::Counts;
pub(crate) use insert::{Holder, Key, Passed, is_open, key_of};
pub(crate) use writes::{RowWrite, Writes, Written};

use attempts::Attempts;
use deadletter_core::{Attempt, TaskId, UnixMs};
use std::collections::HashMap;

/// What one call has loaded, and what it has to write so far.
#[derive(Debug, Default)]
pub(crate) struct Stage {
    rows: HashMap<TaskId, Stored>,
    attempts: Attempts,
    keys: HashMap<Key, Holder>,
    writes: Writes,
}

/// What a write must know of a row that stands: the rest of it comes with the change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stored {
    version: u64,
    read_at: Option<UnixMs>,
}

impl Stage {
    /// A row that stands, with its version and when its verdict was told.
    pub(crate) fn load(&mut self, id: TaskId, version: u64, read_at: Option<UnixMs>) {
        self.rows.insert(id, Stored { version, read_at });
    }

    /// An attempt that stands.
    pub(crate) fn load_attempt(&mut self, attempt: Attempt) {
        self.attempts.load(attempt);
    }

    /// Who holds an idempotency key.
    pub(crate) fn load_key(&mut self, key: Key, holder: Holder) {
        self.keys.insert(key, holder);
    }

    /// What came of it all.
    pub(crate) fn into_writes(mut self) -> Writes {
        self.writes.learned = self.attempts.into_written();
        self.writes
    }
}
