//! The Redis store as its callers see it.

use super::{
    failure::{Failure, Outcome},
    info::Info,
    kept::Kept,
    keys::Keys,
    lanes::Lanes,
    ledger::Ledger,
    life::Life,
    lines::{Line, Lines},
    rights,
    server::{Call, Server, Work},
    tasks::{Commits, Inserts},
    url::Target,
};
use crate::{
    Ailment, Clock, Durability, Error, Result, Store, SystemClock, gather::Gather,
    server_clock::ServerClock,
};
use async_trait::async_trait;
use deadletter_core::{UnixMs, WorkerId};
use redis::{Cmd, pipe};
use std::{
    collections::HashMap,
    fmt,
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

/// The layout of the keys: a store with a higher number is a newer program's.
const SCHEMA: i64 = 1;
/// Questions for the time until one is answered soon enough to go by.
const CLOCK_TRIES: u32 = 3;

/// A store under one prefix of a Redis server.
pub struct RedisStore {
    server: Arc<Server>,
    /// Calls of many callers, made together.
    pub(super) inserts: Gather<Inserts>,
    pub(super) commits: Gather<Commits>,
    /// Held by a claim while it loads and writes: two of one process would only meet.
    pub(super) claims: tokio::sync::Mutex<()>,
    /// Where the store's clock follows the server's.
    server_clock: Option<Arc<ServerClock>>,
    durability: Durability,
}

impl RedisStore {
    /// Opens the store that `url` names and measures time by `clock`; it is made where nothing stands.
    ///
    /// Processes that share the store must share the clock, or their times disagree.
    ///
    /// Errors: `BadUrl`, `Unavailable`, `Denied`, `ReadOnly`, `TooNew`, `Refused`, `Damaged`.
    pub async fn open(url: &str, clock: Arc<dyn Clock>) -> Result<Self> {
        Self::open_with(url, clock, None, true).await
    }

    /// The same for many machines: `own` is set by the server's clock. Where nothing stands, a store
    /// is made only if `create`; else the error is `Missing`.
    pub(crate) async fn open_by_server_time(
        url: &str,
        own: Arc<dyn Clock>,
        create: bool,
    ) -> Result<Self> {
        let clock = Arc::new(ServerClock::new(own));
        Self::open_with(url, Arc::clone(&clock) as _, Some(clock), create).await
    }

    async fn open_with(
        url: &str,
        clock: Arc<dyn Clock>,
        server_clock: Option<Arc<ServerClock>>,
        create: bool,
    ) -> Result<Self> {
        let target = Target::parse(url)?;
        let (url, keys) = (target.shown(), Keys::under(&target.prefix));
        let folder = target.ledger.clone();
        let lines = Lines::to(target)?;
        let opened = open(&lines, &keys, &url, create).await;
        let opened = opened.map_err(|failure| failure.into_error("open").about(&url))?;
        let ledger = folder.map(|it| Arc::new(Ledger::new(it, &opened.epoch, &opened.handle)));
        let server = Arc::new(Server {
            url,
            keys,
            clock,
            lines,
            lanes: Lanes::new(),
            handle: opened.handle,
            told: AtomicU64::new(opened.seq),
            life: Life::new(&opened.epoch),
            kept: Kept::default(),
            ledger,
            put_back: AtomicU64::new(1),
            tries: AtomicU64::default(),
        });
        let (inserts, commits) = (Gather::start(&server), Gather::start(&server));
        let claims = tokio::sync::Mutex::default();
        let durability = opened.durability;
        let store = Self { server, inserts, commits, claims, server_clock, durability };
        store.set_clock().await?;
        Ok(store)
    }

    /// Runs a call that writes; again where it met another one.
    pub(super) async fn transact<T, F, R>(&self, what: &'static str, call: F) -> Result<T>
    where
        F: Fn(Call) -> R,
        R: Future<Output = Outcome<Work<T>>>,
    {
        self.server.transact(what, call).await
    }

    /// Runs a call that only reads.
    pub(super) async fn look<T, F, R>(&self, what: &'static str, call: F) -> Result<T>
    where
        F: Fn(Call) -> R,
        R: Future<Output = Outcome<T>>,
    {
        self.server.look(what, call).await
    }

    /// Takes along what earlier processes have submitted, before anything is.
    pub(super) async fn recall(&self) -> Result<()> {
        self.server.recall().await
    }

    /// A worker beats by this handle from now on, or does so no more.
    pub(super) fn heard(&self, worker: &WorkerId, is_alive: bool) {
        self.server.life.beats(worker, is_alive);
    }

    /// The same where others may have done it already, and not put it back yet.
    pub(super) async fn transact_with_others<T, F, R>(
        &self,
        what: &'static str,
        call: F,
    ) -> Result<T>
    where
        F: Fn(Call) -> R,
        R: Future<Output = Outcome<Work<T>>>,
    {
        self.server.transact_with_others(what, call).await
    }

    /// Waits for whoever may still put back what the server lost: whether there was anybody.
    pub(super) async fn wait_for_others(&self) -> Result<bool> {
        self.server.wait_for_others().await
    }

    /// True once after the server has lost what this handle was told.
    pub(super) fn take_loss(&self) -> bool {
        self.server.life.take_loss()
    }

    /// Measures again how far the server's clock is from this machine's, where that counts.
    pub(super) async fn set_clock(&self) -> Result<()> {
        let Some(clock) = &self.server_clock else { return Ok(()) };
        for _ in 0..CLOCK_TRIES {
            let is_set = self.look("ask for the time", |call| async move {
                let asked = SystemClock.now();
                let server = time(call.ask_one(time_question()).await?);
                Ok(clock.set(server, asked, SystemClock.now()))
            });
            if is_set.await? {
                break;
            }
        }
        Ok(())
    }
}

#[async_trait]
impl Store for RedisStore {
    fn durability(&self) -> Durability {
        self.durability
    }

    fn clock(&self) -> Arc<dyn Clock> {
        Arc::clone(&self.server.clock)
    }

    fn url(&self) -> String {
        self.server.url.clone()
    }

    async fn pulse(&self) -> Result<u64> {
        let server = &self.server;
        self.look("look for news", |call| async move {
            let told = server.told.load(Ordering::Relaxed);
            let about = Cmd::hmget(call.keys().meta(), &["epoch", "seq"]);
            let (epoch, seq): (Option<String>, Option<i64>) = call.ask_one(about).await?;
            let seq = seq.unwrap_or(0);
            server.believe(epoch.as_deref() == Some(&*server.life.epoch()), told, seq)?;
            Ok(seq.unsigned_abs())
        })
        .await
    }

    async fn ailments(&self) -> Result<Vec<Ailment>> {
        self.losses().await
    }

    async fn close(&self) -> Result<()> {
        self.server.lanes.close().await;
        self.server.lines.close().await;
        if let Some(ledger) = &self.server.ledger {
            ledger.close();
        }
        Ok(())
    }
}

/// What is learned of a store at opening.
struct Opened {
    handle: String,
    epoch: String,
    seq: u64,
    durability: Durability,
}

async fn open(lines: &Lines, keys: &Keys, url: &str, create: bool) -> Outcome<Opened> {
    let (mut line, info) = lines.open().await?;
    let meta = keys.meta();
    let schema: Option<i64> = line.ask_one(&Cmd::hget(&meta, "schema")).await?;
    if schema.is_none() && !create {
        return Err(Error::Missing(url.to_owned()).into());
    }
    if let Some(found) = schema.filter(|found| *found > SCHEMA) {
        return Err(Error::TooNew { store: url.to_owned(), found, known: SCHEMA }.into());
    }
    rights::refuse_missing(&mut line, keys).await?;
    let now = line.ask_one::<(i64, i64)>(&time_question()).await?;
    // Nobody else begins a store with the same server at the same microsecond.
    let mark = format!("{}-{}-{}", info.word("run_id"), now.0, now.1);
    // Of two who make it at once, the first does.
    let mut begin = pipe();
    begin.hset_nx(&meta, "epoch", mark).hset_nx(&meta, "seq", 0).hset_nx(&meta, "events", 0);
    begin.hset_nx(&meta, "run", info.run());
    begin.hset_nx(&meta, "schema", SCHEMA).hincr(&meta, "handles", 1);
    line.ask(&begin).await?;
    let about = Cmd::hmget(&meta, &["epoch", "seq", "handles"]);
    let (epoch, seq, handles): (String, u64, u64) = line.ask_one(&about).await?;
    let handle = format!("{handles}-{}-{}", now.0, now.1);
    let durability = durability(&mut line, &info, url).await;
    Ok(Opened { handle, epoch, seq, durability })
}

/// What the server's settings promise; where they are weak, its log is not the only one to say so.
async fn durability(line: &mut Line, info: &Info, url: &str) -> Durability {
    let question = redis::cmd("CONFIG").arg("GET").arg("appendfsync").take();
    // A service may keep its settings to itself.
    let settings: Result<HashMap<String, String>, Failure> = line.ask_one(&question).await;
    let fsync = settings.ok().and_then(|mut settings| settings.remove("appendfsync"));
    let durability = info.durability(fsync.as_deref());
    match durability {
        Durability::D0 => tracing::warn!(
            store = url,
            "the server has appendonly off: all since its last snapshot is lost when it ends"
        ),
        Durability::D1 if fsync.is_none() => tracing::warn!(
            store = url,
            "this user may not ask how the server flushes (+config|get): nothing is promised beyond \
             D1, that the last second or two may be lost with its machine"
        ),
        Durability::D1 => tracing::warn!(
            store = url,
            "the server does not flush each write (appendfsync always): the last second or two may \
             be lost with its machine"
        ),
        Durability::D2 | Durability::D3 => {}
    }
    durability
}

fn time_question() -> Cmd {
    redis::cmd("TIME")
}

/// Seconds and microseconds.
fn time((seconds, micros): (i64, i64)) -> UnixMs {
    UnixMs(seconds.saturating_mul(1_000).saturating_add(micros / 1_000))
}

impl fmt::Debug for RedisStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisStore").field("url", &self.server.url).finish_non_exhaustive()
    }
}
