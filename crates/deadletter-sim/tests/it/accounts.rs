//! Keys, bans and limits.

use deadletter_sim::{DEFAULT_KEY, Scenario, Simulator};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

use crate::client::{exchange, form, get, poll, post, post_bytes, submit, submit_id};

const PAGE: &str = "https://a.example/";
const UNKNOWN_KEY: &str = "unknownunknownunknownunknownunkn";

#[tokio::test]
async fn a_key_of_wrong_length_and_an_unknown_key_have_their_own_errors() {
    let sim = Simulator::start(Scenario::default()).await.unwrap();
    let with_key = |key: &str| form(PAGE).replace(DEFAULT_KEY, key);
    assert_eq!(post(&sim, "/in.php", &with_key("short")).await.request(), "ERROR_WRONG_USER_KEY");
    let unknown = post(&sim, "/in.php", &with_key(UNKNOWN_KEY)).await.request();
    assert_eq!(unknown, "ERROR_KEY_DOES_NOT_EXIST");
}

#[tokio::test]
async fn five_bad_keys_get_the_address_banned_for_five_minutes() {
    let sim = Simulator::start(Scenario::default().speed(0.0)).await.unwrap();
    let id = submit_id(&sim, PAGE).await;
    let bad = form(PAGE).replace(DEFAULT_KEY, UNKNOWN_KEY);
    for _ in 0..5 {
        assert_eq!(post(&sim, "/in.php", &bad).await.request(), "ERROR_KEY_DOES_NOT_EXIST");
    }
    assert_eq!(post(&sim, "/in.php", &bad).await.request(), "IP_BANNED");
    assert_eq!(poll(&sim, &id).await.request(), "IP_BANNED", "a good key is banned with it");
    sim.advance_ms(299_999);
    assert_eq!(submit(&sim, PAGE).await.request(), "IP_BANNED");
    sim.advance_ms(1);
    assert!(poll(&sim, &id).await.request().starts_with("SIM-"), "the id stayed valid");
    assert_eq!(post(&sim, "/in.php", &bad).await.request(), "ERROR_KEY_DOES_NOT_EXIST");
}

#[tokio::test]
async fn a_key_that_was_taken_away_comes_back_with_its_jobs() {
    let sim = Simulator::start(Scenario::default().speed(0.0).solve_ms(10)).await.unwrap();
    let id = submit_id(&sim, PAGE).await;
    sim.remove_key(DEFAULT_KEY);
    assert_eq!(poll(&sim, &id).await.request(), "ERROR_KEY_DOES_NOT_EXIST");
    sim.add_key(DEFAULT_KEY);
    assert_eq!(sim.stats().open_jobs, 1);
    sim.advance_ms(10);
    assert!(poll(&sim, &id).await.request().starts_with("SIM-"));
}

#[tokio::test]
async fn missing_parameters_are_refused_without_a_job() {
    let sim = Simulator::start(Scenario::default()).await.unwrap();
    let refused = form(PAGE).replace("pageurl", "url");
    assert_eq!(post(&sim, "/in.php", &refused).await.request(), "ERROR_PAGEURL");
    assert_eq!(sim.stats().paid, 0);
}

#[tokio::test]
async fn a_body_over_the_cap_is_refused() {
    let mut scenario = Scenario::default();
    scenario.limits.body_bytes = 1_000;
    let sim = Simulator::start(scenario).await.unwrap();
    let head = "application/x-www-form-urlencoded";
    let heard = exchange(&sim, &post_bytes("/in.php", head, &[b'x'; 1_001])).await.unwrap();
    assert_eq!(heard.status, 413);
}

#[tokio::test]
async fn a_full_job_table_refuses_loudly() {
    let mut scenario = Scenario::default();
    scenario.limits.jobs = 1;
    let sim = Simulator::start(scenario).await.unwrap();
    submit_id(&sim, PAGE).await;
    let heard = submit(&sim, PAGE).await;
    assert_eq!(heard.status, 503);
    assert!(heard.body.contains("job table is full"), "{heard:?}");
}

#[tokio::test]
async fn connections_over_the_limit_are_reset() {
    let mut scenario = Scenario::default();
    scenario.limits.connections = 1;
    let sim = Simulator::start(scenario).await.unwrap();
    let mut first = TcpStream::connect(("127.0.0.1", sim.port())).await.unwrap();
    // The reset may come before the client's own connect has returned.
    let second = async { TcpStream::connect(("127.0.0.1", sim.port())).await?.read_u8().await };
    let error = second.await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    assert_eq!(sim.stats().connections_refused, 1);
    // The first is served as before.
    let bytes = crate::client::get_bytes("/res.php");
    tokio::io::AsyncWriteExt::write_all(&mut first, &bytes).await.unwrap();
    assert_eq!(first.read_u8().await.unwrap(), b'H');
}

#[tokio::test]
async fn other_paths_and_verbs_are_refused_as_a_web_server_does() {
    let sim = Simulator::start(Scenario::default()).await.unwrap();
    assert_eq!(get(&sim, "/getTask").await.status, 404);
    let heard = exchange(&sim, b"PUT /in.php HTTP/1.1\r\nhost: s\r\nconnection: close\r\n\r\n");
    assert_eq!(heard.await.unwrap().status, 405);
}
