//! Past attempts on a PostgreSQL server: what a purge leaves of them is not seen, and goes with the
//! partition of its day.

use crate::{
    harness::{self, Harness, account, answered, upstream_id},
    server::{Here, Schema, client},
};
use deadletter_core::{Happened, Task};
use deadletter_store::{Inserted, SystemClock, backup::Snapshot};
use std::sync::Arc;

const DAY_MS: i64 = 86_400_000;

/// Runs a case with the names of its schema and of the partition of the day it begins on.
async fn run(case: impl AsyncFnOnce(&mut Harness, &str, &str)) {
    let schema = Schema::new();
    let name = schema.name.clone();
    harness::run(Here(schema), async |h: &mut Harness| {
        let day = h.new_task().task.id.get() / ((DAY_MS as u64) << 12);
        case(h, &name, &format!("{name}.past_attempts_{day}")).await;
    })
    .await;
}

/// Rows of a table; none where it is gone.
async fn rows(table: &str) -> Option<i64> {
    let client = client().await;
    let stands = client.query_one("SELECT to_regclass($1) IS NOT NULL", &[&table]).await.unwrap();
    if !stands.get::<_, bool>(0) {
        return None;
    }
    let sql = format!("SELECT count(*) FROM {table}");
    Some(client.query_one(&sql, &[]).await.unwrap().get(0))
}

async fn forget(h: &Harness) {
    h.store.forget(&h.forget_before(deadletter_core::UnixMs(0))).await.unwrap();
}

async fn purge(h: &Harness, task: &Task) {
    assert_eq!(h.store.purge(&[(task.id, task.version)]).await.unwrap(), 1);
}

#[tokio::test]
async fn what_a_purge_leaves_of_past_attempts_is_not_seen_and_goes_with_its_partition() {
    run(async |h, name, day| {
        let worker = h.worker("w").await;
        let (kept, gone) = (h.solved(&worker, |_| ()).await, h.solved(&worker, |_| ()).await);
        let attempt = h.attempt(gone.id, 1).await;
        assert_eq!(rows(day).await, Some(2));
        h.clock.advance(2 * DAY_MS);
        purge(h, &gone).await;
        assert_eq!(rows(day).await, Some(2), "nothing was deleted row by row");
        assert!(h.store.history(gone.id).await.unwrap().is_empty());
        let id = upstream_id(&format!("u-{}", gone.id));
        assert_eq!(h.store.bearers(&account("main"), &id).await.unwrap(), 0);
        let late = h.decide(&gone, Some(&attempt), &answered(&attempt, "late"));
        h.commit(late).await;
        assert!(h.store.answer(gone.id).await.unwrap().is_none());

        forget(h).await;
        assert_eq!(rows(day).await, Some(2), "a task of that day stands");
        let kept = h.task(kept.id).await;
        purge(h, &kept).await;
        forget(h).await;
        assert_eq!(rows(day).await, None);
        assert_eq!(rows(&format!("{name}.past_attempts")).await, Some(0));
        // Work goes on in the partitions of the next days.
        let next = h.solved(&worker, |_| ()).await;
        assert_eq!(h.store.history(next.id).await.unwrap().len(), 1);
        assert_eq!(rows(&format!("{name}.past_attempts_other")).await, Some(0));
    })
    .await;
}

#[tokio::test]
async fn an_id_that_is_given_anew_has_no_attempts_of_before() {
    run(async |h, name, _| {
        let worker = h.worker("w").await;
        let task = h.dead(&worker, "ERROR_BAD", |_| ()).await;
        h.clock.advance(2 * DAY_MS);
        purge(h, &task).await;
        let mut again = h.new_task();
        again.task.id = task.id;
        assert_eq!(h.store.insert(vec![again]).await.unwrap(), [Inserted::New(task.id)]);
        assert!(h.store.history(task.id).await.unwrap().is_empty());
        assert_eq!(rows(&format!("{name}.past_attempts")).await, Some(0));
        // One of a day that has no partition (any more) is stored all the same, and purged whole.
        h.happens(task.id, None, Happened::Cancelled).await;
        let task = h.task(task.id).await;
        purge(h, &task).await;
        forget(h).await;
        let mut again = h.new_task();
        again.task.id = task.id;
        again.task.turn = i64::MIN;
        h.store.insert(vec![again]).await.unwrap();
        let claimed = h.claim(&worker, 1).await.pop().unwrap();
        assert_eq!(claimed.task.id, task.id);
        let refused = deadletter_core::Failure::new("ERROR_BAD", deadletter_core::Class::Permanent);
        h.happens(task.id, Some(&claimed.attempt), Happened::Refused(refused)).await;
        let other = format!("{name}.past_attempts_other");
        assert_eq!(
            (rows(&other).await, h.store.history(task.id).await.unwrap().len()),
            (Some(1), 1)
        );
        let task = h.task(task.id).await;
        purge(h, &task).await;
        assert_eq!(rows(&other).await, Some(0));
    })
    .await;
}

#[tokio::test]
async fn a_day_of_which_few_tasks_stand_keeps_their_attempts_alone() {
    run(async |h, name, day| {
        let worker = h.worker("w").await;
        let mut kept = Vec::new();
        for n in 0..12 {
            let task = h.dead(&worker, "ERROR_BAD", |_| ()).await;
            if n % 6 == 0 {
                kept.push((task.id, h.store.history(task.id).await.unwrap()));
            } else {
                kept.push((task.id, Vec::new()));
            }
        }
        h.clock.advance(3 * DAY_MS);
        for (id, attempts) in &kept {
            if attempts.is_empty() {
                let task = h.task(*id).await;
                purge(h, &task).await;
            }
        }
        forget(h).await;
        assert_eq!(rows(day).await, Some(12), "nobody has counted its rows yet");
        client().await.batch_execute(&format!("ANALYZE {day}")).await.unwrap();
        for _ in 0..2 {
            forget(h).await;
            assert_eq!(rows(day).await, Some(2));
        }
        for (id, attempts) in &kept {
            assert_eq!(h.store.history(*id).await.unwrap(), *attempts);
        }
        assert_eq!(rows(&format!("{name}.past_attempts")).await, Some(2));
    })
    .await;
}

#[tokio::test]
async fn no_partition_is_dropped_from_under_a_backup_or_whoever_else_reads_there() {
    let schema = Schema::new();
    let (name, url) = (schema.name.clone(), schema.url.clone());
    harness::run(Here(schema), async |h: &mut Harness| {
        let worker = h.worker("w").await;
        let task = h.solved(&worker, |_| ()).await;
        h.clock.advance(2 * DAY_MS);
        let snapshot = Snapshot::open(&url, Arc::new(SystemClock)).await.unwrap();
        purge(h, &task).await;
        forget(h).await;
        assert_eq!(snapshot.store().history(task.id).await.unwrap().len(), 1);
        drop(snapshot);
        // The server notices a little later that its connection is gone.
        for looks in 0.. {
            assert!(looks < 100, "it is never dropped");
            forget(h).await;
            if rows(&format!("{name}.past_attempts")).await == Some(0) {
                break;
            }
        }
    })
    .await;
}
