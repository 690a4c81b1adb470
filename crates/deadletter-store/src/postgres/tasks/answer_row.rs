//! An answer as a row of `answers`, and back.

use crate::postgres::{
    bulk::{self, Column, each},
    columns::Columns,
    failure::Outcome,
    nul,
    statement::Statement,
};
use deadletter_core::{Answer, TaskId};
use secrecy::{ExposeSecret, SecretString};
use std::sync::LazyLock;
use tokio_postgres::Row;

macro_rules! column {
    ($name:literal: $kind:literal, $value:expr) => {
        Column {
            name: $name,
            kind: $kind,
            put: |statement, rows: &[Answer]| statement.put(each(rows, $value)),
        }
    };
}

const COLUMNS: &[Column<Answer>] = &[
    column!("task": "bigint", |it| it.task.as_i64()),
    column!("token": "bigint", |it| it.token.get()),
    column!("dialect": "text", |it| nul::escaped(&it.dialect)),
    column!("raw": "text", |it| nul::escaped(it.raw.expose_secret())),
    column!("text": "text", |it| nul::escaped(it.text.expose_secret())),
    column!("user_agent": "text", |it| it.user_agent.as_deref().map(nul::escaped)),
    column!("solved_at": "bigint", |it| it.solved_at.0),
    column!("expires_at": "bigint", |it| it.expires_at.map(|at| at.0)),
    column!("read_at": "bigint", |it| it.read_at.0),
];

static INSERT: LazyLock<String> =
    LazyLock::new(|| format!("{} ON CONFLICT DO NOTHING", bulk::insert("answers", &[COLUMNS])));

/// The answer that won; where none did, one that is kept.
const OF_TASK: &str = "SELECT a.task, a.token, a.dialect, a.raw, a.text, a.user_agent, \
     a.solved_at, a.expires_at, a.read_at FROM answers a LEFT JOIN tasks t ON t.id = a.task \
     WHERE a.task = $1 AND (t.answered_by IS NULL OR t.answered_by = a.token) \
     ORDER BY a.token LIMIT 1";

/// Every one that is kept.
const ALL_OF_TASK: &str = "SELECT task, token, dialect, raw, text, user_agent, solved_at, \
     expires_at, read_at FROM answers WHERE task = $1 ORDER BY token";

/// Keeps answers of attempts; the first of each stays.
pub(super) fn insert(answers: &[Answer]) -> Statement {
    bulk::put(Statement::new(INSERT.as_str()), &[COLUMNS], answers)
}

/// Asks for the answer of a task.
pub(super) fn of(task: TaskId) -> Statement {
    Statement::new(OF_TASK).put(task.as_i64())
}

/// Asks for every answer of a task.
pub(super) fn all_of(task: TaskId) -> Statement {
    Statement::new(ALL_OF_TASK).put(task.as_i64())
}

/// Reads what [`of`] and [`all_of`] ask for.
pub(super) fn read(row: &Row) -> Outcome<Answer> {
    let columns = &mut Columns::of(row);
    let (task, token) = (columns.number()?, columns.token()?);
    Ok(Answer {
        task,
        token,
        dialect: text(columns)?,
        raw: SecretString::from(text(columns)?),
        text: SecretString::from(text(columns)?),
        user_agent: columns.take::<Option<&str>>()?.map(|it| nul::plain(it).into_owned()),
        solved_at: columns.instant()?,
        expires_at: columns.instant_opt()?,
        read_at: columns.instant()?,
    })
}

fn text(columns: &mut Columns<'_>) -> Outcome<String> {
    Ok(nul::plain(columns.take()?).into_owned())
}
