//! What calls cost, counted in rows and never in time: as much beside 100,000 dead letters as
//! beside 1,000.

use crate::harness::{Harness, MANY, account, run};
use deadletter_core::{DeadReason, State, Task, UnixMs, counts::Dim};
use deadletter_store::{MemoryStore, Query};
use std::sync::Arc;

/// Dead letters of many kinds, stored as an import stores them.
fn is_dead(i: usize, task: &mut Task) {
    task.state = State::Dead { reason: DeadReason::Permanent };
    task.cause = Some(deadletter_core::Cause::new(["ONE", "TWO", "THREE"][i % 3]));
    task.deadline_at = Some(task.created_at.plus(-1));
    task.dimensions.sitekey = Some(format!("6Le-{}", i % 10));
    task.dimensions.batch = Some("nightly".to_owned());
}

/// Rows that each call looks at, beside `n` dead letters.
async fn costs_beside(n: usize) -> Vec<(&'static str, u64)> {
    let clock = Arc::new(deadletter_store::ManualClock::at(UnixMs(1)));
    let memory = Arc::new(MemoryStore::new(clock));
    let mut costs = Vec::new();
    run(crate::backends::over(memory.clone()), async |h: &mut Harness| {
        let worker = h.worker("w").await;
        for _ in 0..n / 1_000 {
            h.insert_many(1_000, is_dead).await;
        }
        let mut before = memory.looked_at().unwrap();
        let mut note = |call| {
            let looked_at = memory.looked_at().unwrap();
            costs.push((call, looked_at - before));
            before = looked_at;
        };
        let ids = h.insert_many(100, |_, task| task.deadline_at = Some(h.now().plus(5))).await;
        note("insert");
        h.claim(&worker, 50).await;
        note("claim");
        h.store.overdue(&account("main"), h.now().plus(10), MANY).await.unwrap();
        note("overdue");
        h.store.next_due(&account("main")).await.unwrap();
        h.store.permits(&account("main"), h.now()).await.unwrap();
        note("next_due and permits");
        h.store.leave(&worker).await.unwrap();
        let heir = h.worker("heir").await;
        h.take_over(&heir).await;
        note("take_over");
        h.happens(ids[60], None, deadletter_core::Happened::Cancelled).await;
        note("commit");
        for filter in
            ["*", "state:dead", "cause:TWO", "sitekey:6Le-3", "batch:nightly", "-state:dead"]
        {
            let filter = filter.parse().unwrap();
            let page = Query { filter, limit: 50, scan_limit: 200, ..h.everything() };
            h.store.page(&page).await.unwrap();
            note("page");
            h.store.page(&Query { newest_first: true, ..page }).await.unwrap();
            note("newest page");
        }
        h.store.census(&[], Dim::Sitekey, 10).await.unwrap();
        h.store.totals().await.unwrap();
        note("census and totals");
        h.store.close().await.unwrap();
    })
    .await;
    costs
}

#[tokio::test]
async fn no_call_looks_at_more_rows_because_more_dead_letters_stand() {
    let few = costs_beside(1_000).await;
    let many = costs_beside(100_000).await;
    assert_eq!(few, many);
    assert!(few.iter().all(|(_, rows)| *rows <= 600), "{few:?}");
}
