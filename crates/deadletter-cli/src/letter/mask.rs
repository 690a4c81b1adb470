//! Secrets of a request, masked: proxy credentials, cookies, tokens, passwords.

use deadletter::{TARGET_FIELDS, is_secret_field};
use serde_json::{Map, Value};

/// Stands where something was taken out.
pub(crate) const MASK: &str = "***";

/// The request without its secrets, and the names of the parameters that were changed, and that a
/// submit would need: whom we tell of a task is no parameter of its submit.
pub(crate) fn masked(request: &Map<String, Value>) -> (Map<String, Value>, Vec<String>) {
    let mut names = Vec::new();
    let mut out = Map::new();
    for (name, value) in request {
        let shown = if name == "proxy" { masked_proxies(value) } else { masked_value(name, value) };
        if shown != *value && !is_target(name) {
            names.push(name.clone());
        }
        out.insert(name.clone(), shown);
    }
    (out, names)
}

fn masked_value(name: &str, value: &Value) -> Value {
    if is_secret_field(name) { MASK.into() } else { value.clone() }
}

fn is_target(name: &str) -> bool {
    TARGET_FIELDS.iter().any(|target| target.eq_ignore_ascii_case(name))
}

fn masked_proxies(value: &Value) -> Value {
    match value {
        Value::String(text) => {
            // Marks between proxies stay, so that the number of proxies stays.
            let parts = text.split_inclusive(|c: char| c == ',' || c.is_whitespace());
            parts.map(masked_proxy).collect::<String>().into()
        }
        Value::Array(list) => list.iter().map(masked_proxies).collect(),
        other => other.clone(),
    }
}

/// `user:password@host:port` without what stands before the host; what cannot be told apart is
/// masked whole.
fn masked_proxy(part: &str) -> String {
    let proxy = part.trim_end_matches(|c: char| c == ',' || c.is_whitespace());
    let mark = part.get(proxy.len()..).unwrap_or_default();
    let (scheme, rest) = match proxy.split_once("://") {
        Some((scheme, rest)) => (format!("{scheme}://"), rest),
        None => (String::new(), proxy),
    };
    let shown = match rest.rsplit_once('@') {
        Some((_, place)) => format!("{scheme}{MASK}@{place}"),
        None if rest.matches(':').count() > 1 && !rest.starts_with('[') => MASK.to_owned(),
        None => proxy.to_owned(),
    };
    format!("{shown}{mark}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn no_secret_of_a_request_is_shown() {
        let request = json!({
            "method": "userrecaptcha", "googlekey": "6Le", "sitekey": "x",
            "proxy": "me:hunter2@10.0.0.1:80, b.example:81", "cookies": "sid=hunter2",
            "api_key": "hunter2", "access_token": "hunter2", "data-s": "public",
            "pingback": "https://a/?hunter2", "callbackUrl": "https://a/?hunter2"
        });
        let (shown, names) = masked(request.as_object().expect("an object"));
        let text = Value::Object(shown.clone()).to_string();
        assert!(!text.contains("hunter2"), "{text}");
        assert_eq!(shown.get("proxy"), Some(&json!("***@10.0.0.1:80, b.example:81")));
        assert_eq!(names, ["proxy", "cookies", "api_key", "access_token"], "what a submit needs");
    }

    #[test]
    fn every_way_to_write_a_proxy_is_covered() {
        for (proxy, shown) in [
            ("socks5://u:p@h:1", "socks5://***@h:1"),
            ("h:1:u:p", "***"),
            ("h:1", "h:1"),
            ("[::1]:80", "[::1]:80"),
            ("u:p@[::1]:80", "***@[::1]:80"),
            ("u:p@w@h:1", "***@h:1"),
        ] {
            assert_eq!(masked_proxies(&json!(proxy)), json!(shown), "{proxy}");
            assert_eq!(masked_proxies(&json!([proxy])), json!([shown]), "{proxy}");
        }
    }
}
