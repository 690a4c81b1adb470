//! `deadletter hold` and `deadletter release`: tasks kept back by hand, and let go.

use super::act::{self, Begun, Choice};
use crate::{app::App, exit::Exit, fault::Result, render};
use deadletter::Act;

/// Arguments.
#[derive(Debug, clap::Args)]
#[command(
    before_help = "Examples:\n  deadletter hold --where 'host:shop.example' --reason 'their site is down'\n  deadletter hold --where 'batch:nightly state:queued' --dry-run\n  deadletter list held:yes",
    after_help = "A held task waits: nobody claims it, and no redrive takes it, until `release`. Its deadline runs\non. A filter chooses queued tasks and dead letters, unless it names a state; what is submitted\nalready is polled to its verdict, and what is stored later is not held. Exit code 1: some were\nskipped (they were claimed or ended in the meantime), and it says so."
)]
pub(crate) struct Args {
    #[command(flatten)]
    choice: Choice,
    /// Do not ask; needed where there is no terminal to ask at
    #[arg(long, short)]
    yes: bool,
}

/// Arguments of `release`.
#[derive(Debug, clap::Args)]
#[command(
    before_help = "Examples:\n  deadletter release --where host:shop.example --reason 'it is back'\n  deadletter release --where 'held:yes batch:nightly' --dry-run",
    after_help = "Ends holds of `hold` alone: a letter that was imported with masked secrets stays held, since it\ncannot be sent as it stands. A released task is claimed when its turn comes; a dead letter waits\nfor a redrive as before. Exit code 1: some were skipped, and it says why."
)]
pub(crate) struct ReleaseArgs {
    #[command(flatten)]
    choice: Choice,
    /// Do not ask; needed where there is no terminal to ask at
    #[arg(long, short)]
    yes: bool,
}

pub(super) async fn run(app: &App, args: Args) -> Result<Exit> {
    agreed(app, Act::Hold, &args.choice, args.yes).await
}

pub(super) async fn release(app: &App, args: ReleaseArgs) -> Result<Exit> {
    agreed(app, Act::Release, &args.choice, args.yes).await
}

async fn agreed(app: &App, act: Act, choice: &Choice, is_yes: bool) -> Result<Exit> {
    match act::begin(app, act, choice).await? {
        Begun::Nothing => Ok(act::nothing(choice)),
        Begun::Shown => Ok(Exit::Good),
        Begun::Ready(prepared) => {
            let tasks = render::counted(prepared.plan.fit, "task", "tasks");
            prepared.if_agreed(is_yes, &format!("{} {tasks}?", act.label())).await
        }
    }
}
