//! The files of the article's dead-letter queues: the Python export (`page_url`, seconds) and the
//! JavaScript file (`pageurl`, milliseconds).

use deadletter::{
    TaskFile,
    core::{Cause, Class, DeadReason, UnixMs, hex},
    provider::captchaai::codes,
};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

/// Above this, a number of seconds would lie after the year 5000: it is milliseconds.
const SECONDS_LIMIT: f64 = 1e11;
/// The year 2100: no letter of today's programs died behind it.
const LAST_MS: f64 = 4_102_444_800_000.0;
/// More attempts than anybody has made: a slip, or another kind of file.
const ATTEMPTS_LIMIT: f64 = 1e3;

/// An entry as the article's export has it: the Python spelling, seconds; `died_at` is when it was
/// given up.
pub(crate) fn to_article(file: &TaskFile, died_at: UnixMs) -> Value {
    let last = file.attempts.last();
    let cause = file.task.cause.as_ref().map_or("UNKNOWN", |cause| cause.as_str());
    let detail = last.and_then(|last| last.detail.as_deref()).unwrap_or_default();
    let error = if names(detail, cause) {
        detail.to_owned()
    } else if detail.is_empty() {
        cause.to_owned()
    } else {
        format!("{cause}: {detail}")
    };
    json!({
        "sitekey": file.task.dimensions.sitekey,
        "page_url": file.payload.as_ref().and_then(|payload| payload.text("pageurl")),
        "error": error,
        "attempts": file.task.counters.attempts,
        "timestamp": died_at.0 as f64 / 1_000.0,
        "task_id": last.and_then(|last| last.upstream_id.as_ref()).map(|id| id.as_str()),
    })
}

/// True where a text begins with the code itself.
fn names(text: &str, code: &str) -> bool {
    let rest = text.strip_prefix(code);
    rest.is_some_and(|rest| !rest.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_'))
}

/// What an entry of either file says.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Entry {
    /// The request that it stands for: always a plain reCAPTCHA v2.
    pub(crate) request: Map<String, Value>,
    /// From the text of the error.
    pub(crate) cause: Cause,
    /// What the cause means.
    pub(crate) class: Class,
    /// Why it is dead.
    pub(crate) reason: DeadReason,
    /// The text of the error; it may hold the key, so it must be cleaned before it is kept.
    pub(crate) error: String,
    /// Submits that were made.
    pub(crate) attempts: u32,
    /// When it was given up.
    pub(crate) died_at: UnixMs,
    /// Which of the entries of its list with the same mark it is, from 1.
    pub(crate) nth: u32,
}

/// What an entry is known again by: the site key, the page, and when it was given up.
///
/// Not the error: it is cleaned on its way in, and has its code put before it on its way out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Mark([u8; 16]);

impl Mark {
    /// The beginning of the idempotency keys of all imported entries.
    pub(crate) const FAMILY: &str = "article:";

    /// Of the letter with these.
    pub(crate) fn of(sitekey: &str, page: &str, died_at: UnixMs) -> Self {
        let content = json!([sitekey, page, died_at]).to_string();
        let mut mark = [0; 16];
        for (to, from) in mark.iter_mut().zip(Sha256::digest(content.as_bytes())) {
            *to = from;
        }
        Self(mark)
    }

    /// The beginning of the idempotency keys of entries with this mark.
    pub(super) fn prefix(self) -> String {
        format!("{}{}:", Self::FAMILY, hex(&self.0))
    }
}

impl Entry {
    /// Its mark.
    pub(crate) fn mark(&self) -> Mark {
        let text = |name: &str| self.request.get(name).and_then(Value::as_str).unwrap_or_default();
        Mark::of(text("googlekey"), text("pageurl"), self.died_at)
    }
}

/// Reads one entry, or says what it lacks.
pub(crate) fn from_article(entry: &Value) -> Result<Entry, String> {
    let text = |name: &str| entry.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
    let sitekey = text("sitekey").ok_or("it has no sitekey")?;
    let page =
        text("page_url").or_else(|| text("pageurl")).ok_or("it has no page_url or pageurl")?;
    let error = text("error").unwrap_or("unknown");
    let number = |name: &str| entry.get(name).and_then(Value::as_f64);
    let attempts = number("attempts").ok_or("it has no number of attempts")?;
    if !(0.0..=ATTEMPTS_LIMIT).contains(&attempts) {
        return Err("its number of attempts cannot be".to_owned());
    }
    let at = number("timestamp")
        .or_else(|| iso_ms(text("timestamp")?))
        .ok_or("it has no timestamp: seconds, milliseconds or such as 2026-01-02T03:04:05Z")?;
    let died_at = if at < SECONDS_LIMIT { at * 1_000.0 } else { at };
    if !(0.0..LAST_MS).contains(&died_at) {
        return Err("its timestamp lies before 1970 or after 2099".to_owned());
    }
    let mut request = Map::new();
    for (name, value) in [("method", "userrecaptcha"), ("googlekey", sitekey), ("pageurl", page)] {
        request.insert(name.to_owned(), value.into());
    }
    let cause = cause_of(error);
    let class = codes::find(cause.as_str()).map_or(Class::Unknown, |code| code.on_submit);
    Ok(Entry {
        request,
        reason: reason_of(class),
        cause,
        class,
        error: error.to_owned(),
        attempts: attempts as u32,
        // Rounded: a fraction of seconds may be a hair below its milliseconds.
        died_at: UnixMs(died_at.round() as i64),
        nth: 1,
    })
}

/// Milliseconds of an instant in ISO 8601.
fn iso_ms(text: &str) -> Option<f64> {
    Some(text.parse::<jiff::Timestamp>().ok()?.as_millisecond() as f64)
}

/// The code that a text names, or what the text of the usual clients means.
fn cause_of(error: &str) -> Cause {
    let is_code_char = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
    let code = error
        .split(|c: char| !is_code_char(c))
        .find(|word| word.starts_with("ERROR_") || codes::find(word).is_some());
    if let Some(code) = code.filter(|code| !code.is_empty()) {
        return Cause::new(code);
    }
    let lower = error.to_lowercase();
    let says = |words: &[&str]| words.iter().any(|word| lower.contains(word));
    if says(&["connection", "network", "max retries", "fetch failed", "econn", "enotfound", "dns"])
    {
        Cause::new(Cause::NETWORK)
    } else if says(&["timed out", "timeout", "time-out", "etimedout"]) {
        Cause::new(Cause::TIMEOUT)
    } else if says(&["json", "html", "unexpected token"]) {
        Cause::new(Cause::UNREADABLE)
    } else {
        Cause::new("UNKNOWN")
    }
}

const fn reason_of(class: Class) -> DeadReason {
    match class {
        Class::Permanent => DeadReason::Permanent,
        Class::Stale => DeadReason::StaleInput,
        Class::Proxy => DeadReason::Proxy,
        _ => DeadReason::AttemptsExhausted,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_spellings_and_both_units_of_time_are_read() {
        let python = json!({"sitekey": "6Le", "page_url": "https://a.b", "error": "Task 123 timed out",
            "attempts": 4, "timestamp": 1_700_000_000.25, "task_id": null});
        let script = json!({"sitekey": "6Le", "pageurl": "https://a.b", "error": "Task 456 timed out",
            "attempts": 4, "timestamp": 1_700_000_000_250_i64});
        let (python, script) =
            (from_article(&python).expect("good"), from_article(&script).expect("good"));
        assert_eq!(python.died_at, UnixMs(1_700_000_000_250));
        assert_eq!(python.died_at, script.died_at);
        let iso = json!({"sitekey": "6Le", "pageurl": "https://a.b", "error": "x",
            "attempts": 4, "timestamp": "2023-11-14T22:13:20.250Z"});
        assert_eq!(from_article(&iso).expect("good").died_at, python.died_at);
        assert_eq!(python.request, script.request);
        assert_eq!(python.cause.as_str(), "TIMEOUT");
    }

    #[test]
    fn both_forms_of_an_entry_have_one_mark_whatever_its_error_says() {
        let entry = |page: &str, timestamp: f64| {
            let entry = json!({"sitekey": "6Le", page: "https://a.b", "error": timestamp.to_string(),
                "attempts": 4, "timestamp": timestamp});
            from_article(&entry).expect("good")
        };
        for ms in 1_750_000_000_000..1_750_000_001_000_i64 {
            let python = entry("page_url", ms as f64 / 1_000.0);
            assert_eq!(python.died_at, UnixMs(ms));
            assert_eq!(python.mark(), entry("pageurl", ms as f64).mark());
        }
        assert_eq!(entry("page_url", 1.001).died_at, UnixMs(1_001));
        assert_ne!(entry("pageurl", 1.0).mark(), entry("pageurl", 2.0).mark());
    }

    #[test]
    fn a_detail_that_names_its_code_is_not_given_it_twice() {
        assert!(names("ERROR_X", "ERROR_X") && names("ERROR_X: page", "ERROR_X"));
        assert!(!names("ERROR_X_Y", "ERROR_X") && !names("Task 7 timed out", "TIMEOUT"));
        assert!(!names("", "TIMEOUT"));
    }

    #[test]
    fn the_cause_is_found_in_the_text_of_the_error() {
        for (error, cause, class) in [
            ("ERROR_CAPTCHA_UNSOLVABLE", "ERROR_CAPTCHA_UNSOLVABLE", Class::Unsolvable),
            ("Error: ERROR_WRONG_USER_KEY", "ERROR_WRONG_USER_KEY", Class::Account),
            ("ERROR_NEVER_SEEN happened", "ERROR_NEVER_SEEN", Class::Unknown),
            ("HTTPSConnectionPool(host='x'): Read timed out.", "NETWORK", Class::Transient),
            ("Task 7 timed out", "TIMEOUT", Class::Transient),
            ("fetch failed", "NETWORK", Class::Transient),
            ("Unexpected token < in JSON", "UNREADABLE", Class::Transient),
            ("whatever", "UNKNOWN", Class::Unknown),
        ] {
            let found = cause_of(error);
            assert_eq!(found.as_str(), cause, "{error}");
            let known = codes::find(found.as_str()).map_or(Class::Unknown, |code| code.on_submit);
            assert_eq!(known, class, "{error}");
        }
    }

    #[test]
    fn what_is_no_entry_says_what_it_lacks() {
        for (entry, part) in [
            (json!({"page_url": "https://a.b"}), "sitekey"),
            (json!({"sitekey": "x"}), "page_url"),
            (json!({"sitekey": "x", "page_url": "y", "timestamp": 1}), "attempts"),
            (json!({"sitekey": "x", "page_url": "y", "attempts": -1, "timestamp": 1}), "attempts"),
            (json!({"sitekey": "x", "page_url": "y", "attempts": 1}), "timestamp"),
            (json!({"sitekey": "x", "page_url": "y", "attempts": 1, "timestamp": 9e13}), "2099"),
            (
                json!({"sitekey": "x", "page_url": "y", "attempts": 1, "timestamp": "soon"}),
                "2026-01-02",
            ),
            (json!([1]), "sitekey"),
        ] {
            assert!(from_article(&entry).expect_err("refused").contains(part));
        }
    }
}
