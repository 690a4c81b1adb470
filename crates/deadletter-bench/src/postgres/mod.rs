//! The lines about the PostgreSQL store, each beside what the same server does without it.

mod fleet;
mod inserts;
mod plain;

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
use deadletter_store::{PostgresStore, Store, SystemClock};
use plain::Plain;
use std::{path::Path, sync::Arc};

/// What is measured, and with what.
pub(crate) struct Stand<'s> {
    /// The server, without a schema of ours.
    pub(crate) url: &'s str,
    /// The program `pgbench`.
    pub(crate) pgbench: &'s str,
    /// Where its scripts stand.
    pub(crate) directory: &'s Path,
}

impl Stand<'_> {
    /// A store of its own on the server.
    async fn open(&self, schema: &str) -> Result<Arc<PostgresStore>> {
        let mark = if self.url.contains('?') { '&' } else { '?' };
        let url = format!("{}{mark}schema={}", self.url, schema_of(schema));
        Ok(Arc::new(PostgresStore::open(&url, Arc::new(SystemClock)).await?))
    }
}

/// A schema that no other run has.
fn schema_of(name: &str) -> String {
    format!("deadletter_bench_{}_{name}", std::process::id())
}

/// The schemas of a run.
const SCHEMAS: [&str; 5] = ["inserts", "life", "full", "empty", "fleet"];

/// Measures all of it, and takes away what it has made.
pub(crate) async fn measure(sizes: &Sizes, stand: &Stand<'_>) -> Result<Vec<Line>> {
    let plain = Plain::of(stand);
    let measured = lines(sizes, stand, &plain).await;
    for schema in SCHEMAS {
        plain.run(&format!("DROP SCHEMA IF EXISTS {} CASCADE;", schema_of(schema)))?;
    }
    measured
}

async fn lines(sizes: &Sizes, stand: &Stand<'_>, plain: &Plain<'_>) -> Result<Vec<Line>> {
    say("inserts ...");
    let mut lines = vec![inserts::measure(sizes, stand, plain).await?];
    say("life cycles ...");
    lines.push(lives(sizes, stand).await?);
    say("two workers ...");
    lines.push(fleet::measure(sizes, stand).await?);
    say("beside the dead ...");
    lines.extend(standing(sizes, stand).await?);
    Ok(lines)
}

async fn lives(sizes: &Sizes, stand: &Stand<'_>) -> Result<Line> {
    let store: Arc<dyn Store> = stand.open("life").await?;
    store.register(&worker(), "bench").await?;
    let mut samples = Samples::new();
    let mut lived = life::live(&store, &worker(), samples.due(sizes.lives / 10), 0).await?.1;
    let mut rates = Vec::with_capacity(sizes.rounds);
    for n in 1..=sizes.rounds {
        let (rate, more) = life::live(&store, &worker(), samples.due(sizes.lives), lived).await?;
        lived += more;
        say(&format!("  round {n}: {rate:.0} lives/s"));
        rates.push(rate);
    }
    let totals = store.totals().await?;
    ensure!(totals.solved == i64::try_from(lived)?, "{lived} lived, and {totals:?}");
    store.close().await?;
    let work = "full life cycle (insert, claim with intent, accepted, solved), 256 in flight";
    let note = "each step a call of its own".to_owned();
    Ok(Line::new(work, Unit::PerSecond, Reach::AtLeast(2_500.0), rates, note))
}

/// What the dead cost those who work beside them, and how long it takes to count them.
async fn standing(sizes: &Sizes, stand: &Stand<'_>) -> Result<Vec<Line>> {
    let mut full = Side::of(stand.open("full").await?).await?;
    let mut empty = Side::of(stand.open("empty").await?).await?;
    full.fill(sizes.dead).await?;
    let mut lines = beside(sizes, &mut full, &mut empty).await?;
    lines.extend(counts(sizes, &full, 50.0).await?);
    Ok(lines)
}
