//! Redrives the frozen tasks of an operation, one step at a time.
//!
//! An item is settled in the transaction that moves its task, so nothing is redriven twice,
//! whoever dies in the middle and whoever goes on.

use crate::{
    Result,
    account::Account,
    audit,
    desk::resume_of,
    heap::Entry,
    notice::Notice,
    operation::{self, Operation, OperationState},
    patience::patiently,
    ramp::{Runs, TOO_MANY_DEAD, VERDICTS},
    shared::{Shared, shared_error},
};
use deadletter_core::{Context, Happened, StateKind, Task, TaskId, breaker::Phase, decide};
use deadletter_store::{Committed, Item};
use std::sync::Arc;

/// Tasks redriven per step.
const STEP: u32 = 200;

/// What became of one item.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Act {
    Redriven,
    Skipped,
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
        settle(shared, known, OperationState::Done, None).await?;
        return Ok(());
    }
    if goes_wrong {
        let note = format!("{TOO_MANY_DEAD} of the last {VERDICTS} redriven tasks died again");
        runs.forget(&known.id);
        settle(shared, known, OperationState::Paused, Some(note)).await?;
        return Ok(());
    }
    if allowed == 0 {
        return Ok(());
    }
    let ids: Vec<TaskId> = items.iter().map(|item| item.task).collect();
    let tasks = store.get(&ids).await?;
    let mut has_moved = false;
    for (item, task) in items.into_iter().zip(tasks) {
        if shared.is_stopping() {
            return Ok(());
        }
        let act = one(shared, known, item, task).await?;
        has_moved |= act != Act::Waits;
        if act == Act::Redriven {
            runs.redriven(&known.id, item.task);
            shared.crash.pass("in_redrive");
        }
    }
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
) -> Result<Act> {
    let task = task.filter(|task| task.version == item.version);
    let known_task = task.and_then(|task| {
        let account = shared.accounts.get(&task.account)?;
        Some((task, Arc::clone(account)))
    });
    let Some((task, account)) = known_task else { return skip(shared, known, item).await };
    if !may_go(shared, &account).await? {
        return Ok(Act::Waits);
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
    let mut brought = bring_back(shared, known, &account, &task, &happened).await?;
    if matches!(brought, Brought::IdTaken) {
        // Upstream has given the id to another task since it was looked at.
        happened = happened.with_id_taken();
        brought = bring_back(shared, known, &account, &task, &happened).await?;
    }
    let Brought::Back(after) = brought else { return skip(shared, known, item).await };
    match resume {
        Some(attempt) if after.kind() == StateKind::Polling => {
            shared.poller.add(Entry::resumed(*after, attempt, now), now);
        }
        _ => account.hint_due(now),
    }
    Ok(Act::Redriven)
}

/// What became of one way to bring a task back.
enum Brought {
    /// Its row now.
    Back(Box<Task>),
    /// Its upstream id is another task's by now; nothing was written.
    IdTaken,
    /// It may not be brought back, or has moved on.
    Not,
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
    let Some(row) = change.row.as_mut() else { return Ok(Brought::Not) };
    row.settles = Some(known.id.clone());
    if row.after.kind() == StateKind::Polling {
        row.lease_to(shared.worker());
    }
    let after = row.after.clone();
    Ok(match shared.committer.commit(change).await.map_err(shared_error)? {
        Committed::Applied => Brought::Back(Box::new(after)),
        Committed::IdTaken => Brought::IdTaken,
        Committed::Stale if stands(shared, &after).await? => Brought::Back(Box::new(after)),
        Committed::Stale => Brought::Not,
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

/// True where the row is ours after all: it was written, and the answer got lost.
pub(crate) async fn stands(shared: &Shared, after: &Task) -> Result<bool> {
    let found = patiently(|| shared.store.get(std::slice::from_ref(&after.id))).await?;
    Ok(found.into_iter().flatten().next().as_ref() == Some(after))
}

async fn skip(shared: &Shared, known: &Operation, item: Item) -> Result<Act> {
    shared.store.skip(&known.id, &[item.task]).await?;
    Ok(Act::Skipped)
}

/// Ends or pauses an operation, on the record: the record first, so that nothing ends without one.
/// False where it was over already: nothing ends twice.
pub(crate) async fn settle(
    shared: &Shared,
    known: &Operation,
    state: OperationState,
    note: Option<String>,
) -> Result<bool> {
    let now = shared.now();
    let store = shared.store.as_ref();
    let newest = operation::read(store, &known.id).await?.unwrap_or_else(|| known.clone());
    if newest.state.is_over() {
        return Ok(false);
    }
    let settled = Operation {
        state,
        finished_at: (state != OperationState::Paused).then_some(now),
        note,
        lease: None,
        ..newest
    };
    audit::write(shared, &settled).await?;
    let updated = operation::update(store, known, |operation| {
        let goes_on = !operation.state.is_over();
        if goes_on {
            operation.state = state;
            operation.finished_at = settled.finished_at;
            operation.note.clone_from(&settled.note);
            operation.lease = None;
        }
        goes_on
    })
    .await?;
    if updated.value.state.is_over() {
        operation::list(store, &known.id, false).await?;
    }
    if updated.answer {
        shared.notify(Notice::Operation { id: known.id.clone(), state: state.label() });
    }
    Ok(updated.answer)
}
