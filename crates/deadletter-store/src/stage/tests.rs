//! The contract of batches, on what a store would have loaded.

use super::*;
use crate::{Committed, Inserted};
use deadletter_core::{
    AccountName, Answer, AttemptToken, Change, Fact, Learned, NewTask, Payload, Policy, Reading,
    RowChange, State, Task, UpstreamId, WorkerId,
    counts::{Dim, Place},
};

const NOW: UnixMs = UnixMs(1_800_000_000_000);

fn task(n: u64) -> Task {
    let id = TaskId::try_from(n).unwrap();
    Task::queued(id, AccountName::new("main").unwrap(), &Policy::default(), NOW)
}

fn worker() -> WorkerId {
    WorkerId::new("w").unwrap()
}

fn token(n: u64) -> AttemptToken {
    AttemptToken::from_random(n << 1)
}

fn new(task: Task) -> NewTask {
    NewTask::new(task, Payload::new(serde_json::Map::new())).unwrap()
}

fn keyed(n: u64, expires_at: Option<UnixMs>) -> Task {
    Task { idempotency_key: Some("k".to_owned()), idempotency_expires_at: expires_at, ..task(n) }
}

/// A task that is being submitted, and its attempt, both loaded.
fn submitting(stage: &mut Stage, n: u64) -> (Task, Attempt) {
    let (row, attempt) = RowChange::claim(&task(n), &worker(), token(n), NOW).unwrap();
    stage.load(row.after.id, row.after.version, None);
    stage.load_attempt(attempt.clone());
    (row.after, attempt)
}

fn fact(attempt: &Attempt, learned: Learned) -> Fact {
    Fact { task: attempt.task, token: attempt.token, at: NOW, learned }
}

fn accepted(attempt: &Attempt, id: &str) -> Change {
    let id = UpstreamId::new(id).unwrap();
    Change::of_facts(vec![fact(attempt, Learned::Accepted(id))])
}

fn answered(attempt: &Attempt) -> Learned {
    Learned::Answered(Box::new(Answer {
        task: attempt.task,
        token: attempt.token,
        dialect: "test".to_owned(),
        raw: "OK|token".into(),
        text: "token".into(),
        user_agent: None,
        solved_at: NOW,
        expires_at: None,
        read_at: NOW,
    }))
}

fn row(before: &Task, after: Task) -> Change {
    Change { facts: Vec::new(), row: Some(Box::new(RowChange::to(before, after, NOW))) }
}

fn standing(writes: &Writes, place: Place) -> i64 {
    let rows = writes.counts.standing();
    rows.filter(|(it, _)| it.place == place && it.dim == Dim::All).map(|(_, n)| n).sum()
}

#[test]
fn of_equal_ids_and_keys_in_a_batch_the_first_wins() {
    let mut stage = Stage::default();
    let batch = [new(keyed(1, None)), new(keyed(2, None)), new(task(3)), new(task(3))];
    let ids = batch.each_ref().map(|it| it.task.id);
    let inserted = stage.insert(&batch);
    assert_eq!(
        inserted,
        [
            Inserted::New(ids[0]),
            Inserted::Existing(ids[0]),
            Inserted::New(ids[2]),
            Inserted::IdTaken(ids[2])
        ]
    );
    let writes = stage.into_writes();
    assert_eq!((writes.inserted.len(), standing(&writes, Place::Accepted)), (2, 2));
}

#[test]
fn a_key_that_passes_on_within_a_batch_is_taken_from_whom_it_leads_to_as_stored() {
    let mut stage = Stage::default();
    let old = task(1).id;
    let key = (None, "k".to_owned());
    let expired = Holder { task: old, expires_at: Some(NOW), is_open: true };
    stage.load_key(key.clone(), expired);
    let batch = [new(keyed(2, Some(NOW))), new(keyed(3, None)), new(keyed(4, None))];
    let last = batch[1].task.id;
    let inserted = stage.insert(&batch);
    assert_eq!(inserted[1..], [Inserted::New(last), Inserted::Existing(last)]);
    let passed = stage.into_writes().keys[&key];
    assert_eq!((passed.to.task, passed.was), (last, Some(old)));
}

#[test]
fn changes_of_one_task_build_on_each_other_and_are_written_as_one_row() {
    let mut stage = Stage::default();
    let first = task(1);
    stage.load(first.id, first.version, Some(NOW));
    let held = Task { hold: Some("x".to_owned()), ..first.clone() };
    let second = RowChange::to(&first, held.clone(), NOW).after;
    let stale = row(&first, Task { turn: 9, ..first.clone() });
    let again = row(&second, Task { priority: 0, ..second.clone() });
    let committed = stage.commit(&[row(&first, held), stale, again]);
    assert_eq!(committed, [Committed::Applied, Committed::Stale, Committed::Applied]);
    let writes = stage.into_writes();
    let written = &writes.rows[&first.id];
    assert_eq!((written.after.version, written.after.turn), (first.version + 2, first.turn));
    assert_eq!((written.after.hold.as_deref(), written.place), (Some("x"), true));
    assert_eq!(written.after.verdict_read_at, Some(NOW), "what was noted meanwhile stays");
}

#[test]
fn what_was_not_loaded_does_not_stand() {
    let mut stage = Stage::default();
    let (gone, attempt) = submitting(&mut Stage::default(), 1);
    let solved = Change {
        facts: vec![fact(&attempt, answered(&attempt))],
        ..row(&gone, Task { state: State::Solved, ..gone.clone() })
    };
    assert_eq!(stage.commit(&[solved]), [Committed::Stale]);
    let writes = stage.into_writes();
    assert!(writes.rows.is_empty() && writes.answers.is_empty() && writes.events.is_empty());
}

#[test]
fn an_id_is_named_once_among_open_attempts_of_other_tasks() {
    let mut stage = Stage::default();
    let [one, two, three] = [1, 2, 3].map(|n| submitting(&mut stage, n).1);
    let committed = stage.commit(&[accepted(&one, "u"), accepted(&two, "u")]);
    assert_eq!(committed, [Committed::Applied, Committed::IdTaken]);
    let closed = Change::of_facts(vec![fact(&one, answered(&one))]);
    let committed = stage.commit(&[closed, accepted(&three, "u")]);
    assert_eq!(committed, [Committed::Applied, Committed::Applied]);
    let writes = stage.into_writes();
    let learned: Vec<_> = writes.learned.iter().map(|it| it.attempt.task).collect();
    assert_eq!((learned, writes.answers.len()), (vec![one.task, three.task], 1));
}

#[test]
fn a_second_open_attempt_of_a_task_under_one_id_has_a_namesake() {
    let mut stage = Stage::default();
    let (_, one) = submitting(&mut stage, 1);
    let two = Attempt { token: token(9), n: 2, ..one.clone() };
    stage.load_attempt(two.clone());
    stage.commit(&[accepted(&two, "u"), accepted(&one, "u")]);
    let learned = stage.into_writes().learned;
    let namesakes: Vec<_> = learned.iter().map(|it| (it.attempt.n, it.has_namesake)).collect();
    assert_eq!(namesakes, [(1, false), (2, true)]);
}

#[test]
fn a_verdict_is_told_once_and_a_version_that_has_gone_is_none() {
    let mut stage = Stage::default();
    let solved = Task { state: State::Solved, ..task(1) };
    let reading = Reading::of(&solved, None, NOW).unwrap();
    assert!(stage.mark_read(&solved, &reading));
    assert!(!stage.mark_read(&solved, &reading));
    let later = Task { version: solved.version + 1, ..solved };
    assert!(!Stage::default().mark_read(&later, &reading));
}

#[test]
fn what_holds_a_permit_or_goes_on_is_not_purged() {
    let mut stage = Stage::default();
    let (going_on, attempt) = submitting(&mut stage, 1);
    assert!(!stage.purge(&going_on, going_on.version, NOW));
    let cancelled = Task { state: State::Cancelled, ..going_on };
    assert!(!stage.purge(&cancelled, cancelled.version, NOW), "its thread is not free");
    stage.commit(&[Change::of_facts(vec![fact(&attempt, answered(&attempt))])]);
    assert!(!stage.purge(&cancelled, cancelled.version + 1, NOW));
    assert!(stage.purge(&cancelled, cancelled.version, NOW));
    assert!(!stage.purge(&cancelled, cancelled.version, NOW), "once");
    assert_eq!(standing(&stage.into_writes(), Place::Purged), 1);
}

#[test]
fn attempts_lapse_by_account_and_are_closed() {
    let mut stage = Stage::default();
    let (_, attempt) = submitting(&mut Stage::default(), 1);
    stage.load_attempt(Attempt { permit_until: Some(NOW), ..attempt.clone() });
    assert_eq!(stage.lapse(&[AccountName::new("other").unwrap()], NOW), 0);
    assert!(stage.attempt(attempt.task, attempt.token).is_some_and(|it| it.permit));
    assert_eq!(stage.lapse(std::slice::from_ref(&attempt.account), NOW), 1);
    let learned = stage.into_writes().learned;
    assert!(learned.iter().all(|it| !it.attempt.permit && !it.attempt.is_open()));
    assert_eq!(learned.len(), 1);
}
