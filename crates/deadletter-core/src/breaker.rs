//! The breaker of an account: after an outage it lets probes through, one at a time, and else nothing.
//!
//! ```text
//!            run or share of outages              its time is over
//!   closed ---------------------------> open ------------------------> half-open
//!     ^                                  ^   probe met an outage (longer)  |
//!     |                                  +---------------------------------+
//!     +--------------------------------------------------------------------+
//!                                probe was answered
//! ```
//!
//! Half-open is not stored: it is an open breaker whose time is over, so nobody has to be awake
//! for it to happen (the idea of gobreaker's `currentState(now)`). Each stored change begins a
//! **generation**; an outcome of an attempt that began in an older one says nothing about the
//! present and is ignored.
//!
//! One breaker is shared by all workers of a store. They write it back under a version, and
//! report what they counted as a [`WindowDelta`] with their heartbeat; the run of outages is
//! then taken in the order of reports.

mod rules;
mod sliding;
mod transition;

use crate::{label::labels, time::UnixMs};
use serde::{Deserialize, Serialize};
use sliding::Sliding;

pub use rules::BreakerRules;
pub use sliding::{Outcome, Seen, WindowDelta};
pub use transition::{LastChange, Phase, Reason, Transition};

/// Characters kept of a name or reason that a person gave: a line of text, not a document.
const TEXT_MAX: usize = 200;

/// The right to be the one probe of a half-open breaker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Probe {
    /// Who holds it.
    pub who: String,
    /// From when on another may take it.
    pub until: UnixMs,
    /// Tells apart two leases of one holder.
    serial: u64,
}

/// A lease that was granted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// To be handed back with the outcome.
    pub probe: Probe,
    /// That the breaker is half-open, at its first probe since it opened.
    pub transition: Option<Transition>,
}

/// A standing order of a person, that overrides what is counted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    /// Who gave it.
    pub by: String,
    /// Why, in their words.
    pub why: String,
    /// When.
    pub at: UnixMs,
}

/// The shared state of a breaker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Breaker {
    generation: u64,
    /// Openings in succession; each doubles the time of the next.
    #[serde(default)]
    openings: u32,
    /// Leases granted so far.
    #[serde(default)]
    serial: u64,
    standing: Standing,
    /// What the present standing came from.
    #[serde(default)]
    last: Option<LastChange>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state")]
enum Standing {
    #[serde(rename = "closed")]
    Closed {
        since: UnixMs,
        #[serde(default)]
        counts: Sliding,
    },
    /// Half-open from `until` on.
    #[serde(rename = "open")]
    Open {
        until: UnixMs,
        #[serde(default)]
        probe: Option<Probe>,
        /// Probes answered since it opened.
        #[serde(default)]
        answered: u32,
        /// Whether half-open has been announced.
        #[serde(default)]
        announced: bool,
    },
    #[serde(rename = "forced")]
    Forced { phase: Forced, order: Order },
}

labels! {
    /// What a person can force a breaker to be.
    pub enum Forced {
        /// Nothing passes, no probe either.
        Open = "open",
        /// Everything passes, whatever comes of it.
        Closed = "closed",
    }
}

impl Breaker {
    /// A closed breaker that has seen nothing.
    #[must_use]
    pub fn new(now: UnixMs) -> Self {
        let standing = Standing::Closed { since: now, counts: Sliding::default() };
        Self { generation: 1, openings: 0, serial: 0, standing, last: None }
    }

    /// The present generation: what starts now is recorded under this number.
    #[must_use]
    pub const fn generation(&self) -> u64 {
        self.generation
    }

    /// What it lets through at `now`.
    #[must_use]
    pub fn phase(&self, now: UnixMs) -> Phase {
        match &self.standing {
            Standing::Closed { .. } | Standing::Forced { phase: Forced::Closed, .. } => {
                Phase::Closed
            }
            Standing::Open { until, .. } if now >= *until => Phase::HalfOpen,
            Standing::Open { .. } | Standing::Forced { phase: Forced::Open, .. } => Phase::Open,
        }
    }

    /// The standing order, if a person gave one.
    #[must_use]
    pub fn order(&self) -> Option<&Order> {
        match &self.standing {
            Standing::Forced { order, .. } => Some(order),
            Standing::Closed { .. } | Standing::Open { .. } => None,
        }
    }

    /// True where a person opened or closed it, for a time or until it is reset, and it stands so.
    #[must_use]
    pub fn is_forced(&self) -> bool {
        let by_hand = |last: &LastChange| matches!(last.reason, Reason::Forced { .. });
        match &self.standing {
            Standing::Closed { .. } => false,
            Standing::Open { .. } => self.last.as_ref().is_some_and(by_hand),
            Standing::Forced { .. } => true,
        }
    }

    /// Why and when it was last opened, closed or forced; nothing where it never was.
    #[must_use]
    pub const fn last(&self) -> Option<&LastChange> {
        self.last.as_ref()
    }

    /// What a closed breaker has counted; nothing when it is not closed, or forced.
    #[must_use]
    pub fn seen(&self, rules: &BreakerRules, now: UnixMs) -> Seen {
        match &self.standing {
            Standing::Closed { counts, .. } => counts.seen(rules, now),
            Standing::Open { .. } | Standing::Forced { .. } => Seen::default(),
        }
    }

    /// Milliseconds until something may pass: 0 when it may now, nothing when only a person can
    /// change that.
    #[must_use]
    pub fn retry_after_ms(&self, now: UnixMs) -> Option<i64> {
        match &self.standing {
            Standing::Closed { .. } | Standing::Forced { phase: Forced::Closed, .. } => Some(0),
            Standing::Forced { phase: Forced::Open, .. } => None,
            Standing::Open { until, probe, .. } => {
                let leased = probe.as_ref().map_or(*until, |probe| probe.until);
                Some(leased.max(*until).since(now).max(0))
            }
        }
    }

    /// Counts one outcome of an attempt that began in `generation`.
    ///
    /// Only a closed breaker counts; an open one learns from its probes alone, so that its time
    /// cannot be cut short by an answer that was on its way.
    pub fn record(
        &mut self,
        rules: &BreakerRules,
        outcome: Outcome,
        generation: u64,
        now: UnixMs,
    ) -> Option<Transition> {
        let mut delta = WindowDelta::new(self.generation);
        delta.record(rules, outcome, generation, now);
        self.merge(rules, &delta, now)
    }

    /// Adds what a worker counted since its last report. A report about another generation than
    /// the present one is ignored.
    pub fn merge(
        &mut self,
        rules: &BreakerRules,
        delta: &WindowDelta,
        now: UnixMs,
    ) -> Option<Transition> {
        if delta.is_empty() || delta.generation() != self.generation {
            return None;
        }
        let Standing::Closed { since, counts } = &mut self.standing else { return None };
        let reason = verdict(rules, counts.add(rules, delta, now))?;
        if now.since(*since) >= rules.quiet_ms {
            self.openings = 0;
        }
        Some(self.open(rules, Phase::Closed, reason, now))
    }

    /// Asks for the right to probe; granted when the breaker is half-open and no other lease is
    /// alive.
    pub fn lease_probe(&mut self, rules: &BreakerRules, who: &str, now: UnixMs) -> Option<Grant> {
        let generation = self.generation;
        let Standing::Open { until, probe, announced, .. } = &mut self.standing else {
            return None;
        };
        if now < *until || probe.as_ref().is_some_and(|probe| now < probe.until) {
            return None;
        }
        self.serial = self.serial.saturating_add(1);
        let lease_until = now.plus(rules.lease_ms());
        let lease = Probe { who: shortened(who), until: lease_until, serial: self.serial };
        *probe = Some(lease.clone());
        let first = !std::mem::replace(announced, true);
        let transition = first.then_some(Transition {
            from: Phase::Open,
            to: Phase::HalfOpen,
            reason: Reason::Elapsed,
            at: now,
            generation,
        });
        Some(Grant { probe: lease, transition })
    }

    /// Hands a lease back with what came of the probe. A lease that has passed to another in the
    /// meantime is ignored; one that is merely too old is not: what it learned is true.
    pub fn finish_probe(
        &mut self,
        rules: &BreakerRules,
        lease: &Probe,
        outcome: Outcome,
        now: UnixMs,
    ) -> Option<Transition> {
        let answered = self.take_back(lease)?;
        match outcome {
            Outcome::Outage => Some(self.open(rules, Phase::HalfOpen, Reason::ProbeOutage, now)),
            Outcome::Ok => {
                *answered = answered.saturating_add(1);
                (*answered >= rules.probe_successes)
                    .then(|| self.close(Phase::HalfOpen, Reason::ProbeOk, now))
            }
        }
    }

    /// Hands a lease back unused: the probe was not sent, or told nothing about an outage.
    /// Whether the lease was still the holder's own.
    pub fn release_probe(&mut self, lease: &Probe) -> bool {
        self.take_back(lease).is_some()
    }

    /// Forces it open or closed, until somebody resets it. The result is empty when the phase
    /// stays the same; the order stands all the same.
    pub fn force(&mut self, phase: Forced, by: &str, why: &str, now: UnixMs) -> Option<Transition> {
        let from = self.phase(now);
        let order = Order { by: shortened(by), why: shortened(why), at: now };
        let reason = Reason::Forced { by: order.by.clone(), why: order.why.clone() };
        let changed = self.renew(from, Standing::Forced { phase, order }, reason, now);
        (changed.from != changed.to).then_some(changed)
    }

    /// Opens it by hand for a time: as after an outage, it probes when that is over.
    pub fn trip(&mut self, by: &str, why: &str, for_ms: i64, now: UnixMs) -> Option<Transition> {
        let from = self.phase(now);
        let until = now.plus(for_ms.max(0));
        let standing = Standing::Open { until, probe: None, answered: 0, announced: false };
        let reason = Reason::Forced { by: shortened(by), why: shortened(why) };
        let changed = self.renew(from, standing, reason, now);
        (changed.from != changed.to).then_some(changed)
    }

    /// Begins anew: closed, nothing counted, no standing order. The result is empty when it let
    /// everything through before.
    pub fn reset(&mut self, by: &str, why: &str, now: UnixMs) -> Option<Transition> {
        self.openings = 0;
        let reason = Reason::Reset { by: shortened(by), why: shortened(why) };
        let changed = self.close(self.phase(now), reason, now);
        (changed.from != changed.to).then_some(changed)
    }

    /// Bounds what a clock that was set back would leave to wait for: from the first call on,
    /// nothing waits for longer than it was to wait when it was set.
    ///
    /// A breaker that changed at an instant that is still to come has its whole time before it
    /// again. Without a step back this changes nothing.
    pub fn bound_waits(&mut self, rules: &BreakerRules, now: UnixMs) {
        let ahead_ms = self.last.as_ref().map_or(0, |last| last.at.since(now).max(0));
        if let Some(last) = &mut self.last {
            last.at = last.at.min(now);
        }
        match &mut self.standing {
            Standing::Closed { since, .. } => *since = (*since).min(now),
            Standing::Open { until, probe, .. } => {
                *until = until.plus(-ahead_ms);
                if self.last.is_none() {
                    *until = until.within(now, rules.longest_open_ms());
                }
                if let Some(probe) = probe {
                    probe.until = probe.until.within(now, rules.lease_ms());
                }
            }
            Standing::Forced { .. } => {}
        }
    }

    fn open(
        &mut self,
        rules: &BreakerRules,
        from: Phase,
        reason: Reason,
        now: UnixMs,
    ) -> Transition {
        let doublings = self.openings;
        self.openings = self.openings.saturating_add(1);
        let factor = 1_i64.checked_shl(doublings).filter(|f| *f > 0).unwrap_or(i64::MAX);
        let longest_ms = rules.longest_open_ms();
        let open_ms = rules.open_ms.max(0).saturating_mul(factor).min(longest_ms);
        let until = now.plus(open_ms);
        let standing = Standing::Open { until, probe: None, answered: 0, announced: false };
        self.renew(from, standing, reason, now)
    }

    fn close(&mut self, from: Phase, reason: Reason, now: UnixMs) -> Transition {
        let standing = Standing::Closed { since: now, counts: Sliding::default() };
        self.renew(from, standing, reason, now)
    }

    /// The only place where the standing changes and a generation begins.
    fn renew(
        &mut self,
        from: Phase,
        standing: Standing,
        reason: Reason,
        now: UnixMs,
    ) -> Transition {
        self.generation = self.generation.saturating_add(1);
        self.standing = standing;
        self.last = Some(LastChange { reason: reason.clone(), at: now });
        Transition { from, to: self.phase(now), reason, at: now, generation: self.generation }
    }

    /// Ends `lease` if it is the one that stands; the result is the count of answered probes.
    fn take_back(&mut self, lease: &Probe) -> Option<&mut u32> {
        let Standing::Open { probe, answered, .. } = &mut self.standing else { return None };
        if probe.as_ref().map(|probe| probe.serial) != Some(lease.serial) {
            return None;
        }
        *probe = None;
        Some(answered)
    }
}

/// Whether what was seen is an outage of the upstream.
fn verdict(rules: &BreakerRules, seen: Seen) -> Option<Reason> {
    if seen.run >= rules.run.max(1) {
        return Some(Reason::Run { outages: seen.run });
    }
    let enough = seen.outcomes >= rules.min_volume.max(1) && seen.outages > 0;
    let (outages, outcomes) = (u64::from(seen.outages), u64::from(seen.outcomes));
    (enough && outages * 100 >= outcomes * u64::from(rules.outage_percent))
        .then_some(Reason::Share { outages: seen.outages, outcomes: seen.outcomes })
}

fn shortened(text: &str) -> String {
    text.chars().take(TEXT_MAX).collect()
}

#[cfg(test)]
mod laws;
#[cfg(test)]
mod tests;
