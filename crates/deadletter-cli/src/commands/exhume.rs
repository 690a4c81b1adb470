//! `deadletter exhume`: buried tasks are dead letters again, with room for more submits.

use super::act::{self, Begun, Choice, Meant};
use crate::{
    app::App,
    exit::Exit,
    fault::{Fault, Result},
    render,
};
use deadletter::Act;

/// More than this are a slip: a task that fails so often fails for a reason.
const MOST_SUBMITS: i64 = 100;

/// Arguments.
#[derive(Debug, clap::Args)]
#[command(
    before_help = "Examples:\n  deadletter exhume 116230479282176 --submits 2\n  deadletter exhume --where 'state:buried cause:TIMEOUT' --submits 3 --reason repaired",
    after_help = "An exhumed task is a dead letter: `redrive` brings it back. --submits is the only way to raise the number of submits that a task may ever spend (7, unless configured): it may spend N more than it has spent. Exit code 1: some were skipped, and it says why."
)]
pub(crate) struct Args {
    #[command(flatten)]
    choice: Choice,
    /// Submits that each may spend beyond what it has spent; 0 leaves its limit as it is
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(0..=MOST_SUBMITS))]
    submits: Option<u32>,
    /// Do not ask; needed where there is no terminal to ask at
    #[arg(long, short)]
    yes: bool,
}

pub(super) async fn run(app: &App, args: Args) -> Result<Exit> {
    let Some(submits) = args.submits else {
        return Err(Fault::usage("--submits is missing: how many more may each spend?")
            .fix("for example: deadletter exhume 116230479282176 --submits 2"));
    };
    let exhume = Act::Exhume { more_submits: submits };
    match act::begin(app, exhume, &args.choice, Meant::Standing).await? {
        Begun::Nothing(_) => Ok(act::nothing(&args.choice)),
        Begun::Shown => Ok(Exit::Good),
        Begun::Ready(prepared) => {
            let fit = prepared.plan.fit;
            let question = format!(
                "exhume {}, each with up to {submits} more submits?",
                render::counted(fit, "task", "tasks")
            );
            prepared.if_agreed(args.yes, &question).await
        }
    }
}
