//! The lines about the Redis store, each beside what the same server does without it.

mod bullmq;

use crate::{
    line::{Line, Reach, Unit, middle},
    output::say,
    server::{self, Least, Server},
    store::Sizes,
};
use anyhow::Result;
use async_trait::async_trait;
use bullmq::BullMq;
use deadletter_store::{RedisStore, Store, SystemClock};
use std::{path::Path, sync::Arc};

/// What the table asks of it.
const LEAST: Least = Least { lives: 8_000.0, counts_ms: 20.0 };

/// What is measured, and with what.
pub(crate) struct Stand<'s> {
    /// The server.
    pub(crate) url: &'s str,
    /// Where BullMQ is installed.
    pub(crate) directory: &'s Path,
}

#[async_trait]
impl Server for Stand<'_> {
    async fn open(&self, name: &str) -> Result<Arc<dyn Store>> {
        Ok(Arc::new(RedisStore::open(&self.url_of(name), Arc::new(SystemClock)).await?))
    }
}

impl Stand<'_> {
    fn url_of(&self, name: &str) -> String {
        let mark = if self.url.contains('?') { '&' } else { '?' };
        format!("{}{mark}prefix={}", self.url, prefix_of(name))
    }
}

/// A prefix that no other run has.
fn prefix_of(name: &str) -> String {
    format!("deadletter-bench-{}-{name}", std::process::id())
}

/// Measures the parts whose name contains `only`, and takes away what it has made.
pub(crate) async fn measure(sizes: &Sizes, stand: &Stand<'_>, only: &str) -> Result<Vec<Line>> {
    say("BullMQ is installed ...");
    let bullmq = BullMq::install(stand.directory)?;
    let measured = lines(sizes, stand, &bullmq, only).await;
    for name in server::STORES {
        bullmq.erase(stand.url, &format!("{{{}}}:", prefix_of(name)))?;
    }
    measured
}

async fn lines(sizes: &Sizes, stand: &Stand<'_>, bullmq: &BullMq, only: &str) -> Result<Vec<Line>> {
    let mut lines = Vec::new();
    if "lives".contains(only) {
        lines.extend(lives(sizes, stand, bullmq).await?);
    }
    if "fleet".contains(only) {
        lines.push(server::fleet(sizes, stand).await?);
    }
    if "standing".contains(only) {
        lines.extend(server::standing(sizes, stand, &LEAST).await?);
    }
    Ok(lines)
}

/// Lives, and as many jobs of BullMQ's after each round.
async fn lives(sizes: &Sizes, stand: &Stand<'_>, bullmq: &BullMq) -> Result<Vec<Line>> {
    let (mut ratios, mut theirs) = (Vec::new(), Vec::new());
    let meanwhile = |ours: f64| {
        let queue = format!("{}-{}", prefix_of("bullmq"), theirs.len());
        let rate = bullmq.live(stand.url, &queue, sizes.lives)?;
        say(&format!("           {rate:.0} jobs/s by BullMQ"));
        ratios.push(ours / rate);
        theirs.push(rate);
        Ok(())
    };
    let line = server::lives(sizes, stand, &LEAST, meanwhile).await?;
    let work = "those lives, against add + work + acknowledge of BullMQ, 256 in flight";
    let note =
        format!("BullMQ {:.0}/s, with the worker's setting that serves it best", middle(&theirs));
    Ok(vec![line, Line::new(work, Unit::Times, Reach::AtLeast(2.0), ratios, note)])
}
