//! What follows from sending: accepted, refused, unsent, in doubt, withheld, died on the way.

use super::{AccountSignal, Decision, Rules, blame, count, fail};
use crate::{
    Attempt, Cause, Class, DeadReason, Fact, Failure, Learned, OnDoubt, StateKind, Step, Task,
    UnixMs, UpstreamId, Verdict, Why,
};

impl Rules<'_> {
    pub(super) fn accepted(&self, upstream_id: &UpstreamId) -> Decision {
        let healthy = AccountSignal::Healthy;
        if self.is_out_of_turn(StateKind::Submitting) {
            return Decision::signal(healthy);
        }
        let mut facts = self.fact(Learned::Accepted(upstream_id.clone()));
        let step = Step::Accept { upstream_id: upstream_id.clone() };
        let decision = if self.is_current(StateKind::Submitting) {
            self.step(facts, &step, |after| after.round.refusals = 0)
        } else if let Some(attempt) = self.in_doubt_until_now() {
            // What is paid for is asked before anything is submitted again.
            facts.extend(self.fact(Learned::Resumed));
            self.step(facts, &step, |after| {
                after.round.refusals = 0;
                after.attempt = Some(attempt.token);
            })
        } else {
            // The task moved on while we were away: the job is paid for and may answer late.
            let late = Failure::new(Cause::NETWORK, Class::Transient)
                .with_detail("accepted after the task had moved on");
            facts.extend(self.abandoned(Verdict::InDoubt, &late));
            self.only(facts)
        };
        Decision { account: healthy, ..decision }
    }

    /// The attempt that the report is about, where its task waits in the queue because nobody knew
    /// whether it was accepted. Held tasks go on waiting.
    fn in_doubt_until_now(&self) -> Option<&Attempt> {
        let attempt = self.context.attempt?;
        let is_unknown = attempt.is_open() || attempt.verdict == Some(Verdict::InDoubt);
        let may_go_on = self.task.kind() == StateKind::Queued && self.task.hold.is_none();
        (attempt.upstream_id.is_none() && is_unknown && may_go_on).then_some(attempt)
    }

    /// Accepted, but under a name by which nobody can ask: one token would go to two tasks. The
    /// attempt learns no id, so it is not polled, and holds its thread like any other in doubt.
    pub(super) fn not_unique(&self, upstream_id: &UpstreamId) -> Decision {
        let failure = Failure::new(Cause::ID_NOT_UNIQUE, Class::Transient).with_detail(format!(
            "upstream named it {upstream_id}, like an open job of another task"
        ));
        Decision { account: AccountSignal::Healthy, ..self.in_doubt(&failure) }
    }

    pub(super) fn refused(&self, failure: &Failure) -> Decision {
        let account = match failure.class {
            Class::Capacity => AccountSignal::Full(failure.clone()),
            Class::Account => AccountSignal::Stop(failure.clone()),
            Class::Transient => AccountSignal::Outage,
            _ => AccountSignal::Healthy,
        };
        if self.is_out_of_turn(StateKind::Submitting) {
            return Decision::signal(account);
        }
        let facts = self.closed(Verdict::Refused, failure);
        if !self.is_current(StateKind::Submitting) {
            return Decision { account, ..self.only(facts) };
        }
        let decision = match failure.class {
            Class::Capacity => self.snooze_for_capacity(facts, failure),
            Class::Account => {
                let step = Step::Snooze { due_at: self.context.now, why: Why::Account };
                self.step(facts, &step, give_back)
            }
            Class::Transient => {
                self.retry_or_end(facts, failure, self.backoff_until(failure), fail)
            }
            Class::Unsolvable => self.unsolvable(facts, failure),
            Class::Proxy => self.proxy_failed(facts, failure),
            Class::Permanent | Class::Lost => {
                self.end(facts, DeadReason::Permanent, failure, |_| ())
            }
            Class::Stale => self.end(facts, DeadReason::StaleInput, failure, |_| ()),
            Class::Unknown => self.end(facts, DeadReason::Unknown, failure, |_| ()),
        };
        Decision { account, ..decision }
    }

    pub(super) fn unsent(&self, failure: &Failure) -> Decision {
        if self.is_out_of_turn(StateKind::Submitting) {
            return Decision::signal(AccountSignal::Outage);
        }
        let facts = self.closed(Verdict::Withheld, failure);
        let decision = if self.is_current(StateKind::Submitting) {
            self.try_again_unsent(facts, failure)
        } else {
            self.only(facts)
        };
        Decision { account: AccountSignal::Outage, ..decision }
    }

    /// Nothing was paid for, so nothing of K is spent: an upstream that is away for a minute must not
    /// use up a task's submits in its first seconds. Not for ever, where nobody is there at all.
    fn try_again_unsent(&self, facts: Vec<Fact>, failure: &Failure) -> Decision {
        let spent = |after: &mut Task| {
            fail(after);
            give_back(after);
        };
        if self.task.round.failures.saturating_add(1) >= self.context.policy.max_unsent {
            let step = Step::Die { reason: DeadReason::AttemptsExhausted };
            return self.step(facts, &step, |after| {
                spent(after);
                blame(after, failure);
            });
        }
        self.retry(facts, failure, self.backoff_until(failure), spent)
    }

    pub(super) fn in_doubt(&self, failure: &Failure) -> Decision {
        if self.is_out_of_turn(StateKind::Submitting) {
            return Decision::signal(AccountSignal::Outage);
        }
        let facts = self.abandoned(Verdict::InDoubt, failure);
        let decision = if self.is_current(StateKind::Submitting) {
            self.submit_again_or_not(facts, failure, self.backoff_until(failure), fail)
        } else {
            self.only(facts)
        };
        Decision { account: AccountSignal::Outage, ..decision }
    }

    /// What the policy says of a submit in doubt: again, or a dead letter; never without a word.
    pub(super) fn submit_again_or_not(
        &self,
        facts: Vec<Fact>,
        failure: &Failure,
        due_at: UnixMs,
        spent: impl FnOnce(&mut Task),
    ) -> Decision {
        match self.context.policy.on_doubt {
            OnDoubt::Resubmit => self.retry_or_end(facts, failure, due_at, spent),
            OnDoubt::DeadLetter => self.end(facts, DeadReason::InDoubt, failure, spent),
        }
    }

    pub(super) fn withheld(&self, why: Why, due_at: UnixMs) -> Decision {
        if self.is_out_of_turn(StateKind::Submitting) {
            return Decision::default();
        }
        let facts = self.fact(Learned::Closed { verdict: Verdict::Withheld, failure: None });
        if self.is_current(StateKind::Submitting) {
            self.step(facts, &Step::Snooze { due_at, why }, give_back)
        } else {
            self.only(facts)
        }
    }

    /// A rescued `submitting` task: the bytes may have been on the wire.
    pub(super) fn worker_died(&self) -> Decision {
        let failure = Failure::new(Cause::WORKER_DIED, Class::Transient)
            .with_detail("the worker died while this task was being submitted");
        if !self.is_current(StateKind::Submitting) {
            return Decision::default();
        }
        let facts = self.abandoned(Verdict::InDoubt, &failure);
        let died = |after: &mut Task| count(&mut after.counters.deaths);
        // Claimed alone, it can blame nobody else.
        if self.task.is_suspect() {
            self.end(facts, DeadReason::Panicked, &failure, died)
        } else {
            self.submit_again_or_not(facts, &failure, self.context.now, died)
        }
    }

    /// It may have been paid for, and what would come of it has no place in the store: nobody but a
    /// person can say whether to submit it again, whatever the policy says of other doubts.
    pub(super) fn attempt_missing(&self) -> Decision {
        if !self.task.kind().is_leased() {
            return Decision::default();
        }
        let failure = Failure::new(Cause::ATTEMPT_MISSING, Class::Unknown)
            .with_detail("the store has lost the attempt that this task waited for");
        // No news where it is missing indeed; where it was found again, its permit has an end.
        let facts = self.of_task().abandoned(Verdict::InDoubt, &failure);
        self.end(facts, DeadReason::InDoubt, &failure, |_| ())
    }

    /// Nothing can be sent for it any more, and it must keep no other one from being claimed.
    pub(super) fn request_missing(&self) -> Decision {
        if self.is_out_of_turn(StateKind::Submitting) {
            return Decision::default();
        }
        let failure = Failure::new(Cause::REQUEST_MISSING, Class::Permanent)
            .with_detail("the store cannot tell any more what this task asks for");
        let facts = self.closed(Verdict::Withheld, &failure);
        if self.is_current(StateKind::Submitting) {
            self.end(facts, DeadReason::Permanent, &failure, give_back)
        } else {
            self.only(facts)
        }
    }

    pub(super) fn unsolvable(&self, facts: Vec<Fact>, failure: &Failure) -> Decision {
        let spent = |after: &mut Task| {
            fail(after);
            count(&mut after.round.unsolvable);
        };
        if self.task.round.unsolvable.saturating_add(1) >= self.context.policy.max_unsolvable {
            self.end(facts, DeadReason::AttemptsExhausted, failure, spent)
        } else {
            self.retry_or_end(facts, failure, self.context.now, spent)
        }
    }

    pub(super) fn proxy_failed(&self, facts: Vec<Fact>, failure: &Failure) -> Decision {
        let spent = |after: &mut Task| {
            fail(after);
            count(&mut after.round.proxies_failed);
        };
        if self.task.round.proxies_failed.saturating_add(1) < self.task.proxies {
            self.retry_or_end(facts, failure, self.context.now, spent)
        } else {
            self.end(facts, DeadReason::Proxy, failure, spent)
        }
    }

    fn snooze_for_capacity(&self, facts: Vec<crate::Fact>, failure: &Failure) -> Decision {
        let wait_ms = self.context.policy.capacity.wait_ms(
            self.task.round.refusals.saturating_add(1),
            0,
            failure.retry_after_ms,
            self.context.random,
        );
        let due_at = self.context.now.plus(wait_ms);
        self.step(facts, &Step::Snooze { due_at, why: Why::Capacity }, |after| {
            give_back(after);
            count(&mut after.counters.refusals);
            count(&mut after.round.refusals);
        })
    }
}

/// A proven refusal, or nothing sent: the intent was not spent.
const fn give_back(task: &mut Task) {
    task.counters.submits = task.counters.submits.saturating_sub(1);
}
