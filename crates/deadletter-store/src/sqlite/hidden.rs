//! Commits that a damaged log hides.
//!
//! SQLite reads a log up to the first frame that is not whole, and takes the rest for what a crash
//! left of the last commit; the next commit is then written over it. But each commit is flushed
//! before the next one begins, so only the last one can be cut off by a crash: where another follows
//! it, the log was damaged, and what was acknowledged would be lost without a word. A log that was
//! cut off at its end cannot be told from one whose last commits never happened.

use super::{
    connect,
    failure::{Failure, Outcome},
    file::{beside, unavailable},
    log::{FRAME_LEN, Frame, HEADER_LEN, Log, is_header},
};
use crate::{Error, Result};
use rusqlite::Connection;
use std::{
    fs::File,
    io::{self, Read, Seek, SeekFrom},
    path::Path,
};

/// Frames of an earlier life of the log in a row, after which none of this life follows: damage to
/// a disk's sectors is far smaller.
const FOREIGN: u64 = 200;
/// Others may write to a log while it is looked at, and begin it anew; so two looks, one after the
/// other, must find the same. A log that is another one at each of so many looks is at work: whoever
/// works on it has looked before.
const LOOKS: usize = 6;

/// Refuses a store whose log hides commits; `conn` has just opened it and has written nothing.
/// Answers that connection, or one opened in its place.
///
/// Errors: `Damaged`; `Unavailable` and others of the file system.
pub(super) fn refuse(conn: Connection, main: &Path) -> Outcome<Connection> {
    let looked = page_len(&conn).and_then(|page_len| {
        let mut compared = false;
        let flaw = settled(main, page_len, &mut compared, |_| last_frame(&conn))?;
        Ok((flaw, compared))
    });
    match looked {
        Ok((None, false)) => Ok(conn),
        // The file was opened beside the connection, and closing it has given up the connection's
        // locks: the system keeps them by process and file.
        Ok((None, true)) => {
            connect::retire(conn);
            connect::open_writer(main)
        }
        Ok((Some(flaw), _)) => {
            connect::retire(conn);
            Err(flaw.into())
        }
        Err(failure) => {
            connect::retire(conn);
            Err(failure)
        }
    }
}

/// The same for somebody who may not even ask SQLite: what is wrong with the log, if anything is.
/// No connection of this process may be open on the file.
///
/// Errors: of the file system.
pub(super) fn flaw(main: &Path, page_len: u32) -> Result<Option<Error>> {
    let path = &beside(main, "-wal");
    let sound = |log: &mut File| {
        let read = Log::read(log, page_len as usize).map(|log| log.sound_frames);
        Ok(read.map_err(|e| unavailable("read", path, e))?)
    };
    settled(main, page_len, &mut false, sound)
        .map_err(|failure| failure.into_error("look at the log"))
}

/// What two looks in a row agree on; `known` tells how many of the log's frames SQLite reads.
/// `compared` becomes true where the file beside the log was opened.
///
/// A commit that one look has seen with a frame behind it was flushed, and known, before the next
/// look begins. Where that one finds the same life of the log with the same last known frame, the
/// commit is hidden; nobody was just about to write it.
fn settled(
    main: &Path,
    page_len: u32,
    compared: &mut bool,
    mut known: impl FnMut(&mut File) -> Outcome<u64>,
) -> Outcome<Option<Error>> {
    let path = &beside(main, "-wal");
    let read = |e| Failure::from(unavailable("read", path, e));
    let mut suspected = None;
    for _ in 0..LOOKS {
        let Some(mut log) = open(path)? else { return Ok(None) };
        let seen = (header(&mut log).map_err(read)?, known(&mut log)?);
        let lost = match lost(&mut log, main, &seen, page_len, compared) {
            Ok(None) => return Ok(None),
            Ok(lost) => lost,
            // It was cut while it was read.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => None,
            Err(error) => return Err(read(error)),
        };
        // What stands there now, whatever it was when it was opened.
        let Some(mut log) = open(path)? else { return Ok(None) };
        let is_same = header(&mut log).map_err(read)? == seen.0;
        let Some(why) = lost.filter(|_| is_same) else {
            suspected = None;
            continue;
        };
        if suspected.as_ref() == Some(&seen) {
            return Ok(Some(damaged(path, &why)));
        }
        suspected = Some(seen);
    }
    tracing::debug!(log = %path.display(), "the log was another one at each look");
    Ok(None)
}

/// What would be lost if SQLite read the log's first `known` frames and wrote on behind them.
fn lost(
    log: &mut File,
    main: &Path,
    (header, known): &(Vec<u8>, u64),
    page_len: u32,
    compared: &mut bool,
) -> io::Result<Option<String>> {
    let known = *known;
    let why = if is_header(header) {
        let hidden = commit_behind(log, header, page_len, known)?;
        hidden.map(|n| format!("commits up to frame {n} lie behind one that is not whole"))
    } else if known == 0 {
        Some("its header cannot be read".to_owned())
    } else {
        None
    };
    // A log is begun anew once all of it is in the file; what it held lies there until it is written
    // over, and SQLite reads none of it.
    if why.is_some() && known == 0 {
        *compared = true;
        if !is_news(log, main, page_len)? {
            return Ok(None);
        }
    }
    Ok(why)
}

fn page_len(conn: &Connection) -> Outcome<u32> {
    Ok(conn.pragma_query_value(None, "page_size", |row| row.get(0))?)
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
fn last_frame(conn: &Connection) -> Outcome<u64> {
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

/// True where a log of which SQLite reads nothing brings pages that the file does not have.
fn is_news(log: &mut File, main: &Path, page_len: u32) -> io::Result<bool> {
    let mut log = Log::read(log, page_len as usize)?;
    if log.bad_frames > 0 && !log.is_headless {
        return Ok(true);
    }
    let mut main = File::open(main)?;
    let mut page = vec![0; page_len as usize];
    let numbers: Vec<u32> = log.numbers().collect();
    for number in numbers {
        main.seek(SeekFrom::Start(u64::from(number - 1) * u64::from(page_len)))?;
        match main.read_exact(&mut page) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(true),
            read => read?,
        }
        if log.page(number)?.as_ref() != Some(&page) {
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
    use crate::sqlite::schema::PAGE_LEN;
    use std::{fs, io::Cursor};

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
        let known = Log::read(Cursor::new(log), PAGE_LEN as usize).expect("memory").sound_frames;
        commit_behind(&mut Cursor::new(log), &log[..HEADER_LEN], PAGE_LEN, known)
            .expect("memory does not fail")
    }

    /// A database with a log of two commits in `dir`, open for its writer.
    fn at_work(dir: &Path) -> (std::path::PathBuf, Connection) {
        let path = dir.join("at-work");
        goes_on(None, &path, 3);
        let conn = Connection::open(&path).expect("a database");
        conn.execute("INSERT INTO t VALUES (zeroblob(30000))", []).expect("inserted");
        (path, conn)
    }

    fn empty_the_log(conn: &Connection) {
        conn.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).expect("emptied");
    }

    /// What is told by somebody who looks while `meanwhile` happens, once, between the header and
    /// the frames.
    fn told(main: &Path, asked: Option<&Connection>, meanwhile: impl Fn()) -> Option<String> {
        let mut is_first = true;
        let looked = settled(main, PAGE_LEN, &mut false, |log| {
            if std::mem::take(&mut is_first) {
                meanwhile();
            }
            match asked {
                Some(conn) => last_frame(conn),
                None => Ok(Log::read(log, PAGE_LEN as usize).expect("it reads").sound_frames),
            }
        });
        looked.expect("it can be read").map(|error| error.to_string())
    }

    #[test]
    fn a_log_that_another_begins_anew_while_it_is_looked_at_is_not_damaged() {
        let dir = tempfile::tempdir().expect("a folder");
        let (path, writer) = at_work(dir.path());
        let other = Connection::open(&path).expect("a database");
        for asked in [Some(&other), None] {
            let anew = || {
                writer.pragma_update(None, "wal_autocheckpoint", 0).expect("set");
                let copied = "PRAGMA wal_checkpoint(RESTART)";
                writer.query_row(copied, [], |_| Ok(())).expect("copied");
                writer.execute("INSERT INTO t VALUES (1)", []).expect("inserted");
            };
            assert_eq!(told(&path, asked, anew), None, "begun anew");
            writer.execute("INSERT INTO t VALUES (zeroblob(30000))", []).expect("inserted");
            let emptied = || empty_the_log(&writer);
            assert_eq!(told(&path, asked, emptied), None, "cut");
            writer.execute("INSERT INTO t VALUES (zeroblob(30000))", []).expect("inserted");
            writer.execute("INSERT INTO t VALUES (zeroblob(30000))", []).expect("inserted");
        }
        drop(other);
        let gone = || fs::remove_file(beside(&path, "-wal")).expect("removed");
        assert_eq!(told(&path, None, gone), None, "gone");
    }

    #[test]
    fn a_log_whose_last_frame_is_just_being_written_is_not_damaged() {
        let dir = tempfile::tempdir().expect("a folder");
        let (path, writer) = at_work(dir.path());
        // One look has read the frames up to here when others are written behind them.
        let known = last_frame(&writer).expect("known");
        for _ in 0..2 {
            writer.execute("INSERT INTO t VALUES (zeroblob(30000))", []).expect("inserted");
        }
        let mut looks = 0;
        let looked = settled(&path, PAGE_LEN, &mut false, |_| {
            looks += 1;
            if looks == 1 { Ok(known) } else { last_frame(&writer) }
        });
        assert!(looked.expect("it can be read").is_none());
        assert_eq!(looks, 2);
    }

    #[test]
    fn a_log_that_was_copied_and_not_yet_cut_hides_nothing() {
        let dir = tempfile::tempdir().expect("a folder");
        let (path, writer) = at_work(dir.path());
        let log = fs::read(beside(&path, "-wal")).expect("a log");
        empty_the_log(&writer);
        // As it lies between the two steps of whoever cuts it.
        fs::write(beside(&path, "-wal"), &log).expect("written");
        let conn = connect::open_writer(&path).expect("opened");
        assert_eq!(last_frame(&conn).expect("known"), 0);
        assert!(refuse(conn, &path).is_ok());
        // The same frames, one of them damaged.
        let mut torn = log;
        torn[HEADER_LEN + FRAME_LEN + 7] ^= 1;
        fs::write(beside(&path, "-wal"), &torn).expect("written");
        let conn = connect::open_writer(&path).expect("opened");
        assert!(refuse(conn, &path).is_err());
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
