//! The one thread that writes: everything that waits goes into one transaction (group commit).
//!
//! ```text
//! callers --bounded channel--> thread: BEGIN, every request, sums, COMMIT --answers--> callers
//! ```
//!
//! The requests of a transaction run one after the other without savepoints, which would copy each
//! page that they touch. Where one fails, the transaction is undone and the same requests run
//! again, each in a savepoint of its own, so that the failing one undoes nobody else's work.
//! Requests can therefore run twice: they change nothing but the session.

use super::{
    checkpoint::Checkpointer,
    connect,
    counts::Counts,
    failure::{CommitFailure, Failure, Outcome, poisons},
    job::{Call, Job, Ran},
    permits::Permits,
    statements::Statements,
};
use crate::{Clock, Error, Result};
use deadletter_core::UnixMs;
use rusqlite::Connection;
use std::{
    io, mem,
    panic::{AssertUnwindSafe, catch_unwind},
    path::PathBuf,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread,
};
use tokio::sync::{mpsc, oneshot};

/// Requests that may wait; beyond it callers wait for a place.
const WAITING_LIMIT: usize = 4_096;
/// Requests of one transaction: enough to share a flush among all who wait, few enough that the
/// first is answered within some tens of milliseconds.
const BATCH_LIMIT: usize = 1_024;

/// Looks for the next request before the thread goes to sleep: some tens of microseconds, in which a
/// lone caller that was just answered comes back. To be woken would cost it as much again.
const YIELDS: usize = 100;

/// What a request works with: the connection within a transaction, and the transaction's sums.
pub(super) struct Session<'s, 'c> {
    pub(super) conn: &'c Connection,
    pub(super) statements: &'s Statements<'c>,
    /// Store time at the beginning of the transaction.
    pub(super) now: UnixMs,
    pub(super) counts: Counts,
    pub(super) permits: Permits,
}

/// How much was written in how many transactions.
#[derive(Debug, Default)]
pub(super) struct Written {
    pub(super) requests: AtomicU64,
    pub(super) transactions: AtomicU64,
}

/// The callers' end of the writer thread.
#[derive(Debug)]
pub(super) struct Writer {
    /// Guards the way in: taken out when the store closes.
    sender: Mutex<Option<mpsc::Sender<Box<dyn Job>>>>,
    /// Guards the news of the thread's end, which the first to close waits for.
    ended: Mutex<Option<oneshot::Receiver<()>>>,
    pub(super) written: Arc<Written>,
}

impl Writer {
    /// Starts the thread with its connection. It ends when the writer is closed or dropped, after
    /// everything that waits is written.
    pub(super) fn start(path: PathBuf, conn: Connection, clock: Arc<dyn Clock>) -> Result<Self> {
        let (sender, receiver) = mpsc::channel(WAITING_LIMIT);
        let (end, ended) = oneshot::channel();
        let written = Arc::<Written>::default();
        let checkpointer = Checkpointer::start(&path)?;
        let written_too = Arc::clone(&written);
        let thread = Thread { path, clock, checkpointer, written: written_too };
        thread::Builder::new()
            .name("deadletter-writer".to_owned())
            .spawn(move || {
                thread.run(conn, receiver);
                drop(end);
            })
            .map_err(no_thread)?;
        Ok(Self { sender: Mutex::new(Some(sender)), ended: Mutex::new(Some(ended)), written })
    }

    /// Has `work` done in a transaction; answers when it is durable.
    pub(super) async fn call<T, F>(&self, what: &'static str, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnMut(&mut Session<'_, '_>) -> Outcome<T> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let sender = lock(&self.sender).clone().ok_or(Error::Closed)?;
        let job = Box::new(Call::new(what, work, reply));
        sender.send(job).await.map_err(|_| Error::Closed)?;
        drop(sender);
        answer.await.unwrap_or_else(|_| {
            let what = format!("{what} (the writer stopped before it answered)");
            Err(Error::InDoubt { what, source: None })
        })
    }

    /// Lets nothing in any more and waits until all that waits is written.
    pub(super) async fn close(&self) {
        drop(lock(&self.sender).take());
        let ended = lock(&self.ended).take();
        if let Some(ended) = ended {
            // The thread says good-bye by dropping its end.
            ended.await.ok();
        }
    }
}

/// No thread for the store.
pub(super) fn no_thread(error: io::Error) -> Error {
    Error::Unavailable { what: "start a thread".to_owned(), source: Some(error.into()) }
}

/// Locks a mutex whose contents no panic can leave half done.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What the thread owns, besides its connection.
struct Thread {
    path: PathBuf,
    clock: Arc<dyn Clock>,
    checkpointer: Checkpointer,
    written: Arc<Written>,
}

type Batch = Vec<Box<dyn Job>>;
type Waiting = mpsc::Receiver<Box<dyn Job>>;

/// Why a transaction was not committed.
enum Stop {
    /// A request failed: all of it was undone, and runs again with savepoints.
    Redo,
    /// This is told to everybody.
    Failed { failure: CommitFailure, poisoned: bool },
}

impl Thread {
    /// Writes until nobody is left to ask. A poisoned connection is never used again: the next
    /// batch opens another one.
    fn run(mut self, conn: Connection, mut waiting: Waiting) {
        let mut opened = Some(conn);
        while let Some(batch) = next(&mut waiting) {
            let conn = match opened.take() {
                Some(conn) => Ok(conn),
                None => connect::open_writer(&self.path),
            };
            match conn {
                Ok(conn) => match self.serve(&conn, batch, &mut waiting) {
                    true => opened = Some(conn),
                    false => connect::retire(conn),
                },
                Err(failure) => settle(batch, &Err(unopened(failure))),
            }
        }
        self.checkpointer.end();
        if let Some(conn) = opened {
            connect::close_writer(conn);
        }
    }

    /// Writes this batch and all that follow through one connection; false once it is poisoned.
    fn serve(&mut self, conn: &Connection, first: Batch, waiting: &mut Waiting) -> bool {
        let statements = Statements::of(conn);
        let mut batch = first;
        loop {
            let ended = catch_unwind(AssertUnwindSafe(|| self.write(&statements, &mut batch)));
            let ended = ended.unwrap_or_else(|_| {
                let failure = CommitFailure::in_doubt("the writer panicked");
                Err(Stop::Failed { failure, poisoned: true })
            });
            let undone = conn.is_autocommit() || conn.execute_batch("ROLLBACK").is_ok();
            let (fate, poisoned) = match ended {
                Ok(()) => (Ok(()), false),
                Err(Stop::Failed { failure, poisoned }) => (Err(failure), poisoned),
                Err(Stop::Redo) => {
                    (Err(CommitFailure::in_doubt("savepoints asked for savepoints")), true)
                }
            };
            settle(batch, &fate);
            if poisoned || !undone {
                return false;
            }
            // After the answers: nobody waits for it.
            self.checkpointer.after_commit(conn);
            match next(waiting) {
                Some(next) => batch = next,
                None => return true,
            }
        }
    }

    /// One transaction over the batch.
    fn write(&self, statements: &Statements<'_>, batch: &mut Batch) -> Result<(), Stop> {
        let now = self.clock.now();
        let ended = match begin_and_commit(statements, now, batch, together) {
            Err(Stop::Redo) => {
                execute(statements, "ROLLBACK").map_err(|e| Stop::undone(&e))?;
                begin_and_commit(statements, now, batch, apart)
            }
            ended => ended,
        };
        if ended.is_ok() {
            self.written.transactions.fetch_add(1, Ordering::Relaxed);
            let requests = u64::try_from(batch.len()).unwrap_or(u64::MAX);
            self.written.requests.fetch_add(requests, Ordering::Relaxed);
        }
        ended
    }
}

/// All that waits, at least one request and at most a transaction's; none once nobody can ask.
fn next(waiting: &mut Waiting) -> Option<Batch> {
    let mut batch = Vec::new();
    for _ in 0..YIELDS {
        match waiting.try_recv() {
            Ok(first) => {
                batch.push(first);
                break;
            }
            Err(_) => thread::yield_now(),
        }
    }
    if batch.is_empty() {
        batch.push(waiting.blocking_recv()?);
    }
    while batch.len() < BATCH_LIMIT
        && let Ok(next) = waiting.try_recv()
    {
        batch.push(next);
    }
    Some(batch)
}

fn settle(batch: Batch, fate: &Result<(), CommitFailure>) {
    for job in batch {
        job.settle(fate);
    }
}

fn begin_and_commit<'s, 'c>(
    statements: &'s Statements<'c>,
    now: UnixMs,
    batch: &mut Batch,
    run: fn(&mut Batch, &mut Session<'s, 'c>) -> Result<(), Stop>,
) -> Result<(), Stop> {
    execute(statements, "BEGIN IMMEDIATE").map_err(|e| Stop::undone(&e))?;
    let mut session = Session {
        conn: statements.conn(),
        statements,
        now,
        counts: Counts::default(),
        permits: Permits::default(),
    };
    run(batch, &mut session)?;
    session.counts.write(statements).map_err(|e| Stop::undone(&e))?;
    execute(statements, "COMMIT")
        .map_err(|e| Stop::Failed { failure: CommitFailure::at_commit(&e), poisoned: poisons(&e) })
}

fn together(batch: &mut Batch, session: &mut Session<'_, '_>) -> Result<(), Stop> {
    for job in batch {
        match job.run(session) {
            Ran::Whole => {}
            Ran::Part => return Err(Stop::Redo),
            Ran::Poisoned => return Err(Stop::beside_an_io_error()),
        }
    }
    Ok(())
}

fn apart(batch: &mut Batch, session: &mut Session<'_, '_>) -> Result<(), Stop> {
    let undone = |e: rusqlite::Error| Stop::undone(&e);
    for job in batch {
        execute(session.statements, "SAVEPOINT request").map_err(undone)?;
        let mut counts = mem::take(&mut session.counts);
        match job.run(session) {
            Ran::Whole => counts.merge(mem::take(&mut session.counts)),
            Ran::Part => {
                execute(session.statements, "ROLLBACK TO request").map_err(undone)?;
                session.permits = Permits::default();
            }
            Ran::Poisoned => return Err(Stop::beside_an_io_error()),
        }
        execute(session.statements, "RELEASE request").map_err(undone)?;
        session.counts = counts;
    }
    Ok(())
}

fn execute(statements: &Statements<'_>, sql: &'static str) -> rusqlite::Result<()> {
    statements.get(sql)?.raw_execute().map(drop)
}

impl Stop {
    /// Nothing of the transaction is written.
    fn undone(error: &rusqlite::Error) -> Self {
        Self::Failed { failure: CommitFailure::undone(error), poisoned: poisons(error) }
    }

    /// Told to those whose transaction it was; nothing of it is written.
    fn beside_an_io_error() -> Self {
        let failure = CommitFailure::unavailable("another request met an I/O error");
        Self::Failed { failure, poisoned: true }
    }
}

/// There is no connection.
fn unopened(failure: Failure) -> CommitFailure {
    match failure {
        Failure::Sql(error) => CommitFailure::undone(&error),
        Failure::Store(error) => CommitFailure::unavailable(&error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{SystemClock, sqlite::file};
    use rusqlite::ffi;

    fn writer(directory: &tempfile::TempDir) -> Writer {
        let path = file::prepare(&directory.path().join("x.db")).expect("a store");
        let conn = connect::open_writer(&path).expect("a connection");
        Writer::start(path, conn, Arc::new(SystemClock)).expect("a thread")
    }

    fn put(session: &Session<'_, '_>, key: &str) -> Outcome<()> {
        session.conn.execute("INSERT INTO documents VALUES (?, 1, '{}')", [key])?;
        Ok(())
    }

    async fn keys(writer: &Writer) -> Vec<String> {
        let read = |session: &mut Session<'_, '_>| {
            let mut statement = session.conn.prepare("SELECT key FROM documents ORDER BY key")?;
            let keys = statement.query_map([], |row| row.get(0))?;
            Ok(keys.collect::<rusqlite::Result<Vec<String>>>()?)
        };
        writer.call("read", read).await.expect("keys")
    }

    #[tokio::test]
    async fn a_request_that_panics_is_undone_and_told_and_the_writer_goes_on() {
        let directory = tempfile::tempdir().expect("a directory");
        let writer = writer(&directory);
        let (panics, before, after) = tokio::join!(
            writer.call::<(), _>("panic", |session| {
                put(session, "half")?;
                panic!("as it was told to");
            }),
            writer.call("before", |session| put(session, "a")),
            writer.call("after", |session| put(session, "b")),
        );
        assert!(matches!(panics, Err(Error::Unavailable { .. })), "{panics:?}");
        assert!(before.is_ok() && after.is_ok());
        assert_eq!(keys(&writer).await, ["a", "b"]);
    }

    #[tokio::test]
    async fn after_an_io_error_nothing_is_acknowledged_and_the_file_is_opened_anew() {
        let directory = tempfile::tempdir().expect("a directory");
        let writer = writer(&directory);
        let broken = |session: &mut Session<'_, '_>| {
            put(session, "half")?;
            // This mark lives as long as the connection, whatever is rolled back.
            session.conn.pragma_update(None, "cache_size", 777)?;
            let io = ffi::Error::new(ffi::SQLITE_IOERR_WRITE);
            Err::<(), _>(rusqlite::Error::SqliteFailure(io, None).into())
        };
        let told = writer.call("write", broken).await;
        assert!(matches!(told, Err(Error::Unavailable { .. })), "{told:?}");
        let is_marked = |session: &mut Session<'_, '_>| {
            let size = session.conn.pragma_query_value(None, "cache_size", |row| row.get(0));
            Ok(size.is_ok_and(|size: i64| size == 777))
        };
        assert_eq!(writer.call("look", is_marked).await.ok(), Some(false), "the old handle serves");
        assert!(keys(&writer).await.is_empty());
    }

    #[tokio::test]
    async fn what_waits_when_the_store_closes_is_written_and_nothing_after() {
        let directory = tempfile::tempdir().expect("a directory");
        let writer = writer(&directory);
        let (written, ()) =
            tokio::join!(writer.call("write", |session| put(session, "a")), writer.close());
        assert!(written.is_ok());
        let late = writer.call("write", |session| put(session, "b")).await;
        assert!(matches!(late, Err(Error::Closed)), "{late:?}");
    }
}
