//! Deletes, in small steps beside the work, the records that outlive their use: counts of past
//! minutes, events of purged tasks, workers that are gone.
//!
//! What is on record of a task that stands is never touched.

use crate::{Result, patience::patiently, shared::Shared};
use deadletter_core::UnixMs;
use deadletter_store::Forget;

const DAY_MS: i64 = 86_400_000;
/// Counts of a minute are kept for a month: long enough to hold this week against the last ones.
const TALLIES_MS: i64 = 30 * DAY_MS;
/// Events of purged tasks are kept for a week: whoever follows the events is never so far behind.
const EVENTS_MS: i64 = 7 * DAY_MS;
/// Workers are kept for a week, so that people can see who was there; their ids are random.
const WORKERS_MS: i64 = 7 * DAY_MS;
/// Rows of one step and kind: few enough that nobody notices the wait for it.
const BATCH: u32 = 500;
/// After a step that came to the end, the next one.
const PAUSE_MS: i64 = 3_600_000;

/// How far this worker has come.
#[derive(Default)]
pub(crate) struct Forgetting {
    /// Where the next step goes on among the events.
    cursor: u64,
    /// Nothing is looked for before.
    quiet_until: Option<UnixMs>,
}

impl Forgetting {
    /// One step, if it is time.
    pub(crate) async fn sweep(&mut self, shared: &Shared) -> Result<()> {
        let now = shared.now();
        if self.quiet_until.is_some_and(|at| now < at) {
            return Ok(());
        }
        let step = Forget {
            tallies_before: now.plus(-TALLIES_MS),
            events_before: now.plus(-EVENTS_MS),
            events_after: self.cursor,
            workers_before: now.plus(-WORKERS_MS),
            limit: BATCH,
        };
        let done = patiently(&shared.health, || shared.store.forget(&step)).await?;
        self.cursor = done.next_event.unwrap_or_default();
        let is_full = done.tallies.max(done.workers) >= u64::from(BATCH);
        if done.next_event.is_none() && !is_full {
            self.quiet_until = Some(now.plus(PAUSE_MS));
        }
        Ok(())
    }
}
