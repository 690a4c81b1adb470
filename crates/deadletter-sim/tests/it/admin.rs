//! The admin door.

use deadletter_sim::{Scenario, Simulator};
use serde_json::Value;

use crate::client::{get, poll, post, submit, submit_id};

const PAGE: &str = "https://a.example/";

async fn open() -> Simulator {
    Simulator::start(Scenario::default().speed(0.0).solve_ms(10_000).admin()).await.unwrap()
}

#[tokio::test]
async fn the_door_is_shut_unless_the_scenario_opens_it() {
    let sim = Simulator::start(Scenario::default()).await.unwrap();
    assert_eq!(get(&sim, "/admin/stats").await.status, 404);
}

#[tokio::test]
async fn an_outage_is_switched_on_and_off_and_the_door_stays_open() {
    let sim = open().await;
    assert_eq!(post(&sim, "/admin/outage", "mode=html_502").await.json()["ok"], true);
    assert_eq!(submit(&sim, PAGE).await.status, 502);
    assert_eq!(get(&sim, "/admin/stats").await.json()["outage"], "html_502");
    post(&sim, "/admin/outage?mode=off", "").await;
    submit_id(&sim, PAGE).await;
}

#[tokio::test]
async fn an_outage_that_would_shut_the_door_for_ever_is_refused() {
    let sim = open().await;
    let heard = post(&sim, "/admin/outage", "mode=refuse").await;
    assert_eq!(heard.status, 400);
    assert!(heard.body.contains("for_ms"), "{heard:?}");
    post(&sim, "/admin/outage", "mode=refuse&for_ms=1000").await;
    sim.until_port(false).await;
    sim.advance_ms(1_000);
    sim.until_port(true).await;
    assert_eq!(get(&sim, "/admin/stats").await.status, 200);
}

#[tokio::test]
async fn time_threads_and_keys_are_changed_through_the_door() {
    let sim = open().await;
    let id = submit_id(&sim, PAGE).await;
    post(&sim, "/admin/advance", "ms=10000").await;
    assert!(poll(&sim, &id).await.request().starts_with("SIM-"));
    post(&sim, "/admin/threads", "n=0").await;
    assert_eq!(submit(&sim, PAGE).await.request(), "ERROR_ZERO_BALANCE");
    post(&sim, "/admin/speed", "factor=2.5").await;
    assert_eq!(sim.stats().speed, 2.5);
    let key = "anotheranotheranotheranotheranot";
    let path = format!("/res.php?action=getbalance&key={key}");
    assert_eq!(get(&sim, &path).await.body, "ERROR_KEY_DOES_NOT_EXIST");
    post(&sim, "/admin/keys", &format!("add={key}")).await;
    assert_eq!(get(&sim, &path).await.body, "12.345");
}

#[tokio::test]
async fn totals_and_log_are_shown_and_do_not_count_the_door_itself() {
    let sim = open().await;
    submit_id(&sim, PAGE).await;
    submit_id(&sim, PAGE).await;
    let stats = get(&sim, "/admin/stats").await.json();
    assert_eq!((stats["requests"].as_u64(), stats["paid"].as_u64()), (Some(2), Some(2)));
    let tail = get(&sim, "/admin/log?tail=1").await.body;
    let line: Value = serde_json::from_str(tail.trim_end()).unwrap();
    assert_eq!(line["seq"], 2);
}

#[tokio::test]
async fn what_makes_no_sense_is_refused_with_the_reason() {
    let sim = open().await;
    for (path, form) in [
        ("/admin/outage", "mode=sideways"),
        ("/admin/threads", "n=-1"),
        ("/admin/speed", "factor=NaN"),
        ("/admin/advance", ""),
        ("/admin/keys", ""),
    ] {
        assert_eq!(post(&sim, path, form).await.status, 400, "{path} {form}");
    }
    assert_eq!(get(&sim, "/admin/nothing").await.status, 404);
}
