//! Pages by filter: ids from the narrowest sets, rows judged by the core's own matcher.
//!
//! Each state has its set, in the order of ids; the dead and the buried have one for each cause and
//! site key as well. A page over several sets walks each as far as the page could reach, and merges.

use super::{failure::Outcome, keys::Keys, server::Call, tasks::row};
use crate::{Page, Query};
use deadletter_core::{StateKind, TaskId, filter::Range};
use redis::Cmd;
use std::collections::BTreeSet;

/// Rows that are fetched at once: enough for most pages, and few enough not to hold up others.
const ROWS: u32 = 512;

/// A page, as the contract of `Desk::page` says.
pub(super) async fn page(call: &Call, query: &Query) -> Outcome<Page> {
    let mut page = Page::default();
    if query.limit == 0 {
        return Ok(page);
    }
    let walk = Walk::over(call, query).await?;
    // A page that may look at nothing would never come to its end.
    let mut left = query.scan_limit.max(1);
    let mut after = query.after;
    // At first as many as would fill the page, if all of them are chosen.
    let mut rows = query.limit.saturating_add(1).min(ROWS);
    loop {
        // One more than may be looked at tells whether there is a next page.
        rows = left.saturating_add(1).min(rows);
        let ids = walk.ids(call, after, rows).await?;
        let is_last = ids.len() < usize::try_from(rows).unwrap_or(usize::MAX);
        for (id, task) in ids.iter().zip(row::rows(call, &ids).await?) {
            if page.tasks.len() == usize::try_from(query.limit).unwrap_or(usize::MAX) || left == 0 {
                page.next = after;
                return Ok(page);
            }
            (after, left) = (Some(*id), left - 1);
            page.tasks.extend(task.filter(|task| query.filter.matches(task, query.now)));
        }
        if is_last {
            return Ok(page);
        }
        rows = ROWS;
    }
}

/// Where the ids of a page come from.
struct Walk {
    from: From,
    newest_first: bool,
}

enum From {
    /// Those that the filter names, in rising order.
    Named(Vec<TaskId>),
    /// Sets that together hold every task of the range.
    Sets(BTreeSet<String>),
}

impl Walk {
    async fn over(call: &Call, query: &Query) -> Outcome<Self> {
        let range = query.filter.range();
        let newest_first = query.newest_first;
        let keys = call.keys();
        if let Some(ids) = range.ids {
            return Ok(Self { from: From::Named(ids), newest_first });
        }
        if let Some(batch) = &range.batch {
            return Ok(Self { from: From::Sets([keys.batch(batch)].into()), newest_first });
        }
        let mut sets = BTreeSet::new();
        for state in StateKind::ALL {
            if range.states.as_ref().is_none_or(|states| states.contains(state)) {
                sets.insert(narrowest(call, *state, &range).await?);
            }
        }
        Ok(Self { from: From::Sets(sets), newest_first })
    }

    /// The next ids behind one, at most `rows`.
    async fn ids(&self, call: &Call, after: Option<TaskId>, rows: u32) -> Outcome<Vec<TaskId>> {
        let mut ids: Vec<TaskId> = match &self.from {
            From::Named(ids) => {
                let is_behind = |id: &&TaskId| match after {
                    Some(after) if self.newest_first => **id < after,
                    Some(after) => **id > after,
                    None => true,
                };
                ids.iter().filter(is_behind).copied().collect()
            }
            From::Sets(sets) => {
                let found = sets.iter().map(|set| self.step(set, after, rows));
                let found: Vec<Vec<u64>> = call.ask(found).await?;
                // No set holds anything but ids.
                found.into_iter().flatten().filter_map(|id| TaskId::try_from(id).ok()).collect()
            }
        };
        ids.sort_unstable();
        ids.dedup();
        if self.newest_first {
            ids.reverse();
        }
        ids.truncate(usize::try_from(rows).unwrap_or(usize::MAX));
        Ok(ids)
    }

    fn step(&self, set: &str, after: Option<TaskId>, rows: u32) -> Cmd {
        let rows = isize::try_from(rows).unwrap_or(isize::MAX);
        let from = after.map(|id| format!("({id}"));
        match (self.newest_first, from) {
            (true, from) => {
                let from = from.unwrap_or_else(|| "+inf".to_owned());
                Cmd::zrevrangebyscore_limit(set, from, "-inf", 0, rows)
            }
            (false, from) => {
                let from = from.unwrap_or_else(|| "-inf".to_owned());
                Cmd::zrangebyscore_limit(set, from, "+inf", 0, rows)
            }
        }
    }
}

/// The smallest set that holds every task of the range in one state.
async fn narrowest(call: &Call, state: StateKind, range: &Range) -> Outcome<String> {
    let keys: &Keys = call.keys();
    if !matches!(state, StateKind::Dead | StateKind::Buried) {
        return Ok(keys.state(state));
    }
    let by_cause = range.cause.as_ref().map(|cause| keys.cause(state, cause));
    let by_sitekey = range.sitekey.as_ref().map(|sitekey| keys.sitekey(state, sitekey));
    match (by_cause, by_sitekey) {
        (Some(by_cause), Some(by_sitekey)) => {
            let sizes = call.ask([Cmd::zcard(&by_cause), Cmd::zcard(&by_sitekey)]).await?;
            let (of_cause, of_sitekey): (u64, u64) = sizes;
            Ok(if of_cause < of_sitekey { by_cause } else { by_sitekey })
        }
        (by_cause, by_sitekey) => Ok(by_cause.or(by_sitekey).unwrap_or_else(|| keys.state(state))),
    }
}
