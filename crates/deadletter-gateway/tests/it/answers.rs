//! What is answered, in both dialects: the words are upstream's.

use crate::rig::{JOB, KEY, World};
use deadletter_sim::{Fault, Rule, Scenario};
use serde_json::{Value, json};

fn value(body: &str) -> Value {
    serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {body}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_question_is_answered_in_the_dialect_that_it_asks_for() {
    let world = World::start().await;
    let id = world.submit().await;
    let solved = world.verdict(&id, "").await;
    let token = solved.body.strip_prefix("OK|").expect("solved");
    assert!(!solved.body.ends_with('\n'));
    let target = format!("/res.php?key={KEY}&id={id}");
    for (more, answer) in [
        ("&action=get", format!("OK|{token}")),
        ("&action=get&json=0", format!("OK|{token}")),
        ("&action=get2", format!("OK|{token}|0")),
        (
            &format!("&action=get&ids={id},7,x"),
            format!("{token}|ERROR_WRONG_CAPTCHA_ID|ERROR_WRONG_ID_FORMAT"),
        ),
    ] {
        let reply = world.get(&format!("{target}{more}")).await;
        assert_eq!((reply.status, reply.body.as_str()), (200, answer.as_str()), "{more}");
        assert!(reply.head.contains("text/plain"));
    }
    let reply = world.get(&format!("{target}&action=get&json=1")).await;
    assert!(reply.head.contains("application/json"));
    assert_eq!(value(&reply.body), json!({"status": 1, "request": token}));
    // It answers every repeat, and upstream was asked for the answer once.
    let polls = world.sim.stats().polls;
    for _ in 0..50 {
        assert_eq!(world.get(&format!("{target}&action=get")).await.body, format!("OK|{token}"));
    }
    assert_eq!(world.sim.stats().polls, polls, "upstream was asked on a client's behalf");
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_are_told_with_status_200_in_both_dialects() {
    let world = World::start().await;
    let unknown = "0".repeat(32);
    for (target, code) in [
        (format!("/res.php?key={KEY}&action=get&id=17"), "ERROR_WRONG_CAPTCHA_ID"),
        (format!("/res.php?key={KEY}&action=get&id=9007199254740992"), "ERROR_WRONG_CAPTCHA_ID"),
        (
            format!("/res.php?key={KEY}&action=get&id=99999999999999999999999"),
            "ERROR_WRONG_CAPTCHA_ID",
        ),
        (format!("/res.php?key={KEY}&action=get&id=12a"), "ERROR_WRONG_ID_FORMAT"),
        (format!("/res.php?key={KEY}&action=get"), "ERROR_WRONG_ID_FORMAT"),
        (format!("/res.php?key={KEY}"), "ERROR_EMPTY_ACTION"),
        (format!("/res.php?key={KEY}&action=dance"), "ERROR_EMPTY_ACTION"),
        (format!("/res.php?key={unknown}&action=getbalance"), "ERROR_KEY_DOES_NOT_EXIST"),
        ("/res.php?key=short&action=getbalance".to_owned(), "ERROR_WRONG_USER_KEY"),
        ("/res.php?action=getbalance".to_owned(), "ERROR_WRONG_USER_KEY"),
        (format!("/in.php?{JOB}"), "ERROR_WRONG_USER_KEY"),
        (format!("/in.php?key={unknown}&{JOB}"), "ERROR_KEY_DOES_NOT_EXIST"),
        (format!("/in.php?key={KEY}&pageurl=x"), "ERROR_BAD_PARAMETERS"),
        (format!("/in.php?key={KEY}&method="), "ERROR_BAD_PARAMETERS"),
    ] {
        let text = world.get(&target).await;
        assert_eq!((text.status, text.body.as_str()), (200, code), "{target}");
        let more = if target.contains('?') { "&json=1" } else { "?json=1" };
        let in_json = world.get(&format!("{target}{more}")).await;
        assert_eq!(value(&in_json.body), json!({"status": 0, "request": code}), "{target}");
    }
    assert_eq!(world.sim.stats().submits, 0, "a stranger's key was sent upstream");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_task_tells_its_cause_in_upstreams_words() {
    let scenario = Scenario::named("happy").unwrap().rule(Rule::new(Fault::Unsolvable));
    let world = World::with(scenario, |_| ()).await;
    let id = world.submit().await;
    assert_eq!(world.verdict(&id, "").await.body, "ERROR_CAPTCHA_UNSOLVABLE");
    let reply = world.verdict(&id, "&json=1").await;
    assert_eq!(value(&reply.body), json!({"status": 0, "request": "ERROR_CAPTCHA_UNSOLVABLE"}));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_accounts_questions_are_answered_by_the_gateway_itself() {
    let world =
        World::with(Scenario::named("happy").unwrap(), |settings| settings.capacity = 3).await;
    world.sim.until(|stats| stats.requests >= 2).await;
    let threads = format!("key={KEY}&action=threadsinfo&json=1");
    let reply =
        world.post("/res.php", "application/x-www-form-urlencoded", threads.as_bytes()).await;
    assert_eq!(value(&reply.body), json!({"status": 1, "threads": 3, "working_threads": 0}));
    let asking = async {
        loop {
            let reply = world.get(&format!("/res.php?key={KEY}&action=getbalance")).await;
            if !reply.body.starts_with("ERROR") {
                return reply.body;
            }
            tokio::task::yield_now().await;
        }
    };
    let balance = tokio::time::timeout(std::time::Duration::from_secs(20), asking).await;
    assert_eq!(balance.expect("upstream has told it"), "12.345");
}
