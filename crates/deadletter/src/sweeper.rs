//! Keeps order: the dead workers' tasks, deadlines, retention, what this process lost track of.

use crate::{
    Error, Result,
    account::Account,
    forget::Forgetting,
    gate::Pass,
    heap::Entry,
    holds, orphans,
    patience::{Patience, may_pass, patiently},
    retention::Retention,
    shared::Shared,
    strangers,
};
use deadletter_core::{Attempt, Happened, StateKind, Task, TaskId};
use deadletter_store::{Error as StoreError, TakeOver, Taken};
use futures_util::future::join_all;
use std::{pin::pin, sync::Arc, time::Duration};

/// Tasks taken over, or overdue, per step.
const BATCH: u32 = 500;
/// Steps per sweep: a flood of deadlines must not keep dead workers' tasks waiting for long.
const STEPS: u32 = 20;
/// Looks at a doubt before the next beat: less than a second of waiting.
const DOUBT_TRIES: u32 = 5;

/// Where no beat is taken; else a sweep comes right after each, when it can tell best who is dead.
const PAUSE: Duration = Duration::from_secs(3);

/// A sweep per beat until the engine stops; doubts are settled until nothing is on the wire.
pub(crate) async fn run(shared: Arc<Shared>) {
    let (mut retention, mut forgetting) = (Retention::default(), Forgetting::default());
    for sweeps in 0_u64.. {
        if !shared.is_stopping()
            && let Err(error) = sweep(&shared, &mut retention).await
        {
            shared.health.could_not("sweep", &error);
        }
        if !shared.is_stopping()
            && let Err(error) = forgetting.sweep(&shared).await
        {
            shared.health.could_not("delete old records", &error);
        }
        if sweeps.is_multiple_of(strangers::EVERY)
            && !shared.is_stopping()
            && let Err(error) = strangers::tell(&shared).await
        {
            tracing::warn!(%error, "could not look for tasks of other accounts");
        }
        // Outside of the inner loop: a store that gives new doubts at once must not put off the
        // next sweep for ever.
        let mut pause = pin!(tokio::time::sleep(PAUSE));
        loop {
            tokio::select! {
                () = shared.at_rest() => return,
                () = shared.hearing.next() => break,
                () = &mut pause => break,
                () = shared.in_hand.doubted() => settle_doubt(&shared).await,
            }
        }
    }
}

async fn sweep(shared: &Arc<Shared>, retention: &mut Retention) -> Result<()> {
    declare_dead(shared).await?;
    take_over(shared).await?;
    settle_doubt(shared).await;
    for account in shared.accounts.values() {
        end_overdue(shared, account).await?;
    }
    for account in shared.accounts.values() {
        account.suspect();
        account.wake.notify_one();
    }
    holds::sweep(shared).await?;
    retention.sweep(shared).await
}

/// Declares those dead who are gone, or silent while this worker was heard.
pub(crate) async fn declare_dead(shared: &Shared) -> Result<()> {
    let before = shared.hearing.silent_before(shared.clock.speed());
    for worker in shared.store.declare_dead(before).await? {
        tracing::warn!(%worker, "declared dead; its tasks are taken over");
    }
    Ok(())
}

/// Nothing is submitted while there is a doubt, so a store that is away for a moment is asked again.
async fn settle_doubt(shared: &Arc<Shared>) {
    let mut patience = Patience::new();
    for _ in 1..DOUBT_TRIES {
        match orphans::settle(shared).await {
            Err(Error::Store(error)) if may_pass(&error) => patience.wait().await,
            Err(error) => return put_off(&error),
            Ok(()) => return,
        }
    }
    if let Err(error) = orphans::settle(shared).await {
        put_off(&error);
    }
}

fn put_off(error: &Error) {
    tracing::warn!(%error, "could not look for lost tasks; trying again at the next beat");
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
        if taken.tasks.is_empty() && taken.abandoned.is_empty() && taken.damaged.is_empty() {
            return Ok(());
        }
        tracing::info!(
            tasks = taken.tasks.len(),
            abandoned = taken.abandoned.len(),
            "taken over from workers that are gone"
        );
        let rescued = rescue(shared, taken).await;
        if rescued.is_err() {
            shared.in_hand.lost_track();
        }
        rescued?;
    }
}

async fn rescue(shared: &Arc<Shared>, taken: Taken) -> Result<()> {
    let now = shared.now();
    for task in taken.damaged {
        attempt_missing(shared, task).await?;
    }
    let (polling, submitting): (Vec<_>, Vec<_>) =
        taken.tasks.into_iter().partition(|(task, _)| task.kind() == StateKind::Polling);
    for (task, attempt) in polling {
        shared.poller.recover(Entry::new(task, attempt), now);
    }
    let ids: Vec<TaskId> = taken.abandoned.iter().map(|attempt| attempt.task).collect();
    let tasks = patiently(&shared.health, || shared.store.get(&ids)).await?;
    for (attempt, task) in taken.abandoned.into_iter().zip(tasks) {
        if let Some(task) = task {
            shared.poller.recover(Entry::new(task, attempt), now);
        }
    }
    let died = submitting.into_iter().map(|(task, attempt)| worker_died(shared, task, attempt));
    join_all(died).await.into_iter().collect()
}

/// Damage of one row: told, ended, and no hindrance to the others.
pub(crate) async fn attempt_missing(shared: &Arc<Shared>, task: Task) -> Result<()> {
    tracing::error!(task = %task.id, state = ?task.state, "the store has lost its attempt");
    let account = shared.account(&task.account)?;
    let missing = Happened::AttemptMissing;
    shared.report(account, task, None, &missing, &Pass::Bystander).await.map(drop)
}

async fn worker_died(shared: &Arc<Shared>, task: Task, attempt: Attempt) -> Result<()> {
    let account = shared.account(&task.account)?;
    let happened = Happened::WorkerDied;
    shared.report(account, task, Some(&attempt), &happened, &Pass::Bystander).await.map(drop)
}

/// Another worker has the accounts that this one does not know.
async fn end_overdue(shared: &Arc<Shared>, account: &Arc<Account>) -> Result<()> {
    for _ in 0..STEPS {
        let overdue = shared.store.overdue(&account.name, shared.now(), BATCH).await?;
        let is_last = overdue.len() < BATCH as usize;
        let ended = overdue.into_iter().map(|task| async move {
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

#[cfg(test)]
mod tests {
    use crate::{
        AccountConfig, Deadletter, Job, heartbeat::BEAT, provider::scripted::ScriptedProvider,
    };
    use deadletter_core::{AccountName, UnixMs};
    use deadletter_store::{Call, Faulty, ManualClock, MemoryStore, faulty::Fault};
    use std::sync::Arc;

    #[tokio::test(start_paused = true)]
    async fn a_doubt_is_looked_at_again_before_the_next_beat() {
        let store = Arc::new(MemoryStore::new(Arc::new(ManualClock::at(UnixMs(1)))));
        let faulty = Arc::new(Faulty::new(store));
        let provider = Arc::new(ScriptedProvider::default());
        let account = AccountConfig::new(AccountName::new("main").unwrap(), provider.clone());
        let store = Arc::clone(&faulty);
        let engine = Deadletter::builder().store(store).account(account).start().await.unwrap();
        // The first sweep has been made when one task is through.
        engine.submit(Job::new("image")).await.unwrap();
        provider.submits().wait_for(|n| *n == 1).await.unwrap();
        let fates = [None, Some(Fault::DoubtWritten)];
        faulty.script(Call::Claim, fates.into_iter().cycle().take(4));
        faulty.script(Call::Page, [Some(Fault::Unavailable); 2]);
        let met = faulty.met();
        engine.submit(Job::new("image")).await.unwrap();
        let mut submits = provider.submits();
        let claimed = tokio::time::timeout(BEAT / 2, submits.wait_for(|n| *n == 2));
        claimed.await.expect("before the next beat").unwrap();
        assert!(faulty.met() >= met + 3, "there was a doubt, and the store was away");
    }
}
