//! Due tasks become leases, each with the intent of its next attempt.

use super::{attempt_row, task_row, write};
use crate::{
    Claim, Claimed, Error,
    postgres::{
        columns::Columns,
        failure::{Failure, Outcome},
        statement::Statement,
        transaction::{Transaction, Work},
    },
    stage::Stage,
};
use deadletter_core::{AccountName, Payload, TaskId, UnixMs, WorkerId};
use std::collections::HashSet;
use tokio_postgres::Row;

/// Waiting tasks that one claim makes ready at most. After an outage, when more are due at once,
/// the next claims go on; until then priority holds among those that are ready.
const PROMOTE_LIMIT: i64 = 1_000;

/// Attempts that one call lets lapse at most: the next one goes on.
const LAPSE_LIMIT: i64 = 1_000;

/// One claim of an account at a time, over all processes: permits are counted and lent by one.
const LOCK_ACCOUNT: &str =
    "SELECT pg_advisory_xact_lock(hashtextextended(current_schema() || '/' || $1, 0))";

/// A worker that is alive, and stays so until the end of the transaction; it may beat.
const ALIVE: &str = "SELECT 1 FROM workers \
     WHERE id = $1 AND dead_at IS NULL AND left_at IS NULL FOR KEY SHARE";

/// Tasks with attempts whose time has come. One that somebody is writing is left to the next call.
const LOCK_LAPSED: &str = "SELECT id FROM tasks WHERE id IN ( \
       SELECT task FROM open_attempts WHERE account = ANY($1) AND permit_until <= $2 \
       AND permit_until IS NOT NULL LIMIT $3) \
     ORDER BY id FOR NO KEY UPDATE SKIP LOCKED";

const LAPSED: &str = concat!(
    "SELECT ",
    attempt_row::columns!(),
    " FROM open_attempts WHERE account = ANY($1) AND permit_until <= $2 AND permit_until IS NOT NULL"
);

/// Makes waiting tasks ready that are due.
const PROMOTE: &str = "WITH due AS MATERIALIZED ( \
       SELECT id FROM tasks WHERE NOT ready AND account = $1 AND due_at <= $2 \
       ORDER BY due_at LIMIT $3 FOR NO KEY UPDATE SKIP LOCKED) \
     UPDATE tasks SET ready = true FROM due WHERE tasks.id = due.id";

/// Takes as many as there are tokens, and threads that may be free. The rows come from under the
/// lock, in the form in which they were locked; requests never change.
///
/// With them comes how many permits are held, those of attempts that have lapsed and are not closed
/// too: one that somebody is writing may be given more time. Nobody else lends any meanwhile.
const TAKE: &str = concat!(
    "WITH held AS MATERIALIZED ( \
       SELECT count(*) AS permits, \
              count(*) FILTER (WHERE permit_until IS NULL OR permit_until > $3) AS unlapsed \
       FROM open_attempts WHERE account = $1 AND permit), \
     due AS MATERIALIZED ( SELECT ",
    task_row::columns!(),
    " FROM tasks WHERE ready AND account = $1 AND lane = $2 AND due_at <= $3 \
       AND (deadline_at IS NULL OR deadline_at > $3) \
       ORDER BY priority, turn, due_at, id \
       LIMIT least($4, greatest(0, $5 - (SELECT unlapsed FROM held))) \
       FOR NO KEY UPDATE SKIP LOCKED) \
     SELECT due.*, r.body, held.permits FROM due CROSS JOIN held \
     LEFT JOIN requests AS r ON r.task = ANY (ARRAY[due.id]) ORDER BY priority, turn, due_at, id"
);

/// Takes due tasks of one lane, as the contract of `Tasks::claim` says.
pub(super) async fn claim(tx: &Transaction, claim: &Claim) -> Outcome<Work<Vec<Claimed>>> {
    let account = claim.account.as_str();
    let [lock_lapsed, lapsed] = lapsing(std::slice::from_ref(&claim.account), claim.now);
    let limit = i64::try_from(claim.tokens.len()).unwrap_or(i64::MAX);
    let asked = [
        Statement::new(LOCK_ACCOUNT).text(account),
        alive(&claim.worker),
        lock_lapsed,
        lapsed,
        Statement::new(PROMOTE).text(account).put(claim.now.0).put(PROMOTE_LIMIT),
        Statement::new(TAKE)
            .text(account)
            .text(claim.lane.label())
            .put(claim.now.0)
            .put(limit)
            .put(i64::from(claim.threads)),
    ];
    let found = tx.read_all(&asked).await?;
    let [_, worker, locked, lapsed, _, due] = found.as_slice() else {
        return Ok(Work::of(Vec::new(), Vec::new()));
    };
    must_be_alive(worker, &claim.worker)?;
    let mut stage = Stage::default();
    let locked = locked.iter().map(|row| Columns::of(row).number());
    load_lapsed(&mut stage, &locked.collect::<Outcome<_>>()?, lapsed)?;
    let freed = stage.lapse(std::slice::from_ref(&claim.account), claim.now);
    let mut claimed = Vec::with_capacity(due.len());
    for (row, token) in due.iter().zip(&claim.tokens) {
        let columns = &mut Columns::of(row);
        let task = task_row::read_from(columns)?;
        let body: Option<&str> = columns.take()?;
        let held = columns.number::<usize>()?.saturating_sub(freed) + claimed.len();
        if held >= claim.threads as usize {
            break;
        }
        if let Some((task, attempt)) = stage.begin(&task, &claim.worker, *token, claim.now) {
            let payload = body.and_then(|body| Payload::from_stored(body).ok());
            claimed.push(Claimed { task, attempt, payload });
        }
    }
    Ok(Work::of(claimed, write::statements(stage.into_writes(), tx.slot, tx.now)))
}

/// Asks whether a worker is alive, and keeps it so.
pub(super) fn alive(worker: &WorkerId) -> Statement {
    Statement::new(ALIVE).text(worker.as_str())
}

/// `DeclaredDead` where [`alive`] has found nobody.
pub(super) fn must_be_alive(found: &[Row], worker: &WorkerId) -> Outcome<()> {
    match found.is_empty() {
        true => Err(Failure::Store(Error::DeclaredDead(worker.clone()))),
        false => Ok(()),
    }
}

/// Locks the tasks of attempts that have lapsed, and asks for these.
pub(super) fn lapsing(accounts: &[AccountName], now: UnixMs) -> [Statement; 2] {
    let names = || accounts.iter().map(|it| it.as_str().to_owned()).collect::<Vec<_>>();
    [
        Statement::new(LOCK_LAPSED).put(names()).put(now.0).put(LAPSE_LIMIT),
        Statement::new(LAPSED).put(names()).put(now.0),
    ]
}

/// Takes in what [`lapsing`] has found, as far as it is locked.
pub(super) fn load_lapsed(
    stage: &mut Stage,
    locked: &HashSet<TaskId>,
    found: &[Row],
) -> Outcome<()> {
    for row in found {
        let attempt = attempt_row::read(row)?;
        if locked.contains(&attempt.task) {
            stage.load_attempt(attempt);
        }
    }
    Ok(())
}
