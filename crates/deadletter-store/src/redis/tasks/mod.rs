//! Tasks, their attempts, payloads and answers in Redis.
//!
//! A call that writes loads all that it names, lets [`stage`](crate::stage) decide, and has all of
//! it written by one script, under the marks of what was loaded. What this handle has written itself
//! is kept, and not loaded again.

mod adopt;
pub(super) mod answer;
mod bearers;
mod claim;
mod commit;
pub(super) mod counts;
mod index;
mod insert;
mod look;
mod purge;
pub(super) mod restore;
pub(super) mod row;
mod stored;
mod write;

pub(super) use commit::Commits;
pub(super) use insert::Inserts;
pub(super) use purge::{freeze, purge};

use super::{RedisStore, apply::Apply, server::Server};
use crate::{
    Claim, Claimed, Committed, Error, Inserted, Result, TakeOver, Taken, Tasks, gather::Gathers,
    requests::NewTasks,
};
use async_trait::async_trait;
use deadletter_core::{
    AccountName, Answer, Attempt, Change, Payload, Reading, Task, TaskId, UnixMs, UpstreamId,
    WorkerId,
};

/// A script costs by what it writes, and the server runs one at a time: while it runs one, the next
/// are made here. With fewer and larger ones each side waits for the other; of 256 tasks in flight a
/// quarter more were done a second with these numbers than with two of 512. Twice as many loops take
/// each other's calls.
impl Gathers for Server {
    const LOOPS: usize = 4;
    const ITEMS: usize = 48;
}

#[async_trait]
impl Tasks for RedisStore {
    async fn insert(&self, tasks: NewTasks) -> Result<Vec<Inserted>> {
        self.inserts.call(tasks).await
    }

    async fn claim(&self, claim: Claim) -> Result<Vec<Claimed>> {
        let claim = &claim;
        let _turn = self.claims.lock().await;
        if self.take_loss() {
            // Whoever claims compares what stands under its lease with what it holds.
            let what = "claim tasks: the server has lost what it had told".to_owned();
            return Err(Error::InDoubt { what, source: None });
        }
        let call = |call| async move { claim::claim(&call, claim).await };
        self.transact_with_others("claim tasks", call).await
    }

    async fn commit(&self, changes: Vec<Change>) -> Result<Vec<Committed>> {
        self.commits.call(changes).await
    }

    async fn mark_read(&self, readings: &[Reading]) -> Result<u64> {
        let call = |call| async move { commit::mark_read(&call, readings).await };
        self.transact("note readings", call).await
    }

    async fn take_over(&self, take: TakeOver) -> Result<Taken> {
        let take = &take;
        self.transact("take over", |call| async move { adopt::take_over(&call, take).await }).await
    }

    async fn abandoned(
        &self,
        worker: &WorkerId,
        account: &AccountName,
        after: Option<&Attempt>,
        limit: u32,
    ) -> Result<Vec<Attempt>> {
        let call =
            |call| async move { look::abandoned(&call, worker, account, after, limit).await };
        self.look("look for abandoned attempts", call).await
    }

    async fn overdue(&self, account: &AccountName, now: UnixMs, limit: u32) -> Result<Vec<Task>> {
        let call = |call| async move { look::overdue(&call, account, now, limit).await };
        self.look("look for overdue tasks", call).await
    }

    async fn next_due(&self, account: &AccountName) -> Result<Option<UnixMs>> {
        let call = |call| async move { look::next_due(&call, account).await };
        self.look("look for what is due", call).await
    }

    async fn get(&self, ids: &[TaskId]) -> Result<Vec<Option<Task>>> {
        let get = || self.look("get tasks", |call| async move { look::get(&call, ids).await });
        let found = get().await?;
        // What stands nowhere may be in the hand of another one.
        let is_missing = found.iter().any(Option::is_none);
        if is_missing && self.wait_for_others().await? { get().await } else { Ok(found) }
    }

    async fn told(&self, id: TaskId) -> Result<Option<(Task, Option<Answer>)>> {
        let get = || self.look("get a task", |call| async move { look::told(&call, id).await });
        let found = get().await?;
        if found.is_none() && self.wait_for_others().await? { get().await } else { Ok(found) }
    }

    async fn payload(&self, id: TaskId) -> Result<Option<Payload>> {
        self.look("get a request", |call| async move { look::payload(&call, id).await }).await
    }

    async fn history(&self, id: TaskId) -> Result<Vec<Attempt>> {
        self.look("get attempts", |call| async move { look::history(&call, id).await }).await
    }

    async fn answer(&self, id: TaskId) -> Result<Option<Answer>> {
        self.look("get an answer", |call| async move { look::answer(&call, id).await }).await
    }

    async fn answers(&self, id: TaskId) -> Result<Vec<Answer>> {
        self.look("get answers", |call| async move { look::answers(&call, id).await }).await
    }

    async fn bearers(&self, account: &AccountName, id: &UpstreamId) -> Result<u32> {
        let call = |call| async move { bearers::count(&call, account, id).await };
        self.look("look for an upstream id", call).await
    }
}
