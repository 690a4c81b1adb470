//! Our payload as a task of the family.

use super::kinds::{EVERYWHERE, Form, Kind, Proxyless, by_label};
use crate::delivery;
use deadletter_core::Payload;
use serde_json::{Map, Number, Value};

/// What is no field of a task: who asks, how to answer, where to deliver, and the proxy, which goes
/// in parts.
const OURS: [&str; 7] = ["key", "json", "method", "type", "proxy", "proxytype", "header_acao"];

/// Why a payload cannot be said in the family's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unwritable {
    /// The family has no type for the method.
    #[error("no type of task is known for this method")]
    NotSupported,
    /// The proxy has no host and port that can be told apart.
    #[error("the proxy is not written as user:password@host:port")]
    Proxy,
}

/// The task that a payload with that label of a method describes, with that proxy.
pub fn task(
    label: &str,
    payload: &Payload,
    proxy: Option<&str>,
) -> Result<Map<String, Value>, Unwritable> {
    let kind = by_label(label).ok_or(Unwritable::NotSupported)?;
    let mut task = Map::new();
    add_type(kind, proxy.is_some(), &mut task)?;
    let mut known = OURS.to_vec();
    known.extend(delivery::FIELDS);
    known.extend(kind.ours.iter().map(|(name, _)| *name));
    let ours = payload.expose();
    for field in kind.fields.iter().chain(EVERYWHERE) {
        known.push(field.ours);
        let value = ours.get(field.ours).filter(|value| !value.is_null());
        if let Some(value) = value.filter(|_| field.is_sent) {
            put(&mut task, field.theirs, their_value(field.form, value));
        }
    }
    if label == "post" {
        // A file is the same image, in base64 already.
        known.push("file");
        if let Some(file) = ours.get("file") {
            task.entry("body").or_insert_with(|| file.clone());
        }
    }
    if let Some(proxy) = proxy {
        let kind = payload.text("proxytype").unwrap_or_default();
        add_proxy(proxy, &kind, &mut task).ok_or(Unwritable::Proxy)?;
    }
    for (name, value) in ours {
        if !value.is_null() && !known.contains(&name.as_str()) {
            task.entry(name.as_str()).or_insert_with(|| value.clone());
        }
    }
    Ok(task)
}

fn add_type(kind: &Kind, has_proxy: bool, task: &mut Map<String, Value>) -> Result<(), Unwritable> {
    let name = kind.names.first().ok_or(Unwritable::NotSupported)?;
    let is_proxyless = match kind.proxyless {
        Proxyless::Without => !has_proxy,
        Proxyless::Always => true,
        Proxyless::Never => false,
    };
    let suffix = if is_proxyless { "Proxyless" } else { "" };
    task.insert("type".to_owned(), format!("{}{suffix}", name.name).into());
    if let Some((field, value)) = name.when {
        let value = if value == "1" { Value::Bool(true) } else { number(value) };
        task.insert(field.to_owned(), value);
    }
    Ok(())
}

fn put(task: &mut Map<String, Value>, path: &str, value: Value) {
    match path.split_once('.') {
        None => drop(task.insert(path.to_owned(), value)),
        Some((outer, inner)) => {
            let place = task.entry(outer).or_insert_with(|| Value::Object(Map::new()));
            if let Value::Object(place) = place {
                place.insert(inner.to_owned(), value);
            }
        }
    }
}

fn their_value(form: Form, value: &Value) -> Value {
    match (form, value) {
        (Form::Flag, Value::Number(number)) => Value::Bool(number.as_f64() != Some(0.0)),
        (Form::Flag, Value::String(text)) => {
            Value::Bool(!matches!(text.trim(), "" | "0" | "false"))
        }
        (Form::Number, Value::String(text)) => number(text),
        _ => value.clone(),
    }
}

/// A number where the text is one, else the text.
fn number(text: &str) -> Value {
    text.trim().parse::<Number>().map_or_else(|_| Value::from(text), Value::Number)
}

/// Takes `user:password@host:port`, `host:port:user:password` and `host:port` apart.
fn add_proxy(proxy: &str, kind: &str, task: &mut Map<String, Value>) -> Option<()> {
    let (scheme, bare) = proxy.split_once("://").unwrap_or((kind, proxy));
    let (host, port, user) = match bare.rsplit_once('@') {
        Some((user, place)) => {
            let (host, port) = place.rsplit_once(':')?;
            (host, port, Some(user))
        }
        None => {
            let (host, rest) = bare.split_once(':')?;
            let (port, user) = rest.split_once(':').map_or((rest, None), |(p, u)| (p, Some(u)));
            (host, port, user)
        }
    };
    let port: u16 = port.parse().ok()?;
    let kind = if kind.is_empty() { scheme } else { kind }.to_ascii_lowercase();
    // The family's word for both is `http`.
    let kind = if matches!(kind.as_str(), "" | "https") { "http" } else { &kind };
    task.insert("proxyType".to_owned(), kind.into());
    task.insert("proxyAddress".to_owned(), host.into());
    task.insert("proxyPort".to_owned(), port.into());
    if let Some(user) = user {
        let (login, password) = user.split_once(':').unwrap_or((user, ""));
        task.insert("proxyLogin".to_owned(), login.into());
        task.insert("proxyPassword".to_owned(), password.into());
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::super::{kinds::KINDS, payload};
    use super::*;
    use serde_json::json;

    #[track_caller]
    fn theirs(label: &str, ours: Value, proxy: Option<&str>) -> Value {
        let Value::Object(fields) = ours else { panic!("an object") };
        Value::Object(task(label, &Payload::new(fields), proxy).unwrap())
    }

    #[test]
    fn a_payload_becomes_the_type_that_its_method_means() {
        for (label, ours, told) in [
            (
                "userrecaptcha",
                json!({"method": "userrecaptcha", "googlekey": "6L", "pageurl": "https://a.example/",
                    "invisible": "1", "data-s": "s", "key": "theirs", "json": 1, "new": 7}),
                json!({"type": "RecaptchaV2TaskProxyless", "websiteKey": "6L", "isInvisible": true,
                    "recaptchaDataSValue": "s", "websiteURL": "https://a.example/", "new": 7}),
            ),
            (
                "userrecaptcha_v3_enterprise",
                json!({"method": "userrecaptcha", "version": "v3", "enterprise": 1, "min_score": "0.3"}),
                json!({"type": "RecaptchaV3TaskProxyless", "isEnterprise": true, "minScore": 0.3}),
            ),
            (
                "userrecaptcha_enterprise",
                json!({"method": "userrecaptcha", "enterprise": "1", "data-s": "x"}),
                json!({"type": "RecaptchaV2EnterpriseTaskProxyless", "enterprisePayload": {"s": "x"}}),
            ),
            (
                "post",
                json!({"method": "post", "file": "aGk=", "numeric": "2", "phrase": 0}),
                json!({"type": "ImageToTextTask", "phrase": false, "numeric": 2, "body": "aGk="}),
            ),
            (
                "geetest_v4",
                json!({"method": "geetest", "version": "4", "captcha_id": "i"}),
                json!({"type": "GeeTestTaskProxyless", "version": 4,
                    "initParameters": {"captcha_id": "i"}, "gt": "i"}),
            ),
        ] {
            assert_eq!(theirs(label, ours, None), told, "{label}");
        }
    }

    #[test]
    fn a_proxy_is_taken_apart() {
        for (proxy, kind, told) in [
            ("u:p:q@10.0.0.1:80", "SOCKS5", json!(["socks5", "10.0.0.1", 80, "u", "p:q"])),
            ("a.b:1", "HTTPS", json!(["http", "a.b", 1, null, null])),
            ("a.b:1:u:p", "", json!(["http", "a.b", 1, "u", "p"])),
            ("socks4://a.b:1", "", json!(["socks4", "a.b", 1, null, null])),
        ] {
            let task =
                theirs("turnstile", json!({"proxytype": kind, "proxy": "other"}), Some(proxy));
            assert_eq!(task["type"], "TurnstileTask");
            let parts = PARTS.map(|name| task.get(name).cloned().unwrap_or_default());
            assert_eq!(json!(parts), told, "{proxy}");
        }
        for bad in ["", "a.b", "a.b:x", "u:p@a.b", "u@a.b:99999"] {
            let refused = task("turnstile", &Payload::new(Map::new()), Some(bad));
            assert_eq!(refused, Err(Unwritable::Proxy), "{bad}");
        }
    }

    const PARTS: [&str; 5] =
        ["proxyType", "proxyAddress", "proxyPort", "proxyLogin", "proxyPassword"];

    #[test]
    fn every_kind_comes_back_as_it_went() {
        for kind in KINDS {
            let mut ours = Map::new();
            for (name, value) in kind.ours {
                ours.insert((*name).to_owned(), (*value).into());
            }
            for field in kind.fields.iter().chain(EVERYWHERE) {
                let value = if field.form == Form::AsIs { json!("v") } else { json!(1) };
                ours.insert(field.ours.to_owned(), value);
            }
            let theirs = task(kind.label, &Payload::new(ours.clone()), None).unwrap();
            let back = payload(&theirs).unwrap();
            assert_eq!(Value::Object(back.expose().clone()), Value::Object(ours), "{theirs:?}");
        }
        assert_eq!(task("bls", &Payload::new(Map::new()), None), Err(Unwritable::NotSupported));
    }

    #[test]
    fn whom_we_tell_is_nobody_elses_affair() {
        let targets = json!({"pingback": "http://x", "callback": "http://x", "callbackUrl": "http://x",
            "sitekey": "s"});
        let sent = theirs("turnstile", targets, None);
        assert!(!sent.to_string().contains("http://x"), "{sent}");
    }
}
