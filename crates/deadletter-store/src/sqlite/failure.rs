//! SQLite's errors in the store's words.

use crate::Error;
use rusqlite::{ErrorCode, ffi};
use std::path::Path;

/// What stops a piece of work inside the store: SQLite, or an answer in the store's own words.
#[derive(Debug)]
pub(super) enum Failure {
    Sql(rusqlite::Error),
    Store(Error),
}

/// The result of a piece of work inside the store.
pub(super) type Outcome<T> = Result<T, Failure>;

impl From<rusqlite::Error> for Failure {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sql(error)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Store(error)
    }
}

impl Failure {
    /// The store's error for a failed `what` of which nothing was written.
    pub(super) fn into_error(self, what: &str) -> Error {
        match self {
            Self::Sql(error) => unwritten(what, error),
            Self::Store(error) => error,
        }
    }

    /// True where the connection can no longer be trusted.
    pub(super) fn poisons(&self) -> bool {
        matches!(self, Self::Sql(error) if poisons(error))
    }

    /// True for an answer that was given before anything was written.
    pub(super) const fn is_refusal(&self) -> bool {
        matches!(self, Self::Store(Error::DeclaredDead(_)))
    }
}

/// True where the connection can no longer be trusted: what failed once at the disk must not be
/// tried again on the same handle.
pub(super) fn poisons(error: &rusqlite::Error) -> bool {
    matches!(
        error.sqlite_error_code(),
        Some(
            ErrorCode::SystemIoFailure
                | ErrorCode::OutOfMemory
                | ErrorCode::FileLockingProtocolFailed
        )
    )
}

/// The store's error for a failed `what` of which nothing was written.
pub(super) fn unwritten(what: &str, error: rusqlite::Error) -> Error {
    let code = error.sqlite_error_code();
    let what = what.to_owned();
    let is_misfit = matches!(
        error,
        rusqlite::Error::FromSqlConversionFailure(..)
            | rusqlite::Error::IntegralValueOutOfRange(..)
            | rusqlite::Error::InvalidColumnType(..)
    );
    let is_full = is_full(&error);
    let source = Some(error.into());
    match code {
        _ if is_full => Error::Full { what, source },
        Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied) => Error::ReadOnly { what, source },
        // A broken constraint means that rows and rules disagree: no retry mends that.
        Some(
            ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase | ErrorCode::ConstraintViolation,
        ) => Error::Damaged { what, source },
        _ if is_misfit => Error::Damaged { what, source },
        _ => Error::Unavailable { what, source },
    }
}

/// The same error with the name of the file that it is about, where it does not say so already.
pub(super) fn about(path: &Path, mut error: Error) -> Error {
    if let Error::Unavailable { what, .. }
    | Error::Full { what, .. }
    | Error::ReadOnly { what, .. }
    | Error::Damaged { what, .. }
    | Error::InDoubt { what, .. } = &mut error
    {
        let path = path.display().to_string();
        if !what.contains(&path) {
            what.push_str(&format!(" in {path}"));
        }
    }
    error
}

/// True where there is no room, for the file or for its log's index.
fn is_full(error: &rusqlite::Error) -> bool {
    let extended = error.sqlite_error().map(|error| error.extended_code);
    error.sqlite_error_code() == Some(ErrorCode::DiskFull)
        || extended == Some(ffi::SQLITE_IOERR_SHMSIZE)
}

/// Why a whole transaction was not acknowledged; told to each of its callers.
#[derive(Clone, Debug)]
pub(super) struct CommitFailure {
    kind: CommitFailureKind,
    detail: String,
}

#[derive(Clone, Copy, Debug)]
enum CommitFailureKind {
    Unavailable,
    Full,
    ReadOnly,
    Damaged,
    InDoubt,
}

impl CommitFailure {
    /// The transaction could not begin, or was undone: nothing of it is written.
    pub(super) fn undone(error: &rusqlite::Error) -> Self {
        let kind = match error.sqlite_error_code() {
            _ if is_full(error) => CommitFailureKind::Full,
            Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied) => CommitFailureKind::ReadOnly,
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
                CommitFailureKind::Damaged
            }
            _ => CommitFailureKind::Unavailable,
        };
        Self { kind, detail: error.to_string() }
    }

    /// The commit itself failed: after an I/O error nobody knows what a crash would find.
    pub(super) fn at_commit(error: &rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(ErrorCode::DiskFull | ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
                Self::undone(error)
            }
            _ => Self { kind: CommitFailureKind::InDoubt, detail: error.to_string() },
        }
    }

    /// Nothing is written.
    pub(super) fn unavailable(detail: &str) -> Self {
        Self { kind: CommitFailureKind::Unavailable, detail: detail.to_owned() }
    }

    /// Nobody knows what is written.
    pub(super) fn in_doubt(detail: &str) -> Self {
        Self { kind: CommitFailureKind::InDoubt, detail: detail.to_owned() }
    }

    /// The store's error for the caller of `what`.
    pub(super) fn to_error(&self, what: &str) -> Error {
        let what = what.to_owned();
        let source = Some(self.detail.clone().into());
        match self.kind {
            CommitFailureKind::Unavailable => Error::Unavailable { what, source },
            CommitFailureKind::ReadOnly => Error::ReadOnly { what, source },
            CommitFailureKind::Full => Error::Full { what, source },
            CommitFailureKind::Damaged => Error::Damaged { what, source },
            CommitFailureKind::InDoubt => Error::InDoubt { what, source },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sqlite(code: i32) -> rusqlite::Error {
        rusqlite::Error::SqliteFailure(ffi::Error::new(code), None)
    }

    #[test]
    fn a_failed_flush_at_commit_is_in_doubt_and_poisons_the_handle() {
        let error = sqlite(ffi::SQLITE_IOERR_FSYNC);
        assert!(poisons(&error));
        let told = CommitFailure::at_commit(&error).to_error("commit");
        assert!(matches!(told, Error::InDoubt { .. }), "{told:?}");
    }

    #[test]
    fn a_full_disk_and_a_busy_file_have_written_nothing() {
        for (code, full) in [(ffi::SQLITE_FULL, true), (ffi::SQLITE_BUSY, false)] {
            let told = CommitFailure::at_commit(&sqlite(code)).to_error("commit");
            assert_eq!(matches!(told, Error::Full { .. }), full, "{told:?}");
            assert!(told.is_retryable());
            assert!(!poisons(&sqlite(code)));
        }
    }

    #[test]
    fn a_damaged_page_is_told_as_damage() {
        for code in [ffi::SQLITE_CORRUPT, ffi::SQLITE_NOTADB] {
            let told = unwritten("get", sqlite(code));
            assert!(matches!(told, Error::Damaged { .. }), "{told:?}");
        }
    }
}
