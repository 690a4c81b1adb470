//! Collects changes from everywhere and commits them in batches.
//!
//! ```text
//! submit, poll, sweep --(change, reply)--> channel --> one loop --> Store::commit --> replies
//! ```
//!
//! It does not decide and does not give up: what an attempt has learned is worth more than this
//! process's patience, so a store that is away is tried again until the engine is gone, or stops
//! and finds the store failing for too long (`health`).

use crate::{
    health::Health,
    patience::{Patience, may_pass},
};
use deadletter_core::Change;
use deadletter_store::{Committed, Error as StoreError, Store};
use std::sync::Arc;
use tokio::sync::{mpsc, oneshot};

/// Changes that wait at most: writers beyond it wait for room.
const QUEUE: usize = 4_096;
/// Changes of one commit at most: a flush is shared by all, and a batch stays short.
const BATCH: usize = 512;
type Reply = oneshot::Sender<Result<Committed, Arc<StoreError>>>;

/// The sending side.
#[derive(Clone)]
pub(crate) struct Committer(mpsc::Sender<(Change, Reply)>);

impl Committer {
    /// Starts the loop; it ends when the last sender is gone.
    pub(crate) fn start(
        store: Arc<dyn Store>,
        health: Arc<Health>,
    ) -> (Self, tokio::task::JoinHandle<()>) {
        let (sender, receiver) = mpsc::channel(QUEUE);
        (Self(sender), tokio::spawn(run(store, health, receiver)))
    }

    /// Commits one change, together with whatever else waits.
    pub(crate) async fn commit(&self, change: Change) -> Result<Committed, Arc<StoreError>> {
        let (reply, answer) = oneshot::channel();
        let closed = || Arc::new(StoreError::Closed);
        self.0.send((change, reply)).await.map_err(|_| closed())?;
        answer.await.map_err(|_| closed())?
    }
}

async fn run(
    store: Arc<dyn Store>,
    health: Arc<Health>,
    mut receiver: mpsc::Receiver<(Change, Reply)>,
) {
    let mut waiting = Vec::with_capacity(BATCH);
    while receiver.recv_many(&mut waiting, BATCH).await > 0 {
        let is_over = || receiver.is_closed() || health.is_given_up();
        let (changes, replies): (Vec<_>, Vec<_>) = waiting.drain(..).unzip();
        match commit(store.as_ref(), &health, &changes, is_over).await {
            Ok(outcomes) => {
                for (reply, outcome) in replies.into_iter().zip(outcomes) {
                    // Whoever asked may be gone; the change is durable all the same.
                    reply.send(Ok(outcome)).ok();
                }
            }
            // One change that the store cannot bear must not take the others with it.
            Err(_) => {
                for (change, reply) in changes.into_iter().zip(replies) {
                    let outcome = commit(store.as_ref(), &health, &[change], is_over).await;
                    let outcome =
                        outcome.and_then(|all| all.first().copied().ok_or(StoreError::Closed));
                    reply.send(outcome.map_err(Arc::new)).ok();
                }
            }
        }
    }
}

/// Commits until the store answers, or nobody is left to ask. A batch whose outcome is unknown is
/// simply sent again: rows that were written answer "stale" then, and facts are no news.
async fn commit(
    store: &dyn Store,
    health: &Health,
    changes: &[Change],
    is_over: impl Fn() -> bool,
) -> Result<Vec<Committed>, StoreError> {
    let mut patience = Patience::new();
    loop {
        let error = match store.commit(changes.to_vec()).await {
            Err(StoreError::Closed) => return Err(StoreError::Closed),
            Err(error) => error,
            Ok(outcomes) => {
                health.wrote();
                return Ok(outcomes);
            }
        };
        health.failed("commit", &error);
        if !may_pass(&error) || is_over() {
            return Err(error);
        }
        patience.wait().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use deadletter_core::{
        AccountName, NewTask, Past, Payload, Policy, RowChange, Task, TaskId, UnixMs,
    };
    use deadletter_store::{Call, Faulty, ManualClock, MemoryStore, Tasks, faulty::Fault};
    use futures_util::future::join_all;

    const NOW: UnixMs = UnixMs(1);

    fn task(n: u64) -> Task {
        let id = TaskId::try_from(n).expect("small");
        Task::queued(id, AccountName::new("main").expect("a name"), &Policy::default(), NOW)
    }

    /// Whoever looks at its tasks later does not claim it.
    fn held(task: &Task) -> Change {
        let after = Task { hold: Some("test".to_owned()), ..task.clone() };
        Change { facts: Vec::new(), row: Some(Box::new(RowChange::to(task, after, NOW))) }
    }

    #[tokio::test]
    async fn one_change_that_the_store_cannot_bear_takes_no_other_with_it() {
        let memory = Arc::new(MemoryStore::new(Arc::new(ManualClock::at(NOW))));
        let tasks: Vec<_> = (1..=3).map(task).collect();
        let payload = Payload::new(serde_json::Map::new());
        let new = tasks.iter().map(|task| NewTask {
            task: task.clone(),
            payload: payload.clone(),
            past: Past::default(),
            is_folded: false,
        });
        memory.insert(new.collect()).await.unwrap();
        let faulty = Arc::new(Faulty::new(Arc::clone(&memory)));
        // The batch, and then the second of its three.
        faulty.script(Call::Commit, [Some(Fault::Damaged), None, Some(Fault::Damaged)]);
        let (committer, committing) = Committer::start(faulty, Arc::new(Health::new()));
        let told = join_all(tasks.iter().map(|task| committer.commit(held(task)))).await;
        assert!(
            matches!(told.as_slice(), [
            Ok(Committed::Applied),
            Err(error),
            Ok(Committed::Applied)
        ] if matches!(**error, StoreError::Damaged { .. })),
            "{told:?}"
        );
        let ids: Vec<_> = tasks.iter().map(|task| task.id).collect();
        let rows = memory.get(&ids).await.unwrap().into_iter().flatten();
        let holds: Vec<_> = rows.map(|task| task.hold.is_some()).collect();
        assert_eq!(holds, [true, false, true]);
        drop(committer);
        committing.await.unwrap();
    }
}
