//! What cases are written with: a store under a clock that stands still, and short words for what
//! workers and people do to it. Every change is made by the core's own decision.

use crate::backends::Backend;
use deadletter_core::{
    AccountName, Answer, Attempt, AttemptToken, Change, Class, Context, Delivery, Failure,
    Happened, Lane, NewTask, OperationId, Past, Payload, Policy, RowChange, Task, TaskId, Terms,
    UnixMs, UpstreamId, WorkerId, decide,
};
use deadletter_store::{
    Among, Claim, Claimed, Clock, Committed, Due, Error, Forget, Inserted, ManualClock,
    NextDelivery, Query, Store, TakeOver, Taken,
};
use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

/// Stands in every payload and every answer, and must stand nowhere else.
pub(crate) const CANARY: &str = "hunter2-canary";
/// More threads than any case uses.
pub(crate) const MANY: u32 = 100_000;
/// When every case begins: well past the zero of task ids.
const START: UnixMs = UnixMs(1_800_000_000_000);

/// A store with its clock.
pub(crate) struct Harness {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) clock: Arc<ManualClock>,
    backend: Box<dyn Backend>,
    chosen: AtomicU64,
}

/// Runs one case on a fresh store, and then checks what must hold after any.
pub(crate) async fn run(backend: impl Backend + 'static, case: impl AsyncFnOnce(&mut Harness)) {
    let clock = Arc::new(ManualClock::at(START));
    let store = backend.open(clock.clone()).await;
    let backend = Box::new(backend);
    let mut harness = Harness { store, clock, backend, chosen: AtomicU64::new(0) };
    case(&mut harness).await;
    match harness.store.totals().await {
        Err(Error::Closed) => {}
        _ => harness.check().await,
    }
    harness.backend.end().await;
}

impl Harness {
    pub(crate) fn now(&self) -> UnixMs {
        self.clock.now()
    }

    /// Another store under the same clock, in which nothing is chosen that was chosen here.
    pub(crate) async fn beside(&self, backend: Box<dyn Backend>) -> Self {
        let store = backend.open(self.clock.clone()).await;
        let chosen = AtomicU64::new(self.chosen.load(Ordering::Relaxed) + 1_000_000);
        Self { store, clock: self.clock.clone(), backend, chosen }
    }

    /// Closes it, and takes away what it lay in.
    pub(crate) async fn end(self) {
        self.store.close().await.unwrap();
        self.backend.end().await;
    }

    /// Another handle on the same contents, as another process would have.
    pub(crate) async fn another_handle(&self) -> Arc<dyn Store> {
        self.backend.open(self.clock.clone()).await
    }

    /// Closes the store, and opens it again as a new process would.
    pub(crate) async fn reopen(&mut self) {
        self.store.close().await.unwrap();
        self.store = self.another_handle().await;
    }

    /// A number that was not chosen before in this case.
    fn choose(&self) -> u64 {
        self.chosen.fetch_add(1, Ordering::Relaxed) + 1
    }

    pub(crate) fn tokens(&self, n: usize) -> Vec<AttemptToken> {
        (0..n).map(|_| AttemptToken::from_random(self.choose() << 1)).collect()
    }

    /// A task of account `main` that is due now.
    pub(crate) fn new_task(&self) -> NewTask {
        let now = self.now();
        // Ids in the order of choice, however many are chosen in one millisecond.
        let id = TaskId::try_from(TaskId::at(now, 0).get() + self.choose()).unwrap();
        let mut task = Task::queued(id, account("main"), &Policy::default(), now);
        task.priority = 1;
        task.dimensions.method = "userrecaptcha".to_owned();
        task.dimensions.sitekey = Some("6Le-a".to_owned());
        task.dimensions.host = Some("example.com".to_owned());
        let payload = payload(&[("proxy", &format!("user:{CANARY}@10.0.0.1:80"))]);
        NewTask { task, payload, past: Past::default(), is_folded: false }
    }

    pub(crate) fn new_task_with(&self, edit: impl FnOnce(&mut Task)) -> NewTask {
        let mut new = self.new_task();
        edit(&mut new.task);
        new
    }

    /// Inserts one task and answers its row.
    pub(crate) async fn insert(&self, edit: impl FnOnce(&mut Task)) -> Task {
        let new = self.new_task_with(edit);
        let id = new.task.id;
        assert_eq!(self.store.insert(vec![new]).await.unwrap(), [Inserted::New(id)]);
        self.task(id).await
    }

    /// Inserts `n` tasks, of which `edit` makes what the case needs, and answers their ids.
    pub(crate) async fn insert_many(
        &self,
        n: usize,
        edit: impl Fn(usize, &mut Task),
    ) -> Vec<TaskId> {
        let tasks: Vec<_> = (0..n).map(|i| self.new_task_with(|task| edit(i, task))).collect();
        let ids: Vec<_> = tasks.iter().map(|new| new.task.id).collect();
        let inserted = self.store.insert(tasks).await.unwrap();
        assert!(inserted.iter().all(|one| matches!(one, Inserted::New(_))), "{inserted:?}");
        ids
    }

    pub(crate) async fn task(&self, id: TaskId) -> Task {
        self.find(id).await.unwrap_or_else(|| panic!("task {id} is gone"))
    }

    pub(crate) async fn find(&self, id: TaskId) -> Option<Task> {
        self.store.get(&[id]).await.unwrap().into_iter().next().unwrap()
    }

    pub(crate) async fn attempt(&self, id: TaskId, n: u32) -> Attempt {
        let history = self.store.history(id).await.unwrap();
        history.into_iter().find(|attempt| attempt.n == n).unwrap()
    }

    pub(crate) async fn worker(&self, name: &str) -> WorkerId {
        let worker = WorkerId::new(name).unwrap();
        self.store.register(&worker, "test").await.unwrap();
        worker
    }

    /// Lets a worker fall silent until it is declared dead; all others beat.
    pub(crate) async fn declare_dead(&self, worker: &WorkerId) {
        self.clock.advance(6_001);
        for other in self.store.workers(MANY).await.unwrap() {
            if other.id != *worker && other.dead_at.is_none() && other.left_at.is_none() {
                self.store.beat(&other.id).await.unwrap();
            }
        }
        let declared = self.declare_silent().await;
        assert_eq!(declared, std::slice::from_ref(worker));
    }

    /// Declares those dead who have been silent for longer than six seconds.
    pub(crate) async fn declare_silent(&self) -> Vec<WorkerId> {
        self.store.declare_dead(self.now().plus(-6_000)).await.unwrap()
    }

    /// A claim of at most `n` first submits of account `main`.
    pub(crate) fn claim_of(&self, worker: &WorkerId, n: usize) -> Claim {
        Claim {
            account: account("main"),
            worker: worker.clone(),
            lane: Lane::First,
            tokens: self.tokens(n),
            threads: MANY,
            now: self.now(),
        }
    }

    pub(crate) async fn claim(&self, worker: &WorkerId, n: usize) -> Vec<Claimed> {
        self.store.claim(self.claim_of(worker, n)).await.unwrap()
    }

    pub(crate) fn take_of(&self, worker: &WorkerId) -> TakeOver {
        let accounts = vec![account("main")];
        TakeOver { worker: worker.clone(), accounts, limit: MANY, now: self.now() }
    }

    pub(crate) async fn take_over(&self, worker: &WorkerId) -> Taken {
        self.store.take_over(self.take_of(worker)).await.unwrap()
    }

    /// What the core writes when that happens to `task`, as it was read.
    pub(crate) fn decide(
        &self,
        task: &Task,
        attempt: Option<&Attempt>,
        happened: &Happened,
    ) -> Change {
        let (policy, terms) = (&Policy::default(), &Terms::default());
        let context = Context { policy, terms, attempt, now: self.now(), random: 0.5 };
        decide(task, happened, context).change
    }

    pub(crate) async fn commit(&self, change: Change) -> Committed {
        self.store.commit(vec![change]).await.unwrap()[0]
    }

    /// That happens to a task as it stands now; it must be written.
    pub(crate) async fn happens(&self, id: TaskId, attempt: Option<&Attempt>, what: Happened) {
        let change = self.decide(&self.task(id).await, attempt, &what);
        assert!(!change.is_empty(), "the core writes nothing for {what:?}");
        assert_eq!(self.commit(change).await, Committed::Applied);
    }

    /// Changes a row as an operation would, and sees that it was written as asked.
    pub(crate) async fn edit(&self, id: TaskId, edit: impl FnOnce(&mut Task)) {
        let task = self.task(id).await;
        let mut after = task.clone();
        edit(&mut after);
        let row = RowChange::to(&task, after, self.now());
        let wanted = row.after.clone();
        let change = Change { facts: Vec::new(), row: Some(Box::new(row)) };
        assert_eq!(self.commit(change).await, Committed::Applied);
        assert_eq!(self.task(id).await, wanted);
    }

    /// An operation brings a dead letter back: to that attempt, or into the queue.
    pub(crate) async fn redrive(&self, id: TaskId, resume: Option<&Attempt>) {
        let resume = resume.cloned().map(Box::new);
        let due_at = self.now();
        let redriven = Happened::Redriven { resume, due_at, keep_deadline: false, force: true };
        self.happens(id, None, redriven).await;
    }

    /// A task whose first submit is under way, before all others in the queue.
    pub(crate) async fn submitting(
        &self,
        worker: &WorkerId,
        edit: impl FnOnce(&mut Task),
    ) -> (Task, Attempt) {
        let task = self
            .insert(|task| {
                (task.priority, task.turn) = (0, i64::MIN);
                edit(task);
            })
            .await;
        let claim = Claim { account: task.account.clone(), ..self.claim_of(worker, 1) };
        let claimed = self.store.claim(claim).await.unwrap().into_iter().next().unwrap();
        assert_eq!(claimed.task.id, task.id, "the claim took another task");
        (claimed.task, claimed.attempt)
    }

    /// A task that upstream works on.
    pub(crate) async fn polling(
        &self,
        worker: &WorkerId,
        edit: impl FnOnce(&mut Task),
    ) -> (Task, Attempt) {
        let (task, attempt) = self.submitting(worker, edit).await;
        let accepted = Happened::Accepted(upstream_id(&format!("u-{}", task.id)));
        self.happens(task.id, Some(&attempt), accepted).await;
        (self.task(task.id).await, self.attempt(task.id, attempt.n).await)
    }

    /// A solved task.
    pub(crate) async fn solved(&self, worker: &WorkerId, edit: impl FnOnce(&mut Task)) -> Task {
        let (task, attempt) = self.polling(worker, edit).await;
        self.happens(task.id, Some(&attempt), answered(&attempt, "token")).await;
        self.task(task.id).await
    }

    /// A dead letter that upstream refused for good with that code.
    pub(crate) async fn dead(
        &self,
        worker: &WorkerId,
        cause: &str,
        edit: impl FnOnce(&mut Task),
    ) -> Task {
        let (task, attempt) = self.submitting(worker, edit).await;
        let refused = Happened::Refused(Failure::new(cause, Class::Permanent));
        self.happens(task.id, Some(&attempt), refused).await;
        self.task(task.id).await
    }

    /// A dead letter whose attempt timed out: abandoned, and still polled.
    pub(crate) async fn timed_out(&self, worker: &WorkerId) -> (Task, Attempt) {
        let (task, attempt) = self.polling(worker, |task| task.round.allowance = 1).await;
        self.clock.advance(120_000);
        let silence = Happened::NotReady { elapsed_ms: 120_000 };
        self.happens(task.id, Some(&attempt), silence).await;
        (self.task(task.id).await, self.attempt(task.id, attempt.n).await)
    }

    /// Everything of before an instant, as far as it may be forgotten.
    pub(crate) fn forget_before(&self, before: UnixMs) -> Forget {
        Forget {
            tallies_before: before,
            events_before: before,
            events_after: 0,
            workers_before: before,
            limit: MANY,
        }
    }

    /// Deliveries that are due now, taken for half a minute.
    pub(crate) fn due(&self, place: &str, limit: u32) -> Due {
        let place = place.to_owned();
        Due { now: self.now(), until: self.now().plus(30_000), place, limit }
    }

    /// Takes what is due, the first first, but for busy places.
    pub(crate) async fn take_deliveries(&self, busy: &[&str], limit: u32) -> Vec<Delivery> {
        let mut taken = Vec::new();
        while taken.len() < limit as usize {
            let Some(next) = self.next_place(busy).await else { break };
            if next.due_at > self.now() {
                break;
            }
            taken.extend(self.store.take_deliveries(&self.due(&next.place, 1)).await.unwrap());
        }
        taken
    }

    /// Whose turn is next, but for busy places.
    pub(crate) async fn next_place(&self, busy: &[&str]) -> Option<NextDelivery> {
        let busy = busy.iter().map(ToString::to_string).collect();
        self.store.next_delivery(&Among::AllBut(busy)).await.unwrap()
    }

    /// When something is due next, but for busy places.
    pub(crate) async fn next_delivery(&self, busy: &[&str]) -> Option<UnixMs> {
        self.next_place(busy).await.map(|next| next.due_at)
    }

    /// All tasks, oldest first.
    pub(crate) fn everything(&self) -> Query {
        Query {
            filter: deadletter_core::Filter::default(),
            now: self.now(),
            newest_first: false,
            after: None,
            limit: MANY,
            scan_limit: MANY,
        }
    }
}

pub(crate) fn account(name: &str) -> AccountName {
    AccountName::new(name).unwrap()
}

pub(crate) fn upstream_id(text: &str) -> UpstreamId {
    UpstreamId::new(text).unwrap()
}

pub(crate) fn operation(name: &str) -> OperationId {
    OperationId::new(name).unwrap()
}

pub(crate) fn payload(fields: &[(&str, &str)]) -> Payload {
    Payload::new(fields.iter().map(|(k, v)| ((*k).to_owned(), (*v).into())).collect())
}

/// Upstream answers that attempt.
pub(crate) fn answered(attempt: &Attempt, text: &str) -> Happened {
    Happened::Answered(Box::new(Answer {
        task: attempt.task,
        token: attempt.token,
        dialect: "res.php/json".to_owned(),
        raw: format!(r#"{{"status":1,"request":"{text}","note":"{CANARY}"}}"#).into(),
        text: text.into(),
        user_agent: None,
        solved_at: attempt.accepted_at.unwrap_or(attempt.intent_at),
        expires_at: None,
        read_at: attempt.intent_at,
    }))
}

pub(crate) fn ids_of(claimed: &[Claimed]) -> Vec<TaskId> {
    claimed.iter().map(|claimed| claimed.task.id).collect()
}
