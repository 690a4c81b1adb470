//! Keeps order: heartbeat, the dead workers' tasks, deadlines, what all workers share.

use crate::{
    Result,
    account::{Account, STOP_PROBE_MS, Stop},
    document,
    gate::Pass,
    notice::Notice,
    poller::Entry,
    provider::PollError,
    shared::{Shared, stop_key},
};
use deadletter_core::{Class, Happened, StateKind, UnixMs, WorkerId, histogram::Histogram};
use deadletter_store::{Error as StoreError, TakeOver};
use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

/// A beat every two seconds of real time.
const BEAT: Duration = Duration::from_secs(2);
/// Three beats missed: declared dead. Real time; the store's clock may run faster.
const SILENT_MS: f64 = 6_000.0;
/// Tasks taken over, or overdue, per step.
const BATCH: u32 = 500;
/// Beats between two looks at threadsinfo: one per five minutes.
const THREADS_EVERY: u64 = 150;
/// Methods whose solve times are read at the start; real accounts use a handful.
const METHODS: u32 = 200;
/// Beats between two reports of solve times.
const TIMES_EVERY: u64 = 5;

/// Runs until the engine stops.
pub(crate) async fn run(shared: Arc<Shared>) {
    for beats in 0_u64.. {
        if let Err(error) = sweep(&shared, beats).await {
            tracing::warn!(%error, "could not sweep; trying again at the next beat");
        }
        tokio::select! {
            () = shared.stopped() => break,
            () = tokio::time::sleep(BEAT) => {}
        }
    }
}

async fn sweep(shared: &Arc<Shared>, beats: u64) -> Result<()> {
    match shared.store.beat(&shared.worker()).await {
        Err(StoreError::DeclaredDead(worker)) => begin_anew(shared, &worker).await?,
        beat => drop(beat?),
    }
    let silent_ms = (SILENT_MS * shared.clock.speed()) as i64;
    for worker in shared.store.declare_dead(silent_ms).await? {
        tracing::warn!(%worker, "declared dead; its tasks are taken over");
    }
    take_over(shared).await?;
    end_overdue(shared).await?;
    for account in shared.accounts.values() {
        account.set_suspects(true);
        keep_account(shared, account, beats).await?;
    }
    Ok(())
}

/// The store declared this worker dead while it was away: others have its tasks.
async fn begin_anew(shared: &Shared, dead: &WorkerId) -> Result<()> {
    tracing::error!(worker = %dead, "declared dead by the store; beginning anew");
    shared.poller.clear();
    shared.recovering.store(0, Ordering::Release);
    let worker = new_worker(shared.random_u64());
    shared.store.register(&worker, &crate::builder::label()).await?;
    shared.set_worker(worker);
    Ok(())
}

/// An id that no worker has had.
pub(crate) fn new_worker(random: u64) -> WorkerId {
    WorkerId::new(format!("w-{random:016x}")).expect("letters and digits, short")
}

/// Takes over what nobody works on: ids are asked first, doubtful submits are decided.
pub(crate) async fn take_over(shared: &Arc<Shared>) -> Result<()> {
    loop {
        let take = TakeOver {
            worker: shared.worker(),
            accounts: shared.accounts.keys().cloned().collect(),
            limit: BATCH,
            now: shared.now(),
        };
        let taken = shared.store.take_over(take).await?;
        if taken.tasks.is_empty() && taken.abandoned.is_empty() {
            return Ok(());
        }
        tracing::info!(
            tasks = taken.tasks.len(),
            abandoned = taken.abandoned.len(),
            "taken over from workers that are gone"
        );
        let now = shared.now();
        for (task, attempt) in taken.tasks {
            let account = Arc::clone(shared.account(&task.account)?);
            if task.kind() == StateKind::Polling {
                recover(shared, Entry::new(task, attempt), now);
            } else {
                let died = Happened::WorkerDied;
                shared.report(&account, task, Some(&attempt), &died, &Pass::Bystander).await?;
            }
        }
        let ids: Vec<_> = taken.abandoned.iter().map(|attempt| attempt.task).collect();
        let tasks = shared.store.get(&ids).await?;
        for (attempt, task) in taken.abandoned.into_iter().zip(tasks) {
            if let Some(task) = task {
                recover(shared, Entry::new(task, attempt), now);
            }
        }
    }
}

/// Asks at once; nothing new is submitted before it has been asked.
fn recover(shared: &Shared, mut entry: Entry, now: UnixMs) {
    entry.recovered = true;
    shared.recovering.fetch_add(1, Ordering::AcqRel);
    shared.poller.add(entry, now);
}

async fn end_overdue(shared: &Arc<Shared>) -> Result<()> {
    for task in shared.store.overdue(shared.now(), BATCH).await? {
        let Some(account) = shared.accounts.get(&task.account) else { continue };
        shared.report(account, task, None, &Happened::DeadlinePassed, &Pass::Bystander).await?;
    }
    Ok(())
}

/// What all workers share of an account: its breaker, its stop, its solve times, its threads.
async fn keep_account(shared: &Arc<Shared>, account: &Arc<Account>, beats: u64) -> Result<()> {
    let store = shared.store.as_ref();
    if let Some(transition) = account.gate.sync(store, shared.now()).await? {
        shared.notify(Notice::Breaker { account: account.name.clone(), transition });
    }
    read_stop(shared, account).await?;
    if account.is_stopped() {
        return probe_stopped(shared, account).await;
    }
    if beats.is_multiple_of(TIMES_EVERY) {
        share_times(shared, account).await?;
    }
    if beats.is_multiple_of(THREADS_EVERY) {
        ask_threads(shared, account).await;
    }
    Ok(())
}

pub(crate) async fn read_stop(shared: &Shared, account: &Account) -> Result<()> {
    let stop = document::read::<Stop>(shared.store.as_ref(), &stop_key(&account.name)).await?;
    let was_stopped = account.is_stopped();
    account.set_stop(stop.map(|(_, stop)| stop).unwrap_or_default());
    if was_stopped && !account.is_stopped() {
        resumed(shared, account);
    }
    Ok(())
}

fn resumed(shared: &Shared, account: &Account) {
    tracing::info!(account = %account.name, "account goes on");
    shared.notify(Notice::AccountResumed { account: account.name.clone() });
    account.hint_due(shared.now());
    account.wake.notify_one();
    shared.poller.wake();
}

/// One probe per five minutes over all workers: threadsinfo, never a submit.
async fn probe_stopped(shared: &Arc<Shared>, account: &Arc<Account>) -> Result<()> {
    let now = shared.now();
    let key = stop_key(&account.name);
    let store = shared.store.as_ref();
    let (_, is_ours) = document::update(store, &key, &Stop::default(), |stop: &mut Stop| {
        let is_due = stop.failure.is_some() && stop.probe_at.is_none_or(|at| at <= now);
        if is_due {
            stop.probe_at = Some(now.plus(STOP_PROBE_MS));
        }
        is_due
    })
    .await?;
    if !is_ours {
        return Ok(());
    }
    match account.provider.account().await {
        Err(PollError::Failed(failed)) if failed.0.class == Class::Account => return Ok(()),
        Err(PollError::CouldNotAsk(_)) => return Ok(()),
        Ok(state) => {
            if let Some(threads) = state.threads {
                account.set_threads(threads);
            }
        }
        Err(PollError::Failed(_)) => {}
    }
    let (stop, ()) = document::update(store, &key, &Stop::default(), |stop: &mut Stop| {
        (stop.failure, stop.to, stop.probe_at) = (None, Some(now), None);
    })
    .await?;
    account.set_stop(stop);
    resumed(shared, account);
    Ok(())
}

/// What all workers have seen so far.
pub(crate) async fn read_times(shared: &Shared, account: &Account) -> Result<()> {
    let prefix = format!("times/{}/", account.name);
    for document in shared.store.documents(&prefix, METHODS).await? {
        if let Some(method) = document.key.strip_prefix(&prefix)
            && let Ok(times) = serde_json::from_str::<Histogram>(&document.body)
        {
            account.set_shared_times(method, times);
        }
    }
    Ok(())
}

/// Adds what this worker saw to what all know.
pub(crate) async fn share_times(shared: &Shared, account: &Account) -> Result<()> {
    for (method, fresh) in account.take_fresh_times() {
        let key = format!("times/{}/{method}", account.name);
        let empty = Histogram::default();
        let (shared_times, ()) =
            document::update(shared.store.as_ref(), &key, &empty, |all: &mut Histogram| {
                all.merge(&fresh);
            })
            .await?;
        account.set_shared_times(&method, shared_times);
    }
    Ok(())
}

/// Asks upstream how many threads the plan has; silence changes nothing.
pub(crate) async fn ask_threads(shared: &Shared, account: &Arc<Account>) {
    if account.configured_threads.is_some() {
        return;
    }
    match account.provider.account().await {
        Ok(state) => {
            if let Some(threads) = state.threads {
                account.set_threads(threads);
                account.wake.notify_one();
            }
        }
        Err(PollError::Failed(failed)) if failed.0.class == Class::Account => {
            if let Err(error) = shared.stop_account(account, &failed.0).await {
                tracing::warn!(account = %account.name, %error, "could not stop the account");
            }
        }
        Err(error) => tracing::warn!(account = %account.name, %error, "could not ask for threads"),
    }
}
