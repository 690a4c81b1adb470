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

impl Local {
    /// Everything that was counted and is not on its way into the store.
    fn take_deltas(&mut self) -> Vec<WindowDelta> {
        let empty = WindowDelta::new(self.delta.generation());
        let fresh = std::mem::replace(&mut self.delta, empty);
        let mut deltas = std::mem::take(&mut self.unsent);
        deltas.extend((!fresh.is_empty()).then_some(fresh));
        deltas
    }

    /// Takes back what did not get there; another sync may have failed in the meantime.
    fn keep(&mut self, deltas: Vec<WindowDelta>) {
        let newer = std::mem::replace(&mut self.unsent, deltas);
        self.unsent.extend(newer);
        let too_many = self.unsent.len().saturating_sub(UNSENT);
        self.unsent.drain(..too_many);
    }
}

/// Deltas on their way into the store. Dropped before they got there (an error, an engine that
/// ends, a panic), they are sent with the next ones.
struct Sending<'a> {
    gate: &'a Gate,
    deltas: Vec<WindowDelta>,
}

impl Drop for Sending<'_> {
    fn drop(&mut self) {
        let deltas = std::mem::take(&mut self.deltas);
        if !deltas.is_empty() {
            self.gate.local().keep(deltas);
        }
    }
}

/// That a probe is being asked for; also where the asking ends in a panic or is given up.
struct Asking<'a>(&'a Gate);

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        self.0.local().is_asking = false;
    }
}

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
        let asking = Asking(self);
        let grant = self.update(store, now, |b| b.lease_probe(&self.rules, who, now)).await;
        drop(asking);
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
                self.update(store, now, |b| b.finish_probe(&self.rules, probe, outcome, now)).await
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
            let now = store.clock().now();
            self.update(store, now, |breaker| breaker.release_probe(probe)).await?;
        }
        Ok(())
    }

    /// Merges what this worker counted into the shared breaker, and reads what others did.
    pub(crate) async fn sync(&self, store: &dyn Store, now: UnixMs) -> Result<Option<Transition>> {
        let mut sending = Sending { gate: self, deltas: self.local().take_deltas() };
        let merge = |breaker: &mut Breaker| {
            let merged = sending.deltas.iter().map(|delta| breaker.merge(&self.rules, delta, now));
            merged.fold(None, |moved, transition| transition.or(moved))
        };
        let moved = self.update(store, now, merge).await?;
        sending.deltas.clear();
        Ok(moved)
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
        self.update(store, now, |breaker| breaker.force(phase, by, why, now)).await
    }

    /// Opens it by hand for a time.
    pub(crate) async fn trip(
        &self,
        store: &dyn Store,
        for_ms: i64,
        (by, why): (&str, &str),
        now: UnixMs,
    ) -> Result<Option<Transition>> {
        self.update(store, now, |breaker| breaker.trip(by, why, for_ms, now)).await
    }

    /// Closes it by hand, with nothing counted.
    pub(crate) async fn reset(
        &self,
        store: &dyn Store,
        (by, why): (&str, &str),
        now: UnixMs,
    ) -> Result<Option<Transition>> {
        self.update(store, now, |breaker| breaker.reset(by, why, now)).await
    }

    async fn update<T>(
        &self,
        store: &dyn Store,
        now: UnixMs,
        act: impl Fn(&mut Breaker) -> T + Send + Sync,
    ) -> Result<T>
    where
        T: Send,
    {
        let bounded = |breaker: &mut Breaker| {
            breaker.bound_waits(&self.rules, now);
            act(breaker)
        };
        let updated = document::update(store, &self.key, &Breaker::new(now), bounded).await?;
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

#[cfg(test)]
mod tests {
    use super::*;
    use deadletter_store::{Call, Faulty, ManualClock, MemoryStore, faulty::Moment};
    use futures_util::FutureExt;
    use std::{future::Future, pin::Pin, sync::Arc};

    const NOW: UnixMs = UnixMs(1_000);

    fn gate() -> Gate {
        Gate::new(&AccountName::new("main").unwrap(), BreakerRules::default(), NOW)
    }

    fn memory() -> Arc<MemoryStore> {
        Arc::new(MemoryStore::new(Arc::new(ManualClock::at(NOW))))
    }

    /// A store that never takes a document.
    fn silent() -> Faulty<MemoryStore> {
        let hook = |call: Call, moment: Moment| {
            let is_silent = call == Call::PutDocument && moment == Moment::Before;
            let wait = async move {
                if is_silent {
                    std::future::pending::<()>().await;
                }
            };
            Box::pin(wait) as Pin<Box<dyn Future<Output = ()> + Send>>
        };
        Faulty::new(memory()).with_hook(Arc::new(hook))
    }

    async fn outage(gate: &Gate, store: &dyn Store) {
        let pass = Pass::Open(gate.local().breaker.generation());
        gate.learn(store, &pass, Outcome::Outage, NOW).await.unwrap();
    }

    #[tokio::test]
    async fn what_was_counted_while_the_store_was_away_is_counted_in_the_end() {
        let (gate, away, store) = (gate(), silent(), memory());
        for _ in 0..2 {
            outage(&gate, store.as_ref()).await;
            outage(&gate, store.as_ref()).await;
            assert!(gate.sync(&away, NOW).now_or_never().is_none(), "given up in the middle");
        }
        outage(&gate, store.as_ref()).await;
        gate.sync(store.as_ref(), NOW).await.unwrap();
        assert_eq!(gate.phase(NOW), Phase::Open, "five outages in a row");
    }

    #[tokio::test]
    async fn what_was_asked_before_a_change_says_nothing_of_what_came_after() {
        let (gate, store) = (gate(), memory());
        let before = gate.pass(NOW).expect("it is closed");
        gate.reset(store.as_ref(), ("ada", "a new line"), NOW).await.unwrap();
        for _ in 0..4 {
            outage(&gate, store.as_ref()).await;
        }
        gate.learn(store.as_ref(), &before, Outcome::Outage, NOW).await.unwrap();
        gate.sync(store.as_ref(), NOW).await.unwrap();
        assert_eq!(gate.phase(NOW), Phase::Closed, "four outages");
        outage(&gate, store.as_ref()).await;
        assert_eq!(gate.phase(NOW), Phase::Open, "five");
    }

    #[tokio::test]
    async fn what_opened_before_the_clock_was_set_back_is_over_after_its_own_time() {
        let (gate, store) = (gate(), memory());
        let day = NOW.plus(86_400_000);
        for _ in 0..5 {
            let pass = Pass::Open(gate.local().breaker.generation());
            gate.learn(store.as_ref(), &pass, Outcome::Outage, day).await.unwrap();
        }
        let open_ms = BreakerRules::default().open_ms;
        assert_eq!(gate.retry_after_ms(day), Some(open_ms));
        gate.sync(store.as_ref(), NOW).await.unwrap();
        assert_eq!(gate.retry_after_ms(NOW), Some(open_ms));
        let later = NOW.plus(open_ms);
        assert!(gate.probe(store.as_ref(), "w", later).await.unwrap().is_some());
    }

    #[test]
    fn two_that_fail_at_the_same_time_keep_what_each_had() {
        let gate = gate();
        let of = |generation| vec![WindowDelta::new(generation)];
        let (one, two) = (of(1), of(2));
        gate.local().keep(two);
        gate.local().keep(one);
        let generations: Vec<_> = gate.local().unsent.iter().map(|d| d.generation()).collect();
        assert_eq!(generations, [1, 2], "the one that was taken first comes first");
    }

    #[tokio::test]
    async fn a_probe_that_was_given_up_may_be_asked_for_again() {
        let (gate, away, store) = (gate(), silent(), memory());
        for _ in 0..5 {
            outage(&gate, store.as_ref()).await;
        }
        let later = NOW.plus(gate.retry_after_ms(NOW).expect("it is open"));
        assert_eq!(gate.phase(later), Phase::HalfOpen);
        assert!(gate.probe(&away, "w", later).now_or_never().is_none());
        let granted = gate.probe(store.as_ref(), "w", later).await.unwrap();
        assert!(matches!(granted, Some((Pass::Probe(_), _))));
    }
}
