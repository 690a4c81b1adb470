//! What a breaker counts: outcomes in a sliding window of buckets, and the run of outages.
//!
//! A worker counts on its own and reports what it counted ([`WindowDelta`]); the shared breaker
//! adds the report up. Recording directly is the same as reporting after each outcome, so there
//! is one way of counting, not two.

use super::BreakerRules;
use crate::{label::labels, time::UnixMs};
use serde::{Deserialize, Serialize};

/// Buckets that a window has at most; also bounds a report that comes from elsewhere.
///
/// One a second for the default window of a minute: finer adds rows and no knowledge.
const BUCKETS_MAX: usize = 60;

labels! {
    /// What came of asking an upstream, as far as a breaker cares.
    ///
    /// Anything that tells nothing about an outage is not recorded. A readable "no" is
    /// [`Outcome::Ok`]: whoever refuses is up.
    pub enum Outcome {
        /// The upstream answered.
        Ok = "ok",
        /// It did not, or not readably.
        Outage = "outage",
    }
}

/// Outcomes of one stretch of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Bucket {
    /// Its beginning, a whole multiple of its width since the epoch, so that the buckets of
    /// different workers coincide.
    at: UnixMs,
    oks: u32,
    outages: u32,
}

/// What a worker has counted since its last report.
///
/// It holds on to the order of outcomes as far as runs need it, so that a run that spans two
/// reports is still seen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WindowDelta {
    generation: u64,
    #[serde(default)]
    buckets: Vec<Bucket>,
    /// Whether there was an outcome that ends a run.
    #[serde(default)]
    interrupted: bool,
    /// Outages before the first [`Outcome::Ok`]: they continue the run of the shared breaker.
    #[serde(default)]
    lead: u32,
    /// Outages since the last [`Outcome::Ok`].
    #[serde(default)]
    trail: u32,
    /// The longest run in between.
    #[serde(default)]
    longest: u32,
}

impl WindowDelta {
    /// An empty report about the breaker's generation `generation`.
    #[must_use]
    pub const fn new(generation: u64) -> Self {
        let buckets = Vec::new();
        Self { generation, buckets, interrupted: false, lead: 0, trail: 0, longest: 0 }
    }

    /// The generation that it counts for.
    #[must_use]
    pub const fn generation(&self) -> u64 {
        self.generation
    }

    /// Whether nothing has been counted.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        !self.interrupted && self.longest == 0
    }

    /// Counts one outcome at `now`, of an attempt that began in `generation`; one that began in
    /// another generation than the report's is not counted.
    pub fn record(&mut self, rules: &BreakerRules, outcome: Outcome, generation: u64, now: UnixMs) {
        if generation != self.generation {
            return;
        }
        let at = bucket_start(rules, now);
        let (oks, outages) = match outcome {
            Outcome::Ok => (1, 0),
            Outcome::Outage => (0, 1),
        };
        add(&mut self.buckets, Bucket { at, oks, outages });
        prune(&mut self.buckets, rules, now);
        match outcome {
            Outcome::Ok => {
                self.interrupted = true;
                self.trail = 0;
            }
            Outcome::Outage => {
                self.trail = self.trail.saturating_add(1);
                self.longest = self.longest.max(self.trail);
                if !self.interrupted {
                    self.lead = self.lead.saturating_add(1);
                }
            }
        }
    }
}

/// The counts of a breaker, over all workers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Sliding {
    #[serde(default)]
    buckets: Vec<Bucket>,
    /// Outages since the last [`Outcome::Ok`], whatever their age: an account that is asked once
    /// an hour and never answers has an outage too.
    #[serde(default)]
    run: u32,
}

/// What a breaker has seen lately.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    /// Outcomes in the window.
    pub outcomes: u32,
    /// Outages in the window.
    pub outages: u32,
    /// Outages in a row; after a report, the longest such row that it completed.
    pub run: u32,
}

impl Sliding {
    /// Adds a report; the result is what is then in the window.
    pub(super) fn add(&mut self, rules: &BreakerRules, delta: &WindowDelta, now: UnixMs) -> Seen {
        for bucket in delta.buckets.iter().take(BUCKETS_MAX) {
            add(&mut self.buckets, *bucket);
        }
        prune(&mut self.buckets, rules, now);
        let continued = self.run.saturating_add(delta.lead);
        self.run = if delta.interrupted { delta.trail } else { continued };
        Seen { run: continued.max(delta.longest), ..self.seen(rules, now) }
    }

    /// What is in the window at `now`.
    pub(super) fn seen(&self, rules: &BreakerRules, now: UnixMs) -> Seen {
        let mut seen = Seen { run: self.run, ..Seen::default() };
        for bucket in self.buckets.iter().filter(|bucket| counts(rules, bucket.at, now)) {
            seen.outages = seen.outages.saturating_add(bucket.outages);
            seen.outcomes = seen.outcomes.saturating_add(bucket.outages.saturating_add(bucket.oks));
        }
        seen
    }
}

fn width_ms(rules: &BreakerRules) -> i64 {
    let buckets = (rules.buckets as usize).clamp(1, BUCKETS_MAX);
    (rules.window_ms / buckets as i64).max(1)
}

fn bucket_start(rules: &BreakerRules, now: UnixMs) -> UnixMs {
    now.plus(-now.0.rem_euclid(width_ms(rules)))
}

/// Whether a bucket lies in the window that ends at `now`. One that begins a little later does:
/// a worker's idea of store time may be ahead of ours. One far ahead does not: it would never age.
fn counts(rules: &BreakerRules, at: UnixMs, now: UnixMs) -> bool {
    let age_ms = now.since(at);
    age_ms < rules.window_ms && age_ms >= -width_ms(rules)
}

/// Adds a bucket to a list that is kept in the order of time.
fn add(buckets: &mut Vec<Bucket>, more: Bucket) {
    let place = buckets.partition_point(|bucket| bucket.at < more.at);
    match buckets.get_mut(place).filter(|bucket| bucket.at == more.at) {
        Some(bucket) => {
            bucket.oks = bucket.oks.saturating_add(more.oks);
            bucket.outages = bucket.outages.saturating_add(more.outages);
        }
        None => buckets.insert(place, more),
    }
}

fn prune(buckets: &mut Vec<Bucket>, rules: &BreakerRules, now: UnixMs) {
    buckets.retain(|bucket| counts(rules, bucket.at, now));
    // More than that only if the rules changed meanwhile: their buckets do not coincide.
    let excess = buckets.len().saturating_sub(BUCKETS_MAX);
    buckets.drain(..excess);
}
