//! A store whose newest entry lies ahead of the clock: the clock was set back, or another one ran
//! faster.

use crate::{fault::Result, render, shelf::fault};
use deadletter::{
    core::{Filter, UnixMs},
    store::{Query, Store},
};

/// Clocks are moved by seconds all the time, and by more only where somebody should know.
const FAR_MS: i64 = 60_000;
/// Workers whose last beat is looked at: more than are alive anywhere.
const WORKERS: u32 = 100;

/// How far ahead, and what that means.
pub(crate) struct Ahead {
    newest_at: UnixMs,
    now: UnixMs,
    queued: i64,
}

/// Looks at the newest task, event and beats; none where the clock has passed them.
pub(crate) async fn look(store: &dyn Store) -> Result<Option<Ahead>> {
    let now = store.clock().now();
    let newest_task = Query {
        filter: Filter::default(),
        now,
        newest_first: true,
        after: None,
        limit: 1,
        scan_limit: 1,
    };
    let page = store.page(&newest_task).await.map_err(fault)?;
    let last = store.last_event().await.map_err(fault)?;
    let events = store.events(last.saturating_sub(1), 1).await.map_err(fault)?;
    let workers = store.workers(WORKERS).await.map_err(fault)?;
    let tasks = page.tasks.iter().map(|task| task.updated_at);
    let events = events.iter().map(|(_, event)| event.at);
    let beats = workers.iter().map(|worker| worker.beat_at);
    let newest_at = tasks.chain(events).chain(beats).max();
    let Some(newest_at) = newest_at.filter(|at| at.since(now) > FAR_MS) else { return Ok(None) };
    let queued = store.totals().await.map_err(fault)?.queued;
    Ok(Some(Ahead { newest_at, now, queued }))
}

impl Ahead {
    /// What was found, and what waits because of it.
    pub(crate) fn told(&self) -> String {
        let (ahead, at) =
            (render::duration(self.newest_at.since(self.now)), render::second(self.newest_at));
        format!(
            "the store's newest entry is of {at}, {ahead} ahead of this clock: tasks that wait for \
             a time (a retry, a deadline, their retention) wait until this clock is there; {} are \
             queued",
            self.queued
        )
    }

    /// What to do.
    pub(crate) const fn fix() -> &'static str {
        "set this machine's clock right; a store of a simulation wants its DEADLETTER_TIME_SCALE"
    }
}
