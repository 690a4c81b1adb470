//! What a person may ask for.

use crate::{line::Report, output, store};
use anyhow::{Context, Result};
use clap::{Parser, Subcommand};
use std::path::PathBuf;

/// The command line.
#[derive(Debug, Parser)]
#[command(
    name = "deadletter-bench",
    about = "Measures deadletter, as ratios to what the same disk does in the same run",
    before_help = "Examples:\n  cargo run --release -p deadletter-bench -- store\n  deadletter-bench store --quick --json"
)]
pub(crate) struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// The SQLite store: inserts, life cycles, and a million dead letters
    Store(Args),
    /// Lets tasks live until it is killed, which `store` does
    #[command(hide = true)]
    Churn {
        /// The store
        path: PathBuf,
    },
}

/// How to measure.
#[derive(Debug, clap::Args)]
struct Args {
    /// Small numbers: shows that it runs, and says nothing about speed
    #[arg(long)]
    quick: bool,
    /// One JSON document instead of a table
    #[arg(long)]
    json: bool,
    /// Where the files stand while it runs: on the disk to measure, not in memory
    #[arg(long, value_name = "DIR", default_value = ".")]
    dir: PathBuf,
    /// Only the parts whose name contains this word
    #[arg(long, value_name = "WORD", default_value = "")]
    only: String,
}

impl Cli {
    pub(crate) fn run(self) -> Result<()> {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        let args = match self.command {
            Command::Store(args) => args,
            Command::Churn { path } => return runtime.block_on(store::churn(&path)),
        };
        let directory = tempfile::Builder::new()
            .prefix("deadletter-bench-")
            .tempdir_in(&args.dir)
            .with_context(|| format!("cannot write into {}", args.dir.display()))?;
        let sizes = if args.quick { store::QUICK } else { store::FULL };
        let lines = runtime.block_on(store::measure(&sizes, directory.path(), &args.only))?;
        let report = Report { cores: cores(), quick: args.quick, lines };
        if args.json { output::json(&report) } else { output::table(&report) }
    }
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}
