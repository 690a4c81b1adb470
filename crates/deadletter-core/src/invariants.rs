//! What must be true of any task and its attempts, whatever has happened.
//!
//! Each invariant is a function of values that answers with a readable [`Violation`]. The
//! conformance suite, the crash harness and `store check` ask them all, by [`check`]. They look at
//! one task: that nothing is lost or doubled between tasks is the store's conservation of totals.

use crate::{Attempt, State, StateKind, Task, TaskId, Verdict, cause::Class};
use std::fmt;

/// An invariant that does not hold.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Violation {
    /// The task.
    pub task: TaskId,
    /// The invariant, as a short sentence that should have been true.
    pub rule: &'static str,
    /// What was found instead.
    pub found: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "task {}: {}, but {}", self.task, self.rule, self.found)
    }
}

type Held = Result<(), Violation>;
type OfTask = fn(&Task) -> Held;
type OfAttempts = fn(&Task, &[Attempt]) -> Held;

/// What must be true of a row by itself.
const OF_TASK: [OfTask; 8] = [
    submits_stay_within_k,
    submits_are_attempts,
    allowance_stays_within_k,
    a_waiting_task_may_be_submitted,
    a_lease_belongs_to_work_under_way,
    work_under_way_names_its_attempt,
    a_solved_task_names_its_answer,
    a_failure_is_named_whole,
];

/// What must be true of a row with its attempts.
const OF_ATTEMPTS: [OfAttempts; 8] = [
    attempts_are_numbered_without_gaps,
    attempts_belong_to_the_task,
    the_current_attempt_is_one_of_them,
    a_polled_id_is_the_current_attempts,
    an_unawaited_attempt_ends,
    a_closed_attempt_holds_no_permit,
    payments_stay_within_k,
    the_answer_came_from_the_winner,
];

/// All violations of a task with all its attempts, in any order; none where all is well.
#[must_use]
pub fn check(task: &Task, attempts: &[Attempt]) -> Vec<Violation> {
    let of_task = OF_TASK.iter().map(|holds| holds(task));
    let of_attempts = OF_ATTEMPTS.iter().map(|holds| holds(task, attempts));
    of_task.chain(of_attempts).filter_map(Result::err).collect()
}

/// Spending: `submits` never exceeds K.
pub fn submits_stay_within_k(task: &Task) -> Held {
    let (submits, k) = (task.counters.submits, task.max_submits);
    hold(submits <= k, task, "submits stay within K", || format!("{submits} of {k} are spent"))
}

/// An intent is an attempt: there are no more intents than attempts.
pub fn submits_are_attempts(task: &Task) -> Held {
    let (submits, attempts) = (task.counters.submits, task.counters.attempts);
    hold(submits <= attempts, task, "each submit is an attempt", || {
        format!("{submits} submits were counted in {attempts} attempts")
    })
}

/// A round never allows more than K.
pub fn allowance_stays_within_k(task: &Task) -> Held {
    let (allowance, k) = (task.round.allowance, task.max_submits);
    hold(allowance <= k, task, "a round allows no more than K", || {
        format!("{allowance} of {k} submits are allowed")
    })
}

/// A queued task can be claimed: one more submit is within its round and K.
pub fn a_waiting_task_may_be_submitted(task: &Task) -> Held {
    let holds = task.kind() != StateKind::Queued || task.may_submit();
    hold(holds, task, "a queued task may be submitted", || {
        let (submits, allowance) = (task.counters.submits, task.round.allowance);
        format!("{submits} submits reach the allowance of {allowance}")
    })
}

/// A worker holds a lease on work under way only; `submitting` always has one.
pub fn a_lease_belongs_to_work_under_way(task: &Task) -> Held {
    let holds = match task.kind() {
        StateKind::Submitting => task.worker.is_some(),
        // A resumed dead letter has none until somebody asks for what nobody holds.
        StateKind::Polling => true,
        _ => task.worker.is_none(),
    };
    hold(holds, task, "a lease belongs to work under way", || {
        let worker = task.worker.as_ref().map_or("nobody", |worker| worker.as_str());
        format!("{worker} holds it while it is {}", task.kind())
    })
}

/// Exactly the tasks under way have a current attempt.
pub fn work_under_way_names_its_attempt(task: &Task) -> Held {
    hold(
        task.attempt.is_some() == task.kind().is_leased(),
        task,
        "work under way has an attempt",
        || format!("it is {} and its attempt is {:?}", task.kind(), task.attempt),
    )
}

/// Exactly the solved tasks name the attempt that answered.
pub fn a_solved_task_names_its_answer(task: &Task) -> Held {
    let holds = task.answered_by.is_some() == (task.kind() == StateKind::Solved);
    hold(holds, task, "exactly a solved task has an answer", || {
        format!("it is {} and answered by {:?}", task.kind(), task.answered_by)
    })
}

/// Cause, class and group of a failure are written together; no task dies without them.
pub fn a_failure_is_named_whole(task: &Task) -> Held {
    let named = [task.cause.is_some(), task.class.is_some(), task.fingerprint.is_some()];
    let whole = named == [task.cause.is_some(); 3];
    let needs_one = task.reason().is_some();
    hold(whole && (!needs_one || task.cause.is_some()), task, "a failure is named whole", || {
        let cause = task.cause.as_ref().map_or("none", |cause| cause.as_str());
        let class = task.class.map_or("none", Class::label);
        let group = task.fingerprint.as_deref().unwrap_or("none");
        format!("it is {} with cause {cause}, class {class}, group {group}", task.kind())
    })
}

/// Attempts are 1 to `counters.attempts`, each with a token of its own.
pub fn attempts_are_numbered_without_gaps(task: &Task, attempts: &[Attempt]) -> Held {
    let mut numbers: Vec<u32> = attempts.iter().map(|attempt| attempt.n).collect();
    numbers.sort_unstable();
    let mut tokens: Vec<_> = attempts.iter().map(|attempt| attempt.token).collect();
    tokens.sort_unstable();
    tokens.dedup();
    let holds =
        numbers.iter().copied().eq(1..=task.counters.attempts) && tokens.len() == attempts.len();
    hold(holds, task, "attempts are numbered without gaps", || {
        format!("{} were counted, and these are kept: {numbers:?}", task.counters.attempts)
    })
}

/// An attempt is for this task. (Its account may be another one: a task can be moved.)
pub fn attempts_belong_to_the_task(task: &Task, attempts: &[Attempt]) -> Held {
    let stray = attempts.iter().find(|attempt| attempt.task != task.id);
    hold(stray.is_none(), task, "its attempts are its own", || {
        format!("this one is not: {:?}", stray.map(|attempt| (attempt.n, attempt.task)))
    })
}

/// The current attempt exists.
///
/// It may be closed already: facts of a change are true even where its row was stale, and the task
/// follows when the change is decided again.
pub fn the_current_attempt_is_one_of_them(task: &Task, attempts: &[Attempt]) -> Held {
    let Some(token) = task.attempt else { return Ok(()) };
    let is_known = attempts.iter().any(|attempt| attempt.token == token);
    hold(is_known, task, "the current attempt is one of its attempts", || {
        format!("none of {} has the token {token}", attempts.len())
    })
}

/// The id that a task waits for is the one that its current attempt was given.
pub fn a_polled_id_is_the_current_attempts(task: &Task, attempts: &[Attempt]) -> Held {
    let State::Polling { upstream_id } = &task.state else { return Ok(()) };
    let current = attempts.iter().find(|attempt| Some(attempt.token) == task.attempt);
    let known = current.and_then(|attempt| attempt.upstream_id.as_ref());
    hold(known == Some(upstream_id), task, "a task polls its current attempt's id", || {
        format!("it polls {upstream_id} and the attempt has {known:?}")
    })
}

/// An open attempt that its task does not wait for gives its permit back at a known time.
pub fn an_unawaited_attempt_ends(task: &Task, attempts: &[Attempt]) -> Held {
    let stuck = attempts.iter().find(|attempt| {
        attempt.is_open() && Some(attempt.token) != task.attempt && attempt.permit_until.is_none()
    });
    hold(stuck.is_none(), task, "an attempt that nobody waits for ends", || {
        format!("attempt {:?} is open for good", stuck.map(|attempt| attempt.n))
    })
}

/// A verdict frees the thread.
pub fn a_closed_attempt_holds_no_permit(task: &Task, attempts: &[Attempt]) -> Held {
    let holder = attempts.iter().find(|attempt| !attempt.is_open() && attempt.permit);
    hold(holder.is_none(), task, "a closed attempt holds no permit", || {
        format!("attempt {:?} does", holder.map(|attempt| attempt.n))
    })
}

/// Spending: what was accepted or is in doubt stays within the submits that are counted, and so
/// within K.
pub fn payments_stay_within_k(task: &Task, attempts: &[Attempt]) -> Held {
    let paid = attempts.iter().filter(|attempt| may_have_been_paid(attempt)).count();
    let submits = task.counters.submits;
    hold(paid <= submits as usize, task, "accepted and in doubt stay within submits", || {
        format!("{paid} attempts may have been paid for and {submits} submits are counted")
    })
}

/// True where upstream accepted the attempt, or may have.
fn may_have_been_paid(attempt: &Attempt) -> bool {
    attempt.upstream_id.is_some()
        || !matches!(attempt.verdict, Some(Verdict::Refused | Verdict::Withheld))
}

/// The attempt whose answer won has one.
pub fn the_answer_came_from_the_winner(task: &Task, attempts: &[Attempt]) -> Held {
    let Some(token) = task.answered_by else { return Ok(()) };
    let winner = attempts.iter().find(|attempt| attempt.token == token);
    let holds = winner.is_some_and(|attempt| attempt.verdict == Some(Verdict::Solved));
    hold(holds, task, "the answer came from the attempt that won", || {
        let verdict = winner.map(|attempt| attempt.verdict);
        format!("the verdict on attempt {token} is {verdict:?}")
    })
}

fn hold(holds: bool, task: &Task, rule: &'static str, found: impl FnOnce() -> String) -> Held {
    if holds { Ok(()) } else { Err(Violation { task: task.id, rule, found: found() }) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        AttemptToken, Cause, DeadReason, RowChange, UpstreamId, WorkerId,
        samples::{THEN, task},
    };

    type EditRow = fn(&mut Task);
    type EditBoth = fn(&mut Task, &mut Attempt);

    fn worker() -> WorkerId {
        WorkerId::new("w").expect("valid")
    }

    fn id(text: &str) -> UpstreamId {
        UpstreamId::new(text).expect("valid")
    }

    /// A task that is being polled, with its attempt.
    fn polled() -> (Task, Attempt) {
        let (row, mut attempt) =
            RowChange::claim(&task(), &worker(), AttemptToken::from_random(2), THEN)
                .expect("it is queued");
        attempt.upstream_id = Some(id("u-1"));
        attempt.accepted_at = Some(THEN);
        (Task { state: State::Polling { upstream_id: id("u-1") }, ..row.after }, attempt)
    }

    fn rules(task: &Task, attempts: &[Attempt]) -> Vec<&'static str> {
        check(task, attempts).into_iter().map(|violation| violation.rule).collect()
    }

    #[test]
    fn a_sound_task_violates_nothing() {
        assert_eq!(check(&task(), &[]), []);
        let (polled, attempt) = polled();
        assert_eq!(check(&polled, &[attempt]), []);
    }

    #[test]
    fn each_broken_row_is_told_by_its_rule() {
        let broken = |edit: EditRow| {
            let mut row = task();
            edit(&mut row);
            OF_TASK.iter().filter_map(|holds| holds(&row).err()).map(|v| v.rule).collect::<Vec<_>>()
        };
        let cases: [(EditRow, &str); 9] = [
            (|t| (t.counters.attempts, t.counters.submits) = (8, 8), "submits stay within K"),
            (|t| t.counters.submits = 1, "each submit is an attempt"),
            (|t| t.round.allowance = 8, "a round allows no more than K"),
            (|t| t.round.allowance = 0, "a queued task may be submitted"),
            (|t| t.worker = WorkerId::new("w").ok(), "a lease belongs to work under way"),
            (|t| t.state = State::Submitting, "a lease belongs to work under way"),
            (|t| t.attempt = Some(AttemptToken::from_random(2)), "work under way has an attempt"),
            (|t| t.state = State::Solved, "exactly a solved task has an answer"),
            (|t| t.state = State::Dead { reason: DeadReason::Proxy }, "a failure is named whole"),
        ];
        for (edit, rule) in cases {
            assert!(broken(edit).contains(&rule), "{rule}: {:?}", broken(edit));
        }
        assert_eq!(broken(|t| t.cause = Some(Cause::new("X"))), ["a failure is named whole"]);
    }

    #[test]
    fn each_broken_history_is_told_by_its_rule() {
        let broken = |edit: EditBoth| {
            let (mut row, mut attempt) = polled();
            edit(&mut row, &mut attempt);
            rules(&row, &[attempt])
        };
        let cases: [(EditBoth, &str); 8] = [
            (|_, a| a.n = 2, "attempts are numbered without gaps"),
            (|_, a| a.task = TaskId::at(THEN, 9), "its attempts are its own"),
            (
                |_, a| a.token = AttemptToken::from_random(8),
                "the current attempt is one of its attempts",
            ),
            (
                |_, a| a.upstream_id = UpstreamId::new("u-2").ok(),
                "a task polls its current attempt's id",
            ),
            (
                |t, _| (t.state, t.attempt) = (State::Cancelled, None),
                "an attempt that nobody waits for ends",
            ),
            (|_, a| a.closed_at = Some(THEN), "a closed attempt holds no permit"),
            (|t, _| t.counters.submits = 0, "accepted and in doubt stay within submits"),
            (|t, a| t.answered_by = Some(a.token), "the answer came from the attempt that won"),
        ];
        for (edit, rule) in cases {
            assert!(broken(edit).contains(&rule), "{rule}: {:?}", broken(edit));
        }
    }

    #[test]
    fn a_violation_says_what_should_be_and_what_is() {
        let mut row = task();
        (row.counters.attempts, row.counters.submits) = (8, 8);
        let violation = submits_stay_within_k(&row).expect_err("eight of seven");
        let expected = format!("task {}: submits stay within K, but 8 of 7 are spent", row.id);
        assert_eq!(violation.to_string(), expected);
    }
}
