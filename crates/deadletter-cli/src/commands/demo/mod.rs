//! `deadletter demo`: the whole story in about 15 seconds, with no key and no network.
//!
//! A simulated upstream on a port of this machine and a real engine on a real SQLite file: 200
//! tasks, an outage, dead letters, what they died of, and a redrive that brings them back. With
//! `--workers`, processes that share a store instead, of which one may be killed.

mod fleet;
mod report;
mod story;

use crate::{
    app::App,
    exit::Exit,
    fault::{Fault, Result},
    signals::Signals,
};
use story::Story;

/// Arguments.
#[derive(Debug, clap::Args)]
#[command(
    before_help = "Examples:\n  deadletter demo\n  deadletter demo --seed 7 --json\n  deadletter demo --workers 2",
    after_help = "Everything happens on 127.0.0.1 and in a temporary directory. Time runs 60 times faster than on the clock; every time in the report is the story's own.\n\nWith --workers, 400 tasks are worked on by processes of this program that share a store, a temporary file unless --store names another; time runs 10 times faster. Kill one of them by its pid: what it held is taken over, and the figures at the end say what became of it. --store must name an empty store, and what the demo leaves there stays."
)]
pub(crate) struct Args {
    /// Decides every draw of the simulated upstream
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Keep the store in this directory, to look at it afterwards
    #[arg(long, value_name = "DIR")]
    keep: Option<std::path::PathBuf>,
    /// Let so many processes share the work, on the store that --store names or on a file
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=16))]
    workers: Option<u16>,
}

pub(super) async fn run(app: &App, args: Args) -> Result<Exit> {
    if let Some(workers) = args.workers {
        return run_fleet(app, &args, workers).await;
    }
    if app.global.store.is_some() {
        return Err(Fault::usage("the demo in one process has a store of its own")
            .fix("add --workers 2, and processes share the store that --store names"));
    }
    let mut signals = Signals::listen()?;
    let story = Story::begin(app, args.seed, args.keep.as_deref()).await?;
    let end = tokio::select! {
        end = story.tell(app) => end,
        () = signals.next() => Ok(None),
    };
    let Some(facts) = end? else { return Ok(Exit::Interrupted) };
    report::show(app, &facts)?;
    Ok(if facts.is_sound() { Exit::Good } else { Exit::Failed })
}

async fn run_fleet(app: &App, args: &Args, workers: u16) -> Result<Exit> {
    // Gone with this call, where nobody keeps it.
    let own = tempfile::tempdir()
        .map_err(|error| Fault::failed("cannot make a temporary directory").because(error))?;
    let dir = args.keep.as_deref().unwrap_or(own.path());
    std::fs::create_dir_all(dir)
        .map_err(|error| Fault::failed(format!("cannot make {}", dir.display())).because(error))?;
    let dir = std::path::absolute(dir).unwrap_or_else(|_| dir.to_owned());
    let store = app.global.store.as_deref().map(|url| app.store_url(url));
    let store = store.as_deref();
    fleet::run(app, &fleet::Plan { seed: args.seed, workers, dir: &dir, store }).await
}
