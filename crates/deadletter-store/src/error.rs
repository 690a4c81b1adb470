//! What can go wrong between the program and a store.

use deadletter_core::WorkerId;
use std::{error::Error as StdError, path::PathBuf};

/// A store's result.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a store did not do what it was asked. Stale changes are no errors: they are answers.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The store cannot be reached or is busy; nothing was written; the same call may succeed.
    #[error("the store is not available: {what}")]
    Unavailable {
        /// What was tried.
        what: String,
        /// The driver's error.
        #[source]
        source: Option<Box<dyn StdError + Send + Sync>>,
    },
    /// The disk is full: nothing was written.
    #[error("the disk of the store is full: {what}")]
    Full {
        /// What was tried.
        what: String,
        /// The driver's error.
        #[source]
        source: Option<Box<dyn StdError + Send + Sync>>,
    },
    /// The store may be read and not written, or not even read: a matter of rights.
    #[error("the store may not be written: {what}")]
    ReadOnly {
        /// What was tried.
        what: String,
        /// The driver's error.
        #[source]
        source: Option<Box<dyn StdError + Send + Sync>>,
    },
    /// The server lets nobody in by that name and password, or has no such database.
    #[error("the server of the store does not let us in: {what}")]
    Denied {
        /// What was tried.
        what: String,
        /// The server's words.
        #[source]
        source: Option<Box<dyn StdError + Send + Sync>>,
    },
    /// The server wants a password, and none was named.
    #[error("the server of the store wants a password, and none is named: {0}")]
    NoPassword(String),
    /// Nobody who is trusted vouches for the server.
    #[error("the certificate of the store's server is not trusted: {what}")]
    Untrusted {
        /// What was tried.
        what: String,
        /// What is wrong with the certificate.
        #[source]
        source: Option<Box<dyn StdError + Send + Sync>>,
    },
    /// The server speaks no TLS where it was asked to.
    #[error("the server of the store speaks no TLS there: {what}")]
    NoTls {
        /// What was tried.
        what: String,
        /// What came instead.
        #[source]
        source: Option<Box<dyn StdError + Send + Sync>>,
    },
    /// What was read is damaged; it is never overwritten.
    #[error("the store is damaged: {what}")]
    Damaged {
        /// What was found.
        what: String,
        /// The driver's error.
        #[source]
        source: Option<Box<dyn StdError + Send + Sync>>,
    },
    /// A file without a byte: begun by somebody, or cut off. It is never taken for a new store.
    #[error("{0} is empty, and no store is")]
    Empty(PathBuf),
    /// Nobody knows whether the write is durable: read again before you act.
    #[error("the outcome of a write is unknown: {what}")]
    InDoubt {
        /// What was tried.
        what: String,
        /// The driver's error.
        #[source]
        source: Option<Box<dyn StdError + Send + Sync>>,
    },
    /// The server of the store stands empty, or holds another store, where it had answered before.
    /// Nothing more is written until the store is opened again.
    #[error("the store has lost what it had answered: {0}")]
    RolledBack(String),
    /// The worker was declared dead: it must drop everything and register anew.
    #[error("worker {0} was declared dead by the store's clock")]
    DeclaredDead(WorkerId),
    /// A store of a newer program.
    #[error(
        "the store {store} has schema {found}, and this program knows {known} at most; use a newer deadletter"
    )]
    TooNew {
        /// The store: its file, or its URL without secrets.
        store: String,
        /// Its schema version.
        found: i64,
        /// Ours.
        known: i64,
    },
    /// A place where SQLite's locks cannot be trusted.
    #[error(
        "{path} lies on a network file system ({kind}), where SQLite's locks do not hold; use a local disk"
    )]
    NetworkFileSystem {
        /// The store.
        path: PathBuf,
        /// The file system's name.
        kind: String,
    },
    /// Nothing stands where a store was to be read, and nothing was created.
    #[error("nothing stands at {0}")]
    Missing(String),
    /// Something stands where a copy was to be laid; nothing was overwritten.
    #[error("{0} stands already")]
    Exists(PathBuf),
    /// Somebody works on a store that must be at rest while it is moved.
    #[error("{store} is at work ({workers} {})", if *.workers == 1 { "worker" } else { "workers" })]
    AtWork {
        /// The store, without secrets.
        store: String,
        /// How many work on it.
        workers: usize,
    },
    /// All of it was moved there by an earlier call.
    #[error("{to} holds all that was moved from {from}, by an earlier call")]
    AlreadyMoved {
        /// The store that was moved, without secrets.
        from: String,
        /// Where it stands now.
        to: String,
    },
    /// Something else stands where a store was to be moved; it was left alone.
    #[error("{0}")]
    Occupied(String),
    /// Two stores that should be the same differ, or one cannot be read whole.
    #[error("{0}")]
    Differs(String),
    /// A question that is wrong, or that would do more than it may.
    #[error("{0}")]
    Refused(String),
    /// A URL or path that names no store.
    #[error("{0}")]
    BadUrl(String),
    /// The store was closed.
    #[error("the store is closed")]
    Closed,
}

impl Error {
    /// The same error with the name of the store that it is about, where it does not say so already.
    pub(crate) fn about(mut self, store: &str) -> Self {
        if let Self::Unavailable { what, .. }
        | Self::Full { what, .. }
        | Self::ReadOnly { what, .. }
        | Self::Damaged { what, .. }
        | Self::Denied { what, .. }
        | Self::NoPassword(what)
        | Self::Untrusted { what, .. }
        | Self::NoTls { what, .. }
        | Self::Refused(what)
        | Self::InDoubt { what, .. } = &mut self
            && !what.contains(store)
        {
            what.push_str(&format!(" at {store}"));
        }
        self
    }

    /// True where the same call may succeed later and nothing was written.
    #[must_use]
    pub const fn is_retryable(&self) -> bool {
        matches!(
            self,
            Self::Unavailable { .. }
                | Self::Full { .. }
                | Self::Untrusted { .. }
                | Self::NoTls { .. }
        )
    }
}
