//! Pages by filter: rows from the narrowest index, judged by the core's own matcher.
//!
//! Each state has its place in an index, in the order of ids. A page over several states walks
//! each as far as the page could reach, and merges: [`ROWS`] rows at a time, until the page is full
//! or enough were looked at.

use super::{PostgresStore, nul, statement::Statement, tasks::task_row};
use crate::{Page, Query, Result};
use deadletter_core::{StateKind, TaskId, filter::Range};

/// Rows that are fetched at once: enough for most pages, and few enough not to hold up others.
const ROWS: u32 = 512;

impl PostgresStore {
    /// A page, as the contract of `Desk::page` says.
    pub(super) async fn page_of(&self, query: &Query) -> Result<Page> {
        let mut page = Page::default();
        if query.limit == 0 {
            return Ok(page);
        }
        let range = query.filter.range();
        // A page that may look at nothing would never come to its end.
        let mut left = query.scan_limit.max(1);
        let mut after = query.after;
        loop {
            // One more than may be looked at tells whether there is a next page.
            let rows = left.saturating_add(1).min(ROWS);
            let Some(walk) = walk(&range, query, after, rows) else { return Ok(page) };
            let found = self.rows("get a page", walk, task_row::read).await?;
            let is_last = found.len() < usize::try_from(rows).unwrap_or(usize::MAX);
            for task in found {
                if page.tasks.len() == usize::try_from(query.limit).unwrap_or(usize::MAX)
                    || left == 0
                {
                    page.next = after;
                    return Ok(page);
                }
                (after, left) = (Some(task.id), left - 1);
                page.tasks.extend(Some(task).filter(|task| query.filter.matches(task, query.now)));
            }
            if is_last {
                return Ok(page);
            }
        }
    }
}

/// The narrowest walk over a range; none where the range is empty.
fn walk(range: &Range, query: &Query, after: Option<TaskId>, rows: u32) -> Option<Statement> {
    let order = if query.newest_first { Order::DOWN } else { Order::UP };
    let from = after.map_or(order.from, TaskId::as_i64);
    let page = |sql: String| Statement::new(sql).put(from).put(i64::from(rows));
    if let Some(ids) = &range.ids {
        let ids: Vec<i64> = ids.iter().map(|id| id.as_i64()).collect();
        return Some(page(order.select("id = ANY($3)")).put(ids));
    }
    if let Some(batch) = &range.batch {
        return Some(page(order.select("batch = $3")).put(nul::escaped(batch)));
    }
    if range.states.is_none() && range.cause.is_none() && range.sitekey.is_none() {
        return Some(page(order.select("true")));
    }
    let is_wanted =
        |state: &&StateKind| range.states.as_ref().is_none_or(|states| states.contains(state));
    let states: Vec<StateKind> = StateKind::ALL.iter().filter(is_wanted).copied().collect();
    let parts: Vec<String> =
        states.iter().map(|state| format!("({})", order.select(&place(*state, range)))).collect();
    if parts.is_empty() {
        return None;
    }
    let (parts, word) = (parts.join(" UNION ALL "), order.word);
    let sql = format!("SELECT * FROM ({parts}) AS tasks ORDER BY id {word} LIMIT $2");
    // Both are named in every part, so that their numbers are the same in each.
    let cause = range.cause.as_ref().map(|cause| cause.as_str().to_owned());
    Some(page(sql).put(cause).put(range.sitekey.as_deref().map(nul::escaped)))
}

/// Where the tasks of one state stand in the order of ids, narrowed as far as an index can.
fn place(state: StateKind, range: &Range) -> String {
    let label = state.label();
    match state {
        // Few at any time, and found by worker: these alone are sorted.
        StateKind::Submitting | StateKind::Polling => {
            format!("attempt IS NOT NULL AND state = '{label}'")
        }
        StateKind::Dead | StateKind::Buried if range.cause.is_some() || range.sitekey.is_some() => {
            let cause = if range.cause.is_some() { " AND cause = $3" } else { "" };
            let sitekey = if range.sitekey.is_some() { " AND sitekey = $4" } else { "" };
            format!("at_rest = '{label}'{cause}{sitekey}")
        }
        _ => format!("idle = '{label}'"),
    }
}

/// The order of ids, one way or the other.
struct Order {
    compare: &'static str,
    word: &'static str,
    from: i64,
}

impl Order {
    const UP: Self = Self { compare: ">", word: "ASC", from: -1 };
    const DOWN: Self = Self { compare: "<", word: "DESC", from: i64::MAX };

    fn select(&self, place: &str) -> String {
        let Self { compare, word, .. } = self;
        let columns = task_row::COLUMNS;
        format!(
            "SELECT {columns} FROM tasks WHERE {place} AND id {compare} $1 ORDER BY id {word} LIMIT $2"
        )
    }
}
