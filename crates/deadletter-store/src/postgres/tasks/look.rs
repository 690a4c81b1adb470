//! Questions about tasks, each in one round trip.

use super::{answer_row, attempt_row, task_row};
use crate::postgres::{
    columns::Columns, failure::Outcome, statement::Statement, transaction::Transaction,
};
use deadletter_core::{
    AccountName, Answer, Attempt, Payload, StateKind, Task, TaskId, UnixMs, UpstreamId, WorkerId,
};
use futures_util::future::try_join;
use std::collections::HashMap;

const GET: &str = concat!("SELECT ", task_row::columns!(), " FROM tasks WHERE id = ANY($1)");

const BODY: &str = "SELECT body FROM requests WHERE task = $1";

const HISTORY: &str =
    concat!("SELECT ", attempt_row::columns!(), " FROM attempts WHERE task = $1 ORDER BY n, token");

const BEARERS: &str = "SELECT count(*) FROM attempts \
     WHERE account = $1 AND upstream_id = $2 AND upstream_id IS NOT NULL";

const OVERDUE: &str = concat!(
    "SELECT ",
    task_row::columns!(),
    " FROM tasks WHERE due_at IS NOT NULL AND deadline_at IS NOT NULL \
     AND account = $1 AND deadline_at <= $2 ORDER BY deadline_at, id LIMIT $3"
);

const ABANDONED: &str = concat!(
    "SELECT ",
    attempt_row::columns!(),
    " FROM open_attempts AS attempts WHERE account = $1 AND worker = $2 \
     AND upstream_id IS NOT NULL AND (intent_at, task, token) > ($3, $4, $5) \
     AND NOT EXISTS (SELECT 1 FROM tasks AS t \
                     WHERE t.id = attempts.task AND t.attempt = attempts.token) \
     ORDER BY intent_at, task, token LIMIT $6"
);

/// The first that waits, and of those that are ready the earliest of a few in each lane: where more
/// are due already, the answer is the due time of one of them.
const NEXT_DUE: &str = "SELECT min(due_at) FROM ( \
       (SELECT due_at FROM tasks WHERE NOT ready AND account = $1 ORDER BY due_at LIMIT 1) \
       UNION ALL (SELECT due_at FROM tasks WHERE ready AND account = $1 AND lane = 'first' \
                  ORDER BY priority, turn, due_at, id LIMIT 64) \
       UNION ALL (SELECT due_at FROM tasks WHERE ready AND account = $1 AND lane = 'retry' \
                  ORDER BY priority, turn, due_at, id LIMIT 64) \
       UNION ALL (SELECT due_at FROM tasks WHERE ready AND account = $1 AND lane = 'suspect' \
                  ORDER BY priority, turn, due_at, id LIMIT 64)) AS due";

/// Rows, in the order asked for.
pub(super) async fn get(tx: &Transaction, ids: &[TaskId]) -> Outcome<Vec<Option<Task>>> {
    let numbers: Vec<i64> = ids.iter().map(|id| id.as_i64()).collect();
    let rows = tx.read(&Statement::new(GET).put(numbers)).await?;
    let tasks = rows.iter().map(|row| task_row::read(row).map(|task| (task.id, task)));
    let tasks: HashMap<TaskId, Task> = tasks.collect::<Outcome<_>>()?;
    Ok(ids.iter().map(|id| tasks.get(id).cloned()).collect())
}

/// A row with its answer where it is solved.
pub(super) async fn told(tx: &Transaction, id: TaskId) -> Outcome<Option<(Task, Option<Answer>)>> {
    let ids = [id];
    let (mut tasks, answer) = try_join(get(tx, &ids), answer(tx, id)).await?;
    let Some(task) = tasks.pop().flatten() else { return Ok(None) };
    if task.kind() != StateKind::Solved {
        return Ok(Some((task, None)));
    }
    Ok(answer.map(|answer| (task, Some(answer))))
}

/// What a task asks for; none where it cannot be read.
pub(super) async fn payload(tx: &Transaction, id: TaskId) -> Outcome<Option<Payload>> {
    let rows = tx.read(&Statement::new(BODY).put(id.as_i64())).await?;
    let Some(row) = rows.first() else { return Ok(None) };
    Ok(Payload::from_stored(Columns::of(row).take()?).ok())
}

/// The attempts of a task, by number.
pub(super) async fn history(tx: &Transaction, id: TaskId) -> Outcome<Vec<Attempt>> {
    let rows = tx.read(&Statement::new(HISTORY).put(id.as_i64())).await?;
    rows.iter().map(attempt_row::read).collect()
}

/// The answer that won; where none did, one that is kept.
pub(super) async fn answer(tx: &Transaction, id: TaskId) -> Outcome<Option<Answer>> {
    let rows = tx.read(&answer_row::of(id)).await?;
    rows.first().map(answer_row::read).transpose()
}

/// Every answer that is kept.
pub(super) async fn answers(tx: &Transaction, id: TaskId) -> Outcome<Vec<Answer>> {
    tx.read(&answer_row::all_of(id)).await?.iter().map(answer_row::read).collect()
}

/// How many attempts of an account carry an upstream id.
pub(super) async fn bearers(
    tx: &Transaction,
    account: &AccountName,
    id: &UpstreamId,
) -> Outcome<u32> {
    let rows = tx.read(&Statement::new(BEARERS).text(account.as_str()).text(id.as_str())).await?;
    rows.first().map_or(Ok(0), |row| Columns::of(row).number())
}

/// Queued tasks of an account whose deadline has passed, oldest deadline first.
pub(super) async fn overdue(
    tx: &Transaction,
    account: &AccountName,
    now: UnixMs,
    limit: u32,
) -> Outcome<Vec<Task>> {
    let asked = Statement::new(OVERDUE).text(account.as_str()).put(now.0).put(i64::from(limit));
    tx.read(&asked).await?.iter().map(task_row::read).collect()
}

/// What a worker polls that no task waits for, behind `after`.
pub(super) async fn abandoned(
    tx: &Transaction,
    worker: &WorkerId,
    account: &AccountName,
    after: Option<&Attempt>,
    limit: u32,
) -> Outcome<Vec<Attempt>> {
    let (at, task, token) = match after {
        Some(last) => (last.intent_at.0, last.task.as_i64(), last.token.get()),
        None => (i64::MIN, 0, 0),
    };
    let asked = Statement::new(ABANDONED)
        .text(account.as_str())
        .text(worker.as_str())
        .put(at)
        .put(task)
        .put(token)
        .put(i64::from(limit));
    tx.read(&asked).await?.iter().map(attempt_row::read).collect()
}

/// When the next task that may be claimed is due.
pub(super) async fn next_due(tx: &Transaction, account: &AccountName) -> Outcome<Option<UnixMs>> {
    let rows = tx.read(&Statement::new(NEXT_DUE).text(account.as_str())).await?;
    rows.first().map_or(Ok(None), |row| Columns::of(row).instant_opt())
}
