//! Keeps order: heartbeat, the dead workers' tasks, deadlines, what this process lost track of.

use crate::{Result, gate::Pass, heap::Entry, orphans, patience::patiently, shared::Shared};
use deadletter_core::{Attempt, Happened, StateKind, Task, TaskId, UnixMs, WorkerId};
use deadletter_store::{Error as StoreError, TakeOver, Taken};
use futures_util::future::join_all;
use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

/// A beat every two seconds of real time.
pub(crate) const BEAT: Duration = Duration::from_secs(2);
/// Three beats missed: declared dead. Real time; the store's clock may run faster.
const SILENT_MS: f64 = 6_000.0;
/// Tasks taken over, or overdue, per step.
const BATCH: u32 = 500;
/// Steps per beat: a flood of deadlines is a few seconds' work, and must not delay the next beat.
const STEPS: u32 = 20;

/// Runs until the engine stops, and beats on until nothing of it is on the wire.
pub(crate) async fn run(shared: Arc<Shared>) {
    loop {
        if let Err(error) = sweep(&shared).await {
            tracing::warn!(%error, "could not sweep; trying again at the next beat");
        }
        loop {
            tokio::select! {
                () = shared.at_rest() => return,
                () = tokio::time::sleep(BEAT) => break,
                () = shared.in_hand.doubted() => settle_doubt(&shared).await,
            }
        }
    }
}

async fn sweep(shared: &Arc<Shared>) -> Result<()> {
    match shared.store.beat(&shared.worker()).await {
        // A worker that stops does not begin anew: others have its tasks.
        Err(StoreError::DeclaredDead(_)) if shared.is_stopping() => return Ok(()),
        Err(StoreError::DeclaredDead(worker)) => begin_anew(shared, &worker).await?,
        beat => drop(beat?),
    }
    if shared.is_stopping() {
        return Ok(());
    }
    let silent_ms = (SILENT_MS * shared.clock.speed()) as i64;
    for worker in shared.store.declare_dead(silent_ms).await? {
        tracing::warn!(%worker, "declared dead; its tasks are taken over");
    }
    take_over(shared).await?;
    settle_doubt(shared).await;
    end_overdue(shared).await?;
    for account in shared.accounts.values() {
        account.suspect();
        account.wake.notify_one();
    }
    Ok(())
}

async fn settle_doubt(shared: &Arc<Shared>) {
    if let Err(error) = orphans::settle(shared).await {
        tracing::warn!(%error, "could not look for lost tasks; trying again at the next beat");
    }
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
        let taken = match shared.store.take_over(take).await {
            Err(error @ StoreError::InDoubt { .. }) => {
                shared.in_hand.lost_track();
                return Err(error.into());
            }
            taken => taken?,
        };
        if taken.tasks.is_empty() && taken.abandoned.is_empty() {
            return Ok(());
        }
        tracing::info!(
            tasks = taken.tasks.len(),
            abandoned = taken.abandoned.len(),
            "taken over from workers that are gone"
        );
        rescue(shared, taken).await?;
    }
}

async fn rescue(shared: &Arc<Shared>, taken: Taken) -> Result<()> {
    let now = shared.now();
    let (polling, submitting): (Vec<_>, Vec<_>) =
        taken.tasks.into_iter().partition(|(task, _)| task.kind() == StateKind::Polling);
    for (task, attempt) in polling {
        recover(shared, Entry::new(task, attempt), now);
    }
    let ids: Vec<TaskId> = taken.abandoned.iter().map(|attempt| attempt.task).collect();
    let tasks = patiently(|| shared.store.get(&ids)).await?;
    for (attempt, task) in taken.abandoned.into_iter().zip(tasks) {
        if let Some(task) = task {
            recover(shared, Entry::new(task, attempt), now);
        }
    }
    let died = submitting.into_iter().map(|(task, attempt)| worker_died(shared, task, attempt));
    join_all(died).await.into_iter().collect()
}

async fn worker_died(shared: &Arc<Shared>, task: Task, attempt: Attempt) -> Result<()> {
    let account = shared.account(&task.account)?;
    let happened = Happened::WorkerDied;
    let told = shared.report(account, task, Some(&attempt), &happened, &Pass::Bystander).await;
    if told.is_err() {
        shared.in_hand.lost_track();
    }
    told.map(drop)
}

/// Asks at once; nothing new is submitted before it has been asked.
fn recover(shared: &Shared, mut entry: Entry, now: UnixMs) {
    entry.recovered = true;
    shared.recovering.fetch_add(1, Ordering::AcqRel);
    shared.poller.add(entry, now);
}

async fn end_overdue(shared: &Arc<Shared>) -> Result<()> {
    for _ in 0..STEPS {
        let overdue = shared.store.overdue(shared.now(), BATCH).await?;
        let is_last = overdue.len() < BATCH as usize;
        let ended = overdue.into_iter().map(|task| async move {
            // Another worker has the accounts that this one does not know.
            let Some(account) = shared.accounts.get(&task.account) else { return Ok(()) };
            let passed = Happened::DeadlinePassed;
            shared.report(account, task, None, &passed, &Pass::Bystander).await.map(drop)
        });
        join_all(ended).await.into_iter().collect::<Result<()>>()?;
        if is_last {
            break;
        }
    }
    Ok(())
}
