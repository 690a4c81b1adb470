//! A task: the narrow, hot row that every store keeps, without payload and answer.

use crate::{
    AccountName, AttemptToken, Cause, Class, DeadReason, Policy, State, StateKind, TaskId, UnixMs,
    Why, WorkerId, label::labels, limits,
};
use serde::{Deserialize, Serialize};

/// Deaths of workers after which a task is claimed alone; the next one counts against itself.
const SUSPECT_DEATHS: u32 = 2;

/// The priority of a task that names none: the third of four.
pub const NORMAL_PRIORITY: u8 = 2;

labels! {
    /// Who may claim a queued task: each lane has a limit of its own.
    pub enum Lane {
        /// A first submit, or the first submit of a redrive (its operation has a rate).
        First = "first",
        /// A retry: draws on the retry budget.
        Retry = "retry",
        /// Was being submitted in two deaths of workers: claimed alone.
        Suspect = "suspect",
    }
}

/// What a task is counted, filtered and shown by. Set at insert, never changed, never secret.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Dimensions {
    /// The kind of job, in the provider's words (`userrecaptcha`).
    pub method: String,
    /// The site key, where the method has one.
    pub sitekey: Option<String>,
    /// Host of the page, without scheme, port and path.
    pub host: Option<String>,
    /// The first proxy given, as `host:port`, without credentials.
    pub proxy: Option<String>,
    /// The batch that the task came with.
    pub batch: Option<String>,
    /// Free words of the owner.
    pub tags: Vec<String>,
}

/// What has been spent on a task. All but `attempts` are limits' measures; all accumulate over
/// redrives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Counters {
    /// Attempts ever begun; the newest attempt's number.
    pub attempts: u32,
    /// Intents that were not given back: what may have been paid for.
    pub submits: u32,
    /// Failures that were the job's or the line's.
    pub failures: u32,
    /// Capacity refusals: nothing was spent.
    pub refusals: u32,
    /// Panics of the task's own step.
    pub panics: u32,
    /// Times an operation brought it back.
    pub redrives: u32,
    /// Times a worker died while it was being submitted.
    pub deaths: u32,
}

/// What a round (from insert or redrive to the next rest) allows and has used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Round {
    /// `submits` may reach this number before the task dies.
    pub allowance: u32,
    /// Failures in this round: the backoff grows with it.
    pub failures: u32,
    /// "Unsolvable" verdicts in this round.
    pub unsolvable: u32,
    /// "Unknown id" verdicts in this round.
    pub lost: u32,
    /// Capacity refusals in a row: the snooze grows with it.
    pub refusals: u32,
    /// Proxies of the request that have failed.
    pub proxies_failed: u32,
}

/// A task as the store keeps it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Task {
    /// Its id, chosen before the insert.
    pub id: TaskId,
    /// Exactly one of seven.
    #[serde(flatten)]
    pub state: State,
    /// Row version: each applied change adds one. A change names the version that it read.
    pub version: u64,
    /// The account that it is submitted to.
    pub account: AccountName,
    /// Who holds the lease; only a claimed or adopted task has one.
    pub worker: Option<WorkerId>,
    /// Token of the current attempt, from claim until the attempt's end.
    pub attempt: Option<AttemptToken>,
    /// 0 (first) to 3 (best effort).
    pub priority: u8,
    /// Fair turn between owners: lower goes first within a priority.
    pub turn: i64,
    /// The hold that keeps it from being claimed.
    pub hold: Option<String>,
    /// The caller's patience: after it, nothing new is submitted.
    pub deadline_at: Option<UnixMs>,
    /// What was spent.
    pub counters: Counters,
    /// What this round allows.
    pub round: Round,
    /// K: `submits` never exceeds it. Raised by exhume alone.
    pub max_submits: u32,
    /// How many proxies the request names.
    pub proxies: u32,
    /// The last failure's code.
    pub cause: Option<Cause>,
    /// What that code means.
    pub class: Option<Class>,
    /// Group of equal failures (`fingerprint`), as 16 hex digits.
    pub fingerprint: Option<String>,
    /// Name of the key that owns it: others do not see it.
    pub owner: Option<String>,
    /// Unique per owner until it expires.
    pub idempotency_key: Option<String>,
    /// When the idempotency key may be used for another task.
    pub idempotency_expires_at: Option<UnixMs>,
    /// Where its ends are told: host and port of the target, whose whole URL, which may hold a
    /// secret, stands in its request. Set at insert, never changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub place: Option<String>,
    /// The task that this one repeats.
    pub parent: Option<TaskId>,
    /// The attempt whose answer is the task's answer.
    pub answered_by: Option<AttemptToken>,
    /// When an owner first read the verdict.
    pub verdict_read_at: Option<UnixMs>,
    /// When it was accepted.
    pub created_at: UnixMs,
    /// When its row last changed.
    pub updated_at: UnixMs,
    /// What it is counted by.
    #[serde(flatten)]
    pub dimensions: Dimensions,
}

impl Task {
    /// A new task: due at once, nothing spent, of normal priority, with the submits that `policy`
    /// allows it, and counted by nothing yet. Whatever else it shall be is written over this.
    #[must_use]
    pub fn queued(id: TaskId, account: AccountName, policy: &Policy, now: UnixMs) -> Self {
        Self {
            id,
            state: State::Queued { due_at: now, why: Why::New },
            version: 1,
            account,
            worker: None,
            attempt: None,
            priority: NORMAL_PRIORITY,
            turn: 0,
            hold: None,
            deadline_at: None,
            counters: Counters::default(),
            round: policy.first_round(),
            max_submits: policy.k(),
            proxies: 0,
            cause: None,
            class: None,
            fingerprint: None,
            owner: None,
            idempotency_key: None,
            idempotency_expires_at: None,
            place: None,
            parent: None,
            answered_by: None,
            verdict_read_at: None,
            created_at: now,
            updated_at: now,
            dimensions: Dimensions::default(),
        }
    }

    /// The hold that a person sets and releases; others keep a task until what they say is mended.
    pub const HELD_BY_HAND: &'static str = "by_hand";

    /// True where a hold would keep it from something, and none does.
    #[must_use]
    pub const fn may_be_held(&self) -> bool {
        matches!(self.state, State::Queued { .. } | State::Dead { .. }) && self.hold.is_none()
    }

    /// True where a person has set its hold.
    #[must_use]
    pub fn is_held_by_hand(&self) -> bool {
        self.hold.as_deref() == Some(Self::HELD_BY_HAND)
    }

    /// The lane in which a queued task is claimed.
    #[must_use]
    pub const fn lane(&self) -> Lane {
        if self.is_suspect() {
            Lane::Suspect
        } else if matches!(self.state, State::Queued { why: Why::Retry, .. }) {
            Lane::Retry
        } else {
            Lane::First
        }
    }

    /// True where it was being submitted in so many deaths of workers that it may be the reason: one
    /// death is an accident, and all that was on the wire then was there with it.
    #[must_use]
    pub const fn is_suspect(&self) -> bool {
        self.counters.deaths >= SUSPECT_DEATHS
    }

    /// When a queued task may be claimed.
    #[must_use]
    pub const fn due_at(&self) -> Option<UnixMs> {
        match self.state {
            State::Queued { due_at, .. } => Some(due_at),
            _ => None,
        }
    }

    /// Shorthand for `self.state.kind()`.
    #[must_use]
    pub const fn kind(&self) -> StateKind {
        self.state.kind()
    }

    /// Why it is dead or buried.
    #[must_use]
    pub const fn reason(&self) -> Option<DeadReason> {
        self.state.reason()
    }

    /// True for a dead letter whose answer nobody would get: whoever asked for it was told of its
    /// death, or has waited for as long as it meant to, and is gone; no delivery tells of a later
    /// answer, and no batch is resumed.
    #[must_use]
    pub fn nobody_waits(&self) -> bool {
        let is_gone = self.verdict_read_at.is_some() || self.reason() == Some(DeadReason::Deadline);
        let is_delivered = self.place.is_some() || self.dimensions.batch.is_some();
        self.kind() == StateKind::Dead && is_gone && !is_delivered
    }

    /// True while one more submit keeps `submits` within this round's allowance and K.
    #[must_use]
    pub const fn may_submit(&self) -> bool {
        self.counters.submits < self.round.allowance && self.counters.submits < self.max_submits
    }
}

impl NewTask {
    /// A new job.
    ///
    /// Errors: a part that somebody chose is larger than what is stored.
    pub fn new(task: Task, payload: crate::Payload) -> Result<Self, crate::TooLarge> {
        limits::check(&task, &payload)?;
        Ok(Self { task, payload, past: crate::Past::default(), is_folded: false })
    }
}

/// A task to insert: what the caller chose, with the payload that only `requests` keeps.
#[derive(Clone, Debug)]
pub struct NewTask {
    /// The row as it will be stored: queued and at version 1, unless it comes from another store.
    pub task: Task,
    /// What is sent upstream.
    pub payload: crate::Payload,
    /// What it brings along from another store; nothing for a new job.
    pub past: crate::Past,
    /// True where its idempotency key leads to another task only while that one is open: queued,
    /// submitting or polling. From one that has ended the key passes to this task.
    pub is_folded: bool,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples::{THEN, task};

    #[test]
    fn nobody_waits_for_a_dead_letter_whose_death_was_told_unless_it_is_delivered_or_resumed() {
        let dead = |reason| Task { state: State::Dead { reason }, ..task() };
        let untold = dead(DeadReason::AttemptsExhausted);
        let told = Task { verdict_read_at: Some(THEN), ..untold.clone() };
        let batch = Some("nightly".to_owned());
        let of_batch = Dimensions { batch, ..told.dimensions.clone() };
        for (task, nobody_waits) in [
            (&untold, false),
            (&told, true),
            (&dead(DeadReason::Deadline), true),
            (&Task { place: Some("a.example".to_owned()), ..told.clone() }, false),
            (&Task { dimensions: of_batch, ..told.clone() }, false),
            (&Task { state: State::Solved, ..told.clone() }, false),
        ] {
            assert_eq!(task.nobody_waits(), nobody_waits, "{task:?}");
        }
    }
}
