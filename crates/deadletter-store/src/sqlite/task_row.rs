//! A task as a row of `tasks`, and back.

use super::columns::{Binder, Columns};
use deadletter_core::{
    AttemptToken, Counters, DeadReason, Dimensions, Round, State, StateKind, Task, TaskId, UnixMs,
    UpstreamId, Why,
};
use rusqlite::{Connection, Result, Row, types::Type};
use std::{fmt::Write, sync::LazyLock};

/// Written once, at insert.
const FIXED: &[&str] = &[
    "id",
    "idempotency_key",
    "idempotency_expires_at",
    "created_at",
    "method",
    "sitekey",
    "host",
    "proxy",
    "batch",
    "tags",
];

/// Written by every change. `ready` and `lane` are derived, and never read back.
const MUTABLE: &[&str] = &[
    "state",
    "why",
    "reason",
    "due_at",
    "upstream_id",
    "version",
    "account",
    "owner",
    "worker",
    "attempt",
    "priority",
    "turn",
    "hold",
    "deadline_at",
    "attempts",
    "submits",
    "failures",
    "refusals",
    "panics",
    "redrives",
    "deaths",
    "round_allowance",
    "round_failures",
    "round_unsolvable",
    "round_lost",
    "round_refusals",
    "round_proxies_failed",
    "max_submits",
    "proxies",
    "cause",
    "class",
    "fingerprint",
    "parent",
    "answered_by",
    "verdict_read_at",
    "updated_at",
];
const DERIVED: &[&str] = &["ready", "lane"];

/// The columns of a task, as [`read`] expects them.
pub(super) static COLUMNS: LazyLock<String> =
    LazyLock::new(|| [FIXED, MUTABLE].concat().join(", "));

static INSERT: LazyLock<String> = LazyLock::new(|| {
    let names = [FIXED, MUTABLE, DERIVED].concat();
    let places = vec!["?"; names.len()].join(", ");
    format!("INSERT OR IGNORE INTO tasks ({}) VALUES ({places})", names.join(", "))
});

pub(super) static UPDATE: LazyLock<String> = LazyLock::new(|| {
    let mut sql = "UPDATE tasks SET ".to_owned();
    for name in [MUTABLE, DERIVED].concat() {
        // Writing to a String cannot fail; the result has no other use.
        write!(sql, "{name} = ?, ").ok();
    }
    format!("{} WHERE id = ? AND version = ?", sql.trim_end_matches(", "))
});

/// Stores a new row; false where the id is taken.
pub(super) fn insert(conn: &Connection, task: &Task, now: UnixMs) -> Result<bool> {
    let mut statement = conn.prepare_cached(&INSERT)?;
    let mut binder = Binder::of(&mut statement);
    bind_fixed(&mut binder, task)?;
    bind_mutable(&mut binder, task, now)?;
    Ok(binder.execute()? == 1)
}

/// Writes the row if it still stands at version `expects`; false where it does not.
pub(super) fn update(conn: &Connection, task: &Task, expects: u64, now: UnixMs) -> Result<bool> {
    let mut statement = conn.prepare_cached(&UPDATE)?;
    let mut binder = Binder::of(&mut statement);
    bind_mutable(&mut binder, task, now)?;
    binder.put(task.id.as_i64())?;
    binder.put(expects.cast_signed())?;
    Ok(binder.execute()? == 1)
}

fn bind_fixed(binder: &mut Binder<'_, '_>, task: &Task) -> Result<()> {
    let Dimensions { method, sitekey, host, proxy, batch, tags } = &task.dimensions;
    binder.put(task.id.as_i64())?;
    binder.put(&task.idempotency_key)?;
    binder.instant(task.idempotency_expires_at)?;
    binder.put(task.created_at.0)?;
    binder.put(method)?;
    binder.put(sitekey)?;
    binder.put(host)?;
    binder.put(proxy)?;
    binder.put(batch)?;
    let tags = (!tags.is_empty()).then(|| serde_json::Value::from(tags.clone()).to_string());
    binder.put(tags)
}

fn bind_mutable(binder: &mut Binder<'_, '_>, task: &Task, now: UnixMs) -> Result<()> {
    bind_state(binder, &task.state)?;
    binder.put(task.version.cast_signed())?;
    binder.put(task.account.as_str())?;
    binder.put(&task.owner)?;
    binder.put(task.worker.as_ref().map(|worker| worker.as_str()))?;
    binder.put(task.attempt.map(AttemptToken::get))?;
    binder.put(task.priority)?;
    binder.put(task.turn)?;
    binder.put(&task.hold)?;
    binder.instant(task.deadline_at)?;
    bind_counts(binder, &task.counters, &task.round)?;
    binder.put(task.max_submits)?;
    binder.put(task.proxies)?;
    binder.put(task.cause.as_ref().map(|cause| cause.as_str()))?;
    binder.put(task.class.map(|class| class.label()))?;
    binder.put(&task.fingerprint)?;
    binder.put(task.parent.map(|parent| parent.as_i64()))?;
    binder.put(task.answered_by.map(AttemptToken::get))?;
    binder.instant(task.verdict_read_at)?;
    binder.put(task.updated_at.0)?;
    binder.put(ready(task, now))?;
    binder.put(task.lane().label())
}

fn bind_state(binder: &mut Binder<'_, '_>, state: &State) -> Result<()> {
    let (mut queued, mut upstream_id) = (None, None);
    match state {
        State::Queued { due_at, why } => queued = Some((due_at.0, why.label())),
        State::Polling { upstream_id: id } => upstream_id = Some(id.as_str()),
        _ => {}
    }
    binder.put(state.kind().label())?;
    binder.put(queued.map(|(_, why)| why))?;
    binder.put(state.reason().map(DeadReason::label))?;
    binder.put(queued.map(|(due_at, _)| due_at))?;
    binder.put(upstream_id)
}

fn bind_counts(binder: &mut Binder<'_, '_>, counters: &Counters, round: &Round) -> Result<()> {
    let Counters { attempts, submits, failures, refusals, panics, redrives, deaths } = *counters;
    for n in [attempts, submits, failures, refusals, panics, redrives, deaths] {
        binder.put(n)?;
    }
    let Round { allowance, failures, unsolvable, lost, refusals, proxies_failed } = *round;
    for n in [allowance, failures, unsolvable, lost, refusals, proxies_failed] {
        binder.put(n)?;
    }
    Ok(())
}

/// 1: may be claimed; 0: when it is due; none: not at all. Claim raises 0 to 1 in time.
fn ready(task: &Task, now: UnixMs) -> Option<bool> {
    match task.state {
        State::Queued { due_at, .. } if task.hold.is_none() => Some(due_at <= now),
        _ => None,
    }
}

/// Reads a task from a row of [`COLUMNS`].
pub(super) fn read(row: &Row<'_>) -> Result<Task> {
    let columns = &mut Columns::of(row);
    let fixed = read_fixed(columns)?;
    Ok(Task {
        state: read_state(columns)?,
        version: columns.number()?,
        account: columns.text()?,
        owner: columns.take()?,
        worker: columns.text_opt()?,
        attempt: columns.token_opt()?,
        priority: columns.take()?,
        turn: columns.take()?,
        hold: columns.take()?,
        deadline_at: columns.instant_opt()?,
        counters: read_counters(columns)?,
        round: read_round(columns)?,
        max_submits: columns.take()?,
        proxies: columns.take()?,
        cause: columns.text_opt()?,
        class: columns.text_opt()?,
        fingerprint: columns.take()?,
        parent: columns.number_opt()?,
        answered_by: columns.token_opt()?,
        verdict_read_at: columns.instant_opt()?,
        updated_at: columns.instant()?,
        id: fixed.id,
        idempotency_key: fixed.idempotency_key,
        idempotency_expires_at: fixed.idempotency_expires_at,
        created_at: fixed.created_at,
        dimensions: fixed.dimensions,
    })
}

/// What [`FIXED`] holds.
struct Fixed {
    id: TaskId,
    idempotency_key: Option<String>,
    idempotency_expires_at: Option<UnixMs>,
    created_at: UnixMs,
    dimensions: Dimensions,
}

fn read_fixed(columns: &mut Columns<'_, '_>) -> Result<Fixed> {
    Ok(Fixed {
        id: columns.number()?,
        idempotency_key: columns.take()?,
        idempotency_expires_at: columns.instant_opt()?,
        created_at: columns.instant()?,
        dimensions: Dimensions {
            method: columns.take()?,
            sitekey: columns.take()?,
            host: columns.take()?,
            proxy: columns.take()?,
            batch: columns.take()?,
            tags: match columns.take::<Option<String>>()? {
                Some(json) => {
                    serde_json::from_str(&json).map_err(|e| columns.misfit(Type::Text, e))?
                }
                None => Vec::new(),
            },
        },
    })
}

fn read_state(columns: &mut Columns<'_, '_>) -> Result<State> {
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
    state.ok_or_else(|| columns.misfit(Type::Null, Incomplete(kind)))
}

/// A state without the facts that belong to it.
#[derive(Debug, thiserror::Error)]
#[error("a {0} task lacks what its state needs")]
struct Incomplete(StateKind);

fn read_counters(columns: &mut Columns<'_, '_>) -> Result<Counters> {
    Ok(Counters {
        attempts: columns.take()?,
        submits: columns.take()?,
        failures: columns.take()?,
        refusals: columns.take()?,
        panics: columns.take()?,
        redrives: columns.take()?,
        deaths: columns.take()?,
    })
}

fn read_round(columns: &mut Columns<'_, '_>) -> Result<Round> {
    Ok(Round {
        allowance: columns.take()?,
        failures: columns.take()?,
        unsolvable: columns.take()?,
        lost: columns.take()?,
        refusals: columns.take()?,
        proxies_failed: columns.take()?,
    })
}
