//! A wrapper that tells `tracing` of each call: its name, how much was asked for and answered, how
//! long it took, and what went wrong. Never of what is in a task, a payload or an answer.

#![deny(clippy::missing_trait_methods)]

use crate::{
    Ailment, Among, AuditEntry, Beat, Call, Claim, Claimed, Clock, Committed, Deliveries,
    DeliveryCounts, Desk, Document, Due, Durability, Forget, Forgotten, Freeze, Frozen, Inserted,
    Item, NewTasks, NextDelivery, Page, Query, Registry, Result, Seen, Sequenced, Store, TakeOver,
    Taken, Tasks, Totals, Trail, Worker, clock::Stopwatch,
};
use async_trait::async_trait;
use deadletter_core::{
    AccountName, Answer, Attempt, Change, Delivery, OperationId, Payload, Reading, Settlement,
    StateKind, Task, TaskId, UnixMs, UpstreamId, WorkerId,
    counts::{Dim, Standing, Tally},
};
use std::sync::Arc;
use tracing::{Instrument, debug, debug_span, warn};

/// Any store, with a span around each call.
#[derive(Debug)]
pub struct Traced<S: ?Sized> {
    inner: Arc<S>,
}

impl<S: Store + ?Sized> Traced<S> {
    /// Tells of each call to `inner`.
    #[must_use]
    pub const fn new(inner: Arc<S>) -> Self {
        Self { inner }
    }

    /// Runs a call in a span; `asked` is the length or the limit of what was asked for.
    async fn watch<T: Size>(
        &self,
        call: Call,
        asked: usize,
        answer: impl Future<Output = Result<T>> + Send,
    ) -> Result<T> {
        let span = debug_span!("store", call = call.label(), asked);
        let stopwatch = Stopwatch::start();
        let answer = answer.instrument(span.clone()).await;
        let took_us = stopwatch.elapsed_us();
        span.in_scope(|| match &answer {
            Ok(answer) => debug!(answered = answer.size(), took_us, "answered"),
            Err(error) => warn!(%error, took_us, "failed"),
        });
        answer
    }
}

/// How much an answer holds.
trait Size {
    fn size(&self) -> usize;
}

/// Answers that are one thing.
macro_rules! one {
    ($($answer:ty),+) => {
        $(impl Size for $answer {
            fn size(&self) -> usize {
                1
            }
        })+
    };
}
one!((), bool, u32, u64, [u64; 3], Beat, DeliveryCounts, Totals);

impl<T> Size for Vec<T> {
    fn size(&self) -> usize {
        self.len()
    }
}

impl<T> Size for Option<T> {
    fn size(&self) -> usize {
        usize::from(self.is_some())
    }
}

impl Size for Page {
    fn size(&self) -> usize {
        self.tasks.len()
    }
}

impl Size for Taken {
    fn size(&self) -> usize {
        self.tasks.len() + self.abandoned.len()
    }
}

impl Size for Forgotten {
    fn size(&self) -> usize {
        usize::try_from(self.tallies + self.events + self.workers).unwrap_or(usize::MAX)
    }
}

impl Size for Trail {
    fn size(&self) -> usize {
        self.events.len() + self.items.len()
    }
}

impl Size for Frozen {
    fn size(&self) -> usize {
        self.added as usize
    }
}

#[async_trait]
impl<S: Store + ?Sized> Tasks for Traced<S> {
    async fn insert(&self, tasks: NewTasks) -> Result<Vec<Inserted>> {
        let asked = tasks.len();
        self.watch(Call::Insert, asked, self.inner.insert(tasks)).await
    }

    async fn claim(&self, claim: Claim) -> Result<Vec<Claimed>> {
        let asked = claim.tokens.len();
        self.watch(Call::Claim, asked, self.inner.claim(claim)).await
    }

    async fn commit(&self, changes: Vec<Change>) -> Result<Vec<Committed>> {
        let asked = changes.len();
        self.watch(Call::Commit, asked, self.inner.commit(changes)).await
    }

    async fn mark_read(&self, readings: &[Reading]) -> Result<u64> {
        self.watch(Call::MarkRead, readings.len(), self.inner.mark_read(readings)).await
    }

    async fn take_over(&self, take: TakeOver) -> Result<Taken> {
        let asked = take.limit as usize;
        self.watch(Call::TakeOver, asked, self.inner.take_over(take)).await
    }

    async fn abandoned(
        &self,
        worker: &WorkerId,
        account: &AccountName,
        after: Option<&Attempt>,
        limit: u32,
    ) -> Result<Vec<Attempt>> {
        let told = self.inner.abandoned(worker, account, after, limit);
        self.watch(Call::Abandoned, limit as usize, told).await
    }

    async fn overdue(&self, account: &AccountName, now: UnixMs, limit: u32) -> Result<Vec<Task>> {
        self.watch(Call::Overdue, limit as usize, self.inner.overdue(account, now, limit)).await
    }

    async fn next_due(&self, account: &AccountName) -> Result<Option<UnixMs>> {
        self.watch(Call::NextDue, 1, self.inner.next_due(account)).await
    }

    async fn get(&self, ids: &[TaskId]) -> Result<Vec<Option<Task>>> {
        self.watch(Call::Get, ids.len(), self.inner.get(ids)).await
    }

    async fn told(&self, id: TaskId) -> Result<Option<(Task, Option<Answer>)>> {
        self.watch(Call::Told, 1, self.inner.told(id)).await
    }

    async fn payload(&self, id: TaskId) -> Result<Option<Payload>> {
        self.watch(Call::Payload, 1, self.inner.payload(id)).await
    }

    async fn history(&self, id: TaskId) -> Result<Vec<Attempt>> {
        self.watch(Call::History, 1, self.inner.history(id)).await
    }

    async fn answer(&self, id: TaskId) -> Result<Option<Answer>> {
        self.watch(Call::Answer, 1, self.inner.answer(id)).await
    }

    async fn answers(&self, id: TaskId) -> Result<Vec<Answer>> {
        self.watch(Call::Answers, 1, self.inner.answers(id)).await
    }

    async fn bearers(&self, account: &AccountName, id: &UpstreamId) -> Result<u32> {
        self.watch(Call::Bearers, 1, self.inner.bearers(account, id)).await
    }
}

#[async_trait]
impl<S: Store + ?Sized> Desk for Traced<S> {
    async fn page(&self, query: &Query) -> Result<Page> {
        self.watch(Call::Page, query.limit as usize, self.inner.page(query)).await
    }

    async fn census(
        &self,
        places: &[StateKind],
        dim: Dim,
        limit: u32,
    ) -> Result<Vec<(Standing, i64)>> {
        self.watch(Call::Census, limit as usize, self.inner.census(places, dim, limit)).await
    }

    async fn tallies(&self, dim: Dim, since: UnixMs, limit: u32) -> Result<Vec<(Tally, i64)>> {
        self.watch(Call::Tallies, limit as usize, self.inner.tallies(dim, since, limit)).await
    }

    async fn totals(&self) -> Result<Totals> {
        self.watch(Call::Totals, 1, self.inner.totals()).await
    }

    async fn recount(&self) -> Result<Totals> {
        self.watch(Call::Recount, 1, self.inner.recount()).await
    }

    async fn freeze(&self, freeze: &Freeze) -> Result<Frozen> {
        self.watch(Call::Freeze, freeze.query.limit as usize, self.inner.freeze(freeze)).await
    }

    async fn pending(
        &self,
        operation: &OperationId,
        after: Option<TaskId>,
        limit: u32,
    ) -> Result<Vec<Item>> {
        self.watch(Call::Pending, limit as usize, self.inner.pending(operation, after, limit)).await
    }

    async fn skip(&self, operation: &OperationId, tasks: &[TaskId]) -> Result<()> {
        self.watch(Call::Skip, tasks.len(), self.inner.skip(operation, tasks)).await
    }

    async fn tally_items(&self, operation: &OperationId) -> Result<[u64; 3]> {
        self.watch(Call::TallyItems, 1, self.inner.tally_items(operation)).await
    }

    async fn purge(&self, tasks: &[(TaskId, u64)]) -> Result<u64> {
        self.watch(Call::Purge, tasks.len(), self.inner.purge(tasks)).await
    }

    async fn forget(&self, forget: &Forget) -> Result<Forgotten> {
        self.watch(Call::Forget, forget.limit as usize, self.inner.forget(forget)).await
    }

    async fn last_event(&self) -> Result<u64> {
        self.watch(Call::LastEvent, 1, self.inner.last_event()).await
    }

    async fn events(&self, after: u64, limit: u32) -> Result<Vec<Sequenced>> {
        self.watch(Call::Events, limit as usize, self.inner.events(after, limit)).await
    }

    async fn trail(&self, id: TaskId, seen: &Seen, limit: u32) -> Result<Trail> {
        self.watch(Call::Trail, limit as usize, self.inner.trail(id, seen, limit)).await
    }
}

#[async_trait]
impl<S: Store + ?Sized> Registry for Traced<S> {
    async fn register(&self, worker: &WorkerId, label: &str) -> Result<Beat> {
        self.watch(Call::Register, 1, self.inner.register(worker, label)).await
    }

    async fn beat(&self, worker: &WorkerId) -> Result<Beat> {
        self.watch(Call::Beat, 1, self.inner.beat(worker)).await
    }

    async fn leave(&self, worker: &WorkerId) -> Result<()> {
        self.watch(Call::Leave, 1, self.inner.leave(worker)).await
    }

    async fn declare_dead(&self, before: UnixMs) -> Result<Vec<WorkerId>> {
        self.watch(Call::DeclareDead, 1, self.inner.declare_dead(before)).await
    }

    async fn workers(&self, limit: u32) -> Result<Vec<Worker>> {
        self.watch(Call::Workers, limit as usize, self.inner.workers(limit)).await
    }

    async fn permits(&self, account: &AccountName, now: UnixMs) -> Result<u32> {
        self.watch(Call::Permits, 1, self.inner.permits(account, now)).await
    }

    async fn document(&self, key: &str) -> Result<Option<Document>> {
        self.watch(Call::Document, 1, self.inner.document(key)).await
    }

    async fn put_document(&self, key: &str, expects: u64, body: &str) -> Result<Option<u64>> {
        self.watch(Call::PutDocument, 1, self.inner.put_document(key, expects, body)).await
    }

    async fn documents(&self, prefix: &str, limit: u32) -> Result<Vec<Document>> {
        self.documents_after(prefix, "", limit).await
    }

    async fn documents_after(
        &self,
        prefix: &str,
        after: &str,
        limit: u32,
    ) -> Result<Vec<Document>> {
        self.watch(
            Call::Documents,
            limit as usize,
            self.inner.documents_after(prefix, after, limit),
        )
        .await
    }

    async fn audit(&self, entry: &AuditEntry) -> Result<bool> {
        self.watch(Call::Audit, 1, self.inner.audit(entry)).await
    }

    async fn audit_log(&self, writer: Option<&str>, limit: u32) -> Result<Vec<AuditEntry>> {
        self.watch(Call::AuditLog, limit as usize, self.inner.audit_log(writer, limit)).await
    }

    async fn audit_after(&self, after: u64, limit: u32) -> Result<Vec<(u64, AuditEntry)>> {
        self.watch(Call::AuditAfter, limit as usize, self.inner.audit_after(after, limit)).await
    }
}

#[async_trait]
impl<S: Store + ?Sized> Deliveries for Traced<S> {
    async fn take_deliveries(&self, due: &Due) -> Result<Vec<Delivery>> {
        self.watch(Call::TakeDeliveries, due.limit as usize, self.inner.take_deliveries(due)).await
    }

    async fn settle_deliveries(&self, settled: &[Settlement]) -> Result<Vec<bool>> {
        let told = self.inner.settle_deliveries(settled);
        self.watch(Call::SettleDeliveries, settled.len(), told).await
    }

    async fn next_delivery(&self, among: &Among) -> Result<Option<NextDelivery>> {
        self.watch(Call::NextDelivery, 1, self.inner.next_delivery(among)).await
    }

    async fn deliveries(&self, task: TaskId, limit: u32) -> Result<Vec<Delivery>> {
        self.watch(Call::Deliveries, limit as usize, self.inner.deliveries(task, limit)).await
    }

    async fn count_deliveries(&self) -> Result<DeliveryCounts> {
        self.watch(Call::CountDeliveries, 1, self.inner.count_deliveries()).await
    }
}

#[async_trait]
impl<S: Store + ?Sized> Store for Traced<S> {
    fn durability(&self) -> Durability {
        self.inner.durability()
    }

    fn clock(&self) -> Arc<dyn Clock> {
        self.inner.clock()
    }

    fn url(&self) -> String {
        self.inner.url()
    }

    async fn pulse(&self) -> Result<u64> {
        self.watch(Call::Pulse, 1, self.inner.pulse()).await
    }

    async fn ailments(&self) -> Result<Vec<Ailment>> {
        self.watch(Call::Ailments, 1, self.inner.ailments()).await
    }

    async fn close(&self) -> Result<()> {
        self.watch(Call::Close, 1, self.inner.close()).await
    }
}
