//! New tasks.

use super::{
    attempt_row, columns::Binder, commit, deliveries, failure::Outcome, task_row, writer::Session,
};
use crate::Inserted;
use deadletter_core::{Past, Task, TaskId};
use rusqlite::{Connection, OptionalExtension, Row};

pub(super) const HOLDER: &str = "SELECT task FROM idempotency WHERE owner = ? AND key = ? \
     AND (expires_at IS NULL OR expires_at > ?)";

/// Whether a task is in one of the states that end by themselves.
pub(super) const IS_OPEN: &str =
    "SELECT 1 FROM tasks WHERE id = ? AND state IN ('queued', 'submitting', 'polling')";

const REQUEST: &str = "INSERT INTO requests (task, body) VALUES (?, ?)";

const ITEM: &str =
    "INSERT INTO operation_items (operation, task, version, state) VALUES (?, ?, ?, ?)";

/// What a task asks for, as stored.
pub(super) const BODY: &str = "SELECT body FROM requests WHERE task = ?";

/// A task to insert, its payload already in the form that is stored.
pub(super) struct Entry {
    pub(super) task: Task,
    pub(super) body: String,
    pub(super) past: Past,
    /// True where its key leads to an open task alone.
    pub(super) is_folded: bool,
}

/// Stores tasks in order, one answer each.
pub(super) fn insert(session: &mut Session<'_, '_>, entries: &[Entry]) -> Outcome<Vec<Inserted>> {
    entries.iter().map(|entry| insert_one(session, entry)).collect()
}

fn insert_one(session: &mut Session<'_, '_>, entry: &Entry) -> Outcome<Inserted> {
    let Entry { task, body, past, .. } = entry;
    if let Some(holder) = holder(session, entry)? {
        return Ok(Inserted::Existing(holder));
    }
    if !task_row::insert(session.statements, task, session.now)? {
        return Ok(Inserted::IdTaken(task.id));
    }
    session.statements.get(REQUEST)?.execute((task.id.as_i64(), body))?;
    remember(session, task.id, past)?;
    keep_key(session, task)?;
    session.counts.inserted(task);
    Ok(Inserted::New(task.id))
}

/// What a task brings along.
fn remember(session: &mut Session<'_, '_>, task: TaskId, past: &Past) -> Outcome<()> {
    for attempt in &past.attempts {
        session.permits.begin(session.statements, attempt)?;
    }
    for answer in &past.answers {
        attempt_row::insert_answer(session.statements, answer)?;
    }
    for event in &past.events {
        commit::append(session, event)?;
    }
    for delivery in &past.deliveries {
        deliveries::insert(session, delivery)?;
    }
    for (operation, version, state) in &past.items {
        session.statements.get(ITEM)?.execute((
            operation.as_str(),
            task.as_i64(),
            version.cast_signed(),
            state.label(),
        ))?;
        session.counts.items(operation, *state, 1);
    }
    Ok(())
}

/// The task that the idempotency key of an entry leads to.
fn holder(session: &Session<'_, '_>, entry: &Entry) -> Outcome<Option<TaskId>> {
    let task = &entry.task;
    let Some(key) = &task.idempotency_key else { return Ok(None) };
    let holder: Option<i64> = session
        .conn
        .prepare_cached(HOLDER)?
        .query_row((owner(task), key, task.created_at.0), |row| row.get(0))
        .optional()?;
    let Some(id) = holder else { return Ok(None) };
    let counts = !entry.is_folded
        || id == task.id.as_i64()
        || session.conn.prepare_cached(IS_OPEN)?.exists([id])?;
    Ok(TaskId::try_from(id).ok().filter(|_| counts))
}

fn keep_key(session: &Session<'_, '_>, task: &Task) -> Outcome<()> {
    let Some(key) = &task.idempotency_key else { return Ok(()) };
    let mut statement = session.conn.prepare_cached(
        "INSERT OR REPLACE INTO idempotency (owner, key, task, expires_at) VALUES (?, ?, ?, ?)",
    )?;
    let mut binder = Binder::of(&mut statement);
    binder.put(owner(task))?;
    binder.put(key)?;
    binder.put(task.id.as_i64())?;
    binder.instant(task.idempotency_expires_at)?;
    binder.execute()?;
    Ok(())
}

/// A task without an owner shares its keys with all others without one.
///
/// The prefix keeps them apart from an owner whose name is empty.
pub(super) fn owner(task: &Task) -> String {
    task.owner.as_ref().map_or_else(String::new, |name| format!("={name}"))
}

/// What a task asks for, as stored.
pub(super) fn body(conn: &Connection, id: TaskId) -> Outcome<Option<Vec<u8>>> {
    Ok(conn.prepare_cached(BODY)?.query_row([id.as_i64()], bytes).optional()?)
}

/// The bytes of a body, whatever damage has made of them; what is no text is empty.
pub(super) fn bytes(row: &Row<'_>) -> rusqlite::Result<Vec<u8>> {
    Ok(row.get_ref(0)?.as_bytes().map(<[u8]>::to_vec).unwrap_or_default())
}
