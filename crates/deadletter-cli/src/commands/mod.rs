//! The table of commands; each has a file of its own.

mod act;
mod answers;
mod breaker;
mod bury;
mod cancel;
mod completions;
mod config;
mod demo;
mod doctor;
mod drain;
mod exhume;
mod explain;
mod export;
mod follow;
mod hold;
mod import;
mod key;
mod list;
mod man;
mod purge;
mod query;
mod redrive;
mod run;
mod salvage;
mod serve;
mod show;
mod simulate;
mod solve;
mod spent;
mod stats;
mod store;
mod written;

use crate::{app::App, exit::Exit, fault::Result};
use clap::Subcommand;

/// The filter grammar in a nutshell, for every command that takes one.
const FILTER_HELP: &str = "\
Filters: terms joined by AND, values of one term parted by commas.
  state:dead cause:TIMEOUT class:transient sitekey:6Le* host:*.example.com batch:nightly
  age:<24h attempts:>=4 id:1,2,3 -batch:nightly     '*' alone chooses every task
  A term that begins with - chooses the others: state:dead -batch:nightly";

/// What the program can do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// See it all in about 15 seconds: an outage, dead letters, a redrive; no key, no network
    Demo(demo::Args),
    /// Submit a file of tasks and follow each to its verdict
    Run(run::Args),
    /// Submit one task and wait for its answer
    Solve(solve::Args),
    /// Bring dead letters back: plan, confirm, run
    Redrive(redrive::Args),
    /// Serve in.php and res.php to scripts, which change their base URL and nothing else
    Serve(serve::Args),
    /// Issue, list and revoke the keys of those who use the gateway
    Key(key::Args),
    /// Redrive what may succeed: once, or again and again; one drain at a time
    Drain(drain::Args),
    /// Give dead letters up for good; they are kept, and left alone
    Bury(bury::Args),
    /// Make buried tasks dead letters again, with room for more submits
    Exhume(exhume::Args),
    /// Stop tasks: they are not submitted any more
    Cancel(cancel::Args),
    /// Keep tasks from being claimed or redriven, until they are released
    Hold(hold::Args),
    /// End holds that were set by hand
    Release(hold::ReleaseArgs),
    /// Delete tasks that are at rest, after their count was confirmed
    Purge(purge::Args),
    /// See how the breakers stand, open one by hand, give it back
    Breaker(breaker::Args),
    /// List tasks by filter: the dead letters, unless told otherwise
    List(list::Args),
    /// Show one task with its request and the time line of its attempts
    Show(show::Args),
    /// Count what the dead died of, where and when; and how long solves take
    Stats(stats::Args),
    /// Tell what a code, a class or a reason of death means, what is done, and what to do
    Explain(explain::Args),
    /// Write letters to a file: JSON lines, CSV, or the article's JSON
    Export(export::Args),
    /// Take letters in from a file of `export`, or of the article's code
    Import(import::Args),
    /// Look after the store's file: what it is, whether it is whole, a copy of it
    Store(store::Args),
    /// Ask the store in SQL, which can change nothing
    Query(query::Args),
    /// Play an upstream with scripted faults on a port of this machine
    Simulate(simulate::Args),
    /// Show, find and check the configuration
    Config(config::Args),
    /// Look whether everything that work needs is there, and say what to do where it is not
    Doctor(doctor::Args),
    /// Write the shell's word completion
    Completions(completions::Args),
    /// Write pages of the manual
    Man(man::Args),
}

impl Command {
    /// Does it.
    pub(crate) async fn run(self, app: &App) -> Result<Exit> {
        match self {
            Self::Demo(args) => demo::run(app, args).await,
            Self::Run(args) => run::run(app, args).await,
            Self::Solve(args) => solve::run(app, args).await,
            Self::Redrive(args) => redrive::run(app, args).await,
            Self::Serve(args) => serve::run(app, args).await,
            Self::Key(args) => key::run(app, args).await,
            Self::Drain(args) => drain::run(app, args).await,
            Self::Bury(args) => bury::run(app, args).await,
            Self::Exhume(args) => exhume::run(app, args).await,
            Self::Cancel(args) => cancel::run(app, args).await,
            Self::Hold(args) => hold::run(app, args).await,
            Self::Release(args) => hold::release(app, args).await,
            Self::Purge(args) => purge::run(app, args).await,
            Self::Breaker(args) => breaker::run(app, args).await,
            Self::List(args) => list::run(app, args).await,
            Self::Show(args) => show::run(app, args).await,
            Self::Stats(args) => stats::run(app, args).await,
            Self::Explain(args) => explain::run(app, &args),
            Self::Export(args) => export::run(app, args).await,
            Self::Import(args) => import::run(app, args).await,
            Self::Store(args) => store::run(app, args).await,
            Self::Query(args) => query::run(app, args).await,
            Self::Simulate(args) => simulate::run(app, args).await,
            Self::Config(args) => config::run(app, &args),
            Self::Doctor(args) => doctor::run(app, &args).await,
            Self::Completions(args) => completions::run(app, &args),
            Self::Man(args) => man::run(app, &args),
        }
    }
}
