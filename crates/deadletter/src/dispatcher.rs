//! Claims due tasks of one account and submits them.
//!
//! One loop per account. A round asks the gate, then claims in three lanes: suspects alone,
//! retries within the budget, first submits with what is left. A claim writes the intent, so
//! whatever is claimed is sent, or given back with a word (`withheld`).

use crate::{
    Result,
    account::{Account, Due},
    gate::Pass,
    guarded::guarded,
    heap::Entry,
    provider::{Sent, Submission, SubmitError},
    secrets,
    shared::{Dispatching, Shared},
};
use deadletter_core::{Attempt, Happened, Lane, StateKind, Task, Why};
use deadletter_store::{Claim, Claimed, Error as StoreError};
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
/// Longest wait where nothing is queued: the watcher tells of what others insert.
const IDLE_MS: i64 = 30_000;
/// Between two probes that found nothing to send: each is a write to the store.
const VAIN_MS: i64 = 5_000;
/// How long a stopping engine waits for submits that are on the wire: the request's own time-out
/// and a little more. After it their outcome is in doubt.
const GRACE: Duration = Duration::from_secs(20);

/// Runs until the engine stops, then waits for what is on the wire.
pub(crate) async fn run(shared: Arc<Shared>, account: Arc<Account>, dispatching: Dispatching) {
    let mut submits = JoinSet::new();
    let mut alone = false;
    loop {
        while submits.try_join_next().is_some() {}
        alone &= !submits.is_empty();
        let wait_ms = match round(&shared, &account, &mut submits, &mut alone).await {
            Ok(wait_ms) => wait_ms,
            Err(error) => {
                shared.health.could_not("claim", &error);
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
    drop(dispatching);
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
    if *alone || room == 0 || must_wait(shared, account) {
        return Ok(LOOK_MS);
    }
    let now = shared.now();
    let Some(pass) = account.gate.pass(now) else {
        return probe(shared, account, submits).await;
    };
    if account.may_have_suspects() && submits.is_empty() {
        let suspects = claim(shared, account, Lane::Suspect, 1).await?;
        account.looked_for_suspects(!suspects.is_empty());
        if !suspects.is_empty() {
            *alone = true;
            send_all(shared, account, submits, suspects, &pass);
            return Ok(LOOK_MS);
        }
    }
    if account.must_look_for_suspects() {
        return Ok(LOOK_MS);
    }
    let seen = account.due();
    if seen.at > now {
        return Ok(seen.at.since(now).min(IDLE_MS));
    }
    // The window is this worker's own, for what upstream works on as far as it knows. What is in
    // doubt holds a thread of the account, and none of the window: a refusal that finds half of the
    // threads in doubt would else let nothing through until they lapse.
    let live = shared.poller.live(&account.name).saturating_add(submits.len());
    let window = account.limit().saturating_sub(u32::try_from(live).unwrap_or(u32::MAX));
    if window == 0 {
        return Ok(LOOK_MS);
    }
    let room = u32::try_from(room).unwrap_or(u32::MAX).min(window);
    let budget = account.retries_allowed(now);
    let retries = claim(shared, account, Lane::Retry, room.min(budget)).await?;
    let retried = count(&retries);
    account.spend_retries(retried, now);
    // Sent before the next claim is tried: an error there must not leave these lying.
    send_all(shared, account, submits, retries, &pass);
    let firsts = claim(shared, account, Lane::First, room - retried).await?;
    let begun = count(&firsts);
    account.earn_retries(begun, now);
    send_all(shared, account, submits, firsts, &pass);
    if retried + begun > 0 && retried + begun == room {
        return Ok(0);
    }
    rest(shared, account, seen).await
}

/// Nothing is claimed now; whatever ends this wakes the dispatcher, or a look later finds it ended.
fn must_wait(shared: &Shared, account: &Account) -> bool {
    shared.is_stopping()
        || shared.poller.is_recovering()
        || shared.in_hand.is_in_doubt()
        || account.is_stopped()
}

/// Nothing more could be claimed: because nothing is due, or because a limit binds.
async fn rest(shared: &Shared, account: &Account, seen: Due) -> Result<i64> {
    let now = shared.now();
    match shared.store.next_due(&account.name).await? {
        Some(due_at) if due_at <= now => {
            // No permit or no retry is left: a verdict wakes us, or the next token is due.
            let wait_ms = match account.retries_allowed(now) {
                0 => account.retry_wait_ms(now).unwrap_or(LOOK_MS),
                _ => LOOK_MS,
            };
            Ok(wait_ms.clamp(1, LOOK_MS))
        }
        next => {
            let idle_until = now.plus(IDLE_MS);
            let until = next.map_or(idle_until, |due_at| due_at.min(idle_until));
            account.nothing_due_before(until, seen);
            Ok(until.since(now))
        }
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
    match shared.store.next_due(&account.name).await? {
        Some(due_at) if due_at <= now => {}
        next => return Ok(next.map_or(IDLE_MS, |due_at| due_at.since(now).min(IDLE_MS))),
    }
    let who = shared.worker();
    let granted = account.gate.probe(shared.store.as_ref(), who.as_str(), now).await?;
    let Some((pass, transition)) = granted else { return Ok(LOOK_MS) };
    shared.breaker_moved(account, transition);
    // A probe may well fail: a task that has all its submits yet can spare one.
    for lane in [Lane::First, Lane::Retry] {
        match claim(shared, account, lane, 1).await {
            Ok(claimed) if claimed.is_empty() => {}
            Ok(claimed) => {
                send_all(shared, account, submits, claimed, &pass);
                return Ok(LOOK_MS);
            }
            Err(error) => {
                account.gate.release(shared.store.as_ref(), &pass).await?;
                return Err(error);
            }
        }
    }
    account.gate.release(shared.store.as_ref(), &pass).await?;
    Ok(VAIN_MS)
}

fn count(claimed: &[Claimed]) -> u32 {
    u32::try_from(claimed.len()).unwrap_or(u32::MAX)
}

async fn claim(shared: &Shared, account: &Account, lane: Lane, n: u32) -> Result<Vec<Claimed>> {
    if n == 0 {
        return Ok(Vec::new());
    }
    let tokens = shared.tokens(n);
    let claim = Claim {
        account: account.name.clone(),
        worker: shared.worker(),
        lane,
        tokens: tokens.clone(),
        threads: account.threads(),
        now: shared.now(),
    };
    shared.in_hand.begin(&tokens);
    match shared.store.claim(claim).await {
        Ok(claimed) => {
            let is_claimed = |token| claimed.iter().any(|c| c.attempt.token == token);
            shared.in_hand.end(tokens.into_iter().filter(|token| !is_claimed(*token)));
            if lane == Lane::First {
                account.turns.claimed(&claimed);
            }
            Ok(claimed)
        }
        Err(error) => {
            if matches!(error, StoreError::InDoubt { .. }) {
                shared.in_hand.never_sent(&tokens);
            } else {
                shared.in_hand.end(tokens);
            }
            Err(error.into())
        }
    }
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
            let (id, token) = (claimed.task.id, claimed.attempt.token);
            match guarded(submit(&shared, &account, claimed, &pass)).await {
                Ok(Ok(())) => shared.in_hand.end([token]),
                failed => {
                    match failed {
                        Ok(Err(error)) => {
                            shared.health.could_not("write down a submit's outcome", &error);
                        }
                        panic => tracing::error!(task = %id, ?panic, "a submit has no outcome"),
                    }
                    shared.in_hand.end([token]);
                    shared.in_hand.lost_track();
                }
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
    let happened = match (reason_to_withhold(shared, account, pass), payload) {
        (_, None) => {
            tracing::error!(task = %task.id, "the store has lost its request");
            Happened::RequestMissing
        }
        (Some(why), _) => Happened::Withheld { why, due_at: shared.now() },
        (None, Some(payload)) => {
            let proxies_failed = task.round.proxies_failed;
            let submission = Submission { payload: &payload, proxies_failed };
            let happened = match guarded(account.provider.submit(submission)).await {
                Ok(outcome) => happened(outcome),
                Err(message) => Happened::Panicked(message),
            };
            secrets::without(happened, Some(&payload))
        }
    };
    // Before it is written down, however long the store takes: an answer's age is told from here.
    let accepted_at = shared.now();
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
    if settled.is_id_taken {
        return Ok(());
    }
    if let (Some(id), Some(task)) = (accepted_id, settled.task) {
        let attempt = Attempt { upstream_id: Some(id), accepted_at: Some(accepted_at), ..attempt };
        poll_from_now(shared, account, task, attempt);
    }
    Ok(())
}

/// Hands an accepted attempt to the poller, also where its task has moved on: it may answer late.
fn poll_from_now(shared: &Shared, account: &Account, task: Task, mut attempt: Attempt) {
    let now = shared.now();
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

#[cfg(test)]
mod tests {
    use crate::{
        AccountConfig, Deadletter, Job, Outcome,
        provider::scripted::{ScriptedProvider, id},
    };
    use deadletter_core::AccountName;
    use deadletter_store::{Call, Clock, Faulty, ManualClock, MemoryStore, faulty::Moment};
    use std::{future::Future, pin::Pin, sync::Arc, sync::OnceLock, time::Duration};

    /// A clock that goes on as tokio's paused time does.
    fn ticking(clock: &Arc<ManualClock>) -> tokio::task::JoinHandle<()> {
        let clock = Arc::clone(clock);
        // The test's runtime ends it.
        tokio::spawn(async move {
            loop {
                // tidy: allow sleep, because time is paused: it moves two clocks together.
                tokio::time::sleep(Duration::from_millis(500)).await;
                clock.advance(500);
            }
        })
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_is_as_old_as_its_acceptance_however_slow_the_store_is() {
        let clock = Arc::new(ManualClock::at(deadletter_core::UnixMs(1_000)));
        let slow = Arc::clone(&clock);
        let hook = move |call: Call, moment: Moment| {
            if call == Call::Commit && moment == Moment::Before {
                slow.advance(60_000);
            }
            Box::pin(std::future::ready(())) as Pin<Box<dyn Future<Output = ()> + Send>>
        };
        let memory = Arc::new(MemoryStore::new(Arc::clone(&clock) as Arc<dyn Clock>));
        let store = Arc::new(Faulty::new(memory).with_hook(Arc::new(hook)));
        let accepted = Arc::new(OnceLock::new());
        let (by, at) = (Arc::clone(&clock), Arc::clone(&accepted));
        let provider = ScriptedProvider::default().on_submit(move |call| {
            at.get_or_init(|| by.now());
            async move { Ok(id(call.n)) }
        });
        let account = AccountConfig::new(AccountName::new("main").unwrap(), Arc::new(provider));
        let engine = Deadletter::builder().store(store).account(account).start().await.unwrap();
        ticking(&clock);
        let solving = engine.solve(Job::new("image"));
        let solved = tokio::time::timeout(Duration::from_secs(600), solving).await;
        let Outcome::Solved(answer) = solved.expect("it is answered").unwrap() else {
            panic!("it is answered at the first poll");
        };
        let accepted_at = *accepted.get().expect("submitted");
        assert_eq!(answer.solved_at, accepted_at, "before the store took a minute");
        assert!(answer.read_at.since(accepted_at) >= 60_000);
    }
}
