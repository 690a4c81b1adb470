//! Finds tasks that stand under this worker's lease, and abandoned attempts that it is to ask for,
//! of which this process has lost track.
//!
//! Only after a doubt: a claim or take-over whose outcome the store could not tell, or a submit
//! whose outcome could not be written down. As long as the worker lives nobody else would take
//! such a task.

use crate::{Result, gate::Pass, heap::Entry, inhand::Doubt, shared::Shared, sweeper, walk::Walk};
use deadletter_core::{
    AccountName, AttemptToken, Class, Failure, Filter, Happened, StateKind, Task, TaskId, Why,
};
use std::sync::Arc;

/// Abandoned attempts looked at per page.
const PAGE: u32 = 500;

/// Settles the doubt, if there is one.
pub(crate) async fn settle(shared: &Arc<Shared>) -> Result<()> {
    let Some(doubt) = shared.in_hand.doubt() else { return Ok(()) };
    let mut under_way = Walk::over(Filter::states(&[StateKind::Submitting, StateKind::Polling]));
    while let Some(tasks) = under_way.next(shared).await? {
        let lost: Vec<_> = tasks.iter().filter(|task| is_lost(shared, task)).collect();
        let ids: Vec<TaskId> = lost.iter().map(|task| task.id).collect();
        let now = shared.store.get(&ids).await?;
        // What has moved since the page was read was in somebody's hand after all.
        for (task, now) in lost.into_iter().zip(now) {
            if now.as_ref() == Some(task) {
                find(shared, &doubt, task.clone()).await?;
            }
        }
    }
    for account in shared.accounts.keys() {
        ask_abandoned(shared, account).await?;
    }
    shared.in_hand.settled(&doubt);
    for account in shared.accounts.values() {
        account.hint_due(shared.now());
    }
    Ok(())
}

/// Attempts that were taken over without their tasks: nobody else asks for them either.
async fn ask_abandoned(shared: &Arc<Shared>, account: &AccountName) -> Result<()> {
    let mut after = None;
    loop {
        let (worker, last) = (shared.worker(), after.as_ref());
        let page = shared.store.abandoned(&worker, account, last, PAGE).await?;
        let Some(last) = page.last().cloned() else { return Ok(()) };
        for attempt in page.into_iter().filter(|attempt| is_unheld(shared, attempt.token)) {
            let task = shared.store.get(&[attempt.task]).await?.pop().flatten();
            let history = shared.store.history(attempt.task).await?;
            // What has changed since the page was read was in somebody's hand after all.
            if let Some(task) = task.filter(|_| history.contains(&attempt)) {
                tracing::warn!(task = %task.id, "an abandoned id was found again");
                shared.poller.recover(Entry::new(task, attempt), shared.now());
            }
        }
        after = Some(last);
    }
}

fn is_lost(shared: &Shared, task: &Task) -> bool {
    task.worker.as_ref() == Some(&shared.worker())
        && task.attempt.is_some_and(|token| is_unheld(shared, token))
}

fn is_unheld(shared: &Shared, token: AttemptToken) -> bool {
    !shared.in_hand.has(token) && !shared.poller.has(token)
}

async fn find(shared: &Arc<Shared>, doubt: &Doubt, task: Task) -> Result<()> {
    let Some(account) = shared.accounts.get(&task.account) else { return Ok(()) };
    let history = shared.store.history(task.id).await?;
    let Some(attempt) = history.into_iter().find(|a| Some(a.token) == task.attempt) else {
        return sweeper::attempt_missing(shared, task).await;
    };
    tracing::warn!(task = %task.id, state = task.kind().label(), "found again under our lease");
    let now = shared.now();
    let happened = if task.kind() == StateKind::Polling {
        shared.poller.recover(Entry::new(task, attempt), now);
        return Ok(());
    } else if doubt.never_sent.contains(&attempt.token) {
        Happened::Withheld { why: Why::Released, due_at: now }
    } else {
        let failure = Failure::new("UNWRITTEN", Class::Transient)
            .with_detail("what came of the submit could not be written down");
        Happened::InDoubt(failure)
    };
    shared.report(account, task, Some(&attempt), &happened, &Pass::Bystander).await?;
    Ok(())
}
