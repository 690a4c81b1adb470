//! The seven states of a task, the steps between them, and the one table of transitions.

use crate::{UnixMs, UpstreamId, label::labels};
use serde::{Deserialize, Serialize};

labels! {
    /// A state without what is true in it: for counting, filtering and drawing. Its description is
    /// the one in the documentation.
    pub enum StateKind {
        /// Waiting until `due_at`: new, or for a retry, for a free thread, for an account or a breaker, or
        /// because an operation brought it back. Nobody holds a lease. It leaves by being claimed, by its
        /// deadline, by a late id or answer of an earlier attempt, or because its owner stops it.
        Queued = "queued",
        /// A worker holds the lease and the intent is durable: bytes may be on the wire. It leaves by
        /// upstream's verdict, by an outcome that nobody knows, or because its worker was declared dead;
        /// both of the last two count as in doubt, never as refused.
        Submitting = "submitting",
        /// Upstream took the job under an upstream id, and works on it. Silence, an open breaker or a
        /// network error keep it here. It leaves by the answer, by upstream's word that the job failed, or
        /// when it is still not ready past the attempt's time-out, or past its deadline. A stopping worker
        /// gives the lease back
        /// and leaves the task here for the next one.
        Polling = "polling",
        /// The answer is stored, and every question gets it until its retention ends. It leaves by purge.
        Solved = "solved",
        /// In the dead-letter queue, with its reason, cause, history and request. It leaves by a redrive
        /// (to `polling` where a paid upstream id may still answer, else to `queued`), by a late answer,
        /// by being buried or cancelled, or by purge.
        Dead = "dead",
        /// Given up for good: every submit that K allows was spent, or a person said so. Kept for
        /// analysis, never redriven by itself. It leaves by exhume, by a late answer, or by purge.
        Buried = "buried",
        /// Stopped by its owner. A late answer is stored, unused. It leaves by purge.
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
    /// A step without its facts. Its description is the one in the documentation.
    pub enum StepKind {
        /// A worker takes a due task: the lease and the intent of a new attempt, in one write. It spends a
        /// submit, and is refused where the round or K allows no more.
        Claim = "claim",
        /// The attempt failed and another is allowed: back into the queue, after a wait with full jitter or
        /// at once. An attempt that may still answer is polled on without its task.
        Retry = "retry",
        /// Nothing was spent: upstream was full, the account or the breaker stands still, or the worker
        /// chose not to send. The intent is given back.
        Snooze = "snooze",
        /// Upstream took the job and named it; from here on the id is asked until a verdict. Where the
        /// submit was in doubt and its task waits for another one, the id that comes late is asked instead.
        Accept = "accept",
        /// Upstream answered the attempt that the task waits for.
        Solve = "solve",
        /// An earlier attempt answered after the task had moved on. The first answer wins, whatever the
        /// task has come to, unless it was cancelled.
        LateAnswer = "late_answer",
        /// The round is spent, the request cannot work, or the caller's patience ended: into the dead-letter
        /// queue with the reason.
        Die = "die",
        /// Given up for good: by the failure that reaches K, or by hand.
        Bury = "bury",
        /// A redrive of a task whose last upstream id may still answer: it is asked again, and nothing is
        /// submitted.
        Resume = "resume",
        /// An operation brings a dead letter back into the queue, with room for more submits within K.
        Redrive = "redrive",
        /// A buried task becomes a dead letter again, and K may rise for it.
        Exhume = "exhume",
        /// Its owner stops it. An attempt under way keeps its thread until its hold time ends.
        Cancel = "cancel",
        /// Deleted with all that is its own: its retention ended, or an operator removed it. Only the count
        /// of purged tasks remembers it.
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
        (K::Queued | K::Submitting, Step::Accept { upstream_id })
        | (K::Dead, Step::Resume { upstream_id }) => {
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
