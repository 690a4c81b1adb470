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
use tokio_postgres::{Client, Config, Row, SimpleQueryMessage, Socket, tls::MakeTlsConnect};

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
    /// A number that no other connection has, by which its marks are known.
    pub(super) own: i64,
    /// Which of the rows of a counter its transactions write.
    pub(super) slot: i16,
}

/// Connects.
pub(super) async fn connect(target: &Target, tls: &Encrypt) -> Outcome<Connection> {
    let greeted = greet(&target.config, tls).await;
    let (client, line) = match (greeted, target.encrypted()) {
        // It does not let us in like that.
        (Err(Failure::Sql(error)), Some(encrypted)) if error.as_db_error().is_some() => {
            greet(&encrypted, tls).await?
        }
        (greeted, _) => greeted?,
    };
    // Ends when its client is dropped, or the server hangs up.
    tokio::spawn(async move {
        if let Err(error) = line.await {
            tracing::debug!(%error, "a connection to the server has ended");
        }
    });
    let connection = Connection { client: Arc::new(client), own: rand::random(), slot: 0 };
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

/// A connection with whatever it runs on.
type Line = tokio_postgres::Connection<Socket, <Encrypt as MakeTlsConnect<Socket>>::Stream>;

async fn greet(config: &Config, tls: &Encrypt) -> Outcome<(Client, Line)> {
    let connected = tokio::time::timeout(GREETING, config.connect(tls.clone())).await;
    Ok(connected.map_err(|_| Failure::Silence)??)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::postgres::tls;
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
    };

    #[tokio::test]
    async fn a_server_that_wants_it_encrypted_is_asked_again_where_the_url_allows_both() {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let url = format!("postgres://me@127.0.0.1:{port}/x?sslmode=allow");
        let target = Target::parse(&url).unwrap();
        let tls = tls::connector(&target).unwrap();
        let serve = async {
            let (mut line, _) = listener.accept().await.unwrap();
            let len = line.read_u32().await.unwrap();
            line.read_exact(&mut vec![0; len as usize - 4]).await.unwrap();
            line.write_all(b"E\0\0\0\x17SERROR\0C28000\0Mno\0\0").await.unwrap();
            let (mut line, _) = listener.accept().await.unwrap();
            [line.read_u32().await.unwrap(), line.read_u32().await.unwrap()]
        };
        let (connected, asked) = tokio::join!(connect(&target, &tls), serve);
        assert!(connected.is_err(), "it hangs up then");
        assert_eq!(asked, [8, 80_877_103], "an SSLRequest");
    }

    /// Time is paused: it passes at once where nothing else happens.
    #[tokio::test(start_paused = true)]
    async fn a_server_that_never_greets_is_given_up() {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        for mode in ["disable", "allow", "require"] {
            let url = format!("postgres://me@127.0.0.1:{port}/x?sslmode={mode}");
            let target = Target::parse(&url).unwrap();
            let tls = tls::connector(&target).unwrap();
            // It is taken, and hears nothing.
            let (connected, _line) = tokio::join!(connect(&target, &tls), listener.accept());
            let failure = connected.err().expect("nobody greets");
            let error = failure.into_error("connect");
            let why = std::error::Error::source(&error).map(ToString::to_string);
            assert_eq!(why.as_deref(), Some("the server did not answer in time"), "{mode}");
        }
    }
}
