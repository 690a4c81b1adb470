//! The async shell of the SQLite store: each call goes to the writer or to a reader.

use super::{
    adopt, attempt_row, claim, commit, connect, desk,
    failure::Outcome,
    file,
    insert::{self, Entry},
    locks::Locks,
    page,
    readers::Readers,
    registry, schema,
    writer::{Session, Writer, lock},
};
use crate::{
    AuditEntry, Beat, Claim, Claimed, Clock, Committed, Desk, Document, Durability, Error, Freeze,
    Frozen, Inserted, Item, NewTasks, Page, Query, Registry, Result, Sequenced, Store, TakeOver,
    Taken, Tasks, Totals, Worker,
};
use async_trait::async_trait;
use deadletter_core::{
    AccountName, Answer, Attempt, Change, OperationId, Payload, StateKind, Task, TaskId, UnixMs,
    UpstreamId, WorkerId,
    counts::{Dim, Standing, Tally},
};
use rusqlite::Connection;
use std::{
    fmt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, atomic::Ordering},
};

/// A store in one SQLite file.
pub struct SqliteStore {
    path: PathBuf,
    clock: Arc<dyn Clock>,
    writer: Writer,
    readers: Readers,
    locks: Arc<Locks>,
    /// Guards the connection that listens for commits: `data_version` only means something on one
    /// and the same connection. None until the first look, and after an error.
    pulse: Arc<Mutex<Option<Connection>>>,
}

impl SqliteStore {
    /// Opens the store at `path`, and creates it where nothing stands.
    ///
    /// Errors: `NetworkFileSystem`, `TooNew`, `Damaged` (also for a file of another program, which
    /// is left as it is), `Unavailable`.
    pub async fn open(path: impl AsRef<Path>, clock: Arc<dyn Clock>) -> Result<Self> {
        let path = file::prepare(path.as_ref())?;
        let conn =
            open_conn(&path).map_err(|e| e.into_error(&format!("open {}", path.display())))?;
        let writer = Writer::start(path.clone(), conn, Arc::clone(&clock))?;
        let readers = Readers::start(&path)?;
        let locks = Arc::new(Locks::beside(&path));
        Ok(Self { path, clock, writer, readers, locks, pulse: Arc::default() })
    }

    /// How many transactions this handle has committed, and how many requests in them.
    #[must_use]
    pub fn written(&self) -> Written {
        Written {
            transactions: self.writer.written.transactions.load(Ordering::Relaxed),
            requests: self.writer.written.requests.load(Ordering::Relaxed),
        }
    }

    async fn write<T, F>(&self, what: &'static str, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnMut(&mut Session<'_>) -> Outcome<T> + Send + 'static,
    {
        self.writer.call(what, work).await
    }

    async fn read<T, F>(&self, what: &'static str, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Outcome<T> + Send + 'static,
    {
        self.readers.call(what, work).await
    }
}

/// What a handle has committed; group commit makes `requests` the larger number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// Transactions, each flushed once.
    pub transactions: u64,
    /// Requests that they carried.
    pub requests: u64,
}

fn open_conn(path: &Path) -> Outcome<Connection> {
    let conn = connect::open_file(path)?;
    schema::migrate(&conn, path, schema::MIGRATIONS)?;
    drop(conn);
    connect::open_writer(path)
}

impl fmt::Debug for SqliteStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqliteStore").field("path", &self.path).finish_non_exhaustive()
    }
}

fn payload_from(body: &str, id: TaskId) -> Result<Payload> {
    Payload::from_stored(body).map_err(|e| Error::Damaged {
        what: format!("the request of task {id} is no JSON object"),
        source: Some(e.into()),
    })
}

#[async_trait]
impl Tasks for SqliteStore {
    async fn insert(&self, tasks: NewTasks) -> Result<Vec<Inserted>> {
        let entries: Vec<Entry> = tasks
            .into_iter()
            .map(|new| Entry { body: new.payload.to_stored(), task: new.task })
            .collect();
        self.write("insert tasks", move |session| insert::insert(session, &entries)).await
    }

    async fn claim(&self, claim: Claim) -> Result<Vec<Claimed>> {
        let leased =
            self.write("claim tasks", move |session| claim::claim(session, &claim)).await?;
        leased
            .into_iter()
            .map(|leased| {
                let payload = payload_from(&leased.body, leased.task.id)?;
                Ok(Claimed { task: leased.task, attempt: leased.attempt, payload })
            })
            .collect()
    }

    async fn commit(&self, changes: Vec<Change>) -> Result<Vec<Committed>> {
        self.write("commit changes", move |session| commit::commit(session, &changes)).await
    }

    async fn take_over(&self, take: TakeOver) -> Result<Taken> {
        self.write("take over tasks", move |session| adopt::take_over(session, &take)).await
    }

    async fn overdue(&self, now: UnixMs, limit: u32) -> Result<Vec<Task>> {
        self.read("find overdue tasks", move |conn| page::overdue(conn, now, limit)).await
    }

    async fn next_due(&self, account: &AccountName) -> Result<Option<UnixMs>> {
        let account = account.clone();
        self.read("find the next due task", move |conn| claim::next_due(conn, &account)).await
    }

    async fn get(&self, ids: &[TaskId]) -> Result<Vec<Option<Task>>> {
        let ids = ids.to_vec();
        self.read("get tasks", move |conn| ids.iter().map(|id| page::get(conn, *id)).collect())
            .await
    }

    async fn payload(&self, id: TaskId) -> Result<Option<Payload>> {
        let body = self.read("get a request", move |conn| insert::body(conn, id)).await?;
        body.map(|body| payload_from(&body, id)).transpose()
    }

    async fn history(&self, id: TaskId) -> Result<Vec<Attempt>> {
        self.read("get attempts", move |conn| desk::history(conn, id)).await
    }

    async fn answer(&self, id: TaskId) -> Result<Option<Answer>> {
        self.read("get an answer", move |conn| Ok(attempt_row::get_answer(conn, id)?)).await
    }

    async fn bearers(&self, account: &AccountName, id: &UpstreamId) -> Result<u32> {
        let (account, id) = (account.clone(), id.clone());
        self.read("count bearers", move |conn| Ok(attempt_row::bearers(conn, &account, &id)?)).await
    }
}

#[async_trait]
impl Desk for SqliteStore {
    async fn page(&self, query: &Query) -> Result<Page> {
        let query = query.clone();
        self.read("get a page", move |conn| page::page(conn, &query)).await
    }

    async fn census(
        &self,
        places: &[StateKind],
        dim: Dim,
        limit: u32,
    ) -> Result<Vec<(Standing, i64)>> {
        let places = places.to_vec();
        self.read("count", move |conn| desk::census(conn, &places, dim, limit)).await
    }

    async fn tallies(&self, dim: Dim, since: UnixMs, limit: u32) -> Result<Vec<(Tally, i64)>> {
        self.read("get tallies", move |conn| desk::tallies(conn, dim, since, limit)).await
    }

    async fn totals(&self) -> Result<Totals> {
        self.read("get totals", desk::totals).await
    }

    async fn recount(&self) -> Result<Totals> {
        self.read("recount", desk::recount).await
    }

    async fn freeze(&self, freeze: &Freeze) -> Result<Frozen> {
        // Looked for beside the writer: a task that changes before it is frozen is skipped later.
        let page = self.page(&freeze.query).await?;
        let (operation, next) = (freeze.operation.clone(), page.next);
        let added = self
            .write("freeze tasks", move |session| desk::freeze(session, &operation, &page))
            .await?;
        Ok(Frozen { added, next })
    }

    async fn pending(&self, operation: &OperationId, limit: u32) -> Result<Vec<Item>> {
        let operation = operation.clone();
        self.read("get pending items", move |conn| desk::pending(conn, &operation, limit)).await
    }

    async fn skip(&self, operation: &OperationId, tasks: &[TaskId]) -> Result<()> {
        let (operation, tasks) = (operation.clone(), tasks.to_vec());
        self.write("skip items", move |session| desk::skip(session, &operation, &tasks)).await
    }

    async fn tally_items(&self, operation: &OperationId) -> Result<[u64; 3]> {
        let operation = operation.clone();
        self.read("count items", move |conn| desk::tally_items(conn, &operation)).await
    }

    async fn purge(&self, tasks: &[(TaskId, u64)]) -> Result<u64> {
        let tasks = tasks.to_vec();
        self.write("purge tasks", move |session| desk::purge(session, &tasks)).await
    }

    async fn last_event(&self) -> Result<u64> {
        self.read("get the newest event", desk::last_event).await
    }

    async fn events(&self, after: u64, limit: u32) -> Result<Vec<Sequenced>> {
        self.read("get events", move |conn| desk::events(conn, after, limit)).await
    }
}

#[async_trait]
impl Registry for SqliteStore {
    async fn register(&self, worker: &WorkerId, label: &str) -> Result<Beat> {
        // The lock first: nobody may see the worker without it.
        self.locks.acquire(worker)?;
        let (id, label, locks) = (worker.clone(), label.to_owned(), Arc::clone(&self.locks));
        let registered = self
            .write("register a worker", move |session| {
                registry::register(session, &id, &label, &locks)
            })
            .await;
        match registered {
            Ok((beat, gone)) => {
                gone.iter().for_each(|gone| self.locks.sweep(gone));
                Ok(beat)
            }
            Err(error) => {
                self.locks.release(worker);
                Err(error)
            }
        }
    }

    async fn beat(&self, worker: &WorkerId) -> Result<Beat> {
        let worker = worker.clone();
        self.write("beat", move |session| registry::beat(session, &worker)).await
    }

    async fn leave(&self, worker: &WorkerId) -> Result<()> {
        let id = worker.clone();
        self.write("leave", move |session| registry::leave(session, &id)).await?;
        self.locks.release(worker);
        Ok(())
    }

    async fn declare_dead(&self, silent_ms: i64) -> Result<Vec<WorkerId>> {
        let declared = self
            .write("declare workers dead", move |session| {
                registry::declare_dead(session, silent_ms)
            })
            .await?;
        declared.iter().for_each(|worker| self.locks.sweep(worker));
        Ok(declared)
    }

    async fn workers(&self, limit: u32) -> Result<Vec<Worker>> {
        self.read("get workers", move |conn| registry::workers(conn, limit)).await
    }

    async fn permits(&self, account: &AccountName, now: UnixMs) -> Result<u32> {
        let account = account.clone();
        self.read("count permits", move |conn| registry::permits(conn, &account, now)).await
    }

    async fn document(&self, key: &str) -> Result<Option<Document>> {
        let key = key.to_owned();
        self.read("get a document", move |conn| registry::document(conn, &key)).await
    }

    async fn put_document(&self, key: &str, expects: u64, body: &str) -> Result<Option<u64>> {
        let (key, body) = (key.to_owned(), body.to_owned());
        self.write("put a document", move |session| {
            registry::put_document(session, &key, expects, &body)
        })
        .await
    }

    async fn documents(&self, prefix: &str, limit: u32) -> Result<Vec<Document>> {
        let prefix = prefix.to_owned();
        self.read("get documents", move |conn| registry::documents(conn, &prefix, limit)).await
    }

    async fn audit(&self, entry: &AuditEntry) -> Result<bool> {
        let entry = entry.clone();
        self.write("append to the audit log", move |session| registry::audit(session, &entry)).await
    }

    async fn audit_log(&self, writer: Option<&str>, limit: u32) -> Result<Vec<AuditEntry>> {
        let writer = writer.map(str::to_owned);
        self.read("get the audit log", move |conn| {
            registry::audit_log(conn, writer.as_deref(), limit)
        })
        .await
    }
}

#[async_trait]
impl Store for SqliteStore {
    fn durability(&self) -> Durability {
        Durability::D2
    }

    fn clock(&self) -> Arc<dyn Clock> {
        Arc::clone(&self.clock)
    }

    fn url(&self) -> String {
        format!("sqlite:{}", self.path.display())
    }

    async fn pulse(&self) -> Result<u64> {
        let (path, pulse) = (self.path.clone(), Arc::clone(&self.pulse));
        self.read("look for news", move |_| {
            let mut pulse = lock(&pulse);
            let conn = match pulse.take() {
                Some(conn) => conn,
                None => connect::open_reader(&path)?,
            };
            let version: i64 =
                conn.prepare_cached("PRAGMA data_version")?.query_row([], |row| row.get(0))?;
            *pulse = Some(conn);
            Ok(version.cast_unsigned())
        })
        .await
    }

    async fn close(&self) -> Result<()> {
        self.readers.close().await;
        drop(lock(&self.pulse).take());
        self.writer.close().await;
        self.locks.drop_all();
        Ok(())
    }
}
