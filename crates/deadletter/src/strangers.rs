//! Tells of tasks that wait for an account which this engine was not given.
//!
//! Nobody here claims them, and nobody here ends their deadlines: without a word they would wait
//! for ever. Another process may have the account, so they are left alone.

use crate::{Result, notice::Notice, shared::Shared, walk::walk};
use deadletter_core::{AccountName, Filter};
use std::collections::BTreeMap;

/// Beats between two looks: one per ten minutes. A look walks over what is queued.
pub(crate) const EVERY: u64 = 300;
/// Pages of one look: what lies behind them is not counted.
const PAGES: u32 = 20;

/// Counts them by account, and tells.
pub(crate) async fn tell(shared: &Shared) -> Result<()> {
    for (account, tasks) in count(shared).await? {
        tracing::warn!(%account, tasks, "tasks wait for an account that is not configured here");
        shared.notify(Notice::NotConfigured { account, tasks });
    }
    Ok(())
}

async fn count(shared: &Shared) -> Result<BTreeMap<AccountName, u64>> {
    let known = shared.accounts.keys().map(|name| format!(" -account:{name}"));
    let filter: Filter = format!("state:queued{}", known.collect::<String>()).parse()?;
    let mut strangers = BTreeMap::new();
    walk(shared, filter, PAGES, |task| *strangers.entry(task.account).or_default() += 1).await?;
    Ok(strangers)
}
