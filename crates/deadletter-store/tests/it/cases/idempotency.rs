//! Idempotency keys: the same request twice is one task.

use crate::harness::{Harness, answered, upstream_id};
use deadletter_core::{Happened, NewTask, TaskId};
use deadletter_store::Inserted;

fn keyed(h: &Harness, owner: &str, key: &str) -> NewTask {
    h.new_task_with(|task| {
        task.owner = Some(owner.to_owned());
        task.idempotency_key = Some(key.to_owned());
        task.idempotency_expires_at = Some(h.now().plus(60_000));
    })
}

async fn insert(h: &Harness, new: NewTask) -> (TaskId, Inserted) {
    let id = new.task.id;
    (id, h.store.insert(vec![new]).await.unwrap()[0].clone())
}

pub(crate) async fn a_key_that_stands_answers_with_its_task(h: &mut Harness) {
    let (first, inserted) = insert(h, keyed(h, "ci", "row-1")).await;
    assert_eq!(inserted, Inserted::New(first));
    let (second, inserted) = insert(h, keyed(h, "ci", "row-1")).await;
    assert_eq!(inserted, Inserted::Existing(first));
    assert!(h.find(second).await.is_none());
    assert!(h.store.payload(second).await.unwrap().is_none());
    assert_eq!(h.store.totals().await.unwrap().accepted, 1);
}

pub(crate) async fn the_same_insert_again_is_existing_and_not_a_taken_id(h: &mut Harness) {
    let new = keyed(h, "ci", "row-1");
    let (id, _) = insert(h, new.clone()).await;
    assert_eq!(insert(h, new).await.1, Inserted::Existing(id));
}

pub(crate) async fn keys_of_different_owners_do_not_meet(h: &mut Harness) {
    let (a, one) = insert(h, keyed(h, "ann", "row-1")).await;
    let (b, two) = insert(h, keyed(h, "bob", "row-1")).await;
    let mut unowned = keyed(h, "", "row-1");
    unowned.task.owner = None;
    let (c, three) = insert(h, unowned.clone()).await;
    assert_eq!([one, two, three], [Inserted::New(a), Inserted::New(b), Inserted::New(c)]);
    // Tasks that nobody owns share one space of keys.
    unowned.task.id = h.new_task().task.id;
    assert_eq!(insert(h, unowned).await.1, Inserted::Existing(c));
}

pub(crate) async fn an_expired_key_passes_to_the_new_task(h: &mut Harness) {
    let (first, _) = insert(h, keyed(h, "ci", "row-1")).await;
    h.clock.advance(59_999);
    assert_eq!(insert(h, keyed(h, "ci", "row-1")).await.1, Inserted::Existing(first));
    h.clock.advance(1);
    let (second, inserted) = insert(h, keyed(h, "ci", "row-1")).await;
    assert_eq!(inserted, Inserted::New(second));
    assert_eq!(insert(h, keyed(h, "ci", "row-1")).await.1, Inserted::Existing(second));
    assert!(h.find(first).await.is_some());
}

pub(crate) async fn a_key_without_an_end_never_expires(h: &mut Harness) {
    let mut new = keyed(h, "ci", "row-1");
    new.task.idempotency_expires_at = None;
    let (first, _) = insert(h, new).await;
    h.clock.advance(10 * 365 * 86_400_000);
    assert_eq!(insert(h, keyed(h, "ci", "row-1")).await.1, Inserted::Existing(first));
}

pub(crate) async fn of_two_equal_keys_in_a_batch_the_first_wins(h: &mut Harness) {
    let batch = vec![keyed(h, "ci", "a"), keyed(h, "ci", "a"), keyed(h, "ci", "b")];
    let ids: Vec<_> = batch.iter().map(|new| new.task.id).collect();
    let inserted = h.store.insert(batch).await.unwrap();
    let wanted = [Inserted::New(ids[0]), Inserted::Existing(ids[0]), Inserted::New(ids[2])];
    assert_eq!(inserted, wanted);
}

pub(crate) async fn a_purged_task_is_never_answered_as_existing(h: &mut Harness) {
    let worker = h.worker("w").await;
    let key = |task: &mut deadletter_core::Task| task.idempotency_key = Some("row-1".to_owned());
    let dead = h.dead(&worker, "ERROR_BAD", key).await;
    assert_eq!(h.store.purge(&[(dead.id, dead.version)]).await.unwrap(), 1);
    let again = h.new_task_with(|task| {
        key(task);
        task.id = dead.id;
    });
    assert_eq!(insert(h, again).await.1, Inserted::New(dead.id));
    assert_eq!(h.task(dead.id).await.version, 1);
    assert!(h.store.history(dead.id).await.unwrap().is_empty());
}

pub(crate) async fn a_purge_leaves_a_key_alone_that_has_passed_to_another_task(h: &mut Harness) {
    let worker = h.worker("w").await;
    let expires_at = h.now().plus(60_000);
    let dead = h
        .dead(&worker, "ERROR_BAD", |task| {
            task.owner = Some("ci".to_owned());
            task.idempotency_key = Some("row-1".to_owned());
            task.idempotency_expires_at = Some(expires_at);
        })
        .await;
    h.clock.advance(60_000);
    let (second, _) = insert(h, keyed(h, "ci", "row-1")).await;
    assert_eq!(h.store.purge(&[(dead.id, dead.version)]).await.unwrap(), 1);
    assert_eq!(insert(h, keyed(h, "ci", "row-1")).await.1, Inserted::Existing(second));
}

fn folded(h: &Harness) -> NewTask {
    NewTask { is_folded: true, ..keyed(h, "ci", "row-1") }
}

pub(crate) async fn a_folded_key_leads_to_an_open_task_and_passes_on_from_one_that_has_ended(
    h: &mut Harness,
) {
    let worker = h.worker("w").await;
    let new = folded(h);
    let (first, inserted) = insert(h, new.clone()).await;
    assert_eq!(inserted, Inserted::New(first));
    assert_eq!(insert(h, folded(h)).await.1, Inserted::Existing(first));
    let attempt = h.claim(&worker, 1).await.remove(0).attempt;
    assert_eq!(insert(h, folded(h)).await.1, Inserted::Existing(first), "submitting");
    h.happens(first, Some(&attempt), Happened::Accepted(upstream_id("7"))).await;
    assert_eq!(insert(h, folded(h)).await.1, Inserted::Existing(first), "polling");
    let attempt = h.attempt(first, 1).await;
    h.happens(first, Some(&attempt), answered(&attempt, "token")).await;
    // The same insert again, where its first answer was lost: no second task.
    assert_eq!(insert(h, new).await.1, Inserted::Existing(first));
    // Without that wish, a key leads to a task that has ended, too.
    assert_eq!(insert(h, keyed(h, "ci", "row-1")).await.1, Inserted::Existing(first));
    let (second, inserted) = insert(h, folded(h)).await;
    assert_eq!(inserted, Inserted::New(second));
    assert_eq!(insert(h, folded(h)).await.1, Inserted::Existing(second));
}

pub(crate) async fn a_folded_key_expires_like_any_other(h: &mut Harness) {
    let (first, _) = insert(h, folded(h)).await;
    h.clock.advance(59_999);
    assert_eq!(insert(h, folded(h)).await.1, Inserted::Existing(first));
    h.clock.advance(1);
    let (second, inserted) = insert(h, folded(h)).await;
    assert_eq!(inserted, Inserted::New(second));
}
