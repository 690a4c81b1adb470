//! What nobody alive holds any more goes to a worker that asks for it.

use super::{
    attempt_row, claim,
    commit::write_row,
    failure::Outcome,
    registry::{is_alive, must_be_alive},
    statements::Statements,
    task_row,
    writer::Session,
};
use crate::{TakeOver, Taken};
use deadletter_core::{AccountName, Attempt, RowChange, StateKind, Task, WorkerId};
use rusqlite::{Connection, OptionalExtension, Row};
use std::sync::LazyLock;

/// Distinct holders that one call looks at: far more than workers ever hold something at once.
const HOLDER_LIMIT: usize = 10_000;

/// The holder that follows a name, of leases and of open attempts: one step in an index each.
pub(super) const NEXT_OF_TASKS: &str = "SELECT worker FROM tasks INDEXED BY tasks_live \
     WHERE attempt IS NOT NULL AND worker > ? ORDER BY worker LIMIT 1";
pub(super) const NEXT_OF_ATTEMPTS: &str = "SELECT worker FROM attempts INDEXED BY attempts_open \
     WHERE closed_at IS NULL AND account = ? AND worker > ? ORDER BY worker LIMIT 1";

pub(super) static LEASES: LazyLock<String> = LazyLock::new(|| {
    format!(
        "SELECT {} FROM tasks INDEXED BY tasks_live \
         WHERE attempt IS NOT NULL AND worker IS ? AND state = ? \
         AND account IN (SELECT value FROM json_each(?)) ORDER BY id LIMIT ?",
        task_row::COLUMNS
    )
});

pub(super) static OPEN: LazyLock<String> = LazyLock::new(|| {
    format!(
        "SELECT {} FROM attempts INDEXED BY attempts_open \
         WHERE closed_at IS NULL AND account = ? AND worker IS ? AND upstream_id IS NOT NULL \
         AND (intent_at, task, token) > (?, ?, ?) \
         AND NOT EXISTS (SELECT 1 FROM tasks WHERE tasks.id = attempts.task \
                         AND tasks.attempt IS attempts.token) \
         ORDER BY intent_at, task, token LIMIT ?",
        attempt_row::COLUMNS
    )
});

/// Takes over, as the contract of `Tasks::take_over` says.
pub(super) fn take_over(session: &mut Session<'_, '_>, take: &TakeOver) -> Outcome<Taken> {
    must_be_alive(session.statements, &take.worker)?;
    for account in &take.accounts {
        claim::lapse(session, account, take.now)?;
    }
    let accounts: Vec<&str> = take.accounts.iter().map(|account| account.as_str()).collect();
    let accounts = serde_json::Value::from(accounts).to_string();
    let tasks = free_tasks(session.statements, take, &accounts)?;
    let abandoned = free_attempts(session.statements, take)?;
    let mut taken = Taken::default();
    for task in tasks {
        let attempt = current(session.statements, &task)?;
        let row = RowChange::adopt(&task, &take.worker, take.now);
        if !write_row(session, &row)? {
            continue;
        }
        match attempt {
            Some(attempt) => {
                let attempt = adopt(session, attempt, &take.worker)?;
                taken.tasks.push((row.after, attempt));
            }
            None => taken.damaged.push(row.after),
        }
    }
    for attempt in abandoned {
        taken.abandoned.push(adopt(session, attempt, &take.worker)?);
    }
    Ok(taken)
}

/// Leased tasks that nobody alive holds: `polling` ones first, each kind by id.
fn free_tasks(statements: &Statements<'_>, take: &TakeOver, accounts: &str) -> Outcome<Vec<Task>> {
    let limit = usize::try_from(take.limit).unwrap_or(usize::MAX);
    let holders = gone(statements, NEXT_OF_TASKS, None)?;
    let mut all = Vec::new();
    for state in [StateKind::Polling, StateKind::Submitting] {
        let mut found = Vec::new();
        let mut statement = statements.get(&LEASES)?;
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
fn free_attempts(statements: &Statements<'_>, take: &TakeOver) -> Outcome<Vec<Attempt>> {
    let mut found = Vec::new();
    let mut statement = statements.get(&OPEN)?;
    for account in &take.accounts {
        for holder in gone(statements, NEXT_OF_ATTEMPTS, Some(account))? {
            let (at, task, token) = behind(None);
            let params = (account.as_str(), holder, at, task, token, take.limit);
            for row in statement.query_map(params, attempt_row::read)? {
                found.push(row?);
            }
        }
    }
    found.sort_by_key(|attempt: &Attempt| (attempt.intent_at, attempt.task, attempt.token));
    found.truncate(usize::try_from(take.limit).unwrap_or(usize::MAX));
    Ok(found)
}

/// What a worker polls, as the contract of `Tasks::abandoned` says.
pub(super) fn abandoned(
    conn: &Connection,
    worker: &WorkerId,
    account: &AccountName,
    after: Option<&Attempt>,
    limit: u32,
) -> Outcome<Vec<Attempt>> {
    let mut statement = conn.prepare_cached(&OPEN)?;
    let (at, task, token) = behind(after);
    let params = (account.as_str(), worker.as_str(), at, task, token, limit);
    let rows = statement.query_map(params, attempt_row::read)?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// Where a walk over attempts goes on: the place of the last one, or one before them all.
const fn behind(last: Option<&Attempt>) -> (i64, i64, i64) {
    match last {
        Some(last) => (last.intent_at.0, last.task.as_i64(), last.token.get()),
        None => (i64::MIN, 0, 0),
    }
}

/// Nobody, and every holder that is not alive; `next` takes an account where one is given.
fn gone(
    statements: &Statements<'_>,
    next: &'static str,
    account: Option<&AccountName>,
) -> Outcome<Vec<Option<String>>> {
    let mut gone = vec![None];
    let mut statement = statements.get(next)?;
    let mut last = String::new();
    for _ in 0..HOLDER_LIMIT {
        let worker = |row: &Row<'_>| row.get(0);
        let next: Option<String> = match account {
            Some(account) => statement.query_row((account.as_str(), &last), worker),
            None => statement.query_row([&last], worker),
        }
        .optional()?;
        let Some(name) = next else { break };
        if !is_alive(statements, &name)? {
            gone.push(Some(name.clone()));
        }
        last = name;
    }
    Ok(gone)
}

fn current(statements: &Statements<'_>, task: &Task) -> Outcome<Option<Attempt>> {
    match task.attempt {
        Some(token) => Ok(attempt_row::get(statements, task.id, token)?),
        None => Ok(None),
    }
}

fn adopt(session: &mut Session<'_, '_>, before: Attempt, worker: &WorkerId) -> Outcome<Attempt> {
    let attempt = Attempt { worker: Some(worker.clone()), ..before.clone() };
    session.permits.update(session.statements, &before, &attempt)?;
    Ok(attempt)
}
