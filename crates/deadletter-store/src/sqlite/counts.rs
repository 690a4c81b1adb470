//! Deltas of a transaction, merged in memory and written once before it commits.

use super::statements::Statements;
use deadletter_core::{
    Answer, Attempt, DeliveryState, ItemState, OperationId, Reading, RowChange, Task, UnixMs,
    counts::{Deltas, Standing, Tally},
};
use rusqlite::Result;
use std::{collections::HashMap, hash::Hash};

const ADD_STANDING: &str = "INSERT INTO standing (dim, place, cause, class, value, n) \
     VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET n = n + excluded.n RETURNING n";

const DROP_STANDING: &str = "DELETE FROM standing \
     WHERE dim = ? AND place = ? AND cause = ? AND class = ? AND value = ?";

const ADD_TALLY: &str = "INSERT INTO tallies (dim, minute, tallied, cause, value, n) \
     VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET n = n + excluded.n";

const ADD_ITEMS: &str = "INSERT INTO item_counts (operation, state, n) VALUES (?, ?, ?) \
     ON CONFLICT DO UPDATE SET n = n + excluded.n";

const ADD_DELIVERIES: &str = "INSERT INTO delivery_counts (state, n) VALUES (?, ?) \
     ON CONFLICT DO UPDATE SET n = n + excluded.n";

/// What a transaction adds to the counts.
#[derive(Debug, Default)]
pub(super) struct Counts {
    standing: HashMap<Standing, i64>,
    tallies: HashMap<Tally, i64>,
    items: HashMap<(OperationId, ItemState), i64>,
    deliveries: HashMap<DeliveryState, i64>,
}

impl Counts {
    /// A task was inserted.
    pub(super) fn inserted(&mut self, task: &Task) {
        self.take_in(Deltas::of_insert(task));
    }

    /// A row was written.
    pub(super) fn changed(&mut self, row: &RowChange) {
        self.take_in(Deltas::of_row(row));
    }

    /// Something was learned of an attempt.
    pub(super) fn learned(&mut self, before: &Attempt, after: &Attempt, at: UnixMs) {
        self.take_in(Deltas::of_attempt(before, after, at));
    }

    /// A task was solved by that answer at `at`.
    pub(super) fn won(&mut self, answer: &Answer, at: UnixMs) {
        self.take_in(Deltas::of_answer(answer, at));
    }

    /// The verdict of a task was told.
    pub(super) fn read(&mut self, task: &Task, reading: &Reading) {
        self.take_in(Deltas::of_reading(task, reading));
    }

    /// A task was purged.
    pub(super) fn purged(&mut self, task: &Task) {
        self.take_in(Deltas::of_purge(task));
    }

    /// `n` items of an operation came into a state (left it, where negative).
    pub(super) fn items(&mut self, operation: &OperationId, state: ItemState, n: i64) {
        if n != 0 {
            *self.items.entry((operation.clone(), state)).or_default() += n;
        }
    }

    /// `n` deliveries came into a state (left it, where negative).
    pub(super) fn deliveries(&mut self, state: DeliveryState, n: i64) {
        *self.deliveries.entry(state).or_default() += n;
    }

    /// Adds another transaction's part to this one's.
    pub(super) fn merge(&mut self, other: Self) {
        add(&mut self.standing, other.standing);
        add(&mut self.tallies, other.tallies);
        add(&mut self.items, other.items);
        add(&mut self.deliveries, other.deliveries);
    }

    fn take_in(&mut self, deltas: Deltas) {
        add(&mut self.standing, deltas.standing);
        add(&mut self.tallies, deltas.tallies);
    }

    /// Writes the sums, each row once.
    pub(super) fn write(&self, statements: &Statements<'_>) -> Result<()> {
        for (key, n) in self.standing.iter().filter(|(_, n)| **n != 0) {
            write_standing(statements, key, *n)?;
        }
        for (key, n) in self.tallies.iter().filter(|(_, n)| **n != 0) {
            write_tally(statements, key, *n)?;
        }
        for ((operation, state), n) in self.items.iter().filter(|(_, n)| **n != 0) {
            statements.get(ADD_ITEMS)?.execute((operation.as_str(), state.label(), n))?;
        }
        for (state, n) in self.deliveries.iter().filter(|(_, n)| **n != 0) {
            statements.get(ADD_DELIVERIES)?.execute((state.label(), n))?;
        }
        Ok(())
    }
}

fn add<K: Eq + Hash>(sums: &mut HashMap<K, i64>, deltas: impl IntoIterator<Item = (K, i64)>) {
    for (key, n) in deltas {
        *sums.entry(key).or_default() += n;
    }
}

fn write_standing(statements: &Statements<'_>, key: &Standing, n: i64) -> Result<()> {
    let cause = key.cause.as_ref().map_or("", |cause| cause.as_str());
    let class = key.class.map_or("", |class| class.label());
    let place = (key.dim.label(), key.place.label(), cause, class, key.value.as_str());
    let sum: i64 = statements
        .get(ADD_STANDING)?
        .query_row((place.0, place.1, place.2, place.3, place.4, n), |row| row.get(0))?;
    // A site key that nobody stands at any more takes no room; the grand totals stay hot.
    if sum == 0 && !key.value.is_empty() {
        statements.get(DROP_STANDING)?.execute(place)?;
    }
    Ok(())
}

fn write_tally(statements: &Statements<'_>, key: &Tally, n: i64) -> Result<()> {
    let cause = key.cause.as_ref().map_or("", |cause| cause.as_str());
    statements.get(ADD_TALLY)?.execute((
        key.dim.label(),
        key.minute.0,
        key.tallied.label(),
        cause,
        key.value.as_str(),
        n,
    ))?;
    Ok(())
}
