//! Writes the request forms: a task's payload as in.php reads it, and the questions to res.php.
//!
//! Parameters are passed through, never checked: methods and parameters come and go upstream.

use crate::delivery;
use crate::provider::Submission;
use crate::provider::dimensions::proxy_in_turn;
use deadletter_core::{Payload, UpstreamId};
use form_urlencoded::Serializer;
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;

/// Parameters that a payload does not decide: the account's key and the answer's form. Nor does it
/// decide whom upstream tells ([`delivery::FIELDS`]): that would go past the store.
const OURS: [&str; 2] = ["key", "json"];

/// A submit: everything in the payload but [`OURS`] and targets, with the proxy whose turn it is.
///
/// A payload with a file (`method=post`, `file` in base64) goes as `method=base64` with `body`,
/// which upstream treats alike: so a submit never needs multipart.
pub(super) fn submit(key: &SecretString, submission: Submission<'_>) -> String {
    let payload = submission.payload;
    let is_file = has_file(payload);
    let mut form = Serializer::new(String::new());
    form.append_pair("key", key.expose_secret()).append_pair("json", "1");
    for (name, value) in payload.expose() {
        let Some(text) = text(value) else { continue };
        match name.as_str() {
            name if OURS.contains(&name) || delivery::FIELDS.contains(&name) => {}
            "proxy" => {
                if let Some(proxy) = proxy_in_turn(payload, submission.proxies_failed) {
                    form.append_pair("proxy", proxy);
                }
            }
            "method" if is_file => {
                form.append_pair("method", "base64");
            }
            "file" if is_file => {
                form.append_pair("body", &text);
            }
            name => {
                form.append_pair(name, &text);
            }
        }
    }
    form.finish()
}

/// A question to res.php; the key goes along, so the result is never printed.
pub(super) fn ask(key: &SecretString, action: &str, id: Option<&UpstreamId>) -> String {
    let mut form = Serializer::new(String::new());
    form.append_pair("key", key.expose_secret()).append_pair("action", action);
    if let Some(id) = id {
        form.append_pair("id", id.as_str());
    }
    form.append_pair("json", "1").finish()
}

fn has_file(payload: &Payload) -> bool {
    let is_post = payload.text("method").is_some_and(|method| method == "post");
    is_post && payload.text("file").is_some() && payload.text("body").is_none()
}

/// A value as a form field: nested ones as JSON text, absent ones not at all.
fn text(value: &Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        Value::Bool(b) => Some(if *b { "1" } else { "0" }.to_owned()),
        other => Some(other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn fields(payload: &Value, proxies_failed: u32) -> Vec<(String, String)> {
        let payload = Payload::new(payload.as_object().unwrap().clone());
        let form =
            submit(&SecretString::from("k"), Submission { payload: &payload, proxies_failed });
        form_urlencoded::parse(form.as_bytes()).into_owned().collect()
    }

    fn field(fields: &[(String, String)], name: &str) -> Option<String> {
        let mut found = fields.iter().filter(|(n, _)| n == name).map(|(_, value)| value.clone());
        let first = found.next();
        assert_eq!(found.next(), None, "{name} stands twice");
        first
    }

    #[test]
    fn a_submit_passes_every_parameter_through_but_ours() {
        let payload = json!({
            "method": "new_one", "data-s": "a b&c=ü", "min_score": 0.3, "invisible": true, "off": false,
            "nested": {"a": [1, 2]}, "none": null, "key": "theirs", "json": 0,
            "pingback": "http://x", "callback": "http://x", "callbackUrl": "http://x"
        });
        let sent = fields(&payload, 0);
        for (name, value) in [
            ("key", Some("k")),
            ("json", Some("1")),
            ("method", Some("new_one")),
            ("data-s", Some("a b&c=ü")),
            ("min_score", Some("0.3")),
            ("invisible", Some("1")),
            ("off", Some("0")),
            ("nested", Some("{\"a\":[1,2]}")),
            ("none", None),
            ("pingback", None),
            ("callback", None),
            ("callbackUrl", None),
        ] {
            assert_eq!(field(&sent, name).as_deref(), value, "{name}");
        }
    }

    #[test]
    fn the_proxy_after_those_that_failed_is_used() {
        let payload = json!({"method": "x", "proxy": "a.b:1, u:p@c.d:2\ne.f:3"});
        for (failed, proxy) in [(0, "a.b:1"), (1, "u:p@c.d:2"), (2, "e.f:3"), (9, "e.f:3")] {
            assert_eq!(field(&fields(&payload, failed), "proxy").as_deref(), Some(proxy));
        }
        assert_eq!(field(&fields(&json!({"proxy": " , "}), 0), "proxy"), None);
    }

    #[test]
    fn a_file_is_sent_as_base64_body() {
        let sent = fields(&json!({"method": "post", "file": "aGk+/w==", "numeric": 1}), 0);
        assert_eq!(field(&sent, "method").as_deref(), Some("base64"));
        assert_eq!(field(&sent, "body").as_deref(), Some("aGk+/w=="));
        assert_eq!((field(&sent, "file"), field(&sent, "numeric")), (None, Some("1".to_owned())));
        let sent = fields(&json!({"method": "other", "file": "x"}), 0);
        assert_eq!(field(&sent, "file").as_deref(), Some("x"));
    }

    #[test]
    fn a_question_carries_key_action_and_id() {
        let id = UpstreamId::new("0&1").unwrap();
        let form = ask(&SecretString::from("k"), "get", Some(&id));
        assert_eq!(form, "key=k&action=get&id=0%261&json=1");
    }
}
