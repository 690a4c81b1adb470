//! Opening after a kill: another process lets tasks live in the store, and dies in the middle.

use super::{Sizes, open, rate::elapsed_ms};
use crate::line::{Line, Reach, Unit};
use anyhow::{Context, Result};
use deadletter_store::{Store, clock::Stopwatch};
use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Command, Stdio},
};

pub(super) async fn measure(sizes: &Sizes, path: &Path) -> Result<Vec<Line>> {
    let (mut opened, mut logs) = (Vec::new(), Vec::new());
    for _ in 0..sizes.kills {
        kill_at_work(sizes, path)?;
        let log = std::fs::metadata(path.with_extension("db-wal")).context("no log was left")?;
        logs.push(log.len() as f64 / 1e6);
        let watch = Stopwatch::start();
        let store = open(path).await?;
        opened.push(elapsed_ms(&watch));
        store.close().await?;
    }
    let note = format!("{} dead, a kill at full speed before each", sizes.dead);
    Ok(vec![
        Line::new("open after a kill", Unit::Ms, Reach::AtMost(50.0), opened, note),
        Line::new(
            "the log that a kill at full speed leaves",
            Unit::Mb,
            Reach::AtMost(32.0),
            logs,
            "its length at any time".to_owned(),
        ),
    ])
}

/// Starts a process on the store and kills it after so many of its words.
fn kill_at_work(sizes: &Sizes, path: &Path) -> Result<()> {
    let mut child = Command::new(std::env::current_exe()?)
        .arg("churn")
        .arg(path)
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot start a process to kill")?;
    let said = child.stdout.take().context("a piped output")?;
    let words = BufReader::new(said).lines().take(sizes.words).count();
    child.kill()?;
    child.wait()?;
    anyhow::ensure!(words == sizes.words, "the process ended by itself");
    Ok(())
}
