//! Equal submits: two tasks, unless the gateway folds a client's own retries.

use crate::{
    keys::issue_to,
    rig::{JOB, KEY, World, memory},
};
use deadletter::store::Store;
use deadletter_gateway::{KeyTerms, Settings};
use deadletter_sim::{OutageMode, Scenario};
use secrecy::ExposeSecret;
use std::{sync::Arc, time::Duration};

/// The window of these tests on the engine's clock: a second or two of the wall.
const WINDOW_MS: i64 = 400_000;

fn folding(settings: &mut Settings) {
    settings.fold_ms = Some(WINDOW_MS);
    settings.deadline_ms = 86_400_000;
}

/// A gateway that folds, whose upstream refuses connections: a task lives for half an hour of its
/// clock without an answer.
async fn away(store: Arc<dyn Store>) -> World {
    let world = World::on(store, Scenario::named("happy").unwrap(), folding).await;
    world.sim.outage(OutageMode::Refuse);
    world
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
    let world = away(memory()).await;
    let first = world.id_of(&format!("/in.php?key={KEY}&{JOB}")).await;
    // What is the gateway's own, and the order, change nothing.
    let turned = JOB.split('&').rev().collect::<Vec<_>>().join("&");
    for again in [format!("{JOB}&soft_id=7&header_acao=1"), turned] {
        assert_eq!(world.id_of(&format!("/in.php?key={KEY}&{again}")).await, first);
    }
    let form = format!("key={KEY}&{JOB}");
    let posted = world.post("/in.php", "application/x-www-form-urlencoded", form.as_bytes()).await;
    assert_eq!(posted.body, format!("OK|{first}"));
    world.sim.end_outage();
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
    let world = away(memory()).await;
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
    let world = away(memory()).await;
    let shop = issue_to(&world, "shop", KeyTerms::default()).await;
    let ci = issue_to(&world, "ci", KeyTerms::default()).await;
    let target = |key: &secrecy::SecretString| format!("/in.php?key={}&{JOB}", key.expose_secret());
    let of_shop = world.id_of(&target(&shop)).await;
    assert_ne!(world.id_of(&target(&ci)).await, of_shop);
    assert_eq!(world.id_of(&target(&shop)).await, of_shop);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_next_gateway_folds_what_was_submitted_to_the_last_one_and_no_longer_than_its_window() {
    let world = away(memory()).await;
    let target = format!("/in.php?key={KEY}&{JOB}");
    let first = world.id_of(&target).await;
    let World { gateway, engine, store, sim } = world;
    gateway.stop().await;
    engine.stop().await.unwrap();
    sim.stop().await;
    let again = away(Arc::clone(&store)).await;
    assert_eq!(again.id_of(&target).await, first);
    // The window began with the first submit, on the engine's clock.
    let over = async {
        while again.id_of(&target).await == first {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), over).await.expect("a window without end");
}
