//! What a gateway holds while it waits for clients, in a process of its own.

use super::stand;
use crate::line::{Line, Reach, Unit};
use anyhow::{Context, Result};
use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Command, Stdio},
};

/// Weighings of each.
const ROUNDS: usize = 3;

pub(super) fn measure(standing: usize, directory: &Path) -> Result<Vec<Line>> {
    let (mut idle, mut more) = (Vec::new(), Vec::new());
    for n in 0..ROUNDS {
        let empty = weigh(&directory.join(format!("idle-{n}.db")), 0)?;
        let full = weigh(&directory.join(format!("full-{n}.db")), standing)?;
        idle.push(empty);
        more.push((full - empty).max(0.0));
    }
    Ok(vec![
        Line::new(
            "memory of an idle gateway",
            Unit::Mb,
            Reach::AtMost(25.0),
            idle,
            "resident, with its store open".to_owned(),
        ),
        Line::new(
            "memory that unsolved tasks take more",
            Unit::Mb,
            Reach::AtMost(150.0),
            more,
            format!("{standing} tasks were submitted and wait"),
        ),
    ])
}

/// Megabytes that a gateway holds once it has taken so many tasks.
fn weigh(path: &Path, tasks: usize) -> Result<f64> {
    let mut child = Command::new(std::env::current_exe()?)
        .args(["idle", &tasks.to_string()])
        .arg(path)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot start a gateway to weigh")?;
    let said = BufReader::new(child.stdout.take().context("a piped output")?).lines().next();
    let status = std::fs::read_to_string(format!("/proc/{}/status", child.id()));
    // It ends when its input does.
    drop(child.stdin.take());
    child.wait()?;
    said.context("the gateway ended by itself")??;
    let status = status.context("memory is read from /proc, which Linux has")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.context("no VmRSS")?.trim().trim_end_matches("kB").trim().parse::<f64>()?;
    Ok(kib * 1_024.0 / 1e6)
}

/// A gateway that takes so many tasks, says so, and waits until its input ends.
pub(crate) async fn idle(path: &Path, tasks: usize) -> Result<()> {
    let (engine, is_away) = stand::engine(path).await?;
    is_away.store(true, std::sync::atomic::Ordering::SeqCst);
    let running = stand::gateway(&engine, u64::MAX).await?;
    stand::submit(&engine, tasks).await?;
    crate::output::data("ready")?;
    tokio::task::spawn_blocking(|| std::io::stdin().lines().count()).await?;
    running.stop().await;
    Ok(engine.stop().await?)
}
