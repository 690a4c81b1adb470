//! `deadletter store backup`: a copy of the store while it is used.

use super::{info::bytes, looking::look};
use crate::{app::App, exit::Exit, fault::Result};
use deadletter::store::sqlite::inspect::Tolerance;
use std::path::PathBuf;

/// Arguments.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Where the copy is laid; nothing may stand there
    #[arg(value_name = "PATH")]
    path: PathBuf,
}

pub(super) async fn run(app: &App, args: Args) -> Result<Exit> {
    let backed_up = look(app, Tolerance::None, move |inspection, progress| {
        inspection.backup(&args.path, progress)
    });
    let Some(copy) = backed_up.await? else { return Ok(Exit::Interrupted) };
    if !app.out.is_table() {
        app.out.json(&copy)?;
    }
    let (tasks, size, path) = (copy.tasks, bytes(copy.bytes), copy.path.display());
    app.out.say(&format!("{tasks} tasks ({size}) were copied to {path}, and the copy was checked"));
    Ok(Exit::Good)
}
