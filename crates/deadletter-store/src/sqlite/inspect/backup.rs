//! A copy of a store, taken while others work on it: whole, checked, durable, or not there.

use super::{Inspection, Progress, uri};
use crate::{
    Error, Result,
    draft::Draft,
    sqlite::{
        connect, desk,
        failure::{Failure, Outcome},
        file::{self, unavailable},
    },
};
use rusqlite::{
    Connection, OpenFlags,
    backup::{Backup, StepResult},
    ffi,
};
use serde::Serialize;
use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

/// Pages copied between two pieces of news: 8 MiB, some hundredths of a second.
const PAGES: i32 = 2_000;
/// The check of a copy looks whether it was interrupted after so many of SQLite's steps: some
/// hundred times a second.
const STEPS: i32 = 100_000;

/// A copy that was taken.
#[derive(Clone, Debug, Serialize)]
pub struct BackedUp {
    /// Where it lies.
    pub path: PathBuf,
    /// Its length.
    pub bytes: u64,
    /// Tasks that stand in it.
    pub tasks: i64,
}

impl Inspection {
    /// Copies the store as it stands at this moment to `path`, where nothing may stand.
    ///
    /// The copy grows under another name, is checked, flushed with its folder, and only then put in
    /// its place.
    ///
    /// Errors: `Exists` where something stands at `path`; `Damaged` where the store is; `Full` and
    /// `Unavailable` of the file system; `Unavailable` where it was interrupted. Nothing is left
    /// behind then. `InDoubt` where the copy has its place and its folder could not be flushed.
    pub fn backup(&self, path: &Path, progress: &Progress) -> Result<BackedUp> {
        let path = std::path::absolute(path).map_err(|e| unavailable("find", path, e))?;
        refuse_overwrite(&path)?;
        let (draft, file) = Draft::begin(&path).map_err(|e| unavailable("create", &path, e))?;
        drop(file);
        let tasks = self.copy(draft.at(), progress)?;
        let bytes = fs::metadata(draft.at()).map_err(|e| unavailable("look at", &path, e))?.len();
        file::put_in_place(draft, &path)?;
        Ok(BackedUp { path, bytes, tasks })
    }

    fn copy(&self, draft: &Path, progress: &Progress) -> Result<i64> {
        let fail = |failure: Failure| failure.into_error(&format!("write {}", draft.display()));
        let mut copy = open_copy(draft).map_err(fail)?;
        self.in_snapshot("copy the store", |conn| {
            // The first read takes the snapshot; otherwise each write of others begins the copy anew.
            desk::totals(conn)?;
            pages(conn, &mut copy, progress, &self.is_stopped)
        })?;
        copy.close().map_err(|(_, error)| fail(error.into()))?;
        progress("the copy's check", 0, 0);
        let tasks = verify(draft, &self.is_stopped).map_err(fail)?;
        // The last moment: from here on it is a backup.
        go_on(&self.is_stopped).map_err(|error| fail(error.into()))?;
        Ok(tasks)
    }
}

fn refuse_overwrite(path: &Path) -> Result<()> {
    match fs::symlink_metadata(path) {
        Ok(_) => Err(Error::Exists(path.to_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(unavailable("look at", path, error)),
    }
}

fn open_copy(draft: &Path) -> Outcome<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let copy = Connection::open_with_flags(draft, flags)?;
    // Flushed once, at the end; half a copy is never put in its place.
    copy.pragma_update(None, "synchronous", "off")?;
    Ok(copy)
}

fn go_on(is_stopped: &AtomicBool) -> rusqlite::Result<()> {
    if is_stopped.load(Ordering::Relaxed) {
        let code = ffi::Error::new(ffi::SQLITE_INTERRUPT);
        return Err(rusqlite::Error::SqliteFailure(code, None));
    }
    Ok(())
}

fn pages(
    conn: &Connection,
    copy: &mut Connection,
    progress: &Progress,
    is_stopped: &AtomicBool,
) -> Outcome<()> {
    let backup = Backup::new(conn, copy)?;
    let mut tries = 0;
    loop {
        let step = backup.step(PAGES)?;
        let left = backup.progress();
        let (total, left) = (left.pagecount.unsigned_abs(), left.remaining.unsigned_abs());
        progress("pages", u64::from(total - left.min(total)), u64::from(total));
        go_on(is_stopped)?;
        match step {
            StepResult::Done => return Ok(()),
            StepResult::More => tries = 0,
            _ if tries < connect::BUSY_TRIES => {
                tries += 1;
                std::thread::sleep(connect::BUSY_STEP);
            }
            _ => {
                let what = "copy the store (it is locked)".to_owned();
                return Err(Error::Unavailable { what, source: None }.into());
            }
        }
    }
}

/// Checks a copy that nobody else knows of; answers how many tasks stand in it.
fn verify(draft: &Path, is_stopped: &Arc<AtomicBool>) -> Outcome<i64> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI;
    let mut copy = Connection::open_with_flags(uri(draft, "immutable=1"), flags)?;
    let is_stopped = Arc::clone(is_stopped);
    copy.progress_handler(STEPS, Some(move || is_stopped.load(Ordering::Relaxed)))?;
    let told: String = copy.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
    if told != "ok" {
        let what = format!(
            "the copy is not whole ({told}): the store is damaged; `deadletter store check` tells where"
        );
        return Err(Error::Damaged { what, source: None }.into());
    }
    Ok(desk::recount(&copy)?.standing())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sqlite::{inspect::Tolerance, schema};

    #[test]
    fn a_backup_that_is_interrupted_at_any_step_leaves_nothing_behind() {
        let dir = tempfile::tempdir().expect("a folder");
        let (store, copy) = (dir.path().join("tasks.db"), dir.path().join("copy.db"));
        file::create_private(&store).expect("created");
        let conn = Connection::open(&store).expect("a database");
        schema::upgrade(&conn, &store, schema::STEPS).expect("upgraded");
        drop(conn);
        for at in ["pages", "the copy's check"] {
            let inspection = Inspection::open(&store, Tolerance::None).expect("opened");
            let interrupter = inspection.interrupter();
            let progress: Progress = Arc::new(move |step, _, _| {
                if step == at {
                    interrupter.interrupt();
                }
            });
            let told = inspection.backup(&copy, &progress);
            assert!(matches!(told, Err(Error::Unavailable { .. })), "{at}: {told:?}");
            let left = fs::read_dir(dir.path()).expect("a folder").count();
            assert_eq!(left, 1, "{at}: something stays beside the store");
        }
    }
}
