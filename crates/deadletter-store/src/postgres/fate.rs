//! What became of a commit that was not answered.
//!
//! Whoever writes leaves the number of the transaction in a row of the connection. The number alone
//! proves nothing: a server that has crashed, or taken over from one, gives out again the numbers of
//! what it has lost, so that a number that is committed may be another's.

use super::{
    columns::Columns,
    connect::Connection,
    failure::{Failure, Outcome, Verdict},
    pool::Pool,
    statement::Statement,
};
use deadletter_core::UnixMs;
use std::time::Duration;
use tokio_postgres::error::SqlState;

/// How long the fate of a commit is asked for: several times as long as the server takes to notice
/// that a client is gone, or to start again.
const PATIENCE: Duration = Duration::from_secs(15);
/// ...the first time soon, for a server that only has to notice it, and later every half second.
const WAITS: (Duration, Duration) = (Duration::from_millis(5), Duration::from_millis(500));

const MARK: &str = "INSERT INTO marks (connection, number, at) VALUES ($1, $2, $3) \
     ON CONFLICT (connection) DO UPDATE SET number = excluded.number, at = excluded.at";

/// A transaction that writes, as it is known on the server.
#[derive(Clone, Copy)]
pub(super) struct Mark {
    /// The connection's own: no other has it, today or later.
    pub(super) connection: i64,
    pub(super) number: i64,
}

impl Mark {
    /// Leaves the mark.
    pub(super) fn left(self, at: UnixMs) -> Statement {
        Statement::new(MARK).put(self.connection).put(self.number).put(at.0)
    }
}

/// The question for a mark in a schema with this name.
pub(super) fn question(schema: &str) -> String {
    format!(
        "SELECT EXISTS (SELECT 1 FROM \"{schema}\".marks WHERE connection = $1 AND number = $2)"
    )
}

impl Pool {
    /// Whether a transaction was committed that would have left this mark; none where that cannot be
    /// known in time.
    pub(super) async fn fate_of(&self, mark: Mark, question: &str) -> Option<bool> {
        let asking = async {
            let (mut wait, longest) = WAITS;
            loop {
                if let Ok(connection) = self.connect().await
                    && let Ok(fate) = look(&connection, mark, question).await
                    && fate != Fate::Open
                {
                    return fate;
                }
                tokio::time::sleep(wait).await;
                wait = (wait * 2).min(longest);
            }
        };
        match tokio::time::timeout(PATIENCE, asking).await {
            Ok(Fate::Committed) => Some(true),
            Ok(Fate::Lost) => Some(false),
            Ok(Fate::Open | Fate::Forgotten) | Err(_) => None,
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// The server has not noticed yet that nobody is there.
    Open,
    Committed,
    /// Nothing of it is written.
    Lost,
    /// It is so old that nobody remembers.
    Forgotten,
}

async fn look(connection: &Connection, mark: Mark, question: &str) -> Outcome<Fate> {
    let status = Statement::new("SELECT txid_status($1)").put(mark.number);
    let rows = match connection.ask(&status).await {
        // A number of the future: it went with the server's last moments, and nobody has it again.
        Err(Failure::Sql(error)) if error.code() == Some(&SqlState::INVALID_PARAMETER_VALUE) => {
            return Ok(Fate::Lost);
        }
        // Asked again, this would be refused again.
        Err(failure) if failure.verdict() == Verdict::Refused => return Ok(Fate::Forgotten),
        answered => answered?,
    };
    let Some(row) = rows.first() else { return Err(Failure::Silence) };
    let status: Option<String> = Columns::of(row).take()?;
    match status.as_deref() {
        Some("aborted") => return Ok(Fate::Lost),
        Some("committed") => {}
        Some(_) => return Ok(Fate::Open),
        None => return Ok(Fate::Forgotten),
    }
    let question = Statement::new(question.to_owned()).put(mark.connection).put(mark.number);
    let rows = connection.ask(&question).await?;
    let Some(row) = rows.first() else { return Err(Failure::Silence) };
    Ok(if Columns::of(row).take()? { Fate::Committed } else { Fate::Lost })
}
