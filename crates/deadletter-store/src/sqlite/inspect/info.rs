//! What a store's file is and holds, in numbers that cost nothing to know.

use super::{Inspection, beside};
use crate::{
    Clock, Durability, Result, Totals, Worker,
    sqlite::{desk, failure::Outcome, locks::Locks, registry},
};
use deadletter_core::UnixMs;
use rusqlite::{Connection, OptionalExtension};
use std::{fs, path::PathBuf};

/// Workers that are named: more are counted by nobody.
const WORKERS: u32 = 1_000;

/// What there is to know of a store's file.
#[derive(Clone, Debug)]
pub struct Info {
    /// Its full path.
    pub path: PathBuf,
    /// Bytes of the file.
    pub file_bytes: u64,
    /// Bytes of the log beside it.
    pub log_bytes: u64,
    /// Bytes within the file that are free for new rows.
    pub free_bytes: u64,
    /// The version of its tables.
    pub schema: i64,
    /// The newest version that this program knows.
    pub schema_known: i64,
    /// What survives what.
    pub durability: Durability,
    /// The version of the SQLite library in this program.
    pub sqlite: String,
    /// How many tasks stand where.
    pub tasks: Totals,
    /// When the oldest task that stands was accepted.
    pub oldest_at: Option<UnixMs>,
    /// When the newest one was.
    pub newest_at: Option<UnixMs>,
    /// Workers that are alive, as [`Inspection::living`] says.
    pub workers: Vec<Worker>,
}

impl Inspection {
    /// Who works on the store by its `clock`: workers that have been heard of lately, whose
    /// process has not ended. One that ended has let its lock go; one that hangs, or that worked on
    /// the store of which this is a copy, is silent.
    pub fn living(&self, clock: &dyn Clock) -> Result<Vec<Worker>> {
        self.in_snapshot("look for workers", |conn| living(conn, &Locks::beside(&self.path), clock))
    }

    /// What the file is and holds, by the store's `clock`.
    pub fn info(&self, clock: &dyn Clock) -> Result<Info> {
        let length = |suffix| fs::metadata(beside(&self.path, suffix)).map_or(0, |data| data.len());
        let locks = Locks::beside(&self.path);
        self.in_snapshot("look at the store", |conn| {
            let page_bytes = pragma(conn, "page_size")?;
            Ok(Info {
                path: self.path.clone(),
                file_bytes: length(""),
                log_bytes: length("-wal"),
                free_bytes: (pragma(conn, "freelist_count")? * page_bytes).unsigned_abs(),
                schema: pragma(conn, "user_version")?,
                schema_known: super::super::schema::known(),
                durability: Durability::D2,
                sqlite: rusqlite::version().to_owned(),
                tasks: desk::totals(conn)?,
                oldest_at: accepted_at(conn, "ASC")?,
                newest_at: accepted_at(conn, "DESC")?,
                workers: living(conn, &locks, clock)?,
            })
        })
    }
}

fn living(conn: &Connection, locks: &Locks, clock: &dyn Clock) -> Outcome<Vec<Worker>> {
    let mut workers = registry::workers(conn, WORKERS)?;
    workers.retain(|worker| worker.lives(clock) && !locks.is_gone(&worker.id));
    Ok(workers)
}

fn pragma(conn: &Connection, name: &str) -> Outcome<i64> {
    Ok(conn.pragma_query_value(None, name, |row| row.get(0))?)
}

fn accepted_at(conn: &Connection, order: &str) -> Outcome<Option<UnixMs>> {
    let sql = format!("SELECT created_at FROM tasks ORDER BY id {order} LIMIT 1");
    Ok(conn.query_row(&sql, [], |row| row.get(0)).optional()?.map(UnixMs))
}
