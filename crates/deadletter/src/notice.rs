//! What the engine tells those who watch, and those who wait for one task.

use deadletter_core::{
    AccountName, Event, Failure, OperationId, StateKind, Task, TaskId, breaker::Transition,
};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};
use tokio::sync::oneshot;

/// Something that a person who watches wants to know.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Notice {
    /// A task entered a terminal state, by whichever process.
    Event(Event),
    /// A task waits (again): its cause and due time are in the row.
    Waiting(Box<Task>),
    /// A breaker changed its phase.
    Breaker {
        /// Whose.
        account: AccountName,
        /// From what to what, and why.
        transition: Transition,
    },
    /// All traffic of an account stopped, or a probe found that it has to stay so.
    AccountStopped {
        /// Which.
        account: AccountName,
        /// What upstream said.
        failure: Failure,
    },
    /// A stopped account goes on.
    AccountResumed {
        /// Which.
        account: AccountName,
    },
    /// The store takes nothing any more: its disk is full, it may not be written, or it has been
    /// away for long. Told once; nothing new is submitted until it takes writes again.
    StoreFails(Arc<deadletter_store::Error>),
    /// Tasks wait for an account that this engine was not given; told at the start and every ten
    /// minutes.
    NotConfigured {
        /// Which.
        account: AccountName,
        /// How many were found; no more than 10,000 are looked for.
        tasks: u64,
    },
    /// An operation changed its state.
    Operation {
        /// Which.
        id: OperationId,
        /// Its state's label.
        state: &'static str,
    },
}

/// Those who wait for a task to reach a terminal state.
#[derive(Default)]
pub(crate) struct Waiters {
    /// Guards the list of who waits for what; held for look-ups only.
    waiting: Mutex<Waiting>,
}

#[derive(Default)]
struct Waiting {
    senders: HashMap<TaskId, Vec<oneshot::Sender<StateKind>>>,
    /// Entries left when those who have gone away were last thrown out.
    kept: usize,
}

/// Entries below which nobody is thrown out.
const FEW: usize = 1_024;

impl Waiting {
    /// Throws out those who have gone away, each time that the list has doubled.
    fn tidy(&mut self) {
        if self.senders.len() >= 2 * self.kept.max(FEW) {
            self.senders.retain(|_, senders| senders.iter().any(|sender| !sender.is_closed()));
            self.kept = self.senders.len();
        }
    }
}

impl Waiters {
    /// Waits from now on; look at the store after this, not before.
    pub(crate) fn register(&self, task: TaskId) -> oneshot::Receiver<StateKind> {
        let (sender, receiver) = oneshot::channel();
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.tidy();
        let senders = waiting.senders.entry(task).or_default();
        senders.retain(|sender| !sender.is_closed());
        senders.push(sender);
        receiver
    }

    pub(crate) fn wake(&self, task: TaskId, state: StateKind) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        for sender in waiting.senders.remove(&task).into_iter().flatten() {
            // Whoever has gone away does not need to know.
            sender.send(state).ok();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_who_have_gone_away_are_forgotten() {
        let waiters = Waiters::default();
        let id = |n: u64| TaskId::try_from(n + 1).unwrap();
        let patient = waiters.register(id(0));
        for n in 1..10_000 {
            drop(waiters.register(id(n)));
        }
        assert!(waiters.waiting.lock().unwrap().senders.len() <= 2 * FEW);
        waiters.wake(id(0), StateKind::Solved);
        assert_eq!(patient.blocking_recv(), Ok(StateKind::Solved));
    }
}
