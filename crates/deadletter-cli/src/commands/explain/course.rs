//! What deadletter does with a failure, told by the rules themselves: `decide` is asked again and
//! again until the task has come to rest. No rule is repeated here.

use crate::render;
use deadletter::core::{
    AccountName, AccountSignal, Attempt, AttemptToken, Context, DeadReason, Decision, Happened,
    Policy, RowChange, StateKind, Task, TaskId, Terms, UnixMs, UpstreamId, WorkerId, decide,
    decide::{Eligibility, eligibility},
};

/// More submits than any policy allows: the end of a course that has none.
const STEPS: u32 = 200;
/// The top of `[0, 1)`, for the longest wait.
const MOST: f64 = 0.999_999;

/// When a failure is met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Met {
    /// While the task is submitted.
    Submit,
    /// While its upstream id is polled.
    Poll,
}

/// What the rules make of it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Course {
    /// The shortest and the longest wait before each further submit, in milliseconds.
    pub(super) waits_ms: Vec<(i64, i64)>,
    /// How often the same id is asked again although the failure counts.
    pub(super) asked: u32,
    /// How it ends.
    pub(super) end: End,
    /// What the account learns of it.
    pub(super) account: AccountSignal,
    /// What a redrive does with the task that came of it.
    pub(super) redrive: Redrive,
}

/// What a redrive does with a dead letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Redrive {
    /// With the ids that are paid for.
    pub(super) at_once: Eligibility,
    /// Without any that may still answer.
    pub(super) later: Eligibility,
}

/// How a course ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// At rest.
    Dead(DeadReason),
    /// Nothing was spent: it goes on so as long as the failure lasts.
    Unspent,
    /// Nothing follows for the task: its id is asked again.
    AskedAgain,
}

/// The rules and their numbers, and the task that they are asked about.
pub(super) struct Rules<'a> {
    /// The account's rules.
    pub(super) policy: &'a Policy,
    /// Defaults of the method.
    pub(super) terms: &'a Terms,
    /// Proxies that the task names.
    pub(super) proxies: u32,
}

impl Rules<'_> {
    /// What follows where `happened` is met each time.
    pub(super) fn course(&self, met: Met, happened: &Happened) -> Option<Course> {
        let (mut task, attempt) = self.under_way(&self.task()?, met)?;
        let mut attempts = vec![attempt];
        let mut course = Course {
            waits_ms: Vec::new(),
            asked: 0,
            end: End::AskedAgain,
            account: AccountSignal::None,
            redrive: self.redrive(&task, &[], task.updated_at),
        };
        for _ in 0..STEPS {
            let (now, spent) = (task.updated_at, task.counters.submits);
            let decision = self.decided(&task, attempts.last()?, happened, now, MOST);
            course.account = decision.account;
            let Some(row) = decision.change.row else { return Some(course) };
            let due_ms = |row: &RowChange| row.after.due_at().map(|at| at.since(now));
            let soonest = self.decided(&task, attempts.last()?, happened, now, 0.0).change.row;
            let least = soonest.as_deref().and_then(due_ms);
            course.waits_ms.extend(least.zip(due_ms(&row)));
            task = row.after;
            for fact in &decision.change.facts {
                for attempt in &mut attempts {
                    attempt.learn(fact);
                }
            }
            match task.kind() {
                StateKind::Queued if task.counters.submits < spent => {
                    course.end = End::Unspent;
                    return Some(course);
                }
                StateKind::Queued => {
                    let (claimed, attempt) = self.under_way(&task, met)?;
                    task = claimed;
                    attempts.push(attempt);
                }
                StateKind::Dead | StateKind::Buried => {
                    course.end = End::Dead(task.reason()?);
                    course.redrive = self.redrive(&task, &attempts, now);
                    return Some(course);
                }
                _ => course.asked += 1,
            }
        }
        None
    }

    /// What a redrive does with a task that died of `reason`.
    pub(super) fn redrive_of(&self, reason: DeadReason) -> Option<Redrive> {
        let mut task = self.task()?;
        task.state = deadletter::core::State::Dead { reason };
        Some(self.redrive(&task, &[], UnixMs(0)))
    }

    fn redrive(&self, task: &Task, attempts: &[Attempt], now: UnixMs) -> Redrive {
        let of = |attempts| eligibility(task, attempts, self.policy, self.terms, now);
        Redrive { at_once: of(attempts), later: of(&[]) }
    }

    fn task(&self) -> Option<Task> {
        let account = AccountName::new("main").ok()?;
        let id = TaskId::try_from(1_u64).ok()?;
        let task = Task::queued(id, account, self.policy, UnixMs(0));
        Some(Task { proxies: self.proxies, ..task })
    }

    /// The task as it is when the failure is met.
    fn under_way(&self, task: &Task, met: Met) -> Option<(Task, Attempt)> {
        let now = task.due_at()?;
        let worker = WorkerId::new("explain").ok()?;
        let token = AttemptToken::from_random(u64::from(task.counters.attempts) << 1 | 1 << 32);
        let (row, mut attempt) = RowChange::claim(task, &worker, token, now)?;
        if met == Met::Submit {
            return Some((row.after, attempt));
        }
        let id = Happened::Accepted(UpstreamId::new("1").ok()?);
        let accepted = self.decided(&row.after, &attempt, &id, now, 0.0).change;
        for fact in &accepted.facts {
            attempt.learn(fact);
        }
        Some((accepted.row?.after, attempt))
    }

    fn decided(
        &self,
        task: &Task,
        attempt: &Attempt,
        happened: &Happened,
        now: UnixMs,
        random: f64,
    ) -> Decision {
        // The caller's patience has ended where that is what is asked about, and not otherwise.
        let is_over = matches!(happened, Happened::DeadlinePassed);
        let task = Task { deadline_at: is_over.then_some(now), ..task.clone() };
        let (policy, terms) = (self.policy, self.terms);
        decide(&task, happened, Context { policy, terms, attempt: Some(attempt), now, random })
    }
}

impl Course {
    /// The same in words.
    pub(super) fn words(&self) -> String {
        let account = match &self.account {
            AccountSignal::Stop(_) => {
                return "Stops the account. Its tasks wait and spend nothing, ids that are paid for \
                        stay; probes ask whether it may go on."
                    .to_owned();
            }
            AccountSignal::Full(_) => " The account uses fewer threads for a while.",
            AccountSignal::Outage => " The breaker counts it as an outage.",
            AccountSignal::None | AccountSignal::Healthy => "",
        };
        let times = match self.waits_ms.len() {
            1 => "once".to_owned(),
            n => format!("up to {n} times"),
        };
        let course = match self.end {
            End::AskedAgain => "Asks for the same id again; nothing is spent.".to_owned(),
            End::Unspent => format!(
                "Waits {}, longer each time, and submits again as often as it takes; nothing is spent.",
                self.waits()
            ),
            End::Dead(reason) if self.asked > 0 => {
                format!("Asks again, up to {} times; then dead: {reason}.", self.asked)
            }
            End::Dead(reason) if self.waits_ms.is_empty() => format!("Dead at once: {reason}."),
            End::Dead(reason) if self.waits_ms.iter().all(|(_, most)| *most == 0) => {
                format!("Submits again at once, {times}; then dead: {reason}.")
            }
            End::Dead(reason) => {
                format!("Submits again {times}, after {}; then dead: {reason}.", self.waits())
            }
        };
        format!("{course}{account}")
    }

    fn waits(&self) -> String {
        let wait = |(least, most): &(i64, i64)| match (*least, rounded(*most)) {
            (0, most) => format!("up to {}", render::duration(most)),
            (least, most) if least == most => render::duration(most),
            (least, most) => format!("{} to {}", render::duration(least), render::duration(most)),
        };
        self.waits_ms.iter().map(wait).collect::<Vec<_>>().join(", ")
    }
}

/// The end of a range that is open there.
const fn rounded(ms: i64) -> i64 {
    (ms + 5) / 10 * 10
}

#[cfg(test)]
mod tests {
    use super::*;
    use deadletter::core::{Class, Failure};

    fn words(policy: &Policy, met: Met, class: Class) -> String {
        let rules = Rules { policy, terms: &Terms::default(), proxies: 1 };
        let failure = Failure::new("X", class);
        let happened = match met {
            Met::Submit => Happened::Refused(failure),
            Met::Poll => Happened::Failed(failure),
        };
        rules.course(met, &happened).expect("every failure has a course").words()
    }

    #[test]
    fn the_words_follow_the_policy() {
        let usual = Policy::default();
        let transient = words(&usual, Met::Submit, Class::Transient);
        assert!(
            transient.contains("up to 3 times, after up to 1.0 s, up to 2.0 s, up to 4.0 s"),
            "{transient}"
        );
        let eager = Policy { first_submits: 2, ..Policy::default() };
        assert!(words(&eager, Met::Submit, Class::Transient).contains("again once"));
        let stubborn = Policy { max_unsolvable: 5, first_submits: 7, ..Policy::default() };
        for (policy, times) in [(&usual, 2), (&stubborn, 4)] {
            let told = words(policy, Met::Poll, Class::Unsolvable);
            assert!(told.contains(&format!("again at once, up to {times} times")), "{told}");
        }
    }

    #[test]
    fn every_class_has_a_course_wherever_it_is_met() {
        for class in Class::ALL {
            for met in [Met::Submit, Met::Poll] {
                let told = words(&Policy::default(), met, *class);
                let is_stop = told.contains("Stops the account");
                assert_eq!(is_stop, *class == Class::Account, "{class} {met:?}: {told}");
                assert!(told.ends_with('.'), "{told}");
            }
        }
        let told = words(&Policy::default(), Met::Submit, Class::Capacity);
        assert!(told.contains("nothing is spent") && told.contains("fewer threads"), "{told}");
        assert!(words(&Policy::default(), Met::Poll, Class::Transient).contains("same id again"));
    }
}
