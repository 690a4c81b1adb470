//! Workers of several processes on one file: who is gone is found by its lock, who lives is left.

use crate::{
    backends::sqlite,
    harness::{Harness, run},
    sqlite_file::{beside, open_at, path_of},
};
use deadletter_core::WorkerId;
use deadletter_store::{Error, Registry};
use std::fs;

fn id(text: &str) -> WorkerId {
    WorkerId::new(text).unwrap()
}

#[tokio::test]
async fn a_worker_whose_process_is_gone_is_declared_dead_at_once() {
    run(sqlite(), async |h: &mut Harness| {
        let lives = h.worker("lives").await;
        let (gone, odd) = (id("gone"), id("../odd/\u{fc}"));
        let other = open_at(h, &path_of(h)).await.unwrap();
        other.register(&gone, "killed").await.unwrap();
        other.register(&odd, "killed too").await.unwrap();
        drop(other);

        h.worker("new").await;
        let workers = h.store.workers(10).await.unwrap();
        let dead: Vec<_> =
            workers.iter().filter(|w| w.dead_at.is_some()).map(|w| w.id.clone()).collect();
        assert_eq!(dead.len(), 2, "{workers:?}");
        assert!(dead.contains(&gone) && dead.contains(&odd));
        assert!(h.store.beat(&lives).await.is_ok());
        assert!(matches!(h.store.beat(&gone).await, Err(Error::DeclaredDead(_))));

        // Nobody asks about the dead again, nor about those who left.
        h.store.leave(&lives).await.unwrap();
        let files = fs::read_dir(beside(&path_of(h), ".workers")).unwrap();
        let names: Vec<_> = files.map(|file| file.unwrap().file_name()).collect();
        assert_eq!(names, ["new.lock"]);
    })
    .await;
}

#[tokio::test]
async fn whoever_looks_for_the_dead_finds_who_is_gone_before_they_were_silent_for_long() {
    run(sqlite(), async |h: &mut Harness| {
        let lives = h.worker("lives").await;
        let other = open_at(h, &path_of(h)).await.unwrap();
        other.register(&id("gone"), "killed").await.unwrap();
        assert!(h.declare_silent().await.is_empty());
        drop(other);
        assert_eq!(h.declare_silent().await, [id("gone")]);
        assert!(h.declare_silent().await.is_empty(), "declared twice");
        assert!(h.store.beat(&lives).await.is_ok());
    })
    .await;
}

#[tokio::test]
async fn a_worker_of_a_living_process_is_not_declared_dead_by_another() {
    run(sqlite(), async |h: &mut Harness| {
        let worker = h.worker("lives").await;
        let other = open_at(h, &path_of(h)).await.unwrap();
        other.register(&id("new"), "").await.unwrap();
        assert!(h.store.beat(&worker).await.is_ok());
        assert!(matches!(other.register(&worker, "").await, Err(Error::DeclaredDead(_))));
        assert!(h.store.beat(&worker).await.is_ok(), "the lock went with the refusal");
        drop(other);
        h.worker("third").await;
        assert!(h.store.beat(&worker).await.is_ok());
    })
    .await;
}
