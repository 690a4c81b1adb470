//! The attempts that this process has in hand: from before their claim until what came of them is
//! durable.
//!
//! A claim whose outcome is unknown may have left tasks under this worker's lease that nobody here
//! knows of, and that no other worker takes, because this one is alive. So tokens are written down
//! before the claim, and [`crate::orphans`] compares them with the store where there is a doubt.

use deadletter_core::AttemptToken;
use std::{
    collections::HashSet,
    sync::{Mutex, MutexGuard, PoisonError},
};
use tokio::sync::Notify;

/// Tokens in hand, and what is in doubt.
#[derive(Default)]
pub(crate) struct InHand {
    /// Guards the sets; held for look-ups only.
    sets: Mutex<Sets>,
    /// Wakes the sweeper: there is a doubt to settle.
    doubted: Notify,
}

#[derive(Default)]
struct Sets {
    tokens: HashSet<AttemptToken>,
    doubt: Option<Doubt>,
}

/// That the store may hold something for this worker of which the process does not know.
#[derive(Clone, Debug, Default)]
pub(crate) struct Doubt {
    /// Tokens of claims without an answer: whatever carries one of them was not sent.
    pub(crate) never_sent: HashSet<AttemptToken>,
    /// Tells a doubt from the one before it.
    serial: u64,
}

impl InHand {
    fn sets(&self) -> MutexGuard<'_, Sets> {
        self.sets.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn begin(&self, tokens: &[AttemptToken]) {
        self.sets().tokens.extend(tokens);
    }

    pub(crate) fn end(&self, tokens: impl IntoIterator<Item = AttemptToken>) {
        let mut sets = self.sets();
        for token in tokens {
            sets.tokens.remove(&token);
        }
    }

    pub(crate) fn has(&self, token: AttemptToken) -> bool {
        self.sets().tokens.contains(&token)
    }

    /// A claim with these tokens may have been written, and nothing of it was sent.
    pub(crate) fn never_sent(&self, tokens: &[AttemptToken]) {
        let mut sets = self.sets();
        for token in tokens {
            sets.tokens.remove(token);
        }
        let doubt = sets.doubt.get_or_insert_default();
        doubt.never_sent.extend(tokens);
        doubt.serial += 1;
        drop(sets);
        self.doubted.notify_one();
    }

    /// Something may be under this worker's lease that the process has lost track of.
    pub(crate) fn lost_track(&self) {
        self.sets().doubt.get_or_insert_default().serial += 1;
        self.doubted.notify_one();
    }

    pub(crate) fn is_in_doubt(&self) -> bool {
        self.sets().doubt.is_some()
    }

    pub(crate) fn doubt(&self) -> Option<Doubt> {
        self.sets().doubt.clone()
    }

    /// A doubt is settled; one that has come up since stays.
    pub(crate) fn settled(&self, doubt: &Doubt) {
        let mut sets = self.sets();
        if sets.doubt.as_ref().is_some_and(|present| present.serial == doubt.serial) {
            sets.doubt = None;
        }
    }

    /// Returns when there is a doubt.
    pub(crate) async fn doubted(&self) {
        self.doubted.notified().await;
    }
}
