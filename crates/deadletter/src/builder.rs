//! Builds an engine: which store, which accounts, what it is told from outside.

use crate::{
    Deadletter, Error, Result,
    account::{Account, AccountConfig},
    committer::Committer,
    crash::CrashPoint,
    delivery::deliverer,
    dispatcher,
    health::Health,
    heartbeat, holds, keeper, operator,
    outbound::{Courier, Guard},
    poller, readings, reporter, retention,
    shared::{Parts, Shared},
    stop, sweeper, watcher,
};
use deadletter_store::{Store, migrate};
use std::{
    collections::BTreeMap,
    sync::{Arc, atomic::Ordering},
};
use tokio::task::JoinHandle;

/// What an engine is made of; see [`Deadletter::builder`].
pub struct Builder {
    store: Option<Arc<dyn Store>>,
    accounts: Vec<AccountConfig>,
    seed: Option<u64>,
    crash: CrashPoint,
    keep_solved_ms: Option<i64>,
    guard: Guard,
}

impl Default for Builder {
    fn default() -> Self {
        Self {
            store: None,
            accounts: Vec::new(),
            seed: None,
            crash: CrashPoint::default(),
            keep_solved_ms: Some(retention::USUAL_MS),
            guard: Guard::default(),
        }
    }
}

impl Builder {
    /// The store that keeps everything; without one nothing starts. It may be shared with other
    /// engines and processes.
    #[must_use]
    pub fn store(mut self, store: Arc<dyn Store>) -> Self {
        self.store = Some(store);
        self
    }

    /// One more account, of which there must be one; the first takes the jobs that name none. Tasks
    /// of accounts that no engine is given wait, and are told of ([`crate::Notice::NotConfigured`]).
    #[must_use]
    pub fn account(mut self, account: AccountConfig) -> Self {
        self.accounts.push(account);
        self
    }

    /// For how long solved tasks are kept, in milliseconds from the moment that they were solved; a
    /// day, where this is not called. Then they are deleted, with their answers and their
    /// idempotency keys, and counted as purged. None: they are kept until somebody purges them.
    #[must_use]
    pub const fn keep_solved_for(mut self, ms: Option<i64>) -> Self {
        self.keep_solved_ms = ms;
        self
    }

    /// Which special addresses (of this machine, of private networks) may be posted to where a task
    /// asks for it; none, where this is not called.
    #[must_use]
    pub fn guard(mut self, guard: Guard) -> Self {
        self.guard = guard;
        self
    }

    /// Makes the engine's dice (jitter, attempts' tokens, ids) repeatable: for tests alone, since two
    /// engines with one seed choose alike. None, as usual: from the operating system.
    #[must_use]
    pub const fn seed(mut self, seed: Option<u64>) -> Self {
        self.seed = seed;
        self
    }

    /// Where a test makes this process die; release builds ignore it.
    #[doc(hidden)]
    #[must_use]
    pub fn crash_point(mut self, crash: CrashPoint) -> Self {
        self.crash = crash;
        self
    }

    /// An engine that works on nothing: for a look at the desk beside a running one, or until
    /// [`Deadletter::set_to_work`]. What its desk begins is done by a process that works, and so are
    /// jobs that are submitted to it.
    ///
    /// Errors: what is missing or double in the description. It leaves nothing behind, dropped or
    /// not, unless it takes a turn.
    pub async fn desk_only(self) -> Result<Deadletter> {
        let store = self.store.ok_or(Error::NoStore)?;
        let first_account = self.accounts.first().ok_or(Error::NoAccount)?.name.clone();
        let now = store.clock().now();
        let mut accounts = BTreeMap::new();
        for config in self.accounts {
            let name = config.name.clone();
            if accounts.insert(name.clone(), Arc::new(Account::new(config, now))).is_some() {
                return Err(Error::SameName(name));
            }
        }
        let health = Arc::new(Health::new());
        let (committer, committing) = Committer::start(Arc::clone(&store), Arc::clone(&health));
        let parts = Parts {
            store,
            accounts,
            first_account,
            committer,
            health,
            worker: heartbeat::new_worker(rand::random()),
            seed: self.seed,
            crash: self.crash,
            keep_solved_ms: self.keep_solved_ms,
            courier: Courier::new(self.guard),
        };
        Ok(Deadletter::new(Arc::new(Shared::new(parts)), committing))
    }

    /// Registers a worker, takes over what dead ones left, and begins to work.
    ///
    /// Upstream ids that are taken over are asked before anything new is submitted.
    ///
    /// Errors: what is missing or double in the description, and the store's. What a start that
    /// fails has taken over is free at once; one that is dropped seems dead after six seconds.
    pub async fn start(self) -> Result<Deadletter> {
        let engine = self.desk_only().await?;
        engine.set_to_work().await?;
        Ok(engine)
    }
}

impl Deadletter {
    /// Begins to work, as [`Builder::start`] does and with its errors; to be called once, where
    /// [`Builder::desk_only`] made it. Dropped, it is to be stopped.
    pub async fn set_to_work(&self) -> Result<()> {
        let shared = &self.shared;
        if let Some(half) = migrate::unfinished(shared.store.as_ref()).await? {
            return Err(Error::HalfMoved(half.from));
        }
        let seen = shared.store.last_event().await?;
        heartbeat::join(shared).await?;
        if let Err(error) = prepare(shared).await {
            // What it has taken over already is free again for the next try.
            if let Err(error) = heartbeat::part(shared).await {
                tracing::warn!(%error, "could not say good-bye; others find out by themselves");
            }
            return Err(error);
        }
        self.loops.lock().await.extend(spawn(shared, seen));
        Ok(())
    }
}

/// What must be known before the first claim.
async fn prepare(shared: &Arc<Shared>) -> Result<()> {
    holds::read_first(shared).await?;
    for account in shared.accounts.values() {
        account.gate.sync(shared.store.as_ref(), shared.now()).await?;
        stop::read_first(shared, account).await?;
        keeper::read_times(shared, account).await?;
    }
    sweeper::take_over(shared).await
}

/// Starts the loops; each ends when `Shared::stopped` does, heartbeat and sweeper after the
/// dispatchers.
fn spawn(shared: &Arc<Shared>, seen: u64) -> Vec<JoinHandle<()>> {
    shared.has_operator.store(true, Ordering::Relaxed);
    let mut loops = vec![
        tokio::spawn(heartbeat::run(Arc::clone(shared))),
        tokio::spawn(poller::run(Arc::clone(shared))),
        tokio::spawn(sweeper::run(Arc::clone(shared))),
        tokio::spawn(operator::run(Arc::clone(shared))),
        tokio::spawn(readings::run(Arc::clone(shared))),
        tokio::spawn(reporter::run(Arc::clone(shared))),
        tokio::spawn(deliverer::run(Arc::clone(shared))),
        tokio::spawn(watcher::run(Arc::clone(shared), seen)),
    ];
    for account in shared.accounts.values() {
        let dispatching = shared.begin_dispatching();
        let dispatch = dispatcher::run(Arc::clone(shared), Arc::clone(account), dispatching);
        loops.push(tokio::spawn(dispatch));
        loops.push(tokio::spawn(keeper::run(Arc::clone(shared), Arc::clone(account))));
    }
    loops
}
