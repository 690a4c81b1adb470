//! Durable stores: what was answered `Ok` is there after the store was closed and opened again.

use crate::harness::{Harness, MANY, account, ids_of, operation};
use deadletter_core::{Happened, State, UnixMs, Why, counts::Dim};
use deadletter_store::{AuditEntry, Error, Freeze, Inserted};

pub(crate) async fn tasks_with_all_that_is_theirs_come_back(h: &mut Harness) {
    let worker = h.worker("w").await;
    let solved = h.solved(&worker, |_| ()).await;
    let (polling, _) = h.polling(&worker, |task| task.dimensions.tags = vec!["ü".into()]).await;
    let (abandoned, _) = h.timed_out(&worker).await;
    let mut before = Vec::new();
    for id in [solved.id, polling.id, abandoned.id] {
        before.push((h.task(id).await, h.store.history(id).await.unwrap()));
    }
    let payload = h.store.payload(polling.id).await.unwrap();
    h.reopen().await;
    for (task, history) in before {
        assert_eq!(h.task(task.id).await, task);
        assert_eq!(h.store.history(task.id).await.unwrap(), history);
    }
    assert_eq!(h.store.payload(polling.id).await.unwrap(), payload);
    assert_eq!(h.store.answer(solved.id).await.unwrap().unwrap().expose(), "token");
    assert_eq!(h.store.permits(&account("main"), h.now()).await.unwrap(), 2);
}

pub(crate) async fn counts_and_events_come_back_and_go_on(h: &mut Harness) {
    let worker = h.worker("w").await;
    let dead = h.dead(&worker, "ERROR_BAD", |_| ()).await;
    h.solved(&worker, |_| ()).await;
    let totals = h.store.totals().await.unwrap();
    let events = h.store.events(0, MANY).await.unwrap();
    let tallies = h.store.tallies(Dim::Sitekey, UnixMs(0), MANY).await.unwrap();
    let census = h.store.census(&[], Dim::Sitekey, MANY).await.unwrap();
    h.reopen().await;
    assert_eq!(h.store.totals().await.unwrap(), totals);
    assert_eq!(h.store.tallies(Dim::Sitekey, UnixMs(0), MANY).await.unwrap(), tallies);
    assert_eq!(h.store.census(&[], Dim::Sitekey, MANY).await.unwrap(), census);
    let last = h.store.last_event().await.unwrap();
    h.happens(dead.id, None, Happened::Buried).await;
    let all = h.store.events(0, MANY).await.unwrap();
    assert_eq!(all[..2], events);
    assert!(all[2].0 > last);
}

pub(crate) async fn the_queue_comes_back_in_its_order(h: &mut Harness) {
    let worker = h.worker("w").await;
    let due_at = h.now().plus(1_000);
    let ids = h
        .insert_many(4, |i, task| {
            task.priority = [2, 0, 1, 0][i];
            task.hold = (i == 1).then(|| "night".to_owned());
            if i == 2 {
                task.state = State::Queued { due_at, why: Why::New };
            }
        })
        .await;
    // One claim first, so that a store has sorted out what is due.
    assert_eq!(ids_of(&h.claim(&worker, 1).await), ids[3..]);
    h.reopen().await;
    let worker = h.worker("w2").await;
    assert_eq!(ids_of(&h.claim(&worker, 9).await), ids[..1]);
    h.clock.advance(1_000);
    assert_eq!(ids_of(&h.claim(&worker, 9).await), ids[2..3]);
}

pub(crate) async fn what_a_worker_held_is_taken_over_after_a_restart(h: &mut Harness) {
    let old = h.worker("old").await;
    let (polling, _) = h.polling(&old, |_| ()).await;
    let (submitting, _) = h.submitting(&old, |_| ()).await;
    let (abandoned, _) = h.timed_out(&old).await;
    h.reopen().await;
    let new = h.worker("new").await;
    // Where the store itself has not proved it dead, silence does.
    h.clock.advance(6_001);
    h.store.beat(&new).await.unwrap();
    h.declare_silent().await;
    let taken = h.take_over(&new).await;
    let ids: Vec<_> = taken.tasks.iter().map(|(task, _)| task.id).collect();
    assert_eq!(ids, [polling.id, submitting.id]);
    assert_eq!(taken.abandoned[0].task, abandoned.id);
    assert!(matches!(h.store.beat(&old).await, Err(Error::DeclaredDead(_))));
}

pub(crate) async fn a_declared_death_and_a_departure_are_for_ever(h: &mut Harness) {
    let (dead, left) = (h.worker("dead").await, h.worker("left").await);
    h.declare_dead(&dead).await;
    h.store.leave(&left).await.unwrap();
    h.reopen().await;
    for worker in [dead, left] {
        assert!(matches!(h.store.beat(&worker).await, Err(Error::DeclaredDead(_))));
        assert!(matches!(h.store.register(&worker, "").await, Err(Error::DeclaredDead(_))));
    }
}

pub(crate) async fn the_desk_comes_back(h: &mut Harness) {
    let worker = h.worker("w").await;
    let dead = h.dead(&worker, "ERROR_BAD", |_| ()).await;
    let skipped = h.dead(&worker, "ERROR_BAD", |_| ()).await;
    let freeze = Freeze { operation: operation("op"), query: h.everything() };
    h.store.freeze(&freeze).await.unwrap();
    h.store.skip(&operation("op"), &[skipped.id]).await.unwrap();
    h.store.put_document("hold/night", 0, r#"{"on":true}"#).await.unwrap();
    let entry = AuditEntry {
        writer: "w".into(),
        seq: 1,
        at: h.now(),
        body: "{}".into(),
        hash: "ff".into(),
    };
    h.store.audit(&entry).await.unwrap();
    h.reopen().await;
    let pending = h.store.pending(&operation("op"), None, MANY).await.unwrap();
    assert_eq!(pending.iter().map(|item| item.task).collect::<Vec<_>>(), [dead.id]);
    assert_eq!(h.store.tally_items(&operation("op")).await.unwrap(), [1, 0, 1]);
    assert_eq!(h.store.put_document("hold/night", 0, "{}").await.unwrap(), None);
    assert_eq!(h.store.put_document("hold/night", 1, "{}").await.unwrap(), Some(2));
    assert!(!h.store.audit(&entry).await.unwrap());
    assert_eq!(h.store.audit_log(None, MANY).await.unwrap(), [entry]);
}

pub(crate) async fn deliveries_come_back_with_their_tries(h: &mut Harness) {
    let worker = h.worker("w").await;
    let tells = |task: &mut deadletter_core::Task| task.place = Some("a.example".into());
    let waiting = h.solved(&worker, tells).await;
    let told = h.dead(&worker, "ERROR_BAD", tells).await;
    let taken = h.take_deliveries(&[], MANY).await;
    let settled = taken[1].after(deadletter_core::Came::Delivered, "200", h.now(), 0.5);
    assert_eq!(settled.task, told.id);
    h.store.settle_deliveries(&[settled]).await.unwrap();
    let counts = h.store.count_deliveries().await.unwrap();
    let mut before = Vec::new();
    for id in [waiting.id, told.id] {
        before.push((id, h.store.deliveries(id, MANY).await.unwrap()));
    }
    assert_eq!((before[0].1[0].tries, before[0].1[0].due_at), (1, taken[0].due_at));
    h.reopen().await;
    for (id, deliveries) in before {
        assert_eq!(h.store.deliveries(id, MANY).await.unwrap(), deliveries);
    }
    assert_eq!(h.store.count_deliveries().await.unwrap(), counts);
    assert_eq!(h.next_delivery(&[]).await, taken[0].due_at);
}

pub(crate) async fn an_idempotency_key_and_an_id_stay_taken(h: &mut Harness) {
    let key = |task: &mut deadletter_core::Task| task.idempotency_key = Some("row-1".into());
    let first = h.insert(key).await;
    h.reopen().await;
    let again = h.new_task_with(key);
    let taken = h.new_task_with(|task| task.id = first.id);
    let inserted = h.store.insert(vec![again, taken]).await.unwrap();
    assert_eq!(inserted, [Inserted::Existing(first.id), Inserted::IdTaken(first.id)]);
}

pub(crate) async fn a_random_walk_comes_back_whole(h: &mut Harness) {
    super::conservation::walk(h, 9, 200).await;
    let before = h.store.page(&h.everything()).await.unwrap().tasks;
    h.reopen().await;
    assert_eq!(h.store.page(&h.everything()).await.unwrap().tasks, before);
    h.check().await;
    super::conservation::walk(h, 10, 100).await;
}
