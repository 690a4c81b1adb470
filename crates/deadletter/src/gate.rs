//! The breaker of an account, shared through the store.
//!
//! The document `breaker/<account>` is the truth; each worker keeps a copy to ask at every step,
//! counts what it sees into a delta, and merges the delta when it beats, or at once where its own
//! copy changes phase. Probes are leased on the document itself, so that one fleet has one prober.

use crate::{Result, document};
use deadletter_core::{
    AccountName, UnixMs,
    breaker::{Breaker, BreakerRules, Outcome, Phase, Probe, Transition, WindowDelta},
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
    delta: WindowDelta,
}

impl Gate {
    pub(crate) fn new(account: &AccountName, rules: BreakerRules, now: UnixMs) -> Self {
        let breaker = Breaker::new(now);
        let delta = WindowDelta::new(breaker.generation());
        Self {
            key: format!("breaker/{account}"),
            rules,
            local: Mutex::new(Local { breaker, delta }),
        }
    }

    fn local(&self) -> MutexGuard<'_, Local> {
        self.local.lock().unwrap_or_else(PoisonError::into_inner)
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

    /// The one probe of a half-open breaker, if nobody else has it.
    pub(crate) async fn probe(
        &self,
        store: &dyn Store,
        who: &str,
        now: UnixMs,
    ) -> Result<Option<(Pass, Option<Transition>)>> {
        if self.phase(now) != Phase::HalfOpen {
            return Ok(None);
        }
        let grant =
            self.update(store, |breaker| breaker.lease_probe(&self.rules, who, now)).await?;
        Ok(grant.map(|grant| (Pass::Probe(grant.probe), grant.transition)))
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
        let delta = {
            let mut local = self.local();
            let empty = WindowDelta::new(local.delta.generation());
            std::mem::replace(&mut local.delta, empty)
        };
        self.update(store, |breaker| breaker.merge(&self.rules, &delta, now)).await
    }

    /// Forces or resets it by hand.
    pub(crate) async fn update<T>(
        &self,
        store: &dyn Store,
        act: impl Fn(&mut Breaker) -> T + Send + Sync,
    ) -> Result<T>
    where
        T: Send,
    {
        let fresh = Breaker::new(store.clock().now());
        let (breaker, result) = document::update(store, &self.key, &fresh, act).await?;
        let mut local = self.local();
        if local.delta.generation() != breaker.generation() {
            local.delta = WindowDelta::new(breaker.generation());
        }
        local.breaker = breaker;
        Ok(result)
    }
}
