//! A task of the family as our payload.
//!
//! A field that the table does not know is passed on under its own name: fields come and go, and a
//! client that knows a new one is not to be stopped. An unknown *type* is refused, since nobody
//! could say what method it is.

use super::kinds::{EVERYWHERE, Form, KINDS, Kind};
use deadletter_core::Payload;
use serde_json::{Map, Value};

/// More fields than any task has.
const FIELDS: usize = 200;
/// Bytes of a field's name; the longest known have 26.
const NAME: usize = 100;

/// Fields of a task that together are one proxy.
const PROXY: [&str; 5] = ["proxyType", "proxyAddress", "proxyPort", "proxyLogin", "proxyPassword"];

/// Why a task of the family is no job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotATask {
    /// It has no type, or too many or too long fields.
    #[error("the task has no type, or cannot be read")]
    Malformed,
    /// A type that no method is known for.
    #[error("the task's type is not known")]
    NotSupported,
}

/// The payload that a task of the family describes.
pub fn payload(task: &Map<String, Value>) -> Result<Payload, NotATask> {
    let is_bounded = task.len() <= FIELDS && task.keys().all(|name| name.len() <= NAME);
    let kind = task.get("type").and_then(Value::as_str).filter(|_| is_bounded);
    let kind = kind_of(kind.ok_or(NotATask::Malformed)?, task).ok_or(NotATask::NotSupported)?;
    let mut ours = Map::new();
    for (name, value) in kind.ours {
        ours.insert((*name).to_owned(), Value::from(*value));
    }
    let mut known = vec!["type"];
    known.extend(PROXY);
    for field in kind.fields.iter().chain(EVERYWHERE) {
        known.push(field.theirs.split('.').next().unwrap_or_default());
        if let Some(value) = at(task, field.theirs).filter(|value| !is_empty(value)) {
            // The first of several spellings wins, and what makes the kind is no field's to change.
            ours.entry(field.ours).or_insert_with(|| our_value(field.form, value));
        }
    }
    if let Some((name, _)) = kind.names.iter().find_map(|name| name.when) {
        known.push(name);
    }
    add_proxy(task, &mut ours);
    for (name, value) in task.iter().filter(|(name, _)| !known.contains(&name.as_str())) {
        if !is_empty(value) {
            ours.entry(name.as_str()).or_insert_with(|| value.clone());
        }
    }
    Ok(Payload::new(ours))
}

/// The kind of a type's name; upper and lower case differ from service to service.
fn kind_of(name: &str, task: &Map<String, Value>) -> Option<&'static Kind> {
    let name = name.trim().to_ascii_lowercase();
    let name = name.strip_suffix("proxyless").unwrap_or(&name);
    KINDS.iter().find(|kind| {
        kind.names.iter().any(|known| {
            known.name.eq_ignore_ascii_case(name)
                && known.when.is_none_or(|(field, value)| {
                    task.get(field).and_then(text).is_some_and(|text| text == value)
                })
        })
    })
}

/// The value at `outer.inner`.
fn at<'a>(task: &'a Map<String, Value>, path: &str) -> Option<&'a Value> {
    match path.split_once('.') {
        Some((outer, inner)) => task.get(outer)?.get(inner),
        None => task.get(path),
    }
}

fn is_empty(value: &Value) -> bool {
    value.is_null() || value.as_str().is_some_and(str::is_empty)
}

fn our_value(form: Form, value: &Value) -> Value {
    match (form, value) {
        (Form::Flag, Value::Bool(flag)) => Value::from(u8::from(*flag)),
        _ => value.clone(),
    }
}

/// A scalar as in.php writes it.
fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.trim().to_owned()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(flag) => Some(u8::from(*flag).to_string()),
        _ => None,
    }
}

/// `user:password@host:port` from its parts; a task may have it in one piece as well, as `proxy`.
fn add_proxy(task: &Map<String, Value>, ours: &mut Map<String, Value>) {
    let part = |name: &str| task.get(name).and_then(text).filter(|text| !text.is_empty());
    if let (Some(host), Some(port)) = (part("proxyAddress"), part("proxyPort")) {
        let user = match (part("proxyLogin"), part("proxyPassword")) {
            (Some(login), Some(password)) => format!("{login}:{password}@"),
            (Some(login), None) => format!("{login}@"),
            _ => String::new(),
        };
        ours.insert("proxy".to_owned(), format!("{user}{host}:{port}").into());
    }
    if let Some(kind) = part("proxyType") {
        ours.insert("proxytype".to_owned(), kind.to_ascii_uppercase().into());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[track_caller]
    fn ours(task: &Value) -> Value {
        let payload = payload(task.as_object().unwrap()).unwrap();
        Value::Object(payload.expose().clone())
    }

    #[test]
    fn each_type_becomes_the_method_that_it_means() {
        for (task, payload) in [
            (
                json!({"type": "RecaptchaV2TaskProxyless", "websiteURL": "https://a.example/",
                    "websiteKey": "6L", "isInvisible": true, "recaptchaDataSValue": "s"}),
                json!({"method": "userrecaptcha", "googlekey": "6L", "invisible": 1, "data-s": "s",
                    "pageurl": "https://a.example/"}),
            ),
            (
                json!({"type": "ReCaptchaV2TaskProxyLess", "websiteKey": "6L", "new": {"a": [1]}}),
                json!({"method": "userrecaptcha", "googlekey": "6L", "new": {"a": [1]}}),
            ),
            (
                json!({"type": "RecaptchaV2EnterpriseTaskProxyless", "websiteKey": "6L",
                    "enterprisePayload": {"s": "x"}}),
                json!({"method": "userrecaptcha", "enterprise": "1", "googlekey": "6L", "data-s": "x"}),
            ),
            (
                json!({"type": "RecaptchaV3TaskProxyless", "websiteKey": "6L", "minScore": 0.3,
                    "pageAction": "login", "isEnterprise": false}),
                json!({"method": "userrecaptcha", "version": "v3", "googlekey": "6L",
                    "action": "login", "min_score": 0.3, "isEnterprise": false}),
            ),
            (
                json!({"type": "RecaptchaV3TaskProxyless", "websiteKey": "6L", "isEnterprise": true}),
                json!({"method": "userrecaptcha", "version": "v3", "enterprise": "1", "googlekey": "6L"}),
            ),
            (
                json!({"type": "ImageToTextTask", "body": "aGk=", "case": true, "math": false,
                    "numeric": 2, "minLength": 3, "comment": "red ones"}),
                json!({"method": "base64", "body": "aGk=", "regsense": 1, "numeric": 2, "calc": 0,
                    "min_len": 3, "textinstructions": "red ones"}),
            ),
            (
                json!({"type": "AntiTurnstileTaskProxyLess", "websiteKey": "0x", "metadata": {"cdata": "c"}}),
                json!({"method": "turnstile", "sitekey": "0x", "data": "c"}),
            ),
            (
                json!({"type": "GeeTestTaskProxyless", "gt": "g", "challenge": "c"}),
                json!({"method": "geetest", "gt": "g", "challenge": "c"}),
            ),
            (
                json!({"type": "GeeTestTask", "version": 4, "gt": "g",
                    "initParameters": {"captcha_id": "i"}}),
                json!({"method": "geetest", "version": "4", "captcha_id": "i"}),
            ),
            (
                json!({"type": "FriendlyCaptchaTaskProxyless", "websiteKey": "F"}),
                json!({"method": "friendly_captcha", "sitekey": "F"}),
            ),
        ] {
            assert_eq!(ours(&task), payload, "{task}");
        }
    }

    #[test]
    fn the_parts_of_a_proxy_are_put_together() {
        let task = json!({"type": "TurnstileTask", "websiteKey": "0x", "proxyType": "socks5",
            "proxyAddress": "10.0.0.1", "proxyPort": 8080, "proxyLogin": "u", "proxyPassword": "p"});
        let proxied = json!({"method": "turnstile", "sitekey": "0x",
            "proxy": "u:p@10.0.0.1:8080", "proxytype": "SOCKS5"});
        assert_eq!(ours(&task), proxied);
        let task = json!({"type": "TurnstileTask", "proxyAddress": "a.b", "proxyPort": "1"});
        assert_eq!(ours(&task)["proxy"], "a.b:1");
    }

    #[test]
    fn a_field_never_changes_what_kind_of_job_it_is() {
        let task = json!({"type": "TurnstileTask", "method": "userrecaptcha", "websiteKey": "0x"});
        assert_eq!(ours(&task)["method"], "turnstile");
    }

    #[test]
    fn what_is_no_known_task_is_refused() {
        let refused = |task: Value| payload(task.as_object().unwrap()).unwrap_err();
        assert_eq!(refused(json!({})), NotATask::Malformed);
        assert_eq!(refused(json!({"type": 7})), NotATask::Malformed);
        assert_eq!(refused(json!({"type": "DanceTask"})), NotATask::NotSupported);
        assert_eq!(refused(json!({"type": "Proxyless"})), NotATask::NotSupported);
        let long = json!({"type": "TurnstileTask", "x".repeat(NAME + 1): 1});
        assert_eq!(refused(long), NotATask::Malformed);
    }
}
