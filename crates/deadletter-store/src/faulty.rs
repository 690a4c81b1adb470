//! A wrapper that fails on request: what a store promises of its errors, without breaking a disk.
//!
//! Faults come from a script for each [`Call`], or at random by seed. A hook is awaited before and
//! after each call: there a test waits, holds a call back, or ends the story.

#![deny(clippy::missing_trait_methods)]

use crate::{
    Ailment, Among, AuditEntry, Beat, Call, Claim, Claimed, Clock, Committed, Deliveries,
    DeliveryCounts, Desk, Document, Due, Durability, Error, Forget, Forgotten, Freeze, Frozen,
    Inserted, Item, NewTasks, NextDelivery, Page, Query, Registry, Result, Seen, Sequenced, Store,
    TakeOver, Taken, Tasks, Totals, Trail, Worker,
};
use async_trait::async_trait;
use deadletter_core::{
    AccountName, Answer, Attempt, Change, Delivery, OperationId, Payload, Reading, Settlement,
    StateKind, Task, TaskId, UnixMs, UpstreamId, WorkerId,
    counts::{Dim, Standing, Tally},
};
use std::{
    collections::{BTreeMap, VecDeque},
    fmt,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// What goes wrong with a call. A call that only reads is never in doubt: it is unavailable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nothing is written: `Unavailable`.
    Unavailable,
    /// Nothing is written: `Full`.
    Full,
    /// Nothing is written, and the same call would fail again: `Damaged`.
    Damaged,
    /// Nothing is written, and the caller cannot know: `InDoubt`.
    DoubtLost,
    /// All is written, and the caller cannot know: `InDoubt`.
    DoubtWritten,
}

/// Every fault that passes, for seeds to choose from.
const FAULTS: [Fault; 4] = [Fault::Unavailable, Fault::Full, Fault::DoubtLost, Fault::DoubtWritten];

/// On which side of the inner call a hook is awaited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// Nothing has been asked of the inner store.
    Before,
    /// The inner store has answered, and the caller has not heard.
    After,
}

/// Awaited before and after each call.
pub type Hook = Arc<dyn Fn(Call, Moment) -> Pin<Box<dyn Future<Output = ()> + Send>> + Send + Sync>;

/// Any store, with faults; none until asked for.
pub struct Faulty<S: ?Sized> {
    inner: Arc<S>,
    hook: Option<Hook>,
    /// Guards what is to go wrong next; held for the length of one decision.
    plan: Mutex<Plan>,
}

/// What is to go wrong.
#[derive(Debug, Default)]
struct Plan {
    /// The fate of the next calls of each kind.
    script: BTreeMap<Call, VecDeque<Option<Fault>>>,
    /// State of the generator, and faults per thousand calls, for calls without a script.
    random: Option<(u64, u32)>,
    met: u64,
}

impl<S: Store + ?Sized> Faulty<S> {
    /// The same store, without a fault yet.
    #[must_use]
    pub fn new(inner: Arc<S>) -> Self {
        Self { inner, hook: None, plan: Mutex::default() }
    }

    /// The same with a hook.
    #[must_use]
    pub fn with_hook(self, hook: Hook) -> Self {
        Self { hook: Some(hook), ..self }
    }

    /// The fate of the next calls of one kind, after what was scripted for it before; `None` lets
    /// a call pass.
    pub fn script(&self, call: Call, fates: impl IntoIterator<Item = Option<Fault>>) {
        self.plan().script.entry(call).or_default().extend(fates);
    }

    /// From now on `per_mille` of a thousand calls fail, each in a way that `seed` determines.
    /// Closing never fails.
    pub fn at_random(&self, seed: u64, per_mille: u32) {
        self.plan().random = Some((seed, per_mille));
    }

    /// From now on nothing fails.
    pub fn heal(&self) {
        let mut plan = self.plan();
        plan.script.clear();
        plan.random = None;
    }

    /// How many calls met a fault so far.
    pub fn met(&self) -> u64 {
        self.plan().met
    }

    fn plan(&self) -> MutexGuard<'_, Plan> {
        // Nothing that holds the lock can panic half way.
        self.plan.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs a call as the plan wants it; the inner store is not asked where nothing is written.
    async fn meet<T>(
        &self,
        call: Call,
        answer: impl Future<Output = Result<T>> + Send,
    ) -> Result<T> {
        self.pause(call, Moment::Before).await;
        let fault = self.plan().next(call);
        let what = format!("{call}, by a test's wish");
        match fault {
            Some(Fault::Unavailable) => return Err(Error::Unavailable { what, source: None }),
            Some(Fault::Full) => return Err(Error::Full { what, source: None }),
            Some(Fault::Damaged) => return Err(Error::Damaged { what, source: None }),
            Some(Fault::DoubtLost) => return Err(Error::InDoubt { what, source: None }),
            Some(Fault::DoubtWritten) | None => {}
        }
        let answer = answer.await;
        self.pause(call, Moment::After).await;
        if answer.is_ok() && fault.is_some() {
            return Err(Error::InDoubt { what, source: None });
        }
        answer
    }

    async fn pause(&self, call: Call, moment: Moment) {
        if let Some(hook) = &self.hook {
            hook(call, moment).await;
        }
    }
}

impl Plan {
    fn next(&mut self, call: Call) -> Option<Fault> {
        let scripted = self.script.get_mut(&call).and_then(VecDeque::pop_front);
        let fault = scripted.unwrap_or_else(|| self.roll(call))?;
        self.met += 1;
        let is_doubt = matches!(fault, Fault::DoubtLost | Fault::DoubtWritten);
        Some(if is_doubt && !call.writes() { Fault::Unavailable } else { fault })
    }

    fn roll(&mut self, call: Call) -> Option<Fault> {
        let (state, per_mille) = self.random.as_mut().filter(|_| call != Call::Close)?;
        let random = next_random(state);
        let is_hit = random % 1_000 < u64::from(*per_mille);
        // Higher bits than those that were compared.
        FAULTS.get((random >> 60) as usize % FAULTS.len()).copied().filter(|_| is_hit)
    }
}

/// SplitMix64 (Steele, Lea and Flood 2014): enough for choosing faults, and without a dependency.
const fn next_random(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

impl<S: Store + ?Sized> fmt::Debug for Faulty<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Faulty({})", self.inner.url())
    }
}

#[async_trait]
impl<S: Store + ?Sized> Tasks for Faulty<S> {
    async fn insert(&self, tasks: NewTasks) -> Result<Vec<Inserted>> {
        self.meet(Call::Insert, self.inner.insert(tasks)).await
    }

    async fn claim(&self, claim: Claim) -> Result<Vec<Claimed>> {
        self.meet(Call::Claim, self.inner.claim(claim)).await
    }

    async fn commit(&self, changes: Vec<Change>) -> Result<Vec<Committed>> {
        self.meet(Call::Commit, self.inner.commit(changes)).await
    }

    async fn mark_read(&self, readings: &[Reading]) -> Result<u64> {
        self.meet(Call::MarkRead, self.inner.mark_read(readings)).await
    }

    async fn take_over(&self, take: TakeOver) -> Result<Taken> {
        self.meet(Call::TakeOver, self.inner.take_over(take)).await
    }

    async fn abandoned(
        &self,
        worker: &WorkerId,
        account: &AccountName,
        after: Option<&Attempt>,
        limit: u32,
    ) -> Result<Vec<Attempt>> {
        let told = self.inner.abandoned(worker, account, after, limit);
        self.meet(Call::Abandoned, told).await
    }

    async fn overdue(&self, account: &AccountName, now: UnixMs, limit: u32) -> Result<Vec<Task>> {
        self.meet(Call::Overdue, self.inner.overdue(account, now, limit)).await
    }

    async fn next_due(&self, account: &AccountName) -> Result<Option<UnixMs>> {
        self.meet(Call::NextDue, self.inner.next_due(account)).await
    }

    async fn get(&self, ids: &[TaskId]) -> Result<Vec<Option<Task>>> {
        self.meet(Call::Get, self.inner.get(ids)).await
    }

    async fn told(&self, id: TaskId) -> Result<Option<(Task, Option<Answer>)>> {
        self.meet(Call::Told, self.inner.told(id)).await
    }

    async fn payload(&self, id: TaskId) -> Result<Option<Payload>> {
        self.meet(Call::Payload, self.inner.payload(id)).await
    }

    async fn history(&self, id: TaskId) -> Result<Vec<Attempt>> {
        self.meet(Call::History, self.inner.history(id)).await
    }

    async fn answer(&self, id: TaskId) -> Result<Option<Answer>> {
        self.meet(Call::Answer, self.inner.answer(id)).await
    }

    async fn answers(&self, id: TaskId) -> Result<Vec<Answer>> {
        self.meet(Call::Answers, self.inner.answers(id)).await
    }

    async fn bearers(&self, account: &AccountName, id: &UpstreamId) -> Result<u32> {
        self.meet(Call::Bearers, self.inner.bearers(account, id)).await
    }
}

#[async_trait]
impl<S: Store + ?Sized> Desk for Faulty<S> {
    async fn page(&self, query: &Query) -> Result<Page> {
        self.meet(Call::Page, self.inner.page(query)).await
    }

    async fn census(
        &self,
        places: &[StateKind],
        dim: Dim,
        limit: u32,
    ) -> Result<Vec<(Standing, i64)>> {
        self.meet(Call::Census, self.inner.census(places, dim, limit)).await
    }

    async fn tallies(&self, dim: Dim, since: UnixMs, limit: u32) -> Result<Vec<(Tally, i64)>> {
        self.meet(Call::Tallies, self.inner.tallies(dim, since, limit)).await
    }

    async fn totals(&self) -> Result<Totals> {
        self.meet(Call::Totals, self.inner.totals()).await
    }

    async fn recount(&self) -> Result<Totals> {
        self.meet(Call::Recount, self.inner.recount()).await
    }

    async fn freeze(&self, freeze: &Freeze) -> Result<Frozen> {
        self.meet(Call::Freeze, self.inner.freeze(freeze)).await
    }

    async fn pending(
        &self,
        operation: &OperationId,
        after: Option<TaskId>,
        limit: u32,
    ) -> Result<Vec<Item>> {
        self.meet(Call::Pending, self.inner.pending(operation, after, limit)).await
    }

    async fn skip(&self, operation: &OperationId, tasks: &[TaskId]) -> Result<()> {
        self.meet(Call::Skip, self.inner.skip(operation, tasks)).await
    }

    async fn tally_items(&self, operation: &OperationId) -> Result<[u64; 3]> {
        self.meet(Call::TallyItems, self.inner.tally_items(operation)).await
    }

    async fn purge(&self, tasks: &[(TaskId, u64)]) -> Result<u64> {
        self.meet(Call::Purge, self.inner.purge(tasks)).await
    }

    async fn forget(&self, forget: &Forget) -> Result<Forgotten> {
        self.meet(Call::Forget, self.inner.forget(forget)).await
    }

    async fn last_event(&self) -> Result<u64> {
        self.meet(Call::LastEvent, self.inner.last_event()).await
    }

    async fn events(&self, after: u64, limit: u32) -> Result<Vec<Sequenced>> {
        self.meet(Call::Events, self.inner.events(after, limit)).await
    }

    async fn trail(&self, id: TaskId, seen: &Seen, limit: u32) -> Result<Trail> {
        self.meet(Call::Trail, self.inner.trail(id, seen, limit)).await
    }
}

#[async_trait]
impl<S: Store + ?Sized> Registry for Faulty<S> {
    async fn register(&self, worker: &WorkerId, label: &str) -> Result<Beat> {
        self.meet(Call::Register, self.inner.register(worker, label)).await
    }

    async fn beat(&self, worker: &WorkerId) -> Result<Beat> {
        self.meet(Call::Beat, self.inner.beat(worker)).await
    }

    async fn leave(&self, worker: &WorkerId) -> Result<()> {
        self.meet(Call::Leave, self.inner.leave(worker)).await
    }

    async fn declare_dead(&self, before: UnixMs) -> Result<Vec<WorkerId>> {
        self.meet(Call::DeclareDead, self.inner.declare_dead(before)).await
    }

    async fn workers(&self, limit: u32) -> Result<Vec<Worker>> {
        self.meet(Call::Workers, self.inner.workers(limit)).await
    }

    async fn permits(&self, account: &AccountName, now: UnixMs) -> Result<u32> {
        self.meet(Call::Permits, self.inner.permits(account, now)).await
    }

    async fn document(&self, key: &str) -> Result<Option<Document>> {
        self.meet(Call::Document, self.inner.document(key)).await
    }

    async fn put_document(&self, key: &str, expects: u64, body: &str) -> Result<Option<u64>> {
        self.meet(Call::PutDocument, self.inner.put_document(key, expects, body)).await
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
        self.meet(Call::Documents, self.inner.documents_after(prefix, after, limit)).await
    }

    async fn audit(&self, entry: &AuditEntry) -> Result<bool> {
        self.meet(Call::Audit, self.inner.audit(entry)).await
    }

    async fn audit_log(&self, writer: Option<&str>, limit: u32) -> Result<Vec<AuditEntry>> {
        self.meet(Call::AuditLog, self.inner.audit_log(writer, limit)).await
    }

    async fn audit_after(&self, after: u64, limit: u32) -> Result<Vec<(u64, AuditEntry)>> {
        self.meet(Call::AuditAfter, self.inner.audit_after(after, limit)).await
    }
}

#[async_trait]
impl<S: Store + ?Sized> Deliveries for Faulty<S> {
    async fn take_deliveries(&self, due: &Due) -> Result<Vec<Delivery>> {
        self.meet(Call::TakeDeliveries, self.inner.take_deliveries(due)).await
    }

    async fn settle_deliveries(&self, settled: &[Settlement]) -> Result<Vec<bool>> {
        let told = self.inner.settle_deliveries(settled);
        self.meet(Call::SettleDeliveries, told).await
    }

    async fn next_delivery(&self, among: &Among) -> Result<Option<NextDelivery>> {
        self.meet(Call::NextDelivery, self.inner.next_delivery(among)).await
    }

    async fn deliveries(&self, task: TaskId, limit: u32) -> Result<Vec<Delivery>> {
        self.meet(Call::Deliveries, self.inner.deliveries(task, limit)).await
    }

    async fn count_deliveries(&self) -> Result<DeliveryCounts> {
        self.meet(Call::CountDeliveries, self.inner.count_deliveries()).await
    }
}

#[async_trait]
impl<S: Store + ?Sized> Store for Faulty<S> {
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
        self.meet(Call::Pulse, self.inner.pulse()).await
    }

    async fn ailments(&self) -> Result<Vec<Ailment>> {
        self.meet(Call::Ailments, self.inner.ailments()).await
    }

    async fn close(&self) -> Result<()> {
        self.meet(Call::Close, self.inner.close()).await
    }
}
