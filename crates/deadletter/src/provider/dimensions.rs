//! What a payload is counted and filtered by. Nothing here may be secret: it is stored in the
//! clear, indexed and shown.

use crate::provider::clean::Cleaner;
use deadletter_core::{Dimensions, Payload};
use serde_json::Value;
use url::Url;

/// Longest site key that is kept; the longest known have 40 characters.
const SITEKEY_LIMIT: usize = 200;

/// Longest method label.
const METHOD_LIMIT: usize = 64;

/// Longest host name, by DNS.
const HOST_LIMIT: usize = 253;

/// Parameters that name the site's key at the captcha's maker, in the order of trust.
const SITEKEY_NAMES: [&str; 4] = ["googlekey", "sitekey", "gt", "captcha_id"];

pub(super) fn dimensions(payload: &Payload, cleaner: &Cleaner) -> Dimensions {
    // A user may mix up the fields: the account's key must not become a dimension.
    let without_key = |text: &String| !cleaner.finds_in(text);
    let sitekey = SITEKEY_NAMES.iter().find_map(|name| {
        payload.text(name).map(|text| printable(&text, SITEKEY_LIMIT)).filter(|s| !s.is_empty())
    });
    Dimensions {
        method: Some(method(payload)).filter(without_key).unwrap_or_else(|| "unknown".to_owned()),
        sitekey: sitekey.filter(without_key),
        host: payload.text("pageurl").and_then(|url| host(&url)).filter(without_key),
        proxy: proxies(payload).first().and_then(|p| place(p)).filter(without_key),
        ..Dimensions::default()
    }
}

/// The method's label: the parameter `method`, and what makes another kind of job of it.
///
/// `userrecaptcha` with `version=v3` is `userrecaptcha_v3`, with `enterprise=1`
/// `userrecaptcha_enterprise`, with both `userrecaptcha_v3_enterprise`; `geetest` with `version=4`
/// is `geetest_v4`. `invisible` makes no difference: it is solved in the same way and time.
pub(super) fn method(payload: &Payload) -> String {
    let text = |name| payload.text(name).unwrap_or_default().trim().to_ascii_lowercase();
    let mut label: String = text("method")
        .chars()
        .take(METHOD_LIMIT)
        .map(|c| if c.is_ascii_alphanumeric() || c == '_' || c == '-' { c } else { '_' })
        .collect();
    let version = text("version");
    match label.as_str() {
        "" => label.push_str("unknown"),
        "userrecaptcha" => {
            if matches!(version.as_str(), "v3" | "3") {
                label.push_str("_v3");
            }
            if matches!(text("enterprise").as_str(), "1" | "true") {
                label.push_str("_enterprise");
            }
        }
        "geetest" if matches!(version.as_str(), "v4" | "4") => label.push_str("_v4"),
        _ => {}
    }
    label
}

/// The proxies that a payload names: a list in JSON, or a text separated by commas or white space.
pub(super) fn proxies(payload: &Payload) -> Vec<&str> {
    let texts: Vec<&str> = match payload.expose().get("proxy") {
        Some(Value::String(text)) => vec![text.as_str()],
        Some(Value::Array(list)) => list.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    };
    texts
        .into_iter()
        .flat_map(|text| text.split(|c: char| c == ',' || c.is_whitespace()))
        .filter(|proxy| !proxy.is_empty())
        .collect()
}

/// The proxy after those that failed; the last one where all have.
pub(super) fn proxy_in_turn(payload: &Payload, failed: u32) -> Option<&str> {
    let listed = proxies(payload);
    let turn = usize::try_from(failed).unwrap_or(usize::MAX);
    listed.get(turn).or(listed.last()).copied()
}

/// The host of a page, with or without a scheme in front.
fn host(url: &str) -> Option<String> {
    let url = url.trim();
    let has_scheme = url.contains("://");
    let parsed = if has_scheme { Url::parse(url) } else { Url::parse(&format!("https://{url}")) };
    let parsed = parsed.ok()?;
    let host = parsed.host_str()?;
    (!host.is_empty() && host.len() <= HOST_LIMIT).then(|| host.to_owned())
}

/// `host:port` of a proxy, whatever stands around it; none where it cannot be told for sure.
///
/// Proxies are written `host:port`, `user:password@host:port`, with a scheme, or
/// `host:port:user:password`; what is not surely host and port is left out.
fn place(proxy: &str) -> Option<String> {
    let bare = proxy.split_once("://").map_or(proxy, |(_, rest)| rest);
    let bare = bare.rsplit_once('@').map_or(bare, |(_, host)| host);
    let bare = bare.split(['/', '?', '#']).next().unwrap_or_default();
    let (host, rest) = match bare.strip_prefix('[').and_then(|v6| v6.split_once("]:")) {
        Some((v6, rest)) => (format!("[{v6}]"), rest),
        None => bare.split_once(':').map(|(host, rest)| (host.to_ascii_lowercase(), rest))?,
    };
    let port: u16 = rest.split(':').next()?.parse().ok()?;
    let is_address = host.starts_with('[') && host.contains(':');
    // Without a dot it may as well be a user's name.
    let is_name = host == "localhost"
        || host.contains('.')
            && host.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_'));
    (port > 0 && host.len() <= HOST_LIMIT && (is_address || is_name))
        .then(|| format!("{host}:{port}"))
}

fn printable(text: &str, limit: usize) -> String {
    text.trim().chars().filter(|c| c.is_ascii_graphic()).take(limit).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use secrecy::SecretString;
    use serde_json::json;

    fn of(fields: &Value) -> Dimensions {
        let cleaner = Cleaner::new(&SecretString::from("0123456789abcdef0123456789abcdef"));
        dimensions(&Payload::new(fields.as_object().unwrap().clone()), &cleaner)
    }

    #[test]
    fn a_method_is_labelled_with_what_makes_it_another_kind_of_job() {
        for (fields, label) in [
            (json!({"method": "userrecaptcha"}), "userrecaptcha"),
            (json!({"method": "userrecaptcha", "version": "v3"}), "userrecaptcha_v3"),
            (json!({"method": "userrecaptcha", "enterprise": 1}), "userrecaptcha_enterprise"),
            (
                json!({"method": "userrecaptcha", "version": "v3", "enterprise": "1"}),
                "userrecaptcha_v3_enterprise",
            ),
            (
                json!({"method": "userrecaptcha", "enterprise": "0", "invisible": 1}),
                "userrecaptcha",
            ),
            (json!({"method": "geetest", "version": 4}), "geetest_v4"),
            (json!({"method": "Turnstile\n"}), "turnstile"),
            (json!({"method": "a b"}), "a_b"),
            (json!({}), "unknown"),
        ] {
            assert_eq!(of(&fields).method, label, "{fields}");
        }
    }

    #[test]
    fn the_site_key_stands_under_one_of_its_names() {
        for name in SITEKEY_NAMES {
            assert_eq!(of(&json!({ name: "6Le-x" })).sitekey.as_deref(), Some("6Le-x"));
        }
        assert_eq!(of(&json!({"sitekey": ""})).sitekey, None);
        assert_eq!(of(&json!({"sitekey": "0123456789abcdef0123456789abcdef"})).sitekey, None);
    }

    #[test]
    fn the_host_of_a_page_has_no_scheme_port_or_path() {
        for (url, host) in [
            ("https://Example.com:8443/a?b=c#d", Some("example.com")),
            ("example.com/login", Some("example.com")),
            ("localhost:3000/x", Some("localhost")),
            ("https://user:pass@example.com/", Some("example.com")),
            ("", None),
            ("http://", None),
        ] {
            assert_eq!(of(&json!({"pageurl": url})).host.as_deref(), host, "{url}");
        }
    }

    #[test]
    fn a_proxy_is_counted_without_its_credentials() {
        for (proxy, place) in [
            ("10.0.0.1:80", Some("10.0.0.1:80")),
            ("bob:hunter2@10.0.0.1:80", Some("10.0.0.1:80")),
            ("http://bob:hun@ter2@p.example:80/", Some("p.example:80")),
            ("10.0.0.1:80:bob:hunter2", Some("10.0.0.1:80")),
            ("bob:hunter2@[::1]:1080", Some("[::1]:1080")),
            ("10.0.0.1:80@bob:4711", None),
            ("bob:hunter2", None),
            ("hunter2", None),
        ] {
            assert_eq!(of(&json!({ "proxy": proxy })).proxy.as_deref(), place, "{proxy}");
        }
    }

    #[test]
    fn several_proxies_are_a_text_or_a_list() {
        let text = json!({"proxy": "a.b:1, c.d:2\n\ne.f:3"});
        let list = json!({"proxy": ["a.b:1", "c.d:2 e.f:3", 7]});
        for fields in [text, list] {
            let payload = Payload::new(fields.as_object().unwrap().clone());
            assert_eq!(proxies(&payload), ["a.b:1", "c.d:2", "e.f:3"]);
        }
    }
}
