//! A task as a hash, and back: its row, and what is bound to its revision.
//!
//! Whatever is written of a task raises the revision by one, and is written only where that stands as
//! it was read. So a row is decided with all its attempts and items in sight, and nobody changes one
//! in between.

use crate::{
    Item,
    redis::{failure::Outcome, items, json, keys::Keys, server::Call},
    stage::Stage,
};
use deadletter_core::{Attempt, AttemptToken, Delivery, OperationId, Task, TaskId};
use redis::Cmd;
use std::collections::{BTreeMap, BTreeSet};

/// The field of the revision.
pub(super) const REVISION: &str = "n";
/// The field of the row.
pub(super) const ROW: &str = "b";
/// What begins the fields of attempts, items and deliveries.
const ATTEMPT: &str = "a:";
const ITEM: &str = "o:";
const DELIVERY: &str = "d:";

/// The field of an attempt.
pub(super) fn attempt_field(token: AttemptToken) -> String {
    format!("{ATTEMPT}{token}")
}

/// A row as it is read.
pub(in crate::redis) fn task(row: &str) -> Outcome<Task> {
    json::read(row)
}

/// A task as it stands.
#[derive(Debug)]
pub(super) struct Loaded {
    pub(super) revision: u64,
    pub(super) task: Task,
    /// In no order.
    pub(super) attempts: Vec<Attempt>,
    pub(super) items: BTreeMap<OperationId, Item>,
    pub(super) deliveries: Vec<Delivery>,
}

/// Tasks that stand, of those that were asked for.
pub(super) type Tasks = BTreeMap<TaskId, Loaded>;

/// Asks for all of a task's hash.
pub(super) fn question(keys: &Keys, id: TaskId) -> Cmd {
    Cmd::hgetall(keys.task(id))
}

/// Loads tasks, in one round trip.
pub(super) async fn load(call: &Call, ids: &BTreeSet<TaskId>) -> Outcome<Tasks> {
    let questions = ids.iter().map(|id| question(call.keys(), *id));
    read(call.ask(questions).await?)
}

/// Reads what [`question`] was answered with.
pub(super) fn read(hashes: Vec<Vec<(String, String)>>) -> Outcome<Tasks> {
    let mut tasks = Tasks::new();
    for hash in hashes {
        if let Some(loaded) = read_one(hash)? {
            tasks.insert(loaded.task.id, loaded);
        }
    }
    Ok(tasks)
}

fn read_one(hash: Vec<(String, String)>) -> Outcome<Option<Loaded>> {
    let (mut revision, mut row) = (None, None);
    let (mut attempts, mut found, mut deliveries) = (Vec::new(), Vec::new(), Vec::new());
    for (field, value) in hash {
        if field == REVISION {
            revision = Some(json::word(&value)?);
        } else if field == ROW {
            row = Some(task(&value)?);
        } else if field.starts_with(ATTEMPT) {
            attempts.push(json::read(&value)?);
        } else if let Some(operation) = field.strip_prefix(ITEM) {
            found.push((json::word::<OperationId>(operation)?, value));
        } else if field.starts_with(DELIVERY) {
            deliveries.push(json::read(&value)?);
        }
    }
    let (Some(revision), Some(task)) = (revision, row) else { return Ok(None) };
    let items =
        found.into_iter().map(|(operation, value)| Ok((operation, items::read(task.id, &value)?)));
    let items = items.collect::<Outcome<_>>()?;
    Ok(Some(Loaded { revision, task, attempts, items, deliveries }))
}

/// Hands what was loaded to the stage.
pub(super) fn stage(tasks: &Tasks) -> Stage {
    let mut stage = Stage::default();
    for loaded in tasks.values() {
        let Task { id, version, verdict_read_at, .. } = loaded.task;
        stage.load(id, version, verdict_read_at);
        loaded.attempts.iter().for_each(|attempt| stage.load_attempt(attempt.clone()));
    }
    stage
}
