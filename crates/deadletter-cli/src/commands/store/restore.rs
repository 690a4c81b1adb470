//! `deadletter store restore`: a backup into an empty store.

use super::{
    migrate::{no_source, told},
    moving::{Way, watch},
};
use crate::{
    app::App,
    exit::Exit,
    fault::{Fault, Result},
    shelf::{self, Place, fault},
};
use deadletter::store::{Store, migrate, open, open_existing};
use std::{
    fs::File,
    io::Read,
    path::{Path, PathBuf},
    sync::Arc,
};

/// Arguments.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The backup: a file that `store backup` has laid
    #[arg(value_name = "PATH")]
    path: PathBuf,
}

pub(super) async fn run(app: &App, args: Args) -> Result<Exit> {
    let settings = app.settings()?;
    if let Place::Memory = shelf::place(&settings)? {
        return Err(Fault::usage("a store in memory would be gone with this command").fix(
            "name where it goes: --store sqlite:PATH or postgres://USER:PASSWORD@HOST/DATABASE",
        ));
    }
    let clock = shelf::clock(&settings);
    refuse_other_files(&args.path)?;
    let from = format!("sqlite:{}", args.path.display());
    let source = open_existing(&from, Arc::clone(&clock)).await.map_err(no_source)?;
    let target = open(&settings.store, clock).await.map_err(fault)?;
    let restored = go(app, source.as_ref(), target.as_ref()).await;
    source.close().await.map_err(fault)?;
    target.close().await.map_err(fault)?;
    restored
}

/// What an SQLite file begins with. <https://www.sqlite.org/fileformat.html>
const MAGIC: &[u8] = b"SQLite format 3\0";

/// A file of another kind is no damaged backup, and nothing is to be repaired about it.
fn refuse_other_files(path: &Path) -> Result<()> {
    let mut begins = Vec::new();
    let read =
        File::open(path).and_then(|file| file.take(MAGIC.len() as u64).read_to_end(&mut begins));
    // One that cannot be read is told of by the one that opens it.
    if read.is_err() || begins == MAGIC {
        return Ok(());
    }
    Err(Fault::usage(format!("{} is no backup", path.display()))
        .why("it does not begin as the file of a store does")
        .fix(
            "name a file that `deadletter store backup` has laid; letters from text files come in by \
             `deadletter import FILE`",
        ))
}

async fn go(app: &App, from: &dyn Store, to: &dyn Store) -> Result<Exit> {
    let total = from.totals().await.map_err(fault)?.standing();
    let way = Way::default();
    let news = |phase, n| way.hear(phase, n);
    let moving = migrate::migrate(from, to, &news);
    let moved = watch(app, total, &way, moving, "the same command goes on where it was").await?;
    let Some(moved) = moved else { return Ok(Exit::Interrupted) };
    told(app, &moved, from, to)?;
    app.out.say(
        "what has happened since the backup is not in it: tasks that were open then are worked on \
         again, and may be paid for again",
    );
    Ok(Exit::Good)
}
