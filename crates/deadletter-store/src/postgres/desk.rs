//! What people ask: pages, counts, items of operations, events.

use super::{
    PostgresStore,
    columns::{Columns, bigint},
    failure::Outcome,
    forget, partition,
    statement::Statement,
    tasks,
    transaction::Work,
};
use crate::{
    Desk, Forget, Forgotten, Freeze, Frozen, Item, Page, Query, Result, Seen, Totals, Trail,
    requests::Sequenced,
};
use async_trait::async_trait;
use deadletter_core::{
    Event, ItemState, OperationId, StateKind, TaskId, UnixMs,
    counts::{Dim, Place, Standing, Tally},
};
use std::collections::BTreeMap;

const CENSUS: &str = "SELECT place, cause, class, dim, value, sum(n)::bigint AS all_n \
     FROM standing WHERE dim = $1 AND place = ANY($2) GROUP BY place, cause, class, dim, value \
     HAVING sum(n) <> 0 ORDER BY all_n DESC, place, cause, value LIMIT $3";

const TALLIES: &str = "SELECT minute, tallied, cause, dim, value, sum(n)::bigint FROM tallies \
     WHERE dim = $1 AND minute >= $2 GROUP BY minute, tallied, cause, dim, value \
     HAVING sum(n) <> 0 ORDER BY minute, tallied, cause, value LIMIT $3";

const TOTALS: &str = "SELECT place, sum(n)::bigint FROM standing WHERE dim = 'all' GROUP BY place";

const RECOUNT: &str = "SELECT state, count(*) FROM tasks GROUP BY state";

const PENDING: &str = "SELECT task, version, state FROM operation_items \
     WHERE operation = $1 AND state = 'pending' AND task > $2 ORDER BY task LIMIT $3";

const TALLY_ITEMS: &str =
    "SELECT state, sum(n)::bigint FROM item_counts WHERE operation = $1 GROUP BY state";

const LAST_EVENT: &str = "SELECT coalesce(max(seq), 0) FROM events";

const EVENTS: &str = "SELECT seq, task, at, state, reason, cause, answered_by FROM events \
     WHERE seq > $1 ORDER BY seq LIMIT $2";

const EVENTS_OF: &str = "SELECT seq, task, at, state, reason, cause, answered_by FROM events \
     WHERE task = $1 AND seq > $2 ORDER BY seq LIMIT $3";

const ITEMS_OF: &str = "SELECT operation, task, version, state FROM operation_items \
     WHERE task = $1 AND operation > $2 ORDER BY operation LIMIT $3";

#[async_trait]
impl Desk for PostgresStore {
    async fn page(&self, query: &Query) -> Result<Page> {
        self.page_of(query).await
    }

    async fn census(
        &self,
        places: &[StateKind],
        dim: Dim,
        limit: u32,
    ) -> Result<Vec<(Standing, i64)>> {
        let states = if places.is_empty() { StateKind::ALL } else { places };
        let places: Vec<String> = states.iter().map(|state| state.label().to_owned()).collect();
        let census = Statement::new(CENSUS).text(dim.label()).put(places).put(i64::from(limit));
        self.list("count what stands", census, |columns| {
            let standing = Standing {
                place: columns.text()?,
                cause: columns.word_opt()?,
                class: columns.word_opt()?,
                dim: columns.text()?,
                value: columns.plain()?,
            };
            Ok((standing, columns.take()?))
        })
        .await
    }

    async fn tallies(&self, dim: Dim, since: UnixMs, limit: u32) -> Result<Vec<(Tally, i64)>> {
        let tallies = Statement::new(TALLIES).text(dim.label()).put(since.0).put(i64::from(limit));
        self.list("get tallies", tallies, |columns| {
            let tally = Tally {
                minute: columns.instant()?,
                tallied: columns.text()?,
                cause: columns.word_opt()?,
                dim: columns.text()?,
                value: columns.plain()?,
            };
            Ok((tally, columns.take()?))
        })
        .await
    }

    async fn totals(&self) -> Result<Totals> {
        Ok(self.list("get the totals", Statement::new(TOTALS), place).await?.into_iter().collect())
    }

    async fn recount(&self) -> Result<Totals> {
        let rows = self.list("count all tasks", Statement::new(RECOUNT), place).await?;
        let mut totals: Totals = rows.into_iter().collect();
        totals.purged = self.totals().await?.purged;
        totals.accepted = totals.standing() + totals.purged;
        Ok(totals)
    }

    async fn freeze(&self, freeze: &Freeze) -> Result<Frozen> {
        let page = self.page_of(&freeze.query).await?;
        tasks::freeze(self, freeze, &page).await
    }

    async fn pending(
        &self,
        operation: &OperationId,
        after: Option<TaskId>,
        limit: u32,
    ) -> Result<Vec<Item>> {
        // Task ids begin at 0.
        let after = after.map_or(-1, TaskId::as_i64);
        let pending = Statement::new(PENDING).text(operation.as_str()).put(after);
        self.list("get pending items", pending.put(i64::from(limit)), item).await
    }

    async fn skip(&self, operation: &OperationId, tasks: &[TaskId]) -> Result<()> {
        let items = tasks.iter().map(|task| ((operation.clone(), *task), ItemState::Skipped));
        let items: &BTreeMap<_, _> = &items.collect();
        self.transact("skip items", |tx| async move {
            let writes =
                if items.is_empty() { vec![] } else { vec![tasks::settle(items, tx.slot)] };
            Ok(Work::of((), writes))
        })
        .await
    }

    async fn tally_items(&self, operation: &OperationId) -> Result<[u64; 3]> {
        let counts = Statement::new(TALLY_ITEMS).text(operation.as_str());
        let counts = self.list("count items", counts, |columns| {
            Ok((columns.text::<ItemState>()?, columns.number::<u64>()?))
        });
        let mut tally = [0; 3];
        let [pending, done, skipped] = &mut tally;
        for (state, n) in counts.await? {
            *match state {
                ItemState::Pending => &mut *pending,
                ItemState::Done => &mut *done,
                ItemState::Skipped => &mut *skipped,
            } = n;
        }
        Ok(tally)
    }

    async fn purge(&self, tasks: &[(TaskId, u64)]) -> Result<u64> {
        tasks::purge(self, tasks).await
    }

    async fn forget(&self, forget: &Forget) -> Result<Forgotten> {
        // Once in a round: it looks at all counts.
        if forget.events_after == 0 {
            self.transact("fold counts", |tx| forget::fold(tx, forget)).await?;
            partition::tend(&self.server).await;
        }
        self.transact("forget", |tx| forget::forget(tx, forget)).await
    }

    async fn last_event(&self) -> Result<u64> {
        let last = Statement::new(LAST_EVENT);
        let last = self.list("get the newest event", last, |columns| columns.number()).await?;
        Ok(last.last().copied().unwrap_or(0))
    }

    async fn events(&self, after: u64, limit: u32) -> Result<Vec<Sequenced>> {
        let events = Statement::new(EVENTS).put(bigint(after)).put(i64::from(limit));
        self.list("get events", events, event).await
    }

    async fn trail(&self, id: TaskId, seen: &Seen, limit: u32) -> Result<Trail> {
        // No operation has an empty name.
        let operation = seen.operation.as_ref().map_or("", |operation| operation.as_str());
        self.look("get a trail", |tx| async move {
            let of = |sql| Statement::new(sql).put(id.as_i64());
            let asked = [
                of(EVENTS_OF).put(bigint(seen.event)).put(i64::from(limit)),
                of(ITEMS_OF).text(operation).put(i64::from(limit)),
            ];
            let answers = tx.read_all(&asked).await?;
            let mut answers = answers.iter().map(|rows| rows.iter());
            let (events, items) = (answers.next(), answers.next());
            let events = events.into_iter().flatten().map(|row| event(&mut Columns::of(row)));
            let items = items.into_iter().flatten().map(|row| {
                let columns = &mut Columns::of(row);
                Ok((columns.text()?, item(columns)?))
            });
            Ok(Trail {
                events: events.collect::<Outcome<_>>()?,
                items: items.collect::<Outcome<_>>()?,
            })
        })
        .await
    }
}

fn place(columns: &mut Columns<'_>) -> Outcome<(Place, i64)> {
    Ok((columns.text()?, columns.take()?))
}

fn item(columns: &mut Columns<'_>) -> Outcome<Item> {
    Ok(Item { task: columns.number()?, version: columns.number()?, state: columns.text()? })
}

fn event(columns: &mut Columns<'_>) -> Outcome<Sequenced> {
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
