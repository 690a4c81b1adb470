//! What tasks have cost: submits that may have been paid for, and those that nobody knows of.

use crate::{app::App, render};
use deadletter::{
    Deadletter,
    core::{Attempt, OnDoubt, TaskId, Verdict},
    store::Result,
};

/// Submits, and those of them of which nobody knows whether upstream took them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Spent {
    pub(super) submits: u64,
    pub(super) in_doubt: u64,
}

impl Spent {
    /// What was spent on a task with the attempts that are meant.
    pub(super) async fn on(
        engine: &Deadletter,
        task: TaskId,
        is_meant: impl Fn(&Attempt) -> bool,
    ) -> Result<Self> {
        let attempts = engine.store().history(task).await?;
        Ok(Self::of(attempts.iter().filter(|attempt| is_meant(attempt))))
    }

    fn of<'a>(attempts: impl Iterator<Item = &'a Attempt>) -> Self {
        let mut spent = Self::default();
        for attempt in attempts.filter(|attempt| !attempt.is_given_back()) {
            spent.submits += 1;
            spent.in_doubt += u64::from(attempt.verdict == Some(Verdict::InDoubt));
        }
        spent
    }

    /// Adds what another task has cost.
    pub(super) const fn add(&mut self, other: Self) {
        self.submits += other.submits;
        self.in_doubt += other.in_doubt;
    }

    /// `52 submits`.
    pub(super) fn counted(self) -> String {
        render::counted(self.submits, "submit", "submits")
    }

    /// Tells of those in doubt, where there are any.
    pub(super) fn tell_doubt(self, app: &App) {
        if self.in_doubt == 0 {
            return;
        }
        let submits = render::counted(self.in_doubt, "submit", "submits");
        // Settings that cannot be read have ended the command before.
        let Ok(settings) = app.settings() else { return };
        let policy = settings.policy.on_doubt;
        let paid = match policy {
            OnDoubt::Resubmit => "may have been paid for twice",
            OnDoubt::DeadLetter => "may have been paid for in vain",
        };
        app.out.warn(&format!(
            "in doubt: {submits} {paid}, since nobody knows whether upstream took them; \
             policy.on_doubt = {policy}; what it means: deadletter explain in_doubt"
        ));
    }
}
