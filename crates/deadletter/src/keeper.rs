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

/// Runs until the engine stops; what it is doing then is left.
pub(crate) async fn run(shared: Arc<Shared>, account: Arc<Account>) {
    let mut ask_at = 0;
    for beats in 0_u64.. {
        tokio::select! {
            () = shared.stopped() => break,
            kept = keep(&shared, &account, beats, &mut ask_at) => {
                if let Err(error) = kept {
                    tracing::warn!(account = %account.name, %error, "could not keep it; again soon");
                }
            }
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
    match stop::ask(account).await {
        Ok(state) => {
            account.take_state(&state);
            return Ok(true);
        }
        Err(PollError::Failed(failed)) if failed.0.class == Class::Account => {
            stop::begin(shared, account, &failed.0).await?;
        }
        Err(error) => tracing::warn!(account = %account.name, %error, "could not ask for threads"),
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
