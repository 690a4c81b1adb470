//! Handles: what others write is noticed, and what is closed stays closed.

use crate::harness::{Harness, account, operation};
use deadletter_core::{Happened, UnixMs, WorkerId, counts::Dim};
use deadletter_store::{Among, AuditEntry, Error, Freeze, Seen};

pub(crate) async fn the_pulse_changes_with_each_write_of_another_handle(h: &mut Harness) {
    let other = h.another_handle().await;
    let (worker, worker_of_deliveries) = (h.worker("w").await, h.worker("v").await);
    let task = h.insert(|_| ()).await;
    let mut seen = h.store.pulse().await.unwrap();
    assert_eq!(h.store.pulse().await.unwrap(), seen, "nobody wrote");
    h.store.totals().await.unwrap();
    assert_eq!(h.store.pulse().await.unwrap(), seen, "reading is not writing");
    let mut has_changed = async |what: &str| {
        let pulse = h.store.pulse().await.unwrap();
        assert_ne!(pulse, seen, "{what}");
        seen = pulse;
    };
    other.insert(vec![h.new_task()]).await.unwrap();
    has_changed("insert").await;
    other.put_document("hold/night", 0, "{}").await.unwrap();
    has_changed("put_document").await;
    other.commit(vec![h.decide(&task, None, &Happened::Cancelled)]).await.unwrap();
    has_changed("commit").await;
    other.claim(h.claim_of(&worker, 1)).await.unwrap();
    has_changed("claim").await;
    other.leave(&worker).await.unwrap();
    has_changed("leave").await;
    h.dead(&worker_of_deliveries, "ERROR_BAD", |task| task.place = Some("a".into())).await;
    has_changed("an end that is told").await;
    let taken = other.take_deliveries(&h.due("a", 1)).await.unwrap();
    has_changed("take_deliveries").await;
    other.settle_deliveries(&[taken[0].given_back("", h.now())]).await.unwrap();
    has_changed("settle_deliveries").await;
    let heir = h.worker("heir").await;
    has_changed("register").await;
    other.take_over(h.take_of(&heir)).await.unwrap();
    has_changed("take_over").await;
    other.purge(&[(task.id, task.version + 1)]).await.unwrap();
    has_changed("purge").await;
}

pub(crate) async fn another_handle_sees_what_was_written(h: &mut Harness) {
    let other = h.another_handle().await;
    let task = h.insert(|_| ()).await;
    assert_eq!(other.get(&[task.id]).await.unwrap(), [Some(task)]);
    assert_eq!(other.totals().await.unwrap(), h.store.totals().await.unwrap());
}

pub(crate) async fn a_store_names_itself_and_measures_by_its_clock(h: &mut Harness) {
    assert!(h.store.url().contains(':'));
    assert_eq!(h.store.clock().now(), h.now());
    h.clock.advance(77);
    assert_eq!(h.store.clock().now(), h.now());
    assert!(h.store.durability().label().starts_with('D'));
}

fn is_closed<T>(result: deadletter_store::Result<T>) -> bool {
    matches!(result, Err(Error::Closed))
}

pub(crate) async fn every_call_after_a_close_answers_closed(h: &mut Harness) {
    let worker = h.worker("w").await;
    let task = h.insert(|_| ()).await;
    let (id, main, op) = (task.id, account("main"), operation("op"));
    let freeze = Freeze { operation: op.clone(), query: h.everything() };
    let entry = AuditEntry {
        writer: "w".into(),
        seq: 1,
        at: h.now(),
        body: "{}".into(),
        hash: String::new(),
    };
    let s = &h.store;
    s.close().await.unwrap();
    s.close().await.unwrap();

    assert!(is_closed(s.insert(vec![h.new_task()]).await));
    assert!(is_closed(s.claim(h.claim_of(&worker, 1)).await));
    assert!(is_closed(s.commit(Vec::new()).await));
    assert!(is_closed(s.take_over(h.take_of(&worker)).await));
    assert!(is_closed(s.overdue(&main, h.now(), 1).await));
    assert!(is_closed(s.next_due(&main).await));
    assert!(is_closed(s.get(&[id]).await));
    assert!(is_closed(s.payload(id).await));
    assert!(is_closed(s.history(id).await));
    assert!(is_closed(s.answer(id).await));
    assert!(is_closed(s.bearers(&main, &crate::harness::upstream_id("u")).await));

    assert!(is_closed(s.page(&h.everything()).await));
    assert!(is_closed(s.census(&[], Dim::All, 1).await));
    assert!(is_closed(s.tallies(Dim::All, UnixMs(0), 1).await));
    assert!(is_closed(s.totals().await));
    assert!(is_closed(s.recount().await));
    assert!(is_closed(s.freeze(&freeze).await));
    assert!(is_closed(s.pending(&op, None, 1).await));
    assert!(is_closed(s.skip(&op, &[id]).await));
    assert!(is_closed(s.tally_items(&op).await));
    assert!(is_closed(s.purge(&[(id, 1)]).await));
    assert!(is_closed(s.forget(&h.forget_before(h.now())).await));
    assert!(is_closed(s.last_event().await));
    assert!(is_closed(s.events(0, 1).await));
    assert!(is_closed(s.trail(id, &Seen::default(), 1).await));

    assert!(is_closed(s.register(&WorkerId::new("new").unwrap(), "").await));
    assert!(is_closed(s.beat(&worker).await));
    assert!(is_closed(s.leave(&worker).await));
    assert!(is_closed(s.declare_dead(UnixMs(1)).await));
    assert!(is_closed(s.workers(1).await));
    assert!(is_closed(s.permits(&main, h.now()).await));
    assert!(is_closed(s.document("a").await));
    assert!(is_closed(s.put_document("a", 0, "{}").await));
    assert!(is_closed(s.documents("", 1).await));
    assert!(is_closed(s.audit(&entry).await));
    assert!(is_closed(s.audit_log(None, 1).await));
    assert!(is_closed(s.audit_after(0, 1).await));

    assert!(is_closed(s.take_deliveries(&h.due("a", 1)).await));
    assert!(is_closed(s.settle_deliveries(&[]).await));
    assert!(is_closed(s.next_delivery(&Among::These(Vec::new())).await));
    assert!(is_closed(s.deliveries(id, 1).await));
    assert!(is_closed(s.count_deliveries().await));
    assert!(is_closed(s.pulse().await));
}
