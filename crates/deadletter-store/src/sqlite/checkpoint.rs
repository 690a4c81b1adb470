//! Keeps the write-ahead log short, beside the writer.
//!
//! ```text
//! writer --after a commit: the log is long--> thread: copies the log into the file
//!    └ the log is far too long: waits for the thread, then copies what is left itself
//! ```
//!
//! A copy beside a busy writer never reaches the log's end, and only at its end is the log begun
//! anew: hence the second step, which is short because the first has done most of the work.

use super::{
    connect,
    writer::{lock, no_thread},
};
use crate::Result;
use rusqlite::Connection;
use std::{
    path::Path,
    sync::{
        Arc, Mutex,
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread::{self, JoinHandle},
};

/// Pages of log not yet in the file at which the thread is woken: 4 MiB, small beside the log's
/// limit, and many commits' worth of shared pages.
const BESIDE_PAGES: i64 = 1_000;
/// Pages of log at which the writer waits: 20 MiB, so that the log stays below 32 MB with room for
/// one more transaction.
const BEFORE_PAGES: i64 = 5_000;
/// Pages of log that only a reader's snapshot can hold back: 32 MiB. The writer does not wait for it,
/// since nobody knows for how long; the log is cut when the reader has gone.
const LIMIT_PAGES: i64 = 8_192;
/// Where readers keep the log from being begun anew, the writer tries again after so many pages.
const AGAIN_PAGES: i64 = 500;

/// The writer's end of the checkpointing thread.
pub(super) struct Checkpointer {
    /// Wakes the thread; one wake-up may wait.
    wake: SyncSender<()>,
    thread: JoinHandle<()>,
    /// Held while the log is copied: two copies at once would only be refused.
    copying: Arc<Mutex<()>>,
    /// The log's length when the writer last copied itself.
    tried_at: i64,
    /// Said once for each time that readers let the log grow.
    warned: bool,
}

/// The length of the log, and how much of it is in the file, in pages.
#[derive(Clone, Copy, Debug)]
struct Log {
    pages: i64,
    copied: i64,
}

impl Checkpointer {
    /// Starts the thread; it ends with [`Checkpointer::end`], or when its owner is dropped.
    pub(super) fn start(path: &Path) -> Result<Self> {
        let (wake, woken) = sync_channel(1);
        let copying = Arc::<Mutex<()>>::default();
        let (path, theirs) = (path.to_owned(), Arc::clone(&copying));
        let thread = thread::Builder::new()
            .name("deadletter-checkpoint".to_owned())
            .spawn(move || serve(&path, &woken, &theirs))
            .map_err(no_thread)?;
        Ok(Self { wake, thread, copying, tried_at: 0, warned: false })
    }

    /// Looks after the log; `conn` has just committed.
    pub(super) fn after_commit(&mut self, conn: &Connection) {
        match self.look(conn) {
            Ok(()) => {}
            // The commit stands; a log that stays long is only slow.
            Err(error) => tracing::warn!(%error, "the store's log could not be looked after"),
        }
    }

    fn look(&mut self, conn: &Connection) -> rusqlite::Result<()> {
        let log = checkpoint(conn, "PRAGMA wal_checkpoint(NOOP)")?;
        if log.pages < self.tried_at {
            self.tried_at = 0;
            self.warned = false;
        }
        if log.pages >= LIMIT_PAGES && !self.warned {
            self.warned = true;
            tracing::warn!(
                pages = log.pages,
                "the store's log grows: a long look at the store keeps it from being begun anew"
            );
        }
        if log.pages - log.copied >= BESIDE_PAGES {
            // A thread that is awake already needs no second call.
            self.wake.try_send(()).ok();
        }
        if log.pages >= BEFORE_PAGES && log.pages - self.tried_at >= AGAIN_PAGES {
            let _alone = lock(&self.copying);
            self.tried_at = log.pages;
            checkpoint(conn, "PRAGMA wal_checkpoint(PASSIVE)")?;
        }
        Ok(())
    }

    /// Lets the thread finish what it does, and waits for it.
    pub(super) fn end(self) {
        drop(self.wake);
        if self.thread.join().is_err() {
            tracing::warn!("the checkpointing thread panicked");
        }
    }
}

fn serve(path: &Path, woken: &Receiver<()>, copying: &Mutex<()>) {
    let mut conn = None;
    while woken.recv().is_ok() {
        let open = match conn.take() {
            Some(conn) => Ok(conn),
            None => connect::open_checkpointer(path),
        };
        let open = match open {
            Ok(open) => open,
            Err(failure) => {
                tracing::warn!(?failure, "the store's log cannot be copied into its file");
                continue;
            }
        };
        let copied = {
            let _alone = lock(copying);
            checkpoint(&open, "PRAGMA wal_checkpoint(PASSIVE)")
        };
        match copied {
            Ok(_) => conn = Some(open),
            Err(error) => {
                tracing::warn!(%error, "the store's log could not be copied into its file");
                connect::retire(open);
            }
        }
    }
}

fn checkpoint(conn: &Connection, pragma: &str) -> rusqlite::Result<Log> {
    conn.prepare_cached(pragma)?
        .query_row([], |row| Ok(Log { pages: row.get(1)?, copied: row.get(2)? }))
}
