//! Commits: rows fenced by version, in order, each with an answer of its own.

use crate::harness::{Harness, account, answered, upstream_id};
use deadletter_core::{
    Cause, Change, Class, Happened, RowChange, StateKind, Task, TaskId, WorkerId,
};
use deadletter_store::Committed;

pub(crate) async fn a_row_is_written_at_the_version_that_was_read(h: &mut Harness) {
    let worker = h.worker("w").await;
    let (task, attempt) = h.submitting(&worker, |_| ()).await;
    h.clock.advance(7);
    let change = h.decide(&task, Some(&attempt), &Happened::Accepted(upstream_id("u-1")));
    let after = change.row.as_ref().unwrap().after.clone();
    assert_eq!(h.commit(change).await, Committed::Applied);
    assert_eq!(h.task(task.id).await, after);
    assert_eq!((after.version, after.updated_at), (task.version + 1, h.now()));
}

pub(crate) async fn a_stale_row_is_not_written(h: &mut Harness) {
    let task = h.insert(|_| ()).await;
    let cancelled = h.decide(&task, None, &Happened::Cancelled);
    h.edit(task.id, |task| task.priority = 3).await;
    let stands = h.task(task.id).await;
    assert_eq!(h.commit(cancelled).await, Committed::Stale);
    assert_eq!(h.task(task.id).await, stands);
}

pub(crate) async fn the_facts_of_a_stale_row_are_taken_in(h: &mut Harness) {
    let worker = h.worker("w").await;
    let (task, attempt) = h.submitting(&worker, |_| ()).await;
    let accepted = h.decide(&task, Some(&attempt), &Happened::Accepted(upstream_id("u-1")));
    h.happens(task.id, Some(&attempt), Happened::Cancelled).await;
    assert_eq!(h.commit(accepted).await, Committed::Stale);
    assert_eq!(h.task(task.id).await.kind(), StateKind::Cancelled);
    assert_eq!(h.attempt(task.id, 1).await.upstream_id, Some(upstream_id("u-1")));
}

pub(crate) async fn a_row_of_a_newer_version_than_stands_is_stale(h: &mut Harness) {
    let task = h.insert(|_| ()).await;
    let mut row = RowChange::to(&task, task.clone(), h.now());
    row.expects = 2;
    let change = Change { facts: Vec::new(), row: Some(Box::new(row)) };
    assert_eq!(h.commit(change).await, Committed::Stale);
    assert_eq!(h.task(task.id).await, task);
}

pub(crate) async fn a_row_of_a_task_that_does_not_stand_is_stale(h: &mut Harness) {
    let ghost = h.new_task().task;
    let change = h.decide(&ghost, None, &Happened::Cancelled);
    assert_eq!(h.commit(change).await, Committed::Stale);
    assert!(h.find(ghost.id).await.is_none());
}

pub(crate) async fn of_two_changes_at_one_version_in_a_batch_the_first_wins(h: &mut Harness) {
    let task = h.insert(|_| ()).await;
    let edit = |priority: u8| {
        let after = deadletter_core::Task { priority, ..task.clone() };
        Change { facts: Vec::new(), row: Some(Box::new(RowChange::to(&task, after, h.now()))) }
    };
    let answers = h.store.commit(vec![edit(2), edit(3)]).await.unwrap();
    assert_eq!(answers, [Committed::Applied, Committed::Stale]);
    assert_eq!(h.task(task.id).await.priority, 2);
}

pub(crate) async fn changes_of_a_batch_build_on_each_other_in_order(h: &mut Harness) {
    let worker = h.worker("w").await;
    let (task, attempt) = h.submitting(&worker, |_| ()).await;
    let accepted = h.decide(&task, Some(&attempt), &Happened::Accepted(upstream_id("u-1")));
    let polling = accepted.row.as_ref().unwrap().after.clone();
    let solved = h.decide(&polling, Some(&attempt), &answered(&attempt, "token"));
    let answers = h.store.commit(vec![accepted, solved]).await.unwrap();
    assert_eq!(answers, [Committed::Applied, Committed::Applied]);
    let row = h.task(task.id).await;
    assert_eq!((row.kind(), row.version), (StateKind::Solved, 4));
}

pub(crate) async fn a_stale_change_does_not_keep_the_others_of_its_batch_out(h: &mut Harness) {
    let ids = h.insert_many(3, |_, _| ()).await;
    let mut changes = Vec::new();
    for id in &ids {
        changes.push(h.decide(&h.task(*id).await, None, &Happened::Cancelled));
    }
    h.edit(ids[1], |task| task.priority = 3).await;
    let answers = h.store.commit(changes).await.unwrap();
    assert_eq!(answers, [Committed::Applied, Committed::Stale, Committed::Applied]);
    let totals = h.store.totals().await.unwrap();
    assert_eq!((totals.queued, totals.cancelled), (1, 2));
}

pub(crate) async fn an_empty_change_is_applied(h: &mut Harness) {
    assert_eq!(h.commit(Change::default()).await, Committed::Applied);
}

pub(crate) async fn a_thousand_changes_are_written_at_once(h: &mut Harness) {
    let ids = h.insert_many(1_000, |_, _| ()).await;
    let rows = h.store.get(&ids).await.unwrap();
    let cancelled = |row: &Option<deadletter_core::Task>| {
        h.decide(row.as_ref().unwrap(), None, &Happened::Cancelled)
    };
    let answers = h.store.commit(rows.iter().map(cancelled).collect()).await.unwrap();
    assert_eq!(answers, vec![Committed::Applied; 1_000]);
    assert_eq!(h.store.totals().await.unwrap().cancelled, 1_000);
    assert_eq!(h.store.events(0, 2_000).await.unwrap().len(), 1_000);
}

pub(crate) async fn every_field_of_a_row_is_written(h: &mut Harness) {
    let worker = h.worker("w").await;
    let (task, _) = h.submitting(&worker, |_| ()).await;
    let now = h.now();
    h.edit(task.id, |task| {
        (task.priority, task.turn, task.hold) = (3, 9, Some("night".to_owned()));
        task.deadline_at = Some(now.plus(5));
        task.counters.failures = 1;
        task.counters.refusals = 2;
        task.counters.panics = 3;
        task.counters.redrives = 4;
        task.counters.deaths = 5;
        task.round.allowance = 6;
        task.round.failures = 1;
        task.round.unsolvable = 2;
        task.round.lost = 3;
        task.round.refusals = 4;
        task.round.proxies_failed = 5;
        (task.max_submits, task.proxies) = (9, 2);
        task.cause = Some(deadletter_core::Cause::new("TIMEOUT"));
        task.class = Some(Class::Transient);
        task.fingerprint = Some("0123456789abcdef".to_owned());
        task.owner = Some("ci".to_owned());
        task.parent = Some(TaskId::try_from(7_u64).unwrap());
        task.verdict_read_at = Some(now.plus(8));
    })
    .await;
}

pub(crate) async fn a_field_that_changes_alone_is_written_in_every_state(h: &mut Harness) {
    type Edit = fn(&mut Task);
    const EDITS: [Edit; 17] = [
        |task| task.account = account("other"),
        |task| task.worker = task.attempt.map(|_| WorkerId::new("heir").unwrap()),
        |task| task.priority = 3,
        |task| task.turn = -7,
        |task| task.hold = Some("maintenance".to_owned()),
        |task| task.deadline_at = Some(task.created_at.plus(5)),
        |task| task.counters.panics += 1,
        |task| task.round.lost += 1,
        |task| task.max_submits += 1,
        |task| task.proxies += 1,
        |task| task.cause = Some(Cause::new("ANOTHER")),
        |task| task.class = Some(Class::Stale),
        |task| task.fingerprint = Some("0123456789abcdef".to_owned()),
        |task| task.owner = Some("somebody".to_owned()),
        |task| task.parent = Some(TaskId::try_from(1_u64).unwrap()),
        |task| task.verdict_read_at = Some(task.created_at),
        |task| task.hold = None,
    ];
    let worker = h.worker("w").await;
    let rows = [
        h.insert(|_| ()).await,
        h.submitting(&worker, |_| ()).await.0,
        h.polling(&worker, |_| ()).await.0,
        h.solved(&worker, |_| ()).await,
        h.dead(&worker, "ERROR_PAGEURL", |_| ()).await,
    ];
    for row in rows {
        for edit in EDITS {
            h.edit(row.id, edit).await;
        }
    }
}
