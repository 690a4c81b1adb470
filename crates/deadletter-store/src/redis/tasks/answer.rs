//! An answer as it is stored: one of the two things that hold secrets.

use crate::redis::{
    failure::Outcome,
    json::{self, misfit},
};
use deadletter_core::{Answer, AttemptToken, TaskId, UnixMs};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;

/// With short names, as `stored` writes rows, and for the same reason.
#[derive(Serialize, Deserialize)]
struct Stored<'a> {
    #[serde(rename = "i")]
    task: TaskId,
    #[serde(rename = "t")]
    token: AttemptToken,
    #[serde(rename = "d")]
    dialect: Cow<'a, str>,
    #[serde(rename = "r")]
    raw: Cow<'a, str>,
    #[serde(rename = "x")]
    text: Text<'a>,
    #[serde(rename = "u", default, skip_serializing_if = "Option::is_none")]
    user_agent: Option<Cow<'a, str>>,
    #[serde(rename = "s")]
    solved_at: UnixMs,
    #[serde(rename = "e", default, skip_serializing_if = "Option::is_none")]
    expires_at: Option<UnixMs>,
    #[serde(rename = "j")]
    read_at: UnixMs,
}

/// What was answered, which is most of `raw`.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Text<'a> {
    /// From one of its bytes to another, where it stands there as it is.
    Within(usize, usize),
    Apart(Cow<'a, str>),
}

impl<'a> Text<'a> {
    fn of(text: &'a str, raw: &str) -> Self {
        raw.find(text).map_or(Self::Apart(text.into()), |at| Self::Within(at, at + text.len()))
    }

    fn read(self, raw: &str) -> Outcome<String> {
        match self {
            Self::Within(from, to) => {
                let text =
                    raw.get(from..to).ok_or_else(|| misfit("an answer within what was read"))?;
                Ok(text.to_owned())
            }
            Self::Apart(text) => Ok(text.into_owned()),
        }
    }
}

/// As they are stored: a line each.
pub(super) fn stored(answers: &[Answer]) -> String {
    answers.iter().map(|answer| line(answer) + "\n").collect()
}

fn line(answer: &Answer) -> String {
    json::written(&Stored {
        task: answer.task,
        token: answer.token,
        dialect: answer.dialect.as_str().into(),
        raw: answer.raw.expose_secret().into(),
        text: Text::of(answer.text.expose_secret(), answer.raw.expose_secret()),
        user_agent: answer.user_agent.as_deref().map(Cow::from),
        solved_at: answer.solved_at,
        expires_at: answer.expires_at,
        read_at: answer.read_at,
    })
}

/// Those that were stored so: of an attempt, the first.
pub(in crate::redis) fn read(stored: &str) -> Outcome<Vec<Answer>> {
    let mut answers: Vec<Answer> = Vec::new();
    for line in stored.lines() {
        let answer = read_line(line)?;
        if answers.iter().all(|earlier| earlier.token != answer.token) {
            answers.push(answer);
        }
    }
    Ok(answers)
}

fn read_line(line: &str) -> Outcome<Answer> {
    let stored: Stored<'_> = json::read(line)?;
    Ok(Answer {
        task: stored.task,
        token: stored.token,
        dialect: stored.dialect.into_owned(),
        text: SecretString::from(stored.text.read(&stored.raw)?),
        raw: SecretString::from(stored.raw.into_owned()),
        user_agent: stored.user_agent.map(Cow::into_owned),
        solved_at: stored.solved_at,
        expires_at: stored.expires_at,
        read_at: stored.read_at,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(raw: &str, text: &str) -> Answer {
        Answer {
            task: TaskId::try_from(7_u64).unwrap(),
            token: AttemptToken::from_random(2),
            dialect: "res.php/json".to_owned(),
            raw: raw.into(),
            text: text.into(),
            user_agent: None,
            solved_at: UnixMs(1),
            expires_at: None,
            read_at: UnixMs(2),
        }
    }

    #[test]
    fn what_was_answered_is_not_stored_twice_but_where_it_was_worded_in_another_way() {
        for (raw, text, times) in [
            ("OK|a\u{e9}token", "a\u{e9}token", 1),
            (r#"{"request":"a\/token"}"#, "a/token", 1),
            ("", "", 0),
        ] {
            let stored = stored(&[answer(raw, text)]);
            assert!(text.is_empty() || stored.matches(text).count() == times, "{stored}");
            let read = read(&stored).unwrap();
            let [read] = read.as_slice() else { panic!("one") };
            assert_eq!(read.text.expose_secret(), text);
            assert_eq!(read.raw.expose_secret(), raw);
        }
    }
}
