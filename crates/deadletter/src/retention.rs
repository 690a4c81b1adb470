//! Deletes solved tasks whose retention is over, in small batches beside the work.
//!
//! Dead letters are never touched: what could not be done is kept until a person purges it.

use crate::{Result, patience::patiently, shared::Shared};
use deadletter_core::{Filter, StateKind, Task, TaskId, UnixMs};
use deadletter_store::{Page, Query};

/// Solved tasks are kept for a day, unless told otherwise: the vendor's answers are of use for
/// minutes, and whoever was away over night still finds them.
pub(crate) const USUAL_MS: i64 = 86_400_000;
/// Tasks deleted in one transaction: few enough that nobody notices the wait for it.
const BATCH: u32 = 200;
/// Rows looked at for one batch.
const SCAN: u32 = 1_000;
/// Batches of one sweep: with a sweep every two seconds more than any account can solve.
const BATCHES: u32 = 25;
/// After a look that found nothing, the next one comes when this part of the retention has passed.
const PART: i64 = 100;

/// How far this worker has come.
#[derive(Default)]
pub(crate) struct Retention {
    /// Where the walk over the solved tasks goes on.
    cursor: Option<TaskId>,
    /// Nothing can be over before.
    quiet_until: Option<UnixMs>,
    /// Deleted since the walk began.
    purged: u64,
}

impl Retention {
    /// Deletes some of what is over.
    pub(crate) async fn sweep(&mut self, shared: &Shared) -> Result<()> {
        let Some(keep_ms) = shared.keep_solved_ms else { return Ok(()) };
        if self.quiet_until.is_some_and(|at| shared.now() < at) {
            return Ok(());
        }
        for _ in 0..BATCHES {
            if shared.is_stopping() {
                return Ok(());
            }
            let over_at = shared.now().plus(-keep_ms);
            let page = self.page(shared).await?;
            let is_over = |task: &&Task| task.updated_at <= over_at;
            let over: Vec<_> =
                page.tasks.iter().filter(is_over).map(|task| (task.id, task.version)).collect();
            if !over.is_empty() {
                self.purged += patiently(&shared.health, || shared.store.purge(&over)).await?;
            }
            // Ids tell the time: behind this one, all were accepted after what is over by now.
            let last = page.tasks.last().map(|task| task.id);
            let is_recent = last.is_some_and(|id| id > TaskId::at(over_at, u64::MAX));
            self.cursor = page.next.filter(|_| !is_recent);
            if self.cursor.is_none() {
                self.end_walk(shared.now(), keep_ms);
                return Ok(());
            }
        }
        Ok(())
    }

    async fn page(&self, shared: &Shared) -> Result<Page> {
        let query = Query {
            filter: Filter::states(&[StateKind::Solved]),
            now: shared.now(),
            newest_first: false,
            after: self.cursor,
            limit: BATCH,
            scan_limit: SCAN,
        };
        Ok(shared.store.page(&query).await?)
    }

    fn end_walk(&mut self, now: UnixMs, keep_ms: i64) {
        let purged = std::mem::take(&mut self.purged);
        if purged > 0 {
            tracing::info!(purged, "deleted solved tasks whose retention was over");
        }
        self.quiet_until = Some(now.plus(keep_ms / PART));
    }
}
