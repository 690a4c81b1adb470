//! Outages, the closing and opening of the port, and the end.

use std::io::ErrorKind;

use deadletter_sim::{Outage, OutageMode, Scenario, Simulator};

use crate::client::{Heard, exchange, form, get_bytes, poll, submit, submit_id};

const PAGE: &str = "https://a.example/";

async fn still() -> Simulator {
    Simulator::start(Scenario::default().speed(0.0).solve_ms(10_000)).await.unwrap()
}

async fn try_submit(sim: &Simulator) -> std::io::Result<Heard> {
    exchange(sim, &get_bytes(&format!("/in.php?{}", form(PAGE)))).await
}

#[tokio::test]
async fn jobs_go_on_during_an_outage_and_nothing_is_created() {
    let sim = still().await;
    let id = submit_id(&sim, PAGE).await;
    sim.outage(OutageMode::Html502);
    assert_eq!(submit(&sim, PAGE).await.status, 502);
    assert_eq!(poll(&sim, &id).await.status, 502);
    sim.advance_ms(10_000);
    sim.end_outage();
    assert!(poll(&sim, &id).await.request().starts_with("SIM-"));
    assert_eq!(sim.stats().paid, 1);
    assert_eq!(sim.log().with_fault("outage_html_502").len(), 2);
}

#[tokio::test]
async fn a_resetting_outage_resets_every_connection() {
    let sim = still().await;
    sim.outage_for(OutageMode::Reset, 5_000);
    assert_eq!(try_submit(&sim).await.unwrap_err().kind(), ErrorKind::ConnectionReset);
    sim.advance_ms(5_000);
    submit_id(&sim, PAGE).await;
}

#[tokio::test]
async fn a_refusing_outage_closes_the_port_and_opens_the_same_one_again() {
    let sim = still().await;
    sim.outage_for(OutageMode::Refuse, 5_000);
    sim.until_port(false).await;
    assert_eq!(try_submit(&sim).await.unwrap_err().kind(), ErrorKind::ConnectionRefused);
    sim.advance_ms(5_000);
    sim.until_port(true).await;
    submit_id(&sim, PAGE).await;
    assert_eq!(sim.stats().submits, 1, "what was refused never arrived");
}

#[tokio::test]
async fn a_planned_outage_begins_after_its_jobs_and_ends_by_itself() {
    let outage = Outage { mode: OutageMode::Html502, from_ms: 1_000, after_jobs: 2, for_ms: 3_000 };
    let scenario = Scenario::default().speed(0.0).outage(outage);
    let sim = Simulator::start(scenario).await.unwrap();
    sim.advance_ms(60_000);
    submit_id(&sim, PAGE).await;
    submit_id(&sim, PAGE).await;
    submit_id(&sim, PAGE).await;
    sim.advance_ms(1_000);
    assert_eq!(submit(&sim, PAGE).await.status, 502);
    sim.advance_ms(3_000);
    submit_id(&sim, PAGE).await;
}

#[tokio::test]
async fn an_upstream_that_was_closed_and_opened_forgets_nothing() {
    let sim = still().await;
    let id = submit_id(&sim, PAGE).await;
    sim.close_port().await;
    assert_eq!(try_submit(&sim).await.unwrap_err().kind(), ErrorKind::ConnectionRefused);
    sim.advance_ms(10_000);
    sim.open_port().await;
    assert!(poll(&sim, &id).await.request().starts_with("SIM-"));
}

#[tokio::test]
async fn a_stopped_simulator_leaves_its_port() {
    let sim = still().await;
    let port = sim.port();
    sim.stop().await;
    let error = tokio::net::TcpStream::connect(("127.0.0.1", port)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
    Simulator::start_on(Scenario::default(), port).await.unwrap();
}

#[tokio::test]
async fn a_port_that_is_taken_is_named_in_the_error() {
    let sim = still().await;
    let error = Simulator::start_on(Scenario::default(), sim.port()).await.unwrap_err();
    assert!(error.to_string().contains(&sim.port().to_string()), "{error}");
}
