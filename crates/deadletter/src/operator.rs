//! Runs operations: freezes their tasks, and lets them be acted on.
//!
//! One worker at a time holds an operation's lease; whoever dies in the middle is followed by
//! another one.

use crate::{
    Error, Result,
    act::{self, Act},
    audit::By,
    notice::Notice,
    operation::{self, End, Operation, OperationState},
    ramp::Runs,
    redrive,
    shared::Shared,
};
use deadletter_core::{Filter, OperationId};
use deadletter_store::{Freeze, Query};
use std::sync::{Arc, atomic::Ordering};
use tokio::sync::broadcast::{Receiver, error::TryRecvError};

/// Tasks frozen per step.
const STEP: u32 = 200;
/// Rows looked at per page of a freeze.
const SCAN: u32 = 5_000;
/// Between two steps, on the store's clock.
const STEP_MS: i64 = 250;
/// A lease without a sign of life passes to another worker, on the store's clock.
const LEASE_MS: i64 = 15_000;
/// A person who is asked whether to begin answers within a day, on the store's clock.
const ANSWER_MS: i64 = 86_400_000;
/// Who ends what nobody came back to, in the audit log.
const SWEPT_BY: &str = "deadletter";

/// Runs until the engine stops.
pub(crate) async fn run(shared: Arc<Shared>) {
    let mut notices = shared.notices.subscribe();
    let mut runs = Runs::default();
    let mut is_busy = true;
    loop {
        tokio::select! {
            () = shared.stopped() => break,
            () = shared.operations_written.notified() => {}
            () = shared.sleep_ms(STEP_MS), if is_busy => {}
        }
        take_verdicts(&mut runs, &mut notices);
        is_busy = match step_all(&shared, &mut runs).await {
            Ok(is_busy) => is_busy,
            Err(error) => {
                shared.health.could_not("look for operations", &error);
                true
            }
        };
    }
    if let Err(error) = give_back(&shared).await {
        tracing::warn!(%error, "could not give operations back; others wait for their leases");
    }
}

/// Others may go on at once with what this worker had in hand.
async fn give_back(shared: &Shared) -> Result<()> {
    let store = shared.store.as_ref();
    let worker = shared.worker();
    for id in operation::active(store).await? {
        let Some(known) = operation::read(store, &id).await? else { continue };
        let is_ours = |lease: &(_, _)| lease.0 == worker;
        operation::update(store, &known, |operation| {
            operation.lease = operation.lease.take().filter(|lease| !is_ours(lease));
        })
        .await?;
    }
    Ok(())
}

fn take_verdicts(runs: &mut Runs, notices: &mut Receiver<Notice>) {
    loop {
        match notices.try_recv() {
            Ok(Notice::Event(event)) => runs.judge(event.task, event.state),
            Ok(_) | Err(TryRecvError::Lagged(_)) => {}
            Err(_) => return,
        }
    }
}

/// One step of every active operation; true where there is more to do.
async fn step_all(shared: &Arc<Shared>, runs: &mut Runs) -> Result<bool> {
    let mut is_busy = false;
    for id in operation::active(shared.store.as_ref()).await? {
        if shared.is_stopping() {
            return Ok(false);
        }
        // One operation that cannot go on must not keep the others from it.
        match step_one(shared, &id, runs).await {
            Ok(is_active) => is_busy |= is_active,
            Err(Error::BadDocument { key, source }) => {
                tracing::error!(%key, %source, "this operation cannot be read; left alone");
            }
            Err(error) => {
                shared.health.could_not("go on with an operation", &error);
                is_busy = true;
            }
        }
    }
    Ok(is_busy)
}

async fn step_one(shared: &Arc<Shared>, id: &OperationId, runs: &mut Runs) -> Result<bool> {
    let store = shared.store.as_ref();
    let Some(known) = operation::read(store, id).await? else {
        // It is listed before it is written: whoever began it may be between the two.
        if operation::chosen_at(id).plus(ANSWER_MS) <= shared.now() {
            operation::list(store, id, false).await?;
        }
        return Ok(false);
    };
    if known.state.is_over() {
        operation::list(store, id, false).await?;
        return Ok(false);
    }
    if known.state.is_prepared() && known.created_at.plus(ANSWER_MS) <= shared.now() {
        drop_left(shared, &known).await?;
        return Ok(false);
    }
    if !known.state.is_active() {
        // It is listed before it runs: whoever lets it run may be about to.
        return Ok(false);
    }
    let Some(leased) = lease(shared, &known).await? else {
        runs.forget(id);
        return Ok(true);
    };
    match leased.state {
        OperationState::Freezing => freeze(shared, &leased).await?,
        OperationState::Running if leased.act == Act::Redrive => {
            redrive::step(shared, &leased, runs).await?;
        }
        OperationState::Running => act::step(shared, &leased).await?,
        _ => {}
    }
    Ok(true)
}

/// Whoever prepared it is gone, or will not come back to it.
async fn drop_left(shared: &Shared, known: &Operation) -> Result<()> {
    let stopped = End {
        state: OperationState::Stopped,
        note: Some("nobody let it begin within a day".to_owned()),
        // Who lets it begin at this moment is faster.
        from: Some(known.state),
        by: Some(By { who: SWEPT_BY, why: None }),
    };
    operation::settle(shared, known, stopped).await.map(drop)
}

/// One step of an act that sends nothing, by whoever asks; true while there is more to do.
pub(crate) async fn advance(shared: &Arc<Shared>, id: &OperationId) -> Result<bool> {
    let known = operation::read(shared.store.as_ref(), id).await?;
    let known = known.filter(|known| known.state.is_active() && known.act != Act::Redrive);
    let Some(known) = known else { return Ok(false) };
    // Two of one worker would not see each other's lease.
    if shared.has_operator.load(Ordering::Relaxed) {
        shared.sleep_ms(STEP_MS).await;
        return Ok(true);
    }
    match lease(shared, &known).await? {
        None => shared.sleep_ms(STEP_MS).await,
        Some(leased) => match leased.state {
            OperationState::Freezing => freeze(shared, &leased).await?,
            OperationState::Running => act::step(shared, &leased).await?,
            _ => {}
        },
    }
    Ok(true)
}

/// The operation as it stands, where it is ours to go on with. Renewed when half of the lease is
/// over: each renewal is a write.
async fn lease(shared: &Shared, known: &Operation) -> Result<Option<Operation>> {
    let (now, worker) = (shared.now(), shared.worker());
    let until = now.plus(LEASE_MS);
    let updated = operation::update(shared.store.as_ref(), known, |operation| {
        // Stopped, paused or done by somebody since it was read.
        if !operation.state.is_active() {
            return false;
        }
        // One that ends later than any that begins now is from before the clock was set back.
        let lease = operation.lease.as_ref().filter(|(_, until)| until.since(now) <= LEASE_MS);
        match lease {
            Some((holder, until)) if *holder != worker && *until > now => return false,
            Some((holder, until)) if *holder == worker && until.since(now) > LEASE_MS / 2 => {}
            _ => operation.lease = Some((worker.clone(), until)),
        }
        true
    })
    .await?;
    Ok(updated.answer.then_some(updated.value))
}

/// Freezes one page. What was frozen is counted by the store, because a worker may have died
/// between a page and its note of it.
pub(crate) async fn freeze(shared: &Shared, known: &Operation) -> Result<()> {
    let store = shared.store.as_ref();
    let filter: Filter = match known.filter.parse() {
        Ok(filter) => filter,
        Err(error) => {
            let note = format!("its filter cannot be read: {error}");
            operation::settle(shared, known, End::by_itself(OperationState::Stopped, Some(note)))
                .await?;
            return Ok(());
        }
    };
    let limit = known.options.limit.unwrap_or(u64::MAX);
    let before: u64 = store.tally_items(&known.id).await?.iter().sum();
    let left = limit.saturating_sub(before);
    let mut next = known.cursor;
    if left > 0 {
        let query = Query {
            filter,
            now: known.created_at,
            newest_first: false,
            after: known.cursor,
            limit: u32::try_from(left).unwrap_or(STEP).min(STEP),
            scan_limit: SCAN,
        };
        let freeze = Freeze { operation: known.id.clone(), query };
        next = store.freeze(&freeze).await?.next;
    }
    let frozen: u64 = store.tally_items(&known.id).await?.iter().sum();
    operation::update(store, known, |operation| {
        operation.frozen = frozen;
        operation.cursor = next.or(operation.cursor);
        if next.is_some() && frozen < limit {
            return;
        }
        match operation.state {
            OperationState::Freezing => operation.state = OperationState::Running,
            OperationState::Preparing => operation.state = OperationState::Prepared,
            _ => {}
        }
    })
    .await?;
    Ok(())
}
