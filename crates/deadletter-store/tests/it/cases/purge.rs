//! Purges: what may go, and what goes with it.

use crate::harness::{Harness, MANY, account, answered, operation};
use deadletter_core::{Happened, Terms};
use deadletter_store::{Freeze, document_of};

pub(crate) async fn a_purge_takes_everything_that_is_the_tasks(h: &mut Harness) {
    let worker = h.worker("w").await;
    let task = h.solved(&worker, |_| ()).await;
    let other = h.insert(|_| ()).await;
    for key in [document_of(task.id, "report"), document_of(other.id, "report")] {
        h.store.put_document(&key, 0, "{}").await.unwrap().unwrap();
    }
    assert_eq!(h.store.purge(&[(task.id, task.version)]).await.unwrap(), 1);
    assert!(h.find(task.id).await.is_none());
    assert!(h.store.payload(task.id).await.unwrap().is_none());
    assert!(h.store.answer(task.id).await.unwrap().is_none());
    assert!(h.store.history(task.id).await.unwrap().is_empty());
    let totals = h.store.totals().await.unwrap();
    assert_eq!((totals.accepted, totals.purged, totals.solved), (2, 1, 0));
    let kept: Vec<_> = h.store.documents("task/", MANY).await.unwrap();
    assert_eq!((kept.len(), &kept[0].key), (1, &document_of(other.id, "report")));
}

pub(crate) async fn a_task_that_has_changed_is_not_purged(h: &mut Harness) {
    let worker = h.worker("w").await;
    let task = h.dead(&worker, "ERROR_BAD", |_| ()).await;
    h.edit(task.id, |task| task.hold = Some("keep".to_owned())).await;
    for version in [task.version, task.version + 2, 0] {
        assert_eq!(h.store.purge(&[(task.id, version)]).await.unwrap(), 0);
    }
    assert!(h.find(task.id).await.is_some());
}

pub(crate) async fn only_terminal_tasks_are_purged(h: &mut Harness) {
    let worker = h.worker("w").await;
    let (submitting, _) = h.submitting(&worker, |_| ()).await;
    let (polling, _) = h.polling(&worker, |_| ()).await;
    let queued = h.insert(|_| ()).await;
    let tasks = [submitting, polling, queued].map(|task| (task.id, task.version));
    assert_eq!(h.store.purge(&tasks).await.unwrap(), 0);
    assert_eq!(h.store.totals().await.unwrap().purged, 0);
}

pub(crate) async fn every_terminal_state_can_be_purged_and_each_task_once(h: &mut Harness) {
    let worker = h.worker("w").await;
    let solved = h.solved(&worker, |_| ()).await.id;
    let dead = h.dead(&worker, "ERROR_BAD", |_| ()).await.id;
    let buried = h.dead(&worker, "ERROR_BAD", |_| ()).await.id;
    h.happens(buried, None, Happened::Buried).await;
    let cancelled = h.insert(|_| ()).await.id;
    h.happens(cancelled, None, Happened::Cancelled).await;
    let mut tasks = Vec::new();
    for id in [solved, dead, buried, cancelled, dead] {
        tasks.push((id, h.task(id).await.version));
    }
    assert_eq!(h.store.purge(&tasks).await.unwrap(), 4);
    assert_eq!(h.store.purge(&tasks).await.unwrap(), 0);
    let totals = h.store.totals().await.unwrap();
    assert_eq!((totals.purged, totals.standing()), (4, 0));
    assert!(h.store.census(&[], deadletter_core::counts::Dim::All, MANY).await.unwrap().is_empty());
}

pub(crate) async fn a_task_with_an_open_permit_is_not_purged_until_it_lapses(h: &mut Harness) {
    let worker = h.worker("w").await;
    let (task, _) = h.timed_out(&worker).await;
    let purge = [(task.id, task.version)];
    assert_eq!(h.store.purge(&purge).await.unwrap(), 0);
    assert_eq!(h.store.permits(&account("main"), h.now()).await.unwrap(), 1);
    h.clock.advance(Terms::default().hold_ms);
    // No claim has closed the attempt: its time alone is enough.
    assert_eq!(h.store.purge(&purge).await.unwrap(), 1);
    assert!(h.claim(&worker, 1).await.is_empty());
}

pub(crate) async fn a_late_answer_of_a_purged_task_is_no_news(h: &mut Harness) {
    let worker = h.worker("w").await;
    let (task, attempt) = h.timed_out(&worker).await;
    let late = h.decide(&task, Some(&attempt), &answered(&attempt, "late"));
    h.clock.advance(Terms::default().hold_ms);
    h.store.purge(&[(task.id, task.version)]).await.unwrap();
    assert_eq!(h.commit(late).await, deadletter_store::Committed::Stale);
    assert!(h.store.answer(task.id).await.unwrap().is_none());
    assert!(h.find(task.id).await.is_none());
}

pub(crate) async fn a_purge_takes_the_tasks_items_and_leaves_its_events(h: &mut Harness) {
    let worker = h.worker("w").await;
    let task = h.dead(&worker, "ERROR_BAD", |_| ()).await;
    let kept = h.dead(&worker, "ERROR_BAD", |_| ()).await;
    let freeze = Freeze { operation: operation("op"), query: h.everything() };
    h.store.freeze(&freeze).await.unwrap();
    h.store.purge(&[(task.id, task.version)]).await.unwrap();
    let pending = h.store.pending(&operation("op"), None, MANY).await.unwrap();
    assert_eq!(pending.iter().map(|item| item.task).collect::<Vec<_>>(), [kept.id]);
    assert_eq!(h.store.tally_items(&operation("op")).await.unwrap(), [1, 0, 0]);
    let events = h.store.events(0, MANY).await.unwrap();
    assert_eq!(events.iter().map(|(_, e)| e.task).collect::<Vec<_>>(), [task.id, kept.id]);
}
