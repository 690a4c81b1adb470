//! `deadletter doctor`: looks at everything that work needs, and says what to do where it fails.
//!
//! Nothing is submitted and no store is made. A check that rests on one that failed is not made,
//! and says so.

mod account;
mod disk;
mod ledger;
mod queue;
mod server;
mod upstream;

use crate::{
    app::App,
    config::Settings,
    exit::Exit,
    fault::{Fault, Result},
    shelf::{self, Place, Shelf},
};
use deadletter::store::is_on_a_server;
use serde_json::json;

/// Arguments.
#[derive(Debug, clap::Args)]
#[command(
    before_help = "Examples:\n  deadletter doctor\n  deadletter doctor --offline --json",
    after_help = "Upstream is asked for the account's threads, never for work. \
                  The exit code is that of the first check that failed."
)]
pub(crate) struct Args {
    /// Ask nothing of upstream
    #[arg(long)]
    offline: bool,
}

/// What one check found.
#[derive(Debug)]
enum Finding {
    /// As it should be.
    Good(String),
    /// Work goes on, and somebody should look: what, and what to do.
    Doubtful(String, String),
    /// Work cannot go on.
    Bad(Fault),
    /// Not looked at, and why.
    Unknown(&'static str),
}

impl From<Result<String>> for Finding {
    fn from(result: Result<String>) -> Self {
        result.map_or_else(Self::Bad, Self::Good)
    }
}

pub(super) async fn run(app: &App, args: &Args) -> Result<Exit> {
    let mut report = Report { app, first_bad: None, doubtful: 0 };
    let settings = match app.settings() {
        Ok(settings) => settings,
        Err(fault) => {
            report.add("configuration", Finding::Bad(fault))?;
            for name in ["key", "disk", "store", "queue", "account", "upstream"] {
                report.add(name, Finding::Unknown("the configuration cannot be read"))?;
            }
            return Ok(report.end());
        }
    };
    report.add("configuration", configuration(app, &settings))?;
    let key = settings.key().map(|_| format!("account {} has one", settings.account));
    let has_key = key.is_ok();
    report.add("key", key.into())?;
    let place = shelf::place(&settings);
    let disk =
        place.as_ref().map_or(Finding::Unknown("`store` names no store"), |p| disk::look(*p));
    report.add("disk", disk)?;
    if let Some(ledger) = ledger::look(&settings) {
        report.add("ledger", ledger)?;
    }
    let (workers, store) = match place {
        Ok(Place::File(path)) => {
            let workers = queue::workers(shelf::clock(&settings), path).await;
            (Some(workers), store(app, &settings, path).await)
        }
        // Only this process works on a store in memory.
        Ok(Place::Memory) => (Some(Ok(0)), opened(Shelf::open(app, &settings).await).await),
        Ok(Place::Server) => (None, opened(Shelf::open_existing(&settings).await).await),
        Err(fault) => (None, Err(fault)),
    };
    let shelf = match store {
        Ok(opened) => {
            let (shelf, finding) = opened;
            report.add("store", finding)?;
            shelf
        }
        Err(fault) => {
            report.add("store", Finding::Bad(fault))?;
            None
        }
    };
    let (queue, account) = match &shelf {
        Some(shelf) => {
            let workers = match workers {
                Some(workers) => workers,
                None => queue::workers_of(shelf).await,
            };
            (queue::look(shelf, workers).await, account::look(&settings, shelf).await)
        }
        None => {
            let none = || Finding::Unknown("there is no store to look into");
            (none(), none())
        }
    };
    if let (Some(shelf), true) = (&shelf, is_on_a_server(&settings.store)) {
        report.add("server", server::look(shelf).await)?;
    }
    report.add("queue", queue)?;
    report.add("account", account)?;
    let upstream = match (args.offline, has_key) {
        (true, _) => Finding::Unknown("not asked: --offline"),
        (_, false) => Finding::Unknown("not asked: there is no key"),
        (false, true) => upstream::look(&settings).await,
    };
    report.add("upstream", upstream)?;
    Ok(report.end())
}

fn configuration(app: &App, settings: &Settings) -> Finding {
    if let Err(fault) = settings.refuse_fast_clock() {
        return Finding::Bad(fault);
    }
    match crate::config::find(&app.environment, app.global.config.as_deref()) {
        Ok(Some(path)) => Finding::Good(format!("{} is valid", path.display())),
        Ok(None) => Finding::Good("valid; no file, so variables and defaults".to_owned()),
        Err(fault) => Finding::Bad(fault),
    }
}

/// Opens the store and writes to it; a file that is not there yet is left so.
async fn store(
    app: &App,
    settings: &Settings,
    path: &std::path::Path,
) -> Result<(Option<Shelf>, Finding)> {
    if !path.exists() {
        return Ok((None, missing(settings, path)));
    }
    opened(Shelf::open(app, settings).await).await
}

/// Writes to a store.
async fn opened(shelf: Result<Shelf>) -> Result<(Option<Shelf>, Finding)> {
    let shelf = shelf?;
    queue::write(&shelf).await?;
    let class = shelf.store.durability();
    let text = format!("{} takes writes; durability {class}", shelf.store.url());
    Ok((Some(shelf), Finding::Good(text)))
}

/// A file that is not there yet is made by the first task, if that is where it should be.
fn missing(settings: &Settings, path: &std::path::Path) -> Finding {
    let folder = path.parent().filter(|it| !it.as_os_str().is_empty());
    let no_folder = folder.filter(|folder| !folder.is_dir());
    match (&settings.store_from, no_folder) {
        (None, _) => Finding::Good(format!("{} is made by the first task", settings.store)),
        (Some(from), None) => Finding::Doubtful(
            format!("{from} names a file that does not exist: {}", settings.store),
            "look for a slip in the path; the first task makes the file".to_owned(),
        ),
        (Some(from), Some(folder)) => Finding::Bad(
            Fault::failed(format!(
                "{from} names a file in a folder that does not exist: {}",
                settings.store
            ))
            .fix(format!("look for a slip in the path, or make {}", folder.display())),
        ),
    }
}

/// What was found so far.
struct Report<'a> {
    app: &'a App,
    first_bad: Option<Exit>,
    doubtful: u32,
}

impl Report<'_> {
    fn add(&mut self, check: &'static str, finding: Finding) -> Result<()> {
        let out = &self.app.out;
        let (status, detail, fix) = match finding {
            Finding::Good(detail) => ("ok", detail, None),
            Finding::Unknown(why) => ("skipped", why.to_owned(), None),
            Finding::Doubtful(detail, fix) => {
                self.doubtful += 1;
                ("doubtful", detail, Some(fix))
            }
            Finding::Bad(fault) => {
                self.first_bad = self.first_bad.or(Some(fault.exit));
                let why = fault.why_text().map(|why| format!(": {why}")).unwrap_or_default();
                ("failed", format!("{}{why}", fault.what), fault.fix)
            }
        };
        if !out.is_table() {
            return out
                .json(&json!({"check": check, "status": status, "detail": detail, "fix": fix}));
        }
        out.data(&crate::render::plain(&format!("{status:<9} {check:<14} {detail}")))?;
        match fix {
            Some(fix) => out.data(&crate::render::plain(&format!("{:24} -> {fix}", ""))),
            None => Ok(()),
        }
    }

    fn end(self) -> Exit {
        let (exit, word) = match (self.first_bad, self.doubtful) {
            (Some(exit), _) => (exit, "not everything that work needs is there"),
            (None, 0) => (Exit::Good, "all is well"),
            (None, _) => (Exit::Good, "work can go on; look at what is doubtful"),
        };
        self.app.out.say(word);
        exit
    }
}
