//! An attempt as a row of `open_attempts` or `past_attempts`, and back.

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

/// Of open ones alone.
const NAMESAKE: &[Column<Written>] = &[column!("namesake": "bigint", namesake)];

/// What may be learned.
const LEARNED: &[Column<Written>] = &[
    column!("worker": "text", |it| it.attempt.worker.as_ref().map(|it| it.as_str().to_owned())),
    column!("upstream_id": "text", |it| {
        it.attempt.upstream_id.as_ref().map(|id| id.as_str().to_owned())
    }),
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

const OPEN: &[&[Column<Written>]] = &[KEY, FIXED, NAMESAKE, LEARNED];
const PAST: &[&[Column<Written>]] = &[KEY, FIXED, LEARNED];
const STILL_OPEN: &[&[Column<Written>]] = &[KEY, NAMESAKE, LEARNED];

static BEGIN: LazyLock<String> = LazyLock::new(|| bulk::insert("open_attempts", OPEN));
static UPDATE: LazyLock<String> =
    LazyLock::new(|| bulk::update("open_attempts", KEY, &[NAMESAKE, LEARNED]));
static CLOSE: LazyLock<String> =
    LazyLock::new(|| bulk::pass(("open_attempts", ""), "past_attempts", KEY, &[FIXED, LEARNED]));
static REOPEN: LazyLock<String> = LazyLock::new(|| {
    // The tasks are named twice, for whoever chooses partitions.
    let from = ("past_attempts", " AND past_attempts.task = ANY($1)");
    bulk::pass(from, "open_attempts", KEY, &[FIXED, NAMESAKE, LEARNED])
});

/// Stores new attempts.
pub(super) fn insert(rows: Vec<Written>) -> Vec<Statement> {
    let (open, past): (Vec<_>, Vec<_>) = rows.into_iter().partition(|it| it.attempt.is_open());
    [(&BEGIN, OPEN, open), (&CLOSE, PAST, past)].into_iter().filter_map(written).collect()
}

/// Writes what has been learned of attempts: first of those that are closed by now, whose upstream
/// ids may be others' in the same call.
pub(super) fn update(rows: Vec<Written>) -> Vec<Statement> {
    let (open, past): (Vec<_>, Vec<_>) = rows.into_iter().partition(|it| it.attempt.is_open());
    // Only a resumption opens an attempt again.
    let (resumed, open): (Vec<_>, Vec<_>) =
        open.into_iter().partition(|it| it.attempt.resumed_at.is_some());
    [(&CLOSE, PAST, past), (&UPDATE, STILL_OPEN, open), (&REOPEN, OPEN, resumed)]
        .into_iter()
        .filter_map(written)
        .collect()
}

type Columned = &'static [&'static [Column<Written>]];

fn written((sql, columns, rows): (&LazyLock<String>, Columned, Vec<Written>)) -> Option<Statement> {
    let statement = || bulk::put(Statement::new(sql.as_str().to_owned()), columns, &rows);
    (!rows.is_empty()).then(statement)
}

fn instant(at: Option<UnixMs>) -> Option<i64> {
    at.map(|at| at.0)
}

/// 0 for an attempt under an upstream id: the server lets only one such stand. An earlier one
/// of the same task keeps the 0, and is not in the way of this one.
const fn namesake(it: &Written) -> i64 {
    if it.has_namesake { it.attempt.token.get() } else { 0 }
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
