//! What is said to a client of the family: always JSON, always with `errorId`.
//!
//! ```text
//! accepted   {"errorId":0,"taskId":42}
//! not yet    {"errorId":0,"status":"processing"}
//! answer     {"errorId":0,"status":"ready","solution":{..},"cost":"0","ip":..,"createTime":..,..}
//! reported   {"errorId":0,"status":"success"}               CapSolver: {"errorId":0,"message":"okay"}
//! error      {"errorId":1,"errorCode":"ERROR_X","errorDescription":".."}
//! ```
//!
//! Status 200, whatever is said; `errorId` and `taskId` are numbers, and a field that the family
//! does not know is never there: each of these breaks some real client.

use crate::{
    metrics::Class,
    wording::{Word, dated, reply},
    words,
};
use bytes::Bytes;
use deadletter::{
    core::{Answer, Task},
    provider::createtask::{Told, refused, told},
};
use hyper::{Response, StatusCode};
use serde_json::json;
use std::net::IpAddr;

/// A type of task that is not known.
pub(super) const NOT_SUPPORTED: &str = "ERROR_TASK_NOT_SUPPORTED";
/// A request without a task, or a task without a type.
pub(super) const ABSENT: &str = "ERROR_TASK_ABSENT";

/// What is said.
pub(super) enum Said {
    /// What the other front says as well.
    Word(Word),
    /// The answer of a task.
    Ready { task: Box<Task>, answer: Box<Answer>, ip: IpAddr },
    /// The balance that upstream told last.
    Balance(f64),
    /// What is said of an answer is recorded.
    Recorded { is_feedback: bool },
}

impl Said {
    pub(super) fn reply(&self) -> Response<Bytes> {
        let class = match self {
            Self::Word(word) => word.class(),
            Self::Ready { .. } => Class::Answer,
            Self::Balance(_) | Self::Recorded { .. } => Class::Told,
        };
        let kind = "application/json; charset=utf-8";
        let reply = class.mark(reply(StatusCode::OK, kind, self.json()));
        match self {
            Self::Ready { answer, .. } => dated(reply, answer),
            _ => reply,
        }
    }

    fn json(&self) -> String {
        match self {
            Self::Word(Word::Accepted(id)) => json!({"errorId": 0, "taskId": id}).to_string(),
            Self::Word(Word::Pending) => json!({"errorId": 0, "status": "processing"}).to_string(),
            Self::Word(Word::Error(code)) => refused(code),
            Self::Word(Word::Refused(code)) => refused(code),
            // The other words are answers to questions that this front does not ask.
            Self::Word(_) => refused(words::STORE_FAILED),
            Self::Balance(balance) => json!({"errorId": 0, "balance": balance}).to_string(),
            Self::Recorded { is_feedback: true } => {
                json!({"errorId": 0, "message": "okay"}).to_string()
            }
            Self::Recorded { is_feedback: false } => {
                json!({"errorId": 0, "status": "success"}).to_string()
            }
            Self::Ready { task, answer, ip } => {
                told(&Told { task, end: Ok(answer), names_task: false, ip: Some(*ip) })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use deadletter::provider::captchaai::codes;
    use serde_json::Value;

    fn said(word: Word) -> Value {
        serde_json::from_str(&Said::Word(word).json()).unwrap()
    }

    #[test]
    fn every_word_is_said_as_the_family_says_it() {
        assert_eq!(said(Word::Accepted(42)), json!({"errorId": 0, "taskId": 42}));
        assert_eq!(said(Word::Pending), json!({"errorId": 0, "status": "processing"}));
        for (code, told) in [
            ("ERROR_WRONG_USER_KEY", "ERROR_KEY_DOES_NOT_EXIST"),
            ("ERROR_WRONG_CAPTCHA_ID", "ERROR_NO_SUCH_CAPCHA_ID"),
            ("ERROR_CAPTCHA_UNSOLVABLE", "ERROR_CAPTCHA_UNSOLVABLE"),
            ("ERROR_NO_SLOT_AVAILABLE", "ERROR_NO_SLOT_AVAILABLE"),
            ("ERROR_SERVER_ERROR", "ERROR_NO_SLOT_AVAILABLE"),
            (NOT_SUPPORTED, NOT_SUPPORTED),
            (ABSENT, ABSENT),
        ] {
            let said = said(Word::error(code));
            assert_eq!(
                (said["errorId"].as_u64(), said["errorCode"].as_str()),
                (Some(1), Some(told))
            );
            let description = said["errorDescription"].as_str().unwrap();
            assert!(codes::find(told).is_some_and(|row| row.meaning == description), "{code}");
        }
        let balance: Value = serde_json::from_str(&Said::Balance(12.345).json()).unwrap();
        assert_eq!(balance, json!({"errorId": 0, "balance": 12.345}));
    }
}
