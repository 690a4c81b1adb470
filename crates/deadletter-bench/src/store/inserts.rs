//! Durable inserts, by one producer and by many, against a raw log of the same records.

use super::{
    Sizes, open,
    rate::{Rate, Timing},
};
use crate::{
    line::{Line, Reach, Unit, middle},
    output::say,
    raw::{Log, Record},
    sample::Samples,
};
use anyhow::{Result, ensure};
use deadletter_core::NewTask;
use deadletter_store::{Inserted, Store};
use std::{path::Path, sync::Arc};
use tokio::task::JoinSet;

/// Producers that share the flushes.
const PRODUCERS: usize = 64;

/// The rates of one round.
struct Round {
    raw_alone: Rate,
    alone: Rate,
    raw_shared: Rate,
    shared: Rate,
}

pub(super) async fn measure(sizes: &Sizes, directory: &Path) -> Result<Vec<Line>> {
    let store: Arc<dyn Store> = open(&directory.join("inserts.db")).await?;
    let mut samples = Samples::new();
    let mut log = Log::create(&directory.join("inserts.log"))?;
    // What is measured is a store in use: its log has its length, its statements are compiled.
    from_many(&store, samples.due(sizes.shared_inserts / 10)).await?;
    let mut rounds = Vec::with_capacity(sizes.rounds);
    for n in 1..=sizes.rounds {
        let (few, many) = (samples.due(sizes.inserts), samples.due(sizes.shared_inserts));
        let round = Round {
            raw_alone: log.append_each(&records(&few)?)?,
            alone: from_one(&store, few).await?,
            raw_shared: log.append_shared(&records(&many)?, PRODUCERS).await?,
            shared: from_many(&store, many).await?,
        };
        say(&format!(
            "  round {n}: one producer {:.0}/s, raw {:.0}/s; {PRODUCERS} producers {:.0}/s, raw {:.0}/s",
            round.alone.0, round.raw_alone.0, round.shared.0, round.raw_shared.0
        ));
        rounds.push(round);
    }
    store.close().await?;
    Ok(lines(&rounds))
}

fn lines(rounds: &[Round]) -> Vec<Line> {
    let each = |of: fn(&Round) -> f64| rounds.iter().map(of).collect::<Vec<f64>>();
    let rate = |of: fn(&Round) -> Rate| {
        let rates: Vec<f64> = rounds.iter().map(|round| of(round).0).collect();
        format!("{:.0}/s", middle(&rates))
    };
    vec![
        Line::new(
            "durable insert, one producer, against an append of the record with fdatasync",
            Unit::Times,
            Reach::AtLeast(0.8),
            each(|round| round.alone.over(round.raw_alone)),
            format!("{}, raw {}", rate(|r| r.alone), rate(|r| r.raw_alone)),
        ),
        Line::new(
            "durable insert, 64 producers, against a raw log that shares its flushes",
            Unit::Times,
            Reach::AtLeast(0.5),
            each(|round| round.shared.over(round.raw_shared)),
            format!("{}, raw {}", rate(|r| r.shared), rate(|r| r.raw_shared)),
        ),
        Line::new(
            "durable insert, 64 producers, against one producer",
            Unit::Times,
            Reach::AtLeast(8.0),
            each(|round| round.shared.over(round.alone)),
            format!("{}, one {}", rate(|r| r.shared), rate(|r| r.alone)),
        ),
    ]
}

/// What the raw log appends: the same task, as a line of JSON.
fn records(tasks: &[NewTask]) -> Result<Vec<Record>> {
    let record = |new: &NewTask| {
        let mut line = serde_json::to_vec(&new.task)?;
        line.extend_from_slice(new.payload.to_stored().as_bytes());
        line.push(b'\n');
        Ok(Record::from(line))
    };
    tasks.iter().map(record).collect()
}

pub(super) async fn from_one(store: &Arc<dyn Store>, tasks: Vec<NewTask>) -> Result<Rate> {
    let timing = Timing::start(tasks.len());
    insert_each(store, tasks).await?;
    Ok(timing.end())
}

pub(super) async fn from_many(store: &Arc<dyn Store>, tasks: Vec<NewTask>) -> Result<Rate> {
    let mut shares: Vec<Vec<NewTask>> = (0..PRODUCERS).map(|_| Vec::new()).collect();
    let n = tasks.len();
    for (at, task) in tasks.into_iter().enumerate() {
        if let Some(share) = shares.get_mut(at % PRODUCERS) {
            share.push(task);
        }
    }
    let timing = Timing::start(n);
    let mut producers = JoinSet::new();
    for share in shares {
        let store = Arc::clone(store);
        producers.spawn(async move { insert_each(&store, share).await });
    }
    while let Some(ended) = producers.join_next().await {
        ended??;
    }
    Ok(timing.end())
}

/// One call per task, each answered before the next.
async fn insert_each(store: &Arc<dyn Store>, tasks: Vec<NewTask>) -> Result<()> {
    for task in tasks {
        let inserted = store.insert(vec![task]).await?;
        ensure!(matches!(inserted.as_slice(), [Inserted::New(_)]), "not new: {inserted:?}");
    }
    Ok(())
}
