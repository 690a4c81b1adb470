//! What nobody alive holds any more goes to a worker that asks for it.

use super::{attempt_row, claim, task_row, write};
use crate::{
    TakeOver, Taken,
    postgres::{
        columns::Columns,
        failure::Outcome,
        statement::Statement,
        transaction::{Transaction, Work},
    },
    stage::Stage,
};
use deadletter_core::{Attempt, AttemptToken, Task, TaskId};
use std::collections::{BTreeMap, HashSet};
use tokio_postgres::Row;

/// Leased tasks that nobody alive holds: `polling` ones first, each kind by id. Holders are found
/// by one step each in an index, whatever number of tasks they have.
const FREE_TASKS: &str = concat!(
    "WITH RECURSIVE holders (worker) AS ( \
       (SELECT worker FROM tasks WHERE attempt IS NOT NULL AND worker IS NOT NULL \
        ORDER BY worker LIMIT 1) \
       UNION ALL \
       SELECT (SELECT t.worker FROM tasks AS t WHERE t.attempt IS NOT NULL \
               AND t.worker > holders.worker ORDER BY t.worker LIMIT 1) \
       FROM holders WHERE holders.worker IS NOT NULL), \
     gone (worker) AS ( \
       SELECT worker FROM holders WHERE worker IS NOT NULL AND NOT EXISTS ( \
         SELECT 1 FROM workers AS w \
         WHERE w.id = holders.worker AND w.dead_at IS NULL AND w.left_at IS NULL)) \
     SELECT ",
    task_row::columns!(),
    " FROM tasks WHERE attempt IS NOT NULL AND state IN ('polling', 'submitting') \
     AND account = ANY($1) \
     AND (worker IS NULL OR worker = ANY(ARRAY(SELECT worker FROM gone))) \
     ORDER BY state <> 'polling', id LIMIT $2 FOR NO KEY UPDATE SKIP LOCKED"
);

/// Tasks of open attempts that no task waits for and nobody alive polls, oldest intent first.
/// There are never many more open attempts than their accounts have threads.
const WITH_ABANDONED: &str = "SELECT id, attempt FROM tasks WHERE id IN ( \
       SELECT a.task FROM open_attempts AS a WHERE a.account = ANY($1) \
       AND a.upstream_id IS NOT NULL AND (a.permit_until IS NULL OR a.permit_until > $2) \
       AND NOT EXISTS (SELECT 1 FROM workers AS w \
         WHERE w.id = a.worker AND w.dead_at IS NULL AND w.left_at IS NULL) \
       AND NOT EXISTS (SELECT 1 FROM tasks AS t WHERE t.id = a.task AND t.attempt = a.token) \
       ORDER BY a.intent_at, a.task, a.token LIMIT $3) \
     ORDER BY id FOR NO KEY UPDATE SKIP LOCKED";

/// All attempts of tasks that are locked by now, and whether somebody alive has each in hand.
const ATTEMPTS: &str = concat!(
    "SELECT ",
    attempt_row::columns!(),
    ", EXISTS (SELECT 1 FROM workers AS w WHERE w.id = attempts.worker \
       AND w.dead_at IS NULL AND w.left_at IS NULL) \
     FROM attempts WHERE task = ANY($1)"
);

/// What a call has locked.
struct Locked {
    /// Leased tasks to take over, in the order of the contract.
    tasks: Vec<Task>,
    /// What tasks with abandoned attempts wait for.
    waits_for: BTreeMap<TaskId, Option<AttemptToken>>,
    /// Tasks with attempts that have lapsed.
    lapsed: HashSet<TaskId>,
}

/// Takes over, as the contract of `Tasks::take_over` says.
pub(super) async fn take_over(tx: &Transaction, take: &TakeOver) -> Outcome<Work<Taken>> {
    let locked = lock(tx, take).await?;
    let ids = locked.tasks.iter().map(|task| task.id).chain(locked.waits_for.keys().copied());
    let ids: HashSet<i64> = ids.chain(locked.lapsed.iter().copied()).map(TaskId::as_i64).collect();
    let found = tx.read(&Statement::new(ATTEMPTS).put(Vec::from_iter(ids))).await?;
    let mut stage = Stage::default();
    let mut free = Vec::new();
    for row in &found {
        let columns = &mut Columns::of(row);
        let attempt = attempt_row::read_from(columns)?;
        let is_held: bool = columns.take()?;
        let waits_for = locked.waits_for.get(&attempt.task);
        if !is_held && waits_for.is_some_and(|token| *token != Some(attempt.token)) {
            free.push((attempt.intent_at, attempt.task, attempt.token));
        }
        stage.load_attempt(attempt);
    }
    stage.lapse(&take.accounts, take.now);
    free.sort_unstable();
    let taken = adopt(&mut stage, take, &locked.tasks, &free);
    Ok(Work::of(taken, write::statements(stage.into_writes(), tx.slot, tx.now)))
}

async fn lock(tx: &Transaction, take: &TakeOver) -> Outcome<Locked> {
    let accounts = || take.accounts.iter().map(|it| it.as_str().to_owned()).collect::<Vec<_>>();
    let limit = i64::from(take.limit);
    let [lock_lapsed, _] = claim::lapsing(&take.accounts, take.now);
    let asked = [
        claim::alive(&take.worker),
        lock_lapsed,
        Statement::new(FREE_TASKS).put(accounts()).put(limit),
        Statement::new(WITH_ABANDONED).put(accounts()).put(take.now.0).put(limit),
    ];
    let found = tx.read_all(&asked).await?;
    let mut found = found.iter();
    claim::must_be_alive(found.next().map_or(&[], Vec::as_slice), &take.worker)?;
    let mut next = || found.next().into_iter().flatten();
    let lapsed = next().map(|row| Columns::of(row).number()).collect::<Outcome<_>>()?;
    let tasks = next().map(task_row::read).collect::<Outcome<_>>()?;
    let waits_for = next().map(read_wait).collect::<Outcome<_>>()?;
    Ok(Locked { tasks, waits_for, lapsed })
}

fn read_wait(row: &Row) -> Outcome<(TaskId, Option<AttemptToken>)> {
    let columns = &mut Columns::of(row);
    Ok((columns.number()?, columns.token_opt()?))
}

fn adopt<I>(
    stage: &mut Stage,
    take: &TakeOver,
    tasks: &[Task],
    free: &[(I, TaskId, AttemptToken)],
) -> Taken {
    let mut taken = Taken::default();
    for task in tasks {
        match stage.adopt(task, &take.worker, take.now) {
            (task, Some(attempt)) => taken.tasks.push((task, attempt)),
            (task, None) => taken.damaged.push(task),
        }
    }
    let limit = usize::try_from(take.limit).unwrap_or(usize::MAX);
    for (_, task, token) in free {
        let can_be_polled = |attempt: &Attempt| {
            attempt.is_open()
                && attempt.upstream_id.is_some()
                && take.accounts.contains(&attempt.account)
        };
        let is_free = stage.attempt(*task, *token).is_some_and(can_be_polled);
        if is_free && taken.abandoned.len() < limit {
            taken.abandoned.extend(stage.adopt_attempt(*task, *token, &take.worker));
        }
    }
    taken
}
