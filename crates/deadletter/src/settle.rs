//! How what happened to a task becomes a durable change: decided, committed, and decided again
//! where the row has moved.

use crate::{
    Error, Result,
    account::Account,
    gate::Pass,
    notice::Notice,
    patience::patiently,
    shared::{Shared, shared_error},
    stop,
};
use deadletter_core::{
    AccountSignal, Attempt, Cause, Context, Happened, StateKind, Task, breaker::Outcome, decide,
};
use deadletter_store::Committed;
use std::sync::Arc;

/// A report is decided anew this often while others change the same task: each loss means that
/// the task has moved on, and after two or three moves every report is about the past.
const REPORT_TRIES: u32 = 16;

/// What became of a report.
pub(crate) struct Settled {
    /// The task as it stands now; none where it was purged.
    pub(crate) task: Option<Task>,
    /// True where the task's row was changed by this report.
    pub(crate) moved: bool,
    /// True where the upstream id that was reported is another task's: nobody may ask for it.
    pub(crate) is_id_taken: bool,
}

impl Settled {
    const fn new(task: Option<Task>, moved: bool) -> Self {
        Self { task, moved, is_id_taken: false }
    }
}

/// What became of one way to see what happened.
enum Written {
    Settled(Settled),
    /// Nothing is written: the upstream id is another task's. The row as it was read.
    IdTaken(Task),
}

impl Shared {
    /// Decides what follows from `happened`, makes it durable, and tells the account.
    ///
    /// Where the task has moved on, what happened is decided again on the task as it is now; where
    /// the upstream id is another task's, as what it is then: a doubt.
    pub(crate) async fn report(
        &self,
        account: &Arc<Account>,
        task: Task,
        attempt: Option<&Attempt>,
        happened: &Happened,
        pass: &Pass,
    ) -> Result<Settled> {
        match self.write_down(account, task, attempt, happened, Some(pass)).await? {
            Written::Settled(settled) => Ok(settled),
            Written::IdTaken(task) => {
                let id = task.id;
                tracing::error!(task = %id, account = %account.name, ?happened, "id is not unique");
                let doubt = happened.with_id_taken();
                // The account has learned from the first look.
                match self.write_down(account, task, attempt, &doubt, None).await? {
                    Written::Settled(settled) => Ok(Settled { is_id_taken: true, ..settled }),
                    Written::IdTaken(_) => Err(Error::Contended(format!("task/{id}"))),
                }
            }
        }
    }

    async fn write_down(
        &self,
        account: &Arc<Account>,
        mut task: Task,
        attempt: Option<&Attempt>,
        happened: &Happened,
        mut pass: Option<&Pass>,
    ) -> Result<Written> {
        let terms = account.terms(&task.dimensions.method);
        for _ in 0..REPORT_TRIES {
            let context = Context {
                policy: &account.policy,
                terms: &terms,
                attempt,
                now: self.now(),
                random: self.random(),
            };
            let mut decision = decide(&task, happened, context);
            // An id that came late took its task out of the queue: who was told of it asks for it.
            if let Some(row) = decision.change.row.as_mut()
                && row.after.kind() == StateKind::Polling
                && row.after.worker.is_none()
            {
                row.lease_to(self.worker());
            }
            // What the account learns is worth less than what the task learns: it must not fail.
            if let Some(pass) = pass.take()
                && let Err(error) = self.take_signal(account, &decision.account, pass).await
            {
                self.health.could_not("share what an account has learned", &error);
            }
            if decision.change.is_empty() {
                return Ok(Written::Settled(Settled::new(Some(task), false)));
            }
            let after = decision.change.row.as_ref().map(|row| row.after.clone());
            let committed = self.committer.commit(decision.change).await.map_err(shared_error)?;
            match (committed, after) {
                (Committed::Applied, Some(after)) => {
                    self.follow(account, &after);
                    return Ok(Written::Settled(Settled::new(Some(after), true)));
                }
                (Committed::Applied, None) => {
                    account.wake.notify_one();
                    return Ok(Written::Settled(Settled::new(Some(task), false)));
                }
                (Committed::IdTaken, _) => return Ok(Written::IdTaken(task)),
                (Committed::Stale, after) => match self.reload(&task).await? {
                    None => return Ok(Written::Settled(Settled::new(None, false))),
                    // Our own write, of which we were not told: the answer got lost.
                    Some(found) if after.as_ref() == Some(&found) => {
                        self.follow(account, &found);
                        return Ok(Written::Settled(Settled::new(Some(found), true)));
                    }
                    Some(found) => task = found,
                },
            }
        }
        Err(Error::Contended(format!("task/{}", task.id)))
    }

    /// True where the row is ours after all: it was written, and the answer got lost.
    pub(crate) async fn stands(&self, after: &Task) -> Result<bool> {
        Ok(self.reload(after).await?.as_ref() == Some(after))
    }

    async fn reload(&self, task: &Task) -> Result<Option<Task>> {
        Ok(patiently(&self.health, || self.store.get(std::slice::from_ref(&task.id)))
            .await?
            .pop()
            .flatten())
    }

    /// What others want to know of a row that is durable now.
    fn follow(&self, account: &Account, after: &Task) {
        if let Some(due_at) = after.due_at() {
            account.hint_due(due_at);
            self.notify(Notice::Waiting(Box::new(after.clone())));
        }
        if after.kind().is_terminal() {
            let cause = after.cause.as_ref().filter(|_| after.kind() != StateKind::Solved);
            let (task, state, submits) =
                (after.id.get(), after.kind().label(), after.counters.submits);
            tracing::info!(task, state, cause = cause.map(Cause::as_str), submits, "ended");
            self.events_written.notify_one();
            if after.place.is_some() {
                self.deliveries_written.notify_one();
            }
        }
        if !after.kind().is_leased() {
            // Its permit may be free now.
            account.wake.notify_one();
        }
    }

    async fn take_signal(
        &self,
        account: &Arc<Account>,
        signal: &AccountSignal,
        pass: &Pass,
    ) -> Result<()> {
        let now = self.now();
        let outcome = match signal {
            AccountSignal::None => {
                return account.gate.release(self.store.as_ref(), pass).await;
            }
            AccountSignal::Outage => Outcome::Outage,
            AccountSignal::Healthy => {
                account.vouch();
                Outcome::Ok
            }
            AccountSignal::Full(_) => {
                account.vouch();
                account.submit_refused_for_capacity(now);
                Outcome::Ok
            }
            AccountSignal::Stop(failure) => {
                if let Err(error) = stop::begin(self, account, failure).await {
                    self.health.could_not("stop an account but in this process", &error);
                }
                Outcome::Ok
            }
        };
        let transition = account.gate.learn(self.store.as_ref(), pass, outcome, now).await?;
        self.breaker_moved(account, transition);
        Ok(())
    }
}
