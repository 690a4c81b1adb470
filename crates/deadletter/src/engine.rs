//! The engine as its user holds it: submit, wait, watch, stop.

use crate::{
    Builder, Desk, Error, Job, Notice, Result,
    account::Account,
    delivery::Tries,
    heartbeat, intake, keeper,
    outbound::Guard,
    patience::Patience,
    provider::{AccountState, Explanation, PollError},
    readings,
    shared::Shared,
    stop,
};
use deadletter_core::{AccountName, Answer, Failure, Task, TaskId, UnixMs, breaker::Phase};
use deadletter_store::Store;
use std::{
    sync::{Arc, Mutex, PoisonError, atomic::Ordering},
    time::Duration,
};
use tokio::{sync::broadcast, task::JoinHandle};

/// Tasks of one insert: a batch of the store's is one transaction.
const INSERT_BATCH: usize = 500;

/// A loop that has not ended so long after the stop is given up: longer than a dispatcher waits for
/// what is on the wire.
const STOP_MAX: Duration = Duration::from_secs(30);

/// Between two looks at a task where no watcher wakes who waits, as beside a running engine: as
/// often as a watcher looks.
const LOOK: Duration = Duration::from_millis(250);

/// A running engine. Dropping it stops it without waiting; [`Deadletter::stop`] waits.
pub struct Deadletter {
    pub(crate) shared: Arc<Shared>,
    /// Guards the loops that are to be stopped yet; held for as long as somebody waits for their end.
    pub(crate) loops: tokio::sync::Mutex<Vec<JoinHandle<()>>>,
    /// Ends when the last sender, which `shared` holds, is gone.
    committing: Mutex<Option<JoinHandle<()>>>,
}

/// What became of one job of a submit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Submitted {
    /// Its task.
    pub id: TaskId,
    /// False where its idempotency key had a task already.
    pub is_new: bool,
}

/// How a task ended.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// Solved.
    Solved(Box<Answer>),
    /// Dead, buried or cancelled: the row says why.
    Unsolved(Box<Task>),
}

/// A task that was submitted.
#[derive(Clone)]
pub struct Handle {
    /// Its id.
    pub id: TaskId,
    /// False where its idempotency key had a task already.
    pub is_new: bool,
    shared: Arc<Shared>,
}

/// How an account does.
#[derive(Clone, Debug)]
pub struct AccountStatus {
    /// Its name.
    pub name: AccountName,
    /// Threads of its plan: configured, or as upstream told them last.
    pub threads: u32,
    /// Threads that may be used now: fewer after upstream said that it is full.
    pub limit: u32,
    /// Its breaker's phase.
    pub phase: Phase,
    /// Until something may pass, in milliseconds; none where only a person can change it.
    pub retry_after_ms: Option<i64>,
    /// Why all its traffic is stopped, where it is: a wrong key, a ban, an empty plan.
    pub stopped: Option<Failure>,
}

/// How the engine does.
#[derive(Clone, Debug)]
pub struct Status {
    /// Its accounts.
    pub accounts: Vec<AccountStatus>,
    /// Submits on the wire.
    pub submitting: usize,
    /// Upstream ids that are asked for, and that their tasks wait for.
    pub polling: usize,
    /// Upstream ids that are asked for although their tasks gave them up: an answer may come late.
    pub polling_late: usize,
}

impl Deadletter {
    /// Begins to describe an engine.
    ///
    /// ```no_run
    /// # async fn example(store: std::sync::Arc<dyn deadletter::store::Store>,
    /// #     account: deadletter::AccountConfig) -> Result<(), Box<dyn std::error::Error>> {
    /// use deadletter::{Deadletter, Job, Outcome};
    ///
    /// let engine = Deadletter::builder().store(store).account(account).start().await?;
    /// let job = Job::new("userrecaptcha")
    ///     .param("googlekey", "6Le-wvkSAAAAAPBMRTvw0Q4Muexq9bi0DJwx_mJ-")
    ///     .param("pageurl", "https://example.com/login");
    /// match engine.solve(job).await? {
    ///     Outcome::Solved(answer) => println!("{}", answer.expose()),
    ///     Outcome::Unsolved(task) => println!("dead: {:?}", task.cause),
    /// }
    /// engine.stop().await?;
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn builder() -> Builder {
        Builder::default()
    }

    pub(crate) fn new(shared: Arc<Shared>, committing: JoinHandle<()>) -> Self {
        Self { shared, loops: Default::default(), committing: Mutex::new(Some(committing)) }
    }

    /// Stores one job; it is durable, as the store's [`durability`](Store::durability) says, when
    /// this returns.
    ///
    /// Errors: [`Error::Stopping`], [`Error::NoSuchAccount`], [`Error::TooLarge`], [`Error::Target`], and
    /// the store's.
    /// Where it is dropped or the store is in doubt, the job may be stored and worked on: with an
    /// idempotency key the same call may be made again, without one it would be paid for twice.
    pub async fn submit(&self, job: Job) -> Result<Handle> {
        let submitted = self.submit_all(vec![job]).await?;
        let Submitted { id, is_new } = *submitted.first().ok_or(Error::NoFreeId(0))?;
        Ok(Handle { id, is_new, shared: Arc::clone(&self.shared) })
    }

    /// Stores jobs, in order, one answer each; all are durable when this returns.
    ///
    /// Jobs are stored in batches of 500. Where this fails or is dropped, the batches before that are
    /// stored and worked on all the same; with idempotency keys the same call may be made again.
    /// Errors as [`Deadletter::submit`] has them; a job that is refused stores nothing of its batch.
    pub async fn submit_all(&self, jobs: Vec<Job>) -> Result<Vec<Submitted>> {
        if self.shared.is_stopping() {
            return Err(Error::Stopping);
        }
        let mut submitted = Vec::with_capacity(jobs.len());
        let mut jobs = jobs.into_iter();
        loop {
            let batch: Vec<_> = jobs.by_ref().take(INSERT_BATCH).collect();
            if batch.is_empty() {
                break;
            }
            submitted.extend(intake::insert(&self.shared, batch).await?);
            // After each batch: what is stored is worked on, whatever becomes of the next one.
            let now = self.shared.now();
            for account in self.shared.accounts.values() {
                account.hint_due(now);
            }
        }
        Ok(submitted)
    }

    /// Submits a job and waits for its end, for as long as that takes: give the job a deadline, or
    /// drop the future. A job that was stored is worked on and its answer kept all the same.
    pub async fn solve(&self, job: Job) -> Result<Outcome> {
        self.submit(job).await?.wait().await
    }

    /// A handle on a task that was submitted before, by whichever process; whether there is such a
    /// task shows when it is asked for.
    #[must_use]
    pub fn task(&self, id: TaskId) -> Handle {
        Handle { id, is_new: false, shared: Arc::clone(&self.shared) }
    }

    /// The store, for whatever the desk does not offer.
    #[must_use]
    pub fn store(&self) -> &dyn Store {
        self.shared.store.as_ref()
    }

    /// The dead-letter desk: look, explain, redrive.
    #[must_use]
    pub fn desk(&self) -> Desk {
        Desk::of_engine(&self.shared)
    }

    /// What happens from now on, as it happens; a listener that is 4,096 notices behind misses the
    /// oldest, and is told how many. Beside a desk alone ([`Builder::desk_only`]) little is heard.
    #[must_use]
    pub fn notices(&self) -> broadcast::Receiver<Notice> {
        self.shared.notices.subscribe()
    }

    /// Notes that the owner of `task` was told of its verdict, and of its answer where it is solved:
    /// for whoever hands it over by other ways than a [`Handle`]. Nothing waits for it, and what is
    /// not noted yet when the process dies is forgotten: the answer counts as unused then.
    pub fn note_read(&self, task: &Task, answer: Option<&Answer>) {
        self.shared.note_read(task, answer);
    }

    /// Which addresses that clients name may be posted to.
    #[must_use]
    pub fn guard(&self) -> &Guard {
        self.shared.courier.guard()
    }

    /// What came of the deliveries that this process has tried so far.
    #[must_use]
    pub fn tries(&self) -> Tries {
        self.shared.tries.so_far()
    }

    /// Puts into the log that something could not be done. That the store is away is told once for all
    /// of this process who find it so: when it begins, now and then, and when it is over.
    pub fn could_not(&self, what: &str, error: &Error) {
        self.shared.health.could_not(what, error);
    }

    /// The same for an error of the store itself.
    pub fn store_could_not(&self, what: &str, error: &deadletter_store::Error) {
        self.shared.health.store_could_not(what, error);
    }

    /// How it does at this moment: this process's view, without asking the store.
    #[must_use]
    pub fn status(&self) -> Status {
        let now = self.shared.now();
        let (polling, polling_late) = self.shared.poller.asked_for();
        Status {
            accounts: self.shared.accounts.values().map(|a| account_status(a, now)).collect(),
            submitting: self.shared.submits_in_flight.load(Ordering::Relaxed),
            polling,
            polling_late,
        }
    }

    /// Asks upstream how the first account stands: threads, and balance where it has one. One
    /// question, with the provider's own time-out; nothing is submitted, and nothing is asked of an
    /// account that is stopped.
    pub async fn ask_account(&self) -> Result<AccountState, PollError> {
        let name = &self.shared.first_account;
        match self.shared.accounts.get(name) {
            Some(account) if !account.is_stopped() => stop::ask(account).await,
            _ => Ok(AccountState::default()),
        }
    }

    /// What is known of an error code at the first account's provider.
    #[must_use]
    pub fn explain(&self, code: &str) -> Option<Explanation> {
        self.shared.accounts.get(&self.shared.first_account)?.provider.explain(code)
    }

    /// Stops: intake ends, what is on the wire is awaited (20 s at most), leases are given back,
    /// nothing is submitted again. What is polled is polled on by the next worker.
    ///
    /// Cancel-safe: the engine stops all the same, and another call waits for its end. So does a
    /// call beside the first one; once it is stopped, nothing is done. Errors: the store could not
    /// be told that this worker has left; it finds out by itself within seconds.
    pub async fn stop(&self) -> Result<()> {
        self.shared.stopping.send_replace(true);
        let mut loops = self.loops.lock().await;
        while let Some(running) = loops.last_mut() {
            match tokio::time::timeout(STOP_MAX, &mut *running).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::error!(%error, "a loop of the engine did not end well"),
                Err(_) => {
                    running.abort();
                    tracing::error!("a loop of the engine did not end in time; the store is away?");
                }
            }
            loops.pop();
        }
        if !self.shared.has_joined.load(Ordering::Relaxed) {
            return Ok(());
        }
        // What the last deliveries told.
        readings::write(&self.shared).await;
        for account in self.shared.accounts.values() {
            let store = self.shared.store.as_ref();
            let synced = account.gate.sync(store, self.shared.now()).await.map(drop);
            if let Err(error) = synced.and(keeper::share_times(&self.shared, account).await) {
                self.shared.health.could_not("share what an account has learned", &error);
            }
        }
        heartbeat::part(&self.shared).await
    }
}

impl Drop for Deadletter {
    fn drop(&mut self) {
        self.shared.stopping.send_replace(true);
        drop(lock(&self.committing).take());
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Handle {
    /// Waits until the task is solved, dead, buried or cancelled, by whichever process. Cancel-safe.
    /// What is answered counts as told to the task's owner.
    ///
    /// A dead letter may still be answered late or redriven: a later call tells what came of it. A
    /// store that is away is waited for. Errors: [`Error::NoSuchTask`] also where it was purged
    /// meanwhile, [`Error::Stopping`] where the engine stops before the task has ended.
    pub async fn wait(&self) -> Result<Outcome> {
        self.until_end(async |handle| handle.outcome().await).await
    }

    /// The same for whoever only wants to know of the end: the row then. Nobody was told of it.
    pub async fn ended(&self) -> Result<Task> {
        let is_over = async |handle: &Self| {
            Ok(Some(handle.row().await?).filter(|task| task.kind().is_terminal()))
        };
        self.until_end(is_over).await
    }

    async fn until_end<T>(&self, look: impl AsyncFn(&Self) -> Result<Option<T>>) -> Result<T> {
        let mut patience = Patience::new();
        loop {
            // Register for the wake-up before looking: what happens in between is not missed.
            let woken = self.shared.waiters.register(self.id);
            match look(self).await {
                Ok(Some(end)) => return Ok(end),
                Ok(None) => patience = Patience::new(),
                // The task is stored: whoever waits would only lose its trace.
                Err(Error::Store(error)) if error.is_retryable() && !self.shared.is_stopping() => {
                    patience.wait().await;
                    continue;
                }
                Err(error) => return Err(error),
            }
            tokio::select! {
                _ = woken => {}
                () = tokio::time::sleep(LOOK), if !self.shared.is_watched() => {}
                () = self.shared.stopped() => {
                    return look(self).await?.ok_or(Error::Stopping);
                }
            }
        }
    }

    async fn row(&self) -> Result<Task> {
        let task = self.shared.store.get(&[self.id]).await?.pop().flatten();
        task.ok_or(Error::NoSuchTask(self.id))
    }

    /// How it ended, if it has; asks the store once, and counts as told to the task's owner.
    pub async fn outcome(&self) -> Result<Option<Outcome>> {
        let told = self.shared.store.told(self.id).await?;
        let (task, answer) = told.ok_or(Error::NoSuchTask(self.id))?;
        if !task.kind().is_terminal() {
            return Ok(None);
        }
        self.shared.note_read(&task, answer.as_ref());
        Ok(Some(match answer {
            Some(answer) => Outcome::Solved(Box::new(answer)),
            None => Outcome::Unsolved(Box::new(task)),
        }))
    }
}

fn account_status(account: &Arc<Account>, now: UnixMs) -> AccountStatus {
    AccountStatus {
        name: account.name.clone(),
        threads: account.threads(),
        limit: account.limit(),
        phase: account.gate.phase(now),
        retry_after_ms: account.gate.retry_after_ms(now),
        stopped: account.stop().failure,
    }
}
