//! What every part of a running engine shares.

use crate::{
    Error, Result,
    account::Account,
    committer::Committer,
    crash::CrashPoint,
    delivery::tries::Counting,
    fold::Folding,
    health::Health,
    heap::Poller,
    hearing::Hearing,
    holds::Holding,
    inhand::InHand,
    notice::{Notice, Waiters},
    outbound::Courier,
    readings::Readings,
};
use deadletter_core::{AccountName, AttemptToken, UnixMs, WorkerId, breaker::Transition};
use deadletter_store::{Clock, Store};
use rand::{Rng, RngExt, SeedableRng, rngs::StdRng};
use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError, RwLock,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
};
use tokio::sync::{Notify, broadcast, watch};

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
    pub(crate) hearing: Hearing,
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
    pub(crate) holds: Holding,
    pub(crate) tries: Counting,
    pub(crate) submits_in_flight: AtomicUsize,
    pub(crate) last_id: AtomicU64,
    /// Guards the present worker id: replaced when the store declares it dead.
    worker: RwLock<WorkerId>,
    /// Guards the dice.
    dice: Mutex<StdRng>,
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
            hearing: Hearing::default(),
            stopping: parts.health.stopping.clone(),
            health: parts.health,
            dispatching: watch::channel(0).0,
            in_hand: InHand::default(),
            crash: parts.crash,
            keep_solved_ms: parts.keep_solved_ms,
            courier: parts.courier,
            readings: Readings::default(),
            folding: Folding::default(),
            holds: Holding::default(),
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
