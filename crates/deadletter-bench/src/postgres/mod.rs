//! The lines about the PostgreSQL store, each beside what the same server does without it.

mod inserts;
mod plain;

use crate::{
    line::Line,
    output::say,
    server::{self, Least, Server},
    store::Sizes,
};
use anyhow::Result;
use async_trait::async_trait;
use deadletter_store::{PostgresStore, Store, SystemClock};
use plain::Plain;
use std::{path::Path, sync::Arc};

/// What the table asks of it.
const LEAST: Least = Least { lives: 2_500.0, counts_ms: 50.0 };

/// What is measured, and with what.
pub(crate) struct Stand<'s> {
    /// The server, without a schema of ours.
    pub(crate) url: &'s str,
    /// The program `pgbench`.
    pub(crate) pgbench: &'s str,
    /// Where its scripts stand.
    pub(crate) directory: &'s Path,
}

#[async_trait]
impl Server for Stand<'_> {
    async fn open(&self, schema: &str) -> Result<Arc<dyn Store>> {
        let mark = if self.url.contains('?') { '&' } else { '?' };
        let url = format!("{}{mark}schema={}", self.url, schema_of(schema));
        Ok(Arc::new(PostgresStore::open(&url, Arc::new(SystemClock)).await?))
    }
}

/// A schema that no other run has.
fn schema_of(name: &str) -> String {
    format!("deadletter_bench_{}_{name}", std::process::id())
}

/// Measures all of it, and takes away what it has made.
pub(crate) async fn measure(sizes: &Sizes, stand: &Stand<'_>) -> Result<Vec<Line>> {
    let plain = Plain::of(stand);
    let measured = lines(sizes, stand, &plain).await;
    for schema in server::STORES.into_iter().chain(["inserts"]) {
        plain.run(&format!("DROP SCHEMA IF EXISTS {} CASCADE;", schema_of(schema)))?;
    }
    measured
}

async fn lines(sizes: &Sizes, stand: &Stand<'_>, plain: &Plain<'_>) -> Result<Vec<Line>> {
    say("inserts ...");
    let mut lines = vec![inserts::measure(sizes, stand, plain).await?];
    lines.push(server::lives(sizes, stand, &LEAST, |_| Ok(())).await?);
    lines.push(server::fleet(sizes, stand).await?);
    lines.extend(server::standing(sizes, stand, &LEAST).await?);
    Ok(lines)
}
