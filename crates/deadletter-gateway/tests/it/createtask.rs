//! Clients of the createTask family, at the same port.

use crate::{
    reports::said,
    rig::{KEY, Reply, World},
};
use deadletter_sim::{Fault, OutageMode, Rule, Scenario};
use serde_json::{Value, json};
use std::time::Duration;

impl World {
    /// What a POST of that body answers; the content type is one that only a careless client sends.
    async fn call(&self, path: &str, body: &Value) -> Value {
        let reply: Reply =
            self.post(path, "application/x-www-form-urlencoded", body.to_string().as_bytes()).await;
        assert_eq!(reply.status, 200, "{reply:?}");
        assert!(reply.head.contains("application/json"), "{reply:?}");
        serde_json::from_str(&reply.body).unwrap_or_else(|error| panic!("{error}: {reply:?}"))
    }

    async fn create(&self, task: Value) -> u64 {
        let told = self.call("/createTask", &json!({"clientKey": KEY, "task": task})).await;
        assert_eq!(told["errorId"], 0, "{told}");
        told["taskId"].as_u64().unwrap_or_else(|| panic!("{told}"))
    }

    /// Asks until there is a verdict.
    async fn result(&self, id: impl Into<Value>) -> Value {
        let question = json!({"clientKey": KEY, "taskId": id.into()});
        let asking = async {
            loop {
                let told = self.call("/getTaskResult", &question).await;
                if told != json!({"errorId": 0, "status": "processing"}) {
                    return told;
                }
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), asking).await.expect("no verdict")
    }
}

fn v2() -> Value {
    json!({"type": "RecaptchaV2TaskProxyless", "websiteURL": "https://a.example/",
        "websiteKey": "6Le-wvkSAAAA"})
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_is_solved_and_told_with_every_field_of_the_family_and_no_other() {
    let world = World::start().await;
    let id = world.create(v2()).await;
    let told = world.result(id).await;
    let names: Vec<_> = told.as_object().unwrap().keys().map(String::as_str).collect();
    let known =
        ["errorId", "status", "solution", "cost", "ip", "createTime", "endTime", "solveCount"];
    assert_eq!(names, known);
    assert_eq!((&told["errorId"], &told["status"]), (&json!(0), &json!("ready")));
    assert_eq!((&told["ip"], &told["cost"]), (&json!("127.0.0.1"), &json!("0")));
    assert_eq!(told["solveCount"], 1);
    let times = [told["createTime"].as_i64().unwrap(), told["endTime"].as_i64().unwrap()];
    assert!(times[0] >= 1_790_000_000 && times[0] <= times[1], "{told}");
    assert!(told["solution"]["gRecaptchaResponse"].as_str().unwrap().starts_with("SIM-"));
    // As text, and again: one answer.
    assert_eq!(world.result(id.to_string()).await, told);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_type_is_solved_with_its_own_solution() {
    let world = World::start().await;
    for (task, names) in [
        (json!({"type": "ImageToTextTask", "body": "aGVsbG8="}), vec!["text"]),
        (json!({"type": "TurnstileTaskProxyless", "websiteKey": "0x4AAAAA"}), vec!["token"]),
        (
            json!({"type": "RecaptchaV2EnterpriseTask", "websiteKey": "6Le-wvkSAAAA",
                "proxyType": "http", "proxyAddress": "10.0.0.1", "proxyPort": 80}),
            vec!["gRecaptchaResponse", "userAgent"],
        ),
        (
            json!({"type": "GeeTestTaskProxyless", "gt": "abc", "challenge": "def"}),
            vec!["challenge", "validate", "seccode"],
        ),
        (
            json!({"type": "GeeTestTaskProxyless", "version": 4,
                "initParameters": {"captcha_id": "abc"}}),
            vec!["captcha_id", "lot_number", "pass_token", "gen_time", "captcha_output"],
        ),
    ] {
        let mut task = task;
        task["websiteURL"] = "https://a.example/".into();
        let told = world.result(world.create(task.clone()).await).await;
        let solution = told["solution"].as_object().unwrap_or_else(|| panic!("{task}: {told}"));
        assert_eq!(solution.keys().collect::<Vec<_>>(), names, "{task}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_may_be_asked_for_at_either_front() {
    let world = World::start().await;
    let id = world.create(v2()).await;
    let told = world.verdict(&id.to_string(), "").await.body;
    let token = told.strip_prefix("OK|").expect("solved");
    assert_eq!(world.result(id).await["solution"], json!({"gRecaptchaResponse": token}));
    let id = world.submit().await;
    let told = world.verdict(&id, "").await.body;
    let token = told.strip_prefix("OK|").expect("solved");
    assert_eq!(world.result(id).await["solution"], json!({"gRecaptchaResponse": token}));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_is_told_in_the_familys_words() {
    let world = World::start().await;
    let unknown = "0".repeat(32);
    for (path, body, code) in [
        ("/createTask", json!({"clientKey": unknown, "task": v2()}), "ERROR_KEY_DOES_NOT_EXIST"),
        ("/createTask", json!({"clientKey": "short", "task": v2()}), "ERROR_KEY_DOES_NOT_EXIST"),
        ("/getBalance", json!({}), "ERROR_KEY_DOES_NOT_EXIST"),
        ("/createTask", json!({"clientKey": KEY}), "ERROR_TASK_ABSENT"),
        ("/createTask", json!({"clientKey": KEY, "task": {}}), "ERROR_TASK_ABSENT"),
        (
            "/createTask",
            json!({"clientKey": KEY, "task": {"type": "DanceTask"}}),
            "ERROR_TASK_NOT_SUPPORTED",
        ),
        ("/createTask", json!([1]), "ERROR_BAD_PARAMETERS"),
        ("/getTaskResult", json!({"clientKey": KEY, "taskId": 17}), "ERROR_NO_SUCH_CAPCHA_ID"),
        ("/getTaskResult", json!({"clientKey": KEY, "taskId": "x"}), "ERROR_NO_SUCH_CAPCHA_ID"),
        ("/getTaskResult", json!({"clientKey": KEY}), "ERROR_NO_SUCH_CAPCHA_ID"),
    ] {
        let told = world.call(path, &body).await;
        assert_eq!((&told["errorId"], &told["errorCode"]), (&json!(1), &json!(code)), "{body}");
        assert!(told["errorDescription"].as_str().is_some_and(|text| text.ends_with('.')));
    }
    assert_eq!(world.sim.stats().submits, 0, "what is wrong was sent upstream");
    assert_eq!(world.get("/createTask").await.status, 405);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_task_is_an_error_and_a_full_gateway_has_no_slot() {
    let scenario = Scenario::named("happy").unwrap().rule(Rule::new(Fault::Unsolvable));
    let world = World::with(scenario, |settings| settings.capacity = 1).await;
    let id = world.create(v2()).await;
    let told = world.result(id).await;
    assert_eq!(
        (&told["errorId"], &told["errorCode"]),
        (&json!(1), &json!("ERROR_CAPTCHA_UNSOLVABLE"))
    );
    let world =
        World::with(Scenario::named("happy").unwrap(), |settings| settings.capacity = 1).await;
    world.sim.outage(OutageMode::Html502);
    world.create(v2()).await;
    let told = world.call("/createTask", &json!({"clientKey": KEY, "task": v2()})).await;
    assert_eq!(told["errorCode"], "ERROR_NO_SLOT_AVAILABLE");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_balance_is_a_number_and_a_named_submit_is_one_task() {
    let world = World::start().await;
    let asking = async {
        loop {
            let told = world.call("/getBalance", &json!({"clientKey": KEY})).await;
            if told["errorId"] == 0 {
                return told;
            }
            tokio::task::yield_now().await;
        }
    };
    let told = tokio::time::timeout(Duration::from_secs(20), asking).await.expect("told");
    assert_eq!(told, json!({"errorId": 0, "balance": 12.345}));
    let named = json!({"clientKey": KEY, "task": v2(), "idempotency_key": "one"});
    let first = world.call("/createTask", &named).await;
    assert_eq!(world.call("/createTask", &named).await, first);
    assert_ne!(world.create(v2()).await, first["taskId"].as_u64().unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upstream_of_the_family_works_behind_either_front() {
    let world = World::in_the_family(Scenario::named("happy").unwrap()).await;
    let id = world.create(v2()).await;
    let token = world.result(id).await["solution"]["gRecaptchaResponse"].clone();
    assert!(token.as_str().unwrap().starts_with("SIM-"), "{token}");
    let told = world.verdict(&id.to_string(), "&json=1").await.body;
    let told: Value = serde_json::from_str(&told).unwrap();
    assert_eq!(told, json!({"status": 1, "request": token}));
    let id = world.submit().await;
    let told = world.verdict(&id, "").await.body;
    let token = told.strip_prefix("OK|").expect("solved");
    assert_eq!(world.result(id).await["solution"], json!({"gRecaptchaResponse": token}));
    // Three parts, which each front names in its own way.
    let geetest = json!({"type": "GeeTestTaskProxyless", "gt": "abc", "challenge": "def",
        "websiteURL": "https://a.example/"});
    let id = world.create(geetest).await;
    let parts = world.result(id).await["solution"].clone();
    let told = world.verdict(&id.to_string(), "").await.body;
    let told: Value = serde_json::from_str(told.strip_prefix("OK|").expect("solved")).unwrap();
    assert_eq!(told["geetest_validate"], parts["validate"]);
    assert!(parts["validate"].is_string() && told["geetest_challenge"].is_string());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upstream_of_the_family_that_is_away_or_refuses_is_borne() {
    let world = World::in_the_family(Scenario::named("happy").unwrap()).await;
    world.sim.outage(OutageMode::Html502);
    let id = world.create(v2()).await;
    world.sim.until(|stats| stats.submits >= 1).await;
    world.sim.end_outage();
    assert_eq!(world.result(id).await["status"], "ready");
    let unknown =
        world.get(&format!("/in.php?key={KEY}&method=bls&image_base64_1=aGk=")).await.body;
    let id = unknown.strip_prefix("OK|").expect("accepted");
    assert_eq!(world.verdict(id, "").await.body, "ERROR_TASK_NOT_SUPPORTED");
    assert_eq!(world.result(id).await["errorCode"], "ERROR_TASK_NOT_SUPPORTED");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_report_by_any_path_of_the_family_is_recorded_once_and_passed_on() {
    let world = World::start().await;
    let success = json!({"errorId": 0, "status": "success"});
    for (path, more, is_good) in [
        ("/reportCorrect", json!({}), true),
        ("/reportIncorrect", json!({}), false),
        ("/reportCorrectRecaptcha", json!({}), true),
        ("/reportIncorrectRecaptcha", json!({}), false),
        ("/reportIncorrectHcaptcha", json!({}), false),
        ("/reportIncorrectImageCaptcha", json!({}), false),
        ("/reportIncorrectTokenCaptcha", json!({}), false),
        ("/feedbackTask", json!({"result": {"invalid": true, "code": 1001}}), false),
        ("/feedbackTask", json!({"result": {"invalid": false}}), true),
    ] {
        let id = world.create(v2()).await;
        world.result(id).await;
        let mut body = json!({"clientKey": KEY, "taskId": id});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let told = world.call(path, &body).await;
        if path == "/feedbackTask" {
            assert_eq!(told, json!({"errorId": 0, "message": "okay"}));
        } else {
            assert_eq!(told, success, "{path}");
        }
        assert_eq!(world.call(path, &body).await["errorCode"], "ERROR_DUPLICATE_REPORT");
        assert_eq!(said(&world, &id.to_string()).await.as_deref(), Some("OK_REPORT_RECORDED"));
        let log = world.sim.log();
        let last = log.entries().filter(|entry| entry.phase == "report").last().expect("sent");
        let action = if is_good { "reportgood" } else { "reportbad" };
        assert_eq!(last.action.as_deref(), Some(action), "{path}");
    }
    let metrics = world.get("/metrics").await.body;
    assert!(metrics.contains("path=\"report\",word=\"told\"} 9"), "{metrics}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_report_that_cannot_be_recorded_is_refused_in_the_familys_words() {
    let world = World::start().await;
    world.sim.outage(OutageMode::Html502);
    let open = world.create(v2()).await;
    for (path, body, code) in [
        ("/reportIncorrect", json!({"clientKey": KEY, "taskId": 17}), "ERROR_NO_SUCH_CAPCHA_ID"),
        ("/reportIncorrect", json!({"clientKey": KEY}), "ERROR_NO_SUCH_CAPCHA_ID"),
        ("/reportCorrect", json!({"clientKey": KEY, "taskId": open}), "ERROR_REPORT_NOT_RECORDED"),
        ("/reportCorrect", json!({"taskId": open}), "ERROR_KEY_DOES_NOT_EXIST"),
        ("/feedbackTask", json!({"clientKey": KEY, "taskId": open}), "ERROR_BAD_PARAMETERS"),
    ] {
        let told = world.call(path, &body).await;
        assert_eq!((&told["errorId"], &told["errorCode"]), (&json!(1), &json!(code)), "{body}");
    }
    assert_eq!(world.get("/reportCorrect").await.status, 405);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upstream_of_the_family_hears_reports_in_its_own_words() {
    let world = World::in_the_family(Scenario::named("happy").unwrap()).await;
    for (action, path) in [("reportgood", "/reportCorrect"), ("reportbad", "/reportIncorrect")] {
        let id = world.submit().await;
        world.verdict(&id, "").await;
        let target = format!("/res.php?key={KEY}&action={action}&id={id}");
        assert_eq!(world.get(&target).await.body, "OK_REPORT_RECORDED");
        assert_eq!(said(&world, &id).await.as_deref(), Some("OK_REPORT_RECORDED"));
        let log = world.sim.log();
        let last = log.entries().filter(|entry| entry.phase == "report").last().expect("sent");
        assert_eq!((last.path.as_str(), last.action.as_deref()), (path, Some(action)));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_the_gateways_own_is_no_field_of_a_task() {
    let world = World::start().await;
    let mut task = v2();
    for name in ["key", "json", "header_acao", "idempotency_key", "soft_id"] {
        task[name] = "own".into();
    }
    task["userAgent"] = "kept".into();
    let id = world.create(task).await;
    let stored = world.store.payload(id.to_string().parse().unwrap()).await.unwrap().unwrap();
    let text = Value::Object(stored.expose().clone()).to_string();
    assert!(!text.contains("own") && text.contains("kept"), "{text}");
}
