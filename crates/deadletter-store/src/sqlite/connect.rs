//! Connections to the database file, and the settings that each kind needs.

use super::failure::Outcome;
use crate::Error;
use rusqlite::{Connection, ErrorCode, OpenFlags, config::DbConfig};
use std::{path::Path, thread, time::Duration};

/// SQLite 3.7.0 to 3.51.2 can lose committed data in WAL mode when two connections write and
/// checkpoint at once.
const OLDEST_SAFE: i32 = 3_051_003;
/// A lock that another process holds is asked for again this often...
pub(super) const BUSY_STEP: Duration = Duration::from_millis(2);
/// ...and this many times: 10 s in all, far above the longest transaction.
pub(super) const BUSY_TRIES: i32 = 5_000;
/// Statements that stay compiled: more than this store has, with room for the pages' variants.
const STATEMENTS: usize = 200;
/// After a checkpoint the log is cut to this size: it is overwritten in place up to there, which
/// costs no allocation, and never stays larger.
const LOG_LIMIT_BYTES: i64 = 32 << 20;
/// Page cache of the writer, in KiB: holds the hot ends of all tables and indexes. A transaction in
/// which pages are split walks all of it once, so larger is not better.
const WRITER_CACHE_KIB: i64 = 16 << 10;
/// Page cache of each reader, in KiB.
const READER_CACHE_KIB: i64 = 8 << 10;

/// Refuses a library that is known to lose data.
pub(super) fn refuse_unsafe_library(version: i32, name: &str) -> Result<(), Error> {
    if version < OLDEST_SAFE {
        let what = format!("SQLite {name} can lose committed data; 3.51.3 or later is needed");
        return Err(Error::Unavailable { what, source: None });
    }
    Ok(())
}

/// A connection to an existing file, with patience for other processes.
pub(super) fn open_file(path: &Path) -> Outcome<Connection> {
    refuse_unsafe_library(rusqlite::version_number(), rusqlite::version())?;
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut conn = Connection::open_with_flags(path, flags)?;
    conn.busy_handler(Some(|tries| {
        thread::sleep(BUSY_STEP);
        tries < BUSY_TRIES
    }))?;
    settle_plans(&conn)?;
    conn.pragma_update(None, "temp_store", "memory")?;
    Ok(conn)
}

/// A statement is compiled once and keeps its plan, whatever is bound to it. Otherwise SQLite
/// compiles a claim anew for each new value, which took 45 % of the writer's time.
pub(super) fn settle_plans(conn: &Connection) -> rusqlite::Result<()> {
    conn.set_prepared_statement_cache_capacity(STATEMENTS);
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true).map(drop)
}

/// The connection that writes: what it has committed survives a loss of power.
pub(super) fn open_writer(path: &Path) -> Outcome<Connection> {
    let conn = open_file(path)?;
    enter_wal(&conn)?;
    conn.pragma_update(None, "synchronous", "full")?;
    conn.pragma_update(None, "journal_size_limit", LOG_LIMIT_BYTES)?;
    conn.pragma_update(None, "cache_size", -WRITER_CACHE_KIB)?;
    // A checkpoint within a commit would keep its callers waiting; see `checkpoint`.
    conn.pragma_update(None, "wal_autocheckpoint", 0)?;
    Ok(conn)
}

/// The connection that copies the log into the file; the copy is flushed before the log is reused.
pub(super) fn open_checkpointer(path: &Path) -> Outcome<Connection> {
    let conn = open_file(path)?;
    conn.pragma_update(None, "synchronous", "full")?;
    conn.pragma_update(None, "wal_autocheckpoint", 0)?;
    Ok(conn)
}

/// A connection that cannot write, and that the writer never blocks.
pub(super) fn open_reader(path: &Path) -> Outcome<Connection> {
    let conn = open_file(path)?;
    conn.pragma_update(None, "query_only", true)?;
    conn.pragma_update(None, "cache_size", -READER_CACHE_KIB)?;
    Ok(conn)
}

/// Closes a connection that works: what its log holds goes into the file, and the log is emptied.
pub(super) fn close_writer(conn: Connection) {
    let emptied = conn.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
    if let Err(error) = emptied {
        // Nothing is lost: the next one to open the file reads the log.
        tracing::warn!(%error, "the store's log could not be emptied");
    }
    if let Err((_, error)) = conn.close() {
        tracing::warn!(%error, "the store could not be closed");
    }
}

/// Lets go of a connection that met an I/O error, without touching the file again through it: a
/// failed flush must not be tried again on the same handle.
pub(super) fn retire(conn: Connection) {
    if let Err(error) = conn.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true) {
        tracing::warn!(%error, "a poisoned connection could not be told to leave the log alone");
    }
    if let Err((_, error)) = conn.close() {
        tracing::warn!(%error, "a poisoned connection could not be closed");
    }
}

/// Switches the file to a write-ahead log; it stays so.
pub(super) fn enter_wal(conn: &Connection) -> Outcome<()> {
    for _ in 0..BUSY_TRIES {
        match conn.pragma_update_and_check(None, "journal_mode", "wal", |r| r.get::<_, String>(0)) {
            Ok(mode) if mode == "wal" => return Ok(()),
            Ok(mode) => {
                let what = format!("use a write-ahead log (the file system allows only {mode})");
                return Err(Error::Unavailable { what, source: None }.into());
            }
            // SQLite does not ask the busy handler where waiting might be a dead end.
            Err(error) if is_busy(&error) => thread::sleep(BUSY_STEP),
            Err(error) => return Err(error.into()),
        }
    }
    let what = "use a write-ahead log (the file is locked)".to_owned();
    Err(Error::Unavailable { what, source: None }.into())
}

/// True where another connection holds the lock.
pub(super) fn is_busy(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_library_that_can_lose_commits_is_refused() {
        assert!(refuse_unsafe_library(3_051_002, "3.51.2").is_err());
        assert!(refuse_unsafe_library(3_051_003, "3.51.3").is_ok());
        assert!(refuse_unsafe_library(rusqlite::version_number(), rusqlite::version()).is_ok());
    }
}
