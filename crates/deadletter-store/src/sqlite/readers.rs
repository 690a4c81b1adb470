//! A few threads that read, each on a connection of its own: the writer never blocks them.
//!
//! Each question sees one snapshot of the database, however many statements it asks. Those that ask
//! for rows by their ids share one where they wait for a thread, as writes share a flush: what a
//! crowd of polls costs is then mostly the rows that it asks for. One that walks over many rows
//! keeps nobody waiting but itself.

use super::{
    connect,
    failure::{self, Failure, Outcome},
    job::panicked,
    writer::{lock, no_thread},
};
use crate::{Error, Result};
use rusqlite::Connection;
use std::{
    collections::VecDeque,
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    sync::{Arc, Mutex},
    thread,
};
use tokio::sync::{mpsc, oneshot};

/// Threads that read: a long page may run while others are asked.
const READERS: usize = 3;
/// Questions that may wait; beyond it callers wait for a place.
const WAITING_LIMIT: usize = 1_024;
/// Questions that share a snapshot: a tenth of a millisecond's work.
const TOGETHER: usize = 16;

/// How far a question looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reach {
    /// Rows by their ids.
    Rows,
    /// As many rows as it takes.
    Walk,
}

/// A question.
struct Look {
    reach: Reach,
    answer: Answer,
}

/// A question's work with its way back. It is given a connection within a snapshot, or the reason
/// why there is none, and tells whether the connection may serve the next question.
type Answer = Box<dyn FnOnce(Result<&Connection>) -> bool + Send>;

/// The callers' end of the reader threads.
#[derive(Debug)]
pub(super) struct Readers {
    /// Guards the way in: taken out when the store closes.
    sender: Mutex<Option<mpsc::Sender<Look>>>,
    /// Guards the news of the threads' ends, which the first to close waits for.
    ended: Mutex<Vec<oneshot::Receiver<()>>>,
}

impl Readers {
    /// Starts the threads. They end when the readers are closed or dropped.
    pub(super) fn start(path: &Path) -> Result<Self> {
        let (sender, receiver) = mpsc::channel(WAITING_LIMIT);
        // Guards whose turn it is to wait for the next question.
        let receiver = Arc::new(Mutex::new(receiver));
        let mut ended = Vec::with_capacity(READERS);
        for _ in 0..READERS {
            let (path, receiver) = (path.to_owned(), Arc::clone(&receiver));
            let (end, news) = oneshot::channel();
            thread::Builder::new()
                .name("deadletter-reader".to_owned())
                .spawn(move || {
                    serve(&path, &receiver);
                    drop::<oneshot::Sender<()>>(end);
                })
                .map_err(no_thread)?;
            ended.push(news);
        }
        Ok(Self { sender: Mutex::new(Some(sender)), ended: Mutex::new(ended) })
    }

    /// Asks `work` of one snapshot.
    pub(super) async fn call<T, F>(&self, reach: Reach, what: &'static str, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Outcome<T> + Send + 'static,
    {
        let (reply, told) = oneshot::channel();
        let answer: Answer = Box::new(move |conn| {
            let outcome = conn.map_err(Failure::from).and_then(|conn| {
                catch_unwind(AssertUnwindSafe(|| work(conn)))
                    .unwrap_or_else(|_| Err(panicked(what).into()))
            });
            let keep = !matches!(&outcome, Err(failure) if failure.poisons());
            // A caller that no longer waits has lost interest.
            reply.send(outcome.map_err(|failure| failure.into_error(what))).ok();
            keep
        });
        let sender = lock(&self.sender).clone().ok_or(Error::Closed)?;
        sender.send(Look { reach, answer }).await.map_err(|_| Error::Closed)?;
        drop(sender);
        told.await.map_err(|_| panicked(what))?
    }

    /// Lets nothing in any more and waits until all that waits is answered.
    pub(super) async fn close(&self) {
        drop(lock(&self.sender).take());
        let ended = std::mem::take(&mut *lock(&self.ended));
        for news in ended {
            // Each thread says good-bye by dropping its end.
            news.await.ok();
        }
    }
}

fn serve(path: &Path, receiver: &Mutex<mpsc::Receiver<Look>>) {
    let mut kept = None;
    let mut looks = VecDeque::with_capacity(TOGETHER);
    while wait(receiver, &mut looks) {
        // Each round answers one question at least.
        while !looks.is_empty() {
            kept = match kept.take().map_or_else(|| connect::open_reader(path), Ok) {
                Ok(conn) => in_snapshot(&conn, &mut looks).then_some(conn),
                Err(failure) => {
                    refuse(&mut looks, failure.into_error("open"));
                    None
                }
            };
        }
    }
}

/// Takes what waits, at least one question and at most so many as share a snapshot, with one that
/// walks as the last; false once nobody can ask.
fn wait(receiver: &Mutex<mpsc::Receiver<Look>>, looks: &mut VecDeque<Look>) -> bool {
    let mut receiver = lock(receiver);
    looks.extend(receiver.blocking_recv());
    while (1..TOGETHER).contains(&looks.len())
        && looks.back().is_some_and(|last| last.reach == Reach::Rows)
        && let Ok(look) = receiver.try_recv()
    {
        looks.push_back(look);
    }
    !looks.is_empty()
}

/// Answers questions in one read transaction, which ends with them whatever happens; whether the
/// connection may serve the next ones. Those that it leaves over want a transaction of their own.
///
/// They were asked before it began: who has written sees what was written.
fn in_snapshot(conn: &Connection, looks: &mut VecDeque<Look>) -> bool {
    if let Err(error) = execute(conn, "BEGIN") {
        let keep = !failure::poisons(&error);
        refuse(looks, failure::unwritten("begin to read", error));
        return keep;
    }
    let mut keep = true;
    // Some errors end the transaction.
    while keep
        && !conn.is_autocommit()
        && let Some(look) = looks.pop_front()
    {
        keep = catch_unwind(AssertUnwindSafe(|| (look.answer)(Ok(conn)))).unwrap_or(false);
    }
    keep && (conn.is_autocommit() || execute(conn, "ROLLBACK").is_ok())
}

fn refuse(looks: &mut VecDeque<Look>, error: Error) {
    if let Some(look) = looks.pop_front() {
        (look.answer)(Err(error));
    }
}

fn execute(conn: &Connection, sql: &str) -> rusqlite::Result<()> {
    conn.prepare_cached(sql)?.execute([]).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sqlite::file;
    use rusqlite::ffi;
    use std::sync::Barrier;

    /// Readers of which each waits in front of `gate`, so that what is asked meanwhile waits too.
    fn held(directory: &tempfile::TempDir) -> (Arc<Readers>, Arc<Barrier>) {
        let path = file::prepare(&directory.path().join("x.db")).expect("a store");
        let readers = Arc::new(Readers::start(&path).expect("threads"));
        let gate = Arc::new(Barrier::new(READERS + 1));
        for _ in 0..READERS {
            let (readers, gate) = (Arc::clone(&readers), Arc::clone(&gate));
            tokio::spawn(async move {
                let wait = move |_: &Connection| {
                    gate.wait();
                    gate.wait();
                    Ok(())
                };
                readers.call(Reach::Walk, "wait", wait).await.expect("waited");
            });
        }
        (readers, gate)
    }

    /// Asks it all while no thread is free, so that the first to be free takes what it may.
    async fn ask(looks: Vec<fn(&Connection) -> Outcome<bool>>) -> Vec<Result<bool>> {
        let directory = tempfile::tempdir().expect("a directory");
        let (readers, gate) = held(&directory);
        let all_wait = Arc::clone(&gate);
        tokio::task::spawn_blocking(move || all_wait.wait()).await.expect("all wait");
        let ask = |look| {
            let readers = Arc::clone(&readers);
            tokio::spawn(async move { readers.call(Reach::Rows, "ask", look).await })
        };
        let asked: Vec<_> = looks.into_iter().map(ask).collect();
        // This runtime runs what was spawned in its order: all stand in the queue after it.
        tokio::task::yield_now().await;
        tokio::task::spawn_blocking(move || gate.wait()).await.expect("freed");
        let mut answers = Vec::with_capacity(asked.len());
        for answer in asked {
            answers.push(answer.await.expect("no panic reaches its caller"));
        }
        readers.close().await;
        answers
    }

    fn is_in_snapshot(conn: &Connection) -> Outcome<bool> {
        conn.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get::<_, i64>(0))?;
        Ok(!conn.is_autocommit())
    }

    #[tokio::test]
    async fn a_question_that_fails_or_panics_spoils_none_that_shares_its_snapshot() {
        let panics = |_: &Connection| -> Outcome<bool> { panic!("as it was told to") };
        let breaks = |_: &Connection| -> Outcome<bool> {
            Err(rusqlite::Error::SqliteFailure(ffi::Error::new(ffi::SQLITE_IOERR_READ), None)
                .into())
        };
        let ends = |conn: &Connection| -> Outcome<bool> {
            conn.execute_batch("ROLLBACK")?;
            Ok(true)
        };
        let looks = [is_in_snapshot, panics, is_in_snapshot, breaks, is_in_snapshot, ends];
        let answers = ask([looks, looks, looks].concat()).await;
        for (at, answer) in answers.iter().enumerate() {
            let fails = matches!(at % looks.len(), 1 | 3);
            assert_eq!(answer.as_ref().ok(), (!fails).then_some(&true), "{at}: {answer:?}");
        }
    }
}
