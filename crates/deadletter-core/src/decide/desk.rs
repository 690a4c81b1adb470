//! What people and operations want: redrive, bury, exhume, cancel, hold, release.

use super::{Decision, Rules, count};
use crate::{
    Attempt, Class, DeadReason, Fact, Failure, Learned, Policy, Round, StateKind, Step, Task,
    Terms, UnixMs, Verdict, label::labels,
};

labels! {
    /// Whether a redrive may take a task.
    pub enum Eligibility {
        /// Its last upstream id may still answer: asked again, nothing is spent.
        Resume = "resume",
        /// It is submitted again.
        Submit = "submit",
        /// Its reason says that the same request fails again; only by force.
        Hopeless = "hopeless",
        /// K is reached: exhume it first.
        Spent = "spent",
        /// It is held: whatever holds it is in the way of sending it as it stands.
        Held = "held",
        /// Its account is not configured where that was asked: for whoever asks to say, since it
        /// has no terms to judge it by.
        NoAccount = "no_account",
        /// Nobody would get its answer ([`Task::nobody_waits`]): for whoever asks to say, since it is
        /// no rule of the task's.
        NobodyWaits = "nobody_waits",
        /// It is not a dead letter.
        NotDead = "not_dead",
    }
}

/// What a redrive would do with `task`, given its attempts.
#[must_use]
pub fn eligibility(
    task: &Task,
    attempts: &[Attempt],
    policy: &Policy,
    terms: &Terms,
    now: UnixMs,
) -> Eligibility {
    if task.kind() != StateKind::Dead {
        Eligibility::NotDead
    } else if task.hold.is_some() {
        Eligibility::Held
    } else if resumable(attempts, policy, terms, now).is_some() {
        Eligibility::Resume
    } else if task.counters.submits >= task.max_submits {
        Eligibility::Spent
    } else if is_hopeless(task) {
        Eligibility::Hopeless
    } else {
        Eligibility::Submit
    }
}

/// The newest attempt whose upstream id may still give an answer that is of use.
///
/// An answer that comes now was solved at the earliest when the id was last "not ready", so an
/// answer that expires is worth asking for only within its life from that moment.
#[must_use]
pub fn resumable<'a>(
    attempts: &'a [Attempt],
    policy: &Policy,
    terms: &Terms,
    now: UnixMs,
) -> Option<&'a Attempt> {
    let attempt = attempts.iter().filter(|a| a.upstream_id.is_some()).max_by_key(|a| a.n)?;
    let accepted_at = attempt.accepted_at?;
    if !attempt.may_answer() {
        return None;
    }
    let worth_until = match terms.fresh_ms {
        Some(fresh_ms) => attempt.abandoned_at.unwrap_or(accepted_at).plus(fresh_ms),
        None => accepted_at.plus(policy.resume_for_ms),
    };
    (now < worth_until).then_some(attempt)
}

const fn is_hopeless(task: &Task) -> bool {
    matches!(task.reason(), Some(DeadReason::Permanent | DeadReason::StaleInput))
}

impl Rules<'_> {
    pub(super) fn redriven(
        &self,
        resume: Option<&Attempt>,
        due_at: UnixMs,
        keep_deadline: bool,
        force: bool,
    ) -> Decision {
        // Nobody claims what is held: brought back, it would wait for ever.
        if self.task.kind() != StateKind::Dead || self.task.hold.is_some() {
            return Decision::default();
        }
        // A redrive that grants nothing could never be claimed.
        let grants = self.context.policy.redrive_submits.max(1);
        let grant = |after: &mut Task| {
            count(&mut after.counters.redrives);
            let allowance = after.counters.submits.saturating_add(grants);
            after.round = Round { allowance: allowance.min(after.max_submits), ..Round::default() };
            if !keep_deadline {
                after.deadline_at = None;
            }
        };
        // How long an id is worth asking for was judged by `resumable` when it was chosen; an
        // attempt of another task, or one with a verdict, is never asked again.
        let resume = resume.filter(|a| a.task == self.task.id && a.may_answer());
        if let Some((attempt, upstream_id)) = resume.and_then(|a| Some((a, a.upstream_id.clone()?)))
        {
            let fact = Fact {
                task: self.task.id,
                token: attempt.token,
                at: self.context.now,
                learned: Learned::Resumed,
            };
            return self.step(vec![fact], &Step::Resume { upstream_id }, |after| {
                grant(after);
                after.attempt = Some(attempt.token);
            });
        }
        if self.task.counters.submits >= self.task.max_submits || (is_hopeless(self.task) && !force)
        {
            return Decision::default();
        }
        self.step(Vec::new(), &Step::Redrive { due_at }, grant)
    }

    pub(super) fn buried(&self) -> Decision {
        let Some(reason) = self.task.reason() else { return Decision::default() };
        self.step(Vec::new(), &Step::Bury { reason }, |_| ())
    }

    pub(super) fn exhumed(&self, more_submits: u32) -> Decision {
        self.step(Vec::new(), &Step::Exhume, |after| {
            let room = after.counters.submits.saturating_add(more_submits);
            after.max_submits = after.max_submits.max(room);
        })
    }

    pub(super) fn cancelled(&self) -> Decision {
        let failure = Failure::new("CANCELLED", Class::Permanent)
            .with_detail("stopped by its owner; a late answer is kept, unused");
        let facts = match self.task.kind() {
            StateKind::Submitting => self.of_task().abandoned(Verdict::InDoubt, &failure),
            StateKind::Polling => self.of_task().abandoned(Verdict::TimedOut, &failure),
            _ => Vec::new(),
        };
        self.step(facts, &Step::Cancel, |_| ())
    }

    pub(super) fn held(&self) -> Decision {
        if !self.task.may_be_held() {
            return Decision::default();
        }
        self.edit(|after| after.hold = Some(Task::HELD_BY_HAND.to_owned()))
    }

    pub(super) fn released(&self) -> Decision {
        if !self.task.is_held_by_hand() {
            return Decision::default();
        }
        self.edit(|after| after.hold = None)
    }
}
