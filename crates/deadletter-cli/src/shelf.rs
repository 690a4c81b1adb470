//! The store as the commands use it: opened from the settings, read page by page.

use crate::{
    app::App,
    config::Settings,
    fault::{Fault, Result},
    on_a_server,
    render::Record,
};
use deadletter::{
    TaskFile,
    core::{Event, Filter, StateKind, Task, TaskId, UnixMs},
    store::{self, Clock, FastClock, Query, Store, SystemClock},
};
use std::{path::Path, sync::Arc};

/// Tasks of one page.
const PAGE: u32 = 500;
/// A fast clock that is given no anchor begins at midnight, so that the processes of one day agree.
const DAY_MS: i64 = 86_400_000;
/// Rows that a store looks at for one page, so that a rare filter does not make it hang.
const SCAN: u32 = 20_000;

/// An open store.
#[derive(Clone)]
pub(crate) struct Shelf {
    /// The store.
    pub(crate) store: Arc<dyn Store>,
}

impl Shelf {
    /// Opens the store that the settings name, and creates it where nothing stands: then that is said,
    /// since a slip in its name looks like that.
    pub(crate) async fn open(app: &App, settings: &Settings) -> Result<Self> {
        match store::open_existing(&settings.store, clock(settings)).await {
            Err(store::Error::Missing(_)) => {}
            opened => return Ok(Self { store: opened.map_err(fault)? }),
        }
        let store = store::open(&settings.store, clock(settings)).await.map_err(fault)?;
        let url = store.url();
        tracing::info!(store = url, "a new store was begun");
        app.out.say(&format!("a new store was begun at {url}"));
        Ok(Self { store })
    }

    /// Opens the store that the settings name for a command that has nothing to do where none
    /// stands: it is not created, so that a slip in a path is not taken for an empty queue.
    pub(crate) async fn open_existing(settings: &Settings) -> Result<Self> {
        let opened = store::open_existing(&settings.store, clock(settings)).await;
        let store = opened.map_err(|error| missing_or(settings, error))?;
        Ok(Self { store })
    }

    /// Store time.
    pub(crate) fn now(&self) -> UnixMs {
        self.store.clock().now()
    }

    /// Hands every task that `filter` chooses to `take`, until it answers false.
    pub(crate) async fn each(
        &self,
        filter: &Filter,
        newest_first: bool,
        mut take: impl AsyncFnMut(Task) -> Result<bool>,
    ) -> Result<()> {
        let mut after = None;
        loop {
            let query = Query {
                filter: filter.clone(),
                now: self.now(),
                newest_first,
                after,
                limit: PAGE,
                scan_limit: SCAN,
            };
            let page = self.store.page(&query).await.map_err(fault)?;
            for task in page.tasks {
                if !take(task).await? {
                    return Ok(());
                }
            }
            after = page.next;
            if after.is_none() {
                return Ok(());
            }
        }
    }

    /// Everything that is kept of a task; none where it does not exist.
    pub(crate) async fn file(&self, id: TaskId) -> Result<Option<TaskFile>> {
        TaskFile::read(self.store.as_ref(), id).await.map_err(fault)
    }
}

/// Most events, and most operations, that are told of one task.
const TRAIL: u32 = 1_000;

impl Shelf {
    /// When a task died last; what has changed about it since is not meant.
    pub(crate) async fn died_at(&self, task: &Task) -> Result<UnixMs> {
        let trail =
            self.store.trail(task.id, &store::Seen::default(), TRAIL).await.map_err(fault)?;
        let is_death = |event: &Event| matches!(event.state, StateKind::Dead | StateKind::Buried);
        let last = trail.events.into_iter().rev().find(|(_, event)| is_death(event));
        Ok(last.map_or(task.updated_at, |(_, event)| event.at))
    }

    /// What is on record of a task beside its attempts.
    pub(crate) async fn record(&self, id: TaskId) -> Result<Record> {
        let trail = self.store.trail(id, &store::Seen::default(), TRAIL).await.map_err(fault)?;
        let mut record = Record {
            events: trail.events.into_iter().map(|(_, event)| event).collect(),
            operations: Vec::new(),
        };
        for (operation, item) in trail.items {
            let key = format!("operation/{operation}");
            let document = self.store.document(&key).await.map_err(fault)?;
            let operation = document.and_then(|it| serde_json::from_str(&it.body).ok());
            record.operations.extend(operation.map(|operation| (operation, item.state)));
        }
        Ok(record)
    }
}

/// The clock of the settings: the machine's, or in tests one that runs fast.
pub(crate) fn clock(settings: &Settings) -> Arc<dyn Clock> {
    match settings.time_scale {
        Some((speed, anchor)) => {
            let now = SystemClock.now().0;
            let midnight = UnixMs(now - now.rem_euclid(DAY_MS));
            Arc::new(FastClock::new(anchor.unwrap_or(midnight), speed))
        }
        None => Arc::new(SystemClock),
    }
}

/// What holds the settings' store.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Place<'s> {
    /// This process.
    Memory,
    /// A file, whether it stands or not.
    File(&'s Path),
    /// A server.
    Server,
}

/// What holds the settings' store.
pub(crate) fn place(settings: &Settings) -> Result<Place<'_>> {
    check(settings)?;
    match settings.store.as_str() {
        "memory:" => Ok(Place::Memory),
        url if store::is_on_a_server(url) => Ok(Place::Server),
        url => store::sqlite_path(url).map(Place::File).map_err(fault),
    }
}

/// Refuses settings whose store no command could open, without looking at what stands there.
pub(crate) fn check(settings: &Settings) -> Result<()> {
    store::check_url(&settings.store).map_err(fault)
}

/// Refuses settings whose store does not exist yet.
pub(crate) async fn refuse_missing(settings: &Settings) -> Result<()> {
    match place(settings)? {
        // What stands on a server is known to the server alone.
        Place::Server => Shelf::open_existing(settings).await?.store.close().await.map_err(fault),
        Place::Memory | Place::File(_) => refuse_missing_file(settings),
    }
}

/// Refuses settings whose store would be a file that does not exist yet.
pub(crate) fn refuse_missing_file(settings: &Settings) -> Result<()> {
    store::refuse_missing(&settings.store).map_err(|error| missing_or(settings, error))
}

/// The fault of an error, and advice where the store is yet to be made.
pub(crate) fn missing_or(settings: &Settings, error: store::Error) -> Fault {
    match error {
        store::Error::Missing(place) => missing(&place, settings.store_from.as_deref()),
        error => fault(error),
    }
}

/// Nothing was ever stored, or the path is a slip.
fn missing(path: &str, from: Option<&str>) -> Fault {
    match from {
        None => Fault::failed("nothing has been stored yet")
            .why(format!("there is no store at {path}, where one is kept by default"))
            .fix("`deadletter run FILE` or `deadletter solve` begins one; --store names another"),
        Some(from) => Fault::failed(format!("there is no store at {path}"))
            .why(format!("{from} names it, and this command creates none"))
            .fix("look for a slip in its name; `deadletter run FILE` begins a store there"),
    }
}

/// The fault that a store's error is.
pub(crate) fn fault(error: store::Error) -> Fault {
    kind(&error).because(error)
}

/// The same for an error that others hold too.
pub(crate) fn shared_fault(error: &store::Error) -> Fault {
    let source = std::error::Error::source(error).map_or(String::new(), |why| format!(": {why}"));
    kind(error).why(format!("{error}{source}"))
}

/// What failed, and what to do.
fn kind(error: &store::Error) -> Fault {
    if let Some(fault) = on_a_server::of_move(error).or_else(|| on_a_server::kind(error)) {
        return fault;
    }
    match error {
        store::Error::BadUrl(_) => Fault::usage("there is no such store")
            .fix(
                "for example --store sqlite:tasks.db, postgres://USER:PASSWORD@HOST/DATABASE or \
                 redis://USER:PASSWORD@HOST; `deadletter config show` tells where the store is set",
            ),
        store::Error::Missing(_) => Fault::failed("there is no store")
            .fix("look for a slip in the path; `deadletter run FILE` begins a store there"),
        store::Error::Exists(_) => Fault::usage("nothing is overwritten")
            .fix("name another path"),
        store::Error::Refused(_) => Fault::usage("the question cannot be asked")
            .fix("it can only read; `deadletter query` without a question lists the tables"),
        store::Error::NetworkFileSystem { .. } => Fault::failed("a store cannot be kept there")
            .fix("name a file on a local disk with --store sqlite:PATH"),
        store::Error::TooNew { .. } => Fault::failed("the store is of a newer program")
            .fix("use the newer deadletter, or another --store"),
        store::Error::Denied { .. } => Fault::failed("the server does not let this program in")
            .fix(
                "look for a slip in user, password and database of the URL; a database is made by \
                 CREATE DATABASE, and pg_hba.conf says who may come from where",
            ),
        store::Error::Full { .. } => Fault::failed("the store's disk is full")
            .fix(
            "make room; what was accepted is kept, and the same command can be run again (a batch \
             with --resume)",
        ),
        store::Error::ReadOnly { .. } => Fault::failed("the store may not be written").fix(
            "give this user the right to write the file, its log (-wal) and its folder, or mount \
             the disk for writing; `deadletter store info` and `query` only read",
        ),
        store::Error::Unavailable { .. } => Fault::failed("the store is not available")
            .fix(
            "look whether another program holds its file, and whether its disk answers (dmesg); \
             then try again",
        ),
        store::Error::Damaged { .. } => Fault::failed("the store is damaged; nothing was changed")
            .fix(
                "`deadletter store check` tells what is wrong; put a backup in its place, or bring \
                 out what can be read: deadletter export --salvage --with-secrets --out rescued.jsonl",
            ),
        store::Error::Empty(_) => {
            Fault::failed("the store's file is empty; nothing was changed").fix(
                "remove it to begin a new one; where a store stood there, put a backup in its place",
            )
        }
        store::Error::InDoubt { .. } => {
            Fault::failed("the disk failed in the middle of a write; nobody knows what was written")
                .fix(
                    "look after the disk (dmesg, free space); what was accepted before is kept, \
                     and the same command can be run again (a batch with --resume)",
                )
        }
        _ => Fault::failed("the store did not do what it was asked"),
    }
}

/// The filter that the words of a command line say; none where there are no words.
pub(crate) fn filter_of(words: &[String]) -> Result<Option<Filter>> {
    if words.is_empty() {
        return Ok(None);
    }
    let text = words.join(" ");
    if text.trim().is_empty() {
        return Err(Fault::usage("the filter is empty")
            .why("an unset variable of a shell is empty, and everything is seldom meant")
            .fix("'*' chooses every task; for example: state:dead cause:TIMEOUT"));
    }
    let filter = text.parse::<Filter>();
    filter.map(Some).map_err(|error| {
        Fault::usage("the filter cannot be read")
            .because(error)
            .fix("for example: state:dead cause:TIMEOUT host:*.example.com age:<24h")
    })
}

/// `given`, or the dead letters where nothing is given.
pub(crate) fn dead_unless(given: Option<Filter>, states: &str) -> Result<Filter> {
    match given {
        Some(filter) => Ok(filter),
        None => states
            .parse()
            .map_err(|error| Fault::failed("a filter of ours is broken").because(error)),
    }
}

/// What every command that looks at a store does first.
pub(crate) async fn open(app: &App) -> Result<Shelf> {
    Shelf::open_existing(&app.settings()?).await
}
