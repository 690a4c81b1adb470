//! Notices what is new in the store, whoever wrote it: wakes waiters, listeners, dispatchers.

use crate::{Result, holds, notice::Notice, shared::Shared, stop};
use std::{sync::Arc, time::Duration};

/// Other processes' work is noticed within this time; real time, because people wait for it.
const TICK: Duration = Duration::from_millis(200);
/// Events read at once.
const EVENTS: u32 = 1_000;

/// Runs until the engine stops; reads what is left then.
pub(crate) async fn run(shared: Arc<Shared>, mut seen: u64) {
    let mut pulse = None;
    loop {
        let stopping = tokio::select! {
            () = shared.stopped() => true,
            () = shared.events_written.notified() => false,
            () = tokio::time::sleep(TICK) => false,
        };
        if let Err(error) = look(&shared, &mut seen, &mut pulse).await {
            shared.health.could_not("look for news", &error);
        }
        if stopping {
            return;
        }
    }
}

/// Reads what has been written since the last look.
pub(crate) async fn look(shared: &Shared, seen: &mut u64, pulse: &mut Option<u64>) -> Result<()> {
    let beat = shared.store.pulse().await?;
    if *pulse != Some(beat) {
        for account in shared.accounts.values() {
            stop::read(shared, account).await?;
            if account.gate.refresh(shared.store.as_ref()).await? {
                shared.poller.wake.notify_one();
            }
            account.hint_due(shared.now());
        }
        holds::read(shared).await?;
        *pulse = Some(beat);
        shared.operations_written.notify_one();
    }
    loop {
        let events = shared.store.events(*seen, EVENTS).await?;
        let Some((last, _)) = events.last() else { return Ok(()) };
        *seen = *last;
        for (_, event) in events {
            shared.waiters.wake(event.task, event.state);
            shared.notify(Notice::Event(event));
        }
    }
}
