//! What people ask: pages, counts, items of operations, events.

use super::{
    RedisStore, census, events, failure::Outcome, forget, items, page, server::Call, tasks,
};
use crate::{
    Desk, Forget, Forgotten, Freeze, Frozen, Item, Page, Query, Result, Seen, Totals, Trail,
    requests::Sequenced,
};
use async_trait::async_trait;
use deadletter_core::{
    Filter, OperationId, StateKind, TaskId, UnixMs,
    counts::{Dim, Place, Standing, Tally},
};

/// Rows that are counted between two questions.
const ROWS: u32 = 512;

#[async_trait]
impl Desk for RedisStore {
    async fn page(&self, query: &Query) -> Result<Page> {
        self.look("get a page", |call| async move { page::page(&call, query).await }).await
    }

    async fn census(
        &self,
        places: &[StateKind],
        dim: Dim,
        limit: u32,
    ) -> Result<Vec<(Standing, i64)>> {
        let what = "count what stands";
        let mut rows = self.look(what, |call| census::census(call, places, dim)).await?;
        rows.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
        Ok(rows)
    }

    async fn tallies(&self, dim: Dim, since: UnixMs, limit: u32) -> Result<Vec<(Tally, i64)>> {
        self.look("get tallies", |call| census::tallies(call, dim, since, limit)).await
    }

    async fn totals(&self) -> Result<Totals> {
        self.look("get the totals", census::totals).await
    }

    async fn recount(&self) -> Result<Totals> {
        let mut totals =
            self.look("count all tasks", |call| async move { rows(&call).await }).await?;
        totals.purged = self.totals().await?.purged;
        totals.accepted = totals.standing() + totals.purged;
        Ok(totals)
    }

    async fn freeze(&self, freeze: &Freeze) -> Result<Frozen> {
        self.transact("freeze tasks", |call| tasks::freeze(call, freeze)).await
    }

    async fn pending(
        &self,
        operation: &OperationId,
        after: Option<TaskId>,
        limit: u32,
    ) -> Result<Vec<Item>> {
        let what = "get pending items";
        self.look(what, |call| items::pending(call, operation, after, limit)).await
    }

    async fn skip(&self, operation: &OperationId, tasks: &[TaskId]) -> Result<()> {
        self.transact("skip items", |call| items::skip(call, operation, tasks)).await
    }

    async fn tally_items(&self, operation: &OperationId) -> Result<[u64; 3]> {
        self.look("count items", |call| items::tally(call, operation)).await
    }

    async fn purge(&self, tasks: &[(TaskId, u64)]) -> Result<u64> {
        self.transact("purge tasks", |call| tasks::purge(call, tasks)).await
    }

    async fn forget(&self, forget: &Forget) -> Result<Forgotten> {
        self.transact("forget", |call| forget::forget(call, forget)).await
    }

    async fn last_event(&self) -> Result<u64> {
        self.look("get the newest event", |call| async move { events::last(&call).await }).await
    }

    async fn events(&self, after: u64, limit: u32) -> Result<Vec<Sequenced>> {
        let what = "get events";
        self.look(what, |call| async move { events::after(&call, after, limit).await }).await
    }

    async fn trail(&self, id: TaskId, seen: &Seen, limit: u32) -> Result<Trail> {
        let what = "get a trail";
        self.look(what, |call| async move { events::trail(&call, id, seen, limit).await }).await
    }
}

/// The states of all rows, counted one by one.
async fn rows(call: &Call) -> Outcome<Totals> {
    let mut query = Query {
        filter: Filter::default(),
        now: call.now,
        newest_first: false,
        after: None,
        limit: ROWS,
        scan_limit: ROWS,
    };
    let mut states = Vec::new();
    loop {
        let found = page::page(call, &query).await?;
        states.extend(found.tasks.iter().map(|task| (Place::from(task.kind()), 1)));
        query.after = found.next;
        if found.next.is_none() {
            return Ok(states.into_iter().collect());
        }
    }
}
