//! Commits that a damaged log hides.
//!
//! SQLite reads a log up to the first frame that is not whole, and takes the rest for what a crash
//! left of the last commit; the next commit is then written over it. But each commit is flushed
//! before the next one begins, so only the last one can be cut off by a crash: where another follows
//! it, the log was damaged, and what was acknowledged would be lost without a word. A log that was
//! cut off at its end cannot be told from one whose last commits never happened.

use super::{
    failure::Outcome,
    file::{beside, unavailable},
    log::{FRAME_LEN, Frame, HEADER_LEN, Log, is_header},
};
use crate::{Error, Result};
use rusqlite::Connection;
use std::{
    fs::{self, File},
    io::{self, Cursor, Read, Seek, SeekFrom},
    path::Path,
};

/// Frames of an earlier life of the log in a row, after which none of this life follows: damage to
/// a disk's sectors is far smaller.
const FOREIGN: u64 = 200;
/// A log that others write to while it is read may look damaged: so many looks must agree.
const LOOKS: usize = 3;

/// Refuses a store whose log hides commits; `conn` has just opened it and has written nothing.
///
/// Errors: `Damaged`.
pub(super) fn refuse(conn: &Connection, main: &Path) -> Outcome<()> {
    let path = &beside(main, "-wal");
    let Some(mut log) = open(path)? else { return Ok(()) };
    let read = |e| unavailable("read", path, e);
    let page_len = conn.pragma_query_value(None, "page_size", |row| row.get::<_, u32>(0))?;
    let header = header(&mut log).map_err(read)?;
    if !is_header(&header) {
        let seen = last_frame(conn)?;
        if seen == 0 && is_news(main, page_len).map_err(read)? {
            return Err(damaged(path, "its header cannot be read").into());
        }
        return Ok(());
    }
    let Some(hidden) =
        commit_behind(&mut log, &header, page_len, last_frame(conn)?).map_err(read)?
    else {
        return Ok(());
    };
    // Another process may have written on: then the commit is known by now.
    if last_frame(conn)? >= hidden {
        return Ok(());
    }
    Err(damaged(path, &format!("commits up to frame {hidden} lie behind one that is not whole"))
        .into())
}

/// The same for somebody who may not even ask SQLite: what is wrong with the log, if anything is.
pub(super) fn flaw(main: &Path, page_len: u32) -> Result<Option<Error>> {
    let path = &beside(main, "-wal");
    let read = |e| unavailable("read", path, e);
    let mut flaw = None;
    for _ in 0..LOOKS {
        let Some(mut log) = open(path)? else { return Ok(None) };
        let header = header(&mut log).map_err(read)?;
        flaw = if is_header(&header) {
            // One and the same reading: others may go on writing.
            let bytes = fs::read(path).map_err(read)?;
            let mut log = Cursor::new(bytes.clone());
            let known = Log::read(bytes, page_len as usize).sound_frames;
            let hidden = commit_behind(&mut log, &header, page_len, known).map_err(read)?;
            hidden.map(|hidden| {
                damaged(
                    path,
                    &format!("commits up to frame {hidden} lie behind one that is not whole"),
                )
            })
        } else if is_news(main, page_len).map_err(read)? {
            Some(damaged(path, "its header cannot be read"))
        } else {
            None
        };
        if flaw.is_none() {
            break;
        }
    }
    Ok(flaw)
}

/// A log in which something stands.
fn open(path: &Path) -> Result<Option<File>> {
    let read = |e| unavailable("read", path, e);
    match File::open(path) {
        Ok(log) if log.metadata().map_err(read)?.len() > HEADER_LEN as u64 => Ok(Some(log)),
        Ok(_) => Ok(None),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(read(error)),
    }
}

/// The last frame that SQLite knows to be committed.
fn last_frame(conn: &Connection) -> rusqlite::Result<u64> {
    let frames: i64 = conn.query_row("PRAGMA wal_checkpoint(NOOP)", [], |row| row.get(1))?;
    Ok(u64::try_from(frames).unwrap_or(0))
}

fn header(log: &mut File) -> io::Result<Vec<u8>> {
    let mut header = Vec::with_capacity(HEADER_LEN);
    log.seek(SeekFrom::Start(0))?;
    log.take(HEADER_LEN as u64).read_to_end(&mut header)?;
    Ok(header)
}

/// The first commit after frame `known` of this life of the log that another frame goes on from: it
/// was flushed before that frame was written.
///
/// A commit whose flush was refused is written anew from the same frame on, so that what it leaves
/// behind goes on from no frame that still stands.
fn commit_behind(
    log: &mut (impl Read + Seek),
    header: &[u8],
    page_len: u32,
    known: u64,
) -> io::Result<Option<u64>> {
    let frame_len = FRAME_LEN as u64 + u64::from(page_len);
    let frames = log.seek(SeekFrom::End(0))?.saturating_sub(HEADER_LEN as u64) / frame_len;
    let (mut commit, mut foreign) = (None, 0);
    let mut page = vec![0; page_len as usize];
    for number in known + 1..=frames {
        let mut head = [0; FRAME_LEN];
        log.seek(SeekFrom::Start(HEADER_LEN as u64 + (number - 1) * frame_len))?;
        log.read_exact(&mut head)?;
        let Some(frame) = Frame::of(&head, header) else {
            foreign += 1;
            if foreign > FOREIGN {
                break;
            }
            commit = None;
            continue;
        };
        foreign = 0;
        if let Some(before) = commit {
            log.read_exact(&mut page)?;
            if frame.goes_on_from(before, &page) {
                return Ok(Some(number - 1));
            }
        }
        commit = frame.commits.then_some(frame.sum);
    }
    Ok(None)
}

/// True where a log without a header brings pages that the file does not have: while a log is begun
/// anew its header may be cut off by a crash, and then all of it is in the file already.
fn is_news(main: &Path, page_len: u32) -> io::Result<bool> {
    let log = Log::read(fs::read(beside(main, "-wal"))?, page_len as usize);
    let mut main = File::open(main)?;
    let mut page = vec![0; page_len as usize];
    for number in log.numbers() {
        main.seek(SeekFrom::Start(u64::from(number - 1) * u64::from(page_len)))?;
        if main.read_exact(&mut page).is_err() || log.page(number) != Some(page.as_slice()) {
            return Ok(true);
        }
    }
    Ok(false)
}

fn damaged(path: &Path, why: &str) -> Error {
    let what = format!("the log {} would lose what was acknowledged: {why}", path.display());
    Error::Damaged { what, source: None }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE_LEN: u32 = 4_096;
    const FRAME: usize = FRAME_LEN + PAGE_LEN as usize;

    /// The log of a database that stands in `from` (if any) after another commit of `rows` rows, and
    /// a copy of both in `to`.
    fn goes_on(from: Option<&Path>, to: &Path, rows: i64) -> Vec<u8> {
        let conn = if let Some(from) = from {
            for suffix in ["", "-wal"] {
                fs::copy(beside(from, suffix), beside(to, suffix)).expect("copied");
            }
            Connection::open(to).expect("a database")
        } else {
            let conn = Connection::open(to).expect("a database");
            conn.execute_batch(
                "PRAGMA page_size = 4096; PRAGMA journal_mode = wal; CREATE TABLE t (x)",
            )
            .expect("created");
            conn
        };
        conn.set_db_config(rusqlite::config::DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)
            .expect("set");
        let sql = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?1)
            INSERT INTO t SELECT zeroblob(3000) FROM n";
        conn.execute(sql, [rows]).expect("inserted");
        fs::read(beside(to, "-wal")).expect("a log")
    }

    /// The commit that `log` hides, by what SQLite would read of it.
    fn hidden(log: &[u8]) -> Option<u64> {
        let known = Log::read(log.to_vec(), PAGE_LEN as usize).sound_frames;
        commit_behind(&mut Cursor::new(log), &log[..HEADER_LEN], PAGE_LEN, known)
            .expect("memory does not fail")
    }

    #[test]
    fn what_refused_flushes_left_behind_hides_no_commit() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = |name: &str| dir.path().join(name);
        let start = goes_on(None, &path("start"), 1);
        // Three tries to go on from the same frame, each shorter than the one before: two were
        // refused, and the third was acknowledged.
        let tries = [30, 12, 3]
            .map(|rows| goes_on(Some(&path("start")), &path(&format!("after-{rows}")), rows));
        let mut log = Vec::new();
        for written in &tries {
            assert!(written.starts_with(&start) && written.len() > start.len() + FRAME);
            let left = log.split_off(written.len().min(log.len()));
            log = [written.clone(), left].concat();
        }
        assert!(log.len() == tries[0].len() && log.starts_with(&tries[2]));
        assert_eq!(hidden(&log), None);
    }

    #[test]
    fn a_commit_that_another_goes_on_from_is_hidden_by_damage_before_it() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = |name: &str| dir.path().join(name);
        let start = goes_on(None, &path("start"), 1);
        let second = goes_on(Some(&path("start")), &path("second"), 3);
        let mut log = goes_on(Some(&path("second")), &path("third"), 3);
        assert_eq!(hidden(&log), None, "it is whole");
        log[start.len() + FRAME_LEN + 7] ^= 1;
        let commit = (second.len() - HEADER_LEN) / FRAME;
        assert_eq!(hidden(&log), Some(commit as u64));
        assert_eq!(hidden(&log[..second.len()]), None, "a crash may have cut the last commit off");
    }
}
