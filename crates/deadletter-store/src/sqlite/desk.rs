//! What people ask: counts, items of operations, purges, events.

use super::{
    attempt_row, columns::Columns, commit::settle, deliveries, failure::Outcome, insert::owner,
    page, writer::Session,
};
use crate::{
    Item, Page, Seen, Totals, Trail,
    requests::{Sequenced, document_of},
};
use deadletter_core::{
    Attempt, Event, ItemState, OperationId, StateKind, Task, TaskId, UnixMs,
    counts::{Dim, Standing, Tally},
};
use rusqlite::{Connection, OptionalExtension, Row, Statement};

pub(super) const PENDING: &str = "SELECT task, version, state FROM operation_items \
     INDEXED BY operation_items_pending WHERE operation = ? AND state = 'pending' \
     AND task > ? ORDER BY task LIMIT ?";

pub(super) const EVENTS_OF: &str = "SELECT seq, task, at, state, reason, cause, answered_by FROM events INDEXED BY events_task \
     WHERE task = ? AND seq > ? ORDER BY seq LIMIT ?";

pub(super) const ITEMS_OF: &str = "SELECT operation, version, state FROM operation_items \
     INDEXED BY operation_items_task WHERE task = ? AND operation > ? ORDER BY operation LIMIT ?";

/// The rows of `standing` for one dimension, largest first.
pub(super) fn census(
    conn: &Connection,
    states: &[StateKind],
    dim: Dim,
    limit: u32,
) -> Outcome<Vec<(Standing, i64)>> {
    let states = if states.is_empty() { StateKind::ALL } else { states };
    let places: Vec<&str> = states.iter().map(|state| state.label()).collect();
    let mut statement = conn.prepare_cached(
        "SELECT place, cause, class, dim, value, n FROM standing \
         WHERE dim = ? AND place IN (SELECT value FROM json_each(?)) AND n <> 0 \
         ORDER BY n DESC, place, cause, value LIMIT ?",
    )?;
    let rows = statement.query_map(
        (dim.label(), serde_json::Value::from(places).to_string(), limit),
        |row| {
            let columns = &mut Columns::of(row);
            let standing = Standing {
                place: columns.text()?,
                cause: columns.word_opt()?,
                class: columns.word_opt()?,
                dim: columns.text()?,
                value: columns.take()?,
            };
            Ok((standing, columns.take()?))
        },
    )?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// The rows of `tallies` for one dimension, by time.
pub(super) fn tallies(
    conn: &Connection,
    dim: Dim,
    since: UnixMs,
    limit: u32,
) -> Outcome<Vec<(Tally, i64)>> {
    let mut statement = conn.prepare_cached(
        "SELECT minute, tallied, cause, dim, value, n FROM tallies \
         WHERE dim = ? AND minute >= ? ORDER BY minute, tallied, cause, value LIMIT ?",
    )?;
    let rows = statement.query_map((dim.label(), since.0, limit), |row| {
        let columns = &mut Columns::of(row);
        let tally = Tally {
            minute: columns.instant()?,
            tallied: columns.text()?,
            cause: columns.word_opt()?,
            dim: columns.text()?,
            value: columns.take()?,
        };
        Ok((tally, columns.take()?))
    })?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// The conservation totals, from the counts.
pub(super) fn totals(conn: &Connection) -> Outcome<Totals> {
    let mut statement =
        conn.prepare_cached("SELECT place, sum(n) FROM standing WHERE dim = 'all' GROUP BY place")?;
    sum_up(&mut statement)
}

/// The same by looking at every row.
pub(super) fn recount(conn: &Connection) -> Outcome<Totals> {
    let mut statement = conn.prepare_cached("SELECT state, count(*) FROM tasks GROUP BY state")?;
    let mut totals = sum_up(&mut statement)?;
    totals.purged = self::totals(conn)?.purged;
    totals.accepted = totals.standing() + totals.purged;
    Ok(totals)
}

/// Freezes the tasks of a page, at the versions at which they were seen; answers how many are new.
pub(super) fn freeze(
    session: &mut Session<'_, '_>,
    operation: &OperationId,
    page: &Page,
) -> Outcome<u32> {
    let mut added = 0;
    for task in &page.tasks {
        let is_new = session
            .conn
            .prepare_cached(
                "INSERT OR IGNORE INTO operation_items (operation, task, version, state) \
                 VALUES (?, ?, ?, 'pending')",
            )?
            .execute((operation.as_str(), task.id.as_i64(), task.version.cast_signed()))?;
        if is_new == 1 {
            session.counts.items(operation, ItemState::Pending, 1);
            added += 1;
        }
    }
    Ok(added)
}

/// Pending items by task, those behind one.
pub(super) fn pending(
    conn: &Connection,
    operation: &OperationId,
    after: Option<TaskId>,
    limit: u32,
) -> Outcome<Vec<Item>> {
    // Task ids begin at 0.
    let after = after.map_or(-1, TaskId::as_i64);
    let mut statement = conn.prepare_cached(PENDING)?;
    let rows = statement.query_map((operation.as_str(), after, limit), |row| {
        let columns = &mut Columns::of(row);
        Ok(Item { task: columns.number()?, version: columns.number()?, state: columns.text()? })
    })?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// Marks pending items as skipped.
pub(super) fn skip(
    session: &mut Session<'_, '_>,
    operation: &OperationId,
    tasks: &[TaskId],
) -> Outcome<()> {
    tasks.iter().try_for_each(|task| settle(session, operation, *task, ItemState::Skipped))
}

/// How many items are pending, done, skipped.
pub(super) fn tally_items(conn: &Connection, operation: &OperationId) -> Outcome<[u64; 3]> {
    let mut statement =
        conn.prepare_cached("SELECT state, n FROM item_counts WHERE operation = ?")?;
    let mut tally = [0; 3];
    let rows = statement.query_map([operation.as_str()], |row| {
        let columns = &mut Columns::of(row);
        Ok((columns.text::<ItemState>()?, columns.number::<u64>()?))
    })?;
    let [pending, done, skipped] = &mut tally;
    for row in rows {
        let (state, n) = row?;
        *match state {
            ItemState::Pending => &mut *pending,
            ItemState::Done => &mut *done,
            ItemState::Skipped => &mut *skipped,
        } = n;
    }
    Ok(tally)
}

/// Deletes terminal tasks at these versions; answers how many.
pub(super) fn purge(session: &mut Session<'_, '_>, tasks: &[(TaskId, u64)]) -> Outcome<u64> {
    let mut purged = 0;
    for (id, version) in tasks {
        let task = page::get(session.conn, *id)?;
        let may_go = |task: &Task| task.version == *version && task.kind().is_terminal();
        let Some(task) = task.filter(may_go) else { continue };
        let attempts = history(session.conn, *id)?;
        if attempts.iter().any(|attempt| attempt.holds_permit(session.now)) {
            continue;
        }
        delete(session, &task)?;
        session.counts.purged(&task);
        purged += 1;
    }
    Ok(purged)
}

fn delete(session: &mut Session<'_, '_>, task: &Task) -> Outcome<()> {
    let id = task.id.as_i64();
    for (operation, state) in items_of(session.conn, task.id)? {
        session.counts.items(&operation, state, -1);
    }
    deliveries::delete(session, task.id)?;
    for sql in [
        "DELETE FROM operation_items WHERE task = ?",
        "DELETE FROM answers WHERE task = ?",
        "DELETE FROM attempts WHERE task = ?",
        "DELETE FROM requests WHERE task = ?",
        "DELETE FROM tasks WHERE id = ?",
    ] {
        session.conn.prepare_cached(sql)?.execute([id])?;
    }
    let documents = document_of(task.id, "");
    session
        .conn
        .prepare_cached("DELETE FROM documents WHERE key >= ?1 AND key < ?1 || char(0x10FFFF)")?
        .execute([documents])?;
    if let Some(key) = &task.idempotency_key {
        session
            .conn
            .prepare_cached("DELETE FROM idempotency WHERE owner = ? AND key = ? AND task = ?")?
            .execute((owner(task), key, id))?;
    }
    Ok(())
}

fn items_of(conn: &Connection, task: TaskId) -> Outcome<Vec<(OperationId, ItemState)>> {
    let mut statement =
        conn.prepare_cached("SELECT operation, state FROM operation_items WHERE task = ?")?;
    let rows = statement.query_map([task.as_i64()], |row| {
        let columns = &mut Columns::of(row);
        Ok((columns.text()?, columns.text()?))
    })?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// The attempts of a task, by number.
pub(super) fn history(conn: &Connection, id: TaskId) -> Outcome<Vec<Attempt>> {
    let mut statement = conn.prepare_cached(attempt_row::OF_TASK)?;
    let rows = statement.query_map([id.as_i64()], attempt_row::read)?;
    let mut attempts = rows.collect::<rusqlite::Result<Vec<Attempt>>>()?;
    attempts.sort_by_key(|attempt| attempt.n);
    Ok(attempts)
}

/// The number of the newest event.
pub(super) fn last_event(conn: &Connection) -> Outcome<u64> {
    let last = conn
        .prepare_cached("SELECT seq FROM events ORDER BY seq DESC LIMIT 1")?
        .query_row([], |row| Columns::of(row).number())
        .optional()?;
    Ok(last.unwrap_or(0))
}

/// Events after a number of the sequence.
pub(super) fn events(conn: &Connection, after: u64, limit: u32) -> Outcome<Vec<Sequenced>> {
    let mut statement = conn.prepare_cached(
        "SELECT seq, task, at, state, reason, cause, answered_by FROM events \
         WHERE seq > ? ORDER BY seq LIMIT ?",
    )?;
    let after = i64::try_from(after).unwrap_or(i64::MAX);
    let rows = statement.query_map((after, limit), read_event)?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// What is on record of a task beside its attempts.
pub(super) fn trail(conn: &Connection, id: TaskId, seen: &Seen, limit: u32) -> Outcome<Trail> {
    let mut statement = conn.prepare_cached(EVENTS_OF)?;
    let event = i64::try_from(seen.event).unwrap_or(i64::MAX);
    let events = statement.query_map((id.as_i64(), event, limit), read_event)?;
    let mut items = conn.prepare_cached(ITEMS_OF)?;
    // No operation has an empty name.
    let operation = seen.operation.as_ref().map_or("", |operation| operation.as_str());
    let items = items.query_map((id.as_i64(), operation, limit), |row| {
        let columns = &mut Columns::of(row);
        let operation = columns.text()?;
        let (version, state) = (columns.number()?, columns.text()?);
        Ok((operation, Item { task: id, version, state }))
    })?;
    Ok(Trail {
        events: events.collect::<rusqlite::Result<_>>()?,
        items: items.collect::<rusqlite::Result<_>>()?,
    })
}

fn read_event(row: &Row<'_>) -> rusqlite::Result<Sequenced> {
    let columns = &mut Columns::of(row);
    let seq = columns.number()?;
    let event = Event {
        task: columns.number()?,
        at: columns.instant()?,
        state: columns.text()?,
        reason: columns.text_opt()?,
        cause: columns.text_opt()?,
        answered_by: columns.token_opt()?,
    };
    Ok((seq, event))
}

fn sum_up(statement: &mut Statement<'_>) -> Outcome<Totals> {
    let rows = statement.query_map([], |row| {
        let columns = &mut Columns::of(row);
        Ok((columns.text()?, columns.take()?))
    })?;
    Ok(rows.collect::<rusqlite::Result<Totals>>()?)
}
