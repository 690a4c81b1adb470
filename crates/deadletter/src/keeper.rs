//! Keeps what all workers share of one account: its breaker, its stop, its solve times, its threads.
//!
//! One loop per account, apart from the heartbeat: asking upstream can take longer than a worker
//! may stay silent.

use crate::{
    Result,
    account::{Account, METHODS},
    document,
    heartbeat::BEAT,
    provider::PollError,
    shared::Shared,
    stop,
};
use deadletter_core::{Class, breaker::Phase, histogram::Histogram};
use std::sync::Arc;

/// Beats between two looks at threadsinfo: one per five minutes.
const THREADS_EVERY: u64 = 150;
/// Beats until the next look after one that failed: the default must not stand for long.
const THREADS_AGAIN: u64 = 10;
/// Beats between two reports of solve times.
const TIMES_EVERY: u64 = 5;

/// Runs until the engine stops. Questions to upstream end then; what is on its way to the store
/// arrives, because it has been taken from where it was counted.
pub(crate) async fn run(shared: Arc<Shared>, account: Arc<Account>) {
    let mut ask_at = 0;
    for beats in 0_u64.. {
        if let Err(error) = keep(&shared, &account, beats, &mut ask_at).await {
            shared.health.could_not("keep what the account's workers share", &error);
        }
        tokio::select! {
            () = shared.stopped() => break,
            () = tokio::time::sleep(BEAT) => {}
        }
    }
}

async fn keep(
    shared: &Arc<Shared>,
    account: &Arc<Account>,
    beats: u64,
    ask_at: &mut u64,
) -> Result<()> {
    let transition = account.gate.sync(shared.store.as_ref(), shared.now()).await?;
    shared.breaker_moved(account, transition);
    stop::read(shared, account).await?;
    if account.is_stopped() {
        return stop::probe(shared, account).await;
    }
    if beats.is_multiple_of(TIMES_EVERY) {
        share_times(shared, account).await?;
    }
    let is_closed = account.gate.phase(shared.now()) == Phase::Closed;
    if beats >= *ask_at && is_closed && account.configured_threads.is_none() {
        let is_told = ask_threads(shared, account).await?;
        *ask_at = beats + if is_told { THREADS_EVERY } else { THREADS_AGAIN };
    }
    Ok(())
}

/// Asks upstream how many threads the plan has; silence changes nothing. True where it was told.
async fn ask_threads(shared: &Arc<Shared>, account: &Arc<Account>) -> Result<bool> {
    let Some(told) = shared.unless_stopped(stop::ask(account)).await else { return Ok(false) };
    match told {
        Ok(state) => {
            account.take_state(&state);
            return Ok(true);
        }
        Err(PollError::Failed(failed)) if failed.0.class == Class::Account => {
            stop::begin(shared, account, &failed.0).await?;
        }
        // The breaker tells of an outage; how upstream worded it is for whoever looks closer.
        Err(error) => tracing::info!(account = %account.name, %error, "could not ask for threads"),
    }
    Ok(false)
}

/// What all workers have seen so far.
pub(crate) async fn read_times(shared: &Shared, account: &Account) -> Result<()> {
    let prefix = format!("times/{}/", account.name);
    for document in shared.store.documents(&prefix, METHODS as u32).await? {
        if let Some(method) = document.key.strip_prefix(&prefix)
            && let Ok(times) = serde_json::from_str::<Histogram>(&document.body)
        {
            account.set_shared_times(method, times);
        }
    }
    Ok(())
}

/// Adds what this worker saw to what all know.
pub(crate) async fn share_times(shared: &Shared, account: &Account) -> Result<()> {
    let mut outcome = Ok(());
    for (method, fresh) in account.take_fresh_times() {
        let key = format!("times/{}/{method}", account.name);
        let merge = |all: &mut Histogram| all.merge(&fresh);
        match document::update(shared.store.as_ref(), &key, &Histogram::default(), merge).await {
            Ok(updated) => account.set_shared_times(&method, updated.value),
            Err(error) => {
                account.keep_fresh_times(&method, &fresh);
                outcome = Err(error);
            }
        }
    }
    outcome
}

#[cfg(test)]
mod tests {
    use crate::{AccountConfig, Deadletter, Job, Outcome, provider::scripted::ScriptedProvider};
    use deadletter_core::{AccountName, UnixMs, histogram::Histogram};
    use deadletter_store::{Call, Faulty, ManualClock, MemoryStore, Registry, faulty::Moment};
    use std::{
        future::Future,
        pin::Pin,
        sync::{
            Arc,
            atomic::{AtomicBool, AtomicU32, Ordering::SeqCst},
        },
        time::Duration,
    };
    use tokio::sync::watch;

    #[tokio::test(start_paused = true)]
    async fn what_is_on_its_way_to_the_store_arrives_where_the_engine_stops() {
        let clock = Arc::new(ManualClock::at(UnixMs(1_000)));
        let memory = Arc::new(MemoryStore::new(Arc::clone(&clock) as _));
        let (solved, stopping) = (Arc::new(AtomicBool::new(false)), watch::Sender::new(false));
        let (writing, is_solved) = (watch::Sender::new(false), Arc::clone(&solved));
        let (mut written, stop) = (writing.subscribe(), stopping.subscribe());
        let puts = AtomicU32::new(0);
        let hook = move |call: Call, moment: Moment| {
            let is_put = call == Call::PutDocument && moment == Moment::Before;
            // The first one is the breaker's count of the poll, the second one the solve time.
            let is_held = is_put && is_solved.load(SeqCst) && puts.fetch_add(1, SeqCst) == 1;
            let (mut stop, writing) = (stop.clone(), writing.clone());
            let wait = async move {
                if is_held {
                    writing.send_replace(true);
                    stop.wait_for(|is_stopping| *is_stopping).await.map(drop).unwrap_or_default();
                }
            };
            Box::pin(wait) as Pin<Box<dyn Future<Output = ()> + Send>>
        };
        let store = Arc::new(Faulty::new(Arc::clone(&memory)).with_hook(Arc::new(hook)));
        let provider = Arc::new(ScriptedProvider::default());
        let account = AccountConfig::new(AccountName::new("main").unwrap(), provider);
        let account = account.threads(Some(1));
        let engine = Deadletter::builder().store(store).account(account).start().await.unwrap();
        let ticking = tokio::spawn(async move {
            loop {
                // tidy: allow sleep, because time is paused: it moves two clocks together.
                tokio::time::sleep(Duration::from_millis(500)).await;
                clock.advance(500);
            }
        });
        assert!(matches!(engine.solve(Job::new("image")).await.unwrap(), Outcome::Solved(_)));
        solved.store(true, SeqCst);
        written.wait_for(|is_writing| *is_writing).await.unwrap();
        assert!(memory.document("times/main/image").await.unwrap().is_none(), "on its way");
        let stopped = engine.stop();
        let release = async {
            // Polled after the stop has begun.
            stopping.send_replace(true);
        };
        tokio::join!(stopped, release).0.unwrap();
        ticking.abort();
        let times = memory.document("times/main/image").await.unwrap().expect("shared");
        let times: Histogram = serde_json::from_str(&times.body).unwrap();
        assert_eq!(times.count(), 1);
    }
}
