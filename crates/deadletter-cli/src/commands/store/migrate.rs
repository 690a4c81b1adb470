//! `deadletter store migrate`: everything into another store.

use super::moving::{Way, watch};
use crate::{
    app::App,
    commands::import,
    config::Settings,
    exit::Exit,
    fault::{Fault, Result},
    render::counted,
    shelf::{self, fault},
};
use deadletter::store::{
    self, Clock, Store,
    migrate::{self, Moved},
    open, open_existing,
};
use serde_json::json;
use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

/// Arguments.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The store to move, or a file of letters [default: the store that the settings name]
    #[arg(long, value_name = "URL|FILE")]
    from: Option<String>,
    /// Where it goes: an empty store, or one that a migration from there has begun
    #[arg(long, value_name = "URL")]
    to: String,
    /// Look at both, say what would be moved, and write nothing
    #[arg(long)]
    dry_run: bool,
}

pub(super) async fn run(app: &App, args: Args) -> Result<Exit> {
    let settings = app.settings()?;
    let from = args.from.map_or_else(|| settings.store.clone(), |url| app.store_url(&url));
    let to = app.store_url(&args.to);
    if from == to {
        return Err(Fault::usage("source and target are one store").fix("name another with --to"));
    }
    if let Some(file) = letters(&from) {
        if file.is_file() {
            app.out.say(&format!("{} is a file of letters: they are imported", file.display()));
        }
        let into = Settings { store: to, store_from: Some("--to".to_owned()), ..settings };
        return import::moved(app, &into, file, args.dry_run).await;
    }
    let clock = shelf::clock(&settings);
    let source = open_existing(&from, Arc::clone(&clock)).await.map_err(no_source)?;
    let ended = match args.dry_run {
        true => look(app, source.as_ref(), &to, clock).await,
        false => {
            let target = open(&to, clock).await.map_err(fault)?;
            let gone = go(app, source.as_ref(), target.as_ref()).await;
            target.close().await.map_err(fault)?;
            gone
        }
    };
    source.close().await.map_err(fault)?;
    ended
}

/// A path that names no store: letters, if anything. One with a colon that is no file is a URL that
/// somebody has mistyped.
fn letters(from: &str) -> Option<PathBuf> {
    let path = Path::new(from);
    let is_a_path = path.is_file() || !from.contains(':');
    (store::check_url(from).is_err() && is_a_path).then(|| path.to_owned())
}

/// The fault of a source that cannot be opened: what is missing is not to be begun.
pub(super) fn no_source(error: store::Error) -> Fault {
    match error {
        store::Error::Missing(place) => Fault::failed(format!("there is no store at {place}"))
            .why("nothing stands there that could be moved, and nothing was made")
            .fix(
                "look for a slip in its name: the path of a file, ?schema=NAME of a PostgreSQL \
                 database, ?prefix=NAME of a Redis server",
            ),
        error => fault(error),
    }
}

/// What would be moved; a target that is not there yet is left so.
async fn look(app: &App, from: &dyn Store, to: &str, clock: Arc<dyn Clock>) -> Result<Exit> {
    let target = match open_existing(to, clock).await {
        Err(store::Error::Missing(place)) => Err(place),
        opened => Ok(opened.map_err(fault)?),
    };
    let totals = migrate::plan(from, target.as_deref().ok()).await.map_err(fault)?;
    let tasks = counted(totals.standing().unsigned_abs(), "task", "tasks");
    let place = match &target {
        Ok(target) => target.url(),
        Err(place) => format!("{place}, which would be begun"),
    };
    app.out.say(&format!("{tasks} of {} could be moved to {place}", from.url()));
    if let Ok(target) = target {
        target.close().await.map_err(fault)?;
    }
    if !app.out.is_table() {
        let states: Vec<_> = totals.by_state().iter().map(|(it, n)| json!([it, n])).collect();
        app.out.json(&json!({ "tasks": totals.standing(), "states": states, "dry_run": true }))?;
    }
    Ok(Exit::Good)
}

async fn go(app: &App, from: &dyn Store, to: &dyn Store) -> Result<Exit> {
    let total = from.totals().await.map_err(fault)?.standing();
    let way = Way::default();
    let news = |phase, n| way.hear(phase, n);
    let moving = migrate::migrate(from, to, &news);
    let moved = watch(app, total, &way, moving, "the same command goes on where it was").await?;
    let Some(moved) = moved else { return Ok(Exit::Interrupted) };
    told(app, &moved, from, to)?;
    app.out.say("keep the source closed from now on: both would pay for the same tasks");
    Ok(Exit::Good)
}

/// Says what stands where.
pub(super) fn told(app: &App, moved: &Moved, from: &dyn Store, to: &dyn Store) -> Result<()> {
    if !app.out.is_table() {
        app.out.json(moved)?;
    }
    let tasks = counted(moved.tasks, "task of", "tasks of");
    let stand = if moved.tasks == 1 { "stands" } else { "stand" };
    app.out.say(&format!(
        "{tasks} {} {stand} in {} as they stood there ({} copied now); {} documents, {} lines of the audit log",
        from.url(),
        to.url(),
        moved.copied,
        moved.documents,
        moved.audit
    ));
    Ok(())
}
