//! What a call has decided, as the statements that write it.
//!
//! Locks are always taken in this order, by whatever call, so that two calls never wait for each
//! other in a ring. Where two do all the same, the server ends one, and that is made again.
//!
//! 1. the account (claims alone: an advisory lock, so that permits are counted and lent by one)
//! 2. the worker that claims or takes over, shared: it cannot be declared dead meanwhile
//! 3. tasks, in the order of their ids, or skipping those that are locked; what is a task's
//!    (attempts, answers) is written under its task's lock alone
//! 4. idempotency keys, in their order
//! 5. deliveries, and items of operations
//! 6. counts, each table in the order of its keys, in the slot of the connection
//! 7. the number of the newest event: whoever waits for it waits for one commit
//! 8. the mark of the connection, which nobody else writes, and the pulse of its slot (in `transaction`),
//!    which nothing follows
//!
//! What nobody can lock, because it is not there yet, is left to unique indexes: of two who insert
//! one id or one key, or name two tasks alike, the second is refused, and its call made again.

use super::{answer_row, attempt_row, counts, keys, task_row};
use crate::{
    postgres::{deliveries, partition, statement::Statement},
    stage::{Writes, Written},
};
use deadletter_core::{Attempt, Task, UnixMs};
use std::collections::HashSet;

const REQUESTS: &str = "INSERT INTO requests (task, body) \
     SELECT * FROM unnest($1::bigint[], $2::text[])";

const READINGS: &str = "UPDATE tasks SET verdict_read_at = c.at \
     FROM unnest($1::bigint[], $2::bigint[]) AS c (id, at) WHERE tasks.id = ANY (ARRAY[c.id])";

/// The statements that write it all but purges, in the order of locks.
pub(super) fn statements(writes: Writes, slot: i16, now: UnixMs) -> Vec<Statement> {
    let Writes { inserted, rows, begun, learned, answers, readings, .. } = writes;
    let mut all = Vec::new();
    if !inserted.is_empty() {
        all.extend(insert(inserted, now));
    }
    let (replaced, stepped): (Vec<_>, Vec<_>) = rows.into_values().partition(|row| row.place);
    for (rows, place) in [(stepped, false), (replaced, true)] {
        let rows: Vec<_> =
            rows.into_iter().map(|row| task_row::Entry { task: row.after, now }).collect();
        all.extend((!rows.is_empty()).then(|| task_row::update(&rows, place)));
    }
    all.extend(attempt_row::insert(named(begun)));
    all.extend(attempt_row::update(learned));
    all.extend((!answers.is_empty()).then(|| answer_row::insert(&answers)));
    if !readings.is_empty() {
        let (tasks, instants): (Vec<i64>, Vec<i64>) =
            readings.iter().map(|(task, at)| (task.as_i64(), at.0)).unzip();
        all.push(Statement::new(READINGS).put(tasks).put(instants));
    }
    all.extend(keys::pass_on(&writes.keys));
    if !writes.deliveries.is_empty() {
        all.extend(deliveries::made(slot, &writes.deliveries));
    }
    all.extend((!writes.items.is_empty()).then(|| counts::items(&writes.items, slot)));
    all.extend((!writes.settled.is_empty()).then(|| counts::settle(&writes.settled, slot)));
    all.extend(counts::add(&writes.counts, slot));
    all.extend((!writes.events.is_empty()).then(|| counts::append(&writes.events)));
    all
}

fn insert(inserted: Vec<(Task, String)>, now: UnixMs) -> Vec<Statement> {
    let (tasks, bodies): (Vec<Task>, Vec<String>) = inserted.into_iter().unzip();
    let ids: Vec<i64> = tasks.iter().map(|task| task.id.as_i64()).collect();
    let left = tasks.iter().map(|task| task.id).filter(|id| partition::may_be_left(*id, now));
    let mut all = Vec::from_iter(partition::forget(left.collect()));
    let rows: Vec<_> = tasks.into_iter().map(|task| task_row::Entry { task, now }).collect();
    all.extend([task_row::insert(&rows), Statement::new(REQUESTS).put(ids).put(bodies)]);
    all
}

/// An intent has no upstream id yet, and so is in nobody's way; a task that comes from another store
/// may bring two open attempts under one.
fn named(begun: Vec<Attempt>) -> Vec<Written> {
    let mut open = HashSet::new();
    let written = begun.into_iter().map(|attempt| {
        let id = attempt.upstream_id.clone().filter(|_| attempt.is_open());
        let has_namesake = id.is_some_and(|id| !open.insert((attempt.task, id)));
        Written { attempt, has_namesake }
    });
    written.collect()
}
