//! What is secret in a request, and kept out of what is written down of its failures.
//!
//! Secrets stand in requests and answers alone. Upstream's words are hostile input, and may repeat
//! what they were told: the account's key is taken out by the provider, which knows it; what a
//! request holds is taken out here, where a failure becomes a part of the task's history.

use crate::{Result, delivery, provider::clean::Cleaner};
use deadletter_core::{Cause, Failure, Happened, Payload, TaskId};
use deadletter_store::Store;
use serde_json::Value;
use std::borrow::Cow;

/// Parameters whose whole value is secret.
const WHOLE: &[&str] = &["cookie", "cookies"];
/// Words that make any parameter secret.
const WORDS: &[&str] = &["password", "passwd", "secret", "token", "auth", "credential"];
/// Stands for a code that holds a secret.
const UNKNOWN: &str = "UNKNOWN";
/// Characters below which a part of a secret is not looked for: it would be found by chance.
const SHORTEST: usize = 6;

/// True for a parameter of a request whose value is nobody else's business. Proxies are told apart:
/// of them, what stands before the host is secret.
#[must_use]
pub fn is_secret_field(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    WHOLE.contains(&name.as_str())
        || delivery::FIELDS.iter().any(|target| target.eq_ignore_ascii_case(&name))
        || WORDS.iter().any(|word| name.contains(word))
        // `key` and `x_key`, but not the public keys of a site.
        || (name.ends_with("key") && !matches!(name.as_str(), "googlekey" | "sitekey"))
}

/// What happened, without the secrets of the task's request.
pub(crate) async fn without<'h>(
    store: &dyn Store,
    task: TaskId,
    happened: &'h Happened,
) -> Result<Cow<'h, Happened>> {
    if !is_told(happened) {
        return Ok(Cow::Borrowed(happened));
    }
    let Some(payload) = store.payload(task).await? else { return Ok(Cow::Borrowed(happened)) };
    let cleaner = Cleaner::of(&found_in(&payload));
    let mut happened = happened.clone();
    match &mut happened {
        Happened::Refused(failure)
        | Happened::Unsent(failure)
        | Happened::InDoubt(failure)
        | Happened::Failed(failure)
        | Happened::Unread(failure) => clean(failure, &cleaner),
        Happened::Panicked(message) => *message = cleaner.without(message),
        _ => {}
    }
    Ok(Cow::Owned(happened))
}

/// True where there are words in it that are not ours.
fn is_told(happened: &Happened) -> bool {
    match happened {
        Happened::Refused(failure)
        | Happened::Unsent(failure)
        | Happened::InDoubt(failure)
        | Happened::Failed(failure)
        | Happened::Unread(failure) => {
            !failure.detail.is_empty() && failure.detail != failure.cause.as_str()
        }
        Happened::Panicked(_) => true,
        _ => false,
    }
}

fn clean(failure: &mut Failure, cleaner: &Cleaner) {
    failure.detail = cleaner.without(&failure.detail);
    if cleaner.finds_in(failure.cause.as_str()) {
        failure.cause = Cause::new(UNKNOWN);
    }
}

/// The secrets of a request: each whole, and each part that means something by itself.
fn found_in(payload: &Payload) -> Vec<String> {
    let mut found = Vec::new();
    for (name, value) in payload.expose() {
        if name.eq_ignore_ascii_case("proxy") {
            each_text(value, &mut |text| {
                found.extend(text.split([',', ' ']).flat_map(credentials))
            });
        } else if is_secret_field(name) {
            each_text(value, &mut |text| {
                found.push(text.to_owned());
                found.extend(parts(text).map(str::to_owned));
            });
        }
    }
    found.retain(|secret| secret.chars().count() >= SHORTEST);
    found
}

/// Of `user:password@host:port`, or `host:port:user:password`: both together, and the password.
fn credentials(proxy: &str) -> Vec<String> {
    let rest = proxy.split_once("://").map_or(proxy, |(_, rest)| rest);
    let pair = match rest.rsplit_once('@') {
        Some((pair, _)) => pair,
        None => rest.splitn(3, ':').nth(2).unwrap_or_default(),
    };
    let password = pair.split_once(':').map(|(_, password)| password);
    password.into_iter().chain([pair]).map(str::to_owned).collect()
}

/// The values of a cookie or of a URL's query.
fn parts(text: &str) -> impl Iterator<Item = &str> {
    let pairs = text.split([';', '&', ',', '?']).map(str::trim);
    pairs.filter_map(|pair| pair.split_once('=').map(|(_, value)| value))
}

fn each_text(value: &Value, take: &mut impl FnMut(&str)) {
    match value {
        Value::String(text) => take(text),
        Value::Array(values) => values.iter().for_each(|value| each_text(value, take)),
        Value::Object(fields) => fields.values().for_each(|value| each_text(value, take)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn cleaned(payload: Value, detail: &str) -> String {
        let Value::Object(fields) = payload else { panic!("an object") };
        let mut failure =
            Failure::new("ERROR_X", deadletter_core::Class::Unknown).with_detail(detail);
        clean(&mut failure, &Cleaner::of(&found_in(&Payload::new(fields))));
        failure.detail
    }

    #[test]
    fn what_upstream_repeats_of_a_request_is_taken_out_of_its_words() {
        for (payload, said, kept) in [
            (json!({"proxy": "bob:hunter22@10.0.0.1:80"}), "bad hunter22 here", "bad *** here"),
            (json!({"proxy": "10.0.0.1:80:bob:hunter22"}), "bad hunter22", "bad ***"),
            (json!({"proxy": ["http://bob:hunter22@h:1"]}), "bob:hunter22@h:1", "***@h:1"),
            (json!({"cookies": "a=1; session=hunter22"}), "no session hunter22", "no session ***"),
            (json!({"pingback": "https://a.example/?s=hunter22"}), "s: hunter22", "s: ***"),
            (json!({"x_token": {"deep": "hunter22"}}), "%68unter22 HUNTER22", "%68unter22 ***"),
            (json!({"proxy": "bob:pass@h:1"}), "compass", "compass"),
            (json!({"googlekey": "6Le-public"}), "6Le-public", "6Le-public"),
        ] {
            assert_eq!(cleaned(payload.clone(), said), kept, "{payload}");
        }
    }

    #[test]
    fn a_cut_leaves_no_part_of_a_secret_behind() {
        let payload = json!({"proxy": "bob:hunter22hunter22@h:1"});
        assert_eq!(cleaned(payload.clone(), "it was hunter22hun…"), "it was ***…");
        assert_eq!(cleaned(payload, "it was short…"), "it was short…");
    }

    #[test]
    fn a_code_that_holds_a_secret_is_none() {
        let Value::Object(fields) = json!({"cookies": "s=HUNTER_22"}) else { panic!("an object") };
        let mut failure = Failure::new("ERROR_HUNTER_22", deadletter_core::Class::Unknown);
        clean(&mut failure, &Cleaner::of(&found_in(&Payload::new(fields))));
        assert_eq!(failure.cause.as_str(), UNKNOWN);
    }
}
