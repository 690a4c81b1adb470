//! What a store has lost, and whoever wrote it still holds: what of it is put back.
//!
//! A server that went back to an earlier instant has older rows, and none of some attempts. The
//! versions of a row rise, and attempts are only added, so what is held and what stands can be told
//! apart; a submit that either of them alone knows of is counted.

use crate::{
    Answer, Attempt, Class, DeadReason, Delivery, Fact, Failure, Learned, Past, RowChange,
    StateKind, Step, Task, Terms, UnixMs, Verdict,
    change::{Counted, Differs},
    decide::blame,
};

/// What was written last of a task, as far as whoever wrote it knows.
#[derive(Clone, Debug, Default)]
pub struct Held {
    /// Its row; none where only attempts are known.
    pub task: Option<Task>,
    /// Attempts that were written, in no order.
    pub attempts: Vec<Attempt>,
    /// The first answers of attempts.
    pub answers: Vec<Answer>,
}

/// What is to be written of a task.
#[derive(Clone, Debug, Default)]
pub struct PutBack {
    /// The row, where it changes.
    pub row: Option<RowChange>,
    /// Attempts that the store does not have.
    pub begun: Vec<Attempt>,
    /// Attempts of which it knows less.
    pub learned: Vec<Attempt>,
}

impl Held {
    /// What is to be written where `task` stands with all its `attempts`, none of which begun at or
    /// after `since` was known when the held row was written.
    #[must_use]
    pub fn against(
        &self,
        task: &Task,
        attempts: &[Attempt],
        since: UnixMs,
        now: UnixMs,
    ) -> PutBack {
        let newer = self.task.as_ref().filter(|held| held.version > task.version);
        let mut back = PutBack::default();
        let mut row = newer.unwrap_or(task).clone();
        let mut submits = 0;
        for held in &self.attempts {
            match attempts.iter().find(|stored| stored.token == held.token) {
                None => {
                    // A row counts its attempts by their numbers, whoever wrote it.
                    let is_another = |it: &Attempt| it.n == held.n;
                    let is_counted = newer.is_some()
                        || held.n <= task.counters.attempts && !attempts.iter().any(is_another);
                    let mut found = if is_counted { held.clone() } else { count(&mut row, held) };
                    if self.task.is_none() {
                        orphan(&mut found, now);
                    }
                    submits += u32::from(!is_counted && !found.is_given_back());
                    back.begun.push(found);
                }
                Some(stored) if stored == held => {}
                Some(stored) if newer.is_some() || knowledge(held) > knowledge(stored) => {
                    back.learned.push(Attempt { n: stored.n, ..held.clone() });
                }
                Some(_) => {}
            }
        }
        let is_held = |stored: &Attempt| self.attempts.iter().any(|it| it.token == stored.token);
        let begun_since = |it: &&Attempt| it.intent_at >= since && !is_held(it);
        for stored in attempts.iter().filter(|it| newer.is_some() && begun_since(it)) {
            let found = count(&mut row, stored);
            submits += u32::from(!found.is_given_back());
            back.learned.push(found);
        }
        if row != *task {
            back.row = Some(lift(task, newer, row, submits, now));
        }
        back
    }

    /// The task as a store takes it that has nothing of it; none where its row is not held.
    #[must_use]
    pub fn as_new(&self) -> Option<(Task, Past)> {
        let task = self.task.clone()?;
        let from = Counted { state: StateKind::Queued, ..Counted::of(&task) };
        let differs = Differs::between(&task, &task);
        let row = RowChange { expects: 0, from, after: task, differs, settles: None };
        let past = Past {
            attempts: self.attempts.clone(),
            answers: self.answers.clone(),
            events: row.event().into_iter().collect(),
            deliveries: Delivery::of(&row).into_iter().collect(),
            items: Vec::new(),
        };
        Some((row.after, past))
    }
}

/// How far an attempt has come: whoever knows its end knows more than whoever knows its name.
const fn knowledge(attempt: &Attempt) -> (bool, bool) {
    (!attempt.is_open(), attempt.upstream_id.is_some())
}

/// An attempt that a row does not know of is its last one.
fn count(row: &mut Task, attempt: &Attempt) -> Attempt {
    row.counters.attempts = row.counters.attempts.saturating_add(1);
    Attempt { n: row.counters.attempts, ..attempt.clone() }
}

/// An attempt of which nobody but a note is left: what it came to is not known, and its thread is
/// free in the end.
fn orphan(attempt: &mut Attempt, now: UnixMs) {
    let learned = Learned::Abandoned {
        permit_until: now.plus(Terms::default().hold_ms),
        verdict: Verdict::InDoubt,
        failure: unwritten(),
    };
    let fact = Fact { task: attempt.task, token: attempt.token, at: now, learned };
    // One that is closed learns nothing more.
    let _is_news: bool = attempt.learn(&fact);
}

fn unwritten() -> Failure {
    let lost = "the store has lost what came of the submit, and its worker is gone";
    Failure::new("UNWRITTEN", Class::Transient).with_detail(lost)
}

/// The change to the newer row of both, with the submits that were found.
fn lift(
    stored: &Task,
    newer: Option<&Task>,
    mut after: Task,
    submits: u32,
    now: UnixMs,
) -> RowChange {
    let is_held = newer == Some(&after);
    after.counters.submits = after.counters.submits.saturating_add(submits);
    // Whoever has the row in hand must not write what it does not know.
    if !is_held {
        after = exhausted(&after, now).unwrap_or(after);
        after.version = after.version.max(stored.version) + 1;
        after.updated_at = now;
    }
    let (from, differs) = (Counted::of(stored), Differs::between(stored, &after));
    RowChange { expects: stored.version, from, after, differs, settles: None }
}

/// A queued task that may not be submitted any more: nobody would ever claim it.
fn exhausted(task: &Task, now: UnixMs) -> Option<Task> {
    if task.may_submit() {
        return None;
    }
    let reason = DeadReason::AttemptsExhausted;
    let is_k = task.counters.submits >= task.max_submits;
    let step = if is_k { Step::Bury { reason } } else { Step::Die { reason } };
    let is_queued = task.kind() == StateKind::Queued;
    let blamed = |after: &mut Task| {
        if after.cause.is_none() {
            blame(after, &unwritten());
        }
    };
    is_queued.then(|| RowChange::by(task, &step, now, blamed)).flatten().map(|row| row.after)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        AttemptToken, State, UpstreamId, WorkerId,
        samples::{THEN, task},
    };

    const LATER: UnixMs = UnixMs(THEN.0 + 1_000);

    fn claimed(task: &Task, n: u64, at: UnixMs) -> (Task, Attempt) {
        let worker = WorkerId::new("w").expect("valid");
        let claim = RowChange::claim(task, &worker, AttemptToken::from_random(n << 1), at);
        let (row, attempt) = claim.expect("it may be submitted");
        (row.after, attempt)
    }

    fn held(task: &Task, attempts: &[&Attempt]) -> Held {
        let attempts = attempts.iter().map(|it| (*it).clone()).collect();
        Held { task: Some(task.clone()), attempts, answers: Vec::new() }
    }

    fn accepted(attempt: &Attempt) -> Attempt {
        let learned = Learned::Accepted(UpstreamId::new("u").expect("valid"));
        let mut attempt = attempt.clone();
        let fact = Fact { task: attempt.task, token: attempt.token, at: THEN, learned };
        assert!(attempt.learn(&fact));
        attempt
    }

    #[test]
    fn a_newer_row_comes_back_as_it_was_with_its_attempt() {
        let (submitting, attempt) = claimed(&task(), 1, THEN);
        let back = held(&submitting, &[&attempt]).against(&task(), &[], LATER, LATER);
        let row = back.row.expect("the store's is older");
        assert_eq!((row.expects, &row.after), (task().version, &submitting));
        assert_eq!(back.begun, [attempt]);
    }

    #[test]
    fn what_stands_already_is_left_alone() {
        let (submitting, attempt) = claimed(&task(), 1, THEN);
        let again = held(&submitting, &[&attempt]);
        let back = again.against(&submitting, &[accepted(&attempt)], LATER, LATER);
        assert!(back.row.is_none() && back.begun.is_empty() && back.learned.is_empty());
        let back = held(&task(), &[]).against(&submitting, &[attempt], LATER, LATER);
        assert!(back.row.is_none(), "an older row is nobody's news");
    }

    #[test]
    fn an_upstream_id_that_was_paid_for_comes_back() {
        let (submitting, attempt) = claimed(&task(), 1, THEN);
        let paid = accepted(&attempt);
        let back = held(&submitting, &[&paid]).against(&submitting, &[attempt], LATER, LATER);
        assert_eq!(back.learned, [paid]);
    }

    #[test]
    fn submits_of_both_sides_are_counted() {
        let (mine, my_attempt) = claimed(&task(), 1, THEN);
        let (theirs, their_attempt) = claimed(&task(), 2, LATER);
        // Mine is as old: it comes back as an attempt of their row.
        let stored = std::slice::from_ref(&their_attempt);
        let back = held(&mine, &[&my_attempt]).against(&theirs, stored, LATER, LATER);
        let after = back.row.expect("a submit more").after;
        assert_eq!((after.counters.submits, after.version), (2, theirs.version + 1));
        assert_eq!(back.begun, [Attempt { n: 2, ..my_attempt.clone() }]);
        // Mine is newer: theirs is one of its attempts.
        let mine = Task { version: mine.version + 1, ..mine };
        let back = held(&mine, &[&my_attempt]).against(&theirs, stored, LATER, LATER);
        assert_eq!(back.row.expect("it is newer").after.counters.submits, 2);
        assert_eq!(back.learned, [Attempt { n: 2, ..their_attempt }]);
    }

    #[test]
    fn an_attempt_that_a_row_counts_already_is_not_counted_again() {
        // Whoever noted that the verdict was told had the row, and no attempt.
        let (submitting, attempt) = claimed(&task(), 1, THEN);
        let back = held(&submitting, &[&attempt]).against(&submitting, &[], LATER, LATER);
        assert!(back.row.is_none());
        assert_eq!(back.begun, [attempt]);
    }

    #[test]
    fn a_queued_task_whose_submits_are_found_to_be_spent_is_not_left_waiting() {
        let (_, attempt) = claimed(&task(), 1, THEN);
        let last = Task { max_submits: 1, ..task() };
        let only = Held { task: None, attempts: vec![attempt], answers: Vec::new() };
        let after = only.against(&last, &[], LATER, LATER).row.expect("it is lifted").after;
        assert!(matches!(after.state, State::Buried { .. }), "{:?}", after.state);
        assert!(!after.may_submit());
        let orphan = &only.against(&last, &[], LATER, LATER).begun[0];
        assert_eq!(orphan.verdict, Some(Verdict::InDoubt));
        assert!(orphan.lapses_at().is_some(), "its thread would never be free");
    }

    #[test]
    fn a_lost_end_comes_back_with_its_event() {
        let solved = Task { state: State::Solved, ..task() };
        let (after, past) = held(&solved, &[]).as_new().expect("the row is held");
        assert_eq!((after.kind(), past.events.len()), (StateKind::Solved, 1));
        assert!(Held::default().as_new().is_none());
    }
}
