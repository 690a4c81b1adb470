//! Idempotency keys: to whom they lead, and how they pass on.

use crate::{
    postgres::{
        bulk::{self, Column, each},
        columns::Columns,
        failure::Outcome,
        nul,
        statement::Statement,
    },
    stage::{Holder, Key, Passed, is_open},
};
use deadletter_core::{StateKind, Task, TaskId, UnixMs};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::LazyLock,
};
use tokio_postgres::Row;

/// Locks keys that stand, in their order. Each is looked up, and none is walked, as [`bulk::same`] says.
const LOCK: &str = "SELECT 1 FROM unnest($1::text[], $2::text[]) AS c (owner, key) \
     JOIN idempotency AS i ON i.owner = ANY (ARRAY[c.owner]) AND i.key = c.key \
     ORDER BY c.owner, c.key FOR UPDATE OF i";

/// What they lead to. It is asked behind the lock: a join that had to wait for it would have seen
/// the tasks of before.
const HOLDERS: &str = "SELECT i.owner, i.key, i.task, i.expires_at, t.state \
     FROM unnest($1::text[], $2::text[]) AS c (owner, key) \
     JOIN idempotency AS i ON i.owner = ANY (ARRAY[c.owner]) AND i.key = c.key \
     LEFT JOIN tasks AS t ON t.id = ANY (ARRAY[i.task])";

/// Lets go of keys that lead where they did when they were read.
const LET_GO: &str = "DELETE FROM idempotency AS i \
     USING unnest($1::text[], $2::text[], $3::bigint[]) AS c (owner, key, task) \
     WHERE i.owner = ANY (ARRAY[c.owner]) AND i.key = c.key AND i.task = c.task";

macro_rules! column {
    ($name:literal: $kind:literal, $value:expr) => {
        Column {
            name: $name,
            kind: $kind,
            put: |statement, rows: &[(Key, Holder)]| statement.put(each(rows, $value)),
        }
    };
}

const COLUMNS: &[Column<(Key, Holder)>] = &[
    column!("owner": "text", |(key, _)| owner(key)),
    column!("key": "text", |(key, _)| nul::escaped(&key.1)),
    column!("task": "bigint", |(_, holder)| holder.task.as_i64()),
    column!("expires_at": "bigint", |(_, holder)| holder.expires_at.map(|at| at.0)),
];

static INSERT: LazyLock<String> =
    LazyLock::new(|| format!("{} ORDER BY owner, key", bulk::insert("idempotency", &[COLUMNS])));

/// Locks keys, and asks to whom they lead.
pub(super) fn load(keys: &BTreeSet<Key>) -> [Statement; 2] {
    [LOCK, HOLDERS].map(|sql| {
        let (owners, words): (Vec<String>, Vec<String>) =
            keys.iter().map(|key| (owner(key), nul::escaped(&key.1))).unzip();
        Statement::new(sql).put(owners).put(words)
    })
}

/// Reads a row of what [`load`] asks for.
pub(super) fn read(row: &Row) -> Outcome<(Key, Holder)> {
    let columns = &mut Columns::of(row);
    let owner: &str = columns.take()?;
    let owner = owner.strip_prefix('=').map(|name| nul::plain(name).into_owned());
    let key = nul::plain(columns.take()?).into_owned();
    let (task, expires_at) = (columns.number()?, columns.instant_opt()?);
    let state: Option<StateKind> = columns.text_opt()?;
    let holder = match state {
        Some(state) => Holder { task, expires_at, is_open: is_open(state) },
        // A key whose task is gone keeps nobody out.
        None => Holder { task, expires_at: Some(UnixMs(i64::MIN)), is_open: false },
    };
    Ok(((owner, key), holder))
}

/// Gives keys to their new holders; the server refuses one that somebody else was given meanwhile.
pub(super) fn pass_on(keys: &BTreeMap<Key, Passed>) -> Vec<Statement> {
    let left = keys.iter().filter_map(|(key, passed)| Some((key.clone(), passed.was?)));
    let left: Vec<(Key, TaskId)> = left.collect();
    let given: Vec<(Key, Holder)> =
        keys.iter().map(|(key, passed)| (key.clone(), passed.to)).collect();
    let mut all = Vec::new();
    all.extend((!left.is_empty()).then(|| let_go(&left)));
    all.extend(
        (!given.is_empty()).then(|| bulk::put(Statement::new(INSERT.as_str()), &[COLUMNS], &given)),
    );
    all
}

/// Deletes keys, where they still lead to these tasks.
pub(super) fn let_go(keys: &[(Key, TaskId)]) -> Statement {
    Statement::new(LET_GO)
        .put(each(keys, |(key, _)| owner(key)))
        .put(each(keys, |(key, _)| nul::escaped(&key.1)))
        .put(each(keys, |(_, task)| task.as_i64()))
}

/// A task without an owner shares its keys with all others without one.
///
/// The sign keeps them apart from an owner whose name is empty.
fn owner(key: &Key) -> String {
    key.0.as_ref().map_or_else(String::new, |name| format!("={}", nul::escaped(name)))
}

/// The keys of tasks that have one, with the tasks.
pub(super) fn of(tasks: &BTreeMap<TaskId, Task>) -> Vec<(Key, TaskId)> {
    let keys = tasks.values().filter_map(|task| Some((crate::stage::key_of(task)?, task.id)));
    keys.collect()
}
