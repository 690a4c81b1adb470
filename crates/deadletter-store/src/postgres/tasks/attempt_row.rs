//! An attempt as a row of `attempts`, and back.

use crate::{
    postgres::{
        bulk::{self, Column, each},
        columns::Columns,
        failure::Outcome,
        nul,
        statement::Statement,
    },
    stage::Written,
};
use deadletter_core::{Attempt, UnixMs};
use std::sync::LazyLock;
use tokio_postgres::Row;

/// The columns of an attempt, as [`read`] expects them.
macro_rules! columns {
    () => {
        "task, token, n, account, intent_at, worker, upstream_id, accepted_at, resumed_at, \
         abandoned_at, closed_at, verdict, cause, class, detail, permit, permit_until"
    };
}
pub(super) use columns;

macro_rules! column {
    ($name:literal: $kind:literal, $value:expr) => {
        Column {
            name: $name,
            kind: $kind,
            put: |statement, rows: &[Written]| statement.put(each(rows, $value)),
        }
    };
}

const KEY: &[Column<Written>] = &[
    column!("task": "bigint", |it| it.attempt.task.as_i64()),
    column!("token": "bigint", |it| it.attempt.token.get()),
];

/// Written once, with the intent.
const FIXED: &[Column<Written>] = &[
    column!("n": "integer", |it| it.attempt.n.cast_signed()),
    column!("account": "text", |it| it.attempt.account.as_str().to_owned()),
    column!("intent_at": "bigint", |it| it.attempt.intent_at.0),
];

/// What may be learned.
const LEARNED: &[Column<Written>] = &[
    column!("worker": "text", |it| it.attempt.worker.as_ref().map(|it| it.as_str().to_owned())),
    column!("upstream_id": "text", |it| {
        it.attempt.upstream_id.as_ref().map(|id| id.as_str().to_owned())
    }),
    column!("namesake": "bigint", namesake),
    column!("accepted_at": "bigint", |it| instant(it.attempt.accepted_at)),
    column!("resumed_at": "bigint", |it| instant(it.attempt.resumed_at)),
    column!("abandoned_at": "bigint", |it| instant(it.attempt.abandoned_at)),
    column!("closed_at": "bigint", |it| instant(it.attempt.closed_at)),
    column!("verdict": "text", |it| it.attempt.verdict.map(|it| it.label().to_owned())),
    column!("cause": "text", |it| it.attempt.cause.as_ref().map(|it| it.as_str().to_owned())),
    column!("class": "text", |it| it.attempt.class.map(|it| it.label().to_owned())),
    column!("detail": "text", |it| it.attempt.detail.as_deref().map(nul::escaped)),
    column!("permit": "boolean", |it| it.attempt.permit),
    column!("permit_until": "bigint", |it| instant(it.attempt.permit_until)),
];

const ALL: &[&[Column<Written>]] = &[KEY, FIXED, LEARNED];

static INSERT: LazyLock<String> = LazyLock::new(|| bulk::insert("attempts", ALL));
static UPDATE: LazyLock<String> = LazyLock::new(|| bulk::update("attempts", KEY, &[LEARNED]));

/// Stores new attempts.
pub(super) fn insert(rows: &[Written]) -> Statement {
    bulk::put(Statement::new(INSERT.as_str()), ALL, rows)
}

/// Writes what has been learned of attempts.
pub(super) fn update(rows: &[Written]) -> Statement {
    bulk::put(Statement::new(UPDATE.as_str()), &[KEY, LEARNED], rows)
}

fn instant(at: Option<UnixMs>) -> Option<i64> {
    at.map(|at| at.0)
}

/// 0 for an open attempt under an upstream id: the server lets only one such stand. An earlier one
/// of the same task keeps the 0, and is not in the way of this one.
fn namesake(it: &Written) -> i64 {
    if takes_its_id(it) { 0 } else { it.attempt.token.get() }
}

/// True where no other task's attempt may be open under its upstream id.
pub(super) const fn takes_its_id(it: &Written) -> bool {
    it.attempt.is_open() && it.attempt.upstream_id.is_some() && !it.has_namesake
}

/// Reads an attempt from a row of [`columns!`].
pub(super) fn read(row: &Row) -> Outcome<Attempt> {
    read_from(&mut Columns::of(row))
}

/// The same, where other columns follow.
pub(super) fn read_from(columns: &mut Columns<'_>) -> Outcome<Attempt> {
    Ok(Attempt {
        task: columns.number()?,
        token: columns.token()?,
        n: columns.take().map(i32::cast_unsigned)?,
        account: columns.text()?,
        intent_at: columns.instant()?,
        worker: columns.text_opt()?,
        upstream_id: columns.text_opt()?,
        accepted_at: columns.instant_opt()?,
        resumed_at: columns.instant_opt()?,
        abandoned_at: columns.instant_opt()?,
        closed_at: columns.instant_opt()?,
        verdict: columns.text_opt()?,
        cause: columns.text_opt()?,
        class: columns.text_opt()?,
        detail: columns.take::<Option<&str>>()?.map(|it| nul::plain(it).into_owned()),
        permit: columns.take()?,
        permit_until: columns.instant_opt()?,
    })
}
