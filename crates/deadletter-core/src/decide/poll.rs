//! What follows from asking: answered, not ready, failed; and from a panic or a passed deadline.

use super::{AccountSignal, Decision, Rules, count, fail};
use crate::{
    Answer, Cause, Change, Class, DeadReason, Fact, Failure, Learned, RowChange, StateKind, Step,
    Task, Verdict,
};

impl Rules<'_> {
    pub(super) fn answered(&self, answer: &Answer) -> Decision {
        // The answer names its attempt itself: whatever else is known, it is that one's.
        let mut facts = vec![Fact {
            task: self.task.id,
            token: answer.token,
            at: self.context.now,
            learned: Learned::Answered(Box::new(answer.clone())),
        }];
        let is_current = self.task.attempt == Some(answer.token);
        if !is_current {
            facts.extend(self.outrun());
        }
        let step = if is_current && self.task.kind() == StateKind::Polling {
            Step::Solve
        } else {
            Step::LateAnswer
        };
        // Where the table has no such step (solved, cancelled) the answer is kept, unused.
        let won = |after: &mut Task| {
            after.answered_by = Some(answer.token);
            after.round.refusals = 0;
        };
        Decision { account: AccountSignal::Healthy, ..self.step(facts, &step, won) }
    }

    /// An earlier attempt answered while the current one was under way: its thread is still held.
    fn outrun(&self) -> Vec<Fact> {
        let Some(token) = self.task.attempt else { return Vec::new() };
        let verdict = match self.task.kind() {
            StateKind::Submitting => Verdict::InDoubt,
            StateKind::Polling => Verdict::TimedOut,
            _ => return Vec::new(),
        };
        let failure = Failure::new("OUTRUN", Class::Transient)
            .with_detail("an earlier attempt answered first");
        let permit_until = self.context.now.plus(self.context.terms.hold_ms);
        let learned = Learned::Abandoned { permit_until, verdict, failure };
        vec![Fact { task: self.task.id, token, at: self.context.now, learned }]
    }

    pub(super) fn not_ready(&self, elapsed_ms: i64) -> Decision {
        let healthy = Decision::signal(AccountSignal::Healthy);
        if !self.is_current(StateKind::Polling) || elapsed_ms < self.context.terms.timeout_ms {
            return healthy;
        }
        let failure = Failure::new(Cause::TIMEOUT, Class::Transient).with_detail(format!(
            "still not ready after {} s",
            self.context.terms.timeout_ms / 1_000
        ));
        let facts = self.abandoned(Verdict::TimedOut, &failure);
        let decision = self.retry_or_end(facts, &failure, self.backoff_until(&failure), fail);
        Decision { account: AccountSignal::Healthy, ..decision }
    }

    pub(super) fn poll_failed(&self, failure: &Failure) -> Decision {
        let account = match failure.class {
            Class::Capacity => AccountSignal::Full(failure.clone()),
            Class::Account => AccountSignal::Stop(failure.clone()),
            Class::Transient => AccountSignal::Outage,
            _ => AccountSignal::Healthy,
        };
        let verdict = match failure.class {
            // None of these says anything of the job: ask again.
            Class::Capacity | Class::Account | Class::Transient => {
                return Decision::signal(account);
            }
            Class::Lost => Verdict::Lost,
            _ => Verdict::Failed,
        };
        if self.is_out_of_turn(StateKind::Polling) {
            return Decision::signal(account);
        }
        let facts = self.closed(verdict, failure);
        if !self.is_current(StateKind::Polling) {
            return Decision { account, ..self.only(facts) };
        }
        let decision = match failure.class {
            Class::Unsolvable => self.unsolvable(facts, failure),
            Class::Proxy => self.proxy_failed(facts, failure),
            Class::Lost => self.lost(facts, failure),
            Class::Permanent => self.end(facts, DeadReason::Permanent, failure, |_| ()),
            Class::Stale => self.end(facts, DeadReason::StaleInput, failure, |_| ()),
            _ => self.end(facts, DeadReason::Unknown, failure, |_| ()),
        };
        Decision { account, ..decision }
    }

    fn lost(&self, facts: Vec<Fact>, failure: &Failure) -> Decision {
        let spent = |after: &mut Task| {
            fail(after);
            count(&mut after.round.lost);
        };
        if self.task.round.lost.saturating_add(1) >= self.context.policy.max_lost {
            self.end(facts, DeadReason::UpstreamLost, failure, spent)
        } else {
            self.retry_or_end(facts, failure, self.context.now, spent)
        }
    }

    pub(super) fn panicked(&self, message: &str) -> Decision {
        // An attempt that the task no longer waits for keeps its permit until its hold time ends.
        if !self.is_about_current() {
            return Decision::default();
        }
        let failure = Failure::new(Cause::PANIC, Class::Transient).with_detail(message);
        let spent = |after: &mut Task| count(&mut after.counters.panics);
        let is_last = self.task.counters.panics.saturating_add(1) >= self.context.policy.max_panics;
        match self.task.kind() {
            StateKind::Submitting if is_last => {
                let facts = self.abandoned(Verdict::InDoubt, &failure);
                self.end(facts, DeadReason::Panicked, &failure, spent)
            }
            StateKind::Submitting => {
                let facts = self.abandoned(Verdict::InDoubt, &failure);
                self.submit_again_or_not(facts, &failure, self.backoff_until(&failure), spent)
            }
            StateKind::Polling if is_last => {
                let facts = self.abandoned(Verdict::TimedOut, &failure);
                self.end(facts, DeadReason::Panicked, &failure, spent)
            }
            // The id is paid for: count the panic and ask again.
            StateKind::Polling => {
                let mut after = self.task.clone();
                spent(&mut after);
                let row = RowChange::to(self.task, after, self.context.now);
                let change = Change { facts: Vec::new(), row: Some(Box::new(row)) };
                Decision { change, account: AccountSignal::None }
            }
            _ => Decision::default(),
        }
    }

    /// What a queued task was waiting out, where that was an outage: it says more of why the task
    /// was not solved than that time went by.
    fn waited_out(&self) -> Option<Failure> {
        let is_outage = self.task.class == Some(Class::Transient) && self.task.round.failures > 0;
        let cause = self.task.cause.as_ref().filter(|_| is_outage)?;
        let failure = Failure::new(cause.as_str(), Class::Transient);
        Some(failure.with_detail("the caller's deadline passed while it was waited out"))
    }

    /// Nothing new is submitted; what is open is polled on and may answer late.
    pub(super) fn deadline_passed(&self) -> Decision {
        let passed = self.task.deadline_at.is_some_and(|at| at <= self.context.now);
        let failure = Failure::new(Cause::DEADLINE, Class::Transient)
            .with_detail("the caller's deadline passed");
        match self.task.kind() {
            StateKind::Queued if passed => {
                let failure = self.waited_out().unwrap_or(failure);
                self.end(Vec::new(), DeadReason::Deadline, &failure, |_| ())
            }
            StateKind::Polling if passed => {
                let facts = self.of_task().abandoned(Verdict::TimedOut, &failure);
                self.end(facts, DeadReason::Deadline, &failure, |_| ())
            }
            _ => Decision::default(),
        }
    }
}
