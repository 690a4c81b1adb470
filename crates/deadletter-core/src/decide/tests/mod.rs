//! Tests of the decisions: a bench with one task, on which things happen.

mod desk;
mod poll;
mod submit;
mod walk;

use super::*;
use crate::{
    Class, Counters, Next, OnDoubt, Round, State, StepKind, TaskId, WorkerId, invariants, next,
    samples::{self, THEN},
};
use secrecy::SecretString;

/// One task with its attempts, as a store would keep them.
pub(super) struct Bench {
    pub(super) task: Task,
    pub(super) attempts: Vec<Attempt>,
    pub(super) policy: Policy,
    pub(super) terms: Terms,
    pub(super) now: UnixMs,
    pub(super) random: f64,
}

impl Bench {
    /// A new task, changed by `edit` before it is inserted.
    pub(super) fn with(edit: impl FnOnce(&mut Task)) -> Self {
        let mut task = samples::task();
        edit(&mut task);
        Self {
            task,
            attempts: Vec::new(),
            policy: Policy::default(),
            terms: Terms::default(),
            now: THEN,
            random: 0.5,
        }
    }

    pub(super) fn new() -> Self {
        Self::with(|_| ())
    }

    /// A task whose first submit is under way.
    pub(super) fn submitting() -> Self {
        let mut bench = Self::new();
        bench.claim();
        bench
    }

    /// A task that upstream works on.
    pub(super) fn polling() -> Self {
        let mut bench = Self::submitting();
        bench.accept();
        bench
    }

    /// A dead letter whose only attempt timed out and may still answer.
    pub(super) fn timed_out() -> Self {
        let mut bench = Self::polling();
        bench.task.round.allowance = 1;
        bench.time_out();
        assert_eq!(bench.task.kind(), StateKind::Dead);
        bench
    }

    /// A worker claims the task, if it may; its tokens are 2, 4, 6, ...
    pub(super) fn claim(&mut self) -> bool {
        let worker = WorkerId::new("w").expect("valid");
        let token = AttemptToken::from_random(4 * (self.attempts.len() as u64 + 1));
        let Some((row, attempt)) = RowChange::claim(&self.task, &worker, token, self.now) else {
            return false;
        };
        self.write(&row);
        self.attempts.push(attempt);
        self.sound();
        true
    }

    pub(super) fn claims(&mut self) {
        assert!(self.claim(), "not claimed: {:?}", self.task);
    }

    /// Upstream takes the job under an id of its own.
    pub(super) fn accept(&mut self) -> Decision {
        let id = format!("u-{}", self.attempts.len());
        self.happens(&Happened::Accepted(upstream_id(&id)))
    }

    pub(super) fn time_out(&mut self) -> Decision {
        self.happens(&Happened::NotReady { elapsed_ms: self.terms.timeout_ms })
    }

    /// What would follow, for the attempt with that index, or for the task's current one.
    pub(super) fn decide(&self, happened: &Happened, attempt: Option<usize>) -> Decision {
        let context = Context {
            policy: &self.policy,
            terms: &self.terms,
            attempt: attempt.map(|at| &self.attempts[at]),
            now: self.now,
            random: self.random,
        };
        decide(&self.task, happened, context)
    }

    /// It happens to the task, and to its current attempt.
    pub(super) fn happens(&mut self, happened: &Happened) -> Decision {
        let decision = self.decide(happened, None);
        self.apply(&decision.change);
        decision
    }

    /// It happens to the attempt with that index, current or not.
    pub(super) fn happens_to(&mut self, attempt: usize, happened: &Happened) -> Decision {
        let decision = self.decide(happened, Some(attempt));
        self.apply(&decision.change);
        decision
    }

    /// Writes a change as a store does, and sees that it is a lawful one.
    pub(super) fn apply(&mut self, change: &Change) {
        if let Some(row) = &change.row {
            self.write(row);
        }
        for fact in change.facts_taken(true) {
            assert_eq!(fact.task, self.task.id);
            let attempt = self.attempts.iter_mut().find(|attempt| attempt.token == fact.token);
            attempt.expect("facts name attempts that exist").learn(fact);
        }
        self.sound();
    }

    fn write(&mut self, row: &RowChange) {
        let (from, to) = (&self.task, &row.after);
        assert_eq!((row.expects, to.version), (from.version, from.version + 1));
        assert_eq!((to.id, to.updated_at), (from.id, self.now));
        assert!(from.state == to.state || is_step(from, to), "{:?} to {:?}", from.state, to.state);
        self.task = to.clone();
    }

    fn sound(&self) {
        assert_eq!(invariants::check(&self.task, &self.attempts), [], "{:?}", self.task);
        // No write was stale here, so a task never waits for an attempt that is done with.
        let mut current = self.attempts.iter().filter(|a| Some(a.token) == self.task.attempt);
        assert!(current.all(|a| a.is_open() && a.abandoned_at.is_none()), "{:?}", self.task);
    }

    /// The state, and how many submits, failures and refusals are spent.
    pub(super) fn stands(&self) -> (StateKind, [u32; 3]) {
        let counters = &self.task.counters;
        (self.task.kind(), [counters.submits, counters.failures, counters.refusals])
    }

    pub(super) fn verdict(&self, attempt: usize) -> Option<Verdict> {
        self.attempts[attempt].verdict
    }

    pub(super) fn queued(&self) -> (i64, Why) {
        match &self.task.state {
            State::Queued { due_at, why } => (due_at.since(self.now), *why),
            other => panic!("not queued: {other:?}"),
        }
    }

    /// The answer of an attempt.
    pub(super) fn answer(&self, attempt: usize) -> Happened {
        Happened::Answered(Box::new(Answer {
            task: self.task.id,
            token: self.attempts[attempt].token,
            dialect: "test".to_owned(),
            raw: SecretString::from("OK|token"),
            text: SecretString::from("token"),
            user_agent: None,
            solved_at: self.now,
            expires_at: None,
            read_at: self.now,
        }))
    }
}

/// True where the table has a step from one state to the other.
fn is_step(from: &Task, to: &Task) -> bool {
    let upstream_id = upstream_id("u");
    let reason = to.reason().unwrap_or(DeadReason::Unknown);
    let (due_at, why) = (THEN, Why::Retry);
    StepKind::ALL.iter().any(|kind| {
        let step = match kind {
            StepKind::Claim => Step::Claim,
            StepKind::Retry => Step::Retry { due_at },
            StepKind::Snooze => Step::Snooze { due_at, why },
            StepKind::Accept => Step::Accept { upstream_id: upstream_id.clone() },
            StepKind::Solve => Step::Solve,
            StepKind::LateAnswer => Step::LateAnswer,
            StepKind::Die => Step::Die { reason },
            StepKind::Bury => Step::Bury { reason },
            StepKind::Resume => Step::Resume { upstream_id: upstream_id.clone() },
            StepKind::Redrive => Step::Redrive { due_at },
            StepKind::Exhume => Step::Exhume,
            StepKind::Cancel => Step::Cancel,
            StepKind::Purge => return false,
        };
        matches!(next(&from.state, &step), Some(Next::State(state)) if state.kind() == to.kind())
    })
}

pub(super) fn upstream_id(text: &str) -> UpstreamId {
    UpstreamId::new(text).expect("valid")
}

pub(super) fn failure(class: Class) -> Failure {
    Failure::new("ERROR_X", class).with_detail("as upstream said")
}

pub(super) fn redriven(resume: Option<&Attempt>, due_at: UnixMs) -> Happened {
    let resume = resume.cloned().map(Box::new);
    Happened::Redriven { resume, due_at, keep_deadline: false, force: false }
}

pub(super) fn other_task() -> TaskId {
    TaskId::at(THEN, 99)
}
