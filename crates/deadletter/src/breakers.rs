//! The desk's side of the breakers: how they stand, and what a person makes of them.
//!
//! A breaker is a document that all workers share: what is written here, a running process sees
//! within its next look at the store.

use crate::{
    Desk, Error, Result, audit, document,
    gate::{self, Gate},
};
use deadletter_core::{
    AccountName,
    breaker::{Breaker, BreakerRules, Forced, LastChange, Phase, Seen},
};
use serde_json::json;

/// Breakers read at once: one per account.
const BREAKERS: u32 = 1_000;

/// What a person makes of a breaker.
#[derive(Clone, Copy)]
enum Hand {
    Force(Forced),
    Trip { for_ms: i64 },
    Reset,
}

impl Hand {
    const fn label(self) -> &'static str {
        match self {
            Self::Force(Forced::Open) => "force open",
            Self::Force(Forced::Closed) => "force closed",
            Self::Trip { .. } => "trip",
            Self::Reset => "reset",
        }
    }

    const fn for_ms(self) -> Option<i64> {
        match self {
            Self::Trip { for_ms } => Some(for_ms),
            Self::Force(_) | Self::Reset => None,
        }
    }
}

/// How a breaker stands.
#[derive(Clone, Debug)]
pub struct BreakerStatus {
    /// Whose it is.
    pub account: AccountName,
    /// What it lets through.
    pub phase: Phase,
    /// Until something may pass, in milliseconds: 0 where it may now, none where only a person can
    /// change that.
    pub retry_after_ms: Option<i64>,
    /// Rises with each change.
    pub generation: u64,
    /// What it has counted; nothing where it is not closed.
    pub seen: Seen,
    /// The window that it counts in, in milliseconds.
    pub window_ms: i64,
    /// True where it stands as a person made it: for a time, or until it is reset, where
    /// `retry_after_ms` says nothing.
    pub is_forced: bool,
    /// Why it stands so, and since when; none where nothing has ever changed.
    pub last: Option<LastChange>,
}

impl Desk {
    /// How the breakers of all accounts stand in the store, by name: those of this engine, and those
    /// that other processes have made.
    pub async fn breakers(&self) -> Result<Vec<BreakerStatus>> {
        let now = self.shared.now();
        let mut found = Vec::new();
        for name in self.breaker_names().await? {
            let key = format!("{}{name}", gate::PREFIX);
            let stored = document::read::<Breaker>(self.store(), &key).await?;
            let mut breaker = stored.map_or_else(|| Breaker::new(now), |(_, breaker)| breaker);
            let account = self.shared.accounts.get(&name);
            let rules = account.map_or_else(BreakerRules::default, |account| *account.gate.rules());
            breaker.bound_waits(&rules, now);
            found.push(BreakerStatus {
                phase: breaker.phase(now),
                retry_after_ms: breaker.retry_after_ms(now),
                generation: breaker.generation(),
                seen: breaker.seen(&rules, now),
                window_ms: rules.window_ms,
                is_forced: breaker.is_forced(),
                last: breaker.last().cloned(),
                account: name,
            });
        }
        Ok(found)
    }

    async fn breaker_names(&self) -> Result<Vec<AccountName>> {
        let mut names: Vec<AccountName> = self.shared.accounts.keys().cloned().collect();
        for document in self.store().documents(gate::PREFIX, BREAKERS).await? {
            let name = document.key.strip_prefix(gate::PREFIX).map(AccountName::new);
            names.extend(name.and_then(Result::ok));
        }
        names.sort_unstable();
        names.dedup();
        Ok(names)
    }

    /// Forces an account's breaker open or closed, until it is reset: `by` whom, and `why`.
    pub async fn force_breaker(
        &self,
        account: &AccountName,
        phase: Forced,
        by: &str,
        why: &str,
    ) -> Result<()> {
        self.by_hand(account, Hand::Force(phase), (by, why)).await
    }

    /// Opens an account's breaker for a time, after which it probes: `by` whom, and `why`.
    pub async fn trip_breaker(
        &self,
        account: &AccountName,
        for_ms: i64,
        by: &str,
        why: &str,
    ) -> Result<()> {
        self.by_hand(account, Hand::Trip { for_ms }, (by, why)).await
    }

    /// Closes an account's breaker, with nothing counted and no standing order.
    pub async fn reset_breaker(&self, account: &AccountName, by: &str, why: &str) -> Result<()> {
        self.by_hand(account, Hand::Reset, (by, why)).await
    }

    async fn by_hand(&self, name: &AccountName, hand: Hand, words: (&str, &str)) -> Result<()> {
        let known = self.shared.accounts.get(name);
        let stranger;
        let gate = match known {
            Some(account) => &account.gate,
            None => {
                stranger = self.stranger(name).await?;
                &stranger
            }
        };
        let (store, now) = (self.store(), self.shared.now());
        let said = json!({"kind": "breaker", "act": hand.label(), "account": name,
            "for_ms": hand.for_ms(), "by": words.0, "why": words.1});
        // The record first, so that nothing is forced without one.
        audit::append(store, self.shared.worker().as_str(), now, said.to_string()).await?;
        let moved = match hand {
            Hand::Force(phase) => gate.force(store, phase, words, now).await?,
            Hand::Trip { for_ms } => gate.trip(store, for_ms, words, now).await?,
            Hand::Reset => gate.reset(store, words, now).await?,
        };
        if let Some(account) = known {
            self.shared.breaker_moved(account, moved);
        }
        Ok(())
    }

    /// The gate of an account that only other processes have; a name that nobody has is a slip.
    async fn stranger(&self, account: &AccountName) -> Result<Gate> {
        if !self.breaker_names().await?.contains(account) {
            return Err(Error::NoSuchAccount(account.clone()));
        }
        Ok(Gate::new(account, BreakerRules::default(), self.shared.now()))
    }
}
