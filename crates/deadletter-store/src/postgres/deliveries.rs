//! Deliveries: made with the change that they tell of, taken when due, settled.

use super::{
    PostgresStore,
    columns::{Columns, bigint},
    failure::Outcome,
    nul,
    statement::Statement,
    transaction::Work,
};
use crate::{Among, Deliveries, DeliveryCounts, Due, NextDelivery, Result};
use async_trait::async_trait;
use deadletter_core::{AttemptToken, Delivery, DeliveryState, Settlement, TaskId};
use std::collections::BTreeMap;

/// The columns of a delivery, as [`read`] expects them.
macro_rules! columns {
    () => {
        "task, version, place, ended, cause, class, answered_by, made_at, state, due_at, tries, \
         settled_at, said"
    };
}

const INSERT: &str = concat!(
    "INSERT INTO deliveries (",
    columns!(),
    ") SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::text[], $4::text[], $5::text[], \
     $6::text[], $7::bigint[], $8::bigint[], $9::text[], $10::bigint[], $11::bigint[], \
     $12::bigint[], $13::text[])"
);

const DUE: &str = concat!(
    "SELECT ",
    columns!(),
    " FROM deliveries WHERE due_at IS NOT NULL AND place = $1 AND due_at <= $2 \
     ORDER BY due_at, task, version LIMIT $3 FOR UPDATE SKIP LOCKED"
);

const GET: &str = concat!(
    "SELECT ",
    columns!(),
    " FROM deliveries WHERE (task, version) IN \
     (SELECT * FROM unnest($1::bigint[], $2::bigint[])) ORDER BY task, version FOR UPDATE"
);

const UPDATE: &str = "UPDATE deliveries AS d SET state = n.state, due_at = n.due_at, \
     tries = n.tries, settled_at = n.settled_at, said = n.said \
     FROM unnest($1::bigint[], $2::bigint[], $3::text[], $4::bigint[], $5::bigint[], \
                 $6::bigint[], $7::text[]) \
          AS n (task, version, state, due_at, tries, settled_at, said) \
     WHERE d.task = ANY (ARRAY[n.task]) AND d.version = n.version";

const COUNT: &str = "INSERT INTO delivery_counts (state, slot, n) \
     SELECT state, $1, n FROM unnest($2::text[], $3::bigint[]) AS d (state, n) ORDER BY state \
     ON CONFLICT (state, slot) DO UPDATE SET n = delivery_counts.n + excluded.n";

const PURGE: &str = "WITH gone AS (DELETE FROM deliveries WHERE task = ANY($2) RETURNING state) \
     INSERT INTO delivery_counts (state, slot, n) \
     SELECT state, $1, -count(*) FROM gone GROUP BY state ORDER BY state \
     ON CONFLICT (state, slot) DO UPDATE SET n = delivery_counts.n + excluded.n";

/// The first of what waits for the place of a row `p`.
macro_rules! first_of_p {
    () => {
        "(SELECT due_at FROM deliveries WHERE due_at IS NOT NULL AND deliveries.place = p.place \
          ORDER BY due_at LIMIT 1)"
    };
}

/// Steps from place to place through the index: what waits for one of them is not walked.
const NEXT_OF_ALL: &str = concat!(
    "WITH RECURSIVE p (place) AS ( \
     (SELECT place FROM deliveries WHERE due_at IS NOT NULL ORDER BY place LIMIT 1) UNION ALL \
     SELECT (SELECT place FROM deliveries WHERE due_at IS NOT NULL AND deliveries.place > p.place \
             ORDER BY place LIMIT 1) \
     FROM p WHERE p.place IS NOT NULL) SELECT place, ",
    first_of_p!(),
    " AS first_at FROM p WHERE place IS NOT NULL AND place <> ALL($1) ORDER BY first_at LIMIT 1"
);

const NEXT_OF_THESE: &str = concat!(
    "SELECT place, first_at FROM (SELECT p.place, ",
    first_of_p!(),
    " AS first_at FROM unnest($1::text[]) AS p (place)) AS places \
     WHERE first_at IS NOT NULL ORDER BY first_at LIMIT 1"
);

const OF_TASK: &str = concat!(
    "SELECT ",
    columns!(),
    " FROM deliveries WHERE task = $1 ORDER BY version DESC LIMIT $2"
);

const COUNTS: &str = "SELECT state, sum(n)::bigint FROM delivery_counts GROUP BY state";

/// What writes new deliveries, and counts them.
pub(super) fn made(slot: i16, deliveries: &[Delivery]) -> Vec<Statement> {
    if deliveries.is_empty() {
        return Vec::new();
    }
    let mut counts = BTreeMap::new();
    for delivery in deliveries {
        *counts.entry(delivery.state.label()).or_default() += 1;
    }
    vec![insert(deliveries), count(slot, counts)]
}

/// What deletes the deliveries of tasks, and counts them no more.
pub(super) fn purged(slot: i16, tasks: &[TaskId]) -> Vec<Statement> {
    let tasks: Vec<i64> = tasks.iter().map(|task| task.as_i64()).collect();
    vec![Statement::new(PURGE).put(slot).put(tasks)]
}

fn insert(all: &[Delivery]) -> Statement {
    let texts = |of: fn(&Delivery) -> Option<&str>| -> Vec<Option<String>> {
        all.iter().map(|it| of(it).map(nul::escaped)).collect()
    };
    let numbers =
        |of: fn(&Delivery) -> Option<i64>| -> Vec<Option<i64>> { all.iter().map(of).collect() };
    Statement::new(INSERT)
        .put(numbers(|it| Some(it.task.as_i64())))
        .put(numbers(|it| Some(bigint(it.version))))
        .put(texts(|it| Some(&it.place)))
        .put(texts(|it| Some(it.ended.label())))
        .put(texts(|it| it.cause.as_ref().map(|cause| cause.as_str())))
        .put(texts(|it| it.class.map(|class| class.label())))
        .put(numbers(|it| it.answered_by.map(AttemptToken::get)))
        .put(numbers(|it| Some(it.made_at.0)))
        .put(texts(|it| Some(it.state.label())))
        .put(numbers(|it| it.due_at.map(|at| at.0)))
        .put(numbers(|it| Some(it.tries.into())))
        .put(numbers(|it| it.settled_at.map(|at| at.0)))
        .put(texts(|it| it.said.as_deref()))
}

/// Writes how far deliveries have come.
fn update(all: &[Delivery]) -> Statement {
    let numbers =
        |of: fn(&Delivery) -> Option<i64>| -> Vec<Option<i64>> { all.iter().map(of).collect() };
    Statement::new(UPDATE)
        .put(numbers(|it| Some(it.task.as_i64())))
        .put(numbers(|it| Some(bigint(it.version))))
        .put(all.iter().map(|it| it.state.label().to_owned()).collect::<Vec<_>>())
        .put(numbers(|it| it.due_at.map(|at| at.0)))
        .put(numbers(|it| Some(it.tries.into())))
        .put(numbers(|it| it.settled_at.map(|at| at.0)))
        .put(all.iter().map(|it| it.said.as_deref().map(nul::escaped)).collect::<Vec<_>>())
}

fn count(slot: i16, counts: BTreeMap<&'static str, i64>) -> Statement {
    let (states, n): (Vec<String>, Vec<i64>) =
        counts.into_iter().map(|(state, n)| (state.to_owned(), n)).unzip();
    Statement::new(COUNT).put(slot).put(states).put(n)
}

#[async_trait]
impl Deliveries for PostgresStore {
    async fn take_deliveries(&self, due: &Due) -> Result<Vec<Delivery>> {
        self.transact("take deliveries", |tx| async move {
            let question = Statement::new(DUE).put(nul::escaped(&due.place)).put(due.now.0);
            let rows = tx.read(&question.put(i64::from(due.limit))).await?;
            let taken = rows.iter().map(|row| Ok(read(&mut Columns::of(row))?.taken(due.until)));
            let taken = taken.collect::<Outcome<Vec<Delivery>>>()?;
            let writes = if taken.is_empty() { Vec::new() } else { vec![update(&taken)] };
            Ok(Work::of(taken, writes))
        })
        .await
    }

    async fn settle_deliveries(&self, settled: &[Settlement]) -> Result<Vec<bool>> {
        self.transact("settle deliveries", |tx| async move {
            let tasks: Vec<i64> = settled.iter().map(|it| it.task.as_i64()).collect();
            let versions: Vec<i64> = settled.iter().map(|it| bigint(it.version)).collect();
            let rows = tx.read(&Statement::new(GET).put(tasks).put(versions)).await?;
            let found = rows.iter().map(|row| {
                let delivery = read(&mut Columns::of(row))?;
                Ok(((delivery.task, delivery.version), delivery))
            });
            let mut found = found.collect::<Outcome<BTreeMap<_, Delivery>>>()?;
            let mut counts = BTreeMap::new();
            let mut answers = Vec::with_capacity(settled.len());
            for settlement in settled {
                let delivery = found.get_mut(&(settlement.task, settlement.version));
                answers.push(delivery.is_some_and(|delivery| {
                    let before = delivery.state.label();
                    let is_settled = delivery.settle(settlement);
                    *counts.entry(before).or_default() -= 1;
                    *counts.entry(delivery.state.label()).or_default() += 1;
                    is_settled
                }));
            }
            let writes = match answers.contains(&true) {
                true => {
                    let all: Vec<Delivery> = found.into_values().collect();
                    vec![update(&all), count(tx.slot, counts)]
                }
                false => Vec::new(),
            };
            Ok(Work::of(answers, writes))
        })
        .await
    }

    async fn next_delivery(&self, among: &Among) -> Result<Option<NextDelivery>> {
        let (sql, places) = match among {
            Among::AllBut(busy) => (NEXT_OF_ALL, busy),
            Among::These(places) => (NEXT_OF_THESE, places),
        };
        let question =
            Statement::new(sql).put(places.iter().map(|it| nul::escaped(it)).collect::<Vec<_>>());
        let next = self.list("find the next delivery", question, |columns| {
            Ok(NextDelivery { place: columns.plain()?, due_at: columns.instant()? })
        });
        Ok(next.await?.pop())
    }

    async fn deliveries(&self, task: TaskId, limit: u32) -> Result<Vec<Delivery>> {
        let question = Statement::new(OF_TASK).put(task.as_i64()).put(i64::from(limit));
        self.list("get deliveries", question, read).await
    }

    async fn count_deliveries(&self) -> Result<DeliveryCounts> {
        let states = self.list("count deliveries", Statement::new(COUNTS), |columns| {
            Ok((columns.text::<DeliveryState>()?, columns.take::<i64>()?))
        });
        let mut counts = DeliveryCounts::default();
        for (state, n) in states.await? {
            *counts.of(state) = n;
        }
        Ok(counts)
    }
}

fn read(columns: &mut Columns<'_>) -> Outcome<Delivery> {
    Ok(Delivery {
        task: columns.number()?,
        version: columns.number()?,
        place: columns.plain()?,
        ended: columns.text()?,
        cause: columns.text_opt()?,
        class: columns.text_opt()?,
        answered_by: columns.token_opt()?,
        made_at: columns.instant()?,
        state: columns.text()?,
        due_at: columns.instant_opt()?,
        tries: columns.number()?,
        settled_at: columns.instant_opt()?,
        said: columns.plain_opt()?,
    })
}
