//! The numbers that `decide` works with, after the article's and the vendor's habits.

use crate::{
    Round,
    backoff::{Backoff, CapacitySnooze},
    label::labels,
};
use serde::{Deserialize, Serialize};

labels! {
    /// What to do with a submit whose outcome nobody knows.
    pub enum OnDoubt {
        /// Submit again: right where a duplicate costs a thread and not money.
        Resubmit = "resubmit",
        /// Into the dead-letter queue, for a person to decide.
        DeadLetter = "dead_letter",
    }
}

/// The rules' numbers for one account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Policy {
    /// Submits of a new task: one and three retries, as in the article.
    pub first_submits: u32,
    /// Submits that each redrive grants.
    pub redrive_submits: u32,
    /// K: submits in all; the failure of the last one buries.
    pub max_submits: u32,
    /// "Unsolvable" verdicts after which a round ends: the first and two more.
    pub max_unsolvable: u32,
    /// "Unknown id" verdicts after which a round ends.
    pub max_lost: u32,
    /// Failures after which a round ends where not even the last submit left this machine. They are
    /// waited out with the backoff, a minute at the longest, and nothing is paid for meanwhile.
    pub max_unsent: u32,
    /// Panics after which a task is dead.
    pub max_panics: u32,
    /// Outcome unknown: submit again or not.
    pub on_doubt: OnDoubt,
    /// Wait between failures.
    pub backoff: Backoff,
    /// Wait after a refusal for capacity.
    pub capacity: CapacitySnooze,
    /// How long an upstream id may be resumed where the type of answer does not expire.
    pub resume_for_ms: i64,
}

impl Policy {
    /// K of a new task: at least 1, or it would wait for ever and nobody would hear of it.
    #[must_use]
    pub fn k(&self) -> u32 {
        self.max_submits.max(1)
    }

    /// The round that a new task begins with: at least one submit, and no more than K.
    #[must_use]
    pub fn first_round(&self) -> Round {
        Round { allowance: self.first_submits.clamp(1, self.k()), ..Round::default() }
    }
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            first_submits: 4,
            redrive_submits: 2,
            max_submits: 7,
            max_unsolvable: 3,
            max_lost: 2,
            // Half an hour.
            max_unsent: 36,
            max_panics: 3,
            on_doubt: OnDoubt::Resubmit,
            backoff: Backoff::default(),
            capacity: CapacitySnooze::default(),
            resume_for_ms: 24 * 3_600_000,
        }
    }
}

/// What is known of one method of a provider: defaults, not rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Terms {
    /// First poll after acceptance, in milliseconds.
    pub first_poll_ms: i64,
    /// Later polls.
    pub poll_gap_ms: i64,
    /// An attempt that is "not ready" past this time is abandoned.
    pub timeout_ms: i64,
    /// How long an abandoned or doubtful attempt counts against the account's threads.
    pub hold_ms: i64,
    /// How long an answer is of use; none where it does not expire.
    pub fresh_ms: Option<i64>,
}

impl Default for Terms {
    fn default() -> Self {
        Self {
            first_poll_ms: 10_000,
            poll_gap_ms: 5_000,
            timeout_ms: 120_000,
            hold_ms: 180_000,
            fresh_ms: Some(120_000),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_task_may_always_be_submitted_and_never_more_than_k_times() {
        for (first_submits, max_submits, allowance, k) in
            [(4, 7, 4, 7), (0, 7, 1, 7), (9, 7, 7, 7), (4, 0, 1, 1)]
        {
            let policy = Policy { first_submits, max_submits, ..Policy::default() };
            assert_eq!((policy.first_round().allowance, policy.k()), (allowance, k));
        }
    }
}
