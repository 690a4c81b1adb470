//! Our own format: JSON lines, one letter a line between a header and a footer, so that a torn file
//! is always told from a whole one.

use super::{dated, mask::masked};
use crate::render;
use deadletter::{
    TaskFile,
    core::{Answer, Attempt, Task, UnixMs},
};
use secrecy::ExposeSecret;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

/// The format's name in its header.
const NAME: &str = "deadletter";
/// Its version; a newer one is refused. Version 1 had its instants in milliseconds.
const VERSION: u64 = 2;

/// One letter as a line.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Letter {
    /// The row.
    #[serde(with = "dated")]
    pub(crate) task: Task,
    /// What it asks for; not there where the store has lost it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) request: Option<Map<String, Value>>,
    /// Parameters of the request that were masked.
    #[serde(default)]
    pub(crate) masked: Vec<String>,
    /// Every attempt.
    #[serde(default, with = "dated")]
    pub(crate) attempts: Vec<Attempt>,
    /// Its answer, where it has one.
    #[serde(default)]
    pub(crate) answer: Option<Value>,
}

/// The first line.
pub(crate) fn header(now: UnixMs, with_secrets: bool) -> Value {
    json!({"export": NAME, "version": VERSION, "exported_at": render::instant(now), "with_secrets": with_secrets})
}

/// The last line.
pub(crate) fn footer(letters: u64) -> Value {
    json!({"end": true, "letters": letters})
}

/// What a header says, if `line` is one.
pub(super) fn read_header(line: &Value) -> Option<Result<(), String>> {
    if line.get("export")? != NAME {
        return None;
    }
    let version = line.get("version").and_then(Value::as_u64);
    Some(match version {
        Some(1..=VERSION) => Ok(()),
        Some(other) => Err(format!("it has version {other}, and this program knows {VERSION}")),
        None => Err("its header names no version".to_owned()),
    })
}

/// How many letters a footer counts, if `line` is one.
pub(super) fn read_footer(line: &Value) -> Option<u64> {
    line.get("end")?;
    line.get("letters")?.as_u64()
}

/// The letter of a task.
pub(crate) fn document(file: &TaskFile, with_secrets: bool) -> Letter {
    let request = file.payload.as_ref().map(|payload| {
        let request = payload.expose();
        if with_secrets { (request.clone(), Vec::new()) } else { masked(request) }
    });
    let (request, masked) = request.unzip();
    Letter {
        task: file.task.clone(),
        request,
        masked: masked.unwrap_or_default(),
        attempts: file.attempts.clone(),
        answer: file.answer.as_ref().map(|answer| answer_of(answer, with_secrets)),
    }
}

/// True where an export without secrets leaves out what a redrive needs.
pub(crate) fn has_secrets(file: &TaskFile) -> bool {
    file.payload.as_ref().is_some_and(|payload| !masked(payload.expose()).1.is_empty())
}

fn answer_of(answer: &Answer, with_secrets: bool) -> Value {
    let mut shown = json!({
        "attempt": answer.token,
        "dialect": answer.dialect,
        "solved_at": render::instant(answer.solved_at),
        "expires_at": answer.expires_at.map(render::instant),
        "read_at": render::instant(answer.read_at),
        "chars": answer.expose().chars().count(),
    });
    if with_secrets && let Some(fields) = shown.as_object_mut() {
        fields.insert("text".to_owned(), answer.expose().into());
        fields.insert("raw".to_owned(), answer.raw.expose_secret().into());
        fields.insert("user_agent".to_owned(), answer.user_agent.clone().into());
    }
    shown
}
