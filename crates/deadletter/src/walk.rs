//! A walk over the tasks that a filter chooses, oldest first, page by page and not for ever.

use crate::{Result, shared::Shared};
use deadletter_core::{Filter, Task};
use deadletter_store::Query;

/// Tasks of one page, and rows looked at for it.
const PAGE: u32 = 500;
const SCAN: u32 = 5_000;

/// Hands the tasks of the first `pages` pages to `take`; what lies behind them is left out.
pub(crate) async fn walk(
    shared: &Shared,
    filter: &Filter,
    pages: u32,
    mut take: impl FnMut(Task),
) -> Result<()> {
    let mut after = None;
    for _ in 0..pages {
        let query = Query {
            filter: filter.clone(),
            now: shared.now(),
            newest_first: false,
            after,
            limit: PAGE,
            scan_limit: SCAN,
        };
        let page = shared.store.page(&query).await?;
        page.tasks.into_iter().for_each(&mut take);
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    Ok(())
}
