//! `deadletter store backup`: a copy of the store while it is used.

use super::{
    info::bytes,
    looking::look,
    moving::{Way, watch},
};
use crate::{
    app::App,
    config::Settings,
    exit::Exit,
    fault::Result,
    shelf::{self, Place, fault},
};
use deadletter::store::{
    backup::Snapshot,
    sqlite::inspect::{BackedUp, Tolerance},
};
use std::path::{Path, PathBuf};

/// Arguments.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Where the copy is laid; nothing may stand there
    #[arg(value_name = "PATH")]
    path: PathBuf,
}

pub(super) async fn run(app: &App, args: Args) -> Result<Exit> {
    let settings = app.settings()?;
    let copy = match shelf::place(&settings)? {
        Place::Server => of_server(app, &settings, &args.path).await?,
        Place::Memory | Place::File(_) => {
            look(app, Tolerance::None, move |inspection, progress| {
                inspection.backup(&args.path, progress)
            })
            .await?
        }
    };
    let Some(copy) = copy else { return Ok(Exit::Interrupted) };
    if !app.out.is_table() {
        app.out.json(&copy)?;
    }
    let (tasks, size, path) = (copy.tasks, bytes(copy.bytes), copy.path.display());
    app.out.say(&format!("{tasks} tasks ({size}) were copied to {path}, and the copy was checked"));
    Ok(Exit::Good)
}

/// The same of a store that a server keeps.
async fn of_server(app: &App, settings: &Settings, path: &Path) -> Result<Option<BackedUp>> {
    let snapshot = Snapshot::open(&settings.store, shelf::clock(settings)).await;
    let snapshot = snapshot.map_err(|error| shelf::missing_or(settings, error))?;
    let total = snapshot.store().totals().await.map_err(fault)?.standing();
    let way = Way::default();
    let news = |phase, n| way.hear(phase, n);
    let copying = snapshot.copy_to(path, &news);
    let copied = watch(app, total, &way, copying, "nothing was left behind").await?;
    snapshot.store().close().await.map_err(fault)?;
    Ok(copied.map(|copied| BackedUp {
        path: copied.path,
        bytes: copied.bytes,
        tasks: i64::try_from(copied.moved.tasks).unwrap_or(i64::MAX),
    }))
}
