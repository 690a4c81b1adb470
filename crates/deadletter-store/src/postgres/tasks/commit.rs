//! Changes: facts under an attempt's token, rows under a version.

use super::{attempt_row, task_row, write};
use crate::{
    Committed, Result,
    gather::Batch,
    postgres::{
        columns::Columns,
        failure::Outcome,
        server::Server,
        statement::Statement,
        transaction::{Transaction, Work},
    },
    stage::Stage,
};
use async_trait::async_trait;
use deadletter_core::{Change, Fact, Learned, Reading, Task, TaskId};
use secrecy::ExposeSecret;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

const LOCK: &str = "SELECT id, version, verdict_read_at FROM tasks WHERE id = ANY($1) \
     ORDER BY id FOR NO KEY UPDATE";

const LOCK_WHOLE: &str = concat!(
    "SELECT ",
    task_row::columns!(),
    " FROM tasks WHERE id = ANY($1) ORDER BY id FOR NO KEY UPDATE"
);

/// All attempts of tasks.
const ATTEMPTS: &str =
    concat!("SELECT ", attempt_row::columns!(), " FROM attempts WHERE task = ANY($1)");

/// Open attempts of other tasks under the upstream ids that attempts are given (or have already).
///
/// Each is looked up by the whole of its key, whatever the server believes of the table, which is empty
/// now and full a moment later: the fences (`OFFSET 0`) keep it from beginning at the other end. Past
/// attempts are looked for once for all facts, by their tasks, which name their partitions.
const NAMESAKES: &str = concat!(
    "WITH c AS MATERIALIZED (SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::text[]) \
         AS c (task, token, upstream_id)), \
     past AS MATERIALIZED ( \
       SELECT task, token, account, upstream_id FROM past_attempts WHERE task = ANY($1)), \
     mine AS MATERIALIZED ( \
       SELECT c.task AS whose, o.account AS place, coalesce(c.upstream_id, o.upstream_id) AS id \
       FROM c CROSS JOIN LATERAL (SELECT account, upstream_id FROM open_attempts \
         WHERE task = c.task AND token = c.token OFFSET 0) AS o \
       UNION ALL \
       SELECT c.task, p.account, coalesce(c.upstream_id, p.upstream_id) \
       FROM c JOIN past AS p ON p.task = c.task AND p.token = c.token) \
     SELECT ",
    attempt_row::columns!(),
    " FROM mine CROSS JOIN LATERAL (SELECT * FROM open_attempts \
         WHERE account = mine.place AND upstream_id = mine.id OFFSET 0) AS other \
     WHERE task <> whose"
);

/// Commits of many callers, as the contract of `Tasks::commit` says.
pub(in crate::postgres) struct Commits;

#[async_trait]
impl Batch for Commits {
    type Item = Change;
    type Answer = Committed;
    type Server = Server;

    fn bytes(change: &Change) -> usize {
        let answer = |fact: &Fact| match &fact.learned {
            Learned::Answered(answer) => answer.raw.expose_secret().len(),
            _ => 0,
        };
        change.facts.iter().map(answer).sum()
    }

    async fn run(server: &Arc<Server>, changes: &[Change]) -> Result<Vec<Committed>> {
        server.transact("commit changes", |tx| async move { commit(&tx, changes).await }).await
    }
}

async fn commit(tx: &Transaction, changes: &[Change]) -> Outcome<Work<Vec<Committed>>> {
    let mut stage = Stage::default();
    let found = tx.read_all(&questions(changes)).await?;
    let mut found = found.iter();
    for row in found.next().into_iter().flatten() {
        let columns = &mut Columns::of(row);
        stage.load(columns.number()?, columns.number()?, columns.instant_opt()?);
    }
    for row in found.flatten() {
        stage.load_attempt(attempt_row::read(row)?);
    }
    let committed = stage.commit(changes);
    Ok(Work::of(committed, write::statements(stage.into_writes(), tx.slot, tx.now)))
}

/// Rows first, then what is theirs.
fn questions(changes: &[Change]) -> Vec<Statement> {
    let facts = || changes.iter().flat_map(|change| &change.facts);
    let rows = changes.iter().filter_map(|change| change.row.as_ref());
    let of_facts: BTreeSet<i64> = facts().map(|fact| fact.task.as_i64()).collect();
    let tasks: BTreeSet<i64> =
        rows.map(|row| row.after.id.as_i64()).chain(of_facts.iter().copied()).collect();
    let mut asked = vec![Statement::new(LOCK).put(Vec::from_iter(tasks))];
    if !of_facts.is_empty() {
        asked.push(Statement::new(ATTEMPTS).put(Vec::from_iter(of_facts)));
    }
    let naming: Vec<&Fact> = changes.iter().flat_map(Change::naming).collect();
    if !naming.is_empty() {
        asked.push(namesakes(&naming));
    }
    asked
}

fn namesakes(naming: &[&Fact]) -> Statement {
    let name = |fact: &&Fact| match &fact.learned {
        Learned::Accepted(id) => Some(id.as_str().to_owned()),
        _ => None,
    };
    Statement::new(NAMESAKES)
        .put(naming.iter().map(|fact| fact.task.as_i64()).collect::<Vec<_>>())
        .put(naming.iter().map(|fact| fact.token.get()).collect::<Vec<_>>())
        .put(naming.iter().map(name).collect::<Vec<_>>())
}

/// Notes which verdicts were told; answers how many of them were news.
pub(super) async fn mark_read(tx: &Transaction, readings: &[Reading]) -> Outcome<Work<u64>> {
    let ids: Vec<i64> = readings.iter().map(|reading| reading.task.as_i64()).collect();
    let rows = tx.read(&Statement::new(LOCK_WHOLE).put(ids)).await?;
    let tasks: BTreeMap<TaskId, Task> = rows
        .iter()
        .map(|row| task_row::read(row).map(|task| (task.id, task)))
        .collect::<Outcome<_>>()?;
    let mut stage = Stage::default();
    let mut news = 0;
    for reading in readings {
        let task = tasks.get(&reading.task);
        news += u64::from(task.is_some_and(|task| stage.mark_read(task, reading)));
    }
    Ok(Work::of(news, write::statements(stage.into_writes(), tx.slot, tx.now)))
}
