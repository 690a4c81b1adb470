//! The memory store: the reference, to be read before any other.
//!
//! One lock over plain ordered maps. Whatever the contract in [`crate::Tasks`], [`crate::Desk`]
//! and [`crate::Registry`] leaves open, this store answers, and the others do as it does.
//!
//! ```text
//! MemoryStore            the lock, the clock, the async shell of the three traits
//!   └ Contents           what is stored; `tasks`, `desk` and `registry` are its methods by trait
//!       ├ Rows           one Row per task (attempts, payload and answers with it), and
//!       │   └ Index      where each row is found: taken out before a change, put back after it
//!       ├ Counts         standing and tallies, by the core's deltas
//!       ├ Outbox         deliveries, and when each is due
//!       └ ...            events, idempotency keys, operations, workers, documents, audit
//! ```
//!
//! Nothing survives the process: [`Durability::D0`].

mod contents;
mod counts;
mod desk;
mod index;
mod operation;
mod outbox;
mod registry;
mod row;
mod rows;
mod sets;
mod tasks;

use crate::{
    Among, AuditEntry, Beat, Claim, Claimed, Clock, Committed, Deliveries, DeliveryCounts, Desk,
    Document, Due, Durability, Error, Forget, Forgotten, Freeze, Frozen, Inserted, Item, NewTasks,
    NextDelivery, Page, Query, Registry, Result, Seen, Sequenced, Store, TakeOver, Taken, Tasks,
    Totals, Trail, Worker,
};
use async_trait::async_trait;
use contents::Contents;
use deadletter_core::{
    AccountName, Answer, Attempt, Change, Delivery, OperationId, Payload, Reading, Settlement,
    StateKind, Task, TaskId, UnixMs, UpstreamId, WorkerId,
    counts::{Dim, Standing, Tally},
};
use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard},
};

/// A store that lives as long as its process.
pub struct MemoryStore {
    clock: Arc<dyn Clock>,
    /// Guards everything that is stored, for the length of one call: a call sees all of another
    /// or nothing of it. Never held across an await; `None` once the store is closed.
    contents: Mutex<Option<Contents>>,
}

impl MemoryStore {
    /// An empty store that measures time by `clock`.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, contents: Mutex::new(Some(Contents::default())) }
    }

    /// How many rows have been looked at since the store was made: what a call costs, for tests
    /// that must not look at a clock.
    pub fn looked_at(&self) -> Result<u64> {
        self.with(|contents| contents.rows.looked_at())
    }

    /// Runs one call on the contents, alone.
    fn with<T>(&self, call: impl FnOnce(&mut Contents) -> T) -> Result<T> {
        self.lock()?.as_mut().map(call).ok_or(Error::Closed)
    }

    fn lock(&self) -> Result<MutexGuard<'_, Option<Contents>>> {
        // A panic may have left a row out of its indexes: better no answer than a wrong one.
        self.contents.lock().map_err(|_| Error::Damaged {
            what: "a call panicked half way through a write to memory".to_owned(),
            source: None,
        })
    }
}

impl fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MemoryStore")
    }
}

#[async_trait]
impl Tasks for MemoryStore {
    async fn insert(&self, tasks: NewTasks) -> Result<Vec<Inserted>> {
        self.with(|contents| contents.insert(tasks))
    }

    async fn claim(&self, claim: Claim) -> Result<Vec<Claimed>> {
        self.with(|contents| contents.claim(&claim))?
    }

    async fn commit(&self, changes: Vec<Change>) -> Result<Vec<Committed>> {
        self.with(|contents| contents.commit(changes))
    }

    async fn mark_read(&self, readings: &[Reading]) -> Result<u64> {
        self.with(|contents| contents.mark_read(readings))
    }

    async fn take_over(&self, take: TakeOver) -> Result<Taken> {
        self.with(|contents| contents.take_over(&take))?
    }

    async fn abandoned(
        &self,
        worker: &WorkerId,
        account: &AccountName,
        after: Option<&Attempt>,
        limit: u32,
    ) -> Result<Vec<Attempt>> {
        self.with(|contents| contents.abandoned(worker, account, after, limit))
    }

    async fn overdue(&self, account: &AccountName, now: UnixMs, limit: u32) -> Result<Vec<Task>> {
        self.with(|contents| contents.overdue(account, now, limit))
    }

    async fn next_due(&self, account: &AccountName) -> Result<Option<UnixMs>> {
        self.with(|contents| contents.rows.index().next_due(account))
    }

    async fn get(&self, ids: &[TaskId]) -> Result<Vec<Option<Task>>> {
        self.with(|contents| contents.get(ids))
    }

    async fn payload(&self, id: TaskId) -> Result<Option<Payload>> {
        self.with(|contents| contents.rows.get(id).map(|row| row.payload.clone()))
    }

    async fn history(&self, id: TaskId) -> Result<Vec<Attempt>> {
        self.with(|contents| {
            contents.rows.get(id).map(|row| row.attempts.clone()).unwrap_or_default()
        })
    }

    async fn answer(&self, id: TaskId) -> Result<Option<Answer>> {
        self.with(|contents| contents.rows.get(id).and_then(|row| row.answer().cloned()))
    }

    async fn answers(&self, id: TaskId) -> Result<Vec<Answer>> {
        let all = |contents: &mut Contents| {
            contents.rows.get(id).map(|row| row.answers.values().cloned().collect())
        };
        Ok(self.with(all)?.unwrap_or_default())
    }

    async fn bearers(&self, account: &AccountName, id: &UpstreamId) -> Result<u32> {
        let count = |contents: &mut Contents| contents.rows.index().bearers(account, id).count();
        Ok(u32::try_from(self.with(count)?).unwrap_or(u32::MAX))
    }
}

#[async_trait]
impl Desk for MemoryStore {
    async fn page(&self, query: &Query) -> Result<Page> {
        self.with(|contents| contents.page(query))
    }

    async fn census(
        &self,
        places: &[StateKind],
        dim: Dim,
        limit: u32,
    ) -> Result<Vec<(Standing, i64)>> {
        self.with(|contents| contents.counts.census(places, dim, limit))
    }

    async fn tallies(&self, dim: Dim, since: UnixMs, limit: u32) -> Result<Vec<(Tally, i64)>> {
        self.with(|contents| contents.counts.tallies(dim, since, limit))
    }

    async fn totals(&self) -> Result<Totals> {
        self.with(|contents| contents.counts.totals())
    }

    async fn recount(&self) -> Result<Totals> {
        self.with(|contents| contents.recount())
    }

    async fn freeze(&self, freeze: &Freeze) -> Result<Frozen> {
        self.with(|contents| contents.freeze(freeze))
    }

    async fn pending(
        &self,
        operation: &OperationId,
        after: Option<TaskId>,
        limit: u32,
    ) -> Result<Vec<Item>> {
        self.with(|contents| contents.pending(operation, after, limit))
    }

    async fn skip(&self, operation: &OperationId, tasks: &[TaskId]) -> Result<()> {
        self.with(|contents| contents.skip(operation, tasks))
    }

    async fn tally_items(&self, operation: &OperationId) -> Result<[u64; 3]> {
        self.with(|contents| contents.tally_items(operation))
    }

    async fn purge(&self, tasks: &[(TaskId, u64)]) -> Result<u64> {
        let now = self.clock.now();
        self.with(|contents| contents.purge(tasks, now))
    }

    async fn forget(&self, forget: &Forget) -> Result<Forgotten> {
        self.with(|contents| contents.forget(forget))
    }

    async fn events(&self, after: u64, limit: u32) -> Result<Vec<Sequenced>> {
        self.with(|contents| contents.events(after, limit))
    }

    async fn trail(&self, id: TaskId, seen: &Seen, limit: u32) -> Result<Trail> {
        self.with(|contents| contents.trail(id, seen, limit))
    }

    async fn last_event(&self) -> Result<u64> {
        self.with(|contents| contents.last_event())
    }
}

#[async_trait]
impl Registry for MemoryStore {
    async fn register(&self, worker: &WorkerId, label: &str) -> Result<Beat> {
        let now = self.clock.now();
        self.with(|contents| contents.register(worker, label, now))?
    }

    async fn beat(&self, worker: &WorkerId) -> Result<Beat> {
        let now = self.clock.now();
        self.with(|contents| contents.beat(worker, now))?
    }

    async fn leave(&self, worker: &WorkerId) -> Result<()> {
        let now = self.clock.now();
        self.with(|contents| contents.leave(worker, now))
    }

    async fn declare_dead(&self, before: UnixMs) -> Result<Vec<WorkerId>> {
        let now = self.clock.now();
        self.with(|contents| contents.declare_dead(before, now))
    }

    async fn workers(&self, limit: u32) -> Result<Vec<Worker>> {
        self.with(|contents| contents.newest_workers(limit))
    }

    async fn permits(&self, account: &AccountName, now: UnixMs) -> Result<u32> {
        self.with(|contents| contents.permits(account, now))
    }

    async fn document(&self, key: &str) -> Result<Option<Document>> {
        self.with(|contents| contents.document(key))
    }

    async fn put_document(&self, key: &str, expects: u64, body: &str) -> Result<Option<u64>> {
        self.with(|contents| contents.put_document(key, expects, body))
    }

    async fn documents_after(
        &self,
        prefix: &str,
        after: &str,
        limit: u32,
    ) -> Result<Vec<Document>> {
        self.with(|contents| contents.documents(prefix, after, limit))
    }

    async fn audit(&self, entry: &AuditEntry) -> Result<bool> {
        self.with(|contents| contents.audit(entry))
    }

    async fn audit_log(&self, writer: Option<&str>, limit: u32) -> Result<Vec<AuditEntry>> {
        self.with(|contents| contents.audit_log(writer, limit))
    }

    async fn audit_after(&self, after: u64, limit: u32) -> Result<Vec<(u64, AuditEntry)>> {
        self.with(|contents| contents.audit_after(after, limit))
    }
}

#[async_trait]
impl Deliveries for MemoryStore {
    async fn take_deliveries(&self, due: &Due) -> Result<Vec<Delivery>> {
        self.with(|contents| contents.take_deliveries(due))
    }

    async fn settle_deliveries(&self, settled: &[Settlement]) -> Result<Vec<bool>> {
        self.with(|contents| contents.settle_deliveries(settled))
    }

    async fn next_delivery(&self, among: &Among) -> Result<Option<NextDelivery>> {
        self.with(|contents| contents.outbox.next_due(among))
    }

    async fn deliveries(&self, task: TaskId, limit: u32) -> Result<Vec<Delivery>> {
        self.with(|contents| contents.outbox.of(task, limit))
    }

    async fn count_deliveries(&self) -> Result<DeliveryCounts> {
        self.with(|contents| contents.outbox.counts())
    }
}

#[async_trait]
impl Store for MemoryStore {
    fn durability(&self) -> Durability {
        Durability::D0
    }

    fn clock(&self) -> Arc<dyn Clock> {
        Arc::clone(&self.clock)
    }

    fn url(&self) -> String {
        "memory:".to_owned()
    }

    async fn pulse(&self) -> Result<u64> {
        self.with(|contents| contents.pulse)
    }

    async fn close(&self) -> Result<()> {
        *self.lock()? = None;
        Ok(())
    }
}
