//! Several stores that are asked the same: each answer of each is compared with the reference's.
//!
//! As a backend it makes a differential test of every case, the random walks first of all.

use crate::backends::{Backend, Memory, Sqlite, cluster, postgres, redis};
use async_trait::async_trait;
use deadletter_core::{
    AccountName, Answer, Attempt, Change, Delivery, OperationId, Payload, Reading, Settlement,
    StateKind, Task, TaskId, UnixMs, UpstreamId, WorkerId,
    counts::{Dim, Standing, Tally},
};
use deadletter_store::{
    Among, AuditEntry, Beat, Claim, Claimed, Clock, Committed, Deliveries, DeliveryCounts, Desk,
    Document, Due, Durability, Forget, Forgotten, Freeze, Frozen, Inserted, Item, NewTasks,
    NextDelivery, Page, Query, Registry, Result, Seen, Sequenced, Store, TakeOver, Taken, Tasks,
    Totals, Trail, Worker,
};
use std::{fmt::Debug, mem::discriminant, sync::Arc};
use tokio::sync::Mutex;

/// The reference, and those that must answer as it does.
struct Twins {
    /// Held for a call of all of them: calls at once come to each in one order.
    turn: Arc<Mutex<()>>,
    reference: Arc<dyn Store>,
    others: Vec<Arc<dyn Store>>,
}

/// Memory with everything that keeps what memory does.
pub(crate) fn twins() -> impl Backend {
    let others: Vec<Box<dyn Backend>> =
        vec![Box::new(Sqlite::new()), Box::new(postgres()), Box::new(redis()), Box::new(cluster())];
    Family { turn: Arc::default(), reference: Memory::default(), others }
}

struct Family {
    turn: Arc<Mutex<()>>,
    reference: Memory,
    others: Vec<Box<dyn Backend>>,
}

#[async_trait]
impl Backend for Family {
    async fn open(&self, clock: Arc<dyn Clock>) -> Arc<dyn Store> {
        let mut others = Vec::new();
        for backend in &self.others {
            others.push(backend.open(Arc::clone(&clock)).await);
        }
        let (turn, reference) = (Arc::clone(&self.turn), self.reference.open(clock).await);
        Arc::new(Twins { turn, reference, others })
    }

    async fn end(&self) {
        for backend in &self.others {
            backend.end().await;
        }
    }
}

/// What an answer says, with what its `Debug` hides, in an order that does not depend on the store.
trait Said {
    fn said(&self) -> String;
}

macro_rules! said_by_debug {
    ($($answer:ty),+ $(,)?) => {
        $(impl Said for $answer {
            fn said(&self) -> String {
                format!("{self:?}")
            }
        })+
    };
}
said_by_debug!(
    (),
    bool,
    u32,
    u64,
    [u64; 3],
    Beat,
    DeliveryCounts,
    Totals,
    Page,
    Forgotten,
    Trail,
    Frozen,
    Taken,
    UnixMs,
    Document,
    NextDelivery,
    Inserted,
    Committed,
    Attempt,
    Task,
    Item,
    Delivery,
    Worker,
    AuditEntry,
    WorkerId,
    Sequenced,
    (u64, AuditEntry),
    (Standing, i64),
    (Tally, i64),
);

impl Said for Payload {
    fn said(&self) -> String {
        self.to_stored()
    }
}

impl Said for Answer {
    fn said(&self) -> String {
        use secrecy::ExposeSecret;
        format!("{self:?} {} {}", self.raw.expose_secret(), self.text.expose_secret())
    }
}

impl Said for Claimed {
    fn said(&self) -> String {
        format!("{:?} {:?} {}", self.task, self.attempt, self.payload.said())
    }
}

impl Said for (Task, Option<Answer>) {
    fn said(&self) -> String {
        format!("{:?} {}", self.0, self.1.said())
    }
}

impl<T: Said> Said for Option<T> {
    fn said(&self) -> String {
        self.as_ref().map_or_else(|| "none".to_owned(), Said::said)
    }
}

impl<T: Said> Said for Vec<T> {
    fn said(&self) -> String {
        self.iter().map(Said::said).collect::<Vec<_>>().join("\n")
    }
}

/// A list whose order is left open.
#[allow(clippy::ptr_arg, reason = "it stands for `Said::said` of a list")]
fn as_a_set<T: Said>(list: &Vec<T>) -> String {
    let mut said: Vec<String> = list.iter().map(Said::said).collect();
    said.sort_unstable();
    said.join("\n")
}

fn compare<T: Debug>(call: &str, ours: &Result<T>, theirs: &Result<T>, said: fn(&T) -> String) {
    match (ours, theirs) {
        (Ok(ours), Ok(theirs)) => assert_eq!(said(ours), said(theirs), "{call}"),
        (Err(ours), Err(theirs)) => {
            assert_eq!(discriminant(ours), discriminant(theirs), "{call}: {ours} | {theirs}");
        }
        _ => panic!("{call}: {ours:?} | {theirs:?}"),
    }
}

/// Each looks at the rows of its own index, so one page may end where another goes on.
fn compare_pages(ours: &Result<Page>, theirs: &Result<Page>) {
    let (Ok(ours), Ok(theirs)) = (ours, theirs) else {
        return compare("page", ours, theirs, Said::said);
    };
    let is_less = ours.tasks.len() < theirs.tasks.len();
    let (shorter, longer) = if is_less { (ours, theirs) } else { (theirs, ours) };
    assert_eq!(shorter.tasks, longer.tasks[..shorter.tasks.len()], "page");
    let is_cut = shorter.tasks.len() < longer.tasks.len();
    assert!(!is_cut || shorter.next.is_some(), "a page ends before its last task");
}

/// Asks every store the same; answers what the reference answers.
macro_rules! alike {
    ($twins:ident.$call:ident($($argument:expr),*)) => { alike!($twins.$call($($argument),*), Said::said) };
    ($twins:ident.$call:ident($($argument:expr),*), $said:expr) => {{
        let _turn = $twins.turn.lock().await;
        let ours = $twins.reference.$call($($argument),*).await;
        for other in &$twins.others {
            let theirs = other.$call($($argument),*).await;
            compare(stringify!($call), &ours, &theirs, $said);
        }
        ours
    }};
}

#[async_trait]
impl Tasks for Twins {
    async fn insert(&self, tasks: NewTasks) -> Result<Vec<Inserted>> {
        alike!(self.insert(tasks.clone()))
    }

    async fn claim(&self, claim: Claim) -> Result<Vec<Claimed>> {
        alike!(self.claim(claim.clone()))
    }

    async fn commit(&self, changes: Vec<Change>) -> Result<Vec<Committed>> {
        alike!(self.commit(changes.clone()))
    }

    async fn mark_read(&self, readings: &[Reading]) -> Result<u64> {
        alike!(self.mark_read(readings))
    }

    async fn take_over(&self, take: TakeOver) -> Result<Taken> {
        alike!(self.take_over(take.clone()))
    }

    async fn abandoned(
        &self,
        worker: &WorkerId,
        account: &AccountName,
        after: Option<&Attempt>,
        limit: u32,
    ) -> Result<Vec<Attempt>> {
        alike!(self.abandoned(worker, account, after, limit))
    }

    async fn overdue(&self, account: &AccountName, now: UnixMs, limit: u32) -> Result<Vec<Task>> {
        alike!(self.overdue(account, now, limit))
    }

    async fn next_due(&self, account: &AccountName) -> Result<Option<UnixMs>> {
        alike!(self.next_due(account))
    }

    async fn get(&self, ids: &[TaskId]) -> Result<Vec<Option<Task>>> {
        alike!(self.get(ids))
    }

    async fn told(&self, id: TaskId) -> Result<Option<(Task, Option<Answer>)>> {
        alike!(self.told(id))
    }

    async fn payload(&self, id: TaskId) -> Result<Option<Payload>> {
        alike!(self.payload(id))
    }

    async fn history(&self, id: TaskId) -> Result<Vec<Attempt>> {
        alike!(self.history(id))
    }

    async fn answer(&self, id: TaskId) -> Result<Option<Answer>> {
        alike!(self.answer(id))
    }

    async fn answers(&self, id: TaskId) -> Result<Vec<Answer>> {
        alike!(self.answers(id))
    }

    async fn bearers(&self, account: &AccountName, id: &UpstreamId) -> Result<u32> {
        alike!(self.bearers(account, id))
    }
}

#[async_trait]
impl Desk for Twins {
    async fn page(&self, query: &Query) -> Result<Page> {
        let _turn = self.turn.lock().await;
        let ours = self.reference.page(query).await;
        for other in &self.others {
            compare_pages(&ours, &other.page(query).await);
        }
        ours
    }

    async fn census(
        &self,
        places: &[StateKind],
        dim: Dim,
        limit: u32,
    ) -> Result<Vec<(Standing, i64)>> {
        alike!(self.census(places, dim, limit), as_a_set)
    }

    async fn tallies(&self, dim: Dim, since: UnixMs, limit: u32) -> Result<Vec<(Tally, i64)>> {
        alike!(self.tallies(dim, since, limit), as_a_set)
    }

    async fn totals(&self) -> Result<Totals> {
        alike!(self.totals())
    }

    async fn recount(&self) -> Result<Totals> {
        alike!(self.recount())
    }

    async fn freeze(&self, freeze: &Freeze) -> Result<Frozen> {
        alike!(self.freeze(freeze))
    }

    async fn pending(
        &self,
        operation: &OperationId,
        after: Option<TaskId>,
        limit: u32,
    ) -> Result<Vec<Item>> {
        alike!(self.pending(operation, after, limit))
    }

    async fn skip(&self, operation: &OperationId, tasks: &[TaskId]) -> Result<()> {
        alike!(self.skip(operation, tasks))
    }

    async fn tally_items(&self, operation: &OperationId) -> Result<[u64; 3]> {
        alike!(self.tally_items(operation))
    }

    async fn purge(&self, tasks: &[(TaskId, u64)]) -> Result<u64> {
        alike!(self.purge(tasks))
    }

    async fn forget(&self, forget: &Forget) -> Result<Forgotten> {
        alike!(self.forget(forget))
    }

    async fn events(&self, after: u64, limit: u32) -> Result<Vec<Sequenced>> {
        alike!(self.events(after, limit))
    }

    async fn trail(&self, id: TaskId, seen: &Seen, limit: u32) -> Result<Trail> {
        alike!(self.trail(id, seen, limit))
    }

    async fn last_event(&self) -> Result<u64> {
        alike!(self.last_event())
    }
}

#[async_trait]
impl Registry for Twins {
    async fn register(&self, worker: &WorkerId, label: &str) -> Result<Beat> {
        alike!(self.register(worker, label))
    }

    async fn beat(&self, worker: &WorkerId) -> Result<Beat> {
        alike!(self.beat(worker))
    }

    async fn leave(&self, worker: &WorkerId) -> Result<()> {
        alike!(self.leave(worker))
    }

    async fn declare_dead(&self, before: UnixMs) -> Result<Vec<WorkerId>> {
        alike!(self.declare_dead(before), as_a_set)
    }

    async fn workers(&self, limit: u32) -> Result<Vec<Worker>> {
        alike!(self.workers(limit), as_a_set)
    }

    async fn permits(&self, account: &AccountName, now: UnixMs) -> Result<u32> {
        alike!(self.permits(account, now))
    }

    async fn document(&self, key: &str) -> Result<Option<Document>> {
        alike!(self.document(key))
    }

    async fn put_document(&self, key: &str, expects: u64, body: &str) -> Result<Option<u64>> {
        alike!(self.put_document(key, expects, body))
    }

    async fn documents_after(
        &self,
        prefix: &str,
        after: &str,
        limit: u32,
    ) -> Result<Vec<Document>> {
        alike!(self.documents_after(prefix, after, limit))
    }

    async fn audit(&self, entry: &AuditEntry) -> Result<bool> {
        alike!(self.audit(entry))
    }

    async fn audit_log(&self, writer: Option<&str>, limit: u32) -> Result<Vec<AuditEntry>> {
        alike!(self.audit_log(writer, limit))
    }

    async fn audit_after(&self, after: u64, limit: u32) -> Result<Vec<(u64, AuditEntry)>> {
        alike!(self.audit_after(after, limit))
    }
}

#[async_trait]
impl Deliveries for Twins {
    async fn take_deliveries(&self, due: &Due) -> Result<Vec<Delivery>> {
        alike!(self.take_deliveries(due))
    }

    async fn settle_deliveries(&self, settled: &[Settlement]) -> Result<Vec<bool>> {
        alike!(self.settle_deliveries(settled))
    }

    async fn next_delivery(&self, among: &Among) -> Result<Option<NextDelivery>> {
        alike!(self.next_delivery(among))
    }

    async fn deliveries(&self, task: TaskId, limit: u32) -> Result<Vec<Delivery>> {
        alike!(self.deliveries(task, limit))
    }

    async fn count_deliveries(&self) -> Result<DeliveryCounts> {
        alike!(self.count_deliveries())
    }
}

#[async_trait]
impl Store for Twins {
    fn durability(&self) -> Durability {
        self.reference.durability()
    }

    fn clock(&self) -> Arc<dyn Clock> {
        self.reference.clock()
    }

    fn url(&self) -> String {
        self.reference.url()
    }

    /// A number of each store's own choice.
    async fn pulse(&self) -> Result<u64> {
        self.reference.pulse().await
    }

    async fn close(&self) -> Result<()> {
        alike!(self.close())
    }
}
