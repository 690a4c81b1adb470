//! The table of commands; each has a file of its own.

mod config;
mod simulate;

use crate::{app::App, exit::Exit, fault::Result};
use clap::Subcommand;

/// What the program can do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Show, find and check the configuration
    Config(config::Args),
    /// Play an upstream with scripted faults on a port of this machine
    Simulate(simulate::Args),
}

impl Command {
    /// Does it.
    pub(crate) async fn run(self, app: &App) -> Result<Exit> {
        match self {
            Self::Config(args) => config::run(app, &args),
            Self::Simulate(args) => simulate::run(app, args).await,
        }
    }
}
