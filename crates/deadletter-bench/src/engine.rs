//! What a task in flight weighs: bytes that the engine holds while upstream works on it.

use crate::{
    cli::{self, Args},
    line::{Line, Reach, Report, Unit},
    output::{self, say},
    sample::account,
};
use anyhow::{Result, ensure};
use clap::Parser;
use deadletter::{
    AccountConfig, Deadletter, Job,
    provider::{Polled, scripted::ScriptedProvider},
};
use deadletter_core::Terms;
use deadletter_store::{SqliteStore, SystemClock};
use std::{path::Path, process::ExitCode, sync::Arc, time::Duration};

/// Between two looks at how many are in flight.
const LOOK: Duration = Duration::from_millis(5);
/// Looks until then; each task takes some tenths of a millisecond.
const LOOKS: usize = 60_000;
/// Longer than any measurement: nothing is asked meanwhile.
const LATER_MS: i64 = 3_600_000;

/// The command line.
#[derive(Debug, Parser)]
#[command(
    name = "deadletter-bench-engine",
    about = "Measures what a task in flight weighs in the engine",
    before_help = "Examples:\n  cargo run --release -p deadletter-bench --bin deadletter-bench-engine\n  deadletter-bench-engine --quick --json"
)]
struct Cli {
    #[command(flatten)]
    args: Args,
}

/// Measures and prints; `held` says how many bytes are allocated now.
pub fn start(held: fn() -> usize) -> ExitCode {
    cli::ended(run(&Cli::parse().args, held))
}

fn run(args: &Args, held: fn() -> usize) -> Result<()> {
    let (rounds, tasks) = if args.quick { (2, 200) } else { (5, 10_000) };
    let runtime = cli::runtime()?;
    let mut weights = Vec::with_capacity(rounds);
    for n in 1..=rounds {
        let directory = args.directory()?;
        let weight = runtime.block_on(weigh(directory.path(), tasks, held))?;
        say(&format!("  round {n}: {weight:.0} bytes"));
        weights.push(weight);
    }
    let work = "memory of a task in flight in the engine";
    let note = format!("{tasks} in flight, their callers gone; SQLite's page caches not counted");
    let line = Line::new(work, Unit::Bytes, Reach::AtMost(1_024.0), weights, note);
    output::show(&Report::of(args.quick, vec![line]), args.json)
}

/// Bytes per task of `tasks` that are all polled.
async fn weigh(directory: &Path, tasks: usize, held: fn() -> usize) -> Result<f64> {
    let store = SqliteStore::open(directory.join("engine.db"), Arc::new(SystemClock)).await?;
    let terms = Terms { first_poll_ms: LATER_MS, timeout_ms: 2 * LATER_MS, ..Terms::default() };
    let provider =
        ScriptedProvider::default().on_poll(|_| async { Ok(Polled::NotReady) }).with_terms(terms);
    let all = u32::try_from(2 * tasks)?;
    let account = AccountConfig::new(account(), Arc::new(provider)).threads(Some(all));
    let engine = Deadletter::builder().store(Arc::new(store)).account(account).start().await?;
    // The first half fills caches and grows tables.
    fly(&engine, tasks, tasks).await?;
    let before = held();
    fly(&engine, tasks, 2 * tasks).await?;
    let weight = held().saturating_sub(before) as f64 / tasks as f64;
    engine.stop().await?;
    Ok(weight)
}

/// Submits `more` jobs and waits until `all` are polled.
async fn fly(engine: &Deadletter, more: usize, all: usize) -> Result<()> {
    let job = |n: usize| {
        Job::new("userrecaptcha")
            .param("sitekey", format!("6Le-wvkSAAAAAPBMRTvw0Q4Muexq9bi0DJwx{:04}", n % 50))
            .param("pageurl", format!("https://shop.example/login?order={n}"))
    };
    engine.submit_all((0..more).map(job).collect()).await?;
    for _ in 0..LOOKS {
        let status = engine.status();
        if status.polling == all && status.submitting == 0 {
            return Ok(());
        }
        tokio::time::sleep(LOOK).await;
    }
    ensure!(false, "only {} of {all} are in flight", engine.status().polling);
    Ok(())
}
