//! Runs operations: freezes their tasks, redrives them at a ramping rate, pauses what goes wrong.
//!
//! One worker at a time holds an operation's lease; whoever dies in the middle is followed by
//! another one, and an item is settled in the transaction that moves its task, so nothing is
//! redriven twice.

use crate::{
    Result,
    desk::resume_of,
    notice::Notice,
    operation::{self, Operation, OperationState},
    poller::Entry,
    shared::Shared,
};
use deadletter_core::{
    Context, Filter, Happened, OperationId, StateKind, TaskId, UnixMs, breaker::Phase, decide,
};
use deadletter_store::{Committed, Freeze, Item, Query};
use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};
use tokio::sync::broadcast::{Receiver, error::TryRecvError};

/// Tasks frozen, or redriven, per step.
const STEP: u32 = 200;
/// Rows looked at per page of a freeze.
const SCAN: u32 = 5_000;
/// Redriven at once at the beginning, to see what becomes of them.
const CANARY: f64 = 5.0;
/// The rate doubles in this time, on the store's clock.
const RAMP_MS: f64 = 5_000.0;
/// Between two steps, on the store's clock.
const STEP_MS: i64 = 250;
/// A lease without a sign of life passes to another worker, on the store's clock.
const LEASE_MS: i64 = 15_000;
/// Verdicts looked at to see whether a redrive does more harm than good.
const VERDICTS: usize = 20;
/// Dead ones among them that pause it.
const TOO_MANY_DEAD: usize = 16;

/// What this worker knows of an operation that it runs.
#[derive(Default)]
struct Run {
    began_at: UnixMs,
    redriven: f64,
    /// The last verdicts on its tasks: true for solved.
    verdicts: VecDeque<bool>,
}

#[derive(Default)]
struct Runs {
    runs: HashMap<OperationId, Run>,
    /// Whose task it is, until its verdict.
    tasks: HashMap<TaskId, OperationId>,
}

/// Runs until the engine stops.
pub(crate) async fn run(shared: Arc<Shared>) {
    let mut notices = shared.notices.subscribe();
    let mut runs = Runs::default();
    let mut is_busy = true;
    loop {
        tokio::select! {
            () = shared.stopped() => return,
            () = shared.operations_written.notified() => {}
            () = shared.sleep_ms(STEP_MS), if is_busy => {}
        }
        runs.take_verdicts(&mut notices);
        is_busy = match step_all(&shared, &mut runs).await {
            Ok(is_busy) => is_busy,
            Err(error) => {
                tracing::warn!(%error, "could not go on with the operations; trying again");
                true
            }
        };
    }
}

impl Runs {
    fn take_verdicts(&mut self, notices: &mut Receiver<Notice>) {
        loop {
            let event = match notices.try_recv() {
                Ok(Notice::Event(event)) => event,
                Ok(_) | Err(TryRecvError::Lagged(_)) => continue,
                Err(_) => return,
            };
            let Some(id) = self.tasks.remove(&event.task) else { continue };
            let run = self.runs.entry(id).or_default();
            if run.verdicts.len() == VERDICTS {
                run.verdicts.pop_front();
            }
            run.verdicts.push_back(event.state == StateKind::Solved);
        }
    }
}

impl Run {
    fn goes_wrong(&self) -> bool {
        self.verdicts.iter().filter(|solved| !**solved).count() >= TOO_MANY_DEAD
    }

    /// How many may be redriven now: a canary, then a rate that doubles up to the one asked for.
    fn allowed(&self, rate: f64, now: UnixMs) -> u32 {
        let ms = now.since(self.began_at).max(0) as f64;
        let ramped = CANARY * (ms / RAMP_MS).min(30.0).exp2();
        let allowed = ramped.min(CANARY + rate * ms / 1_000.0) - self.redriven;
        allowed.clamp(0.0, f64::from(STEP)) as u32
    }
}

/// One step of every active operation; true where there is more to do.
async fn step_all(shared: &Arc<Shared>, runs: &mut Runs) -> Result<bool> {
    let store = shared.store.as_ref();
    let mut is_busy = false;
    for id in operation::active(store).await? {
        let Some(known) = operation::read(store, &id).await? else { continue };
        if !known.state.is_active() {
            operation::list(store, &id, known.state == OperationState::Paused).await?;
            continue;
        }
        is_busy = true;
        let Some(leased) = lease(shared, &known).await? else { continue };
        match leased.state {
            OperationState::Freezing => freeze(shared, &leased).await?,
            _ => redrive(shared, &leased, runs).await?,
        }
    }
    Ok(is_busy)
}

async fn lease(shared: &Shared, known: &Operation) -> Result<Option<Operation>> {
    let (now, worker) = (shared.now(), shared.worker());
    let (operation, is_ours) = operation::update(shared.store.as_ref(), known, |operation| {
        let is_free = operation
            .lease
            .as_ref()
            .is_none_or(|(holder, until)| *holder == worker || *until <= now);
        if is_free {
            operation.lease = Some((worker.clone(), now.plus(LEASE_MS)));
        }
        is_free
    })
    .await?;
    Ok(is_ours.then_some(operation))
}

/// Freezes one page; a task that is already frozen is not counted again.
async fn freeze(shared: &Shared, known: &Operation) -> Result<()> {
    let filter: Filter = known.filter.parse()?;
    let left = known.options.limit.map_or(u64::MAX, |limit| limit.saturating_sub(known.frozen));
    let query = Query {
        filter,
        now: known.created_at,
        newest_first: false,
        after: known.cursor,
        limit: u32::try_from(left).unwrap_or(STEP).min(STEP),
        scan_limit: SCAN,
    };
    let freeze = Freeze { operation: known.id.clone(), query };
    let frozen = shared.store.freeze(&freeze).await?;
    operation::update(shared.store.as_ref(), known, |operation| {
        operation.frozen += u64::from(frozen.added);
        operation.cursor = frozen.next.or(operation.cursor);
        if frozen.next.is_none() || u64::from(frozen.added) >= left {
            operation.state = OperationState::Running;
        }
    })
    .await?;
    Ok(())
}

async fn redrive(shared: &Arc<Shared>, known: &Operation, runs: &mut Runs) -> Result<()> {
    let now = shared.now();
    let run = runs.runs.entry(known.id.clone()).or_default();
    if run.began_at == UnixMs::default() {
        run.began_at = now;
    }
    if run.goes_wrong() {
        let note = format!("{TOO_MANY_DEAD} of the last {VERDICTS} redriven tasks died again");
        runs.runs.remove(&known.id);
        return settle(shared, known, OperationState::Paused, Some(note)).await;
    }
    let allowed = run.allowed(known.options.rate, now);
    let items = shared.store.pending(&known.id, allowed.max(1)).await?;
    if items.is_empty() {
        runs.runs.remove(&known.id);
        return settle(shared, known, OperationState::Done, None).await;
    }
    for item in items.into_iter().take(allowed as usize) {
        if redrive_one(shared, known, item).await? {
            runs.tasks.insert(item.task, known.id.clone());
            if let Some(run) = runs.runs.get_mut(&known.id) {
                run.redriven += 1.0;
            }
        }
        shared.crash.pass("in_redrive");
    }
    Ok(())
}

/// Redrives one task as it was frozen; false where it is left for later or skipped.
async fn redrive_one(shared: &Arc<Shared>, known: &Operation, item: Item) -> Result<bool> {
    let store = shared.store.as_ref();
    let task = store.get(&[item.task]).await?.pop().flatten();
    let Some(task) = task.filter(|task| task.version == item.version) else {
        store.skip(&known.id, &[item.task]).await?;
        return Ok(false);
    };
    let account = shared.account(&task.account)?;
    let now = shared.now();
    // A redrive into an outage would only make the same dead letters again.
    if account.is_stopped() || account.gate.phase(now) != Phase::Closed {
        return Ok(false);
    }
    let terms = account.terms(&task.dimensions.method);
    let resume = resume_of(store, &task, &account.policy, &terms, now).await?;
    let happened = Happened::Redriven {
        resume: resume.clone().map(Box::new),
        due_at: now,
        keep_deadline: known.options.keep_deadline,
        force: known.options.force,
    };
    let context = Context {
        policy: &account.policy,
        terms: &terms,
        attempt: None,
        now,
        random: shared.random(),
    };
    let mut change = decide(&task, &happened, context).change;
    let Some(row) = change.row.as_mut() else {
        store.skip(&known.id, &[item.task]).await?;
        return Ok(false);
    };
    row.settles = Some(known.id.clone());
    if row.after.kind() == StateKind::Polling {
        row.after.worker = Some(shared.worker());
    }
    let after = row.after.clone();
    let committed = shared.committer.commit(change).await.map_err(crate::shared::shared_error)?;
    if committed == Committed::Stale {
        store.skip(&known.id, &[item.task]).await?;
        return Ok(false);
    }
    match resume {
        Some(attempt) if after.kind() == StateKind::Polling => {
            shared.poller.add(Entry::resumed(after, attempt, now), now);
        }
        _ => account.hint_due(now),
    }
    Ok(true)
}

/// Ends or pauses an operation, on the record.
async fn settle(
    shared: &Shared,
    known: &Operation,
    state: OperationState,
    note: Option<String>,
) -> Result<()> {
    let now = shared.now();
    let store = shared.store.as_ref();
    let (operation, ()) = operation::update(store, known, |operation| {
        operation.state = state;
        operation.finished_at = (state == OperationState::Done).then_some(now);
        operation.note.clone_from(&note);
        operation.lease = None;
    })
    .await?;
    if state == OperationState::Done {
        operation::list(store, &known.id, false).await?;
    }
    crate::audit::write(shared, &operation).await?;
    shared.notify(Notice::Operation { id: known.id.clone(), state: state.label() });
    Ok(())
}
