//! The private PostgreSQL server that `scripts/servers` has started, and a schema of it for each
//! test.

use crate::backends::Backend;
use async_trait::async_trait;
use deadletter_store::{Clock, PostgresStore, Store};
use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};
use tokio_postgres::{Client, NoTls};

/// Schemas of this process so far.
static SCHEMAS: AtomicU32 = AtomicU32::new(0);

/// A variable that `scripts/servers` sets.
pub(crate) fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| {
        panic!("{name} is not set: run `scripts/servers cargo test -p deadletter-store`")
    })
}

/// The URL of the server.
pub(crate) fn server() -> String {
    variable("DLQ_TEST_POSTGRES")
}

/// Its password, which stands in no message.
pub(crate) fn password() -> String {
    let config: tokio_postgres::Config = server().parse().unwrap();
    String::from_utf8(config.get_password().unwrap().to_vec()).unwrap()
}

/// Its port.
pub(crate) fn port() -> u16 {
    let config: tokio_postgres::Config = server().parse().unwrap();
    config.get_ports()[0]
}

/// A schema that nobody else has. Where a test fails it stays until the server ends.
pub(crate) struct Schema {
    pub(crate) name: String,
    /// The store in it.
    pub(crate) url: String,
}

impl Schema {
    /// Of the server itself.
    pub(crate) fn new() -> Self {
        Self::behind(&server())
    }

    /// Of the server behind another URL.
    pub(crate) fn behind(url: &str) -> Self {
        let n = SCHEMAS.fetch_add(1, Ordering::Relaxed);
        let name = format!("t_{}_{n}", std::process::id());
        let url = format!("{url}&connections=4&schema={name}");
        Self { name, url }
    }

    /// Drops it, and what a test has left in it.
    pub(crate) async fn end(&self) {
        let sql = format!("DROP SCHEMA IF EXISTS {} CASCADE", self.name);
        client().await.batch_execute(&sql).await.unwrap();
    }
}

/// A schema of a PostgreSQL server whose URL is known.
pub(crate) struct Here(pub(crate) Schema);

#[async_trait]
impl Backend for Here {
    async fn open(&self, clock: Arc<dyn Clock>) -> Arc<dyn Store> {
        Arc::new(PostgresStore::open(&self.0.url, clock).await.unwrap())
    }

    async fn end(&self) {
        self.0.end().await;
    }
}

/// A connection to the server, for what a test does behind the store's back.
pub(crate) async fn client() -> Client {
    let (client, line) = tokio_postgres::connect(&server(), NoTls).await.unwrap();
    tokio::spawn(line);
    client
}
