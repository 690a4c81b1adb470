//! Pages by filter: ids from the narrowest index, rows judged by the core's own matcher.
//!
//! Each state has its index, so a page over several states is a merge of ordered walks; SQLite does
//! the merging (`UNION ALL` under one `ORDER BY`) without sorting.

use super::{columns::Columns, failure::Outcome, task_row};
use crate::{Page, Query};
use deadletter_core::{AccountName, StateKind, Task, TaskId, UnixMs, filter::Range};
use rusqlite::{Connection, OptionalExtension, params_from_iter, types::Value};
use std::sync::LazyLock;

pub(super) static GET: LazyLock<String> =
    LazyLock::new(|| format!("SELECT {} FROM tasks WHERE id = ?", task_row::COLUMNS));

pub(super) static OVERDUE: LazyLock<String> = LazyLock::new(|| {
    format!(
        "SELECT {} FROM tasks INDEXED BY tasks_deadline \
         WHERE due_at IS NOT NULL AND deadline_at IS NOT NULL \
         AND account = ? AND deadline_at <= ? \
         ORDER BY deadline_at, id LIMIT ?",
        task_row::COLUMNS
    )
});

/// One task by id.
pub(super) fn get(conn: &Connection, id: TaskId) -> Outcome<Option<Task>> {
    let mut statement = conn.prepare_cached(&GET)?;
    Ok(statement.query_row([id.as_i64()], task_row::read).optional()?)
}

/// A page, as the contract of `Desk::page` says.
pub(super) fn page(conn: &Connection, query: &Query) -> Outcome<Page> {
    if query.limit == 0 {
        return Ok(Page::default());
    }
    let range = query.filter.range();
    if let Some(ids) = &range.ids {
        return judge(conn, query, in_order(ids, query).into_iter().map(Ok));
    }
    let Some(walk) = Walk::of(&range, query) else { return Ok(Page::default()) };
    let mut statement = conn.prepare_cached(&walk.sql)?;
    let ids = statement
        .query_map(params_from_iter(walk.params), |row| Columns::of(row).number::<TaskId>())?;
    judge(conn, query, ids)
}

/// Looks at rows until the page is full or enough were looked at.
fn judge(
    conn: &Connection,
    query: &Query,
    ids: impl Iterator<Item = rusqlite::Result<TaskId>>,
) -> Outcome<Page> {
    let limit = usize::try_from(query.limit).unwrap_or(usize::MAX);
    let mut page = Page::default();
    let mut last = None;
    for (looked_at, id) in ids.enumerate() {
        if page.tasks.len() == limit || looked_at == scan_limit(query) {
            page.next = last;
            break;
        }
        let id = id?;
        last = Some(id);
        let task = get(conn, id)?;
        page.tasks.extend(task.filter(|task| query.filter.matches(task, query.now)));
    }
    Ok(page)
}

/// A page that may look at nothing would never come to its end.
fn scan_limit(query: &Query) -> usize {
    usize::try_from(query.scan_limit.max(1)).unwrap_or(usize::MAX)
}

fn in_order(ids: &[TaskId], query: &Query) -> Vec<TaskId> {
    let is_after = |id: &TaskId| match query.after {
        Some(after) if query.newest_first => *id < after,
        Some(after) => *id > after,
        None => true,
    };
    let mut ids: Vec<TaskId> = ids.iter().copied().filter(is_after).collect();
    ids.sort_unstable();
    ids.dedup();
    if query.newest_first {
        ids.reverse();
    }
    ids
}

/// A walk over indexes in the order of ids.
pub(super) struct Walk {
    pub(super) sql: String,
    pub(super) params: Vec<Value>,
}

impl Walk {
    /// The narrowest walk over a range; none where the range is empty.
    pub(super) fn of(range: &Range, query: &Query) -> Option<Self> {
        let (after, order) = match query.newest_first {
            true => ("id < ?", "DESC"),
            false => ("id > ?", "ASC"),
        };
        let from = match query.after {
            Some(id) => id.as_i64(),
            None if query.newest_first => i64::MAX,
            None => -1,
        };
        let mut walk = Self { sql: String::new(), params: Vec::new() };
        if let Some(batch) = &range.batch {
            let place = "tasks INDEXED BY tasks_batch WHERE batch = ?";
            walk.add(place, vec![batch.clone().into()], after, from);
        } else if range.states.is_none() && range.cause.is_none() && range.sitekey.is_none() {
            walk.add("tasks WHERE true", Vec::new(), after, from);
        } else {
            for state in StateKind::ALL {
                if range.states.as_ref().is_none_or(|states| states.contains(state)) {
                    let (place, params) = of_state(*state, range);
                    walk.add(&place, params, after, from);
                }
            }
        }
        let limit = i64::try_from(scan_limit(query)).unwrap_or(i64::MAX).saturating_add(1);
        walk.sql.push_str(&format!(" ORDER BY id {order} LIMIT ?"));
        walk.params.push(limit.into());
        (walk.params.len() > 1).then_some(walk)
    }

    fn add(&mut self, place: &str, params: Vec<Value>, after: &str, from: i64) {
        if !self.sql.is_empty() {
            self.sql.push_str(" UNION ALL ");
        }
        self.sql.push_str(&format!("SELECT id FROM {place} AND {after}"));
        self.params.extend(params);
        self.params.push(from.into());
    }
}

/// Where the tasks of one state stand in the order of ids, narrowed as far as an index can.
///
/// The conditions of the partial indexes are repeated word by word: SQLite wants to see them.
fn of_state(state: StateKind, range: &Range) -> (String, Vec<Value>) {
    let label = state.label();
    match state {
        // Few at any time, and found by worker: these alone are sorted.
        StateKind::Submitting | StateKind::Polling => {
            let place = format!(
                "tasks INDEXED BY tasks_live WHERE attempt IS NOT NULL AND state = '{label}'"
            );
            (place, Vec::new())
        }
        StateKind::Dead | StateKind::Buried if range.cause.is_some() || range.sitekey.is_some() => {
            of_dead(label, range)
        }
        _ => {
            let place =
                format!("tasks INDEXED BY tasks_state WHERE attempt IS NULL AND state = '{label}'");
            (place, Vec::new())
        }
    }
}

fn of_dead(label: &str, range: &Range) -> (String, Vec<Value>) {
    let cause = range.cause.as_ref().map(|cause| Value::from(cause.as_str().to_owned()));
    let sitekey = range.sitekey.clone().map(Value::from);
    let (index, terms) = match (&cause, &sitekey) {
        (Some(_), Some(_)) => ("tasks_dead_both", " AND cause = ? AND sitekey = ?"),
        (Some(_), None) => ("tasks_dead_cause", " AND cause = ?"),
        _ => ("tasks_dead_sitekey", " AND sitekey = ?"),
    };
    let place = format!(
        "tasks INDEXED BY {index} WHERE at_rest IS NOT NULL AND at_rest = '{label}'{terms}"
    );
    (place, cause.into_iter().chain(sitekey).collect())
}

/// Queued tasks of an account whose deadline has passed, oldest deadline first.
pub(super) fn overdue(
    conn: &Connection,
    account: &AccountName,
    now: UnixMs,
    limit: u32,
) -> Outcome<Vec<Task>> {
    let mut statement = conn.prepare_cached(&OVERDUE)?;
    let rows = statement.query_map((account.as_str(), now.0, limit), task_row::read)?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}
