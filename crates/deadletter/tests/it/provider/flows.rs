//! Plain flows and scripted faults against the simulator.

use super::peer::{Peer, answer};
use super::*;
use ::secrecy::ExposeSecret;
use deadletter::core::Cause;
use deadletter_sim::{Fault, OutageMode, Phase, Rule, Scenario, Simulator};

async fn simulator(scenario: Scenario) -> Simulator {
    Simulator::start(scenario.keys([KEY]).speed(0.0).solve_ms(1_000)).await.unwrap()
}

#[tokio::test]
async fn a_task_is_submitted_polled_and_answered() {
    let simulator = simulator(Scenario::default()).await;
    let provider = patient(&simulator.base_url());
    let id = submit(&provider, &recaptcha()).await.unwrap();
    assert!(matches!(provider.poll(&id).await, Ok(Polled::NotReady)));
    simulator.advance_ms(60_000);
    let Ok(Polled::Answer(reply)) = provider.poll(&id).await else { panic!("no answer") };
    assert!(!reply.text.expose_secret().is_empty());
    assert_eq!(reply.dialect, "res.php/json");
    let log = simulator.log();
    assert_eq!((log.paid().len(), log.polls_of(id.as_str()).len()), (1, 2));
}

#[tokio::test]
async fn a_report_is_told_and_its_answer_read_in_both_dialects() {
    let simulator = simulator(Scenario::default()).await;
    let provider = patient(&simulator.base_url());
    let id = submit(&provider, &recaptcha()).await.unwrap();
    let cause = |told: Result<(), PollError>| match told {
        Err(PollError::Failed(JobFailed(failure))) => failure.cause.to_string(),
        other => panic!("not refused: {other:?}"),
    };
    assert_eq!(
        cause(provider.report(&id, "userrecaptcha", false).await),
        "ERROR_REPORT_NOT_RECORDED"
    );
    simulator.advance_ms(60_000);
    assert_eq!(provider.report(&id, "userrecaptcha", false).await, Ok(()));
    assert_eq!(cause(provider.report(&id, "userrecaptcha", true).await), "ERROR_DUPLICATE_REPORT");
    let log = simulator.log();
    let actions = log.entries().filter_map(|entry| entry.action.as_deref());
    assert_eq!(actions.collect::<Vec<_>>(), ["reportbad", "reportbad", "reportgood"]);
    let in_text = Peer::answering(&[answer(200, "", "OK_REPORT_RECORDED\n")]).await;
    assert_eq!(patient(&in_text.base).report(&id, "userrecaptcha", true).await, Ok(()));
    let away = Peer::answering(&[answer(502, "", "<html>bad gateway</html>")]).await;
    let told = patient(&away.base).report(&id, "userrecaptcha", true).await;
    assert!(matches!(told, Err(PollError::CouldNotAsk(_))), "{told:?}");
}

#[tokio::test]
async fn every_method_of_the_simulator_can_be_answered() {
    let simulator = simulator(Scenario::default()).await;
    let provider = patient(&simulator.base_url());
    for fields in [
        json!({"method": "post", "file": "aGVsbG8=".repeat(40)}),
        json!({"method": "base64", "body": "aGVsbG8=".repeat(40)}),
        json!({"method": "userrecaptcha", "googlekey": "6Le-wvkSAAAAAPBMRTvw0Q4Muexq9bi0DJwx_mJ-", "pageurl": "https://a.example", "enterprise": 1}),
        json!({"method": "geetest", "gt": "019924a82c70bb123aae90d483087f94", "challenge": "12345678abc90123d45678ef90123a456b", "pageurl": "https://a.example"}),
        json!({"method": "turnstile", "sitekey": "0x4AAAAAAADnPIDROrmt1Wwj", "pageurl": "https://a.example"}),
    ] {
        let id = submit(&provider, &fields).await.unwrap();
        simulator.advance_ms(300_000);
        assert!(matches!(provider.poll(&id).await, Ok(Polled::Answer(_))), "{fields}");
    }
}

#[tokio::test]
async fn a_full_account_is_capacity() {
    let simulator = simulator(Scenario::default().threads(1)).await;
    let provider = patient(&simulator.base_url());
    submit(&provider, &recaptcha()).await.unwrap();
    let failure = refused(submit(&provider, &recaptcha()).await);
    assert_eq!(brief(&failure), ("ERROR_ZERO_BALANCE", Class::Capacity, None));
    let state = provider.account().await.unwrap();
    assert_eq!((state.threads, state.working), (Some(1), Some(1)));
    assert!(state.balance.is_some());
}

#[tokio::test]
async fn a_wrong_key_is_the_account() {
    let simulator = simulator(Scenario::default()).await;
    simulator.remove_key(KEY);
    let provider = patient(&simulator.base_url());
    let failure = refused(submit(&provider, &recaptcha()).await);
    assert_eq!(brief(&failure), ("ERROR_KEY_DOES_NOT_EXIST", Class::Account, None));
    assert!(matches!(provider.account().await, Err(PollError::Failed(_))));
}

#[tokio::test]
async fn each_fault_of_a_submit_is_refused_or_in_doubt_and_never_silent() {
    let error = |code: &str| Fault::Error { code: code.to_owned() };
    let plain = |code: &str| Fault::PlainError { code: code.to_owned() };
    let refusals = [
        (Fault::NoSlot, Class::Capacity),
        (Fault::Http429 { retry_after_s: 3 }, Class::Capacity),
        (error("ERROR_BAD_PROXY"), Class::Proxy),
        (plain("ERROR_PAGEURL"), Class::Permanent),
        (plain("ERROR_TOKEN_EXPIRED"), Class::Stale),
    ];
    for (fault, class) in refusals {
        let rule = Rule::new(fault).on(Phase::Submit);
        let simulator = simulator(Scenario::default().rule(rule)).await;
        let failure = refused(submit(&patient(&simulator.base_url()), &recaptcha()).await);
        assert_eq!((failure.class, simulator.stats().paid), (class, 0), "{failure:?}");
    }
    let doubts = [
        (Fault::Html502, Cause::UNREADABLE),
        (Fault::Html200, Cause::UNREADABLE),
        (Fault::Garbage, Cause::UNREADABLE),
        (Fault::EmptyBody, Cause::UNREADABLE),
        (Fault::CutBody, Cause::NETWORK),
        (Fault::ResetBefore, Cause::NETWORK),
        (Fault::ResetAfter, Cause::NETWORK),
        (Fault::Hang, Cause::NETWORK),
    ];
    for (fault, cause) in doubts {
        let rule = Rule::new(fault).on(Phase::Submit);
        let simulator = simulator(Scenario::default().rule(rule)).await;
        let (sent, failure) = doubted(submit(&hasty(&simulator.base_url()), &recaptcha()).await);
        assert_eq!((sent, failure.cause.as_str()), (Sent::Maybe, cause), "{failure:?}");
        assert_eq!(simulator.stats().submits, 1);
    }
}

#[tokio::test]
async fn a_closed_port_is_unsent_and_an_open_one_works_again() {
    let simulator = simulator(Scenario::default()).await;
    let provider = patient(&simulator.base_url());
    simulator.close_port().await;
    let (sent, _) = doubted(submit(&provider, &recaptcha()).await);
    assert_eq!(sent, Sent::No);
    simulator.open_port().await;
    submit(&provider, &recaptcha()).await.unwrap();
    simulator.outage(OutageMode::Html502);
    let failure = unasked(poll(&provider).await);
    assert_eq!(failure.cause.as_str(), Cause::UNREADABLE);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_requests_at_once_share_a_bounded_number_of_connections() {
    let simulator = simulator(Scenario::default().threads(1_000)).await;
    let limit = 8;
    let provider =
        CaptchaAi::new(Settings { connections: limit, ..settings(&simulator.base_url()) }).unwrap();
    let fields = recaptcha();
    let submits = futures_util::future::join_all((0..500).map(|_| submit(&provider, &fields)));
    assert!(submits.await.iter().all(Result::is_ok));
    let stats = simulator.stats();
    assert_eq!((stats.submits, stats.paid), (500, 500));
    assert!(stats.connections <= limit as u64, "{} connections", stats.connections);
}
