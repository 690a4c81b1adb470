//! The stop of an account: its document, its one probe, and the time that it took.

use crate::{
    Desk, Error, Result,
    account::Account,
    document,
    guarded::guarded,
    notice::Notice,
    provider::{AccountState, PollError},
    shared::Shared,
};
use deadletter_core::{AccountName, Class, Failure, UnixMs};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// A stopped account is probed this often: the shortest ban that is documented.
const PROBE_MS: i64 = 5 * 60_000;
/// Stops that are remembered: an attempt waits a few minutes, and lives through few of them.
const PAST: usize = 16;

/// Whether, why and when an account was stopped, as its document says it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Stop {
    /// The failure that stopped it, while it is stopped.
    pub failure: Option<Failure>,
    /// Mark of the key that was stopped.
    pub credential: Option<String>,
    /// When the present stop began.
    pub from: Option<UnixMs>,
    /// When it is probed next.
    pub probe_at: Option<UnixMs>,
    /// Stops that are over, oldest first: from and to.
    pub past: Vec<(UnixMs, UnixMs)>,
}

impl Stop {
    fn begin(&mut self, failure: &Failure, credential: Option<&str>, now: UnixMs) -> bool {
        if self.failure.is_some() {
            return false;
        }
        self.failure = Some(failure.clone());
        self.credential = credential.map(str::to_owned);
        self.from = Some(now);
        self.probe_at = Some(now.plus(longest_wait_ms(failure)));
        true
    }

    fn end(&mut self, now: UnixMs) -> bool {
        if self.failure.take().is_none() {
            return false;
        }
        self.probe_at = None;
        if let Some(from) = self.from.take() {
            if self.past.len() >= PAST {
                self.past.remove(0);
            }
            self.past.push((from, now));
        }
        true
    }

    /// The right to probe, once per gap over all workers.
    fn take_probe(&mut self, now: UnixMs) -> bool {
        // A clock that was set back must not keep it stopped until the old instant.
        let longest_ms = self.failure.as_ref().map_or(PROBE_MS, longest_wait_ms);
        self.probe_at = self.probe_at.map(|at| at.within(now, longest_ms));
        self.from = self.from.map(|at| at.min(now));
        let is_due = self.failure.is_some() && self.probe_at.is_none_or(|at| at <= now);
        if is_due {
            self.probe_at = Some(now.plus(PROBE_MS));
        }
        is_due
    }

    /// How much of the time between two instants it was stopped.
    pub(crate) fn stopped_ms(&self, from: UnixMs, to: UnixMs) -> i64 {
        let present = self.from.map(|began| (began, to));
        let spans = self.past.iter().copied().chain(present);
        spans.map(|(began, ended)| ended.min(to).since(began.max(from)).max(0)).sum()
    }
}

/// Until the first probe; later ones come after a gap.
fn longest_wait_ms(failure: &Failure) -> i64 {
    failure.retry_after_ms.unwrap_or(0).max(PROBE_MS)
}

/// What the names of these documents begin with.
const PREFIX: &str = "account/";
/// Stops read at once: one per account.
const STOPS: u32 = 1_000;

/// The document that says whether an account is stopped.
fn key(account: &AccountName) -> String {
    format!("{PREFIX}{account}")
}

impl Desk {
    /// The accounts that are stopped, by whatever process, and why.
    pub async fn stopped(&self) -> Result<Vec<(AccountName, Failure)>> {
        let mut found = Vec::new();
        for document in self.store().documents(PREFIX, STOPS).await? {
            let bad = |source| Error::BadDocument { key: document.key.clone(), source };
            let stop: Stop = serde_json::from_str(&document.body).map_err(bad)?;
            let name = document.key.strip_prefix(PREFIX).map(AccountName::new);
            if let (Some(Ok(name)), Some(failure)) = (name, stop.failure) {
                found.push((name, failure));
            }
        }
        Ok(found)
    }
}

/// Stops all traffic of an account; one probe per five minutes asks whether it may go on.
///
/// Where the store does not answer, this process stops all the same.
pub(crate) async fn begin(shared: &Shared, account: &Account, failure: &Failure) -> Result<()> {
    let now = shared.now();
    let credential = account.provider.credential();
    let credential = credential.as_deref();
    let begun = document::update(
        shared.store.as_ref(),
        &key(&account.name),
        &Stop::default(),
        |stop: &mut Stop| stop.begin(failure, credential, now),
    )
    .await;
    let is_new = match &begun {
        Ok(updated) => {
            account.set_stop(updated.version, updated.value.clone());
            updated.answer
        }
        Err(_) => account.stop_alone(|stop| stop.begin(failure, credential, now)),
    };
    if is_new {
        tracing::error!(account = %account.name, cause = %failure.cause, "account stopped");
        let failure = failure.clone();
        shared.notify(Notice::AccountStopped { account: account.name.clone(), failure });
    }
    begun.map(drop)
}

/// Takes in what the document says.
pub(crate) async fn read(shared: &Shared, account: &Account) -> Result<()> {
    let found = document::read::<Stop>(shared.store.as_ref(), &key(&account.name)).await?;
    let was_stopped = account.is_stopped();
    if let Some((version, stop)) = found {
        account.set_stop(version, stop);
    }
    if was_stopped && !account.is_stopped() {
        resumed(shared, account);
    }
    Ok(())
}

/// Takes in what the document says when a worker begins: a stop that was for another key is over.
pub(crate) async fn read_first(shared: &Shared, account: &Account) -> Result<()> {
    read(shared, account).await?;
    let stop = account.stop();
    let Some(mark) = account.provider.credential() else { return Ok(()) };
    // A ban of the address, which has a time, does not end with the key.
    let is_banned = stop.failure.is_some_and(|failure| failure.retry_after_ms.is_some());
    if !account.is_stopped() || is_banned || stop.credential.as_ref() == Some(&mark) {
        return Ok(());
    }
    let (now, store) = (shared.now(), shared.store.as_ref());
    let ended =
        document::update(store, &key(&account.name), &Stop::default(), |stop: &mut Stop| {
            stop.credential.as_ref() != Some(&mark) && stop.end(now)
        })
        .await?;
    account.set_stop(ended.version, ended.value);
    resumed(shared, account);
    Ok(())
}

fn resumed(shared: &Shared, account: &Account) {
    tracing::info!(account = %account.name, "account goes on");
    shared.notify(Notice::AccountResumed { account: account.name.clone() });
    account.hint_due(shared.now());
    shared.poller.wake.notify_one();
}

/// One probe per five minutes over all workers: threadsinfo, never a submit.
pub(crate) async fn probe(shared: &Arc<Shared>, account: &Arc<Account>) -> Result<()> {
    let key = key(&account.name);
    let store = shared.store.as_ref();
    let now = shared.now();
    let taken =
        document::update(store, &key, &Stop::default(), |stop: &mut Stop| stop.take_probe(now))
            .await?;
    account.set_stop(taken.version, taken.value);
    if !taken.answer {
        return Ok(());
    }
    let Some(told) = shared.unless_stopped(ask(account)).await else { return Ok(()) };
    match told {
        Ok(state) => account.take_state(&state),
        Err(PollError::CouldNotAsk(_)) => return Ok(()),
        // Whoever began to listen after the stop hears of it now.
        Err(PollError::Failed(failed)) if failed.0.class == Class::Account => {
            let (account, failure) = (account.name.clone(), failed.0);
            shared.notify(Notice::AccountStopped { account, failure });
            return Ok(());
        }
        // It does not say that the key is good again. Other words come from upstreams that know
        // the key and not the question.
        Err(PollError::Failed(failed)) if failed.0.class == Class::Transient => return Ok(()),
        Err(PollError::Failed(_)) => {}
    }
    let now = shared.now();
    let ended =
        document::update(store, &key, &Stop::default(), |stop: &mut Stop| stop.end(now)).await?;
    account.set_stop(ended.version, ended.value);
    resumed(shared, account);
    Ok(())
}

/// Asks upstream about the account; a panic of the provider is a line that failed.
pub(crate) async fn ask(account: &Account) -> Result<AccountState, PollError> {
    guarded(account.provider.account()).await.unwrap_or_else(|message| {
        let failure = Failure::new(deadletter_core::Cause::PANIC, Class::Transient);
        let failure = failure.with_detail(message);
        Err(crate::provider::CouldNotAsk { sent: crate::provider::Sent::Maybe, failure }.into())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_of_every_stop_counts_once() {
        let failure = Failure::new("ERROR_KEY_DOES_NOT_EXIST", Class::Account);
        let mut stop = Stop::default();
        assert!(
            stop.begin(&failure, None, UnixMs(100)) && !stop.begin(&failure, None, UnixMs(150))
        );
        assert!(stop.end(UnixMs(200)) && !stop.end(UnixMs(250)));
        assert!(stop.begin(&failure, None, UnixMs(300)));
        assert_eq!(stop.stopped_ms(UnixMs(0), UnixMs(350)), 150);
        assert_eq!(stop.stopped_ms(UnixMs(150), UnixMs(350)), 100);
        assert!(stop.end(UnixMs(400)));
        assert_eq!(stop.stopped_ms(UnixMs(0), UnixMs(1_000)), 200);
        assert_eq!(stop.stopped_ms(UnixMs(210), UnixMs(290)), 0);
    }

    #[test]
    fn a_probe_is_taken_once_per_gap_and_only_of_a_stopped_account() {
        let mut stop = Stop::default();
        assert!(!stop.take_probe(UnixMs(1)));
        stop.begin(&Failure::new("IP_BANNED", Class::Account), None, UnixMs(0));
        assert!(!stop.take_probe(UnixMs(PROBE_MS - 1)));
        assert!(stop.take_probe(UnixMs(PROBE_MS)));
        assert!(!stop.take_probe(UnixMs(PROBE_MS + 1)));
        assert!(stop.take_probe(UnixMs(2 * PROBE_MS)));
    }

    #[test]
    fn a_clock_that_is_set_back_delays_the_next_probe_by_a_gap_at_most() {
        let mut stop = Stop::default();
        let day = UnixMs(86_400_000);
        stop.begin(&Failure::new("ERROR_KEY_DOES_NOT_EXIST", Class::Account), None, day);
        assert!(!stop.take_probe(UnixMs(0)), "its gap begins anew");
        assert!(!stop.take_probe(UnixMs(PROBE_MS - 1)));
        assert!(stop.take_probe(UnixMs(PROBE_MS)));
        assert_eq!(stop.stopped_ms(UnixMs(0), UnixMs(PROBE_MS)), PROBE_MS);
    }

    #[test]
    fn only_the_last_stops_are_kept() {
        let failure = Failure::new("IP_BANNED", Class::Account);
        let mut stop = Stop::default();
        for n in 0..100 {
            stop.begin(&failure, None, UnixMs(n * 10));
            stop.end(UnixMs(n * 10 + 5));
        }
        assert_eq!(stop.past.len(), PAST);
        assert_eq!(stop.past.last(), Some(&(UnixMs(990), UnixMs(995))));
    }
}
