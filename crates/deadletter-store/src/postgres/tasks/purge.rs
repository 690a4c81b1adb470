//! Tasks deleted with all that is theirs, and tasks frozen as items of an operation.

use super::{attempt_row, counts, keys, task_row};
use crate::{
    Freeze, Frozen, Page,
    postgres::{
        columns::Columns,
        deliveries,
        failure::Outcome,
        partition,
        statement::Statement,
        transaction::{Transaction, Work},
    },
    requests::document_of,
    stage::{Stage, Writes},
};
use deadletter_core::{TaskId, UnixMs};
use std::collections::HashMap;

const LOCK: &str = concat!(
    "SELECT ",
    task_row::columns!(),
    " FROM tasks WHERE id = ANY($1) ORDER BY id FOR UPDATE"
);

const ATTEMPTS: &str =
    concat!("SELECT ", attempt_row::columns!(), " FROM attempts WHERE task = ANY($1)");

/// Items of the tasks, and the counts of those.
const DROP_ITEMS: &str = "WITH dropped AS ( \
       DELETE FROM operation_items WHERE task = ANY($1) RETURNING operation, state), \
     deltas (operation, state, n) AS ( \
       SELECT operation, state, -count(*) FROM dropped GROUP BY operation, state) \
     INSERT INTO item_counts (operation, state, slot, n) \
     SELECT operation, state, $2::smallint, n FROM deltas ORDER BY operation, state \
     ON CONFLICT (operation, state, slot) DO UPDATE SET n = item_counts.n + excluded.n";

/// Documents whose names lie between two.
const DROP_DOCUMENTS: &str = "DELETE FROM documents AS d \
     USING unnest($1::text[], $2::text[]) AS c (first, behind) \
     WHERE d.key >= c.first AND d.key < c.behind";

/// Pending items for tasks that stand; one that is an item already stays as it is.
const FREEZE: &str = "WITH standing AS MATERIALIZED ( \
       SELECT id FROM tasks WHERE id = ANY($2) ORDER BY id FOR KEY SHARE), \
     frozen AS ( \
       INSERT INTO operation_items (operation, task, version, state) \
       SELECT $1, c.task, c.version, 'pending' \
       FROM unnest($2::bigint[], $3::bigint[]) AS c (task, version) \
       JOIN standing ON standing.id = c.task ORDER BY c.task \
       ON CONFLICT DO NOTHING RETURNING 1), \
     counted AS ( \
       INSERT INTO item_counts (operation, state, slot, n) \
       SELECT $1, 'pending', $4::smallint, count(*) FROM frozen \
       ON CONFLICT (operation, state, slot) DO UPDATE SET n = item_counts.n + excluded.n) \
     SELECT count(*) FROM frozen";

/// Deletes tasks, as the contract of `Desk::purge` says.
pub(super) async fn purge(tx: &Transaction, tasks: &[(TaskId, u64)]) -> Outcome<Work<u64>> {
    let versions: HashMap<TaskId, u64> = tasks.iter().copied().collect();
    let ids: Vec<i64> = versions.keys().map(|id| id.as_i64()).collect();
    let asked = [Statement::new(LOCK).put(ids.clone()), Statement::new(ATTEMPTS).put(ids)];
    let found = tx.read_all(&asked).await?;
    let mut stage = Stage::default();
    for row in found.get(1).into_iter().flatten() {
        stage.load_attempt(attempt_row::read(row)?);
    }
    let mut purged = 0;
    for row in found.first().into_iter().flatten() {
        let task = task_row::read(row)?;
        let version = versions.get(&task.id);
        purged += u64::from(version.is_some_and(|version| stage.purge(&task, *version, tx.now)));
    }
    let writes = stage.into_writes();
    let statements = if purged == 0 { Vec::new() } else { delete(&writes, tx.slot, tx.now) };
    Ok(Work::of(purged, statements))
}

/// In the order of locks, which `write` explains.
fn delete(writes: &Writes, slot: i16, now: UnixMs) -> Vec<Statement> {
    let tasks: Vec<TaskId> = writes.purged.keys().copied().collect();
    let ids: Vec<i64> = tasks.iter().map(|id| id.as_i64()).collect();
    let mut all: Vec<Statement> = [
        "DELETE FROM answers WHERE task = ANY($1)",
        "DELETE FROM open_attempts WHERE task = ANY($1)",
        "DELETE FROM requests WHERE task = ANY($1)",
        "DELETE FROM tasks WHERE id = ANY($1)",
    ]
    .map(|sql| Statement::new(sql).put(ids.clone()))
    .into();
    all.extend(partition::purged(&tasks, now));
    let keys = keys::of(&writes.purged);
    all.extend((!keys.is_empty()).then(|| keys::let_go(&keys)));
    all.extend(deliveries::purged(slot, &tasks));
    all.push(Statement::new(DROP_ITEMS).put(ids).put(slot));
    let first: Vec<String> = tasks.iter().map(|id| document_of(*id, "")).collect();
    // Behind a slash comes a zero.
    let behind = first.iter().map(|name| name.trim_end_matches('/').to_owned() + "0").collect();
    all.push(Statement::new(DROP_DOCUMENTS).put(first).put::<Vec<String>>(behind));
    all.extend(counts::add(&writes.counts, slot));
    all
}

/// Freezes the tasks of a page, at the versions at which they were seen.
pub(super) async fn freeze(
    tx: &Transaction,
    freeze: &Freeze,
    page: &Page,
) -> Outcome<Work<Frozen>> {
    let (ids, versions): (Vec<i64>, Vec<i64>) =
        page.tasks.iter().map(|task| (task.id.as_i64(), task.version.cast_signed())).unzip();
    let asked =
        Statement::new(FREEZE).text(freeze.operation.as_str()).put(ids).put(versions).put(tx.slot);
    let rows = tx.read(&asked).await?;
    let added = rows.first().map_or(Ok(0), |row| Columns::of(row).number())?;
    Ok(Work::done(Frozen { added, next: page.next }))
}
