//! Claims due tasks of one account and submits them.
//!
//! One loop per account. A round asks the gate, then claims in three lanes: suspects alone,
//! retries within the budget, first submits with what is left. A claim writes the intent, so
//! whatever is claimed is sent, or given back with a word (`withheld`).

use crate::{
    Result,
    account::Account,
    gate::Pass,
    guarded::guarded,
    poller::Entry,
    provider::{Sent, Submission, SubmitError},
    shared::Shared,
};
use deadletter_core::{Attempt, Happened, Lane, StateKind, Task, Why};
use deadletter_store::{Claim, Claimed};
use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};
use tokio::task::JoinSet;

/// Submits on the wire at once, per account and process.
const SUBMITS: usize = 64;
/// Longest wait between two looks at the store, on its clock: other processes' tasks are noticed
/// by the watcher, this is for what nobody announces (a permit that lapses).
const LOOK_MS: i64 = 1_000;
/// How long a stopping engine waits for submits that are on the wire: the request's own time-out
/// and a little more. After it their outcome is in doubt.
const GRACE: Duration = Duration::from_secs(20);

/// Runs until the engine stops, then waits for what is on the wire.
pub(crate) async fn run(shared: Arc<Shared>, account: Arc<Account>) {
    let mut submits = JoinSet::new();
    let mut alone = false;
    loop {
        while submits.try_join_next().is_some() {}
        alone &= !submits.is_empty();
        let wait_ms = match round(&shared, &account, &mut submits, &mut alone).await {
            Ok(wait_ms) => wait_ms,
            Err(error) => {
                tracing::warn!(account = %account.name, %error, "could not claim; trying again");
                LOOK_MS
            }
        };
        tokio::select! {
            () = shared.stopped() => break,
            () = account.wake.notified() => {}
            () = shared.sleep_ms(wait_ms) => {}
            Some(_) = submits.join_next() => {}
        }
    }
    let finish = async { while submits.join_next().await.is_some() {} };
    if tokio::time::timeout(GRACE, finish).await.is_err() {
        tracing::warn!(left = submits.len(), "submits were still on the wire; now in doubt");
    }
}

/// One look; answers how long to wait for the next, in store milliseconds.
async fn round(
    shared: &Arc<Shared>,
    account: &Arc<Account>,
    submits: &mut JoinSet<()>,
    alone: &mut bool,
) -> Result<i64> {
    // Until upstream has taken the key, one submit at a time.
    let most = if account.is_vouched() { SUBMITS } else { 1 };
    let room = most.saturating_sub(submits.len());
    if shared.is_stopping() || shared.is_recovering() || account.is_stopped() || *alone || room == 0
    {
        return Ok(LOOK_MS);
    }
    let now = shared.now();
    let Some(pass) = account.gate.pass(now) else {
        return probe(shared, account, submits).await;
    };
    if account.may_have_suspects() && submits.is_empty() {
        let suspects = claim(shared, account, Lane::Suspect, 1).await?;
        account.set_suspects(!suspects.is_empty());
        if !suspects.is_empty() {
            *alone = true;
            send_all(shared, account, submits, suspects, &pass);
            return Ok(LOOK_MS);
        }
    }
    let seen = account.due_at();
    if seen > now {
        return Ok(seen.since(now).min(LOOK_MS));
    }
    let room = u32::try_from(room).unwrap_or(u32::MAX).min(account.limit());
    let budget = account.retries_allowed(now);
    let retries = claim(shared, account, Lane::Retry, room.min(budget)).await?;
    let retried = count(&retries);
    account.spend_retries(retried, now);
    let firsts = claim(shared, account, Lane::First, room - retried).await?;
    let begun = count(&firsts);
    account.earn_retries(begun, now);
    send_all(shared, account, submits, retries, &pass);
    send_all(shared, account, submits, firsts, &pass);
    if retried + begun > 0 && retried + begun == room {
        return Ok(0);
    }
    rest(shared, account, seen).await
}

/// Nothing more could be claimed: because nothing is due, or because a limit binds.
async fn rest(shared: &Shared, account: &Account, seen: deadletter_core::UnixMs) -> Result<i64> {
    let now = shared.now();
    match shared.store.next_due(&account.name).await? {
        None => {
            account.nothing_due_before(now.plus(LOOK_MS), seen);
            Ok(LOOK_MS)
        }
        Some(due_at) if due_at > now => {
            account.nothing_due_before(due_at.min(now.plus(LOOK_MS)), seen);
            Ok(due_at.since(now).min(LOOK_MS))
        }
        // Due, but no permit or no retry is left: a verdict wakes us, or the next token is due.
        Some(_) if account.retries_allowed(now) > 0 => Ok(LOOK_MS),
        Some(_) => Ok(account.retry_wait_ms(now).unwrap_or(LOOK_MS).min(LOOK_MS)),
    }
}

/// The breaker is not closed: at most one submit goes, as the probe, and only where no live id
/// can serve as one for free.
async fn probe(
    shared: &Arc<Shared>,
    account: &Arc<Account>,
    submits: &mut JoinSet<()>,
) -> Result<i64> {
    let now = shared.now();
    let wait_ms = account.gate.retry_after_ms(now).unwrap_or(LOOK_MS);
    if wait_ms > 0 || shared.poller.has_live(&account.name) {
        return Ok(wait_ms.clamp(1, LOOK_MS));
    }
    let who = shared.worker();
    let granted = account.gate.probe(shared.store.as_ref(), who.as_str(), now).await?;
    let Some((pass, transition)) = granted else { return Ok(LOOK_MS) };
    if let Some(transition) = transition {
        let account = account.name.clone();
        shared.notify(crate::Notice::Breaker { account, transition });
    }
    for lane in [Lane::Retry, Lane::First] {
        let claimed = claim(shared, account, lane, 1).await?;
        if !claimed.is_empty() {
            send_all(shared, account, submits, claimed, &pass);
            return Ok(LOOK_MS);
        }
    }
    account.gate.release(shared.store.as_ref(), &pass).await?;
    Ok(LOOK_MS)
}

fn count(claimed: &[Claimed]) -> u32 {
    u32::try_from(claimed.len()).unwrap_or(u32::MAX)
}

async fn claim(shared: &Shared, account: &Account, lane: Lane, n: u32) -> Result<Vec<Claimed>> {
    if n == 0 {
        return Ok(Vec::new());
    }
    let claim = Claim {
        account: account.name.clone(),
        worker: shared.worker(),
        lane,
        tokens: shared.tokens(n),
        threads: account.limit(),
        now: shared.now(),
    };
    Ok(shared.store.claim(claim).await?)
}

fn send_all(
    shared: &Arc<Shared>,
    account: &Arc<Account>,
    submits: &mut JoinSet<()>,
    claimed: Vec<Claimed>,
    pass: &Pass,
) {
    for claimed in claimed {
        shared.submits_in_flight.fetch_add(1, Ordering::Relaxed);
        let (shared, account, pass) = (Arc::clone(shared), Arc::clone(account), pass.clone());
        // The set is emptied by `run` before it ends.
        submits.spawn(async move {
            let id = claimed.task.id;
            if let Err(error) = submit(&shared, &account, claimed, &pass).await {
                tracing::error!(task = %id, %error, "could not write down what came of a submit");
            }
            shared.submits_in_flight.fetch_sub(1, Ordering::Relaxed);
        });
    }
}

async fn submit(
    shared: &Arc<Shared>,
    account: &Arc<Account>,
    claimed: Claimed,
    pass: &Pass,
) -> Result<()> {
    let Claimed { task, attempt, payload } = claimed;
    shared.crash.pass("after_intent");
    let happened = match reason_to_withhold(shared, account, pass) {
        Some(why) => Happened::Withheld { why, due_at: shared.now() },
        None => {
            let proxies_failed = task.round.proxies_failed;
            let submission = Submission { payload: &payload, proxies_failed };
            match guarded(account.provider.submit(submission)).await {
                Ok(outcome) => happened(outcome),
                Err(message) => Happened::Panicked(message),
            }
        }
    };
    shared.crash.pass("after_wire");
    let accepted_id = match &happened {
        Happened::Accepted(id) => {
            account.submit_accepted();
            Some(id.clone())
        }
        _ => None,
    };
    let settled = shared.report(account, task, Some(&attempt), &happened, pass).await?;
    shared.crash.pass("after_id");
    if let (Some(id), Some(task)) = (accepted_id, settled.task) {
        poll_from_now(shared, account, task, attempt, id);
    }
    Ok(())
}

/// Hands an accepted attempt to the poller, also where its task has moved on: it may answer late.
fn poll_from_now(
    shared: &Shared,
    account: &Account,
    task: Task,
    mut attempt: Attempt,
    id: deadletter_core::UpstreamId,
) {
    let now = shared.now();
    attempt.upstream_id = Some(id);
    attempt.accepted_at = Some(now);
    if task.kind() != StateKind::Polling || task.attempt != Some(attempt.token) {
        let hold_ms = account.terms(&task.dimensions.method).hold_ms;
        attempt.abandoned_at = Some(now);
        attempt.permit_until = Some(now.plus(hold_ms));
    }
    let first_ms = account.next_poll_ms(&task.dimensions.method, 0);
    shared.poller.add(Entry::new(task, attempt), now.plus(first_ms));
}

/// Things may have changed between the claim and here.
fn reason_to_withhold(shared: &Shared, account: &Account, pass: &Pass) -> Option<Why> {
    if shared.is_stopping() {
        Some(Why::Released)
    } else if account.is_stopped() {
        Some(Why::Account)
    } else if matches!(pass, Pass::Open(_)) && account.gate.pass(shared.now()).is_none() {
        Some(Why::Breaker)
    } else {
        None
    }
}

fn happened(outcome: Result<deadletter_core::UpstreamId, SubmitError>) -> Happened {
    match outcome {
        Ok(id) => Happened::Accepted(id),
        Err(SubmitError::Refused(failed)) => Happened::Refused(failed.0),
        Err(SubmitError::CouldNotAsk(error)) if error.sent == Sent::No => {
            Happened::Unsent(error.failure)
        }
        Err(SubmitError::CouldNotAsk(error)) => Happened::InDoubt(error.failure),
    }
}
