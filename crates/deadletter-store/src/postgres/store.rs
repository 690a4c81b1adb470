//! The PostgreSQL store as its callers see it.

use super::{
    clock,
    columns::Columns,
    connect::Connection,
    failure::{Failure, Outcome},
    partition,
    pool::Pool,
    schema::{self, Schema},
    server::Server,
    statement::Statement,
    tasks::{Commits, Inserts},
    transaction::{Begin, Transaction, Work},
    url::Target,
};
use crate::{
    Ailment, Clock, Durability, Result, Store, SystemClock, gather::Gather,
    server_clock::ServerClock,
};
use async_trait::async_trait;
use std::{fmt, future::Future, sync::Arc};
use tokio_postgres::{Row, SimpleQueryMessage};

const SETTINGS: &str = "SELECT current_setting('synchronous_commit'), current_setting('fsync'), \
     current_setting('full_page_writes'), current_setting('synchronous_standby_names')";

/// Other transactions may see what this one sees as long as it is open, and it waits for nobody. No
/// partition is dropped meanwhile.
const KEEP_SNAPSHOT: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; \
     SET LOCAL idle_in_transaction_session_timeout = 0; \
     LOCK TABLE \"{schema}\".past_attempts IN ACCESS SHARE MODE; SELECT pg_export_snapshot()";

/// Questions for the time until one is answered soon enough to go by.
const CLOCK_TRIES: u32 = 3;

const PULSE: &str = "SELECT coalesce(sum(n), 0)::bigint FROM pulses";

/// A store in one schema of a PostgreSQL database.
pub struct PostgresStore {
    pub(super) server: Arc<Server>,
    /// Calls of many callers, made together.
    pub(super) inserts: Gather<Inserts>,
    pub(super) commits: Gather<Commits>,
    /// Where the store's clock follows the server's.
    server_clock: Option<Arc<ServerClock>>,
    durability: Durability,
    /// Where all is read as it was at one instant: the transaction that keeps it so.
    _keeper: Option<Connection>,
}

impl PostgresStore {
    /// Opens the store that `url` names and measures time by `clock`; its tables are made where
    /// they are missing.
    ///
    /// Processes that share the store must share the clock, or their times disagree.
    ///
    /// Errors: `BadUrl`, `Unavailable`, `Denied`, `ReadOnly`, `TooNew`, `Refused`, `Damaged`.
    pub async fn open(url: &str, clock: Arc<dyn Clock>) -> Result<Self> {
        Self::open_with(url, clock, None, Shows::Present { create: true }).await
    }

    /// The same for many machines: `own` is set by the server's clock. Where nothing stands, tables
    /// are made only if `create`; else the error is `Missing`.
    pub(crate) async fn open_by_server_time(
        url: &str,
        own: Arc<dyn Clock>,
        create: bool,
    ) -> Result<Self> {
        let clock = Arc::new(ServerClock::new(own));
        Self::open_with(url, Arc::clone(&clock) as _, Some(clock), Shows::Present { create }).await
    }

    /// The store that stands at `url` as it is at this moment, whoever works on it meanwhile; it can
    /// only be read. The server keeps what is deleted until this value is dropped.
    pub(crate) async fn open_snapshot(url: &str, own: Arc<dyn Clock>) -> Result<Self> {
        let clock = Arc::new(ServerClock::new(own));
        Self::open_with(url, Arc::clone(&clock) as _, Some(clock), Shows::OneInstant).await
    }

    async fn open_with(
        url: &str,
        clock: Arc<dyn Clock>,
        server_clock: Option<Arc<ServerClock>>,
        shows: Shows,
    ) -> Result<Self> {
        let target = Target::parse(url)?;
        let url = target.shown();
        let schema = target.schema.clone();
        let beats = Pool::new(target.of_one())?;
        let pool = Pool::new(target.without_one())?;
        let opened = async {
            let lease = pool.lend("open").await?;
            let schema = Schema { name: &schema, store: &url };
            let create = matches!(shows, Shows::Present { create: true });
            let prepared = prepare(&lease, &schema, create).await;
            let durability = prepared.map_err(|failure| failure.into_error("open"))?;
            lease.give_back();
            let (begin, keeper) = match shows {
                Shows::Present { .. } => (Begin::in_schema(schema.name), None),
                Shows::OneInstant => keep_snapshot(&pool, schema.name).await?,
            };
            Ok((durability, begin, keeper))
        };
        let opened = opened.await.map_err(|error: crate::Error| error.about(&url))?;
        let (durability, begin, keeper) = opened;
        let server = Arc::new(Server { url, pool, beats, begin, clock });
        let (inserts, commits) = (Gather::start(&server), Gather::start(&server));
        let store = Self { server, inserts, commits, server_clock, durability, _keeper: keeper };
        store.set_clock(&store.server.pool).await?;
        if matches!(shows, Shows::Present { .. }) {
            partition::make(&store.server).await;
        }
        Ok(store)
    }

    /// Runs a call that writes, in a transaction of its own; again where it met another one.
    pub(super) async fn transact<T, F, R>(&self, what: &'static str, call: F) -> Result<T>
    where
        F: Fn(Transaction) -> R,
        R: Future<Output = Outcome<Work<T>>>,
    {
        self.server.transact(what, call).await
    }

    /// The same for a call by which a worker lives: it waits for no other call of this process.
    pub(super) async fn transact_alive<T, F, R>(&self, what: &'static str, call: F) -> Result<T>
    where
        F: Fn(Transaction) -> R,
        R: Future<Output = Outcome<Work<T>>>,
    {
        self.server.transact_on(&self.server.beats, what, call).await
    }

    /// Runs a call that only reads.
    pub(super) async fn look<T, F, R>(&self, what: &'static str, call: F) -> Result<T>
    where
        F: Fn(Transaction) -> R,
        R: Future<Output = Outcome<T>>,
    {
        self.server.look(what, call).await
    }

    /// Asks one question, and reads each row of its answer.
    pub(super) async fn rows<T>(
        &self,
        what: &'static str,
        question: Statement,
        read: impl Fn(&Row) -> Outcome<T> + Send + Sync,
    ) -> Result<Vec<T>> {
        let (question, read) = (&question, &read);
        self.look(what, |tx| async move { tx.read(question).await?.iter().map(read).collect() })
            .await
    }

    /// The same, from left to right.
    pub(super) async fn list<T>(
        &self,
        what: &'static str,
        question: Statement,
        read: impl Fn(&mut Columns<'_>) -> Outcome<T> + Send + Sync,
    ) -> Result<Vec<T>> {
        self.rows(what, question, |row| read(&mut Columns::of(row))).await
    }

    /// Measures again how far the server's clock is from this machine's, where that counts.
    pub(super) async fn set_clock(&self, pool: &Pool) -> Result<()> {
        let Some(clock) = &self.server_clock else { return Ok(()) };
        for _ in 0..CLOCK_TRIES {
            let is_set = self.server.look_on(pool, "ask for the time", |tx| async move {
                let asked = SystemClock.now();
                let server = clock::answer(&tx.read(&clock::question()).await?);
                Ok(server.is_some_and(|server| clock.set(server, asked, SystemClock.now())))
            });
            if is_set.await? {
                break;
            }
        }
        Ok(())
    }
}

#[async_trait]
impl Store for PostgresStore {
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
        let pulse = Statement::new(PULSE);
        let pulse = self.list("look for news", pulse, |columns| columns.number()).await?;
        Ok(pulse.last().copied().unwrap_or(0))
    }

    async fn ailments(&self) -> Result<Vec<Ailment>> {
        self.look_for_ailments().await
    }

    async fn close(&self) -> Result<()> {
        self.server.pool.close().await;
        self.server.beats.close().await;
        Ok(())
    }
}

/// What a handle shows.
#[derive(Clone, Copy)]
enum Shows {
    /// The store as it is; where nothing stands, tables are made only if `create`.
    Present { create: bool },
    /// The store as it was when it was opened.
    OneInstant,
}

/// Takes a snapshot, and answers how transactions begin that see it, and what keeps it.
async fn keep_snapshot(pool: &Pool, schema: &str) -> Result<(Begin, Option<Connection>)> {
    let keeper = pool.connect().await?;
    let kept = keeper.run(&KEEP_SNAPSHOT.replace("{schema}", schema)).await.and_then(|said| {
        let id = said.iter().find_map(|message| match message {
            SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
            _ => None,
        });
        id.ok_or(Failure::Silence)
    });
    let id = kept.map_err(|failure| failure.into_error("take a snapshot"))?;
    Ok((Begin::in_snapshot(schema, &id), Some(keeper)))
}

/// What is done once at opening: tables and settings.
async fn prepare(
    connection: &Connection,
    schema: &Schema<'_>,
    create: bool,
) -> Outcome<Durability> {
    schema.upgrade(connection, schema::STEPS, create).await?;
    let rows = connection.ask(&Statement::new(SETTINGS)).await?;
    let Some(row) = rows.first() else { return Err(Failure::Silence) };
    let columns = &mut Columns::of(row);
    let settings = Settings {
        synchronous_commit: columns.take()?,
        fsync: columns.take()?,
        full_page_writes: columns.take()?,
        standbys: columns.take()?,
    };
    Ok(settings.durability())
}

/// The server's settings that say what an answered commit survives.
struct Settings {
    synchronous_commit: String,
    fsync: String,
    full_page_writes: String,
    standbys: String,
}

impl Settings {
    /// <https://www.postgresql.org/docs/current/wal-reliability.html>
    fn durability(&self) -> Durability {
        let is_weak = |name: &str, value: &str| {
            if value == "off" {
                tracing::warn!(
                    "the server has {name} = off: the last second may be lost with its machine"
                );
            }
            value == "off"
        };
        let weak = [
            is_weak("synchronous_commit", &self.synchronous_commit),
            is_weak("fsync", &self.fsync),
            is_weak("full_page_writes", &self.full_page_writes),
        ];
        match self.synchronous_commit.as_str() {
            _ if weak.contains(&true) => Durability::D1,
            "local" => Durability::D2,
            _ if self.standbys.is_empty() => Durability::D2,
            _ => Durability::D3,
        }
    }
}

impl fmt::Debug for PostgresStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresStore").field("url", &self.server.url).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durability_follows_from_the_servers_settings() {
        for (commit, fsync, pages, standbys, class) in [
            ("on", "on", "on", "", Durability::D2),
            ("local", "on", "on", "*", Durability::D2),
            ("remote_write", "on", "on", "ANY 1 (a, b)", Durability::D3),
            ("on", "on", "on", "a", Durability::D3),
            ("off", "on", "on", "a", Durability::D1),
            ("on", "off", "on", "", Durability::D1),
            ("on", "on", "off", "", Durability::D1),
        ] {
            let settings = Settings {
                synchronous_commit: commit.to_owned(),
                fsync: fsync.to_owned(),
                full_page_writes: pages.to_owned(),
                standbys: standbys.to_owned(),
            };
            assert_eq!(settings.durability(), class, "{commit} {fsync} {pages} {standbys}");
        }
    }
}
