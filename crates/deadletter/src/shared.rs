//! What every part of a running engine shares, and how a report becomes a durable change.

use crate::{
    Error, Result,
    account::Account,
    committer::Committer,
    crash::CrashPoint,
    delivery::tries::Counting,
    fold::Folding,
    gate::Pass,
    health::Health,
    heap::Poller,
    inhand::InHand,
    notice::{Notice, Waiters},
    outbound::Courier,
    patience::patiently,
    readings::Readings,
    stop,
};
use deadletter_core::{
    AccountName, AccountSignal, Attempt, AttemptToken, Context, Happened, Task, UnixMs, WorkerId,
    breaker::{Outcome, Transition},
    decide,
};
use deadletter_store::{Clock, Committed, Store};
use rand::{Rng, RngExt, SeedableRng, rngs::StdRng};
use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError, RwLock,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
};
use tokio::sync::{Notify, broadcast, watch};

/// A report is decided anew this often while others change the same task: each loss means that
/// the task has moved on, and after two or three moves every report is about the past.
const REPORT_TRIES: u32 = 16;

/// The parts of a running engine, as each of them sees the others.
pub(crate) struct Shared {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) accounts: BTreeMap<AccountName, Arc<Account>>,
    pub(crate) first_account: AccountName,
    pub(crate) committer: Committer,
    pub(crate) health: Arc<Health>,
    pub(crate) poller: Poller,
    pub(crate) waiters: Waiters,
    pub(crate) notices: broadcast::Sender<Notice>,
    /// Wakes the watcher: events of this process are in the store.
    pub(crate) events_written: Notify,
    /// Wakes the operator: an operation may have begun.
    pub(crate) operations_written: Notify,
    /// Wakes the reporter: a report may be new.
    pub(crate) reports_written: Notify,
    /// Wakes the deliverer: a delivery may be new.
    pub(crate) deliveries_written: Notify,
    /// True where the operator runs: the desk leaves its work to it.
    pub(crate) has_operator: AtomicBool,
    /// True while the store knows the worker and has not heard its good-bye.
    pub(crate) has_joined: AtomicBool,
    /// True from the moment that the engine stops.
    pub(crate) stopping: watch::Sender<bool>,
    /// Dispatchers that may still have a submit on the wire.
    dispatching: watch::Sender<usize>,
    pub(crate) in_hand: InHand,
    pub(crate) crash: CrashPoint,
    /// Solved tasks are deleted after this time; never where there is none.
    pub(crate) keep_solved_ms: Option<i64>,
    pub(crate) courier: Courier,
    pub(crate) readings: Readings,
    pub(crate) folding: Folding,
    pub(crate) tries: Counting,
    pub(crate) submits_in_flight: AtomicUsize,
    pub(crate) last_id: AtomicU64,
    /// Guards the present worker id: replaced when the store declares it dead.
    worker: RwLock<WorkerId>,
    /// Guards the dice.
    dice: Mutex<StdRng>,
}

/// What became of a report.
pub(crate) struct Settled {
    /// The task as it stands now; none where it was purged.
    pub(crate) task: Option<Task>,
    /// True where the task's row was changed by this report.
    pub(crate) moved: bool,
    /// True where the upstream id that was reported is another task's: nobody may ask for it.
    pub(crate) is_id_taken: bool,
}

impl Settled {
    const fn new(task: Option<Task>, moved: bool) -> Self {
        Self { task, moved, is_id_taken: false }
    }
}

/// What became of one way to see what happened.
enum Written {
    Settled(Settled),
    /// Nothing is written: the upstream id is another task's. The row as it was read.
    IdTaken(Task),
}

/// What [`Shared::new`] is made of.
pub(crate) struct Parts {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) accounts: BTreeMap<AccountName, Arc<Account>>,
    pub(crate) first_account: AccountName,
    pub(crate) committer: Committer,
    pub(crate) health: Arc<Health>,
    pub(crate) worker: WorkerId,
    pub(crate) seed: Option<u64>,
    pub(crate) crash: CrashPoint,
    pub(crate) keep_solved_ms: Option<i64>,
    pub(crate) courier: Courier,
}

impl Shared {
    pub(crate) fn new(parts: Parts) -> Self {
        let seed = parts.seed.unwrap_or_else(|| rand::rng().next_u64());
        Self {
            clock: parts.store.clock(),
            store: parts.store,
            accounts: parts.accounts,
            first_account: parts.first_account,
            committer: parts.committer,
            poller: Poller::default(),
            waiters: Waiters::default(),
            notices: parts.health.notices.clone(),
            events_written: Notify::new(),
            operations_written: Notify::new(),
            reports_written: Notify::new(),
            deliveries_written: Notify::new(),
            has_operator: AtomicBool::new(false),
            has_joined: AtomicBool::new(false),
            stopping: parts.health.stopping.clone(),
            health: parts.health,
            dispatching: watch::channel(0).0,
            in_hand: InHand::default(),
            crash: parts.crash,
            keep_solved_ms: parts.keep_solved_ms,
            courier: parts.courier,
            readings: Readings::default(),
            folding: Folding::default(),
            tries: Counting::default(),
            submits_in_flight: AtomicUsize::new(0),
            last_id: AtomicU64::new(0),
            worker: RwLock::new(parts.worker),
            dice: Mutex::new(StdRng::seed_from_u64(seed)),
        }
    }

    pub(crate) fn now(&self) -> UnixMs {
        self.clock.now()
    }

    /// Waits while `ms` pass on the store's clock.
    pub(crate) async fn sleep_ms(&self, ms: i64) {
        tokio::time::sleep(self.clock.wait_for(ms)).await;
    }

    /// True where loops work, a watcher among them; false for a desk alone.
    pub(crate) fn is_watched(&self) -> bool {
        self.has_operator.load(Ordering::Relaxed)
    }

    /// What comes of `asking`; none where the engine stops before.
    pub(crate) async fn unless_stopped<T>(&self, asking: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            () = self.stopped() => None,
            told = asking => Some(told),
        }
    }

    pub(crate) fn is_stopping(&self) -> bool {
        *self.stopping.borrow()
    }

    /// Returns when the engine stops.
    pub(crate) async fn stopped(&self) {
        let mut stopping = self.stopping.subscribe();
        // The sender lives as long as `self`, so waiting cannot fail.
        stopping.wait_for(|stopping| *stopping).await.map(drop).unwrap_or_default();
    }

    /// From now on a dispatcher may have something on the wire, until the answer is dropped.
    pub(crate) fn begin_dispatching(self: &Arc<Self>) -> Dispatching {
        self.dispatching.send_modify(|n| *n += 1);
        Dispatching(Arc::clone(self))
    }

    /// Returns when the engine stops and nothing is on the wire any more: until then its worker
    /// must not seem dead, or others would submit what it is submitting.
    pub(crate) async fn at_rest(&self) {
        self.stopped().await;
        let mut dispatching = self.dispatching.subscribe();
        dispatching.wait_for(|n| *n == 0).await.map(drop).unwrap_or_default();
    }

    pub(crate) fn worker(&self) -> WorkerId {
        self.worker.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn set_worker(&self, worker: WorkerId) {
        *self.worker.write().unwrap_or_else(PoisonError::into_inner) = worker;
    }

    /// A random number in [0, 1).
    pub(crate) fn random(&self) -> f64 {
        self.dice.lock().unwrap_or_else(PoisonError::into_inner).random::<f64>()
    }

    pub(crate) fn random_u64(&self) -> u64 {
        self.dice.lock().unwrap_or_else(PoisonError::into_inner).next_u64()
    }

    pub(crate) fn tokens(&self, n: u32) -> Vec<AttemptToken> {
        (0..n).map(|_| AttemptToken::from_random(self.random_u64())).collect()
    }

    pub(crate) fn account(&self, name: &AccountName) -> Result<&Arc<Account>> {
        self.accounts.get(name).ok_or_else(|| Error::NoSuchAccount(name.clone()))
    }

    /// What kept every dispatcher from claiming is over.
    pub(crate) fn wake_dispatchers(&self) {
        for account in self.accounts.values() {
            account.wake.notify_one();
        }
    }

    /// Tells everybody that a breaker changed its phase.
    pub(crate) fn breaker_moved(&self, account: &Account, transition: Option<Transition>) {
        if let Some(transition) = transition {
            self.notify(Notice::Breaker { account: account.name.clone(), transition });
            account.wake.notify_one();
            self.poller.wake.notify_one();
        }
    }

    pub(crate) fn notify(&self, notice: Notice) {
        // Nobody listening is no failure.
        self.notices.send(notice).ok();
    }

    /// Decides what follows from `happened`, makes it durable, and tells the account.
    ///
    /// Where the task has moved on, what happened is decided again on the task as it is now; where
    /// the upstream id is another task's, as what it is then: a doubt.
    pub(crate) async fn report(
        &self,
        account: &Arc<Account>,
        task: Task,
        attempt: Option<&Attempt>,
        happened: &Happened,
        pass: &Pass,
    ) -> Result<Settled> {
        match self.write_down(account, task, attempt, happened, Some(pass)).await? {
            Written::Settled(settled) => Ok(settled),
            Written::IdTaken(task) => {
                let id = task.id;
                tracing::error!(task = %id, account = %account.name, ?happened, "id is not unique");
                let doubt = happened.with_id_taken();
                // The account has learned from the first look.
                match self.write_down(account, task, attempt, &doubt, None).await? {
                    Written::Settled(settled) => Ok(Settled { is_id_taken: true, ..settled }),
                    Written::IdTaken(_) => Err(Error::Contended(format!("task/{id}"))),
                }
            }
        }
    }

    async fn write_down(
        &self,
        account: &Arc<Account>,
        mut task: Task,
        attempt: Option<&Attempt>,
        happened: &Happened,
        mut pass: Option<&Pass>,
    ) -> Result<Written> {
        let terms = account.terms(&task.dimensions.method);
        for _ in 0..REPORT_TRIES {
            let context = Context {
                policy: &account.policy,
                terms: &terms,
                attempt,
                now: self.now(),
                random: self.random(),
            };
            let decision = decide(&task, happened, context);
            // What the account learns is worth less than what the task learns: it must not fail.
            if let Some(pass) = pass.take()
                && let Err(error) = self.take_signal(account, &decision.account, pass).await
            {
                tracing::warn!(account = %account.name, %error, "could not share what it learned");
            }
            if decision.change.is_empty() {
                return Ok(Written::Settled(Settled::new(Some(task), false)));
            }
            let after = decision.change.row.as_ref().map(|row| row.after.clone());
            let committed = self.committer.commit(decision.change).await.map_err(shared_error)?;
            match (committed, after) {
                (Committed::Applied, Some(after)) => {
                    self.follow(account, &after);
                    return Ok(Written::Settled(Settled::new(Some(after), true)));
                }
                (Committed::Applied, None) => {
                    account.wake.notify_one();
                    return Ok(Written::Settled(Settled::new(Some(task), false)));
                }
                (Committed::IdTaken, _) => return Ok(Written::IdTaken(task)),
                (Committed::Stale, after) => match self.reload(&task).await? {
                    None => return Ok(Written::Settled(Settled::new(None, false))),
                    // Our own write, of which we were not told: the answer got lost.
                    Some(found) if after.as_ref() == Some(&found) => {
                        self.follow(account, &found);
                        return Ok(Written::Settled(Settled::new(Some(found), true)));
                    }
                    Some(found) => task = found,
                },
            }
        }
        Err(Error::Contended(format!("task/{}", task.id)))
    }

    /// True where the row is ours after all: it was written, and the answer got lost.
    pub(crate) async fn stands(&self, after: &Task) -> Result<bool> {
        Ok(self.reload(after).await?.as_ref() == Some(after))
    }

    async fn reload(&self, task: &Task) -> Result<Option<Task>> {
        Ok(patiently(|| self.store.get(std::slice::from_ref(&task.id))).await?.pop().flatten())
    }

    /// What others want to know of a row that is durable now.
    fn follow(&self, account: &Account, after: &Task) {
        if let Some(due_at) = after.due_at() {
            account.hint_due(due_at);
            self.notify(Notice::Waiting(Box::new(after.clone())));
        }
        if after.kind().is_terminal() {
            self.events_written.notify_one();
            if after.delivers_to.is_some() {
                self.deliveries_written.notify_one();
            }
        }
        if !after.kind().is_leased() {
            // Its permit may be free now.
            account.wake.notify_one();
        }
    }

    async fn take_signal(
        &self,
        account: &Arc<Account>,
        signal: &AccountSignal,
        pass: &Pass,
    ) -> Result<()> {
        let now = self.now();
        let outcome = match signal {
            AccountSignal::None => {
                return account.gate.release(self.store.as_ref(), pass).await;
            }
            AccountSignal::Outage => Outcome::Outage,
            AccountSignal::Healthy => {
                account.vouch();
                Outcome::Ok
            }
            AccountSignal::Full(_) => {
                account.vouch();
                account.submit_refused_for_capacity(now);
                Outcome::Ok
            }
            AccountSignal::Stop(failure) => {
                if let Err(error) = stop::begin(self, account, failure).await {
                    tracing::warn!(account = %account.name, %error, "stopped in this process only");
                }
                Outcome::Ok
            }
        };
        let transition = account.gate.learn(self.store.as_ref(), pass, outcome, now).await?;
        self.breaker_moved(account, transition);
        Ok(())
    }
}

/// That a dispatcher may have something on the wire.
pub(crate) struct Dispatching(Arc<Shared>);

impl Drop for Dispatching {
    fn drop(&mut self) {
        self.0.dispatching.send_modify(|n| *n = n.saturating_sub(1));
    }
}

/// An error that many callers share, as one of theirs.
pub(crate) fn shared_error(error: Arc<deadletter_store::Error>) -> Error {
    Error::Store(Arc::try_unwrap(error).unwrap_or_else(|shared| {
        deadletter_store::Error::Unavailable { what: shared.to_string(), source: None }
    }))
}
