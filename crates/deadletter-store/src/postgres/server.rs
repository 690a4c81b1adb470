//! The server as calls reach it: connections, the schema's begin of a transaction, and the time.

use super::{
    failure::Outcome,
    pool::Pool,
    transaction::{Begin, Transaction, Work},
};
use crate::{Clock, Result, gather::Gathers};
use std::{future::Future, sync::Arc};

/// What a store shares with the loops that work for it.
pub(super) struct Server {
    /// Of the store, without secrets.
    pub(super) url: String,
    pub(super) pool: Pool,
    /// One connection for what tells that a worker lives: a worker whose calls all wait for the locks
    /// of somebody else is not dead.
    pub(super) beats: Pool,
    pub(super) begin: Begin,
    pub(super) clock: Arc<dyn Clock>,
}

impl Gathers for Server {
    /// One is prepared while another waits for the disk. A third would take its calls from these two.
    const LOOPS: usize = 2;
    /// Beyond it the rows cost, not the transaction.
    const ITEMS: usize = 512;
}

impl Server {
    /// Runs a call that writes, in a transaction of its own; again where it met another one.
    pub(super) async fn transact<T, F, R>(&self, what: &'static str, call: F) -> Result<T>
    where
        F: Fn(Transaction) -> R,
        R: Future<Output = Outcome<Work<T>>>,
    {
        self.transact_on(&self.pool, what, call).await
    }

    /// The same on the connections of `pool`.
    pub(super) async fn transact_on<T, F, R>(
        &self,
        pool: &Pool,
        what: &'static str,
        call: F,
    ) -> Result<T>
    where
        F: Fn(Transaction) -> R,
        R: Future<Output = Outcome<Work<T>>>,
    {
        let answered = pool.transact(what, (&self.begin, self.clock.now()), call).await;
        answered.map_err(|error| error.about(&self.url))
    }

    /// Runs a call that only reads.
    pub(super) async fn look<T, F, R>(&self, what: &'static str, call: F) -> Result<T>
    where
        F: Fn(Transaction) -> R,
        R: Future<Output = Outcome<T>>,
    {
        self.look_on(&self.pool, what, call).await
    }

    /// The same on the connections of `pool`.
    pub(super) async fn look_on<T, F, R>(
        &self,
        pool: &Pool,
        what: &'static str,
        call: F,
    ) -> Result<T>
    where
        F: Fn(Transaction) -> R,
        R: Future<Output = Outcome<T>>,
    {
        let answered = pool.look(what, (&self.begin, self.clock.now()), call).await;
        answered.map_err(|error| error.about(&self.url))
    }
}
