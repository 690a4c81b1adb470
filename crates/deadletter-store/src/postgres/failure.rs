//! PostgreSQL's errors in the store's words.

use crate::{
    Error,
    trust::{Refusal, refusal},
};
use std::error::Error as StdError;
use tokio_postgres::error::{DbError, Severity};

/// What stops a piece of work inside the store: the server, or an answer in the store's own words.
#[derive(Debug)]
pub(super) enum Failure {
    /// The driver or the server.
    Sql(tokio_postgres::Error),
    /// No answer came in time.
    Silence,
    /// A column that does not hold what it should.
    Misfit { column: String, source: Box<dyn StdError + Send + Sync> },
    /// An answer in the store's own words.
    Store(Error),
}

/// The result of a piece of work inside the store.
pub(super) type Outcome<T> = Result<T, Failure>;

impl From<tokio_postgres::Error> for Failure {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Sql(error)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Store(error)
    }
}

/// What the server wants done with a transaction that it has refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It met another transaction: the same again, and nothing of it is written.
    Collided,
    /// The server says no, and the connection goes on.
    Refused,
    /// The connection is gone, or says things that make no sense; what it did is unknown.
    Lost,
}

impl Failure {
    /// What this failure says about its transaction.
    pub(super) fn verdict(&self) -> Verdict {
        let error = match self {
            Self::Sql(error) => error,
            Self::Silence => return Verdict::Lost,
            Self::Misfit { .. } | Self::Store(_) => return Verdict::Refused,
        };
        // What the driver finds by itself is about the line: values are encoded before it has them.
        let Some(db) = error.as_db_error() else { return Verdict::Lost };
        match (db.parsed_severity(), db.code().code()) {
            // A key that two have written at once; where it is a rule that is broken, it stays so.
            (Some(Severity::Error), "40001" | "40P01" | "23505") => Verdict::Collided,
            (Some(Severity::Error), _) => Verdict::Refused,
            _ => Verdict::Lost,
        }
    }

    /// The store's error for a failed `what` of which nothing was written.
    pub(super) fn into_error(self, what: &str) -> Error {
        let what = what.to_owned();
        match self {
            Self::Store(error) => error,
            Self::Silence => Error::Unavailable { what, source: Some(NO_ANSWER.into()) },
            Self::Misfit { column, source } => Error::Damaged {
                what: format!("{what}: the column {column} holds what it should not"),
                source: Some(source),
            },
            Self::Sql(error) => of_driver(what, &error),
        }
    }

    /// What happened, without what may be secret in it.
    pub(super) fn reason(&self) -> String {
        match self {
            Self::Sql(error) => told(error),
            Self::Store(error) => error.to_string(),
            _ => NO_ANSWER.to_owned(),
        }
    }

    /// The store's error for a `what` of which nobody knows whether it is written.
    pub(super) fn into_doubt(self, what: &str) -> Error {
        let source = match &self {
            Self::Sql(error) => told(error),
            _ => NO_ANSWER.to_owned(),
        };
        Error::InDoubt { what: what.to_owned(), source: Some(source.into()) }
    }
}

const NO_ANSWER: &str = "the server did not answer in time";

/// What a person can do where others have taken all connections.
const NO_ROOM: &str = "the server has no connection left (raise max_connections, give each program fewer \
     with connections=, or put PgBouncer between)";

fn of_driver(what: String, error: &tokio_postgres::Error) -> Error {
    let source = Some(told(error).into());
    let Some(db) = error.as_db_error() else { return of_line(what, error) };
    // https://www.postgresql.org/docs/current/errcodes-appendix.html
    match db.code().code() {
        "53100" => Error::Full { what, source },
        "53300" => Error::Unavailable { what: format!("{what}: {NO_ROOM}"), source },
        "25006" | "42501" => Error::ReadOnly { what, source },
        "28000" | "28P01" | "3D000" => Error::Denied { what, source },
        "22021" | "22P05" => {
            Error::Refused("PostgreSQL stores no text with the character U+0000".to_owned())
        }
        "XX001" | "XX002" => Error::Damaged { what, source },
        // Rows, tables or statements that are not as this program knows them: no retry mends that.
        code => match code.get(..2) {
            Some("22" | "23" | "3F" | "42" | "54" | "0A") => Error::Damaged { what, source },
            _ => Error::Unavailable { what, source },
        },
    }
}

/// What the driver finds by itself is about the line, and how it was to be opened.
fn of_line(what: String, error: &tokio_postgres::Error) -> Error {
    let source = Some(told(error).into());
    let cause = error.source().map(ToString::to_string).unwrap_or_default();
    match refusal(error) {
        Some(Refusal::Certificate) => Error::Untrusted { what, source },
        Some(Refusal::Plain) => Error::NoTls { what, source },
        None if cause == "server does not support TLS" => Error::NoTls { what, source },
        None if cause == "password missing" => Error::NoPassword(what),
        None => Error::Unavailable { what, source },
    }
}

/// An error and what is behind it in one line. A row's contents, which the server's detail may
/// repeat, are left out: they may be secret.
pub(super) fn told(error: &tokio_postgres::Error) -> String {
    if let Some(db) = error.as_db_error() {
        return told_by_server(db);
    }
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(why) = source {
        text.push_str(&format!(": {why}"));
        source = why.source();
    }
    text
}

fn told_by_server(db: &DbError) -> String {
    let hint = db.hint().map_or(String::new(), |hint| format!(" ({hint})"));
    format!("{} [{}]{hint}", db.message(), db.code().code())
}
