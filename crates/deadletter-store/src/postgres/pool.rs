//! The connections of one handle.
//!
//! A connection is lent to one piece of work at a time, and comes back only where that says that
//! no transaction is left open on it: work that is dropped half way takes its connection along,
//! and the server undoes what was begun.

use super::{
    connect::{Connection, connect},
    failure::Failure,
    tls::{self, Encrypt},
    url::Target,
};
use crate::{Error, Result};
use std::{
    ops::Deref,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::sync::{Semaphore, SemaphorePermit};

/// How long a call waits for a connection while all are in use.
const PATIENCE: Duration = Duration::from_secs(30);

/// Connections to one target.
pub(super) struct Pool {
    target: Target,
    tls: Encrypt,
    /// A permit for each connection that is lent; closed with the store.
    permits: Semaphore,
    /// Guards the connections that nobody uses, the last used last; never held across an await.
    idle: Mutex<Vec<Connection>>,
}

impl Pool {
    /// Connections to `target`, none of them made yet. Errors: `BadUrl`.
    pub(super) fn new(target: Target) -> Result<Self> {
        let tls = tls::connector(&target)?;
        let permits = Semaphore::new(target.connections);
        Ok(Self { target, tls, permits, idle: Mutex::default() })
    }

    /// A connection, for as long as its lease is kept. Errors: `Closed`, `Unavailable`, `Denied`.
    pub(super) async fn lend(&self, what: &str) -> Result<Lease<'_>> {
        let waited = tokio::time::timeout(PATIENCE, self.permits.acquire()).await;
        let permit = waited
            .map_err(|_| Error::Unavailable {
                what: format!("{what}: all {} connections are in use", self.target.connections),
                source: None,
            })?
            .map_err(|_| Error::Closed)?;
        let connection = match self.take_idle() {
            Some(connection) => connection,
            None => self.connect().await?,
        };
        Ok(Lease { pool: self, connection: Some(connection), permit })
    }

    /// A new connection, for whoever has a place for it.
    pub(super) async fn connect(&self) -> Result<Connection> {
        let connected = connect(&self.target, &self.tls).await;
        connected.map_err(|failure: Failure| failure.into_error("connect"))
    }

    fn take_idle(&self) -> Option<Connection> {
        let mut idle = self.lock();
        // Where the server went away, all of them are closed.
        while let Some(connection) = idle.pop() {
            if !connection.is_closed() {
                return Some(connection);
            }
        }
        None
    }

    /// Waits for what is under way, and closes; again, and it does nothing.
    pub(super) async fn close(&self) {
        let all = u32::try_from(self.target.connections).unwrap_or(u32::MAX);
        if let Ok(_all) = self.permits.acquire_many(all).await {
            self.permits.close();
            self.lock().clear();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Connection>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection that is lent.
pub(super) struct Lease<'p> {
    pool: &'p Pool,
    /// None once it went back.
    connection: Option<Connection>,
    permit: SemaphorePermit<'p>,
}

impl<'p> Lease<'p> {
    /// Ends a connection that is lost, so that the server notices, and keeps its place: whoever has
    /// lost one may open another.
    pub(super) fn hang_up(self) -> SemaphorePermit<'p> {
        self.permit
    }

    /// Gives the connection back: no transaction is open on it.
    pub(super) fn give_back(mut self) {
        if let Some(connection) = self.connection.take().filter(|it| !it.is_closed()) {
            self.pool.lock().push(connection);
        }
    }
}

impl Deref for Lease<'_> {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        self.connection.as_ref().expect("it goes back with the lease alone")
    }
}
