//! Whether the store still takes what is written: what its writers find, and whom that is told.
//!
//! A store may be away for a moment, and then whoever writes is patient. One that stays away, or
//! whose disk is full, is the business of a person: a notice is sent once, and whoever runs the
//! engine may stop it. All who find it away tell of it here, so that it is told once.

use crate::{
    Error,
    absence::{Absence, News},
    notice::Notice,
    patience::may_pass,
};
use deadletter_store::Error as StoreError;
use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::{
    sync::{broadcast, watch},
    time::Instant,
};

/// A store that takes nothing for so long is not merely busy: three beats of a worker would have
/// been missed by then. Real time.
const FAILING: Duration = Duration::from_secs(8);
/// After a stop, a failing store is waited for no longer than this: enough to make room on a disk
/// by hand is too long, and a lock of another process passes sooner.
const LAST_PATIENCE: Duration = Duration::from_secs(5);
/// Notices that a slow listener may be behind before it misses some.
const NOTICES: usize = 4_096;

/// What the writers of an engine know of its store.
pub(crate) struct Health {
    pub(crate) notices: broadcast::Sender<Notice>,
    /// True from the moment that the engine stops.
    pub(crate) stopping: watch::Sender<bool>,
    /// Guards when the failures began, and whether that was told.
    failing: Mutex<Option<Failing>>,
    /// Guards what the log was told of the store's absence, by readers too.
    absence: Mutex<Absence>,
}

#[derive(Clone, Copy)]
struct Failing {
    since: Instant,
    is_told: bool,
    /// When a failure was first met after the stop.
    stopped_at: Option<Instant>,
}

impl Health {
    pub(crate) fn new() -> Self {
        Self {
            notices: broadcast::channel(NOTICES).0,
            stopping: watch::channel(false).0,
            failing: Mutex::new(None),
            absence: Mutex::default(),
        }
    }

    /// The store took a write.
    pub(crate) fn wrote(&self) {
        self.failing().take();
        if let Some(News::Back(away)) = self.absence().answered(Instant::now()) {
            tracing::warn!("the store is back; it was away for {} s", away.as_secs());
        }
    }

    /// Something could not be done. That the store is away is told once for all who find it so; what
    /// else went wrong, here.
    pub(crate) fn could_not(&self, what: &str, error: &Error) {
        match error {
            Error::Store(error) => self.store_could_not(what, error),
            error => tracing::warn!(%error, "could not {what}"),
        }
    }

    /// The same for an error of the store itself.
    pub(crate) fn store_could_not(&self, what: &str, error: &StoreError) {
        if !may_pass(error) {
            tracing::warn!(error = told(error), "could not {what}");
            return;
        }
        tracing::debug!(%error, "could not {what}");
        match self.absence().failed(Instant::now()) {
            Some(News::Gone) => tracing::warn!(
                "the store is away: {}; what was accepted is kept, and all goes on by itself when it is \
                 back; `deadletter doctor` looks at it from here",
                told(error)
            ),
            Some(News::StillAway(since)) => {
                tracing::warn!("the store has been away for {} s: {}", since.as_secs(), told(error))
            }
            Some(News::Back(_)) | None => {}
        }
    }

    /// It did not take a write.
    pub(crate) fn failed(&self, what: &str, error: &StoreError) {
        self.store_could_not(what, error);
        let now = Instant::now();
        let mut failing = self.failing();
        let state = failing.get_or_insert(Failing { since: now, is_told: false, stopped_at: None });
        if *self.stopping.borrow() {
            state.stopped_at.get_or_insert(now);
        }
        let is_due = needs_a_person(error) || now - state.since >= FAILING;
        if is_due && !state.is_told {
            state.is_told = true;
            // Nobody may be listening.
            self.notices.send(Notice::StoreFails(Arc::new(again(error)))).ok();
        }
    }

    /// True where the engine stops, and the store has failed for too long since then.
    pub(crate) fn is_given_up(&self) -> bool {
        let stopped_at = self.failing().and_then(|failing| failing.stopped_at);
        stopped_at.is_some_and(|at| at.elapsed() >= LAST_PATIENCE)
    }

    fn absence(&self) -> std::sync::MutexGuard<'_, Absence> {
        self.absence.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn failing(&self) -> std::sync::MutexGuard<'_, Option<Failing>> {
        self.failing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An error with what is behind it.
fn told(error: &StoreError) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(why) = source {
        text.push_str(&format!(": {why}"));
        source = why.source();
    }
    text
}

/// True for what does not pass by itself.
const fn needs_a_person(error: &StoreError) -> bool {
    use StoreError::{Damaged, Full, ReadOnly};
    matches!(error, Full { .. } | ReadOnly { .. } | Damaged { .. })
}

/// The same error for somebody else: its kind, and its words.
fn again(error: &StoreError) -> StoreError {
    use StoreError::{Damaged, Full, InDoubt, ReadOnly, Unavailable};
    let words = |what: &String, source: &Option<Box<dyn std::error::Error + Send + Sync>>| {
        let what = what.clone();
        (what, source.as_ref().map(|source| source.to_string().into()))
    };
    match error {
        Full { what, source } => {
            let (what, source) = words(what, source);
            Full { what, source }
        }
        ReadOnly { what, source } => {
            let (what, source) = words(what, source);
            ReadOnly { what, source }
        }
        Damaged { what, source } => {
            let (what, source) = words(what, source);
            Damaged { what, source }
        }
        InDoubt { what, source } => {
            let (what, source) = words(what, source);
            InDoubt { what, source }
        }
        error => Unavailable { what: error.to_string(), source: None },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn full() -> StoreError {
        StoreError::Full { what: "commit".to_owned(), source: None }
    }

    fn away() -> StoreError {
        StoreError::Unavailable { what: "commit".to_owned(), source: None }
    }

    #[tokio::test(start_paused = true)]
    async fn a_full_disk_is_told_at_once_and_once_until_it_is_healed() {
        let health = Health::new();
        let mut notices = health.notices.subscribe();
        health.failed("commit", &full());
        assert!(matches!(notices.try_recv(), Ok(Notice::StoreFails(_))));
        health.failed("commit", &full());
        assert!(notices.try_recv().is_err(), "told twice");
        health.wrote();
        health.failed("commit", &full());
        assert!(notices.try_recv().is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn a_store_that_is_away_is_told_of_when_it_stays_away() {
        let health = Health::new();
        let mut notices = health.notices.subscribe();
        health.failed("commit", &away());
        tokio::time::advance(FAILING / 2).await;
        health.failed("commit", &away());
        assert!(notices.try_recv().is_err(), "told too early");
        tokio::time::advance(FAILING / 2).await;
        health.failed("commit", &away());
        assert!(matches!(notices.try_recv(), Ok(Notice::StoreFails(_))));
    }

    #[tokio::test(start_paused = true)]
    async fn patience_ends_a_while_after_the_stop_and_never_before() {
        let health = Health::new();
        health.failed("commit", &away());
        tokio::time::advance(LAST_PATIENCE * 10).await;
        assert!(!health.is_given_up(), "it does not stop");
        health.stopping.send_replace(true);
        health.failed("commit", &away());
        assert!(!health.is_given_up());
        tokio::time::advance(LAST_PATIENCE).await;
        assert!(health.is_given_up());
        health.wrote();
        assert!(!health.is_given_up());
    }
}
