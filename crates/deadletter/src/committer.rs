//! Collects changes from everywhere and commits them in batches.
//!
//! ```text
//! submit, poll, sweep --(change, reply)--> channel --> one loop --> Store::commit --> replies
//! ```
//!
//! It does not decide and does not give up: what an attempt has learned is worth more than this
//! process's patience, so a store that is away is tried again until the engine is gone.

use deadletter_core::Change;
use deadletter_store::{Committed, Error as StoreError, Store};
use std::{sync::Arc, time::Duration};
use tokio::sync::{mpsc, oneshot};

/// Changes that wait at most: writers beyond it wait for room.
const QUEUE: usize = 4_096;
/// Changes of one commit at most: a flush is shared by all, and a batch stays short.
const BATCH: usize = 512;
/// Waits between tries against a store that is away: from the first to the longest.
const RETRY: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(2));

type Reply = oneshot::Sender<Result<Committed, Arc<StoreError>>>;

/// The sending side.
#[derive(Clone)]
pub(crate) struct Committer(mpsc::Sender<(Change, Reply)>);

impl Committer {
    /// Starts the loop; it ends when the last sender is gone.
    pub(crate) fn start(store: Arc<dyn Store>) -> (Self, tokio::task::JoinHandle<()>) {
        let (sender, receiver) = mpsc::channel(QUEUE);
        (Self(sender), tokio::spawn(run(store, receiver)))
    }

    /// Commits one change, together with whatever else waits.
    pub(crate) async fn commit(&self, change: Change) -> Result<Committed, Arc<StoreError>> {
        let (reply, answer) = oneshot::channel();
        let closed = || Arc::new(StoreError::Closed);
        self.0.send((change, reply)).await.map_err(|_| closed())?;
        answer.await.map_err(|_| closed())?
    }
}

async fn run(store: Arc<dyn Store>, mut receiver: mpsc::Receiver<(Change, Reply)>) {
    let mut waiting = Vec::with_capacity(BATCH);
    while receiver.recv_many(&mut waiting, BATCH).await > 0 {
        let (changes, replies): (Vec<_>, Vec<_>) = waiting.drain(..).unzip();
        match commit(store.as_ref(), changes).await {
            Ok(outcomes) => {
                for (reply, outcome) in replies.into_iter().zip(outcomes) {
                    // Whoever asked may be gone; the change is durable all the same.
                    reply.send(Ok(outcome)).ok();
                }
            }
            Err(error) => {
                let error = Arc::new(error);
                for reply in replies {
                    reply.send(Err(Arc::clone(&error))).ok();
                }
            }
        }
    }
}

/// Commits until the store answers. A batch whose outcome is unknown is simply sent again: rows
/// that were written answer "stale" then, and facts are no news.
async fn commit(store: &dyn Store, changes: Vec<Change>) -> Result<Vec<Committed>, StoreError> {
    let mut wait = RETRY.0;
    loop {
        match store.commit(changes.clone()).await {
            Err(error) if error.is_retryable() || matches!(error, StoreError::InDoubt { .. }) => {
                tracing::warn!(%error, "the store did not take a commit; trying again");
                tokio::time::sleep(wait).await;
                wait = (wait * 2).min(RETRY.1);
            }
            outcome => return outcome,
        }
    }
}
