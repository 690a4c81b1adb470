//! Equal submits: two tasks, unless the gateway folds a client's own retries.

use crate::{
    keys::issue_to,
    rig::{JOB, KEY, World, memory},
};
use deadletter::{
    core::UnixMs,
    store::{ManualClock, MemoryStore, Store},
};
use deadletter_gateway::{KeyTerms, Settings};
use secrecy::ExposeSecret;
use std::sync::Arc;

/// The window of these tests on the engine's clock: minutes of the wall where that clock runs.
const WINDOW_MS: i64 = 86_400_000;

fn folding(settings: &mut Settings) {
    settings.fold_ms = Some(WINDOW_MS);
    settings.deadline_ms = 2 * WINDOW_MS;
}

/// A gateway that folds, and whose engine does not work: a task stays without an answer.
async fn idle(store: Arc<dyn Store>) -> World {
    World::idle(store, folding).await
}

impl World {
    async fn id_of(&self, target: &str) -> String {
        let body = self.get(target).await.body;
        body.strip_prefix("OK|").unwrap_or_else(|| panic!("{target}: {body}")).to_owned()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_equal_submits_are_two_tasks_where_nothing_is_folded() {
    let world = World::start().await;
    let [first, second] = [world.submit().await, world.submit().await];
    assert_ne!(first, second);
    let answers = [world.verdict(&first, "").await.body, world.verdict(&second, "").await.body];
    assert!(answers.iter().all(|answer| answer.starts_with("OK|")), "{answers:?}");
    assert_ne!(answers[0], answers[1], "one token went to two tasks");
    assert_eq!(world.sim.stats().paid, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retry_of_a_submit_that_has_no_answer_yet_is_the_same_task() {
    let world = idle(memory()).await;
    let first = world.id_of(&format!("/in.php?key={KEY}&{JOB}")).await;
    // What is the gateway's own, and the order, change nothing.
    let turned = JOB.split('&').rev().collect::<Vec<_>>().join("&");
    for again in [format!("{JOB}&soft_id=7&header_acao=1"), turned] {
        assert_eq!(world.id_of(&format!("/in.php?key={KEY}&{again}")).await, first);
    }
    let form = format!("key={KEY}&{JOB}");
    let posted = world.post("/in.php", "application/x-www-form-urlencoded", form.as_bytes()).await;
    assert_eq!(posted.body, format!("OK|{first}"));
    world.engine.set_to_work().await.unwrap();
    let token = world.verdict(&first, "").await.body;
    assert!(token.starts_with("OK|"));
    assert_eq!(world.sim.stats().paid, 1);
    // It is answered: the same parameters are another wish, with a token of its own.
    let next = world.submit().await;
    assert_ne!(next, first);
    assert_ne!(world.verdict(&next, "").await.body, token);
    assert_eq!(world.verdict(&first, "").await.body, token);
    assert_eq!(world.sim.stats().paid, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_equal_submits_at_once_are_one_task_and_any_other_parameter_is_another() {
    let world = idle(memory()).await;
    let target = format!("/in.php?key={KEY}&{JOB}");
    let at_once = (0..20).map(|_| world.id_of(&target));
    let ids = futures_util::future::join_all(at_once).await;
    assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
    let mut others = vec![ids[0].clone()];
    for more in ["&invisible=1", "&pageurl=https://b.example/", "&idempotency_key=mine"] {
        let id = world.id_of(&format!("{target}{more}")).await;
        assert!(!others.contains(&id), "{more}");
        others.push(id);
    }
    // A key of the client's own goes before the window.
    assert_eq!(world.id_of(&format!("{target}&idempotency_key=mine")).await, others[3]);
}

#[tokio::test(flavor = "multi_thread")]
async fn equal_submits_of_two_keys_are_two_tasks() {
    let world = idle(memory()).await;
    let shop = issue_to(&world, "shop", KeyTerms::default()).await;
    let ci = issue_to(&world, "ci", KeyTerms::default()).await;
    let target = |key: &secrecy::SecretString| format!("/in.php?key={}&{JOB}", key.expose_secret());
    let of_shop = world.id_of(&target(&shop)).await;
    assert_ne!(world.id_of(&target(&ci)).await, of_shop);
    assert_eq!(world.id_of(&target(&shop)).await, of_shop);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_next_gateway_folds_what_was_submitted_to_the_last_one_and_no_longer_than_its_window() {
    let clock = Arc::new(ManualClock::at(UnixMs(1_790_000_000_000)));
    let world = idle(Arc::new(MemoryStore::new(clock.clone()))).await;
    let target = format!("/in.php?key={KEY}&{JOB}");
    let first = world.id_of(&target).await;
    let World { gateway, engine, store, sim } = world;
    gateway.stop().await;
    engine.stop().await.unwrap();
    sim.stop().await;
    let again = idle(Arc::clone(&store)).await;
    assert_eq!(again.id_of(&target).await, first);
    // The window began with the first submit, on the engine's clock.
    clock.advance(WINDOW_MS - 1);
    assert_eq!(again.id_of(&target).await, first);
    clock.advance(1);
    assert_ne!(again.id_of(&target).await, first);
}
