//! What whole answers mean, by status, headers and body.

use super::peer::{Peer, answer};
use super::*;
use ::secrecy::ExposeSecret;
use deadletter::core::Cause;
use deadletter::provider::captchaai::codes::ExtraCode;

const PAGE: &str = "<html><head><title>Bad Gateway</title></head></html>";

async fn submitted(answers: &[String]) -> Result<UpstreamId, SubmitError> {
    let peer = Peer::answering(answers).await;
    submit(&patient(&peer.base), &recaptcha()).await
}

async fn polled(answer: String) -> Result<Polled, PollError> {
    let peer = Peer::answering(&[answer]).await;
    poll(&patient(&peer.base)).await
}

#[tokio::test]
async fn an_id_is_kept_as_the_text_that_came() {
    for (body, id) in [
        (r#"{"status":1,"request":74372499131}"#, "74372499131"),
        (r#"{"status":1,"request":"0074372499131"}"#, "0074372499131"),
        (r#"{"status":"1","request":"aa-bb"}"#, "aa-bb"),
        ("OK|74372499131\n", "74372499131"),
    ] {
        assert_eq!(submitted(&[answer(200, "", body)]).await.unwrap().as_str(), id);
    }
}

#[tokio::test]
async fn what_cannot_be_read_leaves_a_submit_in_doubt() {
    for (status, body) in [
        (200, PAGE),
        (200, ""),
        (200, "garbage"),
        (200, r#"{"status":1,"request":"#),
        (200, r#"{"status":1,"request":{"a":1}}"#),
        (200, r#"{"status":1,"request":"ERROR_X"}"#),
        (200, "CAPCHA_NOT_READY"),
        (403, PAGE),
        (500, ""),
        (502, PAGE),
        (521, PAGE),
    ] {
        let (sent, failure) = doubted(submitted(&[answer(status, "", body)]).await);
        let expected = (Cause::UNREADABLE, Class::Transient, Some(5_000));
        assert_eq!((sent, brief(&failure)), (Sent::Maybe, expected), "{status} {body}");
        assert!(failure.detail.contains(&format!("HTTP {status}")), "{}", failure.detail);
    }
}

#[tokio::test]
async fn what_cannot_be_read_is_no_verdict_on_a_poll() {
    for (status, body) in [(200, PAGE), (200, "garbage"), (502, PAGE), (521, PAGE), (502, "")] {
        let failure = unasked(polled(answer(status, "", body)).await);
        assert_eq!(failure.cause.as_str(), Cause::UNREADABLE, "{status} {body}");
    }
}

#[tokio::test]
async fn an_empty_body_on_a_poll_is_not_ready() {
    for body in ["", "\r\n", "\u{feff}"] {
        assert!(matches!(polled(answer(200, "", body)).await, Ok(Polled::NotReady)), "{body:?}");
    }
}

#[tokio::test]
async fn a_readable_body_wins_over_the_http_status() {
    for status in [200, 400, 403, 429, 500] {
        let failure = refused(submitted(&[answer(status, "", "ERROR_PAGEURL")]).await);
        assert_eq!(brief(&failure), ("ERROR_PAGEURL", Class::Permanent, None), "{status}");
        let body = r#"{"status":0,"request":"CAPCHA_NOT_READY"}"#;
        assert!(matches!(polled(answer(status, "", body)).await, Ok(Polled::NotReady)), "{status}");
    }
}

#[tokio::test]
async fn too_many_requests_is_capacity_with_the_time_that_was_asked_for() {
    let header = "Retry-After: 7\r\n";
    let failure = refused(submitted(&[answer(429, header, PAGE)]).await);
    assert_eq!(brief(&failure), ("HTTP_429", Class::Capacity, Some(7_000)));
    let failure = failed(polled(answer(429, "", "")).await);
    assert_eq!(brief(&failure), ("HTTP_429", Class::Capacity, Some(5_000)));
    let failure = refused(submitted(&[answer(200, header, "ERROR_NO_SLOT_AVAILABLE")]).await);
    assert_eq!(brief(&failure), ("ERROR_NO_SLOT_AVAILABLE", Class::Capacity, Some(7_000)));
}

#[tokio::test]
async fn too_large_a_request_is_permanent() {
    let failure = refused(submitted(&[answer(413, "", PAGE)]).await);
    assert_eq!(brief(&failure), ("HTTP_413", Class::Permanent, None));
}

#[tokio::test]
async fn a_code_may_mean_another_thing_on_a_poll() {
    for (code, on_submit) in [
        ("ERROR_WRONG_CAPTCHA_ID", Class::Permanent),
        ("ERROR_PROXY_CONNECTION_FAILED", Class::Proxy),
        ("ERROR_CAPTCHA_UNSOLVABLE", Class::Unsolvable),
        ("ERROR_SERVER_ERROR", Class::Transient),
        ("ERROR_BRAND_NEW", Class::Unknown),
    ] {
        let body = format!(r#"{{"status":0,"request":"{code}"}}"#);
        let failure = refused(submitted(&[answer(200, "", &body)]).await);
        assert_eq!((failure.cause.as_str(), failure.class), (code, on_submit));
        let result = polled(answer(200, "", &body)).await;
        match code {
            "ERROR_PROXY_CONNECTION_FAILED" => assert!(matches!(result, Ok(Polled::NotReady))),
            "ERROR_WRONG_CAPTCHA_ID" => assert_eq!(failed(result).class, Class::Lost),
            _ => assert_eq!(failed(result).class, on_submit),
        }
    }
}

#[tokio::test]
async fn an_error_is_kept_with_what_upstream_said_of_it() {
    let body =
        r#"{"status":0,"request":"ERROR_BAD_PARAMETERS","error_text":"min_score\u001b[1m ?"}"#;
    let failure = refused(submitted(&[answer(200, "", body)]).await);
    assert_eq!(failure.detail, "min_score ?");
}

#[tokio::test]
async fn the_users_codes_decide_their_class_and_time() {
    let peer = Peer::answering(&[answer(200, "", "ERROR_BRAND_NEW")]).await;
    let mut settings = settings(&peer.base);
    let extra = ExtraCode { class: Class::Capacity, retry_after_ms: Some(9_000) };
    settings.codes.insert("ERROR_BRAND_NEW".to_owned(), extra);
    let failure = refused(submit(&CaptchaAi::new(settings).unwrap(), &recaptcha()).await);
    assert_eq!(brief(&failure), ("ERROR_BRAND_NEW", Class::Capacity, Some(9_000)));
}

#[tokio::test]
async fn an_answer_is_kept_raw_and_in_its_own_words() {
    for (body, text, user_agent, dialect) in [
        (r#"{"status":1,"request":"03AG|x"} "#, "03AG|x", None, "res.php/json"),
        ("OK|03AG|x", "03AG|x", None, "res.php/text"),
        (r#"{"status":1,"request":"0123"}"#, "0123", None, "res.php/json"),
        (r#"{"status":1,"request":"an ERROR_X in it"}"#, "an ERROR_X in it", None, "res.php/json"),
        (r#"{"status":1,"request":{"b":1, "a":2}}"#, r#"{"b":1, "a":2}"#, None, "res.php/json"),
        (r#"{"status":1,"result":"t","user_agent":"M"}"#, "t", Some("M"), "res.php/json"),
    ] {
        let Ok(Polled::Answer(reply)) = polled(answer(200, "", body)).await else {
            panic!("no answer in {body}")
        };
        assert_eq!((reply.raw.expose_secret(), reply.text.expose_secret()), (body, text));
        assert_eq!((reply.user_agent.as_deref(), reply.dialect), (user_agent, dialect));
    }
}

#[tokio::test]
async fn zero_balance_is_capacity_while_the_threads_are_at_work_and_else_the_account() {
    let zero = answer(200, "", r#"{"status":0,"request":"ERROR_ZERO_BALANCE"}"#);
    for (threads, class) in [
        (r#"{"threads":5,"working_threads":5}"#, Class::Capacity),
        (r#"{"threads":"5","working_threads":"6"}"#, Class::Capacity),
        (r#"{"threads":0,"working_threads":0}"#, Class::Account),
        ("ERROR_KEY_DOES_NOT_EXIST", Class::Account),
        (PAGE, Class::Capacity),
    ] {
        let failure = refused(submitted(&[zero.clone(), answer(200, "", threads)]).await);
        assert_eq!(brief(&failure), ("ERROR_ZERO_BALANCE", class, None), "{threads}");
    }
}

#[tokio::test]
async fn zero_balance_asks_for_the_threads_once_in_a_while() {
    let zero = answer(200, "", "ERROR_ZERO_BALANCE");
    let busy = answer(200, "", r#"{"threads":5,"working_threads":5}"#);
    let peer = Peer::answering(&[zero.clone(), busy, zero.clone(), zero]).await;
    let provider = patient(&peer.base);
    for _ in 0..3 {
        let failure = refused(submit(&provider, &recaptcha()).await);
        assert_eq!(failure.class, Class::Capacity);
    }
    let asked = |request: &&String| request.starts_with("POST /res.php");
    let requests = peer.requests();
    assert_eq!(requests.iter().filter(asked).count(), 1);
    assert!(requests[1].ends_with(&format!("key={KEY}&action=threadsinfo&json=1")));
}

#[tokio::test]
async fn the_account_is_its_threads_and_balance() {
    let threads = answer(200, "", r#"{"threads":10,"working_threads":4}"#);
    let peer = Peer::answering(&[threads.clone(), answer(200, "", "12.5")]).await;
    let state = patient(&peer.base).account().await.unwrap();
    assert_eq!((state.threads, state.working, state.balance), (Some(10), Some(4), Some(12.5)));
    let peer = Peer::answering(&[threads, answer(502, "", PAGE)]).await;
    let state = patient(&peer.base).account().await.unwrap();
    assert_eq!((state.threads, state.balance), (Some(10), None));
}

#[tokio::test]
async fn an_account_without_a_state_says_why() {
    let asked = async |answer: String| {
        let peer = Peer::answering(&[answer]).await;
        patient(&peer.base).account().await
    };
    match asked(answer(200, "", "IP_BANNED")).await {
        Err(PollError::Failed(JobFailed(failure))) => {
            assert_eq!(brief(&failure), ("IP_BANNED", Class::Account, Some(300_000)));
        }
        other => panic!("{other:?}"),
    }
    assert!(matches!(asked(answer(502, "", PAGE)).await, Err(PollError::CouldNotAsk(_))));
    assert!(matches!(asked(answer(200, "", "OK|x")).await, Err(PollError::CouldNotAsk(_))));
}
