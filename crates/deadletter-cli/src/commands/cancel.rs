//! `deadletter cancel`: tasks stopped by their owner.

use super::act::{self, Begun, Choice, Meant};
use crate::{app::App, exit::Exit, fault::Result, render};
use deadletter::{Act, core::StateKind};

/// Arguments.
#[derive(Debug, clap::Args)]
#[command(
    before_help = "Examples:\n  deadletter cancel 116230479282176\n  deadletter cancel --where 'batch:nightly state:queued' --reason 'wrong file'",
    after_help = "A cancelled task is never submitted again. What is submitted already stays paid for: a late answer is kept, unused, and its thread stays taken for as long as upstream may work on it. A filter chooses queued, submitting and polling tasks, unless it names states. Exit code 1: some were skipped (they were claimed or ended in the meantime), and it says so."
)]
pub(crate) struct Args {
    #[command(flatten)]
    choice: Choice,
    /// Do not ask; needed where there is no terminal to ask at
    #[arg(long, short)]
    yes: bool,
}

pub(super) async fn run(app: &App, args: Args) -> Result<Exit> {
    match act::begin(app, Act::Cancel, &args.choice, Meant::Standing).await? {
        Begun::Nothing(_) => Ok(act::nothing(&args.choice)),
        Begun::Shown => Ok(Exit::Good),
        Begun::Ready(prepared) => {
            let plan = &prepared.plan;
            let in_state = |state| plan.by_state.get(&state).copied().unwrap_or(0);
            let paid = in_state(StateKind::Submitting) + in_state(StateKind::Polling);
            if paid > 0 {
                app.out.warn(&format!("{paid} of them are submitted already: that stays paid for"));
            }
            let question = format!("cancel {}?", render::counted(plan.fit, "task", "tasks"));
            prepared.if_agreed(args.yes, &question).await
        }
    }
}
