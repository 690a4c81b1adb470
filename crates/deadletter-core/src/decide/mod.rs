//! The only place that chooses: from a task and what happened to what is written.
//!
//! `decide` is total: whatever happens in whatever state, it answers with a change that the
//! transition table allows, or with none. It is split by the one who reports: `submit` (what came
//! of sending), `poll` (what came of asking), `desk` (what a person or an operation wants).

mod desk;
mod poll;
mod submit;
#[cfg(test)]
mod tests;

pub use desk::{Eligibility, eligibility, resumable};

use crate::{
    Answer, Attempt, AttemptToken, Change, DeadReason, Fact, Failure, Learned, Policy, RowChange,
    StateKind, Step, Task, Terms, UnixMs, UpstreamId, Verdict, Why, fingerprint,
};

/// What happened to a task.
#[derive(Clone, Debug)]
pub enum Happened {
    /// On submit: upstream took the job.
    Accepted(UpstreamId),
    /// On submit: upstream took the job under an id that another task's open attempt has.
    NotUnique(UpstreamId),
    /// On submit: upstream's readable word that it did not take the job.
    Refused(Failure),
    /// On submit: proven that not a byte was sent.
    Unsent(Failure),
    /// On submit: bytes may have arrived, and no verdict was read.
    InDoubt(Failure),
    /// Claimed, but we chose not to send.
    Withheld {
        /// What for.
        why: Why,
        /// Not claimed again before this instant.
        due_at: UnixMs,
    },
    /// On poll: the answer.
    Answered(Box<Answer>),
    /// On poll: a readable "not ready".
    NotReady {
        /// Time since acceptance, without the time that the account was stopped.
        elapsed_ms: i64,
    },
    /// On poll: upstream's readable word that the job failed.
    Failed(Failure),
    /// On poll: we could not ask, or could not read what came.
    Unread(Failure),
    /// The worker that was submitting it was declared dead.
    WorkerDied,
    /// The store has no row of the attempt that the task waits for: damage of one row.
    AttemptMissing,
    /// Claimed, and the store cannot tell what it asks for: damage of one row. Nothing was sent.
    RequestMissing,
    /// The task's own step panicked.
    Panicked(String),
    /// The caller's patience ended.
    DeadlinePassed,
    /// An operation brings it back.
    Redriven {
        /// The attempt whose upstream id is asked again instead of submitting.
        resume: Option<Box<Attempt>>,
        /// Not before this instant.
        due_at: UnixMs,
        /// Keep the old deadline.
        keep_deadline: bool,
        /// Also where it is not eligible by its reason.
        force: bool,
    },
    /// Given up by hand.
    Buried,
    /// Taken back from the buried, with room for this many more submits.
    Exhumed {
        /// How far K rises above what is spent.
        more_submits: u32,
    },
    /// Stopped by its owner.
    Cancelled,
    /// Kept from being claimed and redriven, by hand.
    Held,
    /// No longer kept so.
    Released,
}

impl Happened {
    /// What happened, seen from a store in which the upstream id that was named is another task's:
    /// nobody can say whose answer would be read under it.
    #[must_use]
    pub fn with_id_taken(&self) -> Self {
        match self {
            Self::Accepted(id) => Self::NotUnique(id.clone()),
            Self::Redriven { resume: _, due_at, keep_deadline, force } => Self::Redriven {
                resume: None,
                due_at: *due_at,
                keep_deadline: *keep_deadline,
                force: *force,
            },
            other => other.clone(),
        }
    }
}

/// What `decide` knows besides the task.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    /// The rules' numbers.
    pub policy: &'a Policy,
    /// The method's defaults.
    pub terms: &'a Terms,
    /// The attempt that the report is about.
    pub attempt: Option<&'a Attempt>,
    /// By the store's clock.
    pub now: UnixMs,
    /// In [0, 1).
    pub random: f64,
}

/// What a report means for the account as a whole.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum AccountSignal {
    /// Nothing.
    #[default]
    None,
    /// Upstream answered in its own words: it is up.
    Healthy,
    /// Upstream did not answer, or not readably: the breaker counts it.
    Outage,
    /// Upstream is full: shrink the window, slow down.
    Full(Failure),
    /// The account is stopped until a probe says otherwise.
    Stop(Failure),
}

/// A decision: what to write, and what the account learns.
#[derive(Clone, Debug, Default)]
pub struct Decision {
    /// What to write; empty where nothing changes.
    pub change: Change,
    /// What the account learns.
    pub account: AccountSignal,
}

impl Decision {
    fn signal(account: AccountSignal) -> Self {
        Self { change: Change::default(), account }
    }
}

/// Chooses what follows from `happened`.
#[must_use]
pub fn decide(task: &Task, happened: &Happened, context: Context<'_>) -> Decision {
    let rules = Rules { task, context };
    match happened {
        Happened::Accepted(id) => rules.accepted(id),
        Happened::NotUnique(id) => rules.not_unique(id),
        Happened::Refused(failure) => rules.refused(failure),
        Happened::Unsent(failure) => rules.unsent(failure),
        Happened::InDoubt(failure) => rules.in_doubt(failure),
        Happened::Withheld { why, due_at } => rules.withheld(*why, *due_at),
        Happened::WorkerDied => rules.worker_died(),
        Happened::AttemptMissing => rules.attempt_missing(),
        Happened::RequestMissing => rules.request_missing(),
        Happened::Answered(answer) => rules.answered(answer),
        Happened::NotReady { elapsed_ms } => rules.not_ready(*elapsed_ms),
        Happened::Failed(failure) => rules.poll_failed(failure),
        Happened::Unread(_) => Decision::signal(AccountSignal::Outage),
        Happened::Panicked(message) => rules.panicked(message),
        Happened::DeadlinePassed => rules.deadline_passed(),
        Happened::Redriven { resume, due_at, keep_deadline, force } => {
            rules.redriven(resume.as_deref(), *due_at, *keep_deadline, *force)
        }
        Happened::Buried => rules.buried(),
        Happened::Exhumed { more_submits } => rules.exhumed(*more_submits),
        Happened::Cancelled => rules.cancelled(),
        Happened::Held => rules.held(),
        Happened::Released => rules.released(),
    }
}

/// The task and its circumstances, with the moves that several rules share.
struct Rules<'a> {
    task: &'a Task,
    context: Context<'a>,
}

impl Rules<'_> {
    /// The attempt that the report is about, else the task's current one.
    fn token(&self) -> Option<AttemptToken> {
        self.context.attempt.map(|attempt| attempt.token).or(self.task.attempt)
    }

    /// True where the report is about the attempt that the task waits for, in that state.
    fn is_current(&self, state: StateKind) -> bool {
        self.task.kind() == state && self.is_about_current()
    }

    /// True where the report is about the attempt that the task waits for, which is not in that
    /// state: a repetition, or a report that another one has overtaken. It is no news, and must
    /// not close or abandon an attempt that the task goes on waiting for.
    fn is_out_of_turn(&self, state: StateKind) -> bool {
        self.task.kind() != state && self.is_about_current()
    }

    fn is_about_current(&self) -> bool {
        self.task.attempt.is_some() && self.token() == self.task.attempt
    }

    /// The same rules for what happens to the task itself, whoever reported it.
    fn of_task(&self) -> Self {
        Self { task: self.task, context: Context { attempt: None, ..self.context } }
    }

    fn fact(&self, learned: Learned) -> Vec<Fact> {
        self.token()
            .map(|token| Fact { task: self.task.id, token, at: self.context.now, learned })
            .into_iter()
            .collect()
    }

    fn closed(&self, verdict: Verdict, failure: &Failure) -> Vec<Fact> {
        self.fact(Learned::Closed { verdict, failure: Some(failure.clone()) })
    }

    /// The attempt goes on without its task; its thread counts until the hold time has passed.
    fn abandoned(&self, verdict: Verdict, failure: &Failure) -> Vec<Fact> {
        self.fact(Learned::Abandoned {
            permit_until: self.context.now.plus(self.context.terms.hold_ms),
            verdict,
            failure: failure.clone(),
        })
    }

    fn step(&self, facts: Vec<Fact>, step: &Step, edit: impl FnOnce(&mut Task)) -> Decision {
        let row = RowChange::by(self.task, step, self.context.now, edit).map(Box::new);
        Decision { change: Change { facts, row }, account: AccountSignal::None }
    }

    /// A change of the row within its state.
    fn edit(&self, edit: impl FnOnce(&mut Task)) -> Decision {
        let mut after = self.task.clone();
        edit(&mut after);
        let row = Some(Box::new(RowChange::to(self.task, after, self.context.now)));
        Decision { change: Change { facts: Vec::new(), row }, account: AccountSignal::None }
    }

    fn only(&self, facts: Vec<Fact>) -> Decision {
        Decision { change: Change::of_facts(facts), account: AccountSignal::None }
    }

    /// Retry at `due_at` while submits are left and the caller still waits; else the end.
    fn retry_or_end(
        &self,
        facts: Vec<Fact>,
        failure: &Failure,
        due_at: UnixMs,
        spent: impl FnOnce(&mut Task),
    ) -> Decision {
        if !self.task.may_submit() {
            return self.end(facts, DeadReason::AttemptsExhausted, failure, spent);
        }
        self.retry(facts, failure, due_at, spent)
    }

    /// Retry at `due_at` while the caller still waits; else the end.
    fn retry(
        &self,
        facts: Vec<Fact>,
        failure: &Failure,
        due_at: UnixMs,
        spent: impl FnOnce(&mut Task),
    ) -> Decision {
        if self.task.deadline_at.is_some_and(|deadline| deadline <= due_at) {
            return self.end(facts, DeadReason::Deadline, failure, spent);
        }
        self.step(facts, &Step::Retry { due_at }, |after| {
            spent(after);
            blame(after, failure);
        })
    }

    /// Dead; buried where K is reached, because no redrive could submit it again.
    fn end(
        &self,
        facts: Vec<Fact>,
        reason: DeadReason,
        failure: &Failure,
        spent: impl FnOnce(&mut Task),
    ) -> Decision {
        let step = if self.task.counters.submits >= self.task.max_submits {
            Step::Bury { reason }
        } else {
            Step::Die { reason }
        };
        self.step(facts, &step, |after| {
            spent(after);
            blame(after, failure);
        })
    }

    /// Full jitter by the failures of this round, never below what upstream asked for.
    fn backoff_until(&self, failure: &Failure) -> UnixMs {
        let failures = self.task.round.failures.saturating_add(1);
        let floor_ms = failure.retry_after_ms.unwrap_or(0);
        let wait = self.context.policy.backoff.full_jitter(failures, floor_ms, self.context.random);
        self.context.now.plus(wait)
    }
}

/// Counts one more.
const fn count(n: &mut u32) {
    *n = n.saturating_add(1);
}

/// Counts one failure.
const fn fail(task: &mut Task) {
    count(&mut task.counters.failures);
    count(&mut task.round.failures);
}

/// Writes down what went wrong last.
pub(crate) fn blame(task: &mut Task, failure: &Failure) {
    task.cause = Some(failure.cause.clone());
    task.class = Some(failure.class);
    task.fingerprint = Some(fingerprint::fingerprint(
        failure.cause.as_str(),
        &task.dimensions.method,
        &failure.detail,
    ));
}
