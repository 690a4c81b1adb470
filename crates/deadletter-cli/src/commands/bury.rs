//! `deadletter bury`: dead letters given up for good.

use super::act::{self, Begun, Choice, Meant};
use crate::{app::App, exit::Exit, fault::Result, render};
use deadletter::Act;

/// Arguments.
#[derive(Debug, clap::Args)]
#[command(
    before_help = "Examples:\n  deadletter bury 116230479282176 --reason 'the page is gone'\n  deadletter bury --where 'class:permanent age:>7d' --dry-run",
    after_help = "A buried task is kept with its history, and no redrive or drain takes it; `exhume` undoes it. Only dead letters are buried. Exit code 1: some were skipped, and it says why."
)]
pub(crate) struct Args {
    #[command(flatten)]
    choice: Choice,
    /// Do not ask; needed where there is no terminal to ask at
    #[arg(long, short)]
    yes: bool,
}

pub(super) async fn run(app: &App, args: Args) -> Result<Exit> {
    match act::begin(app, Act::Bury, &args.choice, Meant::Standing).await? {
        Begun::Nothing(_) => Ok(act::nothing(&args.choice)),
        Begun::Shown => Ok(Exit::Good),
        Begun::Ready(prepared) => {
            let question = format!(
                "bury {}?",
                render::counted(prepared.plan.fit, "dead letter", "dead letters")
            );
            prepared.if_agreed(args.yes, &question).await
        }
    }
}
