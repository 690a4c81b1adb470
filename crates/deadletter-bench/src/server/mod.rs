//! The lines that every store on a server has: lives, a fleet, what the dead cost.

mod fleet;

use crate::{
    line::{Line, Reach, Unit},
    output::say,
    sample::{Samples, worker},
    store::{
        Sizes, life,
        standing::{Side, beside, counts},
    },
};
use anyhow::{Result, ensure};
use async_trait::async_trait;
use deadletter_store::Store;
use std::sync::Arc;

/// Where stores are opened.
#[async_trait]
pub(crate) trait Server: Sync {
    /// A store of this run, by its name; the same one for the same name.
    async fn open(&self, name: &str) -> Result<Arc<dyn Store>>;
}

/// What the table asks of a server.
pub(crate) struct Least {
    /// Life cycles a second.
    pub(crate) lives: f64,
    /// The time that counts may take.
    pub(crate) counts_ms: f64,
}

/// The stores that these lines open.
pub(crate) const STORES: [&str; 4] = ["life", "full", "empty", "fleet"];

/// The work of the line about lives.
const LIVES: &str = "full life cycle (insert, claim with intent, accepted, solved), 256 in flight";

/// How many lives a second; `meanwhile` hears of each round.
pub(crate) async fn lives(
    sizes: &Sizes,
    server: &dyn Server,
    least: &Least,
    mut meanwhile: impl FnMut(f64) -> Result<()>,
) -> Result<Line> {
    say("life cycles ...");
    let store = server.open("life").await?;
    store.register(&worker(), "bench").await?;
    let mut samples = Samples::new();
    let mut lived = life::live(&store, &worker(), samples.due(sizes.lives / 10), 0).await?.1;
    let mut rates = Vec::with_capacity(sizes.rounds);
    for n in 1..=sizes.rounds {
        let (rate, more) = life::live(&store, &worker(), samples.due(sizes.lives), lived).await?;
        lived += more;
        say(&format!("  round {n}: {rate:.0} lives/s"));
        meanwhile(rate)?;
        rates.push(rate);
    }
    let totals = store.totals().await?;
    ensure!(totals.solved == i64::try_from(lived)?, "{lived} lived, and {totals:?}");
    store.close().await?;
    let note = "each step a call of its own".to_owned();
    Ok(Line::new(LIVES, Unit::PerSecond, Reach::AtLeast(least.lives), rates, note))
}

pub(crate) async fn fleet(sizes: &Sizes, server: &dyn Server) -> Result<Line> {
    say("two workers ...");
    fleet::measure(sizes, server).await
}

/// What the dead cost those who work beside them, and how long it takes to count them.
pub(crate) async fn standing(
    sizes: &Sizes,
    server: &dyn Server,
    least: &Least,
) -> Result<Vec<Line>> {
    say("beside the dead ...");
    let mut full = Side::of(server.open("full").await?).await?;
    let mut empty = Side::of(server.open("empty").await?).await?;
    full.fill(sizes.dead).await?;
    let mut lines = beside(sizes, &mut full, &mut empty).await?;
    lines.extend(counts(sizes, &full, least.counts_ms).await?);
    Ok(lines)
}
