//! `deadletter store`: what the store's file is, whether it is whole, a copy of it and its way back, and
//! its move to another store.

mod backup;
mod check;
mod info;
pub(super) mod looking;
mod migrate;
mod moving;
mod restore;

use crate::{app::App, exit::Exit, fault::Result};
use clap::Subcommand;

/// Arguments.
#[derive(Debug, clap::Args)]
#[command(
    before_help = "Examples:\n  deadletter store info\n  deadletter store check\n  deadletter store backup tasks-backup.db\n  deadletter store migrate --to sqlite:moved.db"
)]
pub(crate) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// What the store is and holds: file, log, tasks per state, workers alive
    #[command(
        before_help = "Examples:\n  deadletter store info\n  deadletter store info --store sqlite:other.db --json"
    )]
    Info,
    /// Is the store whole? The file, the counts, and every promise of every task
    #[command(
        before_help = "Examples:\n  deadletter store check\n  deadletter store check --store sqlite:other.db --json",
        after_help = "It only reads, also beside a running process, and bears a damaged file. Exit code 0 where all is well, 1 where something is wrong: each finding says where, and what to do."
    )]
    Check,
    /// Copy the store while it is used: whole, checked and on disk, or not there
    #[command(
        before_help = "Examples:\n  deadletter store backup tasks-backup.db\n  deadletter store backup other-backup.db --store sqlite:other.db",
        after_help = "The copy is a store like any other: `deadletter list --store sqlite:COPY`. It holds what the store holds, secrets too, and only its owner may read it. Nothing is overwritten.\n\nA PostgreSQL store is copied into an SQLite file as it is at one instant, task by task, and all of it is compared; others work on meanwhile, and the server keeps what they delete until the copy is done. A Redis store is copied while nobody works on it. What was counted by the minute is not in it. `store restore` is the way back."
    )]
    Backup(backup::Args),
    /// Put a backup into the store that --store names, which must be empty, and compare all of it
    #[command(
        before_help = "Examples:\n  deadletter store restore other.db --store sqlite:restored.db\n  deadletter store restore other.db --store sqlite:restored.db --json",
        after_help = "Stop whoever works on the store that was lost first. What has happened since the backup is not in it: tasks that were open then are worked on again, upstream ids are asked before anything is submitted, and what was submitted since may be paid for again. Broken off, the same command goes on; until it has compared everything nobody can work on the store."
    )]
    Restore(restore::Args),
    /// Move everything into another store, of another kind too, and compare all of it
    #[command(
        before_help = "Examples:\n  deadletter store migrate --to sqlite:moved.db --dry-run\n  deadletter store migrate --from sqlite:tasks.db --to sqlite:moved.db\n  deadletter store migrate --from captcha-dlq.json --to sqlite:moved.db",
        after_help = "Tasks with their requests, attempts, answers, deliveries and events, documents and the audit log; what was counted by the minute begins anew. Nobody may work on either store meanwhile. The source is only read: keep it closed afterwards, or both are paid for. Broken off, the same command goes on, and until it has compared everything nobody can work on the target. A server is named as postgres://USER:PASSWORD@HOST/DATABASE or redis://USER:PASSWORD@HOST. A file of letters as --from (an export, or the article's Python export and JavaScript file) goes the way of `deadletter import`, which says more of it."
    )]
    Migrate(migrate::Args),
}

pub(super) async fn run(app: &App, args: Args) -> Result<Exit> {
    match args.what {
        What::Info => info::run(app).await,
        What::Check => check::run(app).await,
        What::Backup(args) => backup::run(app, args).await,
        What::Restore(args) => restore::run(app, args).await,
        What::Migrate(args) => migrate::run(app, args).await,
    }
}
