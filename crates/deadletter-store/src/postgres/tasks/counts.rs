//! What is counted and told of tasks: `standing`, `tallies`, `events`, and items of operations.
//!
//! Rows of counts are locked in the order of their keys, and the number of the newest event after
//! all of them: whoever holds that lock has nothing left to wait for but the disk.

use crate::{
    Item,
    postgres::{
        bulk::{self, Column, each},
        nul,
        statement::Statement,
    },
    stage::Counts,
};
use deadletter_core::{
    AttemptToken, Cause, Event, ItemState, OperationId, TaskId,
    counts::{Standing, Tally},
};
use std::{collections::BTreeMap, sync::LazyLock};

/// A row of counts, what it adds, and in which slot.
type Delta<K> = (K, i64, i16);

fn class_of(row: &Standing) -> String {
    row.class.map_or("", |class| class.label()).to_owned()
}

fn cause_of(cause: Option<&Cause>) -> String {
    cause.map_or_else(String::new, |cause| cause.as_str().to_owned())
}

macro_rules! column {
    ($name:literal: $kind:literal, $rows:ty, $value:expr) => {
        Column {
            name: $name,
            kind: $kind,
            put: |statement, rows: &[$rows]| statement.put(each(rows, $value)),
        }
    };
}

const STANDING: &[Column<Delta<Standing>>] = &[
    column!("dim": "text", Delta<Standing>, |(it, _, _)| it.dim.label().to_owned()),
    column!("place": "text", Delta<Standing>, |(it, _, _)| it.place.label().to_owned()),
    column!("cause": "text", Delta<Standing>, |(it, _, _)| cause_of(it.cause.as_ref())),
    column!("class": "text", Delta<Standing>, |(it, _, _)| class_of(it)),
    column!("value": "text", Delta<Standing>, |(it, _, _)| nul::escaped(&it.value)),
    column!("slot": "smallint", Delta<Standing>, |(_, _, slot)| *slot),
    column!("n": "bigint", Delta<Standing>, |(_, n, _)| *n),
];

const TALLIES: &[Column<Delta<Tally>>] = &[
    column!("dim": "text", Delta<Tally>, |(it, _, _)| it.dim.label().to_owned()),
    column!("minute": "bigint", Delta<Tally>, |(it, _, _)| it.minute.0),
    column!("tallied": "text", Delta<Tally>, |(it, _, _)| it.tallied.label().to_owned()),
    column!("cause": "text", Delta<Tally>, |(it, _, _)| cause_of(it.cause.as_ref())),
    column!("value": "text", Delta<Tally>, |(it, _, _)| nul::escaped(&it.value)),
    column!("slot": "smallint", Delta<Tally>, |(_, _, slot)| *slot),
    column!("n": "bigint", Delta<Tally>, |(_, n, _)| *n),
];

static ADD_STANDING: LazyLock<String> = LazyLock::new(|| {
    format!(
        "{} ORDER BY dim, place, cause, class, value \
         ON CONFLICT (dim, place, cause, class, value, slot) DO UPDATE SET n = standing.n + excluded.n",
        bulk::insert("standing", &[STANDING])
    )
});

static ADD_TALLIES: LazyLock<String> = LazyLock::new(|| {
    format!(
        "{} ORDER BY dim, minute, tallied, cause, value \
         ON CONFLICT (dim, minute, tallied, cause, value, slot) DO UPDATE SET n = tallies.n + excluded.n",
        bulk::insert("tallies", &[TALLIES])
    )
});

/// Adds to the counts, in `slot`.
pub(super) fn add(counts: &Counts, slot: i16) -> impl Iterator<Item = Statement> {
    let standing: Vec<_> = counts.standing().map(|(it, n)| (it.clone(), n, slot)).collect();
    let tallies: Vec<_> = counts.tallies().map(|(it, n)| (it.clone(), n, slot)).collect();
    let add_standing = (!standing.is_empty())
        .then(|| bulk::put(Statement::new(ADD_STANDING.as_str()), &[STANDING], &standing));
    let add_tallies = (!tallies.is_empty())
        .then(|| bulk::put(Statement::new(ADD_TALLIES.as_str()), &[TALLIES], &tallies));
    add_standing.into_iter().chain(add_tallies)
}

macro_rules! event {
    ($name:literal: $kind:literal, $value:expr) => {
        column!($name: $kind, Event, $value)
    };
}

const EVENT: &[Column<Event>] = &[
    event!("task": "bigint", |it| it.task.as_i64()),
    event!("at": "bigint", |it| it.at.0),
    event!("state": "text", |it| it.state.label().to_owned()),
    event!("reason": "text", |it| it.reason.map(|it| it.label().to_owned())),
    event!("cause": "text", |it| it.cause.as_ref().map(|it| it.as_str().to_owned())),
    event!("answered_by": "bigint", |it| it.answered_by.map(AttemptToken::get)),
];

/// Numbers are given under a lock that is held until the commit, so that no event becomes visible
/// behind one with a higher number: whoever reads on from a number misses none.
static APPEND: LazyLock<String> = LazyLock::new(|| {
    let rows = bulk::rows(&[EVENT]);
    let n = EVENT.len() + 1;
    format!(
        "WITH numbers AS ( \
           UPDATE event_numbers SET last = last + ${n} RETURNING last - ${n} AS before), \
         c AS (SELECT row_number() OVER () AS at_place, c.* FROM {rows}) \
         INSERT INTO events (seq, task, at, state, reason, cause, answered_by) \
         SELECT before + at_place, task, at, state, reason, cause, answered_by FROM numbers, c"
    )
});

/// Appends events, in their order.
pub(super) fn append(events: &[Event]) -> Statement {
    let n = i64::try_from(events.len()).unwrap_or(i64::MAX);
    bulk::put(Statement::new(APPEND.as_str()), &[EVENT], events).put(n)
}

/// Adds items as they stand, and counts them.
const ITEMS: &str = "WITH c AS ( \
       SELECT * FROM unnest($1::text[], $2::bigint[], $3::bigint[], $4::text[]) \
         AS c (operation, task, version, state)), \
     added AS ( \
       INSERT INTO operation_items (operation, task, version, state) SELECT * FROM c) \
     INSERT INTO item_counts (operation, state, slot, n) \
     SELECT operation, state, $5::smallint, count(*) FROM c \
     GROUP BY operation, state ORDER BY operation, state \
     ON CONFLICT (operation, state, slot) DO UPDATE SET n = item_counts.n + excluded.n";

/// Items that new tasks bring along.
pub(super) fn items(items: &[(OperationId, Item)], slot: i16) -> Statement {
    Statement::new(ITEMS)
        .put(each(items, |(operation, _)| operation.as_str().to_owned()))
        .put(each(items, |(_, item)| item.task.as_i64()))
        .put(each(items, |(_, item)| item.version.cast_signed()))
        .put(each(items, |(_, item)| item.state.label().to_owned()))
        .put(slot)
}

/// Ends items that are pending, and counts those that were.
const SETTLE: &str = "WITH settled AS ( \
       UPDATE operation_items AS i SET state = c.state \
       FROM unnest($1::text[], $2::bigint[], $3::text[]) AS c (operation, task, state) \
       WHERE i.operation = c.operation AND i.task = c.task AND i.state = 'pending' \
       RETURNING i.operation, i.state), \
     deltas (operation, state, n) AS ( \
       SELECT operation, 'pending', -count(*) FROM settled GROUP BY operation UNION ALL \
       SELECT operation, state, count(*) FROM settled GROUP BY operation, state) \
     INSERT INTO item_counts (operation, state, slot, n) \
     SELECT operation, state, $4::smallint, n FROM deltas ORDER BY operation, state \
     ON CONFLICT (operation, state, slot) DO UPDATE SET n = item_counts.n + excluded.n";

/// Ends items of operations; one that is settled stays as it is.
pub(in crate::postgres) fn settle(
    items: &BTreeMap<(OperationId, TaskId), ItemState>,
    slot: i16,
) -> Statement {
    let (mut operations, mut tasks, mut states) = (Vec::new(), Vec::new(), Vec::new());
    for ((operation, task), state) in items {
        operations.push(operation.as_str().to_owned());
        tasks.push(task.as_i64());
        states.push(state.label().to_owned());
    }
    Statement::new(SETTLE).put(operations).put(tasks).put(states).put(slot)
}
