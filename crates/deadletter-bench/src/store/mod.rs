//! The lines about the store, each beside what the disk does in the same round.

mod article;
mod inserts;
mod killed;
pub(crate) mod life;
pub(crate) mod rate;
pub(crate) mod standing;

use crate::{line::Line, output::say};
use anyhow::Result;
use deadletter_store::{SqliteStore, SystemClock};
use std::{path::Path, sync::Arc};

/// How much of everything.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sizes {
    /// Rounds, of which the median counts.
    pub(crate) rounds: usize,
    /// Durable inserts by one producer, per round.
    inserts: usize,
    /// Durable inserts by 64 producers, per round.
    pub(crate) shared_inserts: usize,
    /// Life cycles per round.
    pub(crate) lives: usize,
    /// Dead letters that stand.
    pub(crate) dead: usize,
    /// Looks at the store with the dead, of which the median counts.
    looks: usize,
    /// Kills under load, after each of which the store is opened.
    kills: usize,
    /// What a killed process says before.
    words: usize,
    /// Pushes into a queue of dead letters.
    pushes: usize,
}

/// What the table is about. A round takes some seconds, so that it sees more than one checkpoint.
pub(crate) const FULL: Sizes = Sizes {
    rounds: 7,
    inserts: 1_500,
    shared_inserts: 30_000,
    lives: 20_000,
    dead: 1_000_000,
    looks: 51,
    kills: 5,
    words: 40,
    pushes: 5_000,
};

/// Only shows that it runs.
pub(crate) const QUICK: Sizes = Sizes {
    rounds: 2,
    inserts: 20,
    shared_inserts: 200,
    lives: 300,
    dead: 2_000,
    looks: 3,
    kills: 1,
    words: 1,
    pushes: 200,
};

/// Measures the parts whose name contains `only`.
pub(crate) async fn measure(sizes: &Sizes, directory: &Path, only: &str) -> Result<Vec<Line>> {
    let mut lines = Vec::new();
    if "inserts".contains(only) {
        say("inserts ...");
        lines.extend(inserts::measure(sizes, directory).await?);
    }
    if "life".contains(only) {
        settle().await?;
        say("life cycles ...");
        lines.extend(life::measure(sizes, directory).await?);
    }
    if "standing".contains(only) {
        settle().await?;
        say("beside the dead ...");
        lines.extend(standing::measure(sizes, directory).await?);
    }
    if "article".contains(only) {
        settle().await?;
        say("the article's queue ...");
        lines.extend(article::measure(sizes, directory).await?);
    }
    Ok(lines)
}

/// Waits until the disk has what the part before has left to be written: a million dead letters
/// would else slow every flush of the next one.
async fn settle() -> Result<()> {
    Ok(tokio::task::spawn_blocking(rustix::fs::sync).await?)
}

/// Lets tasks live in the store at `path` until this process is killed.
pub(crate) async fn churn(path: &Path) -> Result<()> {
    life::churn(path, CHURN).await
}

/// Lives after which a process that waits for its end says that it still lives.
const CHURN: usize = 500;

async fn open(path: &Path) -> Result<Arc<SqliteStore>> {
    Ok(Arc::new(SqliteStore::open(path, Arc::new(SystemClock)).await?))
}
