//! What is noted of verdicts that were told.

use crate::harness::{Harness, answered};
use deadletter_core::{
    Answer, Change, Happened, Reading, RowChange, Task, UnixMs, WorkerId,
    counts::{Dim, Tallied, expired_unused},
};
use deadletter_store::Committed;

/// Of that verdict, at this moment.
async fn reading(h: &Harness, task: &Task) -> Reading {
    let answer: Option<Answer> = h.store.answer(task.id).await.unwrap();
    Reading::of(task, answer.as_ref(), h.now()).expect("news")
}

/// A task with an answer that lives for two minutes.
async fn solved_for_now(h: &Harness, worker: &WorkerId) -> Task {
    let (task, attempt) = h.polling(worker, |_| {}).await;
    let Happened::Answered(mut answer) = answered(&attempt, "token") else {
        panic!("no answer");
    };
    answer.expires_at = Some(h.now().plus(120_000));
    h.happens(task.id, Some(&attempt), Happened::Answered(answer)).await;
    h.task(task.id).await
}

/// The tallies of unused answers, and how many of them have expired.
async fn unused(h: &Harness) -> (i64, u64) {
    let tallies = h.store.tallies(Dim::All, UnixMs(0), 10_000).await.unwrap();
    let sum = tallies.iter().filter(|(tally, _)| tally.tallied == Tallied::Unused);
    (sum.map(|(_, n)| n).sum(), expired_unused(&tallies, UnixMs(0), h.now()))
}

pub(crate) async fn a_verdict_is_noted_once_and_its_row_stays_at_its_version(h: &mut Harness) {
    let worker = h.worker("w").await;
    let solved = h.solved(&worker, |_| {}).await;
    let told = reading(h, &solved).await;
    assert_eq!(h.store.mark_read(&[told]).await.unwrap(), 1);
    let row = h.task(solved.id).await;
    assert_eq!((row.verdict_read_at, row.version), (Some(h.now()), solved.version));
    h.clock.advance(1_000);
    let again = Reading { at: h.now(), ..told };
    assert_eq!(h.store.mark_read(&[again, again]).await.unwrap(), 0);
    assert_eq!(h.task(solved.id).await.verdict_read_at, Some(told.at));
}

pub(crate) async fn an_answer_that_is_told_before_it_expires_does_not_expire_unused(
    h: &mut Harness,
) {
    let worker = h.worker("w").await;
    let first = solved_for_now(h, &worker).await;
    let second = solved_for_now(h, &worker).await;
    let third = solved_for_now(h, &worker).await;
    assert_eq!(unused(h).await, (3, 0));
    assert_eq!(h.store.mark_read(&[reading(h, &first).await]).await.unwrap(), 1);
    assert_eq!(unused(h).await, (2, 0));
    h.clock.advance(600_000);
    assert_eq!(unused(h).await, (2, 2));
    // Told too late, it is noted and stays unused.
    assert_eq!(h.store.mark_read(&[reading(h, &second).await]).await.unwrap(), 1);
    assert_eq!(unused(h).await, (2, 2));
    let purged = h.store.purge(&[(third.id, third.version)]).await.unwrap();
    assert_eq!((purged, unused(h).await), (1, (2, 2)));
}

pub(crate) async fn an_answer_that_is_stored_expired_counts_from_then_on(h: &mut Harness) {
    let worker = h.worker("w").await;
    let began = h.now();
    h.clock.advance(600_000);
    let (task, attempt) = h.polling(&worker, |_| {}).await;
    let Happened::Answered(mut answer) = answered(&attempt, "token") else {
        panic!("no answer");
    };
    answer.expires_at = Some(began);
    h.happens(task.id, Some(&attempt), Happened::Answered(answer)).await;
    let stored = h.now();
    h.clock.advance(600_000);
    let tallies = h.store.tallies(Dim::All, UnixMs(0), 10_000).await.unwrap();
    let since = |since| expired_unused(&tallies, since, h.now());
    assert_eq!((since(UnixMs(0)), since(stored.plus(-60_000))), (1, 1));
}

pub(crate) async fn a_task_that_goes_on_has_another_verdict_to_tell(h: &mut Harness) {
    let worker = h.worker("w").await;
    let dead = h.dead(&worker, "ERROR_BAD", |_| {}).await;
    let told = reading(h, &dead).await;
    assert_eq!(h.store.mark_read(&[told]).await.unwrap(), 1);
    h.redrive(dead.id, None).await;
    assert_eq!(h.task(dead.id).await.verdict_read_at, None);
    // The verdict that was told is not this task's any more.
    assert_eq!(h.store.mark_read(&[told]).await.unwrap(), 0);
}

pub(crate) async fn what_is_noted_outlives_a_change_by_somebody_who_did_not_know(h: &mut Harness) {
    let worker = h.worker("w").await;
    let solved = h.solved(&worker, |_| {}).await;
    let held = Task { hold: Some("look".to_owned()), ..solved.clone() };
    let row = RowChange::to(&solved, held, h.now());
    assert_eq!(h.store.mark_read(&[reading(h, &solved).await]).await.unwrap(), 1);
    let change = Change { facts: Vec::new(), row: Some(Box::new(row)) };
    assert_eq!(h.commit(change).await, Committed::Applied);
    let row = h.task(solved.id).await;
    assert_eq!((row.hold.as_deref(), row.verdict_read_at), (Some("look"), Some(h.now())));
}
