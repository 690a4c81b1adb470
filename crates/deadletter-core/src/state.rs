//! The seven states of a task, the steps between them, and the one table of transitions.

use crate::{UnixMs, UpstreamId, label::labels};
use serde::{Deserialize, Serialize};

labels! {
    /// A state without what is true in it: for counting, filtering and drawing.
    pub enum StateKind {
        /// Waiting: new, retry, capacity, redrive.
        Queued = "queued",
        /// Lease held, the intent is durable, bytes may be on the wire.
        Submitting = "submitting",
        /// Upstream works on it.
        Polling = "polling",
        /// The answer is stored until its retention ends.
        Solved = "solved",
        /// In the dead-letter queue.
        Dead = "dead",
        /// Given up for good; kept for analysis.
        Buried = "buried",
        /// Stopped by its owner.
        Cancelled = "cancelled",
    }
}

labels! {
    /// Why a queued task waits.
    pub enum Why {
        /// Accepted, not yet claimed.
        New = "new",
        /// Its last attempt failed; backoff.
        Retry = "retry",
        /// Upstream had no free thread.
        Capacity = "capacity",
        /// Brought back from the dead-letter queue.
        Redrive = "redrive",
        /// The breaker is open.
        Breaker = "breaker",
        /// The account is stopped.
        Account = "account",
        /// The worker that claimed it stopped before it sent anything.
        Released = "released",
    }
}

labels! {
    /// Why a task is dead or buried.
    pub enum DeadReason {
        /// Every submit that was allowed has failed.
        AttemptsExhausted = "attempts_exhausted",
        /// The request can never work.
        Permanent = "permanent",
        /// The request needs fresh parameters.
        StaleInput = "stale_input",
        /// No proxy that was given works.
        Proxy = "proxy",
        /// Upstream said something that no table knows.
        Unknown = "unknown",
        /// The caller's patience ended.
        Deadline = "deadline",
        /// A submit's outcome is unknown, and the policy is not to submit again.
        InDoubt = "in_doubt",
        /// Upstream forgot the id, twice.
        UpstreamLost = "upstream_lost",
        /// The task's own step panicked, or its submit took workers down, three times.
        Panicked = "panicked",
    }
}

/// The state of a task: each variant carries only what is true in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum State {
    /// Waiting until `due_at`.
    Queued {
        /// Not claimed before this instant.
        due_at: UnixMs,
        /// Why it waits.
        why: Why,
    },
    /// A submit is under way.
    Submitting,
    /// Upstream works on `upstream_id`.
    Polling {
        /// The provider's name for the job.
        upstream_id: UpstreamId,
    },
    /// The answer is stored.
    Solved,
    /// In the dead-letter queue.
    Dead {
        /// Why.
        reason: DeadReason,
    },
    /// Given up for good.
    Buried {
        /// Why.
        reason: DeadReason,
    },
    /// Stopped by its owner.
    Cancelled,
}

impl State {
    /// The state without its facts.
    #[must_use]
    pub const fn kind(&self) -> StateKind {
        match self {
            Self::Queued { .. } => StateKind::Queued,
            Self::Submitting => StateKind::Submitting,
            Self::Polling { .. } => StateKind::Polling,
            Self::Solved => StateKind::Solved,
            Self::Dead { .. } => StateKind::Dead,
            Self::Buried { .. } => StateKind::Buried,
            Self::Cancelled => StateKind::Cancelled,
        }
    }

    /// Why the task is dead or buried.
    #[must_use]
    pub const fn reason(&self) -> Option<DeadReason> {
        match self {
            Self::Dead { reason } | Self::Buried { reason } => Some(*reason),
            _ => None,
        }
    }
}

impl StateKind {
    /// True where nothing happens by itself any more: each entry is an event.
    #[must_use]
    pub const fn is_terminal(self) -> bool {
        matches!(self, Self::Solved | Self::Dead | Self::Buried | Self::Cancelled)
    }

    /// True where a worker holds the task's lease while it works on it.
    #[must_use]
    pub const fn is_leased(self) -> bool {
        matches!(self, Self::Submitting | Self::Polling)
    }
}

/// One step of a task from state to state, as chosen by `decide`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// A worker takes it and writes the intent.
    Claim,
    /// The attempt failed: wait for the next one.
    Retry {
        /// When.
        due_at: UnixMs,
    },
    /// Wait without spending a failure.
    Snooze {
        /// Until when.
        due_at: UnixMs,
        /// What for.
        why: Why,
    },
    /// Upstream took the job.
    Accept {
        /// Under this name.
        upstream_id: UpstreamId,
    },
    /// Upstream answered the current attempt.
    Solve,
    /// An earlier attempt answered after the task had moved on.
    LateAnswer,
    /// Into the dead-letter queue.
    Die {
        /// Why.
        reason: DeadReason,
    },
    /// Given up for good.
    Bury {
        /// Why.
        reason: DeadReason,
    },
    /// Back to an upstream id that is already paid for.
    Resume {
        /// The id that may still give an answer.
        upstream_id: UpstreamId,
    },
    /// Back into the queue by an operation.
    Redrive {
        /// When.
        due_at: UnixMs,
    },
    /// A buried task becomes a dead letter again, with room for more submits.
    Exhume,
    /// Stopped by its owner.
    Cancel,
    /// Deleted: its retention ended or an operator removed it.
    Purge,
}

labels! {
    /// A step without its facts: for the table in the documentation.
    pub enum StepKind {
        /// See [`Step::Claim`].
        Claim = "claim",
        /// See [`Step::Retry`].
        Retry = "retry",
        /// See [`Step::Snooze`].
        Snooze = "snooze",
        /// See [`Step::Accept`].
        Accept = "accept",
        /// See [`Step::Solve`].
        Solve = "solve",
        /// See [`Step::LateAnswer`].
        LateAnswer = "late_answer",
        /// See [`Step::Die`].
        Die = "die",
        /// See [`Step::Bury`].
        Bury = "bury",
        /// See [`Step::Resume`].
        Resume = "resume",
        /// See [`Step::Redrive`].
        Redrive = "redrive",
        /// See [`Step::Exhume`].
        Exhume = "exhume",
        /// See [`Step::Cancel`].
        Cancel = "cancel",
        /// See [`Step::Purge`].
        Purge = "purge",
    }
}

impl Step {
    /// The step without its facts.
    #[must_use]
    pub const fn kind(&self) -> StepKind {
        match self {
            Self::Claim => StepKind::Claim,
            Self::Retry { .. } => StepKind::Retry,
            Self::Snooze { .. } => StepKind::Snooze,
            Self::Accept { .. } => StepKind::Accept,
            Self::Solve => StepKind::Solve,
            Self::LateAnswer => StepKind::LateAnswer,
            Self::Die { .. } => StepKind::Die,
            Self::Bury { .. } => StepKind::Bury,
            Self::Resume { .. } => StepKind::Resume,
            Self::Redrive { .. } => StepKind::Redrive,
            Self::Exhume => StepKind::Exhume,
            Self::Cancel => StepKind::Cancel,
            Self::Purge => StepKind::Purge,
        }
    }
}

/// Where a step leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// To this state.
    State(State),
    /// Out of the store; only the count of purged tasks remembers it.
    Purged,
}

/// The whole transition table. `None`: the step does not exist in that state.
#[must_use]
pub fn next(from: &State, step: &Step) -> Option<Next> {
    use StateKind as K;
    let to = match (from.kind(), step) {
        (K::Queued, Step::Claim) => State::Submitting,

        (K::Submitting | K::Polling, Step::Retry { due_at }) => {
            State::Queued { due_at: *due_at, why: Why::Retry }
        }
        (K::Queued | K::Submitting, Step::Snooze { due_at, why }) => {
            State::Queued { due_at: *due_at, why: *why }
        }
        (K::Submitting, Step::Accept { upstream_id }) | (K::Dead, Step::Resume { upstream_id }) => {
            State::Polling { upstream_id: upstream_id.clone() }
        }

        (K::Polling, Step::Solve) => State::Solved,
        (K::Queued | K::Submitting | K::Polling | K::Dead | K::Buried, Step::LateAnswer) => {
            State::Solved
        }

        (K::Queued | K::Submitting | K::Polling, Step::Die { reason }) => {
            State::Dead { reason: *reason }
        }
        (K::Queued | K::Submitting | K::Polling | K::Dead, Step::Bury { reason }) => {
            State::Buried { reason: *reason }
        }
        (K::Dead, Step::Redrive { due_at }) => State::Queued { due_at: *due_at, why: Why::Redrive },
        (K::Buried, Step::Exhume) => State::Dead { reason: from.reason()? },
        (K::Queued | K::Submitting | K::Polling | K::Dead, Step::Cancel) => State::Cancelled,

        (K::Solved | K::Dead | K::Buried | K::Cancelled, Step::Purge) => return Some(Next::Purged),
        _ => return None,
    };
    Some(Next::State(to))
}
