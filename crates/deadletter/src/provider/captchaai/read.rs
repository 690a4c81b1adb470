//! Reads what in.php and res.php say: JSON, else the text grammar, else it is unreadable.
//!
//! ```text
//!            JSON (`json=1`)                            text
//! yes        {"status":1,"request":X, ...}              OK|X
//! not yet    {"status":0,"request":"CAPCHA_NOT_READY"}  CAPCHA_NOT_READY
//! error      {"status":0,"request":"ERROR_X", ...}      ERROR_X
//! ```
//!
//! Either form may come whatever was asked for. An error is a whole body, or a `request` whose
//! `status` is not 1, that begins with a code: never a substring, since an answer may hold any
//! word. Nothing here panics, whatever the bytes.

use crate::provider::codes::{Codes, normal};
use crate::provider::word::{Said, Shape, Word};
use secrecy::SecretString;
use serde::Deserialize;
use serde_json::value::RawValue;

/// The dialects of answers.
const JSON: &str = "res.php/json";
const TEXT: &str = "res.php/text";

/// The fields that are read; the rest stays in the raw body. Values are kept as they were
/// written: a number like `12.50` or an id of 25 digits must not change.
#[derive(Deserialize)]
struct Body<'a> {
    #[serde(borrow)]
    status: Option<&'a RawValue>,
    #[serde(borrow)]
    request: Option<&'a RawValue>,
    /// Where enterprise and cloudflare_challenge put their answer.
    #[serde(borrow)]
    result: Option<&'a RawValue>,
    #[serde(borrow)]
    error_text: Option<&'a RawValue>,
    #[serde(borrow, alias = "useragent", alias = "userAgent")]
    user_agent: Option<&'a RawValue>,
}

/// Reads a body.
pub(super) fn read(bytes: &[u8], codes: &Codes) -> Word {
    let Ok(text) = std::str::from_utf8(bytes) else { return Word::Unreadable("not UTF-8") };
    let text = bare(text);
    if text.is_empty() {
        Word::Empty
    } else if text.starts_with('{') {
        serde_json::from_str(text)
            .map_or(Word::Unreadable("broken JSON"), |body| read_json(&body, codes))
    } else {
        read_text(text, codes)
    }
}

/// Without byte order mark and white space around it.
fn bare(text: &str) -> &str {
    text.trim_matches(|c: char| c.is_whitespace() || c == '\u{feff}')
}

fn read_text(text: &str, codes: &Codes) -> Word {
    if is_not_ready(text) {
        return Word::NotReady;
    }
    match text.split_once('|') {
        Some(("OK", "")) => Word::Unreadable("an empty answer"),
        // Split once: what follows may hold more of them.
        Some(("OK", said)) => Word::Yes(Said {
            dialect: TEXT,
            shape: Shape::Text,
            text: SecretString::from(said),
            user_agent: None,
        }),
        _ => error_in(text, codes).unwrap_or(Word::Unreadable("neither JSON nor OK nor an error")),
    }
}

fn read_json(body: &Body<'_>, codes: &Codes) -> Word {
    match body.status.map(RawValue::get) {
        Some("1" | "\"1\"" | "true") => read_yes(body),
        Some(_) => read_no(body, codes),
        // Without a status, only what cannot be an answer is believed.
        None => match read_no(body, codes) {
            word @ (Word::NotReady | Word::Error { .. }) => word,
            _ => Word::Unreadable("JSON without a status"),
        },
    }
}

fn read_yes(body: &Body<'_>) -> Word {
    let said = [body.result, body.request].into_iter().flatten().find_map(content);
    match said {
        None => Word::Unreadable("a yes without an answer"),
        // Seen nowhere, but taking it for the answer would end the task with a wrong one.
        Some((Shape::Text, text)) if is_not_ready(bare(&text)) => Word::NotReady,
        Some((shape, text)) => Word::Yes(Said {
            dialect: JSON,
            shape,
            text: SecretString::from(text),
            user_agent: body.user_agent.and_then(string).filter(|text| !text.is_empty()),
        }),
    }
}

fn read_no(body: &Body<'_>, codes: &Codes) -> Word {
    let Some(request) = body.request.and_then(string) else {
        return Word::Unreadable("a no without a code");
    };
    let request = bare(&request);
    if is_not_ready(request) {
        return Word::NotReady;
    }
    let error_text = body.error_text.and_then(string).unwrap_or_default();
    match error_in(request, codes) {
        Some(Word::Error { code, text }) if text.is_empty() => {
            Word::Error { code, text: error_text }
        }
        Some(error) => error,
        // An explicit no with a word of a code's form is an error that nobody knows yet.
        None if is_code(request) => Word::Error { code: request.to_owned(), text: error_text },
        None => Word::Unreadable("a no without a code"),
    }
}

fn is_not_ready(text: &str) -> bool {
    matches!(text, "CAPCHA_NOT_READY" | "CAPTCHA_NOT_READY")
}

fn is_code(text: &str) -> bool {
    /// Longer than every known code.
    const CODE_LIMIT: usize = 64;
    text.len() <= CODE_LIMIT
        && text.bytes().any(|b| b.is_ascii_uppercase())
        && text.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_')
}

/// The error that `text` begins with: `ERROR_X`, `ERROR: 1001`, or a known code of another form;
/// after it may stand an explanation.
fn error_in(text: &str, codes: &Codes) -> Option<Word> {
    let numbered = text
        .strip_prefix("ERROR:")
        .map(str::trim_start)
        .filter(|rest| rest.starts_with(|c: char| c.is_ascii_digit()));
    if let Some(rest) = numbered {
        let (digits, rest) = rest.split_at(run_of(rest, |c| c.is_ascii_digit()));
        return Some(Word::Error { code: format!("ERROR:{digits}"), text: explanation(rest) });
    }
    let (code, rest) = text.split_at(run_of(text, |c| c.is_ascii_alphanumeric() || c == '_'));
    let is_error = code.strip_prefix("ERROR_").is_some_and(|name| !name.is_empty());
    (is_error || is_code(code) && codes.knows(code) && !rest.starts_with(char::is_alphanumeric))
        .then(|| Word::Error { code: normal(code), text: explanation(rest) })
}

/// How many bytes at the start of `text` are of one kind.
fn run_of(text: &str, is_part: impl Fn(char) -> bool) -> usize {
    text.find(|c| !is_part(c)).unwrap_or(text.len())
}

fn explanation(rest: &str) -> String {
    rest.trim_matches(|c: char| c.is_whitespace() || matches!(c, '|' | ':' | ',' | '-' | '.'))
        .to_owned()
}

/// An answer's shape and text; nothing where it is empty, a truth value or unreadable.
fn content(value: &RawValue) -> Option<(Shape, String)> {
    let json = value.get();
    match json.bytes().next()? {
        b'"' => string(value).filter(|text| !text.is_empty()).map(|text| (Shape::Text, text)),
        b'{' | b'[' => Some((Shape::Structure, json.to_owned())),
        b'-' | b'0'..=b'9' => Some((Shape::Number, json.to_owned())),
        _ => None,
    }
}

fn string(value: &RawValue) -> Option<String> {
    serde_json::from_str(value.get()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provider::codes::ExtraCode;
    use deadletter_core::Class;
    use proptest::prelude::*;
    use secrecy::ExposeSecret;

    /// The word in one line, for tables.
    fn word(body: &str) -> String {
        match read(body.as_bytes(), &Codes::default()) {
            Word::Yes(said) => format!("{:?} {}", said.shape, said.text.expose_secret()),
            Word::NotReady => "not ready".to_owned(),
            Word::Error { code, text } if text.is_empty() => code,
            Word::Error { code, text } => format!("{code} ({text})"),
            Word::Empty => "empty".to_owned(),
            Word::Unreadable(_) => "unreadable".to_owned(),
        }
    }

    #[track_caller]
    fn reads(table: &[(&str, &str)]) {
        for (body, said) in table {
            assert_eq!(word(body), *said, "{body}");
        }
    }

    #[test]
    fn a_yes_is_status_1_in_any_spelling_or_ok() {
        reads(&[
            (r#"{"status":1,"request":"x"}"#, "Text x"),
            (r#"{"status":"1","request":"x"}"#, "Text x"),
            (r#"{"status":true,"request":"x"}"#, "Text x"),
            ("OK|x", "Text x"),
        ]);
    }

    #[test]
    fn ids_and_answers_keep_every_character() {
        reads(&[
            (r#"{"status":1,"request":74372499131}"#, "Number 74372499131"),
            (
                r#"{"status":1,"request":1234567890123456789012345}"#,
                "Number 1234567890123456789012345",
            ),
            (r#"{"status":1,"request":"0123"}"#, "Text 0123"),
            (r#"{"status":1,"request":12.50}"#, "Number 12.50"),
            ("OK|0123", "Text 0123"),
            (r#"{"status":1,"request":"a\u00e4\/b"}"#, "Text aä/b"),
        ]);
    }

    #[test]
    fn a_byte_order_mark_and_white_space_may_stand_around() {
        reads(&[
            ("\u{feff} OK|x \r\n", "Text x"),
            ("\r\n\u{feff}{\"status\":1,\"request\":\"x\"}\n", "Text x"),
            ("CAPCHA_NOT_READY\n", "not ready"),
            (" \u{feff}\n", "empty"),
            ("", "empty"),
        ]);
    }

    #[test]
    fn an_answer_may_hold_bars_and_is_split_once() {
        reads(&[("OK|a|b||c", "Text a|b||c"), ("OK|OK|a", "Text OK|a")]);
    }

    #[test]
    fn an_answer_that_holds_error_is_an_answer() {
        reads(&[
            ("OK|ERROR_WRONG_USER_KEY", "Text ERROR_WRONG_USER_KEY"),
            (r#"{"status":1,"request":"ERROR_X"}"#, "Text ERROR_X"),
            (r#"{"status":1,"request":"03ERROR_ZERO_BALANCE"}"#, "Text 03ERROR_ZERO_BALANCE"),
        ]);
    }

    #[test]
    fn not_ready_is_read_in_both_spellings_and_forms() {
        reads(&[
            ("CAPCHA_NOT_READY", "not ready"),
            ("CAPTCHA_NOT_READY", "not ready"),
            (r#"{"status":0,"request":"CAPCHA_NOT_READY"}"#, "not ready"),
            (r#"{"status":"0","request":"CAPTCHA_NOT_READY"}"#, "not ready"),
            (r#"{"status":1,"request":"CAPCHA_NOT_READY"}"#, "not ready"),
            (r#"{"request":"CAPCHA_NOT_READY"}"#, "not ready"),
        ]);
    }

    #[test]
    fn an_error_is_read_with_what_is_said_of_it() {
        reads(&[
            ("ERROR_PAGEURL", "ERROR_PAGEURL"),
            ("ERROR_PAGEURL|no such page.", "ERROR_PAGEURL (no such page)"),
            ("ERROR_BRAND_NEW: really", "ERROR_BRAND_NEW (really)"),
            (r#"{"status":0,"request":"ERROR_PAGEURL"}"#, "ERROR_PAGEURL"),
            (r#"{"status":0,"request":"ERROR_X","error_text":"why"}"#, "ERROR_X (why)"),
            (r#"{"request":"ERROR_X"}"#, "ERROR_X"),
            ("ERROR: 1001", "ERROR:1001"),
            ("ERROR:1005 slow down", "ERROR:1005 (slow down)"),
            (r#"{"status":0,"request":"ERROR: 1003"}"#, "ERROR:1003"),
            ("IP_BANNED", "IP_BANNED"),
            ("MAX_USER_TURN", "MAX_USER_TURN"),
            (r#"{"status":0,"request":"NEW_WORD"}"#, "NEW_WORD"),
        ]);
    }

    #[test]
    fn what_is_neither_is_unreadable() {
        reads(&[
            ("<html><h1>502 Bad Gateway</h1></html>", "unreadable"),
            ("<html>ERROR_ZERO_BALANCE</html>", "unreadable"),
            ("OK", "unreadable"),
            ("OK|", "unreadable"),
            ("NEW_WORD", "unreadable"),
            ("ERROR_", "unreadable"),
            ("ERROR", "unreadable"),
            (r#"{"status":1}"#, "unreadable"),
            (r#"{"status":1,"request":""}"#, "unreadable"),
            (r#"{"status":1,"request":true}"#, "unreadable"),
            (r#"{"status":1,"request":"x""#, "unreadable"),
            (r#"{"status":0}"#, "unreadable"),
            (r#"{"status":0,"request":"some prose"}"#, "unreadable"),
            (r#"{"request":"x"}"#, "unreadable"),
            (r#"{"error":"x"}"#, "unreadable"),
            (r#"["status",1]"#, "unreadable"),
            ("{}", "unreadable"),
        ]);
        assert!(matches!(read(b"OK|\xff", &Codes::default()), Word::Unreadable("not UTF-8")));
    }

    #[test]
    fn a_result_field_is_the_answer_and_carries_its_user_agent() {
        let body =
            r#"{"status":1,"request":"ok","result":"tok","user_agent":"Mozilla/5.0","x":[]}"#;
        let Word::Yes(said) = read(body.as_bytes(), &Codes::default()) else { panic!("no yes") };
        assert_eq!((said.text.expose_secret(), said.dialect), ("tok", JSON));
        assert_eq!(said.user_agent.as_deref(), Some("Mozilla/5.0"));
        reads(&[(r#"{"status":1,"request":"x","result":null}"#, "Text x")]);
    }

    #[test]
    fn structured_answers_are_kept_as_they_were_written() {
        reads(&[
            (r#"{"status":1,"request":{"b": 1, "a":[2]}}"#, r#"Structure {"b": 1, "a":[2]}"#),
            (r#"{"status":1,"request":[1, 4]}"#, "Structure [1, 4]"),
            (r#"{"status":1,"request":"{\"a\":1}"}"#, r#"Text {"a":1}"#),
        ]);
    }

    #[test]
    fn a_code_of_the_users_is_read_like_a_known_one() {
        let extra = ExtraCode { class: Class::Capacity, retry_after_ms: None };
        let codes = Codes::with([("BUSY".to_owned(), extra)]);
        assert!(matches!(read(b"BUSY", &codes), Word::Error { .. }));
        assert!(matches!(read(b"BUSY", &Codes::default()), Word::Unreadable(_)));
    }

    fn bodies() -> impl Strategy<Value = Vec<u8>> {
        const PIECES: &[&[u8]] = &[
            b"{\"status\":",
            b"1,",
            b"\"request\":",
            b"\"error_text\":\"x\"",
            b"ERROR_",
            b"ERROR: 10",
            b"OK|",
            b"}",
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
            read(&body, &Codes::default());
        }

        #[test]
        fn every_token_under_status_1_is_an_answer(token in "[ -~]{0,20}ERROR[ -~]{0,20}") {
            let body = serde_json::json!({"status": 1, "request": token}).to_string();
            prop_assert_eq!(word(&body), format!("Text {}", token));
            // Outer white space is not part of the text form.
            prop_assert_eq!(word(&format!("OK|{token}")), format!("Text {}", token.trim_end()));
        }
    }
}
