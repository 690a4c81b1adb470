//! Brings out of a damaged file what can be read, into a store of its own.
//!
//! SQLite finds rows from the roots of its trees, so one bad page hides all that lies below it. Here
//! every page is looked at by itself: what lies in it is told by its shape. Nothing is written to
//! the damaged file. What is deleted lies in pages that the file calls free, and these are left out;
//! where the file's first page is lost, nobody can tell, and what was purged may come back.

mod pages;
mod record;
mod rows;

use super::{
    connect, desk,
    failure::{Failure, Outcome},
    file, insert, schema, task_row,
};
use crate::{Error, Result, sqlite::inspect::Progress};
use deadletter_core::TaskId;
use pages::Pages;
use rows::Rows;
use rusqlite::Connection;
use serde::Serialize;
use std::{
    fs,
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
};

/// Pages between two pieces of news.
const PAGES_PER_NEWS: u32 = 256;

/// What was brought out, and what was lost.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Salvaged {
    /// Tasks whose row and request were read.
    pub tasks: u64,
    /// Attempts that were read.
    pub attempts: u64,
    /// Answers that were read.
    pub answers: u64,
    /// Requests that were read whose task's row is lost.
    pub without_row: Vec<TaskId>,
    /// Tasks whose row was read and whose request is lost.
    pub without_request: Vec<TaskId>,
    /// Tasks that stood by the file's own counts, where these were read.
    pub expected: Option<u64>,
    /// Pages of the file and its log.
    pub pages: u32,
    /// Pages that could not be read.
    pub bad_pages: u64,
    /// Cells of pages, and frames of the log, that hold nothing that can be read.
    pub bad_rows: u64,
    /// True where nobody can tell what was deleted: what was purged may be among the rest.
    pub may_be_old: bool,
}

impl Salvaged {
    /// Tasks that stood in the file and of which nothing was found.
    #[must_use]
    pub fn lost(&self) -> u64 {
        let found = self.tasks + (self.without_row.len() + self.without_request.len()) as u64;
        self.expected.unwrap_or(0).saturating_sub(found)
    }
}

/// Reads every page of the store at `path`, and lays what it finds into a new store at `into`.
///
/// Blocks. The new store has no counts: it is there to be read, and then deleted. A task whose
/// request is lost stands in it without one.
///
/// Errors: `Unavailable` and `Full` of the file system; `Unavailable` once `is_stopped`; damage is
/// no error.
pub fn salvage(
    path: &Path,
    into: &Path,
    progress: &Progress,
    is_stopped: &AtomicBool,
) -> Result<Salvaged> {
    let mut pages = Pages::open(path)?;
    file::create_private(into)?;
    let fail = |failure: Failure| failure.into_error(&format!("write {}", into.display()));
    let conn = open_heap(into).map_err(fail)?;
    let mut salvaged = read_pages(&mut pages, &conn, progress, is_stopped).map_err(fail)?;
    salvaged.may_be_old = file::examine(path).is_err() && fs::metadata(path).is_ok();
    weed(&conn, &mut salvaged, progress, is_stopped).map_err(fail)?;
    conn.execute_batch("COMMIT").map_err(|error| fail(error.into()))?;
    connect::enter_wal(&conn).map_err(fail)?;
    conn.close().map_err(|(_, error)| fail(error.into()))?;
    Ok(salvaged)
}

/// A new store that is filled in one transaction.
fn open_heap(into: &Path) -> Outcome<Connection> {
    let conn = connect::open_file(into)?;
    schema::upgrade(&conn, into, schema::STEPS)?;
    // It is thrown away: nobody waits for the disk.
    conn.pragma_update(None, "synchronous", "off")?;
    conn.pragma_update_and_check(None, "journal_mode", "off", |_| Ok(()))?;
    conn.execute_batch("BEGIN")?;
    Ok(conn)
}

fn read_pages(
    pages: &mut Pages,
    conn: &Connection,
    progress: &Progress,
    is_stopped: &AtomicBool,
) -> Outcome<Salvaged> {
    let numbers = pages.numbers();
    let found = u32::try_from(numbers.len()).unwrap_or(u32::MAX);
    let count = found.max(pages.told());
    let mut salvaged =
        Salvaged { pages: count, bad_rows: pages.bad_frames(), ..Salvaged::default() };
    salvaged.bad_pages = u64::from(count - found);
    let mut rows = Rows::of(conn)?;
    for number in numbers {
        go_on(is_stopped)?;
        if number % PAGES_PER_NEWS == 0 {
            progress("pages", number.into(), count.into());
        }
        match pages.rows(number) {
            Ok(found) => {
                salvaged.bad_rows += found.bad;
                for row in found.rows {
                    salvaged.bad_rows += u64::from(!rows.take(conn, row)?);
                }
            }
            Err(_) => salvaged.bad_pages += 1,
        }
    }
    salvaged.bad_pages += u64::from(pages.is_log_headless());
    salvaged.expected = rows.expected();
    Ok(salvaged)
}

/// Throws out what cannot be read as what it should be, and counts the rest.
fn weed(
    conn: &Connection,
    salvaged: &mut Salvaged,
    progress: &Progress,
    is_stopped: &AtomicBool,
) -> Outcome<()> {
    progress("rows", 0, 0);
    for id in ids(conn, "SELECT id FROM tasks ORDER BY id")? {
        go_on(is_stopped)?;
        let sql = format!("SELECT {} FROM tasks WHERE id = ?", task_row::COLUMNS);
        let is_task = conn.prepare_cached(&sql)?.query_row([id], task_row::read).is_ok();
        let Ok(task) = TaskId::try_from(id) else { continue };
        if !is_task {
            conn.execute("DELETE FROM tasks WHERE id = ?", [id])?;
            salvaged.bad_rows += 1;
        } else if !has_request(conn, task)? {
            // What is no request is none; the row and its attempts tell what was spent.
            conn.execute("DELETE FROM requests WHERE task = ?", [id])?;
            salvaged.without_request.push(task);
        } else {
            salvaged.tasks += 1;
        }
    }
    for id in ids(conn, "SELECT DISTINCT task FROM attempts")? {
        go_on(is_stopped)?;
        let Ok(task) = TaskId::try_from(id) else { continue };
        match desk::history(conn, task) {
            Ok(attempts) => salvaged.attempts += attempts.len() as u64,
            Err(_) => {
                let lost = conn.execute("DELETE FROM attempts WHERE task = ?", [id])?;
                salvaged.bad_rows += lost as u64;
            }
        }
    }
    for id in ids(conn, "SELECT task FROM requests WHERE task NOT IN (SELECT id FROM tasks)")? {
        match TaskId::try_from(id) {
            Ok(task) if has_request(conn, task)? => salvaged.without_row.push(task),
            _ => salvaged.bad_rows += 1,
        }
    }
    let answers: i64 = conn.query_row("SELECT count(*) FROM answers", [], |row| row.get(0))?;
    salvaged.answers = answers.unsigned_abs();
    Ok(())
}

/// True where a request stands and is the JSON that it should be.
fn has_request(conn: &Connection, task: TaskId) -> Outcome<bool> {
    let body = insert::body(conn, task)?;
    let is_map = |body: Vec<u8>| {
        serde_json::from_slice::<serde_json::Map<String, serde_json::Value>>(&body).is_ok()
    };
    Ok(body.is_some_and(is_map))
}

fn go_on(is_stopped: &AtomicBool) -> Outcome<()> {
    if is_stopped.load(Ordering::Relaxed) {
        let what = "bring out what can be read (it was interrupted)".to_owned();
        return Err(Error::Unavailable { what, source: None }.into());
    }
    Ok(())
}

fn ids(conn: &Connection, sql: &str) -> Outcome<Vec<i64>> {
    let mut statement = conn.prepare(sql)?;
    let rows = statement.query_map([], |row| row.get(0))?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}
