//! Makes this worker known, tells the store that it is alive, begins anew where the store thinks it
//! dead, and says good-bye.
//!
//! A loop of its own: whatever else takes long here (a flood of deadlines, a take-over of
//! thousands), a worker that lives must not miss the beats after which others take its tasks.

use crate::{
    Error, Result,
    patience::{Patience, may_pass},
    shared::Shared,
};
use deadletter_core::WorkerId;
use deadletter_store::{Beat, Error as StoreError};
use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

/// A beat every two seconds of real time: three may be missed before a worker is declared dead.
pub(crate) const BEAT: Duration = Duration::from_secs(2);

/// A beat that was not taken is made again soon: a store that is away for a moment is no silence.
const AGAIN: Duration = Duration::from_millis(500);

/// A store that does not hear the good-bye finds out by itself that the worker is gone.
const LEAVE_TRIES: u32 = 4;

/// Makes this worker known, where it is not; true where this call did. From now on its silence
/// tells that it died.
pub(crate) async fn join(shared: &Shared) -> Result<bool> {
    if shared.has_joined.swap(true, Ordering::Relaxed) {
        return Ok(false);
    }
    let registered = shared.store.register(&shared.worker(), &label()).await;
    shared.has_joined.store(registered.is_ok(), Ordering::Relaxed);
    hear(shared, registered?);
    Ok(true)
}

/// Says good-bye, where it has joined; a store that fails now and then hears it in the end. Who
/// joins again does so as another worker. Cancelled or failed, it may be said again.
pub(crate) async fn part(shared: &Shared) -> Result<()> {
    if !shared.has_joined.load(Ordering::Relaxed) {
        return Ok(());
    }
    leave(shared).await?;
    shared.set_worker(new_worker(rand::random()));
    shared.has_joined.store(false, Ordering::Relaxed);
    Ok(())
}

async fn leave(shared: &Shared) -> Result<()> {
    let mut patience = Patience::new();
    for _ in 1..LEAVE_TRIES {
        match shared.store.leave(&shared.worker()).await {
            Err(error) if may_pass(&error) => patience.wait().await,
            left => return Ok(left?),
        }
    }
    Ok(shared.store.leave(&shared.worker()).await?)
}

/// Runs until the engine stops, and beats on until nothing of it is on the wire.
pub(crate) async fn run(shared: Arc<Shared>) {
    let mut pause = BEAT;
    loop {
        tokio::select! {
            () = shared.at_rest() => return,
            () = tokio::time::sleep(pause) => {}
        }
        let beaten = beat(&shared).await;
        pause = if beaten.is_ok() { BEAT } else { AGAIN };
        match beaten {
            Ok(()) => shared.health.wrote(),
            Err(Error::Store(error)) => shared.health.failed("beat", &error),
            Err(error) => shared.health.could_not("beat", &error),
        }
    }
}

async fn beat(shared: &Shared) -> Result<()> {
    match shared.store.beat(&shared.worker()).await {
        // A worker that stops does not begin anew: others have its tasks.
        Err(StoreError::DeclaredDead(_)) if shared.is_stopping() => Ok(()),
        Err(StoreError::DeclaredDead(worker)) => begin_anew(shared, &worker).await,
        beat => {
            hear(shared, beat?);
            Ok(())
        }
    }
}

/// Whoever works with this store shares each account's retries.
fn hear(shared: &Shared, beat: Beat) {
    shared.hearing.is_heard(beat.now, shared.clock.speed());
    for account in shared.accounts.values() {
        account.share_budget(beat.workers);
    }
}

/// The store declared this worker dead while it was away: others have its tasks.
async fn begin_anew(shared: &Shared, dead: &WorkerId) -> Result<()> {
    tracing::error!(worker = %dead, "declared dead by the store; beginning anew");
    shared.poller.clear();
    let worker = new_worker(shared.random_u64());
    let beat = shared.store.register(&worker, &label()).await?;
    shared.set_worker(worker);
    hear(shared, beat);
    Ok(())
}

/// What people who list workers are told of a worker in that process of this machine.
#[must_use]
pub fn worker_label(process: u32) -> String {
    // Pids of several machines are alike, and those in containers nearly always.
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    format!("process {process} on {host}")
}

fn label() -> String {
    worker_label(std::process::id())
}

/// An id that no worker has had.
pub(crate) fn new_worker(random: u64) -> WorkerId {
    WorkerId::new(format!("w-{random:016x}")).expect("letters and digits, short")
}

#[cfg(test)]
mod tests {
    use super::BEAT;
    use crate::{
        AccountConfig, Deadletter, Job,
        provider::{Polled, scripted::ScriptedProvider},
    };
    use deadletter_core::{AccountName, UnixMs, WorkerId};
    use deadletter_store::{
        Call, Clock, Faulty, ManualClock, MemoryStore, Registry, Store, faulty::Moment,
    };
    use std::{future::Future, pin::Pin, sync::Arc};
    use tokio::sync::watch;

    #[tokio::test(start_paused = true)]
    async fn a_worker_that_begins_anew_asks_no_more_for_what_another_has() {
        let registered = watch::Sender::new(0_u32);
        let mut begun = registered.subscribe();
        let hook = move |call: Call, moment: Moment| {
            if call == Call::Register && moment == Moment::After {
                registered.send_modify(|n| *n += 1);
            }
            Box::pin(std::future::ready(())) as Pin<Box<dyn Future<Output = ()> + Send>>
        };
        // The clock stands: nothing is asked for, and nobody is silent by himself.
        let clock = Arc::new(ManualClock::at(UnixMs(1)));
        let store = Arc::new(MemoryStore::new(Arc::clone(&clock) as Arc<dyn Clock>));
        let store = Arc::new(Faulty::new(store).with_hook(Arc::new(hook)));
        let start = || {
            let never = ScriptedProvider::default().on_poll(|_| async { Ok(Polled::NotReady) });
            let account = AccountConfig::new(AccountName::new("main").unwrap(), Arc::new(never));
            let store = Arc::clone(&store) as Arc<dyn Store>;
            Deadletter::builder().store(store).account(account).start()
        };
        let first = start().await.unwrap();
        let task = first.submit(Job::new("image")).await.unwrap();
        while first.status().polling < 1 {
            tokio::task::yield_now().await;
        }
        clock.advance(1);
        store.declare_dead(clock.now()).await.unwrap();
        let second = start().await.unwrap();
        assert_eq!(second.status().polling, 1, "{} is taken over", task.id);
        begun.wait_for(|n| *n == 3).await.unwrap();
        assert_eq!((first.status().polling, second.status().polling), (0, 1));
    }

    #[tokio::test(start_paused = true)]
    async fn a_sweep_that_takes_for_ever_does_not_stop_the_heart() {
        let beats = watch::Sender::new(0_u32);
        let swept = watch::Sender::new(false);
        let (mut beaten, mut sweeping) = (beats.subscribe(), swept.subscribe());
        let hook = move |call: Call, moment: Moment| {
            let is_long = call == Call::Overdue && moment == Moment::Before;
            if is_long {
                swept.send_replace(true);
            }
            if call == Call::Beat && moment == Moment::After {
                beats.send_modify(|n| *n += 1);
            }
            let wait = async move {
                if is_long {
                    std::future::pending::<()>().await;
                }
            };
            Box::pin(wait) as Pin<Box<dyn Future<Output = ()> + Send>>
        };
        let store = Arc::new(MemoryStore::new(Arc::new(ManualClock::at(UnixMs(1)))));
        let store = Arc::new(Faulty::new(store).with_hook(Arc::new(hook)));
        let provider = Arc::new(ScriptedProvider::default());
        let account = AccountConfig::new(AccountName::new("main").unwrap(), provider);
        let _engine = Deadletter::builder().store(store).account(account).start().await.unwrap();
        sweeping.wait_for(|is_sweeping| *is_sweeping).await.unwrap();
        let before = *beaten.borrow_and_update();
        let three = beaten.wait_for(|n| *n >= before + 3);
        tokio::time::timeout(BEAT * 10, three).await.expect("it beats on").unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_beat_divides_the_retries_among_those_who_live() {
        let beats = watch::Sender::new(0_u32);
        let mut beaten = beats.subscribe();
        let hook = move |call: Call, moment: Moment| {
            if call == Call::Beat && moment == Moment::Before {
                beats.send_modify(|n| *n += 1);
            }
            Box::pin(std::future::ready(())) as Pin<Box<dyn Future<Output = ()> + Send>>
        };
        let store = Arc::new(MemoryStore::new(Arc::new(ManualClock::at(UnixMs(1)))));
        let store = Arc::new(Faulty::new(store).with_hook(Arc::new(hook)));
        let provider = Arc::new(ScriptedProvider::default());
        let name = AccountName::new("main").unwrap();
        let account = AccountConfig::new(name.clone(), provider);
        let builder = Deadletter::builder().store(Arc::clone(&store) as Arc<dyn Store>);
        let engine = builder.account(account).start().await.unwrap();
        let account = engine.shared.account(&name).unwrap();
        assert_eq!(account.retries_allowed(UnixMs(1)), 100, "it is alone");
        store.register(&WorkerId::new("another").unwrap(), "").await.unwrap();
        // The second beat from now on begins after the first has been heard.
        let before = *beaten.borrow_and_update();
        beaten.wait_for(|n| *n >= before + 2).await.unwrap();
        assert_eq!(account.retries_allowed(UnixMs(1)), 50);
    }
}
