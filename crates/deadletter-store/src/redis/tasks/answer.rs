//! An answer as it is stored: one of the two things that hold secrets.

use crate::redis::{failure::Outcome, json};
use deadletter_core::{Answer, AttemptToken, TaskId, UnixMs};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;

#[derive(Serialize, Deserialize)]
struct Stored<'a> {
    task: TaskId,
    token: AttemptToken,
    dialect: Cow<'a, str>,
    raw: Cow<'a, str>,
    text: Cow<'a, str>,
    user_agent: Option<Cow<'a, str>>,
    solved_at: UnixMs,
    expires_at: Option<UnixMs>,
    read_at: UnixMs,
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
        text: answer.text.expose_secret().into(),
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
        raw: SecretString::from(stored.raw.into_owned()),
        text: SecretString::from(stored.text.into_owned()),
        user_agent: stored.user_agent.map(Cow::into_owned),
        solved_at: stored.solved_at,
        expires_at: stored.expires_at,
        read_at: stored.read_at,
    })
}
