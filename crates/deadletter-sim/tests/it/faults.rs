//! Each scripted fault, as it is seen on the wire.

use std::io::ErrorKind;
use std::sync::Arc;

use deadletter_sim::{Fault, Phase, Rule, Scenario, Simulator};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::client::{
    Heard, exchange, form, get_bytes, poll, poll_path, post_bytes, submit, submit_id,
};

const PAGE: &str = "https://a.example/";

/// A simulator whose time stands still, with jobs of ten seconds and this rule.
async fn with(rule: Rule) -> Simulator {
    let scenario = Scenario::default().speed(0.0).solve_ms(10_000).rule(rule);
    Simulator::start(scenario).await.unwrap()
}

async fn try_submit(sim: &Simulator) -> std::io::Result<Heard> {
    let bytes = post_bytes("/in.php", "application/x-www-form-urlencoded", form(PAGE).as_bytes());
    exchange(sim, &bytes).await
}

#[tokio::test]
async fn not_ready_answers_so_many_polls_of_each_job() {
    let sim = with(Rule::new(Fault::NotReady).on(Phase::Poll).times(2).per_job()).await;
    for _ in 0..2 {
        let id = submit_id(&sim, PAGE).await;
        sim.advance_ms(10_000);
        assert_eq!(poll(&sim, &id).await.request(), "CAPCHA_NOT_READY");
        assert_eq!(poll(&sim, &id).await.request(), "CAPCHA_NOT_READY");
        assert!(poll(&sim, &id).await.request().starts_with("SIM-"));
    }
}

#[tokio::test]
async fn an_unsolvable_job_is_pending_first_and_unsolvable_ever_after() {
    let sim = with(Rule::new(Fault::Unsolvable).sitekey("6LeSIM*").times(1)).await;
    let id = submit_id(&sim, PAGE).await;
    assert_eq!(poll(&sim, &id).await.request(), "CAPCHA_NOT_READY");
    sim.advance_ms(10_000);
    for _ in 0..2 {
        assert_eq!(poll(&sim, &id).await.request(), "ERROR_CAPTCHA_UNSOLVABLE");
    }
    let id = submit_id(&sim, PAGE).await;
    sim.advance_ms(10_000);
    assert!(poll(&sim, &id).await.request().starts_with("SIM-"), "only the first job was hit");
}

#[tokio::test]
async fn refusals_on_submit_create_no_job() {
    for (fault, code) in [
        (Fault::NoSlot, "ERROR_NO_SLOT_AVAILABLE"),
        (Fault::ZeroBalance, "ERROR_ZERO_BALANCE"),
        (Fault::Error { code: "ERROR_BAD_PROXY".into() }, "ERROR_BAD_PROXY"),
    ] {
        let sim = with(Rule::new(fault).on(Phase::Submit).times(1)).await;
        assert_eq!(submit(&sim, PAGE).await.request(), code);
        assert_eq!(sim.stats().paid, 0);
        submit_id(&sim, PAGE).await;
        assert_eq!(sim.stats().paid, 1);
    }
}

#[tokio::test]
async fn an_error_can_come_as_plain_text_although_json_was_asked_for() {
    let fault = Fault::PlainError { code: "ERROR_SERVER_ERROR".into() };
    let sim = with(Rule::new(fault)).await;
    assert_eq!(submit(&sim, PAGE).await.body, "ERROR_SERVER_ERROR");
}

#[tokio::test]
async fn error_pages_come_with_their_status() {
    let sim = with(Rule::new(Fault::Html502).on(Phase::Submit)).await;
    let heard = submit(&sim, PAGE).await;
    assert_eq!(heard.status, 502);
    assert!(heard.body.starts_with("<!DOCTYPE html>") && heard.head.contains("text/html"));

    let sim = with(Rule::new(Fault::Html200).on(Phase::Submit)).await;
    let heard = submit(&sim, PAGE).await;
    assert_eq!(heard.status, 200);
    assert!(heard.body.starts_with("<!DOCTYPE html>"));

    let sim = with(Rule::new(Fault::Http429 { retry_after_s: 7 }).on(Phase::Submit)).await;
    let heard = submit(&sim, PAGE).await;
    assert_eq!(heard.status, 429);
    assert!(heard.head.contains("retry-after: 7"), "{}", heard.head);
    assert_eq!(sim.stats().paid, 0);
}

#[tokio::test]
async fn an_error_page_may_hide_a_job_that_was_created() {
    let sim = with(Rule::new(Fault::Html502).on(Phase::Submit).creates_job(true)).await;
    assert_eq!(submit(&sim, PAGE).await.status, 502);
    assert_eq!(sim.log().paid_for(PAGE).len(), 1);
}

#[tokio::test]
async fn a_reset_before_creates_no_job_and_a_reset_after_does() {
    for (fault, paid) in [(Fault::ResetBefore, 0), (Fault::ResetAfter, 1)] {
        let sim = with(Rule::new(fault).on(Phase::Submit)).await;
        let error = try_submit(&sim).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
        assert_eq!(sim.stats().paid, paid);
        assert_eq!(sim.log().submits_of(PAGE)[0].answered, "RESET");
    }
}

#[tokio::test]
async fn a_hanging_request_is_never_answered() {
    let sim = Arc::new(with(Rule::new(Fault::Hang).on(Phase::Submit)).await);
    let client = tokio::spawn({
        let sim = Arc::clone(&sim);
        async move { try_submit(&sim).await }
    });
    sim.until(|stats| stats.faults.get("hang") == Some(&1)).await;
    sim.advance_ms(86_400_000);
    // Another question is answered meanwhile, and the first still is not.
    assert_eq!(poll(&sim, "1").await.request(), "ERROR_WRONG_CAPTCHA_ID");
    assert!(!client.is_finished());
    client.abort();
}

#[tokio::test]
async fn a_cut_body_is_shorter_than_its_head_announces() {
    let sim = with(Rule::new(Fault::CutBody).on(Phase::Submit)).await;
    let heard = submit(&sim, PAGE).await;
    let announced = heard.announced.unwrap();
    assert_eq!(heard.body.len(), announced / 2, "{heard:?}");
    assert_eq!(sim.stats().paid, 1);
}

#[tokio::test]
async fn garbage_and_empty_bodies_leave_the_client_in_doubt() {
    let sim = with(Rule::new(Fault::Garbage).on(Phase::Submit)).await;
    let heard = submit(&sim, PAGE).await;
    assert!(serde_json::from_str::<serde_json::Value>(&heard.body).is_err());
    assert!(!heard.body.contains('|') && !heard.body.starts_with("ERROR"));
    assert_eq!(sim.stats().paid, 1);

    let sim = with(Rule::new(Fault::EmptyBody).on(Phase::Submit)).await;
    let heard = submit(&sim, PAGE).await;
    assert_eq!((heard.status, heard.body.as_str()), (200, ""));
    assert_eq!(sim.stats().paid, 1);
}

#[tokio::test]
async fn a_wrong_id_is_an_id_that_no_job_has() {
    let sim = with(Rule::new(Fault::WrongId).on(Phase::Submit).times(1)).await;
    let wrong = submit(&sim, PAGE).await.request();
    assert_eq!(poll(&sim, &wrong).await.request(), "ERROR_WRONG_CAPTCHA_ID");
    let right = sim.log().paid()[0].id.clone().unwrap();
    assert_ne!(wrong, right);
    assert_eq!(poll(&sim, &right).await.request(), "CAPCHA_NOT_READY");
}

#[tokio::test]
async fn a_dripping_body_comes_byte_by_byte_as_time_goes_on() {
    let sim = with(Rule::new(Fault::SlowDrip { gap_ms: 1_000 }).on(Phase::Submit)).await;
    let mut stream = TcpStream::connect(("127.0.0.1", sim.port())).await.unwrap();
    stream.write_all(&get_bytes(&format!("/in.php?{}", form(PAGE)))).await.unwrap();
    let mut heard = Vec::new();
    while !heard.ends_with(b"\r\n\r\n") {
        heard.push(stream.read_u8().await.unwrap());
    }
    let mut body = Vec::new();
    let mut chunk = [0; 64];
    loop {
        tokio::select! {
            biased;
            read = stream.read(&mut chunk) => match read.unwrap() {
                0 => break,
                n => {
                    assert!(n < 8, "{n} bytes came at once");
                    body.extend_from_slice(&chunk[..n]);
                }
            },
            () = tokio::task::yield_now() => sim.advance_ms(1_000),
        }
    }
    assert!(String::from_utf8(body).unwrap().starts_with("{\"status\":1,"));
}

#[tokio::test]
async fn a_delayed_answer_comes_when_its_time_has_come() {
    let sim = Arc::new(with(Rule::new(Fault::Delay { by_ms: 5_000 }).on(Phase::Submit)).await);
    let client = tokio::spawn({
        let sim = Arc::clone(&sim);
        async move { try_submit(&sim).await }
    });
    sim.until(|stats| stats.paid == 1).await;
    assert!(!client.is_finished());
    while !client.is_finished() {
        sim.advance_ms(5_000);
        tokio::task::yield_now().await;
    }
    assert_eq!(client.await.unwrap().unwrap().json()["status"], 1);
}

#[tokio::test]
async fn a_late_verdict_takes_longer_and_holds_its_thread_meanwhile() {
    let sim = with(Rule::new(Fault::Late { after_ms: 320_000 }).times(1)).await;
    let id = submit_id(&sim, PAGE).await;
    sim.advance_ms(319_999);
    assert_eq!(poll(&sim, &id).await.request(), "CAPCHA_NOT_READY");
    assert_eq!(sim.stats().open_jobs, 1);
    sim.advance_ms(1);
    assert!(poll(&sim, &id).await.request().starts_with("SIM-"));
    assert_eq!(sim.stats().open_jobs, 0);
}

#[tokio::test]
async fn an_id_can_be_forgotten_once_its_answer_left_even_when_that_was_lost() {
    let sim = with(Rule::new(Fault::ForgetAfterDelivery)).await;
    sim.add_rule(Rule::new(Fault::ResetAfter).on(Phase::Poll).skip(1).times(1)).unwrap();
    let id = submit_id(&sim, PAGE).await;
    assert_eq!(poll(&sim, &id).await.request(), "CAPCHA_NOT_READY");
    sim.advance_ms(10_000);
    let lost = exchange(&sim, &get_bytes(&poll_path(&id))).await;
    assert_eq!(lost.unwrap_err().kind(), ErrorKind::ConnectionReset);
    assert_eq!(poll(&sim, &id).await.request(), "ERROR_WRONG_CAPTCHA_ID");
}

#[tokio::test]
async fn answers_are_kept_no_longer_than_the_scenario_says() {
    let mut scenario = Scenario::default().speed(0.0).solve_ms(10_000);
    scenario.keep_answers_ms = Some(60_000);
    let sim = Simulator::start(scenario).await.unwrap();
    let id = submit_id(&sim, PAGE).await;
    sim.advance_ms(69_999);
    assert!(poll(&sim, &id).await.request().starts_with("SIM-"));
    sim.advance_ms(1);
    assert_eq!(poll(&sim, &id).await.request(), "ERROR_WRONG_CAPTCHA_ID");
}

#[tokio::test]
async fn a_rule_hits_only_the_pages_methods_and_times_that_it_names() {
    let rule = Rule::new(Fault::NoSlot).pageurl("*://bad.example/*").method("user*");
    let sim = with(rule.between(1_000, 2_000)).await;
    let bad = "https://bad.example/x";
    submit_id(&sim, bad).await;
    sim.advance_ms(1_000);
    submit_id(&sim, PAGE).await;
    assert_eq!(submit(&sim, bad).await.request(), "ERROR_NO_SLOT_AVAILABLE");
    sim.advance_ms(1_000);
    submit_id(&sim, bad).await;
}

#[tokio::test]
async fn faults_on_account_questions_need_no_job() {
    let fault = Fault::Error { code: "IP_BANNED".into() };
    let sim = with(Rule::new(fault).on(Phase::Account)).await;
    let path = poll_path("1").replace("action=get", "action=threadsinfo");
    assert_eq!(crate::client::get(&sim, &path).await.request(), "IP_BANNED");
    submit_id(&sim, PAGE).await;
}
