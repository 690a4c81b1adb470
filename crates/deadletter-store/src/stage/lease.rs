//! Leases: given with an intent, taken over, and let go of.

use super::Stage;
use deadletter_core::{
    AccountName, Attempt, AttemptToken, RowChange, Task, TaskId, UnixMs, WorkerId,
};

impl Stage {
    /// Closes the attempts of these accounts that were loaded and have lapsed at `now`; answers how
    /// many permits that frees.
    pub(crate) fn lapse(&mut self, accounts: &[AccountName], now: UnixMs) -> usize {
        let mut freed = 0;
        for (task, token) in self.attempts.keys() {
            self.attempts.change(task, token, |attempt| {
                let had = attempt.permit;
                let has_lapsed = accounts.contains(&attempt.account) && attempt.lapse(now);
                freed += usize::from(has_lapsed && had);
                has_lapsed
            });
        }
        freed
    }

    /// Writes the lease and the intent of a task that was loaded as it is given here; none where
    /// it may not be submitted.
    pub(crate) fn begin(
        &mut self,
        task: &Task,
        worker: &WorkerId,
        token: AttemptToken,
        now: UnixMs,
    ) -> Option<(Task, Attempt)> {
        self.load(task.id, task.version, task.verdict_read_at);
        let (row, attempt) = RowChange::claim(task, worker, token, now)?;
        self.write(&row);
        self.writes.begun.push(attempt.clone());
        Some((row.after, attempt))
    }

    /// Gives the lease of a task to `worker`, with its current attempt; none where that is missing.
    pub(crate) fn adopt(
        &mut self,
        task: &Task,
        worker: &WorkerId,
        now: UnixMs,
    ) -> (Task, Option<Attempt>) {
        self.load(task.id, task.version, task.verdict_read_at);
        let row = RowChange::adopt(task, worker, now);
        self.write(&row);
        let attempt = task.attempt.and_then(|token| self.adopt_attempt(task.id, token, worker));
        (row.after, attempt)
    }

    /// Gives an attempt to `worker`, to be polled by it; none where it is missing.
    pub(crate) fn adopt_attempt(
        &mut self,
        task: TaskId,
        token: AttemptToken,
        worker: &WorkerId,
    ) -> Option<Attempt> {
        self.attempts.change(task, token, |attempt| {
            attempt.worker = Some(worker.clone());
            true
        })
    }

    /// An attempt as it stands by now.
    pub(crate) fn attempt(&self, task: TaskId, token: AttemptToken) -> Option<&Attempt> {
        self.attempts.get(task, token)
    }
}
