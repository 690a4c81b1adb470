//! Solve times as a mergeable histogram with logarithmic buckets.
//!
//! A solve time is never known: a poll only says that the answer came between two instants. So
//! what is recorded is an interval, and its weight is spread over the buckets that it covers,
//! **linearly in time**: polls fall at arbitrary moments of a solve, so each moment of the interval
//! is as likely as any other. (Spreading evenly in log time would favour the early part, and has
//! no answer for an interval that begins at 0, which every first poll yields.)
//!
//! Weights are whole numbers, so merging is exactly associative and commutative, and no weight
//! is lost to rounding. What lies within a bucket counts as spread evenly over it.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};
use std::collections::BTreeMap;

/// Where the first bucket ends, in milliseconds; no upstream answers a submit and a poll sooner.
const FIRST_END_MS: f64 = 64.0;

/// Buckets per doubling: a bucket ends 9 % (2^(1/8), rounded to whole milliseconds) above the one
/// before, about 3 s at 35 s, which is finer than the 5 s between two polls that measure it.
const PER_DOUBLING: f64 = 8.0;

/// Buckets in all: one up to 64 ms, then 18 doublings, up to 4.66 hours.
pub const BUCKETS: u16 = 1 + 18 * 8;

/// The longest time that is told apart, in milliseconds (2^24); longer ones count as this.
pub const LONGEST_MS: i64 = 1 << 24;

/// The weight of one sample. A millionth still resolves the narrowest bucket in an interval of an
/// hour (1 in 56,000), and leaves room for 10^13 samples.
const SAMPLE: u64 = 1_000_000;

/// The number of the bucket scheme above; stored rows of another one cannot be read.
const LAYOUT: u32 = 1;

/// A histogram of solve times.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Histogram {
    /// Only buckets that have weight; [`BUCKETS`] at most.
    weights: BTreeMap<u16, u64>,
}

/// One bucket as [`Histogram::buckets`] shows it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bucket {
    /// Its beginning, in milliseconds.
    pub from_ms: f64,
    /// Its end, in milliseconds.
    pub to_ms: f64,
    /// Its share of all samples, in samples.
    pub samples: f64,
}

impl Histogram {
    /// Records one solve that ended after `after_ms` and not later than `until_ms`, both in
    /// milliseconds since acceptance.
    pub fn record(&mut self, after_ms: i64, until_ms: i64) {
        let until_ms = until_ms.clamp(0, LONGEST_MS);
        let after_ms = after_ms.clamp(0, until_ms);
        let last = index_of(until_ms);
        let width_ms = (until_ms - after_ms).max(1).unsigned_abs();
        let mut spread = 0;
        for index in index_of(after_ms)..last {
            // From the running total, so that what is rounded off goes to the next bucket.
            let covered_ms = (end_ms(index) - after_ms).max(0).unsigned_abs();
            let total = covered_ms * SAMPLE / width_ms;
            self.add(index, total - spread);
            spread = total;
        }
        self.add(last, SAMPLE - spread);
    }

    /// Adds everything that `other` has seen.
    pub fn merge(&mut self, other: &Self) {
        for (index, weight) in &other.weights {
            self.add(*index, *weight);
        }
    }

    /// Samples recorded.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.total() / SAMPLE
    }

    /// The mean, in milliseconds; nothing when there is no sample.
    #[must_use]
    pub fn mean_ms(&self) -> Option<f64> {
        let moments: f64 =
            self.buckets().map(|b| b.samples * f64::midpoint(b.from_ms, b.to_ms)).sum();
        let samples = self.samples();
        (samples > 0.0).then(|| moments / samples)
    }

    /// The time within which the share `q` (0 to 1) of the solves ended, in milliseconds; nothing
    /// when there is no sample.
    #[must_use]
    pub fn quantile_ms(&self, q: f64) -> Option<f64> {
        let mut lacking = q.clamp(0.0, 1.0) * self.samples();
        let mut last = None;
        for bucket in self.buckets() {
            last = Some(bucket.to_ms);
            if lacking <= bucket.samples {
                let share = lacking / bucket.samples;
                return Some(bucket.from_ms + share * (bucket.to_ms - bucket.from_ms));
            }
            lacking -= bucket.samples;
        }
        last
    }

    /// The hazard rate at `at_ms`: of the solves still running, the share that ends per
    /// millisecond. Constant within a bucket: its samples over the time that solves spent in it
    /// (the actuarial estimate), which stays finite in the last one.
    #[must_use]
    pub fn hazard(&self, at_ms: i64) -> f64 {
        let wanted = index_of(at_ms.max(0));
        let samples_in = |weight: u64| weight as f64 / SAMPLE as f64;
        let here = self.weights.get(&wanted).copied().map_or(0.0, samples_in);
        let beyond: f64 = self.weights.range(wanted + 1..).map(|(_, w)| samples_in(*w)).sum();
        let width_ms = end_ms(wanted) - begin_ms(wanted);
        rate(here, beyond + here, width_ms as f64)
    }

    /// The buckets with weight, in the order of time.
    pub fn buckets(&self) -> impl Iterator<Item = Bucket> + '_ {
        self.weights.iter().map(|(index, weight)| Bucket {
            from_ms: begin_ms(*index) as f64,
            to_ms: end_ms(*index) as f64,
            samples: *weight as f64 / SAMPLE as f64,
        })
    }

    fn add(&mut self, index: u16, weight: u64) {
        if weight > 0 {
            let sum = self.weights.entry(index).or_default();
            *sum = sum.saturating_add(weight);
        }
    }

    fn total(&self) -> u64 {
        self.weights.values().fold(0, |sum, weight| sum.saturating_add(*weight))
    }

    fn samples(&self) -> f64 {
        self.buckets().map(|bucket| bucket.samples).sum()
    }
}

/// The hazard rate over `width_ms` in which `ended` of `running` samples end.
pub(crate) fn rate(ended: f64, running: f64, width_ms: f64) -> f64 {
    let spent_ms = (running - ended / 2.0) * width_ms;
    if spent_ms > 0.0 { ended / spent_ms } else { 0.0 }
}

fn end_ms(index: u16) -> i64 {
    (FIRST_END_MS * (f64::from(index) / PER_DOUBLING).exp2()).round() as i64
}

fn begin_ms(index: u16) -> i64 {
    index.checked_sub(1).map_or(0, end_ms)
}

/// The bucket that ends at or after `at_ms` and begins before it.
fn index_of(at_ms: i64) -> u16 {
    let doublings = (at_ms.max(1) as f64 / FIRST_END_MS).log2();
    let guess = (doublings * PER_DOUBLING).round().clamp(0.0, f64::from(BUCKETS - 1)) as u16;
    // Rounding puts it at most one bucket too low.
    if at_ms > end_ms(guess) { (guess + 1).min(BUCKETS - 1) } else { guess }
}

/// How a histogram is stored: `{"layout":1,"rows":[[bucket index, weight], ...]}`.
#[derive(Serialize, Deserialize)]
struct Rows {
    layout: u32,
    rows: Vec<(u16, u64)>,
}

impl Serialize for Histogram {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let rows = self.weights.iter().map(|(index, weight)| (*index, *weight)).collect();
        Rows { layout: LAYOUT, rows }.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Histogram {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let stored = Rows::deserialize(deserializer)?;
        if stored.layout != LAYOUT {
            return Err(D::Error::custom(format_args!("unknown layout {}", stored.layout)));
        }
        let mut histogram = Self::default();
        for (index, weight) in stored.rows {
            if index >= BUCKETS {
                return Err(D::Error::custom(format_args!("no bucket has the index {index}")));
            }
            histogram.add(index, weight);
        }
        Ok(histogram)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn recorded(intervals: &[(i64, i64)]) -> Histogram {
        let mut histogram = Histogram::default();
        intervals.iter().for_each(|(after_ms, until_ms)| histogram.record(*after_ms, *until_ms));
        histogram
    }

    fn merged(a: &Histogram, b: &Histogram) -> Histogram {
        let mut sum = a.clone();
        sum.merge(b);
        sum
    }

    fn intervals() -> impl Strategy<Value = Vec<(i64, i64)>> {
        let interval = (0_i64..20_000_000, 0_i64..60_000).prop_map(|(at, width)| (at, at + width));
        let usual = (0_i64..120_000, 0_i64..20_000).prop_map(|(at, width)| (at, at + width));
        proptest::collection::vec(prop_oneof![1 => interval, 4 => usual], 0..30)
    }

    #[test]
    fn the_buckets_join_and_reach_from_64_ms_to_hours() {
        assert_eq!((begin_ms(0), end_ms(0), end_ms(BUCKETS - 1)), (0, 64, LONGEST_MS));
        for index in 1..BUCKETS {
            assert_eq!(index_of(begin_ms(index)), index - 1);
            assert_eq!(index_of(begin_ms(index) + 1), index);
            assert_eq!(index_of(end_ms(index)), index);
            let ratio = end_ms(index) as f64 / begin_ms(index) as f64;
            assert!((ratio - 1.0905).abs() < 0.01, "{index}: {ratio}");
        }
        assert_eq!((index_of(0), index_of(i64::MAX)), (0, BUCKETS - 1));
    }

    #[test]
    fn an_interval_is_spread_evenly_in_time() {
        let histogram = recorded(&[(0, 16_384)]);
        let half = histogram.quantile_ms(0.5).unwrap();
        assert!((half - 8_192.0).abs() < 1.0, "{half}");
        let mean = histogram.mean_ms().unwrap();
        assert!((mean - 8_192.0).abs() < 1.0, "{mean}");
        let within: f64 =
            histogram.buckets().filter(|b| b.to_ms <= 4_096.0).map(|b| b.samples).sum();
        assert!((within - 0.25).abs() < 1e-4, "{within}");
    }

    #[test]
    fn quantiles_of_narrow_intervals_are_a_bucket_wide_at_most() {
        let histogram = recorded(&[(9_999, 10_000), (19_999, 20_000), (39_999, 40_000)]);
        for (q, at_ms) in [(0.3, 10_000.0), (0.6, 20_000.0), (0.9, 40_000.0), (1.0, 40_000.0)] {
            let found: f64 = histogram.quantile_ms(q).unwrap();
            assert!((found / at_ms - 1.0).abs() < 0.0906, "{q}: {found}");
        }
    }

    #[test]
    fn an_empty_one_has_neither_mean_nor_quantile_nor_hazard() {
        let empty = Histogram::default();
        assert_eq!((empty.count(), empty.mean_ms(), empty.quantile_ms(0.5)), (0, None, None));
        assert_eq!(empty.hazard(1_000).to_bits(), 0.0_f64.to_bits());
    }

    #[test]
    fn the_hazard_of_an_exponential_distribution_is_constant() {
        // Quantiles of the exponential distribution with a mean of 20 s.
        let mut histogram = Histogram::default();
        for i in 0..20_000 {
            let at_ms = (-20_000.0 * (1.0 - (f64::from(i) + 0.5) / 20_000.0).ln()) as i64;
            histogram.record(at_ms - 50, at_ms + 50);
        }
        for at_ms in [2_000, 5_000, 10_000, 20_000, 40_000] {
            let hazard = histogram.hazard(at_ms) * 20_000.0;
            assert!((hazard - 1.0).abs() < 0.03, "{at_ms} ms: {hazard}");
        }
        assert!(histogram.hazard(LONGEST_MS) < 1e-9);
    }

    #[test]
    fn it_is_stored_as_sparse_rows_and_broken_rows_are_refused() {
        let histogram = recorded(&[(64, 64), (0, 16_777_216 * 2)]);
        let text = serde_json::to_string(&histogram).unwrap();
        assert_eq!(serde_json::from_str::<Histogram>(&text).unwrap(), histogram);
        let one = serde_json::to_string(&recorded(&[(60, 64)])).unwrap();
        assert_eq!(one, r#"{"layout":1,"rows":[[0,1000000]]}"#);
        for broken in [r#"{"layout":2,"rows":[]}"#, r#"{"layout":1,"rows":[[145,1]]}"#] {
            assert!(serde_json::from_str::<Histogram>(broken).is_err());
        }
    }

    proptest! {
        #[test]
        fn no_weight_is_lost_or_made(intervals in intervals()) {
            let histogram = recorded(&intervals);
            prop_assert_eq!(histogram.total(), intervals.len() as u64 * SAMPLE);
            prop_assert_eq!(histogram.count(), intervals.len() as u64);
        }

        #[test]
        fn an_interval_puts_no_weight_outside_its_buckets(at in 0_i64..20_000_000, width: u16) {
            let until = at + i64::from(width);
            for bucket in recorded(&[(at, until)]).buckets() {
                let (at, until) = (at.min(LONGEST_MS), until.min(LONGEST_MS));
                prop_assert!(bucket.to_ms >= at as f64 && bucket.from_ms <= until as f64);
            }
        }

        #[test]
        fn merging_is_addition(a in intervals(), b in intervals(), c in intervals()) {
            let all: Vec<_> = a.iter().chain(&b).copied().collect();
            let (a, b, c) = (recorded(&a), recorded(&b), recorded(&c));
            prop_assert_eq!(merged(&a, &b), recorded(&all));
            prop_assert_eq!(merged(&a, &b), merged(&b, &a));
            prop_assert_eq!(merged(&merged(&a, &b), &c), merged(&a, &merged(&b, &c)));
            prop_assert_eq!(merged(&a, &Histogram::default()), a);
        }

        #[test]
        fn quantiles_rise_and_the_mean_lies_among_them(
            intervals in intervals(), p in 0.0..=1.0_f64, q in 0.0..=1.0_f64,
        ) {
            let histogram = recorded(&intervals);
            prop_assume!(histogram.count() > 0);
            let at = |q| histogram.quantile_ms(q).unwrap();
            prop_assert!(at(p.min(q)) <= at(p.max(q)));
            let mean = histogram.mean_ms().unwrap();
            prop_assert!(at(0.0) <= mean && mean <= at(1.0));
        }

        #[test]
        fn storage_keeps_it(intervals in intervals()) {
            let histogram = recorded(&intervals);
            let text = serde_json::to_string(&histogram).unwrap();
            prop_assert_eq!(serde_json::from_str::<Histogram>(&text).unwrap(), histogram);
        }
    }
}
