//! A walk over the tasks that a filter chooses, oldest first, page by page.

use crate::{Result, shared::Shared};
use deadletter_core::{Filter, Task, TaskId};
use deadletter_store::Query;

/// Tasks of one page, and rows looked at for it.
const PAGE: u32 = 500;
const SCAN: u32 = 5_000;

/// A walk, as far as it has come.
#[derive(Debug)]
pub(crate) struct Walk {
    filter: Filter,
    after: Option<TaskId>,
    is_over: bool,
}

impl Walk {
    pub(crate) const fn over(filter: Filter) -> Self {
        Self { filter, after: None, is_over: false }
    }

    /// Over those of them whose ids are larger.
    pub(crate) const fn behind(after: TaskId, filter: Filter) -> Self {
        Self { filter, after: Some(after), is_over: false }
    }

    /// The tasks of the next page, which may have none and not be the last; none behind the last.
    pub(crate) async fn next(&mut self, shared: &Shared) -> Result<Option<Vec<Task>>> {
        if self.is_over {
            return Ok(None);
        }
        let query = Query {
            filter: self.filter.clone(),
            now: shared.now(),
            newest_first: false,
            after: self.after,
            limit: PAGE,
            scan_limit: SCAN,
        };
        let page = shared.store.page(&query).await?;
        self.after = page.next;
        self.is_over = page.next.is_none();
        Ok(Some(page.tasks))
    }
}

/// Hands the tasks of the first `pages` pages to `take`; what lies behind them is left out.
pub(crate) async fn walk(
    shared: &Shared,
    filter: Filter,
    pages: u32,
    mut take: impl FnMut(Task),
) -> Result<()> {
    let mut walk = Walk::over(filter);
    for _ in 0..pages {
        let Some(tasks) = walk.next(shared).await? else { break };
        tasks.into_iter().for_each(&mut take);
    }
    Ok(())
}
