//! The named scenarios do what their texts say.

use std::io::ErrorKind;

use deadletter_sim::{Scenario, Simulator};

use crate::client::{exchange, form, get_bytes, poll, submit, submit_id};

async fn named(name: &str) -> Simulator {
    Simulator::start(Scenario::named(name).unwrap().speed(0.0)).await.unwrap()
}

fn page(n: u32) -> String {
    format!("https://{n}.example/")
}

#[tokio::test]
async fn outage_is_healthy_then_out_then_healthy_whenever_a_run_begins() {
    let sim = named("outage").await;
    sim.advance_ms(3_600_000);
    let first = submit_id(&sim, &page(0)).await;
    for n in 1..12 {
        submit_id(&sim, &page(n)).await;
    }
    sim.advance_ms(5_000);
    sim.until_port(false).await;
    let bytes = get_bytes(&format!("/in.php?{}", form("https://x.example/")));
    let refused = exchange(&sim, &bytes).await;
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::ConnectionRefused);
    sim.advance_ms(60_000);
    sim.until_port(true).await;
    assert_eq!(poll(&sim, &first).await.status, 502);
    sim.advance_ms(20_000);
    assert!(poll(&sim, &first).await.request().starts_with("SIM-"));
    submit_id(&sim, &page(12)).await;
}

#[tokio::test]
async fn timeout_cluster_makes_late_only_what_is_submitted_in_its_minute() {
    let sim = named("timeout-cluster").await;
    let early = submit_id(&sim, &page(0)).await;
    sim.advance_ms(20_000);
    let late = submit_id(&sim, &page(1)).await;
    sim.advance_ms(60_000);
    let after = submit_id(&sim, &page(2)).await;
    sim.advance_ms(250_000);
    assert!(poll(&sim, &early).await.request().starts_with("SIM-"));
    assert_eq!(poll(&sim, &late).await.request(), "CAPCHA_NOT_READY");
    assert!(poll(&sim, &after).await.request().starts_with("SIM-"));
    sim.advance_ms(60_000);
    assert!(poll(&sim, &late).await.request().starts_with("SIM-"));
}

#[tokio::test]
async fn banned_lifts_after_five_minutes_from_the_first_request() {
    let sim = named("banned").await;
    sim.advance_ms(1_000);
    assert_eq!(submit(&sim, &page(0)).await.request(), "IP_BANNED");
    sim.advance_ms(300_000);
    submit_id(&sim, &page(0)).await;
}

#[tokio::test]
async fn bad_key_refuses_the_default_key_and_then_bans() {
    let sim = named("bad-key").await;
    for _ in 0..5 {
        assert_eq!(submit(&sim, &page(0)).await.request(), "ERROR_KEY_DOES_NOT_EXIST");
    }
    assert_eq!(submit(&sim, &page(0)).await.request(), "IP_BANNED");
    assert_eq!(sim.stats().paid, 0);
}

#[tokio::test]
async fn no_slot_refuses_the_fifth_job() {
    let sim = named("no-slot").await;
    for n in 0..4 {
        submit_id(&sim, &page(n)).await;
    }
    assert_eq!(submit(&sim, &page(4)).await.request(), "ERROR_NO_SLOT_AVAILABLE");
}

#[tokio::test]
async fn unsolvable_sitekey_fails_its_site_and_no_other() {
    let sim = named("unsolvable-sitekey").await;
    let broken = submit_id(&sim, "https://broken.example/login").await;
    let sound = submit_id(&sim, &page(0)).await;
    sim.advance_ms(600_000);
    assert_eq!(poll(&sim, &broken).await.request(), "ERROR_CAPTCHA_UNSOLVABLE");
    assert!(poll(&sim, &sound).await.request().starts_with("SIM-"));
}

/// Plays a rough scenario with one patient client; returns the faults that it met.
async fn faults_met(name: &str) -> Vec<String> {
    let sim = Simulator::start(Scenario::named(name).unwrap().speed(0.0).threads(1_000)).await;
    let sim = sim.unwrap();
    for n in 0..120 {
        let bytes = get_bytes(&format!("/in.php?{}", form(&page(n))));
        let asked = sim.stats().requests;
        tokio::select! {
            biased;
            _ = exchange(&sim, &bytes) => {}
            // What hangs is counted as soon as it was read; what drips is left alone.
            () = sim.until(|stats| stats.requests > asked) => {}
        }
    }
    sim.stats().faults.into_keys().collect()
}

#[tokio::test]
async fn rough_scenarios_show_each_of_their_faults_in_a_hundred_submits() {
    assert_eq!(
        faults_met("flaky").await,
        ["error", "html_502", "no_slot", "reset_before", "unsolvable"]
    );
    assert_eq!(
        faults_met("malformed").await,
        ["empty_body", "error", "garbage", "html_200", "plain_error", "wrong_id"]
    );
    assert_eq!(
        faults_met("disconnects").await,
        ["cut_body", "forget_after_delivery", "hang", "reset_after", "reset_before"]
    );
    assert_eq!(faults_met("slow").await, ["slow_drip"]);
    assert_eq!(faults_met("happy").await, Vec::<String>::new());
}
