//! The configuration of a breaker.

use serde::{Deserialize, Serialize};

/// When a breaker opens, for how long, and what closes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct BreakerRules {
    /// The sliding window, in milliseconds.
    pub window_ms: i64,
    /// Parts of the window, 1 to 60: it moves on by one part at a time.
    pub buckets: u32,
    /// The share of outages, in percent of the outcomes in the window, that opens it.
    pub outage_percent: u32,
    /// Outcomes in the window below which the share says nothing.
    pub min_volume: u32,
    /// Outages in a row that open it, whatever the volume.
    pub run: u32,
    /// How long it stays open the first time, in milliseconds.
    pub open_ms: i64,
    /// How long it stays open at most, in milliseconds; each repetition doubles the time.
    pub open_cap_ms: i64,
    /// Closed for this long, in milliseconds, the next opening is a first one again.
    pub quiet_ms: i64,
    /// How long a probe has the right to be the only one, in milliseconds.
    pub probe_lease_ms: i64,
    /// Answered probes that close it.
    pub probe_successes: u32,
}

impl BreakerRules {
    /// The longest time that it opens for by itself: a cap below the first time would shorten what
    /// was asked for.
    pub(super) fn longest_open_ms(&self) -> i64 {
        self.open_cap_ms.max(self.open_ms).max(0)
    }

    /// How long a lease is: never nothing, or two would probe at once.
    pub(super) fn lease_ms(&self) -> i64 {
        self.probe_lease_ms.max(1)
    }
}

impl Default for BreakerRules {
    /// Five failures, one probe and 60 s are what the vendor's guides advise. Clients give up after
    /// two or three minutes, so the minute is the longest opening and not the first: the end of an
    /// outage is noticed within 10 s, or as long again as it lasted, and a minute at the most. A
    /// probe is one request; four in the first two minutes burden nobody. Half of at least 20 in a
    /// minute catches an upstream that fails every other time. A probe's 30 s are twice its
    /// time-out.
    fn default() -> Self {
        Self {
            window_ms: 60_000,
            buckets: 10,
            outage_percent: 50,
            min_volume: 20,
            run: 5,
            open_ms: 10_000,
            open_cap_ms: 60_000,
            quiet_ms: 600_000,
            probe_lease_ms: 30_000,
            probe_successes: 1,
        }
    }
}
