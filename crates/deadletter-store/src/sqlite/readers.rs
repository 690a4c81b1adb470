//! A few threads that read, each on a connection of its own: the writer never blocks them.
//!
//! Each question sees one snapshot of the database, however many statements it asks.

use super::{
    connect,
    failure::{Failure, Outcome},
    job::panicked,
    writer::{lock, no_thread},
};
use crate::{Error, Result};
use rusqlite::Connection;
use std::{
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

/// A question with its way back. It is given a connection, or the reason why there is none, and
/// answers whether the connection may serve the next question.
type Look = Box<dyn FnOnce(Result<&Connection>) -> bool + Send>;

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
    pub(super) async fn call<T, F>(&self, what: &'static str, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Outcome<T> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let look: Look = Box::new(move |conn| {
            let outcome =
                conn.map_err(Failure::from).and_then(|conn| in_snapshot(conn, what, work));
            let keep = !matches!(&outcome, Err(failure) if failure.poisons());
            // A caller that no longer waits has lost interest.
            reply.send(outcome.map_err(|failure| failure.into_error(what))).ok();
            keep
        });
        let sender = lock(&self.sender).clone().ok_or(Error::Closed)?;
        sender.send(look).await.map_err(|_| Error::Closed)?;
        drop(sender);
        answer.await.map_err(|_| panicked(what))?
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
    let mut conn = None;
    loop {
        let Some(look) = lock(receiver).blocking_recv() else { return };
        let opened = match conn.take() {
            Some(conn) => Ok(conn),
            None => connect::open_reader(path).map_err(|failure| failure.into_error("open")),
        };
        match opened {
            Ok(open) => {
                let keep = catch_unwind(AssertUnwindSafe(|| look(Ok(&open))));
                conn = keep.unwrap_or(false).then_some(open);
            }
            Err(error) => {
                look(Err(error));
            }
        }
    }
}

/// Runs `work` in a read transaction, which ends with it whatever happens.
fn in_snapshot<T>(
    conn: &Connection,
    what: &str,
    work: impl FnOnce(&Connection) -> Outcome<T>,
) -> Outcome<T> {
    conn.prepare_cached("BEGIN")?.execute([])?;
    let outcome = catch_unwind(AssertUnwindSafe(|| work(conn)))
        .unwrap_or_else(|_| Err(panicked(what).into()));
    if !conn.is_autocommit() {
        conn.prepare_cached("ROLLBACK")?.execute([])?;
    }
    outcome
}
