//! Against the dead-letter queue of CaptchaAI's article: a JSON file that each push rewrites.
//!
//! The queue here does the same in Rust, which is kind to it: the same text is made and written in
//! less time than by Node. It flushes nothing and keeps five fields; ours keeps the whole task with
//! its request and its attempt, durably, for the tasks of 64 producers that die side by side.

use super::{
    Sizes,
    inserts::{from_many, from_one},
    open,
    rate::{Rate, Timing},
};
use crate::{
    line::{Line, Reach, Unit, middle},
    output::say,
    sample::Samples,
};
use anyhow::Result;
use deadletter_core::NewTask;
use deadletter_store::Store;
use serde_json::{Value, json};
use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

/// Parts of the pushes: the first is compared with the last.
const PARTS: usize = 5;
/// Rounds; the file's take long.
const ROUNDS: usize = 3;

pub(super) async fn measure(sizes: &Sizes, directory: &Path) -> Result<Vec<Line>> {
    let (mut ratios, mut growths) = (Vec::new(), Vec::new());
    let (mut files, mut ours, mut alone) = (Vec::new(), Vec::new(), Vec::new());
    let mut file_growths = Vec::new();
    for n in 1..=ROUNDS.min(sizes.rounds) {
        let file = push_into_file(&directory.join(format!("{n}.json")), sizes.pushes)?;
        let store: Arc<dyn Store> = open(&directory.join(format!("article-{n}.db"))).await?;
        let mut samples = Samples::new();
        // A store in use: its log has its length.
        from_many(&store, samples.due(sizes.pushes / PARTS)).await?;
        let mut parts = Vec::with_capacity(PARTS);
        for _ in 0..PARTS {
            parts.push(from_many(&store, samples.dead(sizes.pushes / PARTS)).await?);
        }
        alone.push(from_one(&store, samples.dead(sizes.pushes / PARTS)).await?.0);
        store.close().await?;
        let (whole, file_whole) = (together(&parts), together(&file));
        say(&format!("  round {n}: {:.0}/s, the file {:.0}/s", whole.0, file_whole.0));
        ratios.push(whole.over(file_whole));
        growths.push(growth(&parts));
        file_growths.push(growth(&file));
        files.push(file_whole.0);
        ours.push(whole.0);
    }
    let note = format!(
        "{:.0}/s, one by one {:.0}/s, the file {:.0}/s (without a flush)",
        middle(&ours),
        middle(&alone),
        middle(&files)
    );
    let grows = format!("the file: {}", Unit::Times.show(middle(&file_growths)));
    Ok(vec![
        Line::new(
            "pushes of dead letters, against the article's file queue (in Rust)",
            Unit::Times,
            Reach::AtLeast(20.0),
            ratios,
            note,
        ),
        Line::new(
            "time of the last pushes, against the first",
            Unit::Times,
            Reach::AtMost(1.2),
            growths,
            grows,
        ),
    ])
}

/// How long the last part took, against the first.
fn growth(parts: &[Rate]) -> f64 {
    match (parts.first(), parts.last()) {
        (Some(first), Some(last)) => first.over(*last),
        _ => 1.0,
    }
}

/// The rate over parts of equal size.
fn together(parts: &[Rate]) -> Rate {
    Rate(parts.len() as f64 / parts.iter().map(|part| 1.0 / part.0).sum::<f64>())
}

fn push_into_file(path: &Path, pushes: usize) -> Result<Vec<Rate>> {
    let mut queue = FileQueue { path: path.to_owned(), entries: Vec::new() };
    let tasks = Samples::new().dead(pushes);
    let mut rates = Vec::with_capacity(PARTS);
    for part in tasks.chunks((pushes / PARTS).max(1)) {
        let timing = Timing::start(part.len());
        for task in part {
            queue.push(task)?;
        }
        rates.push(timing.end());
    }
    Ok(rates)
}

/// The article's queue in JavaScript, by its steps: the list in memory, the file rewritten in place.
struct FileQueue {
    path: PathBuf,
    entries: Vec<Value>,
}

impl FileQueue {
    fn push(&mut self, new: &NewTask) -> Result<()> {
        self.entries.push(json!({
            "sitekey": new.task.dimensions.sitekey,
            "pageurl": new.payload.text("pageurl"),
            "error": new.task.cause.as_ref().map(|cause| cause.as_str()),
            "attempts": new.task.counters.attempts,
            "timestamp": new.task.created_at.0,
        }));
        Ok(std::fs::write(&self.path, serde_json::to_string_pretty(&self.entries)?)?)
    }
}
