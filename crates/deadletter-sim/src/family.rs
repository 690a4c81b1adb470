//! createTask, getTaskResult and getBalance: the same jobs in other words.
//!
//! A task is read as the parameters that in.php would have; what is said is written as the services
//! of that family write it. A type that is not known here is refused.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::answer::{Answer, PRICE, Solution};
use crate::params::{Malformed, Params};

pub(crate) const CREATE: &str = "/createTask";
pub(crate) const RESULT: &str = "/getTaskResult";
pub(crate) const BALANCE: &str = "/getBalance";

/// The method of a type that nobody offers; `submit` refuses it by this name.
pub(crate) const NO_SUCH_TYPE: &str = "no such type";

/// Where clients tell what an answer was worth: paths of anti-captcha, of 2captcha, of CapMonster.
const REPORTS: [(&str, &str); 6] = [
    ("/reportCorrectRecaptcha", "reportgood"),
    ("/reportIncorrectRecaptcha", "reportbad"),
    ("/reportIncorrectImageCaptcha", "reportbad"),
    ("/reportCorrect", "reportgood"),
    ("/reportIncorrect", "reportbad"),
    ("/reportIncorrectTokenCaptcha", "reportbad"),
];

pub(crate) fn is_path(path: &str) -> bool {
    [CREATE, RESULT, BALANCE].contains(&path) || is_report(path)
}

pub(crate) fn is_report(path: &str) -> bool {
    REPORTS.iter().any(|(known, _)| *known == path)
}

/// Types without `Proxyless`, and the parameters that they mean.
const TYPES: [(&str, &[(&str, &str)]); 13] = [
    ("RecaptchaV2Task", &[("method", "userrecaptcha")]),
    ("NoCaptchaTask", &[("method", "userrecaptcha")]),
    ("RecaptchaV2EnterpriseTask", &[("method", "userrecaptcha"), ("enterprise", "1")]),
    ("RecaptchaV3Task", &[("method", "userrecaptcha"), ("version", "v3")]),
    (
        "RecaptchaV3EnterpriseTask",
        &[("method", "userrecaptcha"), ("version", "v3"), ("enterprise", "1")],
    ),
    ("ImageToTextTask", &[("method", "base64")]),
    ("TurnstileTask", &[("method", "turnstile")]),
    ("AntiCloudflareTask", &[("method", "cloudflare_challenge")]),
    ("GeeTestTask", &[("method", "geetest")]),
    ("FriendlyCaptchaTask", &[("method", "friendly_captcha")]),
    ("CaptchaFoxTask", &[("method", "captchafox")]),
    ("LeminTask", &[("method", "lemin")]),
    ("HCaptchaTask", &[("method", "hcaptcha")]),
];

/// The parameters of a request of the family: always JSON, whatever its content type says.
pub(crate) fn read(path: &str, body: &[u8]) -> Result<Params, Malformed> {
    let fields: Map<String, Value> =
        serde_json::from_slice(body).map_err(|_| Malformed("not a JSON object"))?;
    let mut params = BTreeMap::new();
    let mut put = |name: &str, value: Option<&Value>| {
        if let Some(text) = value.and_then(scalar) {
            params.insert(name.to_owned(), text);
        }
    };
    put("key", fields.get("clientKey"));
    match path {
        RESULT => {
            put("id", fields.get("taskId"));
            put("action", Some(&json!("get")));
        }
        BALANCE => put("action", Some(&json!("getbalance"))),
        path if is_report(path) => {
            let action =
                REPORTS.iter().find(|(known, _)| *known == path).map(|(_, action)| *action);
            put("id", fields.get("taskId"));
            put("action", Some(&json!(action)));
        }
        _ => {
            let task = fields.get("task").and_then(Value::as_object).cloned().unwrap_or_default();
            for (name, value) in parameters(&task) {
                put(&name, Some(&value));
            }
        }
    }
    Ok(Params::of(params))
}

fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Bool(flag) => Some(u8::from(*flag).to_string()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// A task as in.php would have it: as much as this upstream looks at.
fn parameters(task: &Map<String, Value>) -> Vec<(String, Value)> {
    let name = task.get("type").and_then(Value::as_str).unwrap_or_default();
    let name = name.strip_suffix("Proxyless").unwrap_or(name);
    let Some((_, fixed)) = TYPES.iter().find(|(known, _)| *known == name) else {
        return vec![("method".to_owned(), NO_SUCH_TYPE.into())];
    };
    let mut params: Vec<_> =
        fixed.iter().map(|(name, value)| ((*name).to_owned(), Value::from(*value))).collect();
    let is_google = name.starts_with("Recaptcha") || name.starts_with("NoCaptcha");
    for (field, value) in task {
        let name = match field.as_str() {
            "websiteURL" => "pageurl",
            "websiteKey" if is_google => "googlekey",
            "websiteKey" => "sitekey",
            "isEnterprise" => "enterprise",
            "proxyAddress" => "proxy",
            "proxyType" => "proxytype",
            "initParameters" => {
                let id = value.get("captcha_id").cloned().unwrap_or_default();
                params.push(("captcha_id".to_owned(), id));
                continue;
            }
            "body" | "gt" | "challenge" | "version" => field,
            _ => continue,
        };
        params.push((name.to_owned(), value.clone()));
    }
    params
}

/// What is said, as the family says it.
pub(crate) fn render(answer: &Answer) -> Value {
    match answer {
        Answer::Submitted { id, .. } => {
            let id = id.parse::<u64>().map_or_else(|_| Value::from(id.as_str()), Value::from);
            json!({ "errorId": 0, "taskId": id })
        }
        Answer::Pending => json!({ "errorId": 0, "status": "processing" }),
        Answer::Solved(found) | Answer::Priced(found) => json!({
            "errorId": 0, "status": "ready", "solution": solution(found), "cost": PRICE,
            "ip": "127.0.0.1", "createTime": 1_700_000_000, "endTime": 1_700_000_010, "solveCount": 1,
        }),
        Answer::Error(code) => error(code),
        Answer::Word(word) => match word.parse::<f64>() {
            Ok(balance) => json!({ "errorId": 0, "balance": balance }),
            Err(_) => json!({ "errorId": 0, "status": "success" }),
        },
        Answer::Threads { .. } => error("ERROR_NO_SUCH_METHOD"),
    }
}

fn error(code: &str) -> Value {
    let (id, code) = match code {
        "ERROR_WRONG_USER_KEY" | "ERROR_KEY_DOES_NOT_EXIST" => (1, "ERROR_KEY_DOES_NOT_EXIST"),
        "ERROR_NO_SLOT_AVAILABLE" => (2, code),
        "ERROR_CAPTCHA_UNSOLVABLE" => (12, code),
        "ERROR_WRONG_CAPTCHA_ID" | "ERROR_WRONG_ID_FORMAT" => (16, "ERROR_NO_SUCH_CAPCHA_ID"),
        "ERROR_TASK_NOT_SUPPORTED" => (23, code),
        code => (1, code),
    };
    json!({ "errorId": id, "errorCode": code, "errorDescription": "said by the simulator" })
}

fn solution(found: &Solution) -> Value {
    let answer = found.request.as_ref().or_else(|| found.extra.get("result"));
    let mut fields = match answer {
        Some(Value::Object(parts)) => parts
            .iter()
            .map(|(name, value)| {
                let name = name.strip_prefix("geetest_").unwrap_or(name);
                (name.to_owned(), value.clone())
            })
            .collect(),
        answer => {
            Map::from_iter([(found.task_field.to_owned(), answer.cloned().unwrap_or_default())])
        }
    };
    if let Some(agent) = found.extra.get("user_agent") {
        fields.insert("userAgent".to_owned(), agent.clone());
    }
    Value::Object(fields)
}
