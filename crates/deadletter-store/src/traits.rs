//! The contract of a store, in four small object-safe traits.
//!
//! Laws that hold for every method of every store, and that the conformance suite proves:
//!
//! 1. **Durable before answered.** A call that answers `Ok` is stored at [`Store::durability`].
//! 2. **All or nothing per batch.** Where a call fails, nothing of its batch is written, except
//!    where it says [`Error::InDoubt`](crate::Error::InDoubt).
//! 3. **Fenced.** A row is written only at the version that the change names; facts of an attempt
//!    only under its token. A stale row is an answer, not an error.
//! 4. **Counted.** `standing`, `tallies` and `events` change in the write's own transaction, by
//!    the deltas and the event that the core derives. Nothing counts by scanning.
//! 5. **Bounded.** Every list has a limit; cost does not grow with the dead letters that stand.
//! 6. **No rules.** Where a store must know what a row looks like after a claim or a take-over,
//!    it asks the core (`RowChange::claim`, `RowChange::adopt`, `Attempt::learn`).

use crate::{
    Ailment, Among, AuditEntry, Beat, Claim, Claimed, Clock, Committed, DeliveryCounts, Document,
    Due, Durability, Forget, Forgotten, Freeze, Frozen, Inserted, Item, NextDelivery, Page, Query,
    Result, Seen, TakeOver, Taken, Totals, Trail, Worker,
    requests::{NewTasks, Sequenced},
};
use async_trait::async_trait;
use deadletter_core::{
    AccountName, Answer, Attempt, Change, Delivery, OperationId, Payload, Reading, Settlement,
    StateKind, Task, TaskId, UnixMs, UpstreamId, WorkerId,
    counts::{Dim, Standing, Tally},
};
use std::sync::Arc;

/// Tasks, their attempts, payloads and answers: what workers need.
#[async_trait]
pub trait Tasks: Send + Sync {
    /// Stores new tasks (queued, version 1), in order, one answer each.
    ///
    /// An idempotency key that the same owner holds on a task, and that has not expired at the new
    /// task's `created_at`, answers `Existing`; an expired key passes to the new task, and so does one
    /// whose task has ended where the new one says so (`NewTask::is_folded`). Two equal
    /// keys in one batch: the first wins. Then the id: one whose task stands answers `IdTaken`.
    /// A purge frees both.
    ///
    /// What a task brings along ([`Past`](deadletter_core::Past)) is stored as it is, its events at
    /// the end of the sequence: nothing follows from it but what it counts.
    async fn insert(&self, tasks: NewTasks) -> Result<Vec<Inserted>>;

    /// Takes due, unheld tasks of one lane, by (priority, turn, due, id), and writes the intent of
    /// a new attempt for each: `submitting`, lease, token, counters.
    ///
    /// First closes attempts of that account that lapsed at `now` (`Attempt::lapse`). Takes no more
    /// than keeps the account's permits within `threads`. A task whose request is lost is claimed
    /// without it. A task whose deadline has passed is not taken. Answers
    /// [`DeclaredDead`](crate::Error::DeclaredDead) where the worker is dead, has left or never
    /// registered.
    async fn claim(&self, claim: Claim) -> Result<Vec<Claimed>>;

    /// Writes changes, in order, one answer each: the row, and the facts that the core
    /// names for a row that was written or not (`Change::facts_taken`), in one transaction; and the
    /// delivery that a row makes (`Delivery::of`) with it.
    ///
    /// A change that would name two tasks' open attempts of an account alike (`Change::naming`,
    /// `Attempt::keeps_its_id_from`) answers `IdTaken`: one token never goes to two tasks.
    /// A fact whose task has no attempt with that token is no news. An attempt's first answer is
    /// kept with it, won or not.
    async fn commit(&self, changes: Vec<Change>) -> Result<Vec<Committed>>;

    /// Notes which verdicts were told (`Task::verdict_read_at`), with the counts that follow
    /// (`Deltas::of_reading`); answers how many of them were news (`Reading::is_news_to`).
    ///
    /// A row's version stays: whoever has read it may write it, and what is noted here stays too
    /// unless the task leaves its verdict (`Differs::reading`).
    async fn mark_read(&self, readings: &[Reading]) -> Result<u64>;

    /// Takes over what declared-dead workers held, and what nobody holds: `polling` tasks first,
    /// then `submitting` ones, each by id; then abandoned attempts that can still be polled, oldest
    /// intent first.
    ///
    /// A row's version rises with the lease; an attempt's `worker` becomes the new one. A worker
    /// that left holds nothing, as a dead one. First closes attempts of those accounts that lapsed
    /// at `now`, as claim does: they are polled no more. A task whose attempt is missing hinders no
    /// other one. Answers `DeclaredDead` as claim does.
    async fn take_over(&self, take: TakeOver) -> Result<Taken>;

    /// Open attempts of the account with an upstream id that no task waits for and that `worker`
    /// polls, by (intent, task, token), those behind `after`, at most `limit`: for a worker that
    /// was not told what it has taken over.
    async fn abandoned(
        &self,
        worker: &WorkerId,
        account: &AccountName,
        after: Option<&Attempt>,
        limit: u32,
    ) -> Result<Vec<Attempt>>;

    /// Queued tasks of the account, held ones too, whose deadline has passed at `now`, oldest
    /// deadline first.
    async fn overdue(&self, account: &AccountName, now: UnixMs, limit: u32) -> Result<Vec<Task>>;

    /// When the next queued, unheld task of the account becomes due, if any is queued; in the past
    /// where one is due already.
    async fn next_due(&self, account: &AccountName) -> Result<Option<UnixMs>>;

    /// Rows, in the order asked for; none where a task does not exist.
    async fn get(&self, ids: &[TaskId]) -> Result<Vec<Option<Task>>>;

    /// A row with its answer where it is solved, both as of one instant: what its owner is told.
    async fn told(&self, id: TaskId) -> Result<Option<(Task, Option<Answer>)>> {
        let Some(task) = self.get(&[id]).await?.pop().flatten() else { return Ok(None) };
        if task.kind() != StateKind::Solved {
            return Ok(Some((task, None)));
        }
        // A solved task stays solved until it is purged, and its answer with it.
        Ok(self.answer(id).await?.map(|answer| (task, Some(answer))))
    }

    /// What a task asks for; none where there is no such task, or where the store has lost it or
    /// cannot read it any more.
    async fn payload(&self, id: TaskId) -> Result<Option<Payload>>;

    /// Its attempts, by number.
    async fn history(&self, id: TaskId) -> Result<Vec<Attempt>>;

    /// The answer of the attempt that won (`answered_by`); for a task that was not solved, any
    /// late answer that is kept.
    async fn answer(&self, id: TaskId) -> Result<Option<Answer>>;

    /// Every answer that is kept, by token: the one that won, and late ones that nobody uses.
    async fn answers(&self, id: TaskId) -> Result<Vec<Answer>>;

    /// How many attempts of the account carry this upstream id: an id that is not unique is
    /// never resumed.
    async fn bearers(&self, account: &AccountName, id: &UpstreamId) -> Result<u32>;
}

/// Pages, counts and bulk acts: what people need.
#[async_trait]
pub trait Desk: Send + Sync {
    /// One page by filter: index range by the store, residual by the core's matcher.
    async fn page(&self, query: &Query) -> Result<Page>;

    /// The rows of `standing` for one dimension, largest first, at most `limit`.
    ///
    /// `places` empty means all. Rows with a count of 0 are left out.
    async fn census(
        &self,
        places: &[StateKind],
        dim: Dim,
        limit: u32,
    ) -> Result<Vec<(Standing, i64)>>;

    /// The rows of `tallies` for one dimension whose minute begins at or after `since`, by time, at
    /// most `limit`.
    async fn tallies(&self, dim: Dim, since: UnixMs, limit: u32) -> Result<Vec<(Tally, i64)>>;

    /// The conservation totals, from the counts.
    async fn totals(&self) -> Result<Totals>;

    /// The same totals by looking at every row (purged from the counts): for checks only.
    async fn recount(&self) -> Result<Totals>;

    /// Freezes one page of tasks as `pending` items of an operation.
    async fn freeze(&self, freeze: &Freeze) -> Result<Frozen>;

    /// Pending items by task id, those behind `after`, at most `limit`.
    async fn pending(
        &self,
        operation: &OperationId,
        after: Option<TaskId>,
        limit: u32,
    ) -> Result<Vec<Item>>;

    /// Marks pending items as skipped.
    async fn skip(&self, operation: &OperationId, tasks: &[TaskId]) -> Result<()>;

    /// How many items are pending, done, skipped.
    async fn tally_items(&self, operation: &OperationId) -> Result<[u64; 3]>;

    /// Deletes terminal tasks that still stand at that version, with everything that is theirs
    /// (payload, attempts, answers, deliveries, items, [documents](crate::document_of); events
    /// stay). Answers how many.
    ///
    /// A task with an open attempt whose permit has not lapsed by the store's clock is not deleted.
    async fn purge(&self, tasks: &[(TaskId, u64)]) -> Result<u64>;

    /// Deletes tallies, events and workers that are past their time: of tallies and events the
    /// oldest first, workers in no order.
    ///
    /// The newest event stays, whatever its age, and so do those of tasks that stand: numbers of
    /// the sequence are never given twice, and what is on record of a task is whole. The id of a
    /// worker that is forgotten could be registered anew, so workers are forgotten late.
    async fn forget(&self, forget: &Forget) -> Result<Forgotten>;

    /// The number of the newest event; 0 where there is none.
    async fn last_event(&self) -> Result<u64>;

    /// Events after that number of the sequence, at most `limit`.
    async fn events(&self, after: u64, limit: u32) -> Result<Vec<Sequenced>>;

    /// What is on record of a task beside its attempts: its events in their order, and its items
    /// by operation, those behind `seen`, of each at most `limit`. The events of a purged task stay.
    async fn trail(&self, id: TaskId, seen: &Seen, limit: u32) -> Result<Trail>;
}

/// Workers, permits, documents, audit: what keeps a fleet in order.
#[async_trait]
pub trait Registry: Send + Sync {
    /// A new worker begins. Ids are never used twice: a known one answers `DeclaredDead`.
    ///
    /// Where a store can prove that other workers' processes are gone, it declares them dead here.
    async fn register(&self, worker: &WorkerId, label: &str) -> Result<Beat>;

    /// It is alive. Answers store time and how many live, or `DeclaredDead` where it is dead, left or unknown.
    async fn beat(&self, worker: &WorkerId) -> Result<Beat>;

    /// It stops and holds nothing any more that is not to be taken over at once: what it still
    /// holds is free for the others.
    async fn leave(&self, worker: &WorkerId) -> Result<()>;

    /// Declares workers dead that beat last before that instant of the store's clock, and those whose
    /// processes the store can prove to be gone, once and for good; answers who was declared by this
    /// call. An instant and no length: nobody has been silent for longer because the call was.
    async fn declare_dead(&self, before: UnixMs) -> Result<Vec<WorkerId>>;

    /// Workers, newest first, at most `limit`.
    async fn workers(&self, limit: u32) -> Result<Vec<Worker>>;

    /// Permits in use of an account, over all workers, without those that lapsed at `now`.
    async fn permits(&self, account: &AccountName, now: UnixMs) -> Result<u32>;

    /// A document by name.
    async fn document(&self, key: &str) -> Result<Option<Document>>;

    /// Writes a document if it still stands at `expects` (0: it does not exist); answers the new
    /// version, or none where somebody was faster.
    async fn put_document(&self, key: &str, expects: u64, body: &str) -> Result<Option<u64>>;

    /// Documents whose name begins with exactly `prefix`, by name, at most `limit`.
    async fn documents(&self, prefix: &str, limit: u32) -> Result<Vec<Document>> {
        self.documents_after(prefix, "", limit).await
    }

    /// The same from behind the name `after` on: the next page. Nothing has an empty name.
    async fn documents_after(&self, prefix: &str, after: &str, limit: u32)
    -> Result<Vec<Document>>;

    /// Appends to the audit log; false, and nothing written, where the writer's number stands
    /// already.
    async fn audit(&self, entry: &AuditEntry) -> Result<bool>;

    /// The audit log of a writer, or of all, last appended first, at most `limit`.
    async fn audit_log(&self, writer: Option<&str>, limit: u32) -> Result<Vec<AuditEntry>>;

    /// The audit log of all in the order in which it was appended, from behind the number `after`
    /// on, at most `limit`, each entry with its number: for whoever reads all of it.
    async fn audit_after(&self, after: u64, limit: u32) -> Result<Vec<(u64, AuditEntry)>>;
}

/// Deliveries: what is to be told of tasks that ended, and what came of it.
///
/// They are made by commits alone, with the change that they tell of.
#[async_trait]
pub trait Deliveries: Send + Sync {
    /// Takes a place's waiting deliveries that are due, by (due, task, version): each counts a try
    /// (`Delivery::taken`), and is due again at the end of its lease unless it is settled before.
    /// What waits for other places costs nothing.
    async fn take_deliveries(&self, due: &Due) -> Result<Vec<Delivery>>;

    /// Writes what came of tries (`Delivery::settle`), in order, one answer each: false where the
    /// delivery is over, was taken again, or is not there any more.
    async fn settle_deliveries(&self, settled: &[Settlement]) -> Result<Vec<bool>>;

    /// Which place's first waiting delivery is due first, and when; of two, any. It costs a look at
    /// each place for which something waits, however much that is.
    async fn next_delivery(&self, among: &Among) -> Result<Option<NextDelivery>>;

    /// The deliveries of a task, newest first, at most `limit`.
    async fn deliveries(&self, task: TaskId, limit: u32) -> Result<Vec<Delivery>>;

    /// How many deliveries stand, by how far they have come, from the counts.
    async fn count_deliveries(&self) -> Result<DeliveryCounts>;
}

/// A whole store.
#[async_trait]
pub trait Store: Tasks + Desk + Registry + Deliveries {
    /// What survives what.
    fn durability(&self) -> Durability;

    /// The clock that everything here is measured by.
    fn clock(&self) -> Arc<dyn Clock>;

    /// Its URL, without secrets: for people.
    fn url(&self) -> String;

    /// A number that has changed since the last look if another process or handle has written.
    /// Cheap enough to ask four times a second.
    async fn pulse(&self) -> Result<u64>;

    /// What is wrong with its server and is nobody's error yet: for whoever looks after it.
    async fn ailments(&self) -> Result<Vec<Ailment>> {
        Ok(Vec::new())
    }

    /// Writes out what is pending and closes; later calls answer `Closed`, another close `Ok`.
    async fn close(&self) -> Result<()>;
}
