//! Workers: alive while they beat, declared dead once and for good, by the store's clock.

use crate::harness::{Harness, MANY};
use deadletter_core::{UnixMs, WorkerId, counts::Dim};
use deadletter_store::Error;

fn is_dead<T>(result: deadletter_store::Result<T>, worker: &WorkerId) -> bool {
    matches!(result, Err(Error::DeclaredDead(who)) if who == *worker)
}

pub(crate) async fn a_beat_answers_store_time(h: &mut Harness) {
    let worker = WorkerId::new("w").unwrap();
    assert_eq!(h.store.register(&worker, "host:1").await.unwrap().now, h.now());
    h.clock.advance(2_000);
    assert_eq!(h.store.beat(&worker).await.unwrap().now, h.now());
    let known = h.store.workers(MANY).await.unwrap().remove(0);
    assert_eq!((known.id, known.label.as_str()), (worker, "host:1"));
    assert_eq!((known.started_at, known.beat_at), (h.now().plus(-2_000), h.now()));
    assert_eq!((known.dead_at, known.left_at), (None, None));
}

pub(crate) async fn a_beat_tells_how_many_live(h: &mut Harness) {
    let [a, b, c] = ["a", "b", "c"].map(|name| WorkerId::new(name).unwrap());
    assert_eq!(h.store.register(&a, "").await.unwrap().workers, 1);
    assert_eq!(h.store.register(&b, "").await.unwrap().workers, 2);
    assert_eq!(h.store.register(&c, "").await.unwrap().workers, 3);
    h.store.leave(&b).await.unwrap();
    assert_eq!(h.store.beat(&a).await.unwrap().workers, 2, "one has left");
    h.declare_dead(&c).await;
    assert_eq!(h.store.beat(&a).await.unwrap().workers, 1, "another is dead");
}

pub(crate) async fn a_silent_worker_is_declared_dead_once(h: &mut Harness) {
    let (quiet, busy) = (h.worker("quiet").await, h.worker("busy").await);
    h.clock.advance(6_000);
    assert!(h.declare_silent().await.is_empty(), "not older than that yet");
    h.store.beat(&busy).await.unwrap();
    h.clock.advance(1);
    assert_eq!(h.declare_silent().await, std::slice::from_ref(&quiet));
    let died_at = h.now();
    h.clock.advance(1);
    assert!(h.declare_silent().await.is_empty(), "declared twice");
    let known = h.store.workers(MANY).await.unwrap();
    let quiet = known.iter().find(|worker| worker.id == quiet).unwrap();
    assert_eq!(quiet.dead_at, Some(died_at));
}

pub(crate) async fn a_beat_after_death_is_refused_for_ever(h: &mut Harness) {
    let worker = h.worker("w").await;
    h.declare_dead(&worker).await;
    let declared = h.store.workers(MANY).await.unwrap();
    for _ in 0..3 {
        assert!(is_dead(h.store.beat(&worker).await, &worker));
    }
    assert!(is_dead(h.store.register(&worker, "again").await, &worker));
    h.store.leave(&worker).await.unwrap();
    assert_eq!(h.store.workers(MANY).await.unwrap(), declared);
}

pub(crate) async fn an_unknown_worker_is_refused(h: &mut Harness) {
    let unknown = WorkerId::new("unknown").unwrap();
    assert!(is_dead(h.store.beat(&unknown).await, &unknown));
    h.store.leave(&unknown).await.unwrap();
    assert!(h.store.workers(MANY).await.unwrap().is_empty());
}

pub(crate) async fn an_id_is_never_used_twice(h: &mut Harness) {
    let worker = h.worker("w").await;
    assert!(is_dead(h.store.register(&worker, "again").await, &worker));
    h.store.beat(&worker).await.unwrap();
    h.store.leave(&worker).await.unwrap();
    assert!(is_dead(h.store.register(&worker, "again").await, &worker));
}

pub(crate) async fn a_worker_that_left_is_not_declared_dead_and_may_not_beat(h: &mut Harness) {
    let worker = h.worker("w").await;
    h.clock.advance(10);
    h.store.leave(&worker).await.unwrap();
    let left_at = h.now();
    h.clock.advance(60_000);
    h.store.leave(&worker).await.unwrap();
    assert!(h.declare_silent().await.is_empty());
    assert!(is_dead(h.store.beat(&worker).await, &worker));
    let known = h.store.workers(MANY).await.unwrap().remove(0);
    assert_eq!((known.left_at, known.dead_at), (Some(left_at), None));
}

pub(crate) async fn workers_are_listed_newest_first_and_bounded(h: &mut Harness) {
    for n in 0..5 {
        h.worker(&format!("w{n}")).await;
        h.clock.advance(1);
    }
    let listed = h.store.workers(3).await.unwrap();
    let names: Vec<_> = listed.iter().map(|worker| worker.id.as_str()).collect();
    assert_eq!(names, ["w4", "w3", "w2"]);
}

pub(crate) async fn a_clock_that_goes_back_kills_nobody(h: &mut Harness) {
    let worker = h.worker("w").await;
    h.clock.advance(-3_600_000);
    assert!(h.declare_silent().await.is_empty());
    h.store.beat(&worker).await.unwrap();
}

pub(crate) async fn workers_that_are_gone_are_forgotten_with_their_tallies(h: &mut Harness) {
    let (dead, left) = (h.worker("dead").await, h.worker("left").await);
    h.solved(&left, |_| ()).await;
    h.store.leave(&left).await.unwrap();
    h.declare_dead(&dead).await;
    h.worker("alive").await;
    let none = h.store.forget(&h.forget_before(h.now().plus(-3_600_000))).await.unwrap();
    assert_eq!((none.workers, none.tallies), (0, 0));
    let tallies = h.store.tallies(Dim::All, UnixMs(0), MANY).await.unwrap().len();
    assert!(tallies > 0);
    let gone = h.store.forget(&h.forget_before(h.now().plus(60_000))).await.unwrap();
    assert_eq!(gone.workers, 2);
    assert!(
        gone.tallies > 0 && h.store.tallies(Dim::All, UnixMs(0), MANY).await.unwrap().is_empty()
    );
    let names: Vec<_> = h.store.workers(MANY).await.unwrap();
    assert_eq!(names.len(), 1, "only the living one is left: {names:?}");
}
