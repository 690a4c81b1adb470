//! The async shell of [`Tasks`].

use super::SqliteStore;
use crate::{
    Claim, Claimed, Committed, Inserted, NewTasks, Result, TakeOver, Taken, Tasks,
    sqlite::{
        adopt, attempt_row,
        claim::{self, Leased},
        commit, desk,
        insert::{self, Entry},
        page,
    },
};
use async_trait::async_trait;
use deadletter_core::{
    AccountName, Answer, Attempt, Change, NewTask, Payload, Reading, StateKind, Task, TaskId,
    UnixMs, UpstreamId, WorkerId,
};
use rusqlite::Connection;

/// None where the request is garbled, which hinders no other task; what is logged of it is no secret.
fn request_of(task: TaskId, body: &[u8]) -> Option<Payload> {
    let why = match std::str::from_utf8(body).map(Payload::from_stored) {
        Ok(Ok(payload)) => return Some(payload),
        Ok(Err(error)) => format!("no JSON object from its character {} on", error.column()),
        Err(error) => format!("no UTF-8 from its byte {} on", error.valid_up_to()),
    };
    tracing::warn!(%task, why, "a request cannot be read; `deadletter store check` tells of more");
    None
}

#[async_trait]
impl Tasks for SqliteStore {
    async fn insert(&self, tasks: NewTasks) -> Result<Vec<Inserted>> {
        let entries: Vec<Entry> = tasks
            .into_iter()
            .map(|NewTask { task, payload, past, is_folded }| Entry {
                task,
                body: payload.to_stored(),
                past,
                is_folded,
            })
            .collect();
        self.write("insert tasks", move |session| insert::insert(session, &entries)).await
    }

    async fn claim(&self, claim: Claim) -> Result<Vec<Claimed>> {
        let leased =
            self.write("claim tasks", move |session| claim::claim(session, &claim)).await?;
        // The leases are written: one request that cannot be read must not hide the others.
        let claimed = leased.into_iter().map(|Leased { task, attempt, body }| {
            let payload = body.and_then(|body| request_of(task.id, &body));
            Claimed { task, attempt, payload }
        });
        Ok(claimed.collect())
    }

    async fn commit(&self, changes: Vec<Change>) -> Result<Vec<Committed>> {
        self.write("commit changes", move |session| commit::commit(session, &changes)).await
    }

    async fn mark_read(&self, readings: &[Reading]) -> Result<u64> {
        let readings = readings.to_vec();
        self.write("mark verdicts as read", move |session| commit::mark_read(session, &readings))
            .await
    }

    async fn take_over(&self, take: TakeOver) -> Result<Taken> {
        self.write("take over tasks", move |session| adopt::take_over(session, &take)).await
    }

    async fn abandoned(
        &self,
        worker: &WorkerId,
        account: &AccountName,
        after: Option<&Attempt>,
        limit: u32,
    ) -> Result<Vec<Attempt>> {
        let (worker, account, after) = (worker.clone(), account.clone(), after.cloned());
        let look = move |conn: &Connection| {
            adopt::abandoned(conn, &worker, &account, after.as_ref(), limit)
        };
        self.read("find abandoned attempts", look).await
    }

    async fn overdue(&self, account: &AccountName, now: UnixMs, limit: u32) -> Result<Vec<Task>> {
        let account = account.clone();
        self.read("find overdue tasks", move |conn| page::overdue(conn, &account, now, limit)).await
    }

    async fn next_due(&self, account: &AccountName) -> Result<Option<UnixMs>> {
        let account = account.clone();
        self.read("find the next due task", move |conn| claim::next_due(conn, &account)).await
    }

    async fn get(&self, ids: &[TaskId]) -> Result<Vec<Option<Task>>> {
        let ids = ids.to_vec();
        self.look_up("get tasks", move |conn| ids.iter().map(|id| page::get(conn, *id)).collect())
            .await
    }

    async fn told(&self, id: TaskId) -> Result<Option<(Task, Option<Answer>)>> {
        self.look_up("get a verdict", move |conn| {
            let Some(task) = page::get(conn, id)? else { return Ok(None) };
            if task.kind() != StateKind::Solved {
                return Ok(Some((task, None)));
            }
            Ok(attempt_row::get_winner(conn, &task)?.map(|answer| (task, Some(answer))))
        })
        .await
    }

    async fn payload(&self, id: TaskId) -> Result<Option<Payload>> {
        let body = self.look_up("get a request", move |conn| insert::body(conn, id)).await?;
        Ok(body.and_then(|body| request_of(id, &body)))
    }

    async fn history(&self, id: TaskId) -> Result<Vec<Attempt>> {
        self.look_up("get attempts", move |conn| desk::history(conn, id)).await
    }

    async fn answer(&self, id: TaskId) -> Result<Option<Answer>> {
        self.look_up("get an answer", move |conn| Ok(attempt_row::get_answer(conn, id)?)).await
    }

    async fn answers(&self, id: TaskId) -> Result<Vec<Answer>> {
        self.look_up("get answers", move |conn| Ok(attempt_row::get_answers(conn, id)?)).await
    }

    async fn bearers(&self, account: &AccountName, id: &UpstreamId) -> Result<u32> {
        let (account, id) = (account.clone(), id.clone());
        self.read("count bearers", move |conn| Ok(attempt_row::bearers(conn, &account, &id)?)).await
    }
}
