//! The database file before SQLite sees it: is it ours, is it whole, or is it yet to be made?
//!
//! A new store is a draft until it is whole, so that nobody ever sees half of one; a file that
//! stands is never written by the check.

use super::{
    connect,
    failure::{self, Failure},
    filesystem, schema,
};
use crate::{
    Error, Result,
    draft::{Draft, flush_folder},
};
use rusqlite::Connection;
use std::{
    fs, io,
    io::Read,
    path::{Path, PathBuf},
};

/// The first 16 bytes of every SQLite database.
const MAGIC: &[u8] = b"SQLite format 3\0";
/// Length of SQLite's file header.
const HEADER_LEN: usize = 100;
/// The smallest page that SQLite knows: a file below it holds no database.
const SMALLEST_PAGE: u64 = 512;

/// Makes sure that a whole store of ours lies at `path`, and answers its full path.
///
/// Errors: `NetworkFileSystem`; `Empty`; `Damaged` for anything that is not ours or not whole;
/// `Unavailable` for what the file system refuses.
pub(super) fn prepare(path: &Path) -> Result<PathBuf> {
    let path = std::path::absolute(path).map_err(|e| unavailable("find", path, e))?;
    let directory = path.parent().unwrap_or(Path::new("/"));
    create_directory(directory).map_err(|e| unavailable("create the directory of", &path, e))?;
    filesystem::refuse_network(directory)?;
    match read_header(&path) {
        Ok((header, length)) => check_header(&path, &header, length)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            create(&path).map_err(|error| failure::about(&path, error))?;
        }
        Err(error) => return Err(unavailable("read", &path, error)),
    }
    may_write(&path).map_err(|e| unavailable("write", &path, e))?;
    may_write(directory).map_err(|e| unavailable("write into", directory, e))?;
    // One name for one file: its log, its locks and its workers lie beside it.
    path.canonicalize().map_err(|e| unavailable("find", &path, e))
}

/// SQLite itself would only say that it cannot open the file.
#[cfg(unix)]
fn may_write(path: &Path) -> io::Result<()> {
    Ok(rustix::fs::access(path, rustix::fs::Access::WRITE_OK)?)
}

#[cfg(not(unix))]
const fn may_write(_path: &Path) -> io::Result<()> {
    Ok(())
}

/// Looks whether the file at `path`, which stands, is ours and whole as far as its first page says.
///
/// Errors: as [`prepare`].
pub(super) fn examine(path: &Path) -> Result<()> {
    let (header, length) = read_header(path).map_err(|e| unavailable("read", path, e))?;
    check_header(path, &header, length)
}

/// The path with `suffix` appended to its file name, as SQLite does for its log.
pub(super) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

/// Creates a directory that only its owner may enter: answers and requests hold secrets.
pub(super) fn create_directory(directory: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(directory)
}

fn read_header(path: &Path) -> io::Result<(Vec<u8>, u64)> {
    let file = fs::File::open(path)?;
    let length = file.metadata()?.len();
    let mut header = Vec::with_capacity(HEADER_LEN);
    file.take(HEADER_LEN as u64).read_to_end(&mut header)?;
    Ok((header, length))
}

fn check_header(path: &Path, header: &[u8], length: u64) -> Result<()> {
    if length == 0 && has_log(path) {
        return Err(damaged(path, "is empty, but its log (-wal) stands: bring the file back"));
    }
    if length == 0 {
        return Err(Error::Empty(path.to_owned()));
    }
    if header.get(..MAGIC.len()) != Some(MAGIC) {
        return Err(damaged(path, "is not an SQLite database"));
    }
    if header.len() < HEADER_LEN || length < SMALLEST_PAGE {
        return Err(damaged(path, "is cut off within its first page"));
    }
    let application_id = be_u32(header, 68).cast_signed();
    if application_id != schema::APPLICATION_ID {
        return Err(damaged(path, "is an SQLite database of another program"));
    }
    let pages = u64::from(be_u32(header, 28));
    // While a log stands, pages may live there alone; the log's own checksums guard them.
    if length < pages * page_size(header) && !has_log(path) {
        return Err(damaged(path, "is cut off: it is shorter than its header says"));
    }
    let found = i64::from(be_u32(header, 60));
    let known = schema::known();
    if found > known {
        return Err(Error::TooNew { store: path.display().to_string(), found, known });
    }
    Ok(())
}

fn page_size(header: &[u8]) -> u64 {
    match be_u32(header, 14) & 0xffff {
        // 65,536 does not fit into the two bytes.
        1 => 65_536,
        size => u64::from(size),
    }
}

fn be_u32(header: &[u8], at: usize) -> u32 {
    let bytes = header.get(at..at + 4).and_then(|bytes| bytes.try_into().ok());
    bytes.map_or(0, u32::from_be_bytes)
}

fn has_log(path: &Path) -> bool {
    fs::metadata(beside(path, "-wal")).is_ok_and(|log| log.len() > 0)
}

fn create(path: &Path) -> Result<()> {
    if has_log(path) {
        // SQLite would take the log of a lost store for the new one's.
        return Err(damaged(path, "is missing, but its log (-wal) stands: bring the file back"));
    }
    let (draft, file) = Draft::begin(path).map_err(|e| unavailable("create", path, e))?;
    drop(file);
    build(draft.at())?;
    // Another process may be faster: its store is the store then.
    put_in_place(draft, path).or_else(|error| match error {
        Error::Exists(_) => flush_folder(path)
            .map_err(|e| unavailable("flush the directory of the new store", path, e)),
        error => Err(error),
    })
}

/// Creates an empty file that only its owner may read, where nothing stands.
pub(super) fn create_private(path: &Path) -> Result<()> {
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true);
    // The log and the shared memory inherit these rights from the file.
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path).map(drop).map_err(|e| unavailable("create", path, e))
}

fn build(draft: &Path) -> Result<()> {
    let fail = |e: Failure| e.into_error("create the store");
    let conn = connect::open_file(draft).map_err(fail)?;
    schema::upgrade(&conn, draft, schema::STEPS).map_err(fail)?;
    connect::enter_wal(&conn).map_err(fail)?;
    conn.close().map_err(|(_, e): (Connection, _)| fail(e.into()))
}

/// Gives a draft its name, where nothing stands under it: first the file is flushed, then the
/// folder.
///
/// Errors: `Exists`; `InDoubt` where the folder could not be flushed; others of the file system.
pub(super) fn put_in_place(draft: Draft, path: &Path) -> Result<()> {
    let file = fs::File::open(draft.at()).map_err(|e| unavailable("flush", draft.at(), e))?;
    let placed = draft.put_in_place(file).map_err(|e| match e.kind() {
        io::ErrorKind::AlreadyExists => Error::Exists(path.to_owned()),
        _ => unavailable("create", path, e),
    })?;
    placed.durable().map_err(|error| Error::InDoubt {
        what: format!("create {}", path.display()),
        source: Some(error.into()),
    })
}

/// Removes a file; one that does not exist is removed already.
pub(super) fn remove(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(unavailable("remove", path, error))
        }
        _ => Ok(()),
    }
}

/// The file system said no.
pub(super) fn unavailable(verb: &str, path: &Path, error: io::Error) -> Error {
    use io::ErrorKind::{PermissionDenied, QuotaExceeded, ReadOnlyFilesystem, StorageFull};
    let what = format!("{verb} {}", path.display());
    match error.kind() {
        StorageFull | QuotaExceeded => Error::Full { what, source: Some(error.into()) },
        PermissionDenied | ReadOnlyFilesystem => {
            Error::ReadOnly { what, source: Some(error.into()) }
        }
        _ => Error::Unavailable { what, source: Some(error.into()) },
    }
}

fn damaged(path: &Path, why: &str) -> Error {
    Error::Damaged { what: format!("{} {why}", path.display()), source: None }
}
