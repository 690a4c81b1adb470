//! A task as a row of `tasks`, and back.

use super::{
    columns::{Binder, Columns},
    statements::Statements,
};
use deadletter_core::{
    AttemptToken, Counters, DeadReason, Dimensions, Reading, Round, RowChange, State, StateKind,
    Task, TaskId, UnixMs, UpstreamId, Why,
};
use rusqlite::{Result, Row, types::Type};
use std::sync::LazyLock;

/// Written once, at insert.
const FIXED: &[&str] = &[
    "id",
    "idempotency_key",
    "idempotency_expires_at",
    "place",
    "created_at",
    "method",
    "sitekey",
    "host",
    "proxy",
    "batch",
    "tags",
];

/// Columns that are written together, or not at all.
struct Group {
    names: &'static [&'static str],
    bind: fn(&mut Binder<'_, '_>, &Task, UnixMs) -> Result<()>,
}

/// Written by every change.
const STEP: Group = Group {
    names: &[
        "state",
        "upstream_id",
        "version",
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
        "class",
        "fingerprint",
        "answered_by",
        "updated_at",
    ],
    bind: bind_step,
};

/// What claim looks for. `ready` and `lane` are derived, and never read back.
const QUEUE: Group = Group { names: &["why", "due_at", "ready", "lane"], bind: bind_queue };

const LEASE: Group = Group { names: &["worker", "attempt"], bind: bind_lease };

/// What the dead are found by. `at_rest` is derived, and never read back.
const REST: Group = Group { names: &["reason", "cause", "at_rest"], bind: bind_rest };

/// What no step of a task's life changes.
const PLACE: Group = Group {
    names: &[
        "account",
        "owner",
        "priority",
        "turn",
        "hold",
        "deadline_at",
        "max_submits",
        "proxies",
        "parent",
    ],
    bind: bind_place,
};

/// What [`mark_read`] writes besides; no index knows it.
const READING: Group = Group { names: &["verdict_read_at"], bind: bind_reading };

const MARK_READ: &str = "UPDATE tasks SET verdict_read_at = ? WHERE id = ?";

/// All that a change may write; those behind the first are left out where nothing differs. An
/// update costs by the indexes that know its columns, whether they change or not.
const GROUPS: [&Group; 6] = [&STEP, &QUEUE, &LEASE, &REST, &PLACE, &READING];

/// The columns of a task, as [`read`] expects them.
pub(super) const COLUMNS: &str = "id, idempotency_key, idempotency_expires_at, place, created_at, \
     method, sitekey, host, proxy, batch, tags, state, why, reason, due_at, upstream_id, version, \
     account, owner, worker, attempt, priority, turn, hold, deadline_at, attempts, submits, \
     failures, refusals, panics, redrives, deaths, round_allowance, round_failures, \
     round_unsolvable, round_lost, round_refusals, round_proxies_failed, max_submits, proxies, \
     cause, class, fingerprint, parent, answered_by, verdict_read_at, updated_at";

static INSERT: LazyLock<String> = LazyLock::new(|| {
    let mut names = FIXED.to_vec();
    names.extend(GROUPS.iter().flat_map(|group| group.names));
    let places = vec!["?"; names.len()].join(", ");
    format!("INSERT OR IGNORE INTO tasks ({}) VALUES ({places})", names.join(", "))
});

/// The updates, by which of [`GROUPS`] they write: bit 0 is the first.
pub(super) static UPDATES: LazyLock<Vec<String>> =
    LazyLock::new(|| (0..1 << GROUPS.len()).map(update_of).collect());

fn update_of(groups: usize) -> String {
    let written = (0..).zip(GROUPS).filter(|(bit, _)| groups >> bit & 1 == 1);
    let names: Vec<String> =
        written.flat_map(|(_, group)| group.names).map(|name| format!("{name} = ?")).collect();
    format!("UPDATE tasks SET {} WHERE id = ? AND version = ?", names.join(", "))
}

/// Stores a new row; false where the id is taken.
pub(super) fn insert(statements: &Statements<'_>, task: &Task, now: UnixMs) -> Result<bool> {
    let mut statement = statements.get(&INSERT)?;
    let mut binder = Binder::of(&mut statement);
    bind_fixed(&mut binder, task)?;
    for group in GROUPS {
        (group.bind)(&mut binder, task, now)?;
    }
    Ok(binder.execute()? == 1)
}

/// Writes the row if it still stands at the version that was read; false where it does not.
pub(super) fn update(statements: &Statements<'_>, row: &RowChange, now: UnixMs) -> Result<bool> {
    let differs = differing(row);
    let which = (0..).zip(differs).map(|(bit, differs)| usize::from(differs) << bit).sum::<usize>();
    let sql = UPDATES.get(which).expect("there is an update for each choice of groups");
    let mut statement = statements.get(sql)?;
    let mut binder = Binder::of(&mut statement);
    for (group, _) in GROUPS.iter().zip(differs).filter(|(_, differs)| *differs) {
        (group.bind)(&mut binder, &row.after, now)?;
    }
    binder.put(row.after.id.as_i64())?;
    binder.put(row.expects.cast_signed())?;
    Ok(binder.execute()? == 1)
}

/// Notes that the verdict of a row was told; its version stays.
pub(super) fn mark_read(statements: &Statements<'_>, reading: &Reading) -> Result<()> {
    statements.get(MARK_READ)?.execute((reading.at.0, reading.task.as_i64()))?;
    Ok(())
}

/// Which of [`GROUPS`] may differ from what is stored.
fn differing(row: &RowChange) -> [bool; GROUPS.len()] {
    let RowChange { from, after, differs, .. } = row;
    let was_or_is =
        |kinds: &[StateKind]| kinds.contains(&from.state) || kinds.contains(&after.kind());
    // The due time is the queued's, the reason that of the dead and the buried.
    let queue = differs.place || was_or_is(&[StateKind::Queued]);
    let rest = from.cause != after.cause || was_or_is(&[StateKind::Dead, StateKind::Buried]);
    [true, queue, differs.lease, rest, differs.place, differs.reading]
}

fn bind_fixed(binder: &mut Binder<'_, '_>, task: &Task) -> Result<()> {
    let Dimensions { method, sitekey, host, proxy, batch, tags } = &task.dimensions;
    binder.put(task.id.as_i64())?;
    binder.put(&task.idempotency_key)?;
    binder.instant(task.idempotency_expires_at)?;
    binder.put(&task.place)?;
    binder.put(task.created_at.0)?;
    binder.put(method)?;
    binder.put(sitekey)?;
    binder.put(host)?;
    binder.put(proxy)?;
    binder.put(batch)?;
    let tags = (!tags.is_empty()).then(|| serde_json::Value::from(tags.clone()).to_string());
    binder.put(tags)
}

fn bind_step(binder: &mut Binder<'_, '_>, task: &Task, _: UnixMs) -> Result<()> {
    binder.put(task.kind().label())?;
    binder.put(match &task.state {
        State::Polling { upstream_id } => Some(upstream_id.as_str()),
        _ => None,
    })?;
    binder.put(task.version.cast_signed())?;
    bind_counts(binder, &task.counters, &task.round)?;
    binder.put(task.class.map(|class| class.label()))?;
    binder.put(&task.fingerprint)?;
    binder.put(task.answered_by.map(AttemptToken::get))?;
    binder.put(task.updated_at.0)
}

fn bind_queue(binder: &mut Binder<'_, '_>, task: &Task, now: UnixMs) -> Result<()> {
    let (why, due_at) = match &task.state {
        State::Queued { due_at, why } => (Some(why.label()), Some(*due_at)),
        _ => (None, None),
    };
    binder.put(why)?;
    binder.instant(due_at)?;
    binder.put(ready(task, now))?;
    binder.put(task.lane().label())
}

fn bind_lease(binder: &mut Binder<'_, '_>, task: &Task, _: UnixMs) -> Result<()> {
    binder.put(task.worker.as_ref().map(|worker| worker.as_str()))?;
    binder.put(task.attempt.map(AttemptToken::get))
}

fn bind_rest(binder: &mut Binder<'_, '_>, task: &Task, _: UnixMs) -> Result<()> {
    binder.put(task.reason().map(DeadReason::label))?;
    binder.put(task.cause.as_ref().map(|cause| cause.as_str()))?;
    binder.put(task.reason().map(|_| task.kind().label()))
}

fn bind_place(binder: &mut Binder<'_, '_>, task: &Task, _: UnixMs) -> Result<()> {
    binder.put(task.account.as_str())?;
    binder.put(&task.owner)?;
    binder.put(task.priority)?;
    binder.put(task.turn)?;
    binder.put(&task.hold)?;
    binder.instant(task.deadline_at)?;
    binder.put(task.max_submits)?;
    binder.put(task.proxies)?;
    binder.put(task.parent.map(|parent| parent.as_i64()))
}

fn bind_reading(binder: &mut Binder<'_, '_>, task: &Task, _: UnixMs) -> Result<()> {
    binder.instant(task.verdict_read_at)
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

fn read_fixed(columns: &mut Columns<'_, '_>) -> Result<Fixed> {
    Ok(Fixed {
        id: columns.number()?,
        idempotency_key: columns.take()?,
        idempotency_expires_at: columns.instant_opt()?,
        place: columns.take()?,
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
