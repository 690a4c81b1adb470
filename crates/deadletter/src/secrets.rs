//! What is secret in a request, and kept out of what is written down of its failures.
//!
//! Secrets stand in requests and answers alone. Upstream's words are hostile input, and may repeat
//! what they were told: the account's key is taken out by the provider, which knows it; what a
//! request holds is taken out here, where a failure becomes a part of the task's history.

use crate::{delivery, provider::clean::Cleaner};
use deadletter_core::{Cause, Class, Failure, Happened, Payload};
use serde_json::Value;
use std::iter::once;

/// Parameters whose whole value is secret.
const WHOLE: &[&str] = &["cookie", "cookies"];
/// Words that make any parameter secret.
const WORDS: &[&str] = &["password", "passwd", "secret", "token", "auth", "credential"];
/// Stands for a code that holds a secret.
const UNKNOWN: &str = "UNKNOWN";
/// Stands for words of upstream's that could not be cleaned.
const NOT_KEPT: &str = "not kept: it may hold a secret of the request";
/// Secrets that are looked for: real requests have about ten.
const MOST: usize = 64;
/// Characters of a secret that are looked for: upstream's words are cut at some hundreds.
const LONGEST: usize = 200;
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

/// What happened, without what upstream's words repeat of the request; without any words of
/// upstream's where the request is not known, or holds more secrets than can be looked for.
pub(crate) fn without(mut happened: Happened, request: Option<&Payload>) -> Happened {
    let cleaner = request.and_then(found_in).map(|secrets| Cleaner::of(&secrets));
    match &mut happened {
        Happened::Refused(failure)
        | Happened::Unsent(failure)
        | Happened::InDoubt(failure)
        | Happened::Failed(failure)
        | Happened::Unread(failure) => clean(failure, cleaner.as_ref()),
        Happened::Panicked(message) => {
            *message =
                cleaner.map_or_else(|| NOT_KEPT.to_owned(), |cleaner| cleaner.without(message));
        }
        _ => {}
    }
    happened
}

fn clean(failure: &mut Failure, cleaner: Option<&Cleaner>) {
    let (detail, is_known) = match cleaner {
        Some(cleaner) => {
            (cleaner.without(&failure.detail), !cleaner.finds_in(failure.cause.as_str()))
        }
        // A code with a meaning is a word of the protocol, and no secret.
        None => (NOT_KEPT.to_owned(), failure.class != Class::Unknown),
    };
    failure.detail = detail;
    if !is_known {
        failure.cause = Cause::new(UNKNOWN);
    }
}

/// The secrets of a request: each whole, and each part that means something by itself. None where
/// they are too many.
fn found_in(payload: &Payload) -> Option<Vec<String>> {
    let mut found = Vec::new();
    for (name, value) in payload.expose() {
        if name.eq_ignore_ascii_case("proxy") {
            each_text(value, &mut |text| {
                text.split([',', ' ']).all(|proxy| take(&mut found, credentials(proxy)))
            })?;
        } else if is_secret_field(name) {
            each_text(value, &mut |text| take(&mut found, once(text).chain(parts(text))))?;
        }
    }
    Some(found)
}

/// Takes in secrets that are long enough to be looked for; false where they are too many.
fn take<'t>(found: &mut Vec<String>, secrets: impl IntoIterator<Item = &'t str>) -> bool {
    for secret in secrets.into_iter().filter(|secret| secret.chars().nth(SHORTEST - 1).is_some()) {
        if found.len() == MOST {
            return false;
        }
        found.push(secret.chars().take(LONGEST).collect());
    }
    true
}

/// Of `user:password@host:port`, or `host:port:user:password`: both together, and the password.
fn credentials(proxy: &str) -> impl Iterator<Item = &str> {
    let rest = proxy.split_once("://").map_or(proxy, |(_, rest)| rest);
    let pair = match rest.rsplit_once('@') {
        Some((pair, _)) => pair,
        None => rest.splitn(3, ':').nth(2).unwrap_or_default(),
    };
    let password = pair.split_once(':').map(|(_, password)| password);
    password.into_iter().chain([pair])
}

/// The values of a cookie or of a URL's query.
fn parts(text: &str) -> impl Iterator<Item = &str> {
    let pairs = text.split([';', '&', ',', '?']).map(str::trim);
    pairs.filter_map(|pair| pair.split_once('=').map(|(_, value)| value))
}

/// Shows every text of a value to `take`; none where that wants no more.
fn each_text(value: &Value, take: &mut impl FnMut(&str) -> bool) -> Option<()> {
    match value {
        Value::String(text) => take(text).then_some(()),
        Value::Array(values) => values.iter().try_for_each(|value| each_text(value, take)),
        Value::Object(fields) => fields.values().try_for_each(|value| each_text(value, take)),
        _ => Some(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn told(request: Option<Value>, cause: &str, detail: &str) -> (String, String) {
        let request = request.map(|request| match request {
            Value::Object(fields) => Payload::new(fields),
            _ => panic!("an object"),
        });
        let failure = Failure::new(cause, Class::Unknown).with_detail(detail);
        match without(Happened::Failed(failure), request.as_ref()) {
            Happened::Failed(failure) => (failure.cause.as_str().to_owned(), failure.detail),
            _ => panic!("it has failed"),
        }
    }

    fn cleaned(request: Value, detail: &str) -> String {
        told(Some(request), "ERROR_X", detail).1
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
        let request = Some(json!({"cookies": "s=HUNTER_22"}));
        assert_eq!(told(request.clone(), "ERROR_HUNTER_22", "").0, UNKNOWN);
        assert_eq!(told(request, "ERROR_OTHER", "").0, "ERROR_OTHER");
    }

    #[test]
    fn where_the_secrets_are_not_known_or_too_many_no_words_are_kept() {
        let many: String = (0..=MOST).map(|n| format!("c{n}=hunter{n:04};")).collect();
        for request in [None, Some(json!({"cookies": many}))] {
            let (cause, detail) = told(request, "ERROR_HUNTER_22", "bad hunter0001");
            assert_eq!((cause.as_str(), detail.as_str()), (UNKNOWN, NOT_KEPT));
        }
    }
}
