//! Redis's errors in the store's words.

use crate::{
    Error,
    trust::{Refusal, refusal},
};
use redis::{ErrorKind, ParsingError, RedisError};
use std::error::Error as StdError;

/// What a replica says to whoever writes.
pub(super) const READONLY: &str = "READONLY";

/// What stops a piece of work inside the store: the server, or an answer in the store's own words.
#[derive(Debug)]
pub(super) enum Failure {
    /// The connection is gone or silent; what was asked may be done.
    Lost(String),
    /// No connection under TLS is made, and why not.
    NoTls { refusal: Refusal, told: String },
    /// The server says no, in a word and a line: nothing is done.
    Refused { code: String, told: String },
    /// Somebody else has written what was loaded: the same again, and nothing of it is written.
    Met,
    /// The server has lost what it had told: the same again, once that is put back.
    Turned,
    /// Something that does not hold what it should.
    Misfit { what: String, source: Option<Box<dyn StdError + Send + Sync>> },
    /// An answer in the store's own words.
    Store(Error),
}

/// The result of a piece of work inside the store.
pub(super) type Outcome<T> = Result<T, Failure>;

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Store(error)
    }
}

impl From<ParsingError> for Failure {
    fn from(error: ParsingError) -> Self {
        Self::Misfit { what: "an answer".to_owned(), source: Some(Box::new(error)) }
    }
}

impl From<serde_json::Error> for Failure {
    fn from(error: serde_json::Error) -> Self {
        // The error names a line and a column, and nothing of what stands there.
        Self::Misfit { what: "a stored value".to_owned(), source: Some(Box::new(error)) }
    }
}

impl Failure {
    /// What a line says that cannot be opened.
    pub(super) fn of_line(error: &std::io::Error) -> Self {
        let told = error.to_string();
        match refusal(error) {
            Some(refusal) => Self::NoTls { refusal, told },
            None => Self::Lost(told),
        }
    }
}

impl From<RedisError> for Failure {
    fn from(error: RedisError) -> Self {
        if let Some(refused) = error.clone().into_server_errors() {
            let Some((_, first)) = refused.first() else { return Self::Lost(error.to_string()) };
            let (code, told) = (first.code().to_owned(), first.details().unwrap_or_default());
            return Self::Refused { told: told.to_owned(), code };
        }
        match error.kind() {
            ErrorKind::UnexpectedReturnType => {
                Self::Misfit { what: "an answer".to_owned(), source: Some(Box::new(error)) }
            }
            ErrorKind::AuthenticationFailed => {
                Self::Refused { code: "WRONGPASS".to_owned(), told: error.to_string() }
            }
            // What the server says while a connection is made comes in the driver's words.
            ErrorKind::Server(_) => {
                Self::Refused { code: "ERR".to_owned(), told: error.to_string() }
            }
            _ => Self::Lost(error.to_string()),
        }
    }
}

/// What is to be done about a failure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The same again after a while.
    Wait,
    /// The same on a new connection.
    Reconnect,
    /// The same on a connection to the node that has the keys now.
    GoTo(String),
    /// The server has forgotten our scripts: the same once it knows them.
    Teach,
    /// It will not be done.
    Refuse,
}

impl Failure {
    /// What this failure asks for. <https://redis.io/docs/latest/develop/reference/protocol-spec/>
    /// and the server's `shared` errors have the words.
    pub(super) fn verdict(&self) -> Verdict {
        let (code, told) = match self {
            Self::Lost(_) | Self::NoTls { .. } => return Verdict::Reconnect,
            Self::Met | Self::Turned => return Verdict::Wait,
            Self::Misfit { .. } | Self::Store(_) => return Verdict::Refuse,
            Self::Refused { code, told } => (code.as_str(), told),
        };
        match code {
            "MOVED" => match told.split_whitespace().nth(1) {
                Some(place) => Verdict::GoTo(place.to_owned()),
                None => Verdict::Reconnect,
            },
            // A node whose keys are on their way to another one; one that others are about to
            // replace; one that is busy with a script, with reading its file, or with its master.
            "ASK" | "TRYAGAIN" | "CLUSTERDOWN" | "BUSY" | "LOADING" | "MASTERDOWN" => Verdict::Wait,
            // A node that has become a replica: its master is found by connecting anew.
            READONLY | "UNBLOCKED" => Verdict::Reconnect,
            "NOSCRIPT" => Verdict::Teach,
            _ => Verdict::Refuse,
        }
    }

    /// The same of a store that was written already: its server has become a replica, and whoever
    /// takes its place may come any moment.
    pub(super) fn of_a_store_in_use(self) -> Self {
        match self {
            Self::Refused { code, told } if code == READONLY => Self::Lost(format!(
                "the server is a replica by now, and no master is found: {told}"
            )),
            other => other,
        }
    }

    /// The store's error for a failed `what` of which nothing was written.
    pub(super) fn into_error(self, what: &str) -> Error {
        let what = what.to_owned();
        match self {
            Self::Store(error) => error,
            Self::Lost(why) => Error::Unavailable { what, source: Some(why.into()) },
            Self::NoTls { refusal, told } => {
                let source = Some(told.into());
                match refusal {
                    Refusal::Certificate => Error::Untrusted { what, source },
                    Refusal::Plain => Error::NoTls { what, source },
                }
            }
            Self::Met => Error::Unavailable {
                what: format!("{what}: others were faster each time"),
                source: None,
            },
            Self::Turned => Error::Unavailable {
                what: format!("{what}: the server has lost what it had told"),
                source: None,
            },
            Self::Misfit { what: found, source } => {
                Error::Damaged { what: format!("{what}: {found} is not what it should be"), source }
            }
            Self::Refused { code, told } => refused(what, &code, &told),
        }
    }

    /// The store's error for a `what` of which nobody knows whether it is written.
    pub(super) fn into_doubt(self, what: &str) -> Error {
        Error::InDoubt { what: what.to_owned(), source: Some(self.reason().into()) }
    }

    /// What happened, in a line.
    pub(super) fn reason(&self) -> String {
        match self {
            Self::Lost(why) | Self::NoTls { told: why, .. } => why.clone(),
            Self::Met => "others were faster".to_owned(),
            Self::Turned => "the server has lost what it had told".to_owned(),
            Self::Misfit { what, .. } => format!("{what} is not what it should be"),
            Self::Refused { code, told } => format!("{told} [{code}]"),
            Self::Store(error) => error.to_string(),
        }
    }
}

fn refused(what: String, code: &str, told: &str) -> Error {
    let source = Some(format!("{told} [{code}]").into());
    let next = |step: &str| format!("{what}: {step}");
    match code {
        "OOM" => {
            let what = next("the server has used up its maxmemory; raise it, or purge");
            Error::Full { what, source }
        }
        "MISCONF" => {
            let what = next("the server cannot save to its disk; see its log");
            Error::Full { what, source }
        }
        READONLY => {
            let what = next("the server is a replica, which can only be read; name its master");
            Error::ReadOnly { what, source }
        }
        "NOPERM" => {
            let what = next("the user lacks a right; see docs/redis.md for what it needs");
            Error::ReadOnly { what, source }
        }
        "NOAUTH" | "WRONGPASS" => Error::Denied { what, source },
        "ERR" if told.contains("SELECT") => Error::Refused(next(
            "a cluster has no databases by number: leave it out of the URL; ?prefix=NAME keeps \
             stores apart",
        )),
        "ERR" if told.contains("AUTH") || told.contains("DB index") => {
            Error::Denied { what, source }
        }
        // Keys that somebody else has written, or a server without a command that is needed.
        "WRONGTYPE" | "CROSSSLOT" => Error::Damaged { what, source },
        "ERR" if !told.contains("max number of clients") => Error::Damaged { what, source },
        _ => Error::Unavailable { what, source },
    }
}
