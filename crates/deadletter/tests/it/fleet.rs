//! Two engines on one SQLite file, each with a handle of its own, as two processes have.

use crate::rig::{account, all_solved, clock, engine, job, jobs, soon, sound, submit, unsolved};
use deadletter::{
    Deadletter,
    core::Cause,
    provider::scripted::{ScriptedProvider, answer, id},
    store::{Clock, SqliteStore, Store},
};
use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, AtomicUsize, Ordering::SeqCst},
    },
};
use tokio::sync::watch;

/// What both providers count together.
#[derive(Default)]
struct Upstream {
    open: AtomicUsize,
    peak: AtomicUsize,
    next_id: AtomicU64,
    submits: Mutex<HashMap<String, u32>>,
}

/// A line to that upstream, whose submits wait until `other` has submitted something.
fn line(upstream: &Arc<Upstream>, other: Option<watch::Receiver<u64>>) -> Arc<ScriptedProvider> {
    let (taken, done) = (Arc::clone(upstream), Arc::clone(upstream));
    Arc::new(
        ScriptedProvider::default()
            .on_submit(move |call| {
                let (upstream, mut other) = (Arc::clone(&taken), other.clone());
                let open = upstream.open.fetch_add(1, SeqCst) + 1;
                upstream.peak.fetch_max(open, SeqCst);
                let sitekey = call.payload.text("sitekey").expect("it has one").into_owned();
                *upstream.submits.lock().unwrap().entry(sitekey).or_default() += 1;
                async move {
                    if let Some(other) = &mut other {
                        soon(other.wait_for(|n| *n >= 1)).await.expect("counted");
                    }
                    Ok(id(upstream.next_id.fetch_add(1, SeqCst)))
                }
            })
            .on_poll(move |call| {
                done.open.fetch_sub(1, SeqCst);
                async move { Ok(answer(&format!("for-{}", call.id))) }
            }),
    )
}

async fn open(path: &std::path::Path, clock: &Arc<dyn Clock>) -> Arc<dyn Store> {
    Arc::new(SqliteStore::open(path, Arc::clone(clock)).await.expect("opened"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_engines_on_one_file_solve_each_task_once_within_the_threads() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("tasks.db");
    let clock = clock(100.0);
    let (store_a, store_b) = (open(&path, &clock).await, open(&path, &clock).await);
    let upstream = Arc::new(Upstream::default());
    let line_b = line(&upstream, None);
    let line_a = line(&upstream, Some(line_b.submits()));
    let a = engine(&store_a, account(Arc::clone(&line_a)).threads(Some(5))).await;
    let b = engine(&store_b, account(Arc::clone(&line_b)).threads(Some(5))).await;
    let ids = submit(&a, jobs(60)).await;
    // Whoever waits at the first hears of what the second has solved.
    all_solved(&a, &ids).await;
    all_solved(&b, &ids).await;
    assert!(*line_b.submits().borrow() >= 1, "both have worked");
    assert_eq!(*line_a.submits().borrow() + *line_b.submits().borrow(), 60);
    assert!(upstream.submits.lock().unwrap().values().all(|n| *n == 1));
    let peak = upstream.peak.load(SeqCst);
    assert!((1..=5).contains(&peak), "{peak} open at once, of 5 threads");
    for task in sound(store_b.as_ref(), &ids).await {
        assert_eq!(task.counters.submits, 1);
    }
    soon(a.stop()).await.expect("it stops");
    soon(b.stop()).await.expect("it stops");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_engine_leaves_the_other_takes_from_the_file() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("tasks.db");
    let clock = clock(100.0);
    let (store_a, store_b) = (open(&path, &clock).await, open(&path, &clock).await);
    let never = ScriptedProvider::default()
        .on_poll(|_| async { Ok(deadletter::provider::Polled::NotReady) });
    let a = engine(&store_a, account(Arc::new(never))).await;
    let ids = submit(&a, jobs(8)).await;
    soon(async {
        while store_b.totals().await.expect("counted").polling < 8 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let line = Arc::new(ScriptedProvider::default());
    let b = engine(&store_b, account(Arc::clone(&line))).await;
    soon(a.stop()).await.expect("it stops");
    all_solved(&b, &ids).await;
    assert_eq!(*line.submits().borrow(), 0, "they were paid for");
}

#[tokio::test]
async fn a_task_whose_request_is_lost_dies_and_the_others_are_solved() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("tasks.db");
    let clock = clock(100.0);
    let store = open(&path, &clock).await;
    let builder = Deadletter::builder().store(Arc::clone(&store)).account(account(Arc::default()));
    let desk = builder.desk_only().await.expect("a desk");
    let mut all = jobs(5);
    all[0] = job("bad").param("note", "to be broken");
    let ids = submit(&desk, all).await;
    drop(desk);
    store.close().await.expect("closed");
    drop(store);
    // One quote of its JSON, as a flipped bit would leave it.
    let mut bytes = std::fs::read(&path).expect("read");
    let quote =
        bytes.windows(14).position(|part| part == b"\"to be broken\"").expect("it is there");
    bytes[quote] = b'#';
    std::fs::write(&path, bytes).expect("written");
    let store = open(&path, &clock).await;
    let line = Arc::new(ScriptedProvider::default());
    let dl = engine(&store, account(Arc::clone(&line))).await;
    all_solved(&dl, &ids[1..]).await;
    let dead = unsolved(soon(dl.task(ids[0]).wait()).await.expect("the store works"));
    assert_eq!(dead.cause, Some(Cause::new(Cause::REQUEST_MISSING)));
    assert_eq!(
        (*line.submits().borrow(), dead.counters.submits),
        (4, 0),
        "nothing was sent for it"
    );
}
