//! The protocol when nothing goes wrong: forms, answers, ids, threads.

use deadletter_sim::{DEFAULT_KEY, Scenario, Simulator, WhenBusy};
use serde_json::json;

use crate::client::{
    exchange, form, get, get_bytes, poll, poll_path, post, post_bytes, submit, submit_id,
};

/// A simulator whose time stands still until the test moves it, with jobs of ten seconds.
async fn still() -> Simulator {
    Simulator::start(Scenario::default().speed(0.0).solve_ms(10_000)).await.unwrap()
}

#[tokio::test]
async fn a_job_is_pending_until_its_time_is_over_and_then_answered_again_and_again() {
    let sim = still().await;
    let id = submit_id(&sim, "https://a.example/").await;
    sim.advance_ms(9_999);
    assert_eq!(poll(&sim, &id).await.json(), json!({"status": 0, "request": "CAPCHA_NOT_READY"}));
    sim.advance_ms(1);
    let token = poll(&sim, &id).await.request();
    assert!(token.starts_with(&format!("SIM-1-{id}-")), "{token}");
    assert_eq!(poll(&sim, &id).await.request(), token);
    assert_eq!(sim.log().paid_for("https://a.example/").len(), 1);
    assert_eq!(sim.log().polls_of(&id).len(), 3);
    assert_eq!(sim.stats().delivered, 2);
}

#[tokio::test]
async fn text_mode_answers_in_bare_words_without_a_newline() {
    let sim = still().await;
    let text_form = form("https://a.example/").replace("&json=1", "");
    let heard = post(&sim, "/in.php", &text_form).await;
    let id = heard.body.strip_prefix("OK|").expect("OK|id").to_owned();
    assert!(heard.head.contains("text/plain; charset=utf-8"));
    assert_eq!((heard.status, heard.announced), (200, Some(heard.body.len())));
    let path = poll_path(&id).replace("&json=1", "");
    assert_eq!(get(&sim, &path).await.body, "CAPCHA_NOT_READY");
    sim.advance_ms(10_000);
    assert!(get(&sim, &path).await.body.starts_with(&format!("OK|SIM-1-{id}-")));
    let path = path.replace("action=get", "action=get2");
    assert!(get(&sim, &path).await.body.ends_with("|0.00299"));
}

#[tokio::test]
async fn every_request_form_of_real_clients_is_understood() {
    let sim = still().await;
    let form = form("https://a.example/");
    let multipart: String = form
        .split('&')
        .filter_map(|pair| pair.split_once('='))
        .map(|(name, value)| {
            format!("--B\r\ncontent-disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
        })
        .chain(["--B--\r\n".to_owned()])
        .collect();
    let json = json!({
        "key": DEFAULT_KEY, "method": "userrecaptcha", "googlekey": "6LeSIMKEY",
        "pageurl": "https://a.example/", "json": 1,
    });
    let urlencoded = "application/x-www-form-urlencoded";
    for bytes in [
        get_bytes(&format!("/in.php?{form}")),
        get_bytes(&format!("//in.php?{form}")),
        post_bytes("/in.php", urlencoded, form.as_bytes()),
        post_bytes(&format!("/in.php?{form}"), urlencoded, b""),
        post_bytes("/in.php?method=wrong", "multipart/form-data; boundary=B", multipart.as_bytes()),
        post_bytes("/in.php", "application/json", json.to_string().as_bytes()),
    ] {
        let heard = exchange(&sim, &bytes).await.unwrap();
        assert_eq!(heard.json()["status"], 1, "{} {heard:?}", String::from_utf8_lossy(&bytes));
    }
    assert_eq!(sim.stats().paid, 6);
}

#[tokio::test]
async fn an_image_comes_as_a_file_part_and_its_answer_stays_text() {
    let sim = still().await;
    let body = format!(
        "--B\r\ncontent-disposition: form-data; name=\"key\"\r\n\r\n{DEFAULT_KEY}\r\n\
         --B\r\ncontent-disposition: form-data; name=\"method\"\r\n\r\npost\r\n\
         --B\r\ncontent-disposition: form-data; name=\"file\"; filename=\"a.png\"\r\n\r\nPNG\r\n\
         --B--\r\n"
    );
    let bytes = post_bytes("/in.php?json=1", "multipart/form-data; boundary=B", body.as_bytes());
    let heard = exchange(&sim, &bytes).await.unwrap();
    assert!(heard.json()["request"].is_string(), "an image's id is a string: {heard:?}");
    sim.advance_ms(10_000);
    let answer = poll(&sim, &heard.request()).await.json();
    assert!(answer["request"].as_str().unwrap().starts_with('0'), "{answer}");
}

#[tokio::test]
async fn ids_are_integers_for_recaptcha_and_strings_for_others() {
    let sim = still().await;
    assert!(submit(&sim, "https://a.example/").await.json()["request"].is_u64());
    let turnstile = form("https://a.example/")
        .replace("userrecaptcha", "turnstile")
        .replace("googlekey", "sitekey");
    assert!(post(&sim, "/in.php", &turnstile).await.json()["request"].is_string());
}

#[tokio::test]
async fn structured_answers_have_the_fields_of_their_type() {
    let sim = still().await;
    let page = form("https://a.example/");
    let enterprise = post(&sim, "/in.php", &format!("{page}&enterprise=1")).await.request();
    let geetest = page.replace("userrecaptcha", "geetest") + "&gt=abc&challenge=def";
    let geetest = post(&sim, "/in.php", &geetest).await.request();
    sim.advance_ms(10_000);
    let answer = poll(&sim, &enterprise).await.json();
    assert!(answer["result"].is_string() && answer["user_agent"].is_string(), "{answer}");
    assert!(answer.get("request").is_none(), "{answer}");
    let answer = poll(&sim, &geetest).await.json();
    assert!(answer["request"]["geetest_validate"].is_string(), "{answer}");
}

#[tokio::test]
async fn many_ids_are_answered_in_one_line() {
    let sim = still().await;
    let first = submit_id(&sim, "https://a.example/").await;
    sim.advance_ms(10_000);
    let second = submit_id(&sim, "https://b.example/").await;
    let path = format!("/res.php?key={DEFAULT_KEY}&action=get&ids={first},{second}");
    let body = get(&sim, &path).await.body;
    assert!(body.starts_with("SIM-1-") && body.ends_with("|CAPCHA_NOT_READY"), "{body}");
}

#[tokio::test]
async fn threads_are_held_from_submit_to_verdict_and_never_exceeded() {
    let scenario = Scenario::default().speed(0.0).solve_ms(10_000).threads(2);
    let sim = Simulator::start(scenario).await.unwrap();
    submit_id(&sim, "https://a.example/").await;
    submit_id(&sim, "https://b.example/").await;
    assert_eq!(submit(&sim, "https://c.example/").await.request(), "ERROR_ZERO_BALANCE");
    let ask = format!("key={DEFAULT_KEY}&action=threadsinfo&json=1");
    let info = post(&sim, "/res.php", &ask).await.json();
    assert_eq!(info, json!({"status": 1, "threads": 2, "working_threads": 2}));
    sim.advance_ms(10_000);
    submit_id(&sim, "https://c.example/").await;
    assert_eq!(sim.stats().peak_threads, 2);
    sim.set_threads(1);
    assert_eq!(submit(&sim, "https://d.example/").await.request(), "ERROR_ZERO_BALANCE");
}

#[tokio::test]
async fn a_queueing_upstream_takes_everything_and_solves_it_in_turn() {
    let scenario = Scenario::default().speed(0.0).solve_ms(10_000).threads(1);
    let sim = Simulator::start(scenario.when_busy(WhenBusy::Queue)).await.unwrap();
    submit_id(&sim, "https://a.example/").await;
    let second = submit_id(&sim, "https://b.example/").await;
    sim.advance_ms(19_999);
    assert_eq!(poll(&sim, &second).await.request(), "CAPCHA_NOT_READY");
    sim.advance_ms(1);
    assert!(poll(&sim, &second).await.request().starts_with("SIM-"));
    assert_eq!(sim.stats().peak_threads, 2, "open jobs are counted, waiting ones too");
}

#[tokio::test]
async fn balance_and_reports_are_answered_as_upstream_does() {
    let sim = still().await;
    let id = submit_id(&sim, "https://a.example/").await;
    let ask = |action: &str| format!("/res.php?key={DEFAULT_KEY}&action={action}&id={id}");
    assert_eq!(get(&sim, &ask("getbalance")).await.body, "12.345");
    assert_eq!(get(&sim, &ask("reportbad")).await.body, "ERROR_REPORT_NOT_RECORDED");
    sim.advance_ms(10_000);
    assert_eq!(get(&sim, &ask("reportbad")).await.body, "OK_REPORT_RECORDED");
    assert_eq!(get(&sim, &ask("reportgood")).await.body, "ERROR_DUPLICATE_REPORT");
    assert_eq!(get(&sim, &ask("")).await.body, "ERROR_EMPTY_ACTION");
}

#[tokio::test]
async fn wrong_ids_and_foreign_ids_are_refused() {
    let other = "another0another0another0another0";
    let scenario = Scenario::default().keys([DEFAULT_KEY, other]);
    let sim = Simulator::start(scenario).await.unwrap();
    let id = submit_id(&sim, "https://a.example/").await;
    assert_eq!(poll(&sim, "12").await.request(), "ERROR_WRONG_CAPTCHA_ID");
    assert_eq!(poll(&sim, "abc").await.request(), "ERROR_WRONG_ID_FORMAT");
    let foreign = poll_path(&id).replace(DEFAULT_KEY, other);
    assert_eq!(get(&sim, &foreign).await.request(), "ERROR_WRONG_CAPTCHA_ID");
}
