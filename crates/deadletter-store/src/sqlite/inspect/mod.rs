//! A store's file looked at from outside: what it is, whether it is whole, a copy of it, questions
//! in SQL. Nothing here writes to the file, whatever state it is in.
//!
//! For people who look after a store. What programs need of one is in the store traits; nothing of
//! this is, because no other kind of store has a file.

mod backup;
mod check;
mod counted;
mod info;
mod query;

pub use backup::BackedUp;
pub use check::{Checked, FINDINGS_LIMIT, Finding};
pub use info::Info;
pub use query::{Answered, Cell, Secrets, Table};

use super::{
    connect,
    failure::{self, Failure, Outcome},
    file::{self, beside},
    hidden, schema,
};
use crate::{Error, Result};
use rusqlite::{Connection, InterruptHandle, OpenFlags, config::DbConfig};
use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

/// What a long look tells as it goes on: the step's name, how much of it is done, of how much (0
/// where nobody knows). Called often; it must not take long.
pub type Progress = Arc<dyn Fn(&'static str, u64, u64) + Send + Sync>;

/// A store's file, open to be looked at.
#[derive(Debug)]
pub struct Inspection {
    conn: Connection,
    path: PathBuf,
    /// What the file's first page says that it should not.
    flaw: Option<Error>,
    /// The file has no bytes; the connection is to nothing.
    is_empty: bool,
    /// True once somebody has asked to stop: a copy's steps do not notice SQLite's own word for it.
    is_stopped: Arc<AtomicBool>,
}

/// Ends a question that takes too long, from another thread.
pub struct Interrupter {
    handle: Option<InterruptHandle>,
    is_stopped: Arc<AtomicBool>,
}

impl Interrupter {
    /// For work that looks itself whether it is to stop.
    #[must_use]
    pub const fn of(is_stopped: Arc<AtomicBool>) -> Self {
        Self { handle: None, is_stopped }
    }

    /// The question that is being asked fails, and so does a backup.
    pub fn interrupt(&self) {
        self.is_stopped.store(true, Ordering::Relaxed);
        if let Some(handle) = &self.handle {
            handle.interrupt();
        }
    }
}

/// How much of a damaged file is borne.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tolerance {
    /// A file with a flaw in its first page is refused, as a store does.
    None,
    /// Whatever SQLite can be brought to read: for checks.
    Flawed,
}

impl Inspection {
    /// Opens the file at `path`, which must exist. Blocks; other processes may work on it.
    ///
    /// Errors: `Damaged`, `TooNew`, `Unavailable`; with [`Tolerance::Flawed`] only where SQLite
    /// cannot open it at all.
    pub fn open(path: &Path, tolerance: Tolerance) -> Result<Self> {
        let path = path.canonicalize().map_err(|e| file::unavailable("find", path, e))?;
        let flaw = match file::examine(&path) {
            Ok(()) => hidden::flaw(&path, schema::PAGE_LEN)?,
            Err(flaw) => Some(flaw),
        };
        let flaw = match (flaw, tolerance) {
            (Some(flaw), Tolerance::None) => return Err(flaw),
            (flaw, _) => flaw,
        };
        let is_empty = fs::metadata(&path).is_ok_and(|data| data.len() == 0);
        // SQLite removes the log of an empty file, and the log may be all that is left.
        let opened = if is_empty { nothing() } else { open_untouched(&path) };
        let conn = opened
            .and_then(|conn| settle(&conn, tolerance).map(|()| conn))
            .map_err(|failure| failure.into_error(&format!("look at {}", path.display())))?;
        Ok(Self { conn, path, flaw, is_empty, is_stopped: Arc::default() })
    }

    /// The file's full path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What ends a question from another thread.
    #[must_use]
    pub fn interrupter(&self) -> Interrupter {
        let is_stopped = Arc::clone(&self.is_stopped);
        Interrupter { handle: Some(self.conn.get_interrupt_handle()), is_stopped }
    }

    /// Runs `look` on one snapshot of the file.
    fn in_snapshot<T>(
        &self,
        what: &str,
        look: impl FnOnce(&Connection) -> Outcome<T>,
    ) -> Result<T> {
        let looked = self.conn.execute_batch("BEGIN").map_err(Failure::from).and_then(|()| {
            let looked = look(&self.conn);
            // An error may have ended the transaction already.
            if !self.conn.is_autocommit() {
                self.conn.execute_batch("ROLLBACK")?;
            }
            looked
        });
        looked.map_err(|failure| failure::about(&self.path, failure.into_error(what)))
    }
}

/// In place of a file in which nothing stands.
fn nothing() -> Outcome<Connection> {
    Ok(Connection::open_in_memory()?)
}

/// A connection through which nothing can be written. SQLite wants a log's index beside the file;
/// where none can be made and there is no log, the file is read as it lies.
fn open_untouched(path: &Path) -> Outcome<Connection> {
    connect::refuse_unsafe_library(rusqlite::version_number(), rusqlite::version())?;
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut conn = Connection::open_with_flags(path, flags)?;
    conn.busy_handler(Some(|tries| {
        thread::sleep(connect::BUSY_STEP);
        tries < connect::BUSY_TRIES
    }))?;
    match conn.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(())) {
        Err(error) if is_shut_out(&error) => open_as_it_lies(path, error),
        // Damage is told by whoever asks.
        _ => Ok(conn),
    }
}

/// The folder can be read, and nothing can be created in it.
fn is_shut_out(error: &rusqlite::Error) -> bool {
    use rusqlite::ErrorCode::{CannotOpen, ReadOnly};
    matches!(error.sqlite_error_code(), Some(CannotOpen | ReadOnly))
}

fn open_as_it_lies(path: &Path, error: rusqlite::Error) -> Outcome<Connection> {
    let log = beside(path, "-wal");
    match fs::metadata(&log) {
        Ok(found) if found.len() > 0 => {
            let what = format!(
                "{} has a log (-wal) and lies in a folder that cannot be written; copy both to \
                 another folder, and look there",
                path.display()
            );
            return Err(Error::ReadOnly { what, source: Some(error.into()) }.into());
        }
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(file::unavailable("read", &log, error).into()),
    }
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY
        | OpenFlags::SQLITE_OPEN_NO_MUTEX
        | OpenFlags::SQLITE_OPEN_URI;
    Ok(Connection::open_with_flags(uri(path, "immutable=1"), flags)?)
}

/// SQLite's URI of a file.
fn uri(path: &Path, option: &str) -> String {
    let mut uri = "file:".to_owned();
    for byte in path.as_os_str().as_encoded_bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'.' | b'_' | b'-' => {
                uri.push(char::from(*byte));
            }
            byte => uri.push_str(&format!("%{byte:02X}")),
        }
    }
    format!("{uri}?{option}")
}

fn settle(conn: &Connection, tolerance: Tolerance) -> Outcome<()> {
    conn.pragma_update(None, "query_only", true)?;
    conn.pragma_update(None, "temp_store", "memory")?;
    // A file of unknown origin runs no functions by its schema.
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)?;
    if tolerance == Tolerance::Flawed {
        // Lets SQLite read a file that is shorter than it says, as far as it goes.
        conn.set_db_config(DbConfig::SQLITE_DBCONFIG_WRITABLE_SCHEMA, true)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_path_reads_as_an_option() {
        assert_eq!(
            uri(Path::new("/a b/ü?x#%.db"), "immutable=1"),
            "file:/a%20b/%C3%BC%3Fx%23%25.db?immutable=1"
        );
    }
}
