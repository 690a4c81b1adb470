//! Asks for results: one heap of due times, not one sleeping future per task.
//!
//! An entry is an attempt with an upstream id. It stays until a verdict; where its task has moved
//! on, it is asked slowly until its hold time has passed, because it may still answer. Silence, an
//! open gate and a stopped account never end an entry: only upstream's readable word does.

use crate::{
    Result,
    account::Account,
    gate::Pass,
    guarded::guarded,
    heap::{Entry, ROUND_TRIP_MS},
    provider::{PollError, Polled, Reply},
    secrets,
    settle::Settled,
    shared::Shared,
};
use deadletter_core::{Answer, Class, Happened, TaskId, UnixMs, breaker::Phase};
use std::{sync::Arc, time::Duration};
use tokio::task::JoinSet;

/// Polls on the wire at once, per process.
const POLLS: usize = 128;
/// An abandoned id is asked this often: it costs a request, and seldom answers.
const ABANDONED_GAP_MS: i64 = 15_000;
/// After a poll that could not be asked or read, the next one of that id.
const UNREAD_GAP_MS: i64 = 5_000;
/// While the account is stopped or slowed or the gate closed, an id that is due is looked at again.
const BARRED_GAP_MS: i64 = 2_000;
/// Longest sleep of the loop, on the store's clock: wake-ups do the rest.
const IDLE_MS: i64 = 60_000;
/// How long a stopping engine waits for polls on the wire: a request's own time-out and a little
/// more, because some upstreams give an answer only once.
const GRACE: Duration = Duration::from_secs(16);

/// Runs until the engine stops; then waits shortly for what is on the wire.
pub(crate) async fn run(shared: Arc<Shared>) {
    let mut polls = JoinSet::new();
    let mut last = shared.now();
    loop {
        let now = shared.now();
        if now < last {
            // The clock was set back: upstream would forget the ids before their time came again.
            shared.poller.bring_forward(last.since(now));
            for account in shared.accounts.values() {
                account.bring_forward(last.since(now));
            }
        }
        last = now;
        while polls.len() < POLLS
            && let Some(entry) = shared.poller.pop_due(now)
        {
            // The set is emptied below before `run` ends.
            polls.spawn(ask(Arc::clone(&shared), entry));
        }
        let wait_ms = shared.poller.next_due().map_or(IDLE_MS, |due| due.since(now).max(0));
        tokio::select! {
            () = shared.stopped() => break,
            () = shared.poller.wake.notified() => {}
            () = shared.sleep_ms(wait_ms), if polls.len() < POLLS => {}
            Some(_) = polls.join_next() => {}
        }
    }
    let finish = async { while polls.join_next().await.is_some() {} };
    if tokio::time::timeout(GRACE, finish).await.is_err() {
        tracing::info!(left = polls.len(), "polls were still on the wire; they are asked again");
    }
}

/// One look at an entry: asks if it may, and puts it back if there is more to ask.
///
/// An id is paid for: where something goes wrong on our side, it is asked again.
async fn ask(shared: Arc<Shared>, mut entry: Box<Entry>) {
    let (id, token) = (entry.task.id, entry.attempt.token);
    let name = entry.task.account.clone();
    if let Some(account) = shared.accounts.get(&name) {
        let due_at = match guarded(look(&shared, account, &mut entry)).await {
            Ok(Ok(due_at)) => due_at,
            Ok(Err(error)) => {
                shared.health.could_not("write down what came of a poll", &error);
                Some(shared.now().plus(UNREAD_GAP_MS))
            }
            Err(panic) => {
                tracing::error!(task = %id, ?panic, "a poll has no outcome");
                Some(shared.now().plus(UNREAD_GAP_MS))
            }
        };
        if let Some(due_at) = due_at {
            shared.poller.put_back(entry, due_at);
        }
    }
    if shared.poller.looked_at(&name, token) {
        shared.wake_dispatchers();
    }
}

/// Answers when to look again; none where nothing more is to be learned.
async fn look(
    shared: &Arc<Shared>,
    account: &Arc<Account>,
    entry: &mut Entry,
) -> Result<Option<UnixMs>> {
    let now = shared.now();
    // Nothing is on the wire when it lapses: from then on upstream may use the id again.
    let is_too_late = |until: UnixMs| until <= now.plus(ROUND_TRIP_MS);
    if !entry.is_current() && entry.attempt.permit_until.is_none_or(is_too_late) {
        return Ok(None);
    }
    if entry.is_current() && entry.task.deadline_at.is_some_and(|deadline| deadline <= now) {
        let happened = Happened::DeadlinePassed;
        let settled = tell(shared, account, entry, &happened, &Pass::Bystander).await?;
        if !take_over_row(shared, account, entry, settled) {
            return Ok(None);
        }
    }
    let Some(upstream_id) = entry.attempt.upstream_id.clone() else { return Ok(None) };
    let Some(pass) = pass(shared, account, now).await? else {
        return Ok(Some(now.plus(BARRED_GAP_MS)));
    };
    let asked_at = shared.now();
    let happened = match guarded(account.provider.poll(&upstream_id)).await {
        Err(message) => Happened::Panicked(message),
        Ok(Ok(Polled::NotReady)) => {
            entry.not_ready_at = Some(asked_at);
            let elapsed_ms = account.elapsed_ms(entry.awaited_since(), asked_at);
            Happened::NotReady { elapsed_ms }
        }
        Ok(Ok(Polled::Answer(reply))) => {
            Happened::Answered(Box::new(answer(shared, account, entry, reply)))
        }
        Ok(Err(PollError::Failed(failed))) => Happened::Failed(failed.0),
        Ok(Err(PollError::CouldNotAsk(error))) => Happened::Unread(error.failure),
    };
    let happened = cleaned(shared, entry.task.id, happened).await;
    shared.crash.pass("after_answer");
    let settled = tell(shared, account, entry, &happened, &pass).await?;
    let is_wanted = take_over_row(shared, account, entry, settled) && !is_verdict(&happened);
    let due_at = due_after(shared, account, entry, &happened);
    if matches!(&happened, Happened::Failed(failure) if failure.class == Class::Capacity) {
        account.slow_polls(due_at);
    }
    Ok(is_wanted.then_some(due_at))
}

/// What happened, without secrets of the request where it will be written down.
async fn cleaned(shared: &Shared, task: TaskId, happened: Happened) -> Happened {
    let is_written = match &happened {
        Happened::Failed(failure) => !matches!(failure.class, Class::Capacity | Class::Transient),
        Happened::Panicked(_) => true,
        _ => false,
    };
    if !is_written {
        return happened;
    }
    // A verdict is worth more than its words: it does not wait for a store that is away.
    let request = shared.store.payload(task).await.unwrap_or_else(|error| {
        tracing::warn!(%task, %error, "upstream's words are not kept: the request cannot be read");
        None
    });
    secrets::without(happened, request.as_ref())
}

/// Leave to ask: the gate's, or, while the breaker is open, one poll per probe gap.
async fn pass(shared: &Shared, account: &Account, now: UnixMs) -> Result<Option<Pass>> {
    if account.is_stopped() || account.gate.is_shut(now) || account.must_poll_slowly(now) {
        return Ok(None);
    }
    if let Some(pass) = account.gate.pass(now) {
        return Ok(Some(pass));
    }
    if account.gate.phase(now) == Phase::HalfOpen {
        let who = shared.worker();
        let granted = account.gate.probe(shared.store.as_ref(), who.as_str(), now).await?;
        return Ok(granted.map(|(pass, transition)| {
            shared.breaker_moved(account, transition);
            pass
        }));
    }
    Ok(account.take_open_poll(now).then_some(Pass::Bystander))
}

async fn tell(
    shared: &Shared,
    account: &Arc<Account>,
    entry: &Entry,
    happened: &Happened,
    pass: &Pass,
) -> Result<Settled> {
    shared.report(account, entry.task.clone(), Some(&entry.attempt), happened, pass).await
}

/// Takes in the row as it stands now; false where nobody needs the entry any more.
fn take_over_row(shared: &Shared, account: &Account, entry: &mut Entry, settled: Settled) -> bool {
    let was_current = entry.is_current();
    let Some(task) = settled.task else { return false };
    entry.task = task;
    if was_current && !entry.is_current() {
        let hold_ms = account.terms(&entry.task.dimensions.method).hold_ms;
        entry.attempt.abandoned_at = Some(shared.now());
        entry.attempt.permit_until = Some(shared.now().plus(hold_ms));
    }
    true
}

/// True where upstream has said its last word on the attempt.
const fn is_verdict(happened: &Happened) -> bool {
    match happened {
        Happened::Answered(_) => true,
        Happened::Failed(failure) => {
            !matches!(failure.class, Class::Capacity | Class::Account | Class::Transient)
        }
        _ => false,
    }
}

fn due_after(shared: &Shared, account: &Account, entry: &Entry, happened: &Happened) -> UnixMs {
    let now = shared.now();
    let terms = account.terms(&entry.task.dimensions.method);
    match happened {
        Happened::Failed(failure) => {
            now.plus(failure.retry_after_ms.unwrap_or(0).max(terms.poll_gap_ms * 2))
        }
        Happened::Unread(failure) => {
            let jitter_ms = (shared.random() * 1_000.0) as i64;
            now.plus(failure.retry_after_ms.unwrap_or(0).max(UNREAD_GAP_MS) + jitter_ms)
        }
        _ if !entry.is_current() => now.plus(ABANDONED_GAP_MS),
        _ => {
            // Not below nothing: the clock may have been set back since then.
            let elapsed_ms = now.since(entry.awaited_since()).max(0);
            let next_ms = account.next_poll_ms(&entry.task.dimensions.method, elapsed_ms);
            // Ask at the time-out too: only a "not ready" after it may abandon the id.
            let is_before = elapsed_ms < terms.timeout_ms && terms.timeout_ms < next_ms;
            let due_ms = if is_before { terms.timeout_ms } else { next_ms };
            now.plus(due_ms - elapsed_ms)
        }
    }
}

fn answer(shared: &Shared, account: &Account, entry: &Entry, reply: Reply) -> Answer {
    let read_at = shared.now();
    let accepted_at = entry.accepted_at();
    let solved_at = entry.not_ready_at.unwrap_or(accepted_at);
    let method = &entry.task.dimensions.method;
    account.solved_between(method, solved_at.since(accepted_at), read_at.since(accepted_at));
    let fresh_ms = account.terms(method).fresh_ms;
    Answer {
        task: entry.task.id,
        token: entry.attempt.token,
        dialect: reply.dialect.to_owned(),
        raw: reply.raw,
        text: reply.text,
        user_agent: reply.user_agent,
        solved_at,
        expires_at: fresh_ms.map(|ms| solved_at.plus(ms)),
        read_at,
    }
}

#[cfg(test)]
mod tests {
    use crate::{
        AccountConfig, Deadletter, Job,
        provider::{
            JobFailed, Polled,
            scripted::{ScriptedProvider, answer},
        },
    };
    use deadletter_core::{AccountName, Class, Failure, Terms, UnixMs};
    use deadletter_store::{Clock, FastClock, ManualClock, MemoryStore, SystemClock};
    use std::{
        sync::{Arc, Mutex},
        time::Duration,
    };

    /// Store time passes this much faster: 60 s are 120 ms.
    const SPEED: f64 = 500.0;
    /// What upstream asks to wait: 1.2 s of the test's time.
    const WAIT_MS: i64 = 600_000;

    #[tokio::test(start_paused = true)]
    async fn a_clock_that_is_set_back_keeps_no_id_from_being_asked() {
        let clock = Arc::new(ManualClock::at(UnixMs(86_400_000)));
        let never = ScriptedProvider::default().on_poll(|_| async { Ok(Polled::NotReady) });
        let provider = Arc::new(never);
        let mut polls = provider.polls();
        let account = AccountConfig::new(AccountName::new("main").unwrap(), provider);
        let store = Arc::new(MemoryStore::new(Arc::clone(&clock) as Arc<dyn Clock>));
        let builder = Deadletter::builder().store(store).account(account);
        let engine = builder.start().await.unwrap();
        engine.submit(Job::new("image")).await.unwrap();
        let ticked = Arc::clone(&clock);
        // The test's runtime ends it.
        tokio::spawn(async move {
            loop {
                // tidy: allow sleep, because time is paused: it moves two clocks together.
                tokio::time::sleep(Duration::from_millis(500)).await;
                ticked.advance(500);
            }
        });
        polls.wait_for(|n| *n >= 2).await.unwrap();
        clock.advance(-3_600_000);
        let four_more = polls.wait_for(|n| *n >= 6);
        let asked = tokio::time::timeout(Duration::from_secs(300), four_more).await;
        asked.expect("it is asked on, not in an hour").unwrap();
    }

    #[tokio::test]
    async fn one_word_of_too_many_requests_slows_all_polls_of_the_account() {
        let clock: Arc<dyn Clock> = Arc::new(FastClock::new(SystemClock.now(), SPEED));
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (log, by) = (Arc::clone(&asked), Arc::clone(&clock));
        let provider = ScriptedProvider::default()
            .with_terms(Terms { timeout_ms: i64::MAX, ..Terms::default() })
            .on_poll(move |call| {
                log.lock().unwrap().push((call.n, by.now()));
                async move {
                    match call.n {
                        1 => {
                            let busy = Failure::new("ERROR_TOO_MUCH_REQUESTS", Class::Capacity);
                            Err(JobFailed(busy.with_retry_after_ms(Some(WAIT_MS))).into())
                        }
                        // They may have been on the wire when the first was told.
                        2..=4 => Ok(Polled::NotReady),
                        _ => Ok(answer("token")),
                    }
                }
            });
        let account = AccountConfig::new(AccountName::new("main").unwrap(), Arc::new(provider));
        let store = Arc::new(MemoryStore::new(clock));
        let builder = Deadletter::builder().store(store).account(account.threads(Some(4)));
        let engine = builder.start().await.unwrap();
        let jobs = (0..4).map(|_| Job::new("image")).collect();
        for one in engine.submit_all(jobs).await.unwrap() {
            engine.task(one.id).wait().await.unwrap();
        }
        let asked = asked.lock().unwrap();
        let told_at = asked.iter().find(|(n, _)| *n == 1).expect("asked").1;
        let later: Vec<_> = asked.iter().filter(|(n, _)| *n > 4).collect();
        assert!(later.len() >= 4, "each id is asked again: {asked:?}");
        assert!(later.iter().all(|(_, at)| at.since(told_at) >= WAIT_MS), "{asked:?}");
    }
}
