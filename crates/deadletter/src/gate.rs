//! The breaker of an account, shared through the store.
//!
//! The document `breaker/<account>` is the truth; each worker keeps a copy to ask at every step,
//! counts what it sees into a delta, and merges the delta when it beats, or at once where its own
//! copy changes phase. Probes are leased on the document itself, so that one fleet has one prober.

use crate::{Result, document};
use deadletter_core::{
    AccountName, UnixMs,
    breaker::{Breaker, BreakerRules, Forced, Outcome, Phase, Probe, Transition, WindowDelta},
};
use deadletter_store::Store;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// What the gate says to somebody who wants to ask upstream.
#[derive(Clone, Debug)]
pub(crate) enum Pass {
    /// Go; what comes of it counts for this generation.
    Open(u64),
    /// Go as the one probe.
    Probe(Probe),
    /// Go as a bystander: what comes of it does not count.
    Bystander,
}

/// The gate of one account.
pub(crate) struct Gate {
    key: String,
    rules: BreakerRules,
    /// Guards the local copy and the delta; held for arithmetic only.
    local: Mutex<Local>,
}

struct Local {
    breaker: Breaker,
    /// Version of the document that the copy was taken from.
    version: u64,
    delta: WindowDelta,
    /// Deltas that the store did not take.
    unsent: Vec<WindowDelta>,
    /// One probe is being asked for: the others need not ask too.
    is_asking: bool,
}

/// What the names of the breakers' documents begin with; the account's name follows.
pub(crate) const PREFIX: &str = "breaker/";
/// Deltas kept for a store that is away: one per beat, so for as long as the window is.
const UNSENT: usize = 30;

impl Gate {
    pub(crate) fn new(account: &AccountName, rules: BreakerRules, now: UnixMs) -> Self {
        let breaker = Breaker::new(now);
        let delta = WindowDelta::new(breaker.generation());
        let local = Local { breaker, version: 0, delta, unsent: Vec::new(), is_asking: false };
        Self { key: format!("{PREFIX}{account}"), rules, local: Mutex::new(local) }
    }

    fn local(&self) -> MutexGuard<'_, Local> {
        self.local.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) const fn rules(&self) -> &BreakerRules {
        &self.rules
    }

    pub(crate) fn phase(&self, now: UnixMs) -> Phase {
        self.local().breaker.phase(now)
    }

    pub(crate) fn retry_after_ms(&self, now: UnixMs) -> Option<i64> {
        self.local().breaker.retry_after_ms(now)
    }

    /// A pass while everything may pass.
    pub(crate) fn pass(&self, now: UnixMs) -> Option<Pass> {
        let local = self.local();
        (local.breaker.phase(now) == Phase::Closed).then(|| Pass::Open(local.breaker.generation()))
    }

    /// True where a person forced it open: not even a probe passes.
    pub(crate) fn is_shut(&self, now: UnixMs) -> bool {
        self.local().breaker.retry_after_ms(now).is_none()
    }

    /// The one probe of a half-open breaker, if nobody else has it.
    pub(crate) async fn probe(
        &self,
        store: &dyn Store,
        who: &str,
        now: UnixMs,
    ) -> Result<Option<(Pass, Option<Transition>)>> {
        {
            let mut local = self.local();
            let may_ask = local.breaker.phase(now) == Phase::HalfOpen
                && local.breaker.retry_after_ms(now) == Some(0);
            if !may_ask || std::mem::replace(&mut local.is_asking, true) {
                return Ok(None);
            }
        }
        let grant = self.update(store, |b| b.lease_probe(&self.rules, who, now)).await;
        self.local().is_asking = false;
        Ok(grant?.map(|grant| (Pass::Probe(grant.probe), grant.transition)))
    }

    /// Takes in what came of asking; the phase may change.
    pub(crate) async fn learn(
        &self,
        store: &dyn Store,
        pass: &Pass,
        outcome: Outcome,
        now: UnixMs,
    ) -> Result<Option<Transition>> {
        match pass {
            Pass::Bystander => Ok(None),
            Pass::Probe(probe) => {
                self.update(store, |b| b.finish_probe(&self.rules, probe, outcome, now)).await
            }
            Pass::Open(generation) => {
                let tripped = {
                    let mut local = self.local();
                    local.delta.record(&self.rules, outcome, *generation, now);
                    local.breaker.record(&self.rules, outcome, *generation, now).is_some()
                };
                if tripped { self.sync(store, now).await } else { Ok(None) }
            }
        }
    }

    /// Hands a probe back that told nothing.
    pub(crate) async fn release(&self, store: &dyn Store, pass: &Pass) -> Result<()> {
        if let Pass::Probe(probe) = pass {
            self.update(store, |breaker| breaker.release_probe(probe)).await?;
        }
        Ok(())
    }

    /// Merges what this worker counted into the shared breaker, and reads what others did.
    pub(crate) async fn sync(&self, store: &dyn Store, now: UnixMs) -> Result<Option<Transition>> {
        let deltas = {
            let mut local = self.local();
            let empty = WindowDelta::new(local.delta.generation());
            let fresh = std::mem::replace(&mut local.delta, empty);
            let mut deltas = std::mem::take(&mut local.unsent);
            if !fresh.is_empty() && deltas.len() < UNSENT {
                deltas.push(fresh);
            }
            deltas
        };
        let merge = |breaker: &mut Breaker| {
            let merged = deltas.iter().map(|delta| breaker.merge(&self.rules, delta, now));
            merged.fold(None, |moved, transition| transition.or(moved))
        };
        let merged = self.update(store, merge).await;
        if merged.is_err() {
            self.local().unsent = deltas;
        }
        merged
    }

    /// Reads whether others have opened or closed it; true where they have.
    pub(crate) async fn refresh(&self, store: &dyn Store) -> Result<bool> {
        let Some((version, breaker)) = document::read::<Breaker>(store, &self.key).await? else {
            return Ok(false);
        };
        let is_news = breaker.generation() > self.local().breaker.generation();
        if is_news {
            self.take(version, breaker);
        }
        Ok(is_news)
    }

    /// Forces it by hand, until it is reset.
    pub(crate) async fn force(
        &self,
        store: &dyn Store,
        phase: Forced,
        (by, why): (&str, &str),
        now: UnixMs,
    ) -> Result<Option<Transition>> {
        self.update(store, |breaker| breaker.force(phase, by, why, now)).await
    }

    /// Opens it by hand for a time.
    pub(crate) async fn trip(
        &self,
        store: &dyn Store,
        for_ms: i64,
        (by, why): (&str, &str),
        now: UnixMs,
    ) -> Result<Option<Transition>> {
        self.update(store, |breaker| breaker.trip(by, why, for_ms, now)).await
    }

    /// Closes it by hand, with nothing counted.
    pub(crate) async fn reset(
        &self,
        store: &dyn Store,
        (by, why): (&str, &str),
        now: UnixMs,
    ) -> Result<Option<Transition>> {
        self.update(store, |breaker| breaker.reset(by, why, now)).await
    }

    async fn update<T>(
        &self,
        store: &dyn Store,
        act: impl Fn(&mut Breaker) -> T + Send + Sync,
    ) -> Result<T>
    where
        T: Send,
    {
        let fresh = Breaker::new(store.clock().now());
        let updated = document::update(store, &self.key, &fresh, act).await?;
        self.take(updated.version, updated.value);
        Ok(updated.answer)
    }

    /// Takes in the shared breaker; one that was read before a newer one is not.
    fn take(&self, version: u64, breaker: Breaker) {
        let mut local = self.local();
        if version < local.version {
            return;
        }
        if local.delta.generation() != breaker.generation() {
            local.delta = WindowDelta::new(breaker.generation());
        }
        local.version = version;
        local.breaker = breaker;
    }
}
