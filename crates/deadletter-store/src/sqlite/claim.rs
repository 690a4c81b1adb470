//! Due tasks become leases, each with the intent of its next attempt.

use super::{attempt_row, commit, failure::Outcome, insert, registry, task_row, writer::Session};
use crate::Claim;
use deadletter_core::{AccountName, Attempt, Lane, RowChange, Task, TaskId, UnixMs};
use rusqlite::{Connection, OptionalExtension, Statement};
use std::sync::LazyLock;

/// Waiting tasks that one claim makes ready at most. After an outage, when more are due at once,
/// the next claims go on; until then priority holds among those that are ready.
const PROMOTE_LIMIT: i64 = 1_000;

/// Ready tasks of a lane among which the earliest due time is looked for.
const LOOK_LIMIT: i64 = 64;

/// A lease, with its payload as stored; none where it is not there.
pub(super) struct Leased {
    pub(super) task: Task,
    pub(super) attempt: Attempt,
    pub(super) body: Option<Vec<u8>>,
}

pub(super) static READY: LazyLock<String> = LazyLock::new(|| {
    format!(
        "SELECT {} FROM tasks INDEXED BY tasks_ready \
         WHERE ready = 1 AND account = ? AND lane = ? AND due_at <= ? \
         AND (deadline_at IS NULL OR deadline_at > ?) \
         ORDER BY priority, turn, due_at, id LIMIT ?",
        task_row::COLUMNS
    )
});

pub(super) const PROMOTE: &str = "UPDATE tasks SET ready = 1 WHERE id IN \
     (SELECT id FROM tasks INDEXED BY tasks_waiting \
      WHERE ready = 0 AND account = ? AND due_at <= ? ORDER BY due_at LIMIT ?)";

pub(super) const LAPSED: &str = "SELECT task, token FROM attempts INDEXED BY attempts_lapsing \
     WHERE permit_until IS NOT NULL AND closed_at IS NULL \
     AND account = ? AND permit_until <= ?";

pub(super) const NEXT_WAITING: &str = "SELECT min(due_at) FROM tasks INDEXED BY tasks_waiting \
     WHERE ready = 0 AND account = ?";

const EARLIEST_READY: &str = "SELECT min(due_at) FROM \
     (SELECT due_at FROM tasks INDEXED BY tasks_ready WHERE ready = 1 AND account = ? AND lane = ? \
      ORDER BY priority, turn, due_at, id LIMIT ?)";

/// Takes due tasks of one lane, as the contract of `Tasks::claim` says.
pub(super) fn claim(session: &mut Session<'_, '_>, claim: &Claim) -> Outcome<Vec<Leased>> {
    registry::must_be_alive(session.statements, &claim.worker)?;
    lapse(session, &claim.account, claim.now)?;
    let held = session.permits.in_use(session.statements, &claim.account)?;
    let free = usize::try_from(claim.threads.saturating_sub(held)).unwrap_or(usize::MAX);
    let tokens = claim.tokens.get(..free.min(claim.tokens.len())).unwrap_or_default();
    if tokens.is_empty() {
        return Ok(Vec::new());
    }
    promote(session, &claim.account, claim.now)?;
    let due = due(session, claim, tokens.len())?;
    let mut leased = Vec::with_capacity(due.len());
    for (task, token) in due.iter().zip(tokens) {
        let Some((row, attempt)) = RowChange::claim(task, &claim.worker, *token, claim.now) else {
            continue;
        };
        if commit::write_row(session, &row)? {
            session.permits.begin(session.statements, &attempt)?;
            let body = body(session, task.id)?;
            leased.push(Leased { task: row.after, attempt, body });
        }
    }
    Ok(leased)
}

/// What a task asks for.
fn body(session: &Session<'_, '_>, id: TaskId) -> Outcome<Option<Vec<u8>>> {
    let mut statement = session.statements.get(insert::BODY)?;
    Ok(statement.query_row([id.as_i64()], insert::bytes).optional()?)
}

/// Makes waiting tasks ready that are due.
fn promote(session: &Session<'_, '_>, account: &AccountName, now: UnixMs) -> Outcome<()> {
    // Mostly nobody is due, and to look costs a tenth of the update.
    let mut waiting = session.statements.get(NEXT_WAITING)?;
    if next_waiting(&mut waiting, account)?.is_some_and(|due_at| due_at <= now) {
        let params = (account.as_str(), now.0, PROMOTE_LIMIT);
        session.statements.get(PROMOTE)?.execute(params)?;
    }
    Ok(())
}

fn next_waiting(waiting: &mut Statement<'_>, account: &AccountName) -> Outcome<Option<UnixMs>> {
    let next: Option<i64> = waiting.query_row([account.as_str()], |row| row.get(0))?;
    Ok(next.map(UnixMs))
}

fn due(session: &Session<'_, '_>, claim: &Claim, limit: usize) -> Outcome<Vec<Task>> {
    let mut statement = session.statements.get(&READY)?;
    let found = statement.query_map(
        (
            claim.account.as_str(),
            claim.lane.label(),
            claim.now.0,
            claim.now.0,
            i64::try_from(limit).unwrap_or(i64::MAX),
        ),
        task_row::read,
    )?;
    Ok(found.collect::<rusqlite::Result<_>>()?)
}

/// When the next task that may be claimed is due.
///
/// Where more than [`LOOK_LIMIT`] are due already, the answer is the due time of one of them.
pub(super) fn next_due(conn: &Connection, account: &AccountName) -> Outcome<Option<UnixMs>> {
    let mut next = next_waiting(&mut *conn.prepare_cached(NEXT_WAITING)?, account)?;
    let mut statement = conn.prepare_cached(EARLIEST_READY)?;
    for lane in Lane::ALL {
        let ready: Option<i64> =
            statement.query_row((account.as_str(), lane.label(), LOOK_LIMIT), |row| row.get(0))?;
        next = next.into_iter().chain(ready.map(UnixMs)).min();
    }
    Ok(next)
}

/// Closes the account's abandoned attempts whose time has come, and frees their permits.
pub(super) fn lapse(
    session: &mut Session<'_, '_>,
    account: &AccountName,
    now: UnixMs,
) -> Outcome<()> {
    let mut statement = session.statements.get(LAPSED)?;
    let lapsed: Vec<(i64, i64)> = statement
        .query_map((account.as_str(), now.0), |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<rusqlite::Result<_>>()?;
    for (task, token) in lapsed {
        let Some(mut attempt) = attempt_row::get_raw(session.statements, task, token)? else {
            continue;
        };
        let before = attempt.clone();
        if attempt.lapse(now) {
            session.permits.update(session.statements, &before, &attempt)?;
        }
    }
    Ok(())
}
