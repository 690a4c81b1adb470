//! What can go wrong for a user of the library.

use deadletter_core::{AccountName, OperationId, TaskId};

/// The library's result.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why the engine did not do what it was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The store refused or could not be reached.
    #[error(transparent)]
    Store(#[from] deadletter_store::Error),
    /// No account of that name was given to the builder.
    #[error("there is no account {0}; name one that the configuration has")]
    NoSuchAccount(AccountName),
    /// The builder was given no account.
    #[error("no account was given; add one with `Builder::account`")]
    NoAccount,
    /// The builder was given two accounts of one name.
    #[error("two accounts are named {0}; give each a name of its own")]
    SameName(AccountName),
    /// The builder was given no store.
    #[error("no store was given; name one with `Builder::store`")]
    NoStore,
    /// The store holds a part of what is moved into it: its tasks may be at work elsewhere.
    #[error(
        "this store holds a part of what is moved into it from {0}; `deadletter store migrate` goes on with it"
    )]
    HalfMoved(String),
    /// The task does not exist, or was purged.
    #[error("there is no task {0}")]
    NoSuchTask(TaskId),
    /// The operation does not exist.
    #[error("there is no operation {0}")]
    NoSuchOperation(OperationId),
    /// The engine is stopping: nothing new is taken in.
    #[error("the engine is stopping; nothing new is taken in")]
    Stopping,
    /// No free id was found for a new task.
    #[error("no free task id was found in {0} tries; is the clock right?")]
    NoFreeId(u32),
    /// A stored document is not what it should be.
    #[error("the stored document {key} cannot be read")]
    BadDocument {
        /// Its name.
        key: String,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// A part of a job is larger than what is stored.
    #[error(transparent)]
    TooLarge(#[from] deadletter_core::TooLarge),
    /// Nothing would ever be told there.
    #[error("nothing may be delivered to that URL: {0}")]
    Target(#[from] crate::outbound::Refused),
    /// A filter is too large, or says what cannot be said.
    #[error(transparent)]
    Filter(#[from] deadletter_core::filter::FilterError),
    /// More holds stand than may.
    #[error("{0} holds stand already: end one of them first")]
    TooManyHolds(usize),
    /// Somebody else kept changing the same document.
    #[error("the document {0} was changed by others at every try; try again")]
    Contended(String),
}

impl Error {
    /// True where the same call may succeed later, and has written nothing. False for a store in
    /// doubt ([`deadletter_store::Error::InDoubt`]): that may have been written.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Store(error) => error.is_retryable(),
            Self::Contended(_) => true,
            _ => false,
        }
    }
}
