//! `deadletter demo`: the whole story in about 15 seconds, with no key and no network.
//!
//! A simulated upstream on a port of this machine and a real engine on a real SQLite file: 200
//! tasks, an outage, dead letters, what they died of, and a redrive that brings them back.

mod report;
mod story;

use crate::{app::App, exit::Exit, fault::Result, signals::Signals};
use story::Story;

/// Arguments.
#[derive(Debug, clap::Args)]
#[command(
    before_help = "Examples:\n  deadletter demo\n  deadletter demo --seed 7 --json",
    after_help = "Everything happens on 127.0.0.1 and in a temporary directory. Time runs 60 times faster\nthan on the clock; every time in the report is the story's own."
)]
pub(crate) struct Args {
    /// Decides every draw of the simulated upstream
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Keep the store in this directory, to look at it afterwards
    #[arg(long, value_name = "DIR")]
    keep: Option<std::path::PathBuf>,
}

pub(super) async fn run(app: &App, args: Args) -> Result<Exit> {
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
