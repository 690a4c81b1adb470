//! A request on its way through the writer: run perhaps twice, answered once.

use super::{
    failure::{CommitFailure, Outcome},
    writer::Session,
};
use crate::{Error, Result};
use std::panic::{AssertUnwindSafe, catch_unwind};
use tokio::sync::oneshot;

/// A request that waits for its transaction.
pub(super) trait Job: Send {
    /// Runs it, perhaps again.
    fn run(&mut self, session: &mut Session<'_, '_>) -> Ran;
    /// Tells its caller, once.
    fn settle(self: Box<Self>, fate: &Result<(), CommitFailure>);
}

/// What a request left behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ran {
    /// All of it, or nothing: the transaction may commit.
    Whole,
    /// Perhaps a part: that must be undone.
    Part,
    /// As `Part`, and the connection cannot be trusted any more.
    Poisoned,
}

/// A request with its way back.
pub(super) struct Call<T, F> {
    what: &'static str,
    work: F,
    outcome: Option<Outcome<T>>,
    reply: oneshot::Sender<Result<T>>,
}

impl<T, F> Call<T, F> {
    pub(super) const fn new(
        what: &'static str,
        work: F,
        reply: oneshot::Sender<Result<T>>,
    ) -> Self {
        Self { what, work, outcome: None, reply }
    }
}

impl<T, F> Job for Call<T, F>
where
    T: Send,
    F: FnMut(&mut Session<'_, '_>) -> Outcome<T> + Send,
{
    fn run(&mut self, session: &mut Session<'_, '_>) -> Ran {
        let outcome = catch_unwind(AssertUnwindSafe(|| (self.work)(session)))
            .unwrap_or_else(|_| Err(panicked(self.what).into()));
        let ran = match &outcome {
            Ok(_) => Ran::Whole,
            Err(failure) if failure.is_refusal() => Ran::Whole,
            Err(failure) if failure.poisons() => Ran::Poisoned,
            Err(_) => Ran::Part,
        };
        self.outcome = Some(outcome);
        ran
    }

    fn settle(self: Box<Self>, fate: &Result<(), CommitFailure>) {
        let told = match (self.outcome, fate) {
            (Some(Err(failure)), _) => Err(failure.into_error(self.what)),
            (Some(Ok(value)), Ok(())) => Ok(value),
            (_, Err(failure)) => Err(failure.to_error(self.what)),
            (None, Ok(())) => Err(panicked(self.what)),
        };
        // A caller that no longer waits has lost interest, not the write.
        self.reply.send(told).ok();
    }
}

/// A piece of work panicked; what it had done is undone.
pub(super) fn panicked(what: &str) -> Error {
    Error::Unavailable { what: format!("{what} (it panicked)"), source: None }
}
