//! Deliveries: made with the end that they tell of, taken by one at a time, settled once.

use crate::harness::{Harness, MANY, answered};
use deadletter_core::{
    Came, Cause, Class, Delivery, DeliveryState, Happened, StateKind, Task, TaskId, WorkerId,
};
use deadletter_store::{Among, DeliveryCounts};
use std::collections::BTreeSet;

/// A task that tells that place.
fn tells(place: &str) -> impl FnOnce(&mut Task) {
    let place = place.to_owned();
    move |task| task.place = Some(place)
}

async fn of(h: &Harness, id: TaskId) -> Vec<Delivery> {
    h.store.deliveries(id, MANY).await.unwrap()
}

/// Dead letters, each with a delivery to its place, made at different times.
async fn waiting(h: &Harness, places: &[&str]) -> Vec<TaskId> {
    let worker = h.worker("dying").await;
    let mut ids = Vec::new();
    for place in places {
        ids.push(h.dead(&worker, "ERROR_BAD", tells(place)).await.id);
        h.clock.advance(10);
    }
    ids
}

fn tasks(deliveries: &[Delivery]) -> Vec<TaskId> {
    deliveries.iter().map(|delivery| delivery.task).collect()
}

pub(crate) async fn the_end_of_a_task_that_delivers_is_a_delivery(h: &mut Harness) {
    let worker = h.worker("w").await;
    let (task, _) = h.polling(&worker, tells("a.example:8080")).await;
    assert!(of(h, task.id).await.is_empty(), "it has not ended");
    h.clock.advance(77);
    let attempt = h.attempt(task.id, 1).await;
    h.happens(task.id, Some(&attempt), answered(&attempt, "token")).await;
    let task = h.task(task.id).await;
    assert_eq!(task.place.as_deref(), Some("a.example:8080"));
    let expected = Delivery {
        task: task.id,
        version: task.version,
        place: "a.example:8080".to_owned(),
        ended: StateKind::Solved,
        cause: None,
        class: None,
        answered_by: Some(attempt.token),
        made_at: h.now(),
        state: DeliveryState::Waiting,
        due_at: Some(h.now()),
        tries: 0,
        settled_at: None,
        said: None,
    };
    assert_eq!(of(h, task.id).await, [expected]);
    let dead = h.dead(&worker, "ERROR_BAD", tells("ü")).await;
    let told = of(h, dead.id).await.remove(0);
    assert_eq!((told.ended, told.cause), (StateKind::Dead, Some(Cause::new("ERROR_BAD"))));
    assert_eq!((told.class, told.answered_by), (Some(Class::Permanent), None));
}

pub(crate) async fn a_task_that_tells_nobody_makes_no_delivery(h: &mut Harness) {
    let worker = h.worker("w").await;
    let solved = h.solved(&worker, |_| ()).await;
    let dead = h.dead(&worker, "ERROR_BAD", |_| ()).await;
    for id in [solved.id, dead.id] {
        assert!(of(h, id).await.is_empty());
    }
    assert_eq!(h.store.count_deliveries().await.unwrap(), DeliveryCounts::default());
    assert_eq!(h.next_delivery(&[]).await, None);
}

pub(crate) async fn every_end_is_told_and_what_is_no_news_is_not(h: &mut Harness) {
    let worker = h.worker("w").await;
    let dead = h.dead(&worker, "ERROR_BAD", tells("a")).await;
    h.happens(dead.id, None, Happened::Buried).await;
    let told: Vec<_> = of(h, dead.id).await.iter().map(|delivery| delivery.ended).collect();
    assert_eq!(told, [StateKind::Dead], "it was told already");
    let cancelled = h.insert(tells("a")).await;
    h.happens(cancelled.id, None, Happened::Cancelled).await;
    assert_eq!(of(h, cancelled.id).await[0].ended, StateKind::Cancelled);
}

pub(crate) async fn a_redriven_task_that_is_solved_is_told_anew_under_another_id(h: &mut Harness) {
    let worker = h.worker("w").await;
    let dead = h.dead(&worker, "ERROR_BAD", tells("a")).await;
    h.redrive(dead.id, None).await;
    assert_eq!(of(h, dead.id).await.len(), 1, "that it is under way again is no end");
    h.claim(&worker, 1).await;
    let attempt = h.attempt(dead.id, 2).await;
    h.happens(dead.id, Some(&attempt), answered(&attempt, "token")).await;
    let told = of(h, dead.id).await;
    let ends: Vec<_> = told.iter().map(|delivery| delivery.ended).collect();
    assert_eq!(ends, [StateKind::Solved, StateKind::Dead]);
    assert_ne!(told[0].id(), told[1].id());
}

pub(crate) async fn a_late_answer_of_a_dead_letter_is_told(h: &mut Harness) {
    let worker = h.worker("w").await;
    let (task, attempt) = h
        .polling(&worker, |task| {
            task.round.allowance = 1;
            task.place = Some("a".to_owned());
        })
        .await;
    h.clock.advance(120_000);
    let silence = Happened::NotReady { elapsed_ms: 120_000 };
    h.happens(task.id, Some(&attempt), silence).await;
    h.happens(task.id, Some(&attempt), answered(&attempt, "late")).await;
    let ends: Vec<_> = of(h, task.id).await.iter().map(|delivery| delivery.ended).collect();
    assert_eq!(ends, [StateKind::Solved, StateKind::Dead]);
}

pub(crate) async fn a_stale_change_makes_no_delivery(h: &mut Harness) {
    let task = h.insert(tells("a")).await;
    let cancel = h.decide(&task, None, &Happened::Cancelled);
    h.edit(task.id, |task| task.hold = Some("x".to_owned())).await;
    assert_eq!(h.commit(cancel).await, deadletter_store::Committed::Stale);
    assert!(of(h, task.id).await.is_empty());
    assert_eq!(h.store.count_deliveries().await.unwrap().waiting, 0);
}

pub(crate) async fn what_was_taken_is_taken_again_when_its_lease_ends(h: &mut Harness) {
    let id = waiting(h, &["a"]).await[0];
    let first = h.take_deliveries(&[], MANY).await;
    assert_eq!((first[0].task, first[0].tries), (id, 1));
    assert_eq!(first[0].due_at, Some(h.now().plus(30_000)));
    assert_eq!(of(h, id).await, first, "the try is written before it is made");
    h.clock.advance(29_999);
    assert!(h.take_deliveries(&[], MANY).await.is_empty());
    h.clock.advance(1);
    let again = h.take_deliveries(&[], MANY).await;
    assert_eq!((again[0].id(), again[0].tries), (first[0].id(), 2));
}

pub(crate) async fn deliveries_are_taken_by_due_time_and_at_most_as_many_as_asked_for(
    h: &mut Harness,
) {
    let ids = waiting(h, &["a", "b", "c", "d"]).await;
    assert_eq!(h.next_delivery(&[]).await, Some(h.now().plus(-40)));
    assert_eq!(tasks(&h.take_deliveries(&[], 3).await), ids[..3]);
    assert!(h.take_deliveries(&[], 0).await.is_empty());
    assert_eq!(tasks(&h.take_deliveries(&[], 3).await), ids[3..]);
    assert_eq!(h.next_delivery(&[]).await, Some(h.now().plus(30_000)));
}

pub(crate) async fn a_busy_place_does_not_keep_the_others_back(h: &mut Harness) {
    let hanging: Vec<&str> = std::iter::repeat_n("hanging", 30).chain(["b", "c"]).collect();
    let ids = waiting(h, &hanging).await;
    let due_at = of(h, ids[30]).await[0].due_at;
    assert_eq!(h.next_delivery(&["hanging"]).await, due_at);
    assert_eq!(tasks(&h.take_deliveries(&["hanging", "other"], 5).await), ids[30..]);
    assert!(h.take_deliveries(&["hanging"], 5).await.is_empty());
    let lease = Some(h.now().plus(30_000));
    assert_eq!(h.next_delivery(&["hanging"]).await, lease);
    assert_eq!(tasks(&h.take_deliveries(&[], 5).await), ids[..5]);
}

pub(crate) async fn a_place_is_taken_for_and_looked_for_by_name(h: &mut Harness) {
    let ids = waiting(h, &["a", "b", "c", "b"]).await;
    let these = |names: &[&str]| Among::These(names.iter().map(ToString::to_string).collect());
    let next = h.store.next_delivery(&these(&["c", "b", "nobody"])).await.unwrap().unwrap();
    assert_eq!((next.place.as_str(), Some(next.due_at)), ("b", of(h, ids[1]).await[0].due_at));
    for none in [these(&[]), these(&["nobody"])] {
        assert_eq!(h.store.next_delivery(&none).await.unwrap(), None);
    }
    assert!(h.store.take_deliveries(&h.due("nobody", MANY)).await.unwrap().is_empty());
    assert!(h.store.take_deliveries(&h.due("b", 0)).await.unwrap().is_empty());
    let taken = h.store.take_deliveries(&h.due("b", MANY)).await.unwrap();
    assert_eq!(tasks(&taken), [ids[1], ids[3]]);
    assert!(h.store.take_deliveries(&h.due("b", MANY)).await.unwrap().is_empty());
    assert_eq!(tasks(&h.take_deliveries(&[], MANY).await), [ids[0], ids[2]]);
}

pub(crate) async fn what_is_delivered_or_given_up_is_never_taken_again(h: &mut Harness) {
    let ids = waiting(h, &["a", "b"]).await;
    let taken = h.take_deliveries(&[], MANY).await;
    let told = [
        taken[0].after(Came::Delivered, "answered with 200", h.now(), 0.5),
        taken[1].after(Came::Over, "answered with 410", h.now(), 0.5),
    ];
    assert_eq!(h.store.settle_deliveries(&told).await.unwrap(), [true, true]);
    h.clock.advance(1_000_000);
    assert!(h.take_deliveries(&[], MANY).await.is_empty());
    assert_eq!(h.next_delivery(&[]).await, None);
    for (id, told) in ids.iter().zip(&told) {
        let found = of(h, *id).await.remove(0);
        assert_eq!((found.state, found.settled_at), (told.state, Some(told.at)));
        assert_eq!((found.said, found.due_at), (Some(told.said.clone()), None));
    }
    assert_eq!(h.store.settle_deliveries(&told).await.unwrap(), [false, false]);
}

pub(crate) async fn a_try_that_failed_is_due_again_when_it_was_said(h: &mut Harness) {
    let id = waiting(h, &["a"]).await[0];
    let taken = h.take_deliveries(&[], MANY).await;
    let failed = taken[0].after(Came::Failed, "no answer", h.now(), 0.5);
    assert_eq!(h.store.settle_deliveries(std::slice::from_ref(&failed)).await.unwrap(), [true]);
    let due_at = failed.due_at.unwrap();
    assert_eq!(h.next_delivery(&[]).await, Some(due_at));
    h.clock.advance(due_at.since(h.now()) - 1);
    assert!(h.take_deliveries(&[], MANY).await.is_empty());
    h.clock.advance(1);
    assert_eq!(h.take_deliveries(&[], MANY).await[0].said.as_deref(), Some("no answer"));
    let back = of(h, id).await[0].given_back("stopped", h.now());
    assert_eq!(h.store.settle_deliveries(&[back]).await.unwrap(), [true]);
    assert_eq!(h.take_deliveries(&[], MANY).await[0].tries, 3);
}

pub(crate) async fn a_settlement_of_a_lost_lease_writes_nothing(h: &mut Harness) {
    let ids = waiting(h, &["a", "b"]).await;
    let first = h.take_deliveries(&[], MANY).await;
    h.clock.advance(30_000);
    h.take_deliveries(&[], 1).await;
    let late: Vec<_> =
        first.iter().map(|it| it.after(Came::Delivered, "200", h.now(), 0.5)).collect();
    assert_eq!(h.store.settle_deliveries(&late).await.unwrap(), [false, true]);
    let found = of(h, ids[0]).await.remove(0);
    assert_eq!((found.state, found.tries), (DeliveryState::Waiting, 2));
    let unknown = deadletter_core::Settlement { version: 999, ..late[0].clone() };
    assert_eq!(h.store.settle_deliveries(&[unknown]).await.unwrap(), [false]);
    assert!(h.store.settle_deliveries(&[]).await.unwrap().is_empty());
}

pub(crate) async fn what_two_take_at_once_is_shared_out_without_overlap(h: &mut Harness) {
    waiting(h, &["a"; 20]).await;
    let other = h.another_handle().await;
    let due = h.due("a", 12);
    let (ours, theirs) = tokio::join!(h.store.take_deliveries(&due), other.take_deliveries(&due));
    let (ours, theirs) = (ours.unwrap(), theirs.unwrap());
    assert_eq!(ours.len() + theirs.len(), 20);
    let ids: BTreeSet<_> = ours.iter().chain(&theirs).map(Delivery::id).collect();
    assert_eq!(ids.len(), 20);
}

async fn dies_again(h: &Harness, worker: &WorkerId, id: TaskId) {
    h.redrive(id, None).await;
    h.claim(worker, 1).await;
    let attempt = h.attempt(id, h.task(id).await.counters.attempts).await;
    let refused = Happened::Refused(deadletter_core::Failure::new("ERROR_BAD", Class::Permanent));
    h.happens(id, Some(&attempt), refused).await;
}

pub(crate) async fn deliveries_of_a_task_are_listed_newest_first_and_bounded(h: &mut Harness) {
    let worker = h.worker("w").await;
    let task = h.dead(&worker, "ERROR_BAD", tells("a")).await;
    dies_again(h, &worker, task.id).await;
    dies_again(h, &worker, task.id).await;
    let all = of(h, task.id).await;
    assert_eq!(all.len(), 3);
    assert!(all.is_sorted_by(|a, b| a.version > b.version));
    assert_eq!(h.store.deliveries(task.id, 2).await.unwrap(), all[..2]);
    let other = h.insert(|_| ()).await;
    assert!(of(h, other.id).await.is_empty());
}

pub(crate) async fn a_purge_takes_the_tasks_deliveries_and_their_counts(h: &mut Harness) {
    let ids = waiting(h, &["a", "b", "c"]).await;
    let taken = h.take_deliveries(&[], 1).await;
    let told = taken[0].after(Came::Delivered, "200", h.now(), 0.5);
    h.store.settle_deliveries(&[told]).await.unwrap();
    for id in &ids[..2] {
        let version = h.task(*id).await.version;
        assert_eq!(h.store.purge(&[(*id, version)]).await.unwrap(), 1);
        assert!(of(h, *id).await.is_empty());
    }
    let counts = DeliveryCounts { waiting: 1, ..DeliveryCounts::default() };
    assert_eq!(h.store.count_deliveries().await.unwrap(), counts);
    assert_eq!(tasks(&h.take_deliveries(&[], MANY).await), ids[2..]);
}

pub(crate) async fn deliveries_are_counted_by_how_far_they_have_come(h: &mut Harness) {
    waiting(h, &["a", "b", "c", "d"]).await;
    let taken = h.take_deliveries(&[], 3).await;
    let counts = h.store.count_deliveries().await.unwrap();
    assert_eq!((counts.waiting, counts.delivered, counts.given_up), (4, 0, 0));
    let came = [Came::Delivered, Came::Over, Came::Failed];
    let settled: Vec<_> = taken
        .iter()
        .zip(came)
        .map(|(delivery, came)| delivery.after(came, "", h.now(), 0.5))
        .collect();
    h.store.settle_deliveries(&settled).await.unwrap();
    let counts = h.store.count_deliveries().await.unwrap();
    assert_eq!((counts.waiting, counts.delivered, counts.given_up), (2, 1, 1));
}
