//! Redrives the frozen tasks of an operation, one step at a time.
//!
//! An item is settled in the transaction that moves its task, so nothing is redriven twice,
//! whoever dies in the middle and whoever goes on.

use crate::{
    Result,
    account::Account,
    act::{self, Skip},
    desk::resume_of,
    heap::Entry,
    operation::{self, End, Operation, OperationState},
    ramp::{Runs, TOO_MANY_DEAD, VERDICTS},
    shared::{Shared, shared_error},
};
use deadletter_core::{
    Context, Happened, StateKind, Task, TaskId,
    breaker::Phase,
    decide,
    decide::{Eligibility, eligibility},
};
use deadletter_store::{Committed, Item};
use std::sync::Arc;

/// Tasks redriven per step.
const STEP: u32 = 200;

/// What became of one item.
enum Fate {
    Redriven,
    Left(Skip),
    /// Its account lets nothing through: left for later.
    Waits,
}

/// Redrives as many as may go now; ends or pauses the operation where it is time to.
pub(crate) async fn step(shared: &Arc<Shared>, known: &Operation, runs: &mut Runs) -> Result<()> {
    let store = shared.store.as_ref();
    let run = runs.run(&known.id);
    let goes_wrong = run.goes_wrong();
    let allowed = run.allowed(known.options.rate, shared.now(), STEP);
    let items = store.pending(&known.id, None, allowed.max(1)).await?;
    if items.is_empty() {
        runs.forget(&known.id);
        operation::settle(shared, known, End::by_itself(OperationState::Done, None)).await?;
        return Ok(());
    }
    if goes_wrong {
        let note = format!("{TOO_MANY_DEAD} of the last {VERDICTS} redriven tasks died again");
        runs.forget(&known.id);
        operation::settle(shared, known, End::by_itself(OperationState::Paused, Some(note)))
            .await?;
        return Ok(());
    }
    if allowed == 0 {
        return Ok(());
    }
    let ids: Vec<TaskId> = items.iter().map(|item| item.task).collect();
    let tasks = store.get(&ids).await?;
    let mut has_moved = false;
    let mut skips = Vec::new();
    for (item, task) in items.into_iter().zip(tasks) {
        if shared.is_stopping() {
            break;
        }
        match one(shared, known, item, task).await? {
            Fate::Waits => continue,
            Fate::Left(why) => skips.push((item.task, why)),
            Fate::Redriven => {
                runs.redriven(&known.id, item.task);
                shared.crash.pass("in_redrive");
            }
        }
        has_moved = true;
    }
    act::skip(shared, known, &skips).await?;
    if !has_moved {
        runs.run(&known.id).begin_anew();
    }
    Ok(())
}

/// Redrives one task as it was frozen.
async fn one(
    shared: &Arc<Shared>,
    known: &Operation,
    item: Item,
    task: Option<Task>,
) -> Result<Fate> {
    let Some(task) = task.filter(|task| task.version == item.version) else {
        return Ok(Fate::Left(Skip::Changed));
    };
    let Some(account) = shared.accounts.get(&task.account) else {
        return Ok(Fate::Left(Skip::NoAccount));
    };
    if !known.options.for_nobody && task.nobody_waits() {
        return Ok(Fate::Left(Skip::NobodyWaits));
    }
    if !may_go(shared, account).await? {
        return Ok(Fate::Waits);
    }
    let now = shared.now();
    let terms = account.terms(&task.dimensions.method);
    let resume = resume_of(shared.store.as_ref(), &task, &account.policy, &terms, now).await?;
    let mut happened = Happened::Redriven {
        resume: resume.clone().map(Box::new),
        due_at: now,
        keep_deadline: known.options.keep_deadline,
        force: known.options.force,
    };
    let mut brought = bring_back(shared, known, account, &task, &happened).await?;
    if matches!(brought, Brought::IdTaken) {
        // Upstream has given the id to another task since it was looked at.
        happened = happened.with_id_taken();
        brought = bring_back(shared, known, account, &task, &happened).await?;
    }
    let after = match brought {
        Brought::Back(after) => after,
        Brought::Barred(why) => return Ok(Fate::Left(why)),
        Brought::IdTaken | Brought::Moved => return Ok(Fate::Left(Skip::Changed)),
    };
    match resume {
        Some(attempt) if after.kind() == StateKind::Polling => {
            shared.poller.add(Entry::resumed(*after, attempt, now), now);
        }
        _ => account.hint_due(now),
    }
    Ok(Fate::Redriven)
}

/// What became of one way to bring a task back.
enum Brought {
    /// Its row now.
    Back(Box<Task>),
    /// Its upstream id is another task's by now; nothing was written.
    IdTaken,
    /// It may not be brought back.
    Barred(Skip),
    /// It has moved on.
    Moved,
}

async fn bring_back(
    shared: &Shared,
    known: &Operation,
    account: &Account,
    task: &Task,
    happened: &Happened,
) -> Result<Brought> {
    let terms = account.terms(&task.dimensions.method);
    let (policy, now, random) = (&account.policy, shared.now(), shared.random());
    let context = Context { policy, terms: &terms, attempt: None, now, random };
    let mut change = decide(task, happened, context).change;
    let Some(row) = change.row.as_mut() else {
        // What could be resumed was not: without its attempts, what bars the submit is told.
        return Ok(Brought::Barred(match eligibility(task, &[], policy, &terms, now) {
            Eligibility::Held => Skip::Held,
            Eligibility::Spent => Skip::Spent,
            Eligibility::Hopeless => Skip::Hopeless,
            _ => Skip::Unfit,
        }));
    };
    row.settles = Some(known.id.clone());
    if row.after.kind() == StateKind::Polling {
        row.lease_to(shared.worker());
    }
    let after = row.after.clone();
    Ok(match shared.committer.commit(change).await.map_err(shared_error)? {
        Committed::Applied => Brought::Back(Box::new(after)),
        Committed::IdTaken => Brought::IdTaken,
        Committed::Stale if shared.stands(&after).await? => Brought::Back(Box::new(after)),
        Committed::Stale => Brought::Moved,
    })
}

/// A redrive into an outage would only make the same dead letters again. But where the breaker
/// waits for a probe and there is nothing else to send, one task is redriven to be it.
async fn may_go(shared: &Shared, account: &Account) -> Result<bool> {
    let now = shared.now();
    if account.is_stopped() {
        return Ok(false);
    }
    match account.gate.phase(now) {
        Phase::Closed => Ok(true),
        Phase::Open => Ok(false),
        Phase::HalfOpen => Ok(account.gate.retry_after_ms(now) == Some(0)
            && !shared.poller.has_live(&account.name)
            && shared.store.next_due(&account.name).await?.is_none()),
    }
}
