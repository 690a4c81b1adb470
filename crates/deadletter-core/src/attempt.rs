//! An attempt: one submit with what came of it. It can outlive its task's state.

use crate::{
    AccountName, Answer, AttemptToken, Cause, Class, TaskId, UnixMs, UpstreamId, WorkerId,
    backoff::RETRY_AFTER_MAX_MS, label::labels,
};
use serde::{Deserialize, Serialize};

labels! {
    /// What came of an attempt.
    pub enum Verdict {
        /// Claimed, but not a byte was sent: the intent was given back.
        Withheld = "withheld",
        /// Proven not accepted.
        Refused = "refused",
        /// Bytes may have reached upstream; nobody knows whether it was accepted.
        InDoubt = "in_doubt",
        /// It answered.
        Solved = "solved",
        /// Upstream took the job, and then failed it.
        Failed = "failed",
        /// Upstream took the job and did not answer in time.
        TimedOut = "timed_out",
        /// Upstream no longer knew the id.
        Lost = "lost",
    }
}

/// One submit of a task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    /// Its fence.
    pub token: AttemptToken,
    /// The task that it is for.
    pub task: TaskId,
    /// Its number within the task, from 1.
    pub n: u32,
    /// The account whose thread it holds.
    pub account: AccountName,
    /// The worker that last had it in hand.
    pub worker: Option<WorkerId>,
    /// When the intent became durable.
    pub intent_at: UnixMs,
    /// The provider's name for the job.
    pub upstream_id: Option<UpstreamId>,
    /// When upstream's acceptance was read.
    pub accepted_at: Option<UnixMs>,
    /// When a redrive began to wait for it again: its patience starts anew, its age does not.
    pub resumed_at: Option<UnixMs>,
    /// When the task moved on without waiting for it any more.
    pub abandoned_at: Option<UnixMs>,
    /// When nothing more was expected of it.
    pub closed_at: Option<UnixMs>,
    /// What came of it; provisional until closed.
    pub verdict: Option<Verdict>,
    /// The code of its failure.
    pub cause: Option<Cause>,
    /// What that code means.
    pub class: Option<Class>,
    /// What was read, cleaned of keys, URLs' queries and control characters, at most 500 bytes.
    pub detail: Option<String>,
    /// True while it counts against the account's threads.
    pub permit: bool,
    /// When the permit lapses, for an attempt that is abandoned or in doubt.
    pub permit_until: Option<UnixMs>,
}

/// Something learned about an attempt; accepted from that attempt's own token even when the task
/// has moved on.
#[derive(Clone, Debug)]
pub struct Fact {
    /// The attempt's task.
    pub task: TaskId,
    /// The attempt's fence.
    pub token: AttemptToken,
    /// When it was learned.
    pub at: UnixMs,
    /// What.
    pub learned: Learned,
}

/// What was learned of an attempt.
#[derive(Clone, Debug)]
pub enum Learned {
    /// Upstream took the job under this name.
    Accepted(UpstreamId),
    /// Its task waits no longer; it keeps its permit until then, and may still answer.
    Abandoned {
        /// When the permit lapses.
        permit_until: UnixMs,
        /// `TimedOut` or `InDoubt`.
        verdict: Verdict,
        /// Why it was abandoned.
        failure: Failure,
    },
    /// Its task waits for it again, after a redrive.
    Resumed,
    /// A verdict other than an answer: nothing more is expected, the permit is free.
    Closed {
        /// What came of it.
        verdict: Verdict,
        /// The failure, where there was one.
        failure: Option<Failure>,
    },
    /// It answered: the first answer of an attempt stays, the permit is free.
    Answered(Box<Answer>),
}

/// A failure in the words that are stored: code, meaning, and what was read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// The normalised code.
    pub cause: Cause,
    /// What it means.
    pub class: Class,
    /// What was read, already cleaned; may be empty.
    pub detail: String,
    /// The upstream's wish to wait, from `Retry-After` or the code's own time, in milliseconds:
    /// within 0 and [`RETRY_AFTER_MAX_MS`].
    pub retry_after_ms: Option<i64>,
}

impl Failure {
    /// A failure without detail.
    #[must_use]
    pub fn new(cause: &str, class: Class) -> Self {
        Self { cause: Cause::new(cause), class, detail: String::new(), retry_after_ms: None }
    }

    /// The same failure with what was read.
    #[must_use]
    pub fn with_detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = detail.into();
        self
    }

    /// The same failure with upstream's wish to wait, within reason: a hostile or broken header
    /// must not park a task, a poll or an account for years.
    #[must_use]
    pub fn with_retry_after_ms(mut self, ms: Option<i64>) -> Self {
        self.retry_after_ms = ms.map(|ms| ms.clamp(0, RETRY_AFTER_MAX_MS));
        self
    }
}

impl Attempt {
    /// A new attempt, its intent written at `now`.
    #[must_use]
    pub const fn intended(
        token: AttemptToken,
        task: TaskId,
        n: u32,
        account: AccountName,
        worker: WorkerId,
        now: UnixMs,
    ) -> Self {
        Self {
            token,
            task,
            n,
            account,
            worker: Some(worker),
            intent_at: now,
            upstream_id: None,
            accepted_at: None,
            resumed_at: None,
            abandoned_at: None,
            closed_at: None,
            verdict: None,
            cause: None,
            class: None,
            detail: None,
            permit: true,
            permit_until: None,
        }
    }

    /// True while something may still be learned of it.
    #[must_use]
    pub const fn is_open(&self) -> bool {
        self.closed_at.is_none()
    }

    /// Takes a fact in; false (and nothing changed) where it is no news.
    ///
    /// A closed attempt learns nothing but an answer, and that only once. An attempt in doubt still
    /// learns its upstream id, even where it has lapsed: then it can be polled, or resumed. Only an
    /// attempt that may still answer is resumed.
    pub fn learn(&mut self, fact: &Fact) -> bool {
        if fact.token != self.token || self.verdict == Some(Verdict::Solved) {
            return false;
        }
        match &fact.learned {
            Learned::Abandoned { .. } | Learned::Closed { .. } if !self.is_open() => return false,
            Learned::Accepted(upstream_id) => {
                let is_awaited = self.is_open() || self.verdict == Some(Verdict::InDoubt);
                if !is_awaited || self.upstream_id.is_some() {
                    return false;
                }
                self.upstream_id = Some(upstream_id.clone());
                self.accepted_at = Some(fact.at);
            }
            Learned::Abandoned { permit_until, verdict, failure } => {
                self.abandoned_at.get_or_insert(fact.at);
                self.permit_until = Some(*permit_until);
                self.verdict = Some(*verdict);
                self.note(failure);
            }
            Learned::Closed { verdict, failure } => {
                self.close(fact.at, *verdict);
                if let Some(failure) = failure {
                    self.note(failure);
                }
            }
            Learned::Resumed if !self.may_answer() => return false,
            Learned::Resumed => {
                // A permit that has lapsed stays so: upstream has long let go of the thread.
                self.resumed_at = Some(fact.at);
                (self.abandoned_at, self.closed_at, self.permit_until) = (None, None, None);
                (self.verdict, self.cause, self.class, self.detail) = (None, None, None, None);
            }
            Learned::Answered(_) => self.close(fact.at, Verdict::Solved),
        }
        true
    }

    /// True while its upstream id may still give an answer.
    #[must_use]
    pub const fn may_answer(&self) -> bool {
        self.upstream_id.is_some()
            && matches!(self.verdict, None | Some(Verdict::TimedOut | Verdict::InDoubt))
    }

    /// True while no attempt of another task may be given its upstream id: whatever is asked under
    /// that id now is its answer. Upstream may use an id again when this one is closed.
    #[must_use]
    pub fn keeps_its_id_from(&self, other: TaskId) -> bool {
        self.upstream_id.is_some() && self.is_open() && self.task != other
    }

    /// True where its intent was given back, so that it has cost nothing: not a byte of it was sent,
    /// or upstream was full or had stopped the account.
    #[must_use]
    pub fn is_given_back(&self) -> bool {
        match self.verdict {
            Some(Verdict::Withheld) => true,
            Some(Verdict::Refused) => {
                matches!(self.class, Some(Class::Capacity | Class::Account))
            }
            _ => false,
        }
    }

    /// True while it counts against the account's threads.
    #[must_use]
    pub fn holds_permit(&self, now: UnixMs) -> bool {
        self.permit && self.permit_until.is_none_or(|until| until > now)
    }

    /// When nothing more will be expected of an attempt that is abandoned or in doubt. It may have
    /// lost its permit before, if it was resumed after its first hold time.
    #[must_use]
    pub fn lapses_at(&self) -> Option<UnixMs> {
        self.permit_until.filter(|_| self.permit || self.is_open())
    }

    /// True while something may still come of it: a verdict, or an answer that is late.
    #[must_use]
    pub fn is_awaited(&self, now: UnixMs) -> bool {
        self.holds_permit(now) || self.is_open() && self.lapses_at().is_none_or(|at| at > now)
    }

    /// Closes an abandoned attempt and frees its permit when its time has come; true where it did.
    pub fn lapse(&mut self, now: UnixMs) -> bool {
        if self.lapses_at().is_none_or(|at| at > now) {
            return false;
        }
        self.permit = false;
        self.closed_at.get_or_insert(now);
        true
    }

    fn close(&mut self, at: UnixMs, verdict: Verdict) {
        self.closed_at = Some(at);
        self.verdict = Some(verdict);
        self.permit = false;
        self.permit_until = None;
    }

    fn note(&mut self, failure: &Failure) {
        self.cause = Some(failure.cause.clone());
        self.class = Some(failure.class);
        self.detail = (!failure.detail.is_empty()).then(|| failure.detail.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples::{THEN, task};

    fn attempt() -> Attempt {
        let token = AttemptToken::from_random(2);
        let worker = WorkerId::new("w").expect("valid");
        Attempt::intended(token, task().id, 1, task().account, worker, THEN)
    }

    fn fact(learned: Learned) -> Fact {
        Fact { task: task().id, token: AttemptToken::from_random(2), at: THEN, learned }
    }

    fn abandoned(verdict: Verdict) -> Learned {
        let failure = Failure::new("X", Class::Transient);
        Learned::Abandoned { permit_until: THEN.plus(5), verdict, failure }
    }

    #[test]
    fn only_an_attempt_that_may_still_answer_is_resumed() {
        let mut nameless = attempt();
        assert!(nameless.learn(&fact(abandoned(Verdict::InDoubt))));
        assert!(!nameless.learn(&fact(Learned::Resumed)), "there is no id to ask for");
        let mut failed = attempt();
        assert!(failed.learn(&fact(Learned::Accepted(UpstreamId::new("u").expect("valid")))));
        assert!(failed.learn(&fact(Learned::Closed { verdict: Verdict::Failed, failure: None })));
        assert!(!failed.learn(&fact(Learned::Resumed)), "upstream has said its last word");
        let mut silent = attempt();
        assert!(silent.learn(&fact(Learned::Accepted(UpstreamId::new("u").expect("valid")))));
        assert!(silent.learn(&fact(abandoned(Verdict::TimedOut))));
        assert!(silent.learn(&fact(Learned::Resumed)));
        assert_eq!(
            (silent.abandoned_at, silent.permit, silent.resumed_at),
            (None, true, Some(THEN))
        );
    }

    #[test]
    fn an_abandoned_attempt_lapses_once_when_its_time_has_come() {
        let mut attempt = attempt();
        assert!(!attempt.lapse(THEN.plus(9)), "an awaited attempt does not lapse");
        assert!(attempt.learn(&fact(abandoned(Verdict::InDoubt))));
        assert!(!attempt.lapse(THEN.plus(4)) && attempt.holds_permit(THEN.plus(4)));
        assert!(!attempt.holds_permit(THEN.plus(5)), "the time alone frees it");
        assert!(attempt.lapse(THEN.plus(5)) && !attempt.permit && !attempt.is_open());
        assert!(!attempt.lapse(THEN.plus(9)));
    }

    #[test]
    fn no_upstream_parks_anything_for_years() {
        let asked = |ms| Failure::new("X", Class::Account).with_retry_after_ms(ms).retry_after_ms;
        assert_eq!(asked(Some(i64::MAX)), Some(RETRY_AFTER_MAX_MS));
        assert_eq!((asked(Some(-5)), asked(Some(7)), asked(None)), (Some(0), Some(7), None));
    }

    #[test]
    fn a_fact_under_another_token_is_no_news() {
        let mut attempt = attempt();
        let stray =
            Fact { token: AttemptToken::from_random(8), ..fact(abandoned(Verdict::InDoubt)) };
        assert!(!attempt.learn(&stray));
        assert_eq!(attempt, super::tests::attempt());
    }
}
