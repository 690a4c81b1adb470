//! `deadletter purge`: tasks at rest deleted, after their count was said twice.

mod keepsake;

use super::act::{self, Begun, Choice, Meant, Prepared, asked};
use crate::{
    app::App,
    exit::Exit,
    fault::{Fault, Result},
    render, work,
};
use deadletter::Act;
use std::path::PathBuf;

/// Arguments.
#[derive(Debug, clap::Args)]
#[command(
    before_help = "Examples:\n  deadletter purge --where 'state:buried idle:>30d' --dry-run\n  deadletter purge --where 'state:buried idle:>30d' --export-first buried.jsonl --confirm 12",
    after_help = "Deletes tasks that are solved, dead, buried or cancelled, with request, history and answer; only their number is kept. At a terminal the count is to be typed again; elsewhere --confirm N has to name it. What was counted is exactly what is deleted: a task that joins later is no part of it, and one that changes is skipped. --export-first writes a file that `import` reads, on the disk before the first task is deleted; where it cannot be written, nothing is. Exit code 1: some were skipped, because they changed or may still be answered, and it says why."
)]
pub(crate) struct Args {
    #[command(flatten)]
    choice: Choice,
    /// How many tasks that has to delete: any other number is an error
    #[arg(long, value_name = "N")]
    confirm: Option<u64>,
    /// First write them all to this file, which must not exist yet
    #[arg(long, value_name = "PATH")]
    export_first: Option<PathBuf>,
    /// Proxy credentials, cookies and answers in that file too
    #[arg(long, requires = "export_first")]
    with_secrets: bool,
}

pub(super) async fn run(app: &App, args: Args) -> Result<Exit> {
    if let Some(path) = &args.export_first {
        keepsake::refuse_existing(path)?;
    }
    match act::begin(app, Act::Purge, &args.choice, Meant::Standing).await? {
        Begun::Shown => Ok(Exit::Good),
        Begun::Nothing(_) => match args.confirm {
            Some(n) if n > 0 => Err(miscounted(0, n)),
            _ => Ok(act::nothing(&args.choice)),
        },
        Begun::Ready(prepared) => match agreed(app, &prepared, &args).await {
            Ok(true) => prepared.carry_out().await,
            Ok(false) => prepared.drop_it().await.map(|()| Exit::Good),
            Err(fault) => {
                prepared.drop_it().await?;
                Err(fault)
            }
        },
    }
}

/// Whether the count was said again, and the tasks are kept elsewhere where that was asked.
async fn agreed(app: &App, prepared: &Prepared<'_>, args: &Args) -> Result<bool> {
    let n = prepared.plan.fit;
    match args.confirm {
        Some(said) if said != n => return Err(miscounted(n, said)),
        Some(_) => {}
        None => {
            let tasks = counted_tasks(n);
            let question = format!("this deletes {tasks} for good; type {n} to go on:");
            let Some(answer) = asked(app, &question)? else {
                return Err(Fault::usage(format!("this would delete {tasks} for good"))
                    .why("nobody can be asked here")
                    .fix(format!("repeat it with --confirm {n}")));
            };
            if answer != n.to_string() {
                return Ok(false);
            }
        }
    }
    if let Some(path) = &args.export_first {
        let desk = prepared.engine.desk();
        desk.leave_out_open(&prepared.id).await.map_err(work::of_engine)?;
        let letters = keepsake::write(prepared, path, args.with_secrets).await?;
        let masked = if args.with_secrets { "" } else { "; secrets are masked" };
        let letters = render::counted(letters, "letter is", "letters are");
        app.out.say(&format!("{letters} in {}{masked}", path.display()));
    }
    Ok(true)
}

fn counted_tasks(n: u64) -> String {
    render::counted(n, "task", "tasks")
}

fn miscounted(n: u64, said: u64) -> Fault {
    Fault::usage(format!("this would delete {}, and --confirm says {said}", counted_tasks(n)))
        .fix(format!("look with --dry-run; if {n} is right: --confirm {n}"))
}
