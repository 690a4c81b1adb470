//! What is said to a client, and in which dialect: text or JSON, as the request asked.
//!
//! ```text
//!            text                 json=1
//! yes        OK|X                 {"status":1,"request":"X"}
//! not yet    CAPCHA_NOT_READY     {"status":0,"request":"CAPCHA_NOT_READY"}
//! error      ERROR_X              {"status":0,"request":"ERROR_X"}
//! word       X                    {"status":1,"request":"X"}
//! ```
//!
//! No newline at the end, never JSON where text was asked for, `status` a number and `request` a
//! text: each of these breaks some real client.

use crate::metrics::Class;
use bytes::Bytes;
use deadletter::core::Answer;
use hyper::{
    Response, StatusCode,
    header::{CONTENT_TYPE, HeaderName},
};
use secrecy::ExposeSecret;
use serde::Deserialize;
use serde_json::{Map, Value, json, value::RawValue};

/// The header that tells when an answer expires.
const EXPIRES_AT: HeaderName = HeaderName::from_static("deadletter-expires-at");
/// The dialect in which a provider kept an answer that can be replayed as it came.
const JSON_DIALECT: &str = "res.php/json";

/// What is said.
#[derive(Debug)]
pub(crate) enum Word {
    /// Yes, and an id.
    Accepted(u64),
    /// Yes, and an answer.
    Answer(Box<Answer>),
    /// Yes, an answer and its price.
    Priced(Box<Answer>),
    /// Not yet.
    Pending,
    /// A code of upstream's.
    Error(String),
    /// A code that says that there is no room for a job now.
    Refused(&'static str),
    /// Yes, and a list of the gateway's own.
    Listed(String),
    /// A bare word: a balance, a receipt, answers to many ids.
    Bare(String),
    /// Fields of their own, in JSON; the first of them in text.
    Fields(Vec<(&'static str, u64)>),
}

impl Word {
    pub(crate) fn error(code: impl Into<String>) -> Self {
        Self::Error(code.into())
    }

    /// What stands for it among the answers to many ids.
    pub(crate) fn in_list(&self) -> String {
        match self {
            Self::Answer(answer) | Self::Priced(answer) => answer.expose().to_owned(),
            other => other.text(),
        }
    }

    /// The reply in the dialect that was asked for. Its status is 200, whatever it says: clients
    /// read nothing else.
    pub(crate) fn reply(&self, is_json: bool) -> Response<Bytes> {
        let (kind, body) = if is_json {
            ("application/json; charset=utf-8", self.json())
        } else {
            ("text/plain; charset=utf-8", self.text())
        };
        let reply = self.class().mark(reply(StatusCode::OK, kind, body));
        match self {
            Self::Answer(answer) | Self::Priced(answer) => dated(reply, answer),
            _ => reply,
        }
    }

    /// As what it is counted.
    pub(crate) const fn class(&self) -> Class {
        match self {
            Self::Accepted(_) => Class::Accepted,
            Self::Answer(_) | Self::Priced(_) => Class::Answer,
            Self::Pending => Class::Pending,
            Self::Error(_) => Class::Error,
            Self::Refused(_) => Class::Refused,
            Self::Listed(_) | Self::Bare(_) | Self::Fields(_) => Class::Told,
        }
    }

    fn text(&self) -> String {
        match self {
            Self::Accepted(id) => format!("OK|{id}"),
            Self::Answer(answer) => format!("OK|{}", answer.expose()),
            Self::Priced(answer) => format!("OK|{}|{PRICE}", answer.expose()),
            Self::Pending => "CAPCHA_NOT_READY".to_owned(),
            Self::Error(code) => code.clone(),
            Self::Refused(code) => (*code).to_owned(),
            Self::Listed(list) => format!("OK|{list}"),
            Self::Bare(word) => word.clone(),
            Self::Fields(fields) => fields.first().map_or(0, |(_, value)| *value).to_string(),
        }
    }

    fn json(&self) -> String {
        match self {
            Self::Accepted(id) => said(1, &id.to_string()),
            Self::Answer(answer) => replay(answer),
            Self::Priced(answer) => {
                let mut body = replay(answer);
                // The last bracket of an object.
                body.pop();
                body + &format!(r#","price":"{PRICE}"}}"#)
            }
            Self::Pending => said(0, "CAPCHA_NOT_READY"),
            Self::Error(code) => said(0, code),
            Self::Refused(code) => said(0, code),
            Self::Listed(word) | Self::Bare(word) => said(1, word),
            Self::Fields(fields) => {
                let fields =
                    fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).into()));
                let status = ("status".to_owned(), Value::from(1));
                Value::Object(std::iter::once(status).chain(fields).collect()).to_string()
            }
        }
    }
}

/// Threads are paid for, single answers are not.
const PRICE: &str = "0";

fn said(status: u8, request: &str) -> String {
    json!({"status": status, "request": request}).to_string()
}

/// The answer as upstream gave it; rendered from its parts where it came in another dialect.
fn replay(answer: &Answer) -> String {
    /// Upstreams write 1, "1" or true; clients compare with the number.
    #[derive(Deserialize)]
    struct Told<'a> {
        #[serde(borrow)]
        status: &'a RawValue,
    }
    let raw = answer.raw.expose_secret();
    let raw = raw.trim_matches(|c: char| c.is_whitespace() || c == '\u{feff}');
    let mut fields = Map::new();
    // An array would be read as a structure by its places.
    if answer.dialect == JSON_DIALECT
        && raw.starts_with('{')
        && let Ok(told) = serde_json::from_str::<Told<'_>>(raw)
    {
        if told.status.get() == "1" {
            return raw.to_owned();
        }
        fields = serde_json::from_str(raw).unwrap_or_default();
    }
    if fields.is_empty() {
        fields.insert("request".to_owned(), answer.expose().into());
        if let Some(agent) = &answer.user_agent {
            fields.insert("user_agent".to_owned(), agent.clone().into());
        }
    }
    fields.shift_insert(0, "status".to_owned(), Value::from(1));
    Value::Object(fields).to_string()
}

/// The same reply, which tells until when its answer lives at least, in Unix seconds: no body has a
/// word for that, and an answer is told for as long as it is kept. An old one is not passed off as fresh.
pub(crate) fn dated(mut reply: Response<Bytes>, answer: &Answer) -> Response<Bytes> {
    if let Some(at) = answer.expires_at {
        reply.headers_mut().insert(EXPIRES_AT, at.0.div_euclid(1_000).into());
    }
    reply
}

/// A whole reply.
pub(crate) fn reply(
    status: StatusCode,
    content_type: &'static str,
    body: impl Into<Bytes>,
) -> Response<Bytes> {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, content_type.parse().expect("a constant"));
    response
}

/// An answer, for tests.
#[cfg(test)]
pub(crate) fn answer(dialect: &str, raw: &str, text: &str) -> Box<Answer> {
    use deadletter::core::{AttemptToken, TaskId, UnixMs};
    Box::new(Answer {
        task: TaskId::at(UnixMs(0), 1),
        token: AttemptToken::from_random(2),
        dialect: dialect.to_owned(),
        raw: raw.into(),
        text: text.into(),
        user_agent: Some("UA".to_owned()),
        solved_at: UnixMs(0),
        expires_at: None,
        read_at: UnixMs(0),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use deadletter::core::UnixMs;

    #[test]
    fn every_word_is_said_in_both_dialects() {
        let text = || answer("res.php/text", "OK|a|b", "a|b");
        for (word, in_text, in_json) in [
            (Word::Accepted(42), "OK|42", r#"{"status":1,"request":"42"}"#),
            (Word::Answer(text()), "OK|a|b", r#"{"status":1,"request":"a|b","user_agent":"UA"}"#),
            (
                Word::Priced(text()),
                "OK|a|b|0",
                r#"{"status":1,"request":"a|b","user_agent":"UA","price":"0"}"#,
            ),
            (Word::Pending, "CAPCHA_NOT_READY", r#"{"status":0,"request":"CAPCHA_NOT_READY"}"#),
            (Word::error("ERROR_X"), "ERROR_X", r#"{"status":0,"request":"ERROR_X"}"#),
            (Word::Refused("ERROR_X"), "ERROR_X", r#"{"status":0,"request":"ERROR_X"}"#),
            (Word::Listed("a|b".to_owned()), "OK|a|b", r#"{"status":1,"request":"a|b"}"#),
            (Word::Bare("1.5".to_owned()), "1.5", r#"{"status":1,"request":"1.5"}"#),
            (
                Word::Fields(vec![("threads", 5), ("working_threads", 2)]),
                "5",
                r#"{"status":1,"threads":5,"working_threads":2}"#,
            ),
        ] {
            assert_eq!((word.text().as_str(), word.json().as_str()), (in_text, in_json));
        }
    }

    #[test]
    fn an_answer_that_expires_tells_when_in_a_header_and_nothing_else_does() {
        let told = |word: &Word| {
            let reply = word.reply(true);
            reply.headers().get(EXPIRES_AT).map(|at| at.to_str().expect("digits").to_owned())
        };
        let answer = || answer(JSON_DIALECT, r#"{"status":1,"request":"t"}"#, "t");
        let expires = || Box::new(Answer { expires_at: Some(UnixMs(120_999)), ..*answer() });
        assert_eq!(told(&Word::Answer(expires())).as_deref(), Some("120"));
        assert_eq!(told(&Word::Priced(expires())).as_deref(), Some("120"));
        assert_eq!(told(&Word::Answer(answer())), None, "it does not expire");
        assert_eq!(told(&Word::Pending), None);
    }

    #[test]
    fn an_answer_is_replayed_with_every_field_that_upstream_gave() {
        let raw = "\u{feff} {\"status\":\"1\",\"request\":{\"b\":1,\"a\":[2]},\"result\":\"t\",\"x\":null}\n";
        assert_eq!(
            Word::Answer(answer(JSON_DIALECT, raw, "t")).json(),
            r#"{"status":1,"request":{"b":1,"a":[2]},"result":"t","x":null}"#
        );
    }

    #[test]
    fn numbers_of_an_answer_stay_as_they_were_written() {
        let raw = r#"{"status":1,"request":12345678901234567890123,"score":0.90}"#;
        let replayed = Word::Answer(answer(JSON_DIALECT, raw, "12345678901234567890123")).json();
        assert_eq!(replayed, raw);
    }
}
