//! What upstream does is not the client's concern: it is full, away, or refuses.

use crate::rig::{JOB, KEY, World};
use deadletter::core::StateKind;
use deadletter_sim::{OutageMode, Scenario};
use std::time::Duration;

#[tokio::test(flavor = "multi_thread")]
async fn a_job_is_accepted_while_upstream_is_away_and_solved_when_it_is_back() {
    let world = World::start().await;
    world.sim.outage(OutageMode::Html502);
    let id = world.submit().await;
    assert_eq!(
        world.get(&format!("/res.php?key={KEY}&action=get&id={id}")).await.body,
        "CAPCHA_NOT_READY"
    );
    world.sim.end_outage();
    assert!(world.verdict(&id, "").await.body.starts_with("OK|"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_beyond_the_capacity_is_refused_in_upstreams_words() {
    let world =
        World::with(Scenario::named("happy").unwrap(), |settings| settings.capacity = 2).await;
    world.sim.outage(OutageMode::Html502);
    world.submit().await;
    world.submit().await;
    let reply = world.get(&format!("/in.php?key={KEY}&{JOB}&json=1")).await;
    assert_eq!(reply.body, r#"{"status":0,"request":"ERROR_NO_SLOT_AVAILABLE"}"#);
    assert_eq!(world.store.totals().await.unwrap().accepted, 2);
    let task = serde_json::json!({"type": "TurnstileTaskProxyless", "websiteKey": "k",
        "websiteURL": "https://a.example/"});
    let create = serde_json::json!({"clientKey": KEY, "task": task}).to_string();
    let reply = world.post("/createTask", "application/json", create.as_bytes()).await;
    assert!(reply.body.contains("ERROR_NO_SLOT_AVAILABLE"), "{reply:?}");
    let page = world.get("/metrics").await.body;
    for path in ["in.php", "createTask"] {
        let counted = format!("deadletter_requests_total{{path=\"{path}\",word=\"refused\"}} 1");
        assert!(page.contains(&counted), "{counted} is not in\n{page}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_waits_for_its_turn_and_keeps_nobody_from_being_answered() {
    let world =
        World::with(Scenario::named("happy").unwrap(), |settings| settings.capacity = 0).await;
    let submit = format!("/in.php?key={KEY}&{JOB}");
    let refused = futures_util::future::join_all((0..100).map(|_| world.get(&submit)));
    let is_waiting = |page: &str| {
        let count = page.lines().find_map(|line| line.strip_prefix("deadletter_refusals_waiting "));
        count.expect("told") != "0"
    };
    let (refused, _) = tokio::join!(refused, world.ask_until("/metrics", is_waiting));
    assert!(refused.iter().all(|reply| reply.body == "ERROR_NO_SLOT_AVAILABLE"));
    assert!(!is_waiting(&world.get("/metrics").await.body));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_can_never_work_is_refused_at_once_where_the_gateway_waits() {
    let scenario = Scenario::named("happy").unwrap();
    let world =
        World::with(scenario, |settings| settings.submit_wait = Duration::from_secs(4)).await;
    let bad = format!("/in.php?key={KEY}&method=userrecaptcha&pageurl=https://a.example/");
    let refused = world.get(&bad).await.body;
    assert!(refused.starts_with("ERROR_"), "{refused}");
    let id = world.submit().await;
    let task = world.store.get(&[id.parse().unwrap()]).await.unwrap().pop().flatten().unwrap();
    assert!(task.kind() != StateKind::Dead, "{task:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_starts_anew_answers_for_the_ids_of_the_one_before() {
    let world = World::start().await;
    let id = world.submit().await;
    let solved = world.verdict(&id, "").await.body;
    let World { gateway, engine, store, sim } = world;
    gateway.stop().await;
    engine.stop().await.unwrap();
    sim.stop().await;
    let again = World::on(store, Scenario::named("happy").unwrap(), |_| ()).await;
    assert_eq!(again.verdict(&id, "").await.body, solved);
}
