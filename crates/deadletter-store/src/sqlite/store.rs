//! The SQLite store as its callers see it: each call goes to the writer or to a reader.

mod deliveries;
mod desk;
mod registry;
mod tasks;

use super::{
    connect,
    failure::{self, Outcome},
    file, hidden,
    job::panicked,
    locks::Locks,
    readers::{Reach, Readers},
    schema,
    writer::{Session, Writer, lock, no_thread},
};
use crate::{Clock, Durability, Result, Store};
use async_trait::async_trait;
use rusqlite::Connection;
use std::{
    fmt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, atomic::Ordering},
    thread,
};
use tokio::sync::oneshot;

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
        let path = path.as_ref().to_owned();
        let (reply, opened) = oneshot::channel();
        // An upgrade may take long. The thread ends with what it answers.
        thread::Builder::new()
            .name("deadletter-open".to_owned())
            .spawn(move || reply.send(Self::open_here(&path, clock)).ok())
            .map_err(no_thread)?;
        opened.await.map_err(|_| panicked("open the store"))?
    }

    fn open_here(path: &Path, clock: Arc<dyn Clock>) -> Result<Self> {
        let path = file::prepare(path)?;
        let conn = upgrade(&path).map_err(|e| e.into_error(&format!("open {}", path.display())))?;
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
        F: FnMut(&mut Session<'_, '_>) -> Outcome<T> + Send + 'static,
    {
        self.writer.call(what, work).await.map_err(|error| failure::about(&self.path, error))
    }

    /// Asks for rows by their ids.
    async fn look_up<T, F>(&self, what: &'static str, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Outcome<T> + Send + 'static,
    {
        let answered = self.readers.call(Reach::Rows, what, work).await;
        answered.map_err(|error| failure::about(&self.path, error))
    }

    async fn read<T, F>(&self, what: &'static str, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Outcome<T> + Send + 'static,
    {
        self.readers
            .call(Reach::Walk, what, work)
            .await
            .map_err(|error| failure::about(&self.path, error))
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

impl Drop for SqliteStore {
    /// A handle that is gone proves that its workers are, even while its threads still finish.
    fn drop(&mut self) {
        self.locks.drop_all();
    }
}

/// The writer's connection to a file whose schema is ours.
fn upgrade(path: &Path) -> Outcome<Connection> {
    let conn = hidden::refuse(connect::open_writer(path)?, path)?;
    schema::upgrade(&conn, path, schema::STEPS)?;
    Ok(conn)
}

impl fmt::Debug for SqliteStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqliteStore").field("path", &self.path).finish_non_exhaustive()
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
        self.look_up("look for news", move |_| {
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
