//! The createTask provider over real sockets: what the services of the family answer.

use super::peer::{Peer, answer};
use super::*;
use ::secrecy::ExposeSecret;
use deadletter::provider::createtask::{CreateTask, InvalidSettings, Settings};

fn provider(base: &str) -> CreateTask {
    CreateTask::new(Settings::new(format!("{base}/"), SecretString::from(KEY))).unwrap()
}

async fn submitted(status: u16, body: &str) -> (Result<UpstreamId, SubmitError>, String) {
    let peer = Peer::answering(&[answer(status, "", body)]).await;
    let payload = Payload::new(recaptcha().as_object().unwrap().clone());
    let submission = Submission { payload: &payload, proxies_failed: 0 };
    let result = provider(&peer.base).submit(submission).await;
    (result, peer.requests().pop().unwrap())
}

async fn polled(status: u16, body: &str, id: &str) -> (Result<Polled, PollError>, String) {
    let peer = Peer::answering(&[answer(status, "Content-Type: text/html\r\n", body)]).await;
    let result = provider(&peer.base).poll(&UpstreamId::new(id).unwrap()).await;
    (result, peer.requests().pop().unwrap())
}

#[tokio::test]
async fn a_submit_is_one_task_with_the_key_in_the_body() {
    let (result, request) = submitted(200, r#"{"errorId":0,"taskId":7654321}"#).await;
    assert_eq!(result.unwrap().as_str(), "7654321");
    let (head, body) = request.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("POST /createTask HTTP/1.1\r\n"), "{head}");
    assert!(head.contains("application/json"), "{head}");
    assert_eq!(
        serde_json::from_str::<Value>(body).unwrap(),
        json!({"clientKey": KEY, "task": {"type": "RecaptchaV2TaskProxyless",
            "websiteKey": "6Le-site", "websiteURL": "https://a.example/x"}})
    );
}

#[tokio::test]
async fn an_integer_is_asked_for_as_one_and_a_uuid_as_text() {
    let uuid = "61138bb6-19fb-11ec-a9c8-0242ac110006";
    for (id, asked) in [("7654321", json!(7_654_321)), (uuid, json!(uuid)), ("007", json!("007"))] {
        let (result, request) = polled(200, r#"{"status":"processing"}"#, id).await;
        assert!(matches!(result, Ok(Polled::NotReady)), "{result:?}");
        let (head, body) = request.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("POST /getTaskResult "), "{head}");
        let body: Value = serde_json::from_str(body).unwrap();
        assert_eq!(body, json!({"clientKey": KEY, "taskId": asked}));
    }
}

#[tokio::test]
async fn an_answer_is_kept_whole_and_an_empty_body_is_not_ready() {
    let body = r#"{"errorId":0,"status":"ready","solution":{"token":"T","userAgent":"UA"},"x":[]}"#;
    let (result, _) = polled(200, body, "7").await;
    let Ok(Polled::Answer(reply)) = result else { panic!("no answer: {result:?}") };
    assert_eq!((reply.text.expose_secret(), reply.raw.expose_secret()), ("T", body));
    assert_eq!((reply.dialect, reply.user_agent.as_deref()), ("createTask", Some("UA")));
    assert!(matches!(polled(200, "\n", "7").await.0, Ok(Polled::NotReady)));
}

#[tokio::test]
async fn an_error_is_a_verdict_under_any_http_status() {
    for (status, code, class) in [
        (200, "ERROR_KEY_DOES_NOT_EXIST", Class::Account),
        (401, "ERROR_KEY_DENIED_ACCESS", Class::Account),
        (400, "ERROR_INVALID_TASK_DATA", Class::Permanent),
        (200, "ERROR_ZERO_BALANCE", Class::Account),
        (500, "ERROR_NO_SLOT_AVAILABLE", Class::Capacity),
        (400, "ERROR_OF_TOMORROW", Class::Unknown),
    ] {
        let body = json!({"errorId": 1, "errorCode": code, "errorDescription": "why"}).to_string();
        let failure = refused(submitted(status, &body).await.0);
        assert_eq!((failure.cause.as_str(), failure.class), (code, class), "{status}");
        assert_eq!(failure.detail, "why");
    }
    let body = r#"{"errorId":16,"errorCode":"ERROR_NO_SUCH_CAPCHA_ID"}"#;
    let failure = failed(polled(400, body, "7").await.0);
    assert_eq!(failure.class, Class::Lost);
}

#[tokio::test]
async fn what_cannot_be_read_is_in_doubt_on_a_submit_and_no_verdict_on_a_poll() {
    for (status, body) in [(200, ""), (200, "<html>"), (502, "<html>"), (200, r#"{"errorId":1}"#)] {
        let (sent, failure) = doubted(submitted(status, body).await.0);
        assert_eq!((sent, failure.cause.as_str()), (Sent::Maybe, "UNREADABLE"), "{status} {body}");
    }
    for (status, body) in [(200, "<html>"), (502, ""), (200, r#"{"status":"ready"}"#)] {
        assert_eq!(unasked(polled(status, body, "7").await.0).cause.as_str(), "UNREADABLE");
    }
}

#[tokio::test]
async fn what_the_family_has_no_words_for_is_refused_without_a_byte() {
    let nobody = provider("http://127.0.0.1:9");
    for (fields, code) in [
        (json!({"method": "bls"}), "ERROR_TASK_NOT_SUPPORTED"),
        (json!({"method": "turnstile", "proxy": "nowhere"}), "ERROR_PROXY_FORMAT"),
    ] {
        let payload = Payload::new(fields.as_object().unwrap().clone());
        let submission = Submission { payload: &payload, proxies_failed: 0 };
        let failure = refused(nobody.submit(submission).await);
        assert_eq!((failure.cause.as_str(), failure.class), (code, Class::Permanent));
        assert!(nobody.explain(code).is_some());
    }
}

#[tokio::test]
async fn the_account_tells_its_balance_and_no_threads() {
    let peer = Peer::answering(&[answer(200, "", r#"{"errorId":0,"balance":3.5}"#)]).await;
    let state = provider(&peer.base).account().await.unwrap();
    assert_eq!((state.balance, state.threads), (Some(3.5), None));
    assert!(peer.requests()[0].starts_with("POST /getBalance "));
    let body = r#"{"errorId":1,"errorCode":"ERROR_KEY_DOES_NOT_EXIST"}"#;
    let peer = Peer::answering(&[answer(200, "", body)]).await;
    let Err(PollError::Failed(JobFailed(failure))) = provider(&peer.base).account().await else {
        panic!("no verdict")
    };
    assert_eq!(failure.class, Class::Account);
}

#[test]
fn settings_that_cannot_work_are_refused_and_the_key_is_never_shown() {
    let bad = Settings::new("ftp://x", SecretString::from(KEY));
    assert!(matches!(CreateTask::new(bad), Err(InvalidSettings::Endpoint { which: "task", .. })));
    let bad = Settings::new("http://127.0.0.1:9", SecretString::from(""));
    assert!(matches!(CreateTask::new(bad), Err(InvalidSettings::Key)));
    let provider = provider("http://127.0.0.1:9");
    assert!(!format!("{provider:?}").contains(KEY));
    assert_eq!(provider.name(), "createtask");
    assert!(provider.credential().is_some_and(|mark| !KEY.contains(&mark)));
}

async fn reported(status: u16, body: &str) -> (Result<(), PollError>, String) {
    let peer = Peer::answering(&[answer(status, "", body)]).await;
    let told =
        provider(&peer.base).report(&UpstreamId::new("7").unwrap(), "turnstile", false).await;
    (told, peer.requests().pop().unwrap())
}

#[tokio::test]
async fn a_report_is_one_call_and_any_readable_yes_is_a_receipt() {
    for body in [
        r#"{"errorId":0,"status":"success"}"#,
        r#"{"errorId":0,"message":"okay"}"#,
        r#"{"errorId":0}"#,
        r#"{"status":"success"}"#,
    ] {
        let (told, request) = reported(200, body).await;
        assert!(told.is_ok(), "{body}: {told:?}");
        let (head, body) = request.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("POST /reportIncorrect HTTP/1.1\r\n"), "{head}");
        let body: Value = serde_json::from_str(body).unwrap();
        assert_eq!(body, json!({"clientKey": KEY, "taskId": 7}));
    }
    let unknown = r#"{"errorId":16,"errorCode":"ERROR_NO_SUCH_CAPCHA_ID"}"#;
    let failure = failed(reported(200, unknown).await.0);
    assert_eq!(failure.cause.as_str(), "ERROR_NO_SUCH_CAPCHA_ID");
    for status in [404, 405] {
        let failure = failed(reported(status, "<html>").await.0);
        assert_eq!(
            (failure.cause.as_str(), failure.class),
            ("REPORTS_NOT_TAKEN", Class::Permanent)
        );
    }
    for (status, body) in [(200, "<html>"), (502, ""), (200, r#"{"status":"processing"}"#)] {
        let failure = unasked(reported(status, body).await.0);
        assert_eq!(failure.cause.as_str(), "UNREADABLE", "{body}");
    }
}
