//! One connection to the server.

use super::{
    columns::Columns,
    failure::{Failure, Outcome},
    statement::Statement,
    tls::Encrypt,
    url::Target,
};
use crate::Error;
use std::{sync::Arc, time::Duration};
use tokio_postgres::{Client, Row, SimpleQueryMessage};

/// PostgreSQL 12 is the first with everything that is asked of it here.
const OLDEST: i32 = 120_000;
/// Counters are kept in this many rows each, so that as many transactions change them at once.
const SLOTS: i32 = 8;
/// No question here takes so long but on a server that is lost: then it is better to ask another
/// connection than to wait for ever.
const PATIENCE: Duration = Duration::from_secs(30);

/// Who takes a connection and does not say hello for so long is lost, or no server at all.
const GREETING: Duration = Duration::from_secs(10);

/// A connection that is open, with nothing of ours in its session.
#[derive(Clone)]
pub(super) struct Connection {
    pub(super) client: Arc<Client>,
    /// Which of the rows of a counter its transactions write.
    pub(super) slot: i16,
}

/// Connects.
pub(super) async fn connect(target: &Target, tls: &Encrypt) -> Outcome<Connection> {
    let connecting = target.config.connect(tls.clone());
    let connected = tokio::time::timeout(GREETING, connecting).await;
    let (client, line) = connected.map_err(|_| Failure::Silence)??;
    // Ends when its client is dropped, or the server hangs up.
    tokio::spawn(async move {
        if let Err(error) = line.await {
            tracing::debug!(%error, "a connection to the server has ended");
        }
    });
    let connection = Connection { client: Arc::new(client), slot: 0 };
    let greeting = Statement::new(
        "SELECT current_setting('server_version_num')::int4, pg_is_in_recovery(), \
         pg_backend_pid(), current_setting('server_version')",
    );
    let rows = connection.ask(&greeting).await?;
    let Some(row) = rows.first() else { return Err(Failure::Silence) };
    let columns = &mut Columns::of(row);
    let (version, is_standby): (i32, bool) = (columns.take()?, columns.take()?);
    let (pid, named): (i32, String) = (columns.take()?, columns.take()?);
    if version < OLDEST {
        let what = format!("PostgreSQL {named} is too old; 12 or later is needed");
        return Err(Error::Refused(what).into());
    }
    if is_standby {
        let what = "the server is a standby, which can only be read; name the primary".to_owned();
        return Err(Error::ReadOnly { what, source: None }.into());
    }
    // Connections that are opened one after the other have neighbouring numbers.
    let slot = i16::try_from(pid.rem_euclid(SLOTS)).unwrap_or(0);
    Ok(Connection { slot, ..connection })
}

impl Connection {
    /// Runs one statement; what is asked at the same time goes out together.
    pub(super) async fn ask(&self, statement: &Statement) -> Outcome<Vec<Row>> {
        statement.refuse_unsendable()?;
        let params = statement.params();
        let answered = self.client.query_typed(&statement.sql, &params);
        match tokio::time::timeout(PATIENCE, answered).await {
            Ok(rows) => Ok(rows?),
            Err(_) => Err(Failure::Silence),
        }
    }

    /// Runs SQL of ours without parameters, perhaps several statements.
    pub(super) async fn run(&self, sql: &str) -> Outcome<Vec<SimpleQueryMessage>> {
        match tokio::time::timeout(PATIENCE, self.client.simple_query(sql)).await {
            Ok(messages) => Ok(messages?),
            Err(_) => Err(Failure::Silence),
        }
    }

    pub(super) fn is_closed(&self) -> bool {
        self.client.is_closed()
    }
}
