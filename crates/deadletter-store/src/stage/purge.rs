//! Which tasks may be deleted.

use super::Stage;
use deadletter_core::{Task, UnixMs, counts::Deltas};

impl Stage {
    /// Deletes a task that stands at `version` and has ended, unless a permit of its attempts holds
    /// at `now`; answers whether it does.
    pub(crate) fn purge(&mut self, task: &Task, version: u64, now: UnixMs) -> bool {
        let may_go = task.version == version
            && task.kind().is_terminal()
            && !self.attempts.of(task.id).any(|attempt| attempt.holds_permit(now))
            && !self.writes.purged.contains_key(&task.id);
        if may_go {
            self.writes.counts.add(Deltas::of_purge(task));
            self.writes.purged.insert(task.id, task.clone());
        }
        may_go
    }
}
