//! Retention: what is solved is deleted in time, what is not stays, and the sum holds.

use crate::{
    operations::sick,
    rig::{account, all_rest, all_solved, engine, job, jobs, memory, soon, sound, submit},
};
use deadletter::{
    Deadletter,
    core::{Class, UnixMs, WorkerId},
    provider::scripted::ScriptedProvider,
    store::{Clock, ManualClock, MemoryStore, Store},
};
use std::sync::Arc;

async fn keeper(store: &Arc<dyn Store>, keep_ms: Option<i64>) -> Deadletter {
    let config = account(Arc::new(ScriptedProvider::default()));
    let builder = Deadletter::builder().store(Arc::clone(store)).account(config);
    builder.keep_solved_for(keep_ms).start().await.expect("the engine starts")
}

async fn purged(store: &dyn Store, n: i64) {
    soon(async {
        while store.totals().await.expect("counted").purged < n {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn solved_tasks_go_when_their_time_is_over_and_dead_ones_stay() {
    let store = memory();
    let (provider, _) = sick(Class::Unsolvable);
    let dl = engine(&store, account(provider)).await;
    let dead = submit(&dl, jobs(7)).await;
    all_rest(&dl, &dead).await;
    dl.stop().await.expect("stopped");
    // More than one batch.
    let dl = keeper(&store, Some(600_000)).await;
    let many =
        (0..450).map(|n| job(&format!("solved-{n}")).idempotency_key(format!("row-{n}"), None));
    let ids = submit(&dl, many.collect()).await;
    let first = dl.task(ids[0]).wait().await;
    assert!(first.is_ok(), "it is there for whoever waits: {first:?}");
    purged(store.as_ref(), 450).await;
    let totals = store.totals().await.expect("counted");
    assert_eq!((totals.accepted, totals.solved, totals.dead, totals.purged), (457, 0, 7, 450));
    sound(store.as_ref(), &dead).await;
    assert!(store.answer(ids[0]).await.expect("read").is_none());
    // Its key is free again: the same row would be a new task.
    let again = dl.submit(job("solved-0").idempotency_key("row-0", None)).await;
    assert!(again.expect("stored").is_new);
}

#[tokio::test]
async fn without_a_retention_nothing_is_deleted() {
    let store = memory();
    let dl = keeper(&store, None).await;
    let ids = submit(&dl, jobs(5)).await;
    all_solved(&dl, &ids).await;
    // As much time as the other engine needs to delete its own.
    let other = memory();
    let brief = keeper(&other, Some(60_000)).await;
    let gone = submit(&brief, jobs(5)).await;
    purged(other.as_ref(), gone.len() as i64).await;
    assert_eq!(store.totals().await.expect("counted").purged, 0);
    sound(store.as_ref(), &ids).await;
}

#[tokio::test]
async fn workers_that_are_gone_are_forgotten_after_a_week_and_not_before() {
    let clock = Arc::new(ManualClock::at(UnixMs(1_800_000_000_000)));
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new(Arc::clone(&clock) as Arc<dyn Clock>));
    for name in ["old", "young"] {
        let worker = WorkerId::new(name).expect("a name");
        store.register(&worker, name).await.expect("registered");
        store.leave(&worker).await.expect("left");
        clock.advance(4 * 86_400_000);
    }
    let dl = keeper(&store, None).await;
    let labels = soon(async {
        loop {
            let workers = store.workers(9).await.expect("read");
            if workers.len() < 3 {
                break workers.into_iter().map(|worker| worker.id.to_string()).collect::<Vec<_>>();
            }
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert!(labels.contains(&"young".to_owned()), "{labels:?}");
    assert!(!labels.contains(&"old".to_owned()), "{labels:?}");
    dl.stop().await.expect("stopped");
}
