//! What nobody alive holds any more goes to a worker that asks for it.

use super::{
    attempt_row, claim,
    commit::write_row,
    failure::Outcome,
    registry::{is_alive, must_be_alive},
    task_row,
    writer::Session,
};
use crate::{Error, TakeOver, Taken};
use deadletter_core::{Attempt, RowChange, StateKind, Task, WorkerId};
use rusqlite::{Connection, OptionalExtension};
use std::sync::LazyLock;

/// Distinct holders that one call looks at: far more than workers ever hold something at once.
const HOLDER_LIMIT: usize = 10_000;

/// The holder that follows a name, of leases and of open attempts: one step in an index each.
pub(super) const NEXT_OF_TASKS: &str = "SELECT worker FROM tasks INDEXED BY tasks_live \
     WHERE state IN ('submitting', 'polling') AND worker > ? ORDER BY worker LIMIT 1";
pub(super) const NEXT_OF_ATTEMPTS: &str = "SELECT worker FROM attempts INDEXED BY attempts_open \
     WHERE closed_at IS NULL AND upstream_id IS NOT NULL AND worker > ? ORDER BY worker LIMIT 1";

pub(super) static LEASES: LazyLock<String> = LazyLock::new(|| {
    format!(
        "SELECT {} FROM tasks INDEXED BY tasks_live \
         WHERE state IN ('submitting', 'polling') AND worker IS ? AND state = ? \
         AND account IN (SELECT value FROM json_each(?)) ORDER BY id LIMIT ?",
        *task_row::COLUMNS
    )
});

pub(super) static OPEN: LazyLock<String> = LazyLock::new(|| {
    format!(
        "SELECT {} FROM attempts INDEXED BY attempts_open \
         WHERE closed_at IS NULL AND upstream_id IS NOT NULL AND worker IS ? \
         AND account IN (SELECT value FROM json_each(?)) \
         AND NOT EXISTS (SELECT 1 FROM tasks WHERE tasks.id = attempts.task \
                         AND tasks.attempt IS attempts.token) \
         ORDER BY intent_at, task, token LIMIT ?",
        attempt_row::COLUMNS
    )
});

/// Takes over, as the contract of `Tasks::take_over` says.
pub(super) fn take_over(session: &mut Session<'_>, take: &TakeOver) -> Outcome<Taken> {
    must_be_alive(session.conn, &take.worker)?;
    for account in &take.accounts {
        claim::lapse(session, account, take.now)?;
    }
    let accounts: Vec<&str> = take.accounts.iter().map(|account| account.as_str()).collect();
    let accounts = serde_json::Value::from(accounts).to_string();
    let tasks = free_tasks(session.conn, take, &accounts)?;
    let abandoned = free_attempts(session.conn, take, &accounts)?;
    let mut taken = Taken::default();
    for task in tasks {
        let attempt = current(session.conn, &task)?;
        let row = RowChange::adopt(&task, &take.worker, take.now);
        if write_row(session, &row)? {
            let attempt = adopt(session, attempt, &take.worker)?;
            taken.tasks.push((row.after, attempt));
        }
    }
    for attempt in abandoned {
        taken.abandoned.push(adopt(session, attempt, &take.worker)?);
    }
    Ok(taken)
}

/// Leased tasks that nobody alive holds: `polling` ones first, each kind by id.
fn free_tasks(conn: &Connection, take: &TakeOver, accounts: &str) -> Outcome<Vec<Task>> {
    let limit = usize::try_from(take.limit).unwrap_or(usize::MAX);
    let holders = gone(conn, NEXT_OF_TASKS)?;
    let mut all = Vec::new();
    for state in [StateKind::Polling, StateKind::Submitting] {
        let mut found = Vec::new();
        let mut statement = conn.prepare_cached(&LEASES)?;
        for holder in &holders {
            let rows = statement
                .query_map((holder, state.label(), accounts, take.limit), task_row::read)?;
            for row in rows {
                found.push(row?);
            }
        }
        found.sort_by_key(|task: &Task| task.id);
        all.append(&mut found);
    }
    all.truncate(limit);
    Ok(all)
}

/// Open attempts that no task waits for and nobody alive polls, oldest intent first.
fn free_attempts(conn: &Connection, take: &TakeOver, accounts: &str) -> Outcome<Vec<Attempt>> {
    let mut found = Vec::new();
    let mut statement = conn.prepare_cached(&OPEN)?;
    for holder in gone(conn, NEXT_OF_ATTEMPTS)? {
        for row in statement.query_map((holder, accounts, take.limit), attempt_row::read)? {
            found.push(row?);
        }
    }
    found.sort_by_key(|attempt: &Attempt| (attempt.intent_at, attempt.task, attempt.token));
    found.truncate(usize::try_from(take.limit).unwrap_or(usize::MAX));
    Ok(found)
}

/// Nobody, and every holder that is not alive.
fn gone(conn: &Connection, next: &str) -> Outcome<Vec<Option<String>>> {
    let mut gone = vec![None];
    let mut statement = conn.prepare_cached(next)?;
    let mut last = String::new();
    for _ in 0..HOLDER_LIMIT {
        let next: Option<String> = statement.query_row([&last], |row| row.get(0)).optional()?;
        let Some(name) = next else { break };
        if !is_alive(conn, &name)? {
            gone.push(Some(name.clone()));
        }
        last = name;
    }
    Ok(gone)
}

fn current(conn: &Connection, task: &Task) -> Outcome<Attempt> {
    let attempt = match task.attempt {
        Some(token) => attempt_row::get(conn, task.id, token)?,
        None => None,
    };
    Ok(attempt.ok_or_else(|| Error::Damaged {
        what: format!("task {} is under way without an attempt", task.id),
        source: None,
    })?)
}

fn adopt(session: &mut Session<'_>, mut attempt: Attempt, worker: &WorkerId) -> Outcome<Attempt> {
    attempt.worker = Some(worker.clone());
    session.permits.update(session.conn, attempt.permit, &attempt)?;
    Ok(attempt)
}
