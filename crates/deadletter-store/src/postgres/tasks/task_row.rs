//! A task as a row of `tasks`, and back.

use crate::postgres::{
    bulk::{self, Column, each},
    columns::Columns,
    failure::Outcome,
    nul,
    statement::Statement,
};
use deadletter_core::{
    AttemptToken, Counters, DeadReason, Dimensions, Round, State, StateKind, Task, TaskId, UnixMs,
    UpstreamId, Why,
};
use std::{io, sync::LazyLock};
use tokio_postgres::Row;

/// The columns of a task, as [`read`] expects them.
macro_rules! columns {
    () => {
        "id, idempotency_key, idempotency_expires_at, place, created_at, method, sitekey, \
         host, proxy, batch, tags, state, why, reason, due_at, upstream_id, version, account, \
         owner, worker, attempt, priority, turn, hold, deadline_at, attempts, submits, failures, \
         refusals, panics, redrives, deaths, round_allowance, round_failures, round_unsolvable, \
         round_lost, round_refusals, round_proxies_failed, max_submits, proxies, cause, class, \
         fingerprint, parent, answered_by, verdict_read_at, updated_at"
    };
}
pub(super) use columns;

/// The same as a text.
pub(in crate::postgres) const COLUMNS: &str = columns!();

/// A row to write.
pub(super) struct Entry {
    pub(super) task: Task,
    /// Store time: what is due by then may be claimed.
    pub(super) now: UnixMs,
}

macro_rules! column {
    ($name:literal: $kind:literal, $value:expr) => {
        Column {
            name: $name,
            kind: $kind,
            put: |statement, rows: &[Entry]| statement.put(each(rows, $value)),
        }
    };
}

const ID: &[Column<Entry>] = &[column!("id": "bigint", |it| it.task.id.as_i64())];

/// Written once, at insert.
const FIXED: &[Column<Entry>] = &[
    column!("idempotency_key": "text", |it| free(it.task.idempotency_key.as_deref())),
    column!("idempotency_expires_at": "bigint", |it| instant(it.task.idempotency_expires_at)),
    column!("place": "text", |it| free(it.task.place.as_deref())),
    column!("created_at": "bigint", |it| it.task.created_at.0),
    column!("method": "text", |it| nul::escaped(&it.task.dimensions.method)),
    column!("sitekey": "text", |it| free(it.task.dimensions.sitekey.as_deref())),
    column!("host": "text", |it| free(it.task.dimensions.host.as_deref())),
    column!("proxy": "text", |it| free(it.task.dimensions.proxy.as_deref())),
    column!("batch": "text", |it| free(it.task.dimensions.batch.as_deref())),
    column!("tags": "text", |it| tags(&it.task.dimensions)),
];

/// Written by every change.
const STEP: &[Column<Entry>] = &[
    column!("state": "text", |it| it.task.kind().label().to_owned()),
    column!("why": "text", |it| why(&it.task.state).map(|why| why.label().to_owned())),
    column!("reason": "text", |it| it.task.reason().map(|reason| reason.label().to_owned())),
    column!("due_at": "bigint", |it| instant(it.task.due_at())),
    column!("upstream_id": "text", |it| upstream_id(&it.task.state).map(str::to_owned)),
    column!("ready": "boolean", ready),
    column!("lane": "text", |it| it.task.lane().label().to_owned()),
    column!("idle": "text", idle),
    column!("at_rest": "text", at_rest),
    column!("version": "bigint", |it| it.task.version.cast_signed()),
    column!("worker": "text", |it| it.task.worker.as_ref().map(|it| it.as_str().to_owned())),
    column!("attempt": "bigint", |it| it.task.attempt.map(AttemptToken::get)),
    column!("attempts": "integer", |it| it.task.counters.attempts.cast_signed()),
    column!("submits": "integer", |it| it.task.counters.submits.cast_signed()),
    column!("failures": "integer", |it| it.task.counters.failures.cast_signed()),
    column!("refusals": "integer", |it| it.task.counters.refusals.cast_signed()),
    column!("panics": "integer", |it| it.task.counters.panics.cast_signed()),
    column!("redrives": "integer", |it| it.task.counters.redrives.cast_signed()),
    column!("deaths": "integer", |it| it.task.counters.deaths.cast_signed()),
    column!("round_allowance": "integer", |it| it.task.round.allowance.cast_signed()),
    column!("round_failures": "integer", |it| it.task.round.failures.cast_signed()),
    column!("round_unsolvable": "integer", |it| it.task.round.unsolvable.cast_signed()),
    column!("round_lost": "integer", |it| it.task.round.lost.cast_signed()),
    column!("round_refusals": "integer", |it| it.task.round.refusals.cast_signed()),
    column!("round_proxies_failed": "integer", |it| it.task.round.proxies_failed.cast_signed()),
    column!("cause": "text", |it| it.task.cause.as_ref().map(|it| it.as_str().to_owned())),
    column!("class": "text", |it| it.task.class.map(|it| it.label().to_owned())),
    column!("fingerprint": "text", |it| free(it.task.fingerprint.as_deref())),
    column!("answered_by": "bigint", |it| it.task.answered_by.map(AttemptToken::get)),
    column!("verdict_read_at": "bigint", |it| instant(it.task.verdict_read_at)),
    column!("updated_at": "bigint", |it| it.task.updated_at.0),
];

/// What no step of a task's life changes.
const PLACE: &[Column<Entry>] = &[
    column!("account": "text", |it| it.task.account.as_str().to_owned()),
    column!("owner": "text", |it| free(it.task.owner.as_deref())),
    column!("priority": "smallint", |it| i16::from(it.task.priority)),
    column!("turn": "bigint", |it| it.task.turn),
    column!("hold": "text", |it| free(it.task.hold.as_deref())),
    column!("deadline_at": "bigint", |it| instant(it.task.deadline_at)),
    column!("max_submits": "integer", |it| it.task.max_submits.cast_signed()),
    column!("proxies": "integer", |it| it.task.proxies.cast_signed()),
    column!("parent": "bigint", |it| it.task.parent.map(TaskId::as_i64)),
];

const ALL: &[&[Column<Entry>]] = &[ID, FIXED, STEP, PLACE];

static INSERT: LazyLock<String> = LazyLock::new(|| bulk::insert("tasks", ALL));
static UPDATE: LazyLock<String> = LazyLock::new(|| bulk::update("tasks", ID, &[STEP]));
static UPDATE_PLACE: LazyLock<String> = LazyLock::new(|| bulk::update("tasks", ID, &[STEP, PLACE]));

/// Stores new rows; one whose id stands is refused by the server, with all others.
pub(super) fn insert(rows: &[Entry]) -> Statement {
    bulk::put(Statement::new(INSERT.as_str()), ALL, rows)
}

/// Writes rows that have changed; `place` where what no step of a life changes may differ too.
pub(super) fn update(rows: &[Entry], place: bool) -> Statement {
    match place {
        true => bulk::put(Statement::new(UPDATE_PLACE.as_str()), &[ID, STEP, PLACE], rows),
        false => bulk::put(Statement::new(UPDATE.as_str()), &[ID, STEP], rows),
    }
}

fn free(text: Option<&str>) -> Option<String> {
    text.map(nul::escaped)
}

fn instant(at: Option<UnixMs>) -> Option<i64> {
    at.map(|at| at.0)
}

fn tags(dimensions: &Dimensions) -> Option<String> {
    let tags = &dimensions.tags;
    (!tags.is_empty()).then(|| serde_json::Value::from(tags.clone()).to_string())
}

const fn why(state: &State) -> Option<Why> {
    match state {
        State::Queued { why, .. } => Some(*why),
        _ => None,
    }
}

fn upstream_id(state: &State) -> Option<&str> {
    match state {
        State::Polling { upstream_id } => Some(upstream_id.as_str()),
        _ => None,
    }
}

/// True: may be claimed; false: when it is due; none: not at all. Claim makes it true in time.
fn ready(it: &Entry) -> Option<bool> {
    it.task.due_at().filter(|_| it.task.hold.is_none()).map(|due_at| due_at <= it.now)
}

fn idle(it: &Entry) -> Option<String> {
    it.task.attempt.is_none().then(|| it.task.kind().label().to_owned())
}

fn at_rest(it: &Entry) -> Option<String> {
    it.task.reason().map(|_| it.task.kind().label().to_owned())
}

/// Reads a task from a row of [`columns!`].
pub(in crate::postgres) fn read(row: &Row) -> Outcome<Task> {
    read_from(&mut Columns::of(row))
}

/// The same, where other columns follow.
pub(super) fn read_from(columns: &mut Columns<'_>) -> Outcome<Task> {
    let fixed = read_fixed(columns)?;
    Ok(Task {
        state: read_state(columns)?,
        version: columns.number()?,
        account: columns.text()?,
        owner: read_free(columns)?,
        worker: columns.text_opt()?,
        attempt: columns.token_opt()?,
        priority: read_priority(columns)?,
        turn: columns.take()?,
        hold: read_free(columns)?,
        deadline_at: columns.instant_opt()?,
        counters: read_counters(columns)?,
        round: read_round(columns)?,
        max_submits: count(columns)?,
        proxies: count(columns)?,
        cause: columns.text_opt()?,
        class: columns.text_opt()?,
        fingerprint: read_free(columns)?,
        parent: columns.number_opt()?,
        answered_by: columns.token_opt()?,
        verdict_read_at: columns.instant_opt()?,
        updated_at: columns.instant()?,
        id: fixed.id,
        idempotency_key: fixed.idempotency_key,
        idempotency_expires_at: fixed.idempotency_expires_at,
        place: fixed.place,
        created_at: fixed.created_at,
        dimensions: fixed.dimensions,
    })
}

/// What [`FIXED`] holds.
struct Fixed {
    id: TaskId,
    idempotency_key: Option<String>,
    idempotency_expires_at: Option<UnixMs>,
    place: Option<String>,
    created_at: UnixMs,
    dimensions: Dimensions,
}

fn read_fixed(columns: &mut Columns<'_>) -> Outcome<Fixed> {
    Ok(Fixed {
        id: columns.number()?,
        idempotency_key: read_free(columns)?,
        idempotency_expires_at: columns.instant_opt()?,
        place: read_free(columns)?,
        created_at: columns.instant()?,
        dimensions: Dimensions {
            method: read_free(columns)?.unwrap_or_default(),
            sitekey: read_free(columns)?,
            host: read_free(columns)?,
            proxy: read_free(columns)?,
            batch: read_free(columns)?,
            tags: read_tags(columns)?,
        },
    })
}

fn read_tags(columns: &mut Columns<'_>) -> Outcome<Vec<String>> {
    match columns.take::<Option<&str>>()? {
        Some(json) => serde_json::from_str(json).map_err(|error| columns.misfit(error)),
        None => Ok(Vec::new()),
    }
}

fn read_free(columns: &mut Columns<'_>) -> Outcome<Option<String>> {
    Ok(columns.take::<Option<&str>>()?.map(|text| nul::plain(text).into_owned()))
}

fn read_priority(columns: &mut Columns<'_>) -> Outcome<u8> {
    let priority: i16 = columns.take()?;
    u8::try_from(priority).map_err(|error| columns.misfit(error))
}

fn read_state(columns: &mut Columns<'_>) -> Outcome<State> {
    let kind: StateKind = columns.text()?;
    let why: Option<Why> = columns.text_opt()?;
    let reason: Option<DeadReason> = columns.text_opt()?;
    let due_at = columns.instant_opt()?;
    let upstream_id: Option<UpstreamId> = columns.text_opt()?;
    let state = match kind {
        StateKind::Queued => due_at.zip(why).map(|(due_at, why)| State::Queued { due_at, why }),
        StateKind::Submitting => Some(State::Submitting),
        StateKind::Polling => upstream_id.map(|upstream_id| State::Polling { upstream_id }),
        StateKind::Solved => Some(State::Solved),
        StateKind::Dead => reason.map(|reason| State::Dead { reason }),
        StateKind::Buried => reason.map(|reason| State::Buried { reason }),
        StateKind::Cancelled => Some(State::Cancelled),
    };
    let lacks = || io::Error::other(format!("a {kind} task lacks what its state needs"));
    state.ok_or_else(|| columns.misfit(lacks()))
}

fn read_counters(columns: &mut Columns<'_>) -> Outcome<Counters> {
    Ok(Counters {
        attempts: count(columns)?,
        submits: count(columns)?,
        failures: count(columns)?,
        refusals: count(columns)?,
        panics: count(columns)?,
        redrives: count(columns)?,
        deaths: count(columns)?,
    })
}

fn read_round(columns: &mut Columns<'_>) -> Outcome<Round> {
    Ok(Round {
        allowance: count(columns)?,
        failures: count(columns)?,
        unsolvable: count(columns)?,
        lost: count(columns)?,
        refusals: count(columns)?,
        proxies_failed: count(columns)?,
    })
}

/// A count as its bits stand in an integer column.
fn count(columns: &mut Columns<'_>) -> Outcome<u32> {
    columns.take().map(i32::cast_unsigned)
}
