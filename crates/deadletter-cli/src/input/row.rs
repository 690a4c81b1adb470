//! From the fields of a record to a request, or to the reason why it is none.

use super::{
    columns::{Columns, Target},
    key::KeyWatch,
};
use crate::fault::Result;
use deadletter::core::hex;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use std::collections::HashMap;

/// Most tags of a task.
const TAGS_LIMIT: usize = 20;

/// A row that can be submitted.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Row {
    /// Parameters, `method` among them.
    pub(crate) params: Map<String, Value>,
    /// 0 to 3.
    pub(crate) priority: Option<u8>,
    /// Words of the owner.
    pub(crate) tags: Vec<String>,
}

/// What holds for each row that does not say otherwise.
#[derive(Clone, Debug, Default)]
pub(crate) struct Usual {
    /// The kind of job.
    pub(crate) method: Option<String>,
    /// The site key, as the method calls it.
    pub(crate) sitekey: Option<String>,
    /// Other parameters, by their own names.
    pub(crate) params: Vec<(String, Value)>,
}

impl Usual {
    /// True where nothing is said, so that each row must say it all.
    pub(crate) const fn is_empty(&self) -> bool {
        self.method.is_none() && self.sitekey.is_none() && self.params.is_empty()
    }
}

/// The request in `fields`; the inner error is the reason to reject the row.
pub(crate) fn row_of(
    fields: &[(String, Value)],
    columns: &mut Columns,
    usual: &Usual,
    key: &KeyWatch,
) -> Result<Result<Row, String>> {
    let mut draft = Draft::default();
    for (column, value) in fields {
        if key.finds_in(column) {
            return Ok(Err("the name of a column holds the account's key".to_owned()));
        }
        let target = columns.target(column)?;
        let is_blank = match value {
            Value::Null => true,
            Value::String(text) => text.trim().is_empty(),
            _ => false,
        };
        if is_blank || *target == Target::Ignored {
            continue;
        }
        let taken = if key.finds_in_value(value) {
            Err("it holds the account's key, which is no part of a task".to_owned())
        } else {
            draft.take(column, target, value.clone())
        };
        if let Err(reason) = taken {
            return Ok(Err(format!("{column}: {reason}")));
        }
    }
    Ok(draft.complete(usual))
}

/// A row whose columns are being read.
#[derive(Debug, Default)]
struct Draft {
    params: Map<String, Value>,
    sitekey: Option<Value>,
    priority: Option<u8>,
    tags: Vec<String>,
    /// What was said by which column, and how.
    said: HashMap<Target, (String, String)>,
}

impl Draft {
    fn take(&mut self, column: &str, target: &Target, value: Value) -> Result<(), String> {
        let text = text_of(&value);
        if let Some((other, said)) = self.said.get(target) {
            let meaning = target.label();
            return if *said == text {
                Ok(())
            } else {
                Err(format!("it means {meaning}, as {other} does, and the two differ"))
            };
        }
        self.said.insert(target.clone(), (column.to_owned(), text));
        match target {
            Target::Ignored => {}
            Target::Sitekey => self.sitekey = param("sitekey", value)?,
            Target::Priority => self.priority = Some(priority(&value)?),
            Target::Tags => self.tags = tags(&value)?,
            Target::Param(name) => {
                self.params.extend(param(name, value)?.map(|value| (name.clone(), value)));
            }
        }
        Ok(())
    }

    /// Chooses the method where none is named, names the site key as the method does, and checks
    /// that nothing is missing that would only be refused, or paid for, upstream.
    fn complete(mut self, usual: &Usual) -> Result<Row, String> {
        let params = &mut self.params;
        if self.sitekey.is_none() && !params.contains_key("googlekey") {
            self.sitekey = usual.sitekey.clone().map(Value::from);
        }
        for (name, value) in &usual.params {
            // Under another name, the row says this itself.
            if name != "googlekey" || self.sitekey.is_none() {
                params.entry(name.clone()).or_insert_with(|| value.clone());
            }
        }
        if !params.contains_key("method") {
            let has = |name: &str| params.contains_key(name);
            let guessed = match usual.method.as_deref() {
                Some(method) => method,
                None if has("gt") || has("captcha_id") => "geetest",
                None if self.sitekey.is_some() || has("googlekey") => "userrecaptcha",
                None if has("body") => "base64",
                None => {
                    return Err("it names no method, and no site key to guess one from".to_owned());
                }
            };
            params.insert("method".to_owned(), guessed.into());
        }
        let method = params.get("method").and_then(Value::as_str).unwrap_or_default().to_owned();
        if let Some(sitekey) = self.sitekey {
            one_sitekey(Some(&sitekey), params.get("googlekey"))?;
            let name = if method == "userrecaptcha" { "googlekey" } else { "sitekey" };
            params.insert(name.to_owned(), sitekey);
        }
        sendable(params, &method)?;
        Ok(Row { params: self.params, priority: self.priority, tags: self.tags })
    }
}

/// A value as it would be sent, to compare it with another spelling of itself.
fn text_of(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), |text| text.trim().to_owned())
}

/// Refuses two site keys for one task: only one of them can be meant.
pub(crate) fn one_sitekey(
    sitekey: Option<&Value>,
    googlekey: Option<&Value>,
) -> Result<(), String> {
    match (sitekey, googlekey) {
        (Some(one), Some(other)) if text_of(one) != text_of(other) => {
            Err("sitekey and googlekey differ, and a task has one site key".to_owned())
        }
        _ => Ok(()),
    }
}

/// Why a request would only be refused, or paid for in vain.
pub(crate) fn sendable(params: &Map<String, Value>, method: &str) -> Result<(), String> {
    for name in required(method) {
        if !params.contains_key(*name) {
            return Err(format!("it has no {name}, which {method} needs"));
        }
    }
    match params.get("pageurl") {
        Some(url) if !is_page(url) => {
            Err("its page URL does not begin with http:// or https:// and a host".to_owned())
        }
        _ => Ok(()),
    }
}

/// Parameters without which a method cannot work; unknown methods are passed through.
fn required(method: &str) -> &'static [&'static str] {
    match method {
        "userrecaptcha" => &["googlekey", "pageurl"],
        "turnstile" | "hcaptcha" | "captchafox" | "friendly_captcha" => &["sitekey", "pageurl"],
        "geetest" | "lemin" => &["pageurl"],
        "cloudflare_challenge" => &["pageurl", "proxy", "proxytype"],
        "base64" => &["body"],
        _ => &[],
    }
}

fn is_page(url: &Value) -> bool {
    let Some(url) = url.as_str() else { return false };
    let lower = url.get(..8).unwrap_or(url).to_ascii_lowercase();
    let rest = match () {
        () if lower.starts_with("https://") => url.get(8..),
        () if lower.starts_with("http://") => url.get(7..),
        () => None,
    };
    let host = rest.and_then(|rest| rest.split(['/', '?', '#']).next()).unwrap_or_default();
    // A comma within the host is two columns that were taken for one.
    !host.is_empty()
        && !host.contains([',', ';', '"', '<', '>', '|'])
        && !url.contains(|c: char| c.is_whitespace() || c.is_control())
}

/// A parameter as in.php takes it; none where it says what is so anyway.
fn param(name: &str, value: Value) -> Result<Option<Value>, String> {
    let is_switch = matches!(name, "invisible" | "enterprise");
    match value {
        Value::Bool(truth) => Ok(truth.then(|| Value::from(1))),
        Value::String(text) if is_switch && text.eq_ignore_ascii_case("true") => Ok(Some(1.into())),
        Value::String(text) if is_switch && text.eq_ignore_ascii_case("false") => Ok(None),
        Value::String(text) => Ok(Some(Value::String(text.trim().to_owned()))),
        Value::Number(_) => Ok(Some(value)),
        // Several proxies are tried one after the other.
        Value::Array(_) if name == "proxy" => Ok(Some(value)),
        Value::Array(_) | Value::Object(_) => {
            Err("it is a list or an object, where a text or a number is wanted".to_owned())
        }
        Value::Null => Ok(None),
    }
}

fn priority(value: &Value) -> Result<u8, String> {
    let number = match value {
        Value::String(text) => text.trim().parse().ok(),
        value => value.as_u64(),
    };
    match number.and_then(|n| u8::try_from(n).ok()) {
        Some(n @ 0..=3) => Ok(n),
        _ => Err("a priority is 0 (first), 1, 2 or 3 (best effort)".to_owned()),
    }
}

fn tags(value: &Value) -> Result<Vec<String>, String> {
    let tags: Vec<String> = match value {
        Value::String(text) => {
            text.split([',', ' ', ';']).filter(|tag| !tag.is_empty()).map(str::to_owned).collect()
        }
        Value::Array(tags) => tags.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
        _ => return Err("tags are words".to_owned()),
    };
    if tags.len() > TAGS_LIMIT || tags.iter().any(|tag| tag.len() > 100) {
        return Err(format!("there are more than {TAGS_LIMIT} tags, or one is too long"));
    }
    Ok(tags)
}

/// Tells contents apart.
pub(super) fn digest(content: &[u8]) -> [u8; 16] {
    let mut short = [0; 16];
    for (to, from) in short.iter_mut().zip(Sha256::digest(content).iter()) {
        *to = *from;
    }
    short
}

/// How often each content was seen: the key of a row is its content, and which of its equals it is.
///
/// So a row keeps its key when lines are put in front of it, sorted or removed, and two equal rows
/// are two tasks.
#[derive(Debug, Default)]
pub(crate) struct Occurrences {
    seen: HashMap<[u8; 16], u32>,
}

impl Occurrences {
    /// The idempotency key of the next row with this content in `batch`.
    pub(crate) fn key(&mut self, batch: &str, row: &Row) -> String {
        // Sorted, so that the order of columns does not matter.
        let sorted: std::collections::BTreeMap<_, _> = row.params.iter().collect();
        let content = serde_json::json!([batch, sorted]).to_string();
        let short = digest(content.as_bytes());
        let nth = self.seen.entry(short).or_default();
        *nth += 1;
        format!("row:{}:{nth}", hex(&short))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn row(value: &Value) -> Result<Row, String> {
        let fields: Vec<_> = value.as_object().expect("an object").clone().into_iter().collect();
        row_of(&fields, &mut Columns::default(), &Usual::default(), &KeyWatch::default())
            .expect("columns are allowed")
    }

    #[test]
    fn a_site_key_and_a_page_make_a_recaptcha() {
        let row = row(
            &json!({"sitekey": "6Le", "url": " https://a.example/x ", "proxy": "", "note": null}),
        )
        .expect("good");
        assert_eq!(
            Value::Object(row.params),
            json!({"pageurl": "https://a.example/x", "method": "userrecaptcha", "googlekey": "6Le"})
        );
    }

    #[test]
    fn the_site_key_is_called_as_the_method_calls_it() {
        let row =
            row(&json!({"method": "turnstile", "websiteKey": "0x4", "websiteURL": "http://a.b"}))
                .expect("good");
        assert_eq!(row.params.get("sitekey"), Some(&json!("0x4")));
    }

    #[test]
    fn what_would_only_be_refused_upstream_is_rejected_with_its_reason() {
        for (fields, part) in [
            (json!({"sitekey": "6Le"}), "no pageurl"),
            (json!({"url": "https://a.b"}), "no method"),
            (json!({"method": "userrecaptcha", "url": "https://a.b"}), "no googlekey"),
            (json!({"sitekey": "6Le", "url": "a.b/c"}), "http://"),
            (json!({"sitekey": "6Le", "url": "https:///c"}), "http://"),
            (json!({"sitekey": "6Le", "url": "https://a.b,6Le"}), "http://"),
            (json!({"sitekey": "6Le", "url": "https://a b"}), "http://"),
            (json!({"sitekey": "6Le", "url": "https://a.b", "x": [1]}), "x: it is a list"),
            (json!({"sitekey": "6Le", "url": "https://a.b", "priority": 4}), "priority"),
        ] {
            let reason = row(&fields).expect_err("rejected");
            assert!(reason.contains(part), "{reason}");
        }
    }

    #[test]
    fn two_columns_of_one_meaning_must_agree() {
        let same = json!({"sitekey": "6Le", "googlekey": " 6Le", "websiteKey": "6Le", "url": "https://a.b",
            "pageurl": "https://a.b "});
        assert_eq!(row(&same).expect("good").params.get("googlekey"), Some(&json!("6Le")));
        for (fields, part) in [
            (json!({"sitekey": "6Le", "googlekey": "6Lf", "url": "https://a.b"}), "one site key"),
            (
                json!({"method": "turnstile", "sitekey": "0x", "googlekey": "6Lf", "url": "https://a.b"}),
                "one site key",
            ),
            (
                json!({"sitekey": "6Le", "websiteKey": "6Lf", "url": "https://a.b"}),
                "as sitekey does",
            ),
            (json!({"sitekey": "6Le", "url": "https://a.b", "page": "https://a.c"}), "as url does"),
            (
                json!({"sitekey": "6Le", "url": "https://a.b", "tag": "x", "tags": "y"}),
                "tags: it means tags of the task, as tag does",
            ),
        ] {
            let reason = row(&fields).expect_err("rejected");
            assert!(reason.contains(part), "{reason}");
        }
    }

    #[test]
    fn what_is_usual_holds_where_a_row_says_nothing_else() {
        let usual = Usual {
            method: None,
            sitekey: Some("6Le".to_owned()),
            params: vec![("action".to_owned(), json!("go")), ("proxy".to_owned(), json!("h:1"))],
        };
        let row = |value: &Value| {
            let fields: Vec<_> =
                value.as_object().expect("an object").clone().into_iter().collect();
            let row = row_of(&fields, &mut Columns::default(), &usual, &KeyWatch::default());
            Value::Object(row.expect("columns are allowed").expect("good").params)
        };
        assert_eq!(
            row(&json!({"url": "https://a.b"})),
            json!({"pageurl": "https://a.b", "action": "go", "proxy": "h:1",
                "method": "userrecaptcha", "googlekey": "6Le"})
        );
        let own = row(&json!({"url": "https://a.b", "googlekey": "own", "proxy": "h:2"}));
        assert_eq!((&own["googlekey"], &own["proxy"]), (&json!("own"), &json!("h:2")));
        assert!(own.get("sitekey").is_none(), "{own}");
        let own = row(&json!({"url": "https://a.b", "method": "turnstile"}));
        assert_eq!(own["sitekey"], "6Le");
    }

    #[test]
    fn a_site_key_is_text() {
        let reason = row(&json!({"sitekey": ["6Le"], "url": "https://a.b"})).expect_err("rejected");
        assert!(reason.contains("sitekey: it is a list"), "{reason}");
    }

    #[test]
    fn unknown_methods_and_parameters_pass_through() {
        let row =
            row(&json!({"method": "new_thing", "depth": 3, "isInvisible": true})).expect("good");
        assert_eq!(
            Value::Object(row.params),
            json!({"method": "new_thing", "depth": 3, "invisible": 1})
        );
    }

    #[test]
    fn a_rows_key_follows_its_content_and_equal_rows_are_told_apart() {
        let one = row(&json!({"sitekey": "6Le", "url": "https://a.b"})).expect("good");
        let turned = row(&json!({"url": "https://a.b", "sitekey": "6Le"})).expect("good");
        let other = row(&json!({"sitekey": "6Le", "url": "https://a.c"})).expect("good");
        let mut seen = Occurrences::default();
        let first = seen.key("b", &one);
        assert_ne!(seen.key("b", &turned), first);
        assert_ne!(seen.key("b", &other), first);
        assert_ne!(Occurrences::default().key("c", &one), first);
        assert_eq!(Occurrences::default().key("b", &turned), first);
        let mut moved = Occurrences::default();
        moved.key("b", &other);
        assert_eq!(moved.key("b", &one), first, "lines in front of it do not change it");
    }
}
