//! What a person may ask for.

use crate::{
    gateway,
    line::Report,
    output::{self, say},
    postgres, redis, store,
};
use anyhow::{Context, Result};
use clap::{Parser, Subcommand};
use std::{path::PathBuf, process::ExitCode};
use tempfile::TempDir;
use tokio::runtime::Runtime;

/// The command line.
#[derive(Debug, Parser)]
#[command(
    name = "deadletter-bench",
    about = "Measures deadletter, as ratios to what the same disk does in the same run",
    before_help = "Examples:\n  cargo run --release -p deadletter-bench -- store\n  deadletter-bench store --quick --json\n  deadletter-bench postgres --url postgres://me@127.0.0.1/scratch"
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// The SQLite store: inserts, life cycles, and a million dead letters
    Store {
        #[command(flatten)]
        args: Args,
        /// Only the parts whose name contains this word: inserts, life, standing, article
        #[arg(long, value_name = "WORD", default_value = "")]
        only: String,
    },
    /// The PostgreSQL store: inserts and life cycles, beside what the server does without it
    Postgres {
        #[command(flatten)]
        args: Args,
        /// The server: schemas of its own are made there, and dropped at the end
        #[arg(long, value_name = "URL")]
        url: String,
        /// PostgreSQL's own program that measures
        #[arg(long, value_name = "PROGRAM", default_value = "pgbench")]
        pgbench: String,
    },
    /// The Redis store: life cycles beside BullMQ's, and what dead letters cost
    Redis {
        #[command(flatten)]
        args: Args,
        /// The server: keys of its own are made there, and deleted at the end
        #[arg(long, value_name = "URL")]
        url: String,
        /// Only the parts whose name contains this word: lives, fleet, standing
        #[arg(long, value_name = "WORD", default_value = "")]
        only: String,
    },
    /// The gateway: questions, jobs, latency and memory, against a plain HTTP server
    Gateway {
        #[command(flatten)]
        args: Args,
    },
    /// Serves until its input ends, which `gateway` weighs
    #[command(hide = true)]
    Idle {
        /// Tasks to take before
        tasks: usize,
        /// The store
        path: PathBuf,
    },
    /// Lets tasks live until it is killed, which `store` does
    #[command(hide = true)]
    Churn {
        /// The store
        path: PathBuf,
    },
}

/// How to measure.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Small numbers: shows that it runs, and says nothing about speed
    #[arg(long)]
    pub(crate) quick: bool,
    /// One JSON document instead of a table
    #[arg(long)]
    pub(crate) json: bool,
    /// Where the files stand while it runs: on the disk to measure, not in memory
    #[arg(long, value_name = "DIR", default_value = ".")]
    dir: PathBuf,
}

impl Args {
    /// A directory that goes when it is dropped.
    pub(crate) fn directory(&self) -> Result<TempDir> {
        let directory = tempfile::Builder::new().prefix("deadletter-bench-").tempdir_in(&self.dir);
        directory.with_context(|| format!("cannot write into {}", self.dir.display()))
    }
}

/// Does what the command line asks for.
#[must_use]
pub fn start() -> ExitCode {
    ended(Cli::parse().run())
}

/// The exit code, and the reason where it is not good.
pub(crate) fn ended(outcome: Result<()>) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&format!("deadletter-bench: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

/// As the program's own: a thread per core.
pub(crate) fn runtime() -> Result<Runtime> {
    Ok(tokio::runtime::Builder::new_multi_thread().enable_all().build()?)
}

impl Cli {
    fn run(self) -> Result<()> {
        let runtime = runtime()?;
        match self.command {
            Command::Store { args, only } => {
                let sizes = if args.quick { store::QUICK } else { store::FULL };
                let directory = args.directory()?;
                let lines = runtime.block_on(store::measure(&sizes, directory.path(), &only))?;
                output::show(&Report::of(args.quick, lines), args.json)
            }
            Command::Postgres { args, url, pgbench } => {
                let sizes = if args.quick { store::QUICK } else { store::FULL };
                let directory = args.directory()?;
                let (url, pgbench, directory) = (&url, &pgbench, directory.path());
                let stand = postgres::Stand { url, pgbench, directory };
                let lines = runtime.block_on(postgres::measure(&sizes, &stand))?;
                output::show(&Report::of(args.quick, lines), args.json)
            }
            Command::Redis { args, url, only } => {
                let sizes = if args.quick { store::QUICK } else { store::FULL };
                let directory = args.directory()?;
                let stand = redis::Stand { url: &url, directory: directory.path() };
                let lines = runtime.block_on(redis::measure(&sizes, &stand, &only))?;
                output::show(&Report::of(args.quick, lines), args.json)
            }
            Command::Gateway { args } => {
                let sizes = if args.quick { gateway::QUICK } else { gateway::FULL };
                let directory = args.directory()?;
                let lines = runtime.block_on(gateway::measure(&sizes, directory.path()))?;
                output::show(&Report::of(args.quick, lines), args.json)
            }
            Command::Churn { path } => runtime.block_on(store::churn(&path)),
            Command::Idle { tasks, path } => runtime.block_on(gateway::idle(&path, tasks)),
        }
    }
}
