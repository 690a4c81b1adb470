//! How fast an operation may go: a canary, then a rate that grows while its tasks do well.

use deadletter_core::{OperationId, StateKind, TaskId, UnixMs};
use std::collections::{HashMap, VecDeque};

/// Redriven at once at the beginning, to see what becomes of them.
const CANARY: f64 = 5.0;
/// The rate doubles in this time, on the store's clock.
const RAMP_MS: f64 = 5_000.0;
/// Verdicts looked at to see whether a redrive does more harm than good.
pub(crate) const VERDICTS: usize = 20;
/// Dead ones among them that pause it.
pub(crate) const TOO_MANY_DEAD: usize = 16;
/// Under way at most until some were solved: as many as are looked at, so that a redrive into
/// something broken stops before it has killed everything again.
const WAVE: u64 = VERDICTS as u64;
/// Solved ones that end the caution.
const ENOUGH_SOLVED: u64 = 5;
/// Without verdicts the caution ends after this time: longer than a task needs to die of time-outs.
const CAUTION_MS: i64 = 15 * 60_000;
/// Tasks whose verdict is awaited, over all operations; beyond it verdicts are not looked at.
const AWAITED: usize = 50_000;

/// What this worker knows of the operations that it runs.
#[derive(Default)]
pub(crate) struct Runs {
    runs: HashMap<OperationId, Run>,
    /// Whose task it is, until its verdict.
    tasks: HashMap<TaskId, OperationId>,
}

/// What this worker knows of one.
#[derive(Default)]
pub(crate) struct Run {
    began_at: Option<UnixMs>,
    redriven: u64,
    judged: u64,
    solved: u64,
    /// The last verdicts on its tasks: true for solved.
    verdicts: VecDeque<bool>,
}

impl Runs {
    pub(crate) fn run(&mut self, id: &OperationId) -> &mut Run {
        self.runs.entry(id.clone()).or_default()
    }

    /// A task of the operation was redriven: its verdict is awaited.
    pub(crate) fn redriven(&mut self, id: &OperationId, task: TaskId) {
        self.run(id).redriven += 1;
        if self.tasks.len() < AWAITED {
            self.tasks.insert(task, id.clone());
        }
    }

    /// A task entered a terminal state.
    pub(crate) fn judge(&mut self, task: TaskId, state: StateKind) {
        let Some(run) = self.tasks.remove(&task).and_then(|id| self.runs.get_mut(&id)) else {
            return;
        };
        run.judged += 1;
        run.solved += u64::from(state == StateKind::Solved);
        if run.verdicts.len() == VERDICTS {
            run.verdicts.pop_front();
        }
        run.verdicts.push_back(state == StateKind::Solved);
    }

    /// The operation is over here: nothing of it is awaited any more.
    pub(crate) fn forget(&mut self, id: &OperationId) {
        self.runs.remove(id);
        self.tasks.retain(|_, other| other != id);
    }
}

impl Run {
    pub(crate) fn goes_wrong(&self) -> bool {
        self.verdicts.iter().filter(|solved| !**solved).count() >= TOO_MANY_DEAD
    }

    /// Nothing could go on: begin with a canary again when it can.
    pub(crate) fn begin_anew(&mut self) {
        *self = Self { verdicts: std::mem::take(&mut self.verdicts), ..Self::default() };
    }

    /// How many may be redriven now, `most` at most.
    pub(crate) fn allowed(&mut self, rate: f64, now: UnixMs, most: u32) -> u32 {
        let ms = now.since(*self.began_at.get_or_insert(now)).max(0);
        let ramped = CANARY * (ms as f64 / RAMP_MS).min(30.0).exp2();
        let by_rate = ramped.min(CANARY + rate * ms as f64 / 1_000.0) - self.redriven as f64;
        let is_cautious = self.solved < ENOUGH_SOLVED && ms < CAUTION_MS;
        let under_way = self.redriven.saturating_sub(self.judged);
        let by_wave = if is_cautious { WAVE.saturating_sub(under_way) as f64 } else { f64::MAX };
        by_rate.min(by_wave).clamp(0.0, f64::from(most)) as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id() -> OperationId {
        OperationId::new("redrive-1").unwrap()
    }

    fn task(n: u64) -> TaskId {
        TaskId::try_from(n).unwrap()
    }

    #[test]
    fn it_begins_with_a_canary_and_doubles() {
        let mut run = Run::default();
        assert_eq!(run.allowed(1_000.0, UnixMs(0), 200), 5);
        run.redriven = 5;
        assert_eq!(run.allowed(1_000.0, UnixMs(0), 200), 0);
        assert_eq!(run.allowed(1_000.0, UnixMs(5_000), 200), 5);
    }

    #[test]
    fn it_never_exceeds_the_rate() {
        let mut run = Run { solved: ENOUGH_SOLVED, ..Run::default() };
        assert_eq!(run.allowed(1.0, UnixMs(0), 200), 5);
        assert_eq!(run.allowed(1.0, UnixMs(60_000), 200), 65);
    }

    #[test]
    fn without_a_solved_task_a_wave_is_under_way_at_most() {
        let mut runs = Runs::default();
        runs.run(&id()).allowed(1_000.0, UnixMs(0), 200);
        for n in 1..=20 {
            runs.redriven(&id(), task(n));
        }
        assert_eq!(runs.run(&id()).allowed(1_000.0, UnixMs(60_000), 200), 0);
        runs.judge(task(1), StateKind::Dead);
        assert_eq!(runs.run(&id()).allowed(1_000.0, UnixMs(60_000), 200), 1);
        for n in 2..=6 {
            runs.judge(task(n), StateKind::Solved);
        }
        assert_eq!(runs.run(&id()).allowed(1_000.0, UnixMs(60_000), 200), 200);
    }

    #[test]
    fn sixteen_dead_of_the_last_twenty_go_wrong() {
        let mut runs = Runs::default();
        for n in 1..=19 {
            runs.redriven(&id(), task(n));
            let state = if n <= 4 { StateKind::Solved } else { StateKind::Dead };
            runs.judge(task(n), state);
        }
        assert!(!runs.run(&id()).goes_wrong());
        runs.redriven(&id(), task(20));
        runs.judge(task(20), StateKind::Dead);
        assert!(runs.run(&id()).goes_wrong());
        runs.forget(&id());
        assert!(runs.runs.is_empty() && runs.tasks.is_empty());
    }
}
