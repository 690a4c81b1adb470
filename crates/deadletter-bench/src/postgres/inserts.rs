//! Durable inserts in batches, against plain ones of the same rows.

use super::{Plain, Stand};
use crate::{
    line::{Line, Reach, Unit, middle},
    output::say,
    sample::Samples,
    server::Server as _,
    store::{Sizes, rate::Timing},
};
use anyhow::{Result, ensure};
use deadletter_core::NewTask;
use deadletter_store::{Inserted, Store};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::task::JoinSet;

/// Tasks of one call.
const BATCH: usize = 64;
/// Callers at once: a gateway and its neighbour, each with one batch under way and one in hand.
const CALLERS: usize = 4;
/// Plain inserts go on for so long, in seconds: as ours do, in which a checkpoint may fall too.
const PLAIN_S: u32 = 4;

pub(super) async fn measure(sizes: &Sizes, stand: &Stand<'_>, plain: &Plain<'_>) -> Result<Line> {
    let store = stand.open("inserts").await?;
    plain.make_tables()?;
    let mut samples = Samples::new();
    insert(&store, samples.due(sizes.shared_inserts / 10)).await?;
    let seconds = if sizes.shared_inserts < 1_000 { 1 } else { PLAIN_S };
    let (mut ratios, mut ours, mut theirs) = (Vec::new(), Vec::new(), Vec::new());
    for n in 1..=sizes.rounds {
        let rate = insert(&store, samples.due(sizes.shared_inserts)).await?;
        let plain = plain.insert(seconds)?;
        say(&format!("  round {n}: {rate:.0}/s, plain {plain:.0}/s"));
        ratios.push(rate / plain);
        ours.push(rate);
        theirs.push(plain);
    }
    store.close().await?;
    let work = "durable insert in batches of 64, against plain INSERT by pgbench with 32 clients";
    let note = format!("{:.0}/s, plain {:.0}/s", middle(&ours), middle(&theirs));
    Ok(Line::new(work, Unit::Times, Reach::AtLeast(1.5), ratios, note))
}

/// Inserts all of `tasks`; answers how many a second.
async fn insert(store: &Arc<dyn Store>, tasks: Vec<NewTask>) -> Result<f64> {
    let timing = Timing::start(tasks.len());
    // Guards the tasks that nobody has taken yet.
    let left = Arc::new(Mutex::new(tasks));
    let mut callers = JoinSet::new();
    for _ in 0..CALLERS {
        let (store, left) = (Arc::clone(store), Arc::clone(&left));
        callers.spawn(async move {
            loop {
                let batch = take(&left);
                if batch.is_empty() {
                    return Ok(());
                }
                let inserted = store.insert(batch).await?;
                ensure!(inserted.iter().all(|one| matches!(one, Inserted::New(_))), "not new");
            }
        });
    }
    while let Some(ended) = callers.join_next().await {
        ended??;
    }
    Ok(timing.end().0)
}

fn take(left: &Mutex<Vec<NewTask>>) -> Vec<NewTask> {
    let mut left = left.lock().unwrap_or_else(PoisonError::into_inner);
    let behind = left.len().saturating_sub(BATCH);
    left.split_off(behind)
}
