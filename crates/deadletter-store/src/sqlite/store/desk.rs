//! The async shell of [`Desk`].

use super::SqliteStore;
use crate::{
    Desk, Forget, Forgotten, Freeze, Frozen, Item, Page, Query, Result, Seen, Sequenced, Totals,
    Trail,
    sqlite::{desk, forget, page},
};
use async_trait::async_trait;
use deadletter_core::{
    OperationId, StateKind, TaskId, UnixMs,
    counts::{Dim, Standing, Tally},
};

#[async_trait]
impl Desk for SqliteStore {
    async fn page(&self, query: &Query) -> Result<Page> {
        let query = query.clone();
        self.read("get a page", move |conn| page::page(conn, &query)).await
    }

    async fn census(
        &self,
        places: &[StateKind],
        dim: Dim,
        limit: u32,
    ) -> Result<Vec<(Standing, i64)>> {
        let places = places.to_vec();
        self.read("count", move |conn| desk::census(conn, &places, dim, limit)).await
    }

    async fn tallies(&self, dim: Dim, since: UnixMs, limit: u32) -> Result<Vec<(Tally, i64)>> {
        self.read("get tallies", move |conn| desk::tallies(conn, dim, since, limit)).await
    }

    async fn totals(&self) -> Result<Totals> {
        self.read("get totals", desk::totals).await
    }

    async fn recount(&self) -> Result<Totals> {
        self.read("recount", desk::recount).await
    }

    async fn freeze(&self, freeze: &Freeze) -> Result<Frozen> {
        // Looked for beside the writer: a task that changes before it is frozen is skipped later.
        let page = self.page(&freeze.query).await?;
        let (operation, next) = (freeze.operation.clone(), page.next);
        let added = self
            .write("freeze tasks", move |session| desk::freeze(session, &operation, &page))
            .await?;
        Ok(Frozen { added, next })
    }

    async fn pending(
        &self,
        operation: &OperationId,
        after: Option<TaskId>,
        limit: u32,
    ) -> Result<Vec<Item>> {
        let operation = operation.clone();
        self.read("get pending items", move |conn| desk::pending(conn, &operation, after, limit))
            .await
    }

    async fn skip(&self, operation: &OperationId, tasks: &[TaskId]) -> Result<()> {
        let (operation, tasks) = (operation.clone(), tasks.to_vec());
        self.write("skip items", move |session| desk::skip(session, &operation, &tasks)).await
    }

    async fn tally_items(&self, operation: &OperationId) -> Result<[u64; 3]> {
        let operation = operation.clone();
        self.read("count items", move |conn| desk::tally_items(conn, &operation)).await
    }

    async fn purge(&self, tasks: &[(TaskId, u64)]) -> Result<u64> {
        let tasks = tasks.to_vec();
        self.write("purge tasks", move |session| desk::purge(session, &tasks)).await
    }

    async fn forget(&self, forget: &Forget) -> Result<Forgotten> {
        let forget = *forget;
        self.write("forget", move |session| forget::forget(session, &forget)).await
    }

    async fn last_event(&self) -> Result<u64> {
        self.read("get the newest event", desk::last_event).await
    }

    async fn events(&self, after: u64, limit: u32) -> Result<Vec<Sequenced>> {
        self.read("get events", move |conn| desk::events(conn, after, limit)).await
    }

    async fn trail(&self, id: TaskId, seen: &Seen, limit: u32) -> Result<Trail> {
        let seen = seen.clone();
        self.read("get a trail", move |conn| desk::trail(conn, id, &seen, limit)).await
    }
}
