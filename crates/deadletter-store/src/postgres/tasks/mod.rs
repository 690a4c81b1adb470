//! Tasks, their attempts, payloads and answers in PostgreSQL.
//!
//! A call that writes loads and locks all rows that it names in one round trip, lets
//! [`stage`](crate::stage) decide, and writes everything in a second one, in statements of many
//! rows each. `write` has the order of all locks.

mod adopt;
mod answer_row;
mod attempt_row;
mod claim;
mod commit;
mod counts;
mod insert;
mod keys;
mod look;
mod purge;
pub(super) mod task_row;
mod write;

pub(super) use commit::Commits;
pub(super) use counts::settle;
pub(super) use insert::Inserts;

use super::PostgresStore;
use crate::{
    Claim, Claimed, Committed, Freeze, Frozen, Inserted, Page, Result, TakeOver, Taken, Tasks,
    requests::NewTasks,
};
use async_trait::async_trait;
use deadletter_core::{
    AccountName, Answer, Attempt, Change, Payload, Reading, Task, TaskId, UnixMs, UpstreamId,
    WorkerId,
};

#[async_trait]
impl Tasks for PostgresStore {
    async fn insert(&self, tasks: NewTasks) -> Result<Vec<Inserted>> {
        self.inserts.call(tasks).await
    }

    async fn claim(&self, claim: Claim) -> Result<Vec<Claimed>> {
        let claim = &claim;
        self.transact("claim tasks", |tx| async move { claim::claim(&tx, claim).await }).await
    }

    async fn commit(&self, changes: Vec<Change>) -> Result<Vec<Committed>> {
        self.commits.call(changes).await
    }

    async fn mark_read(&self, readings: &[Reading]) -> Result<u64> {
        self.transact("note readings", |tx| async move { commit::mark_read(&tx, readings).await })
            .await
    }

    async fn take_over(&self, take: TakeOver) -> Result<Taken> {
        let take = &take;
        self.transact("take over", |tx| async move { adopt::take_over(&tx, take).await }).await
    }

    async fn abandoned(
        &self,
        worker: &WorkerId,
        account: &AccountName,
        after: Option<&Attempt>,
        limit: u32,
    ) -> Result<Vec<Attempt>> {
        let call = |tx| async move { look::abandoned(&tx, worker, account, after, limit).await };
        self.look("look for abandoned attempts", call).await
    }

    async fn overdue(&self, account: &AccountName, now: UnixMs, limit: u32) -> Result<Vec<Task>> {
        let call = |tx| async move { look::overdue(&tx, account, now, limit).await };
        self.look("look for overdue tasks", call).await
    }

    async fn next_due(&self, account: &AccountName) -> Result<Option<UnixMs>> {
        let call = |tx| async move { look::next_due(&tx, account).await };
        self.look("look for what is due", call).await
    }

    async fn get(&self, ids: &[TaskId]) -> Result<Vec<Option<Task>>> {
        self.look("get tasks", |tx| async move { look::get(&tx, ids).await }).await
    }

    async fn told(&self, id: TaskId) -> Result<Option<(Task, Option<Answer>)>> {
        self.look("get a verdict", |tx| async move { look::told(&tx, id).await }).await
    }

    async fn payload(&self, id: TaskId) -> Result<Option<Payload>> {
        self.look("get a request", |tx| async move { look::payload(&tx, id).await }).await
    }

    async fn history(&self, id: TaskId) -> Result<Vec<Attempt>> {
        self.look("get attempts", |tx| async move { look::history(&tx, id).await }).await
    }

    async fn answer(&self, id: TaskId) -> Result<Option<Answer>> {
        self.look("get an answer", |tx| async move { look::answer(&tx, id).await }).await
    }

    async fn answers(&self, id: TaskId) -> Result<Vec<Answer>> {
        self.look("get answers", |tx| async move { look::answers(&tx, id).await }).await
    }

    async fn bearers(&self, account: &AccountName, id: &UpstreamId) -> Result<u32> {
        let call = |tx| async move { look::bearers(&tx, account, id).await };
        self.look("look for an upstream id", call).await
    }
}

/// Freezes the tasks of a page that `freeze` asks for.
pub(super) async fn freeze(store: &PostgresStore, freeze: &Freeze, page: &Page) -> Result<Frozen> {
    let call = |tx| async move { purge::freeze(&tx, freeze, page).await };
    store.transact("freeze tasks", call).await
}

/// Deletes tasks, as the contract of `Desk::purge` says.
pub(super) async fn purge(store: &PostgresStore, tasks: &[(TaskId, u64)]) -> Result<u64> {
    store.transact("purge tasks", |tx| async move { purge::purge(&tx, tasks).await }).await
}
