//! Reads what an upstream of the family says.
//!
//! ```text
//! accepted  {"errorId":0,"taskId":X}                            X: an integer, digits or a UUID
//! not yet   {"errorId":0,"status":"processing"}                 or an empty body
//! answer    {"errorId":0,"status":"ready","solution":{..},..}
//! error     {"errorId":1,"errorCode":"ERROR_X","errorDescription":".."}
//! ```
//!
//! `errorId` may be missing, or text. An error is known by its code, a yes by what it brings; what is
//! neither is unreadable, and never a verdict. Nothing here panics, whatever the bytes.

use super::DIALECT;
use crate::provider::codes::{Codes, normal};
use crate::provider::word::{Said, Shape, Word};
use secrecy::SecretString;
use serde::Deserialize;
use serde_json::{Map, Value, value::RawValue};

/// Longer than every known code.
const CODE_LIMIT: usize = 64;

/// The fields that are read, as they were written; the rest stays in the raw body.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Body<'a> {
    #[serde(borrow)]
    error_id: Option<&'a RawValue>,
    #[serde(borrow)]
    error_code: Option<&'a RawValue>,
    #[serde(borrow)]
    error_description: Option<&'a RawValue>,
    #[serde(borrow)]
    task_id: Option<&'a RawValue>,
    #[serde(borrow)]
    status: Option<&'a RawValue>,
    #[serde(borrow)]
    solution: Option<&'a RawValue>,
    #[serde(borrow)]
    balance: Option<&'a RawValue>,
}

/// The answer to createTask, or an error that getBalance has.
pub(super) fn submitted(bytes: &[u8], _: &Codes) -> Word {
    with_body(bytes, |body| {
        let (shape, text) = match body.task_id {
            Some(id) if string(id).is_some() => (Shape::Text, string(id).unwrap_or_default()),
            Some(id) if id.get().bytes().all(|b| b.is_ascii_digit()) => {
                (Shape::Number, id.get().to_owned())
            }
            _ => return Word::Unreadable("a yes without an id"),
        };
        // Some say 0 where there is none.
        if text.is_empty() || text == "0" {
            return Word::Unreadable("a yes without an id");
        }
        yes(shape, text, None)
    })
}

/// The answer to getTaskResult.
pub(super) fn polled(bytes: &[u8], _: &Codes) -> Word {
    with_body(bytes, |body| {
        let status = body.status.and_then(string).unwrap_or_default().to_ascii_lowercase();
        match (status.as_str(), body.solution) {
            ("processing" | "idle" | "pending", _) => Word::NotReady,
            ("failed", _) => Word::Error {
                code: "ERROR_CAPTCHA_UNSOLVABLE".to_owned(),
                text: "status: failed".to_owned(),
            },
            ("ready" | "", Some(solution)) => answer(solution),
            _ => Word::Unreadable("neither a solution nor \"processing\""),
        }
    })
}

/// The answer to a report: any yes is a receipt.
pub(super) fn reported(bytes: &[u8], _: &Codes) -> Word {
    with_body(bytes, |body| {
        let status = body.status.and_then(string).unwrap_or_default().to_ascii_lowercase();
        match (status.as_str(), body.error_id) {
            ("success", _) | ("", Some(_)) => yes(Shape::Text, status, None),
            _ => Word::Unreadable("neither \"success\" nor an error"),
        }
    })
}

/// The balance in an answer to getBalance.
pub(super) fn balance(bytes: &[u8]) -> Option<f64> {
    let body: Body<'_> = serde_json::from_str(bare(std::str::from_utf8(bytes).ok()?)).ok()?;
    if error(&body).is_some() {
        return None;
    }
    let balance = body.balance?;
    let number = string(balance).map_or_else(|| balance.get().parse(), |text| text.trim().parse());
    number.ok().filter(|number: &f64| number.is_finite())
}

fn with_body(bytes: &[u8], read: impl Fn(&Body<'_>) -> Word) -> Word {
    let Ok(text) = std::str::from_utf8(bytes) else { return Word::Unreadable("not UTF-8") };
    let text = bare(text);
    if text.is_empty() {
        return Word::Empty;
    }
    match serde_json::from_str::<Body<'_>>(text) {
        // A list of the right length would be read as well.
        Ok(body) if text.starts_with('{') => error(&body).unwrap_or_else(|| read(&body)),
        _ => Word::Unreadable("no JSON object"),
    }
}

/// Without byte order mark and white space around it.
fn bare(text: &str) -> &str {
    text.trim_matches(|c: char| c.is_whitespace() || c == '\u{feff}')
}

/// What is no yes: a code, or an `errorId` that is not 0.
fn error(body: &Body<'_>) -> Option<Word> {
    let is_wrong = |id: &RawValue| !matches!(id.get(), "0" | "\"0\"" | "false" | "\"\"" | "null");
    let code = body.error_code.and_then(string).map(|code| normal(&code)).unwrap_or_default();
    let is_code = (1..=CODE_LIMIT).contains(&code.len())
        && code.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_');
    match (code.as_str(), body.error_id) {
        ("CAPCHA_NOT_READY" | "CAPTCHA_NOT_READY", _) => Some(Word::NotReady),
        (_, id) if is_code && id.is_none_or(is_wrong) => {
            let text = body.error_description.and_then(string).unwrap_or_default();
            Some(Word::Error { code, text })
        }
        (_, Some(id)) if is_wrong(id) => Some(Word::Unreadable("an error without a code")),
        _ => None,
    }
}

fn yes(shape: Shape, text: String, user_agent: Option<String>) -> Word {
    Word::Yes(Said { dialect: DIALECT, shape, text: SecretString::from(text), user_agent })
}

/// The answer in a solution: the one field that it is about, or the whole object.
fn answer(solution: &RawValue) -> Word {
    let empty = Word::Unreadable("a solution without an answer");
    let Ok(fields) = serde_json::from_str::<Map<String, Value>>(solution.get()) else {
        return match string(solution) {
            Some(text) if !text.is_empty() => yes(Shape::Text, text, None),
            _ => empty,
        };
    };
    let text = |value: Option<&Value>| match value? {
        Value::String(text) => Some(text.clone()).filter(|text| !text.is_empty()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    };
    let agent = text(fields.get("userAgent"));
    let clearance = fields.get("cookies").and_then(|cookies| cookies.get("cf_clearance"));
    let known = ["gRecaptchaResponse", "token", "text", "cf_clearance"];
    let found = known.iter().find_map(|name| text(fields.get(*name)));
    match found.or_else(|| text(clearance)) {
        Some(text) => yes(Shape::Text, text, agent),
        None if fields.is_empty() => empty,
        None => yes(Shape::Structure, structure(fields, solution), agent),
    }
}

/// A structured answer as in.php has it: geetest's three parts with their prefix.
fn structure(fields: Map<String, Value>, solution: &RawValue) -> String {
    let is_geetest = ["challenge", "validate", "seccode"].iter().all(|n| fields.contains_key(*n));
    if !is_geetest {
        return solution.get().to_owned();
    }
    let named = fields.into_iter().map(|(name, value)| (format!("geetest_{name}"), value));
    Value::Object(named.collect()).to_string()
}

fn string(value: &RawValue) -> Option<String> {
    serde_json::from_str(value.get()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use secrecy::ExposeSecret;

    fn said(word: Word) -> String {
        match word {
            Word::Yes(said) => format!("{:?} {}", said.shape, said.text.expose_secret()),
            Word::NotReady => "not ready".to_owned(),
            Word::Error { code, text } => format!("{code} ({text})"),
            Word::Empty => "empty".to_owned(),
            Word::Unreadable(_) => "unreadable".to_owned(),
        }
    }

    #[test]
    fn an_id_is_an_integer_or_text() {
        for (body, word) in [
            (r#"{"errorId":0,"taskId":7654321}"#, "Number 7654321"),
            (r#"{"taskId":7654321,"new":[]}"#, "Number 7654321"),
            (r#"{"errorId":"0","errorCode":"","taskId":"61138bb6-19fb"}"#, "Text 61138bb6-19fb"),
            (r#"{"errorId":0,"errorCode":null,"taskId":"x","status":"idle"}"#, "Text x"),
            (r#"{"errorId":0,"taskId":0}"#, "unreadable"),
            (r#"{"errorId":0,"taskId":1.5}"#, "unreadable"),
            (r#"{"errorId":0}"#, "unreadable"),
            (r#"{"errorId":1,"taskId":7}"#, "unreadable"),
            ("[null,null,null,7,null,null,null]", "unreadable"),
            ("<html>", "unreadable"),
            (" \u{feff}\n", "empty"),
            (
                r#"{"errorId":1,"errorCode":"ERROR_X","errorDescription":"why","taskId":0}"#,
                "ERROR_X (why)",
            ),
            (r#"{"errorCode":"error_x"}"#, "ERROR_X ()"),
            (r#"{"errorId":"1","errorCode":"ERROR_X"}"#, "ERROR_X ()"),
        ] {
            assert_eq!(said(submitted(body.as_bytes(), &Codes::default())), word, "{body}");
        }
    }

    #[test]
    fn a_solution_is_read_by_what_it_is_about() {
        for (body, word) in [
            (r#"{"errorId":0,"status":"processing"}"#, "not ready"),
            (r#"{"status":"idle"}"#, "not ready"),
            (r#"{"errorId":1,"errorCode":"CAPTCHA_NOT_READY"}"#, "not ready"),
            ("", "empty"),
            (
                r#"{"errorId":0,"status":"ready","solution":{"gRecaptchaResponse":"T","token":"T"}}"#,
                "Text T",
            ),
            (r#"{"status":"ready","taskId":"x","solution":{"token":"ERROR_T"}}"#, "Text ERROR_T"),
            (r#"{"errorId":0,"solution":{"text":"0123"}}"#, "Text 0123"),
            (r#"{"status":"ready","solution":{"cookies":{"cf_clearance":"C"}}}"#, "Text C"),
            (
                r#"{"status":"ready","solution":{"challenge":"c","validate":"v","seccode":"s"}}"#,
                r#"Structure {"geetest_challenge":"c","geetest_validate":"v","geetest_seccode":"s"}"#,
            ),
            (r#"{"status":"ready","solution":{"a": 1.50}}"#, r#"Structure {"a": 1.50}"#),
            (r#"{"status":"ready","solution":"T"}"#, "Text T"),
            (r#"{"status":"ready","solution":{}}"#, "unreadable"),
            (r#"{"status":"ready","solution":null}"#, "unreadable"),
            (r#"{"status":"ready"}"#, "unreadable"),
            (r#"{"status":"dancing","solution":{"token":"T"}}"#, "unreadable"),
            (r#"{"errorId":0,"status":"failed"}"#, "ERROR_CAPTCHA_UNSOLVABLE (status: failed)"),
            (
                r#"{"errorId":1,"errorCode":"ERROR_CAPTCHA_UNSOLVABLE"}"#,
                "ERROR_CAPTCHA_UNSOLVABLE ()",
            ),
        ] {
            assert_eq!(said(polled(body.as_bytes(), &Codes::default())), word, "{body}");
        }
    }

    #[test]
    fn a_balance_is_a_number_or_text() {
        for (body, number) in [
            (r#"{"errorId":0,"balance":12.345}"#, Some(12.345)),
            (r#"{"balance":"3"}"#, Some(3.0)),
            (r#"{"errorId":1,"errorCode":"ERROR_X","balance":0}"#, None),
            (r#"{"balance":"much"}"#, None),
            ("{}", None),
            ("12", None),
        ] {
            assert_eq!(balance(body.as_bytes()), number, "{body}");
        }
    }

    fn bodies() -> impl Strategy<Value = Vec<u8>> {
        const PIECES: &[&[u8]] = &[
            b"{\"errorId\":",
            b"0,",
            b"1,",
            b"\"errorCode\":\"ERROR_X\"",
            b"\"status\":\"ready\",",
            b"\"solution\":{",
            b"\"token\":\"",
            b"\"taskId\":",
            b"\"cookies\":[",
            b"1e400",
            b"\"",
            b"}}",
            b"[[[[{{",
            b"\xef\xbb\xbf",
            b"\"\\ud800\"",
        ];
        let piece = proptest::sample::select(PIECES).prop_map(<[u8]>::to_vec);
        let piece = prop_oneof![piece, proptest::collection::vec(any::<u8>(), 0..9)];
        proptest::collection::vec(piece, 0..9).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #[test]
        fn reading_never_panics(body in bodies()) {
            submitted(&body, &Codes::default());
            polled(&body, &Codes::default());
            balance(&body);
        }
    }
}
