//! createTask and its like, over the same jobs.

use deadletter_sim::{DEFAULT_KEY, Fault, Rule, Scenario, Simulator};
use serde_json::{Value, json};

use crate::client::{exchange, poll, post_bytes};

async fn call(sim: &Simulator, path: &str, body: &Value) -> Value {
    let bytes = post_bytes(path, "application/json", body.to_string().as_bytes());
    let heard = exchange(sim, &bytes).await.expect("an answer");
    assert_eq!(heard.status, 200, "{heard:?}");
    heard.json()
}

async fn create(sim: &Simulator, mut task: Value) -> Value {
    task["websiteURL"] = "https://a.example/".into();
    call(sim, "/createTask", &json!({"clientKey": DEFAULT_KEY, "task": task})).await
}

async fn result(sim: &Simulator, id: &Value) -> Value {
    call(sim, "/getTaskResult", &json!({"clientKey": DEFAULT_KEY, "taskId": id})).await
}

#[tokio::test]
async fn a_task_is_a_job_that_both_protocols_know() {
    let sim = Simulator::start(Scenario::default().speed(0.0).solve_ms(10_000)).await.unwrap();
    let told =
        create(&sim, json!({"type": "RecaptchaV2TaskProxyless", "websiteKey": "6LeSIM"})).await;
    let id = &told["taskId"];
    assert!(id.is_u64() && told["errorId"] == 0, "{told}");
    assert_eq!(result(&sim, id).await, json!({"errorId": 0, "status": "processing"}));
    sim.advance_ms(10_000);
    let told = result(&sim, id).await;
    let token = told["solution"]["gRecaptchaResponse"].as_str().unwrap();
    assert_eq!((&told["status"], &told["cost"]), (&json!("ready"), &json!("0.00299")));
    assert_eq!(poll(&sim, &id.to_string()).await.request(), token);
    assert_eq!(sim.log().paid_for("https://a.example/").len(), 1);
    assert_eq!(sim.log().polls_of(&id.to_string()).len(), 3);
}

#[tokio::test]
async fn each_type_has_its_own_solution() {
    let sim = Simulator::start(Scenario::default().speed(0.0).solve_ms(1)).await.unwrap();
    for (task, names) in [
        (json!({"type": "ImageToTextTask", "body": "aGVsbG8="}), vec!["text"]),
        (json!({"type": "TurnstileTaskProxyless", "websiteKey": "0x4AAAA"}), vec!["token"]),
        (json!({"type": "HCaptchaTask", "websiteKey": "a"}), vec!["gRecaptchaResponse"]),
        (
            json!({"type": "RecaptchaV3TaskProxyless", "websiteKey": "6LeSIM", "isEnterprise": true}),
            vec!["gRecaptchaResponse", "userAgent"],
        ),
        (
            json!({"type": "GeeTestTask", "gt": "a", "challenge": "b"}),
            vec!["challenge", "seccode", "validate"],
        ),
        (
            json!({"type": "GeeTestTask", "version": 4, "initParameters": {"captcha_id": "a"}}),
            vec!["captcha_id", "captcha_output", "gen_time", "lot_number", "pass_token"],
        ),
    ] {
        let told = create(&sim, task.clone()).await;
        sim.advance_ms(1);
        let told = result(&sim, &told["taskId"]).await;
        let solution = told["solution"].as_object().unwrap_or_else(|| panic!("{task}: {told}"));
        let mut found: Vec<_> = solution.keys().collect();
        found.sort_unstable();
        assert_eq!(found, names, "{task}");
    }
}

#[tokio::test]
async fn what_is_wrong_is_told_in_the_familys_words() {
    let scenario = Scenario::default().speed(0.0).rule(Rule::new(Fault::Unsolvable));
    let sim = Simulator::start(scenario.solve_ms(1)).await.unwrap();
    let told = create(&sim, json!({"type": "DanceTask"})).await;
    assert_eq!(
        (&told["errorId"], &told["errorCode"]),
        (&json!(23), &json!("ERROR_TASK_NOT_SUPPORTED"))
    );
    let told = create(&sim, json!({"type": "TurnstileTask", "websiteKey": "0x4AAAA"})).await;
    sim.advance_ms(1);
    let told = result(&sim, &told["taskId"]).await;
    assert_eq!(
        (&told["errorId"], &told["errorCode"]),
        (&json!(12), &json!("ERROR_CAPTCHA_UNSOLVABLE"))
    );
    assert_eq!(result(&sim, &json!(7)).await["errorCode"], "ERROR_NO_SUCH_CAPCHA_ID");
    let told = call(&sim, "/getBalance", &json!({"clientKey": DEFAULT_KEY})).await;
    assert_eq!(told, json!({"errorId": 0, "balance": 12.345}));
    let told = call(&sim, "/getBalance", &json!({"clientKey": "nobody's"})).await;
    assert_eq!(told["errorCode"], "ERROR_KEY_DOES_NOT_EXIST");
}

#[tokio::test]
async fn reports_are_taken_once() {
    let sim = Simulator::start(Scenario::default().speed(0.0).solve_ms(1)).await.unwrap();
    let made = create(&sim, json!({"type": "NoCaptchaTask", "websiteKey": "6LeSIM"})).await;
    sim.advance_ms(1);
    let report = json!({"clientKey": DEFAULT_KEY, "taskId": made["taskId"]});
    let told = call(&sim, "/reportIncorrectRecaptcha", &report).await;
    assert_eq!(told, json!({"errorId": 0, "status": "success"}));
    let told = call(&sim, "/reportCorrectRecaptcha", &report).await;
    assert_eq!(told["errorCode"], "ERROR_DUPLICATE_REPORT");
}
