//! When to ask for a result: a fixed table at first, later what the solve times have taught.
//!
//! The learned plan follows J. B. Keller, "Optimum checking schedules for systems subject to
//! random failure", Management Science 21 (1974): where a check costs something and late
//! detection does too, the best density of checks is proportional to the **square root of the
//! hazard rate**. The factor is chosen so that a solve needs as many polls as with the table (or
//! fewer, where the provider's least gap allows no more), and so gets its answer sooner for the
//! same load.
//!
//! The law is about many checks; with a handful, and gaps within limits, it matters where the
//! first one lies. So the plan is computed for a few dozen first polls, the costs are calculated
//! from the histogram, and the plan with the least delay is taken; the table itself is among
//! them. A learned plan is thus never worse than the table for the solve times that it was
//! learned from. This is a matter of milliseconds: learn when samples have come, not per task.

mod curve;

use crate::histogram::{Histogram, LONGEST_MS};
use curve::Curve;
use serde::{Deserialize, Serialize};

pub use curve::Cost;

/// Samples below which the table stays. With 50 a rate is known within 14 % (one over the root of
/// their number), and its square root within 7 %.
pub const MIN_SAMPLES: u64 = 50;

/// Checks that a plan lists; after them it goes on at its longest gap. At 5 s this is 21 min, ten
/// times the usual time-out of an attempt.
const CHECKS_MAX: usize = 256;

/// First polls that are tried: one at every 32nd part of the solves. Keller's law says how dense
/// checks are, not where the first one lies; that one has no gap to keep, and is worth the search.
const FIRSTS: u32 = 32;

/// Halvings of the search for the factor: 2^-24 of its range moves a check by milliseconds.
const HALVINGS: u32 = 24;

/// What is known of a method before anything was learned, and the limits for what is learned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Table {
    /// The first poll, in milliseconds after acceptance.
    pub first_poll_ms: i64,
    /// Between two polls, in milliseconds.
    pub gap_ms: i64,
    /// The least gap that the provider allows, in milliseconds.
    pub min_gap_ms: i64,
    /// The longest gap of a learned plan, in milliseconds.
    pub max_gap_ms: i64,
}

impl Default for Table {
    /// Reads as the vendor's client does for the commonest types: 10 s, then every 5 s, which is
    /// also the documented least gap. Twice that is the longest wait added to any answer.
    fn default() -> Self {
        Self { first_poll_ms: 10_000, gap_ms: 5_000, min_gap_ms: 5_000, max_gap_ms: 10_000 }
    }
}

/// When to poll, in milliseconds since acceptance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PollPlan {
    /// Rising, never empty, [`CHECKS_MAX`] at most.
    checks: Vec<i64>,
    min_gap_ms: i64,
    /// Also the gap after the last of `checks`.
    max_gap_ms: i64,
}

impl PollPlan {
    /// The first poll after `first_poll_ms`, then one every `gap_ms`.
    #[must_use]
    pub fn from_table(first_poll_ms: i64, gap_ms: i64) -> Self {
        let gap_ms = gap_ms.max(1);
        let checks = vec![first_poll_ms.clamp(1, LONGEST_MS)];
        Self { checks, min_gap_ms: gap_ms, max_gap_ms: gap_ms }
    }

    /// The plan that the solve times of `histogram` suggest; the table's until there are
    /// [`MIN_SAMPLES`].
    #[must_use]
    pub fn learned(histogram: &Histogram, table: &Table) -> Self {
        let limits = Limits::of(table);
        let fixed = Self::from_table(table.first_poll_ms, table.gap_ms.max(limits.min_ms));
        let curve = Curve::of(histogram).filter(|_| histogram.count() >= MIN_SAMPLES);
        let Some(curve) = curve else { return fixed };
        let allowed = curve.cost(&fixed.checks, fixed.max_gap_ms);
        let (mut best, mut least_ms) = (fixed, allowed.delay_ms);
        for part in 0..FIRSTS {
            let ended = f64::from(part) / f64::from(FIRSTS);
            let Some(first_ms) = histogram.quantile_ms(ended) else { continue };
            let first_ms = (first_ms.round() as i64).clamp(1, LONGEST_MS);
            let plan = fitted(&curve, limits, first_ms, allowed.polls);
            let cost = curve.cost(&plan.checks, plan.max_gap_ms);
            if cost.polls <= allowed.polls && cost.delay_ms < least_ms {
                (best, least_ms) = (plan, cost.delay_ms);
            }
        }
        best
    }

    /// The first poll.
    #[must_use]
    pub fn first_ms(&self) -> i64 {
        self.checks.first().copied().unwrap_or(self.max_gap_ms).max(1)
    }

    /// The next poll after one at `elapsed_ms`; always later. 0 or less means that nothing was
    /// asked yet.
    ///
    /// Polls happen a little late. The next one still keeps the least gap, but does not skip a
    /// check for that.
    #[must_use]
    pub fn next_after(&self, elapsed_ms: i64) -> i64 {
        if elapsed_ms <= 0 {
            return self.first_ms();
        }
        let earliest_ms = elapsed_ms.saturating_add(self.min_gap_ms.max(1));
        if elapsed_ms < self.first_ms() {
            // Out of turn, as after a restart.
            return self.first_ms().max(earliest_ms);
        }
        let latest_ms = elapsed_ms.saturating_add(self.max_gap_ms.max(1)).max(earliest_ms);
        let place = self.checks.partition_point(|check| *check <= elapsed_ms);
        self.checks.get(place).map_or(latest_ms, |check| (*check).clamp(earliest_ms, latest_ms))
    }

    /// What this plan costs for the solves of `histogram`; nothing when it is empty.
    #[must_use]
    pub fn cost(&self, histogram: &Histogram) -> Option<Cost> {
        Curve::of(histogram).map(|curve| curve.cost(&self.checks, self.max_gap_ms))
    }
}

/// The gaps that a learned plan may have.
#[derive(Clone, Copy, Debug)]
struct Limits {
    min_ms: i64,
    max_ms: i64,
}

impl Limits {
    fn of(table: &Table) -> Self {
        let min_ms = table.min_gap_ms.clamp(1, LONGEST_MS);
        Self { min_ms, max_ms: table.max_gap_ms.clamp(min_ms, LONGEST_MS) }
    }
}

/// The densest plan from `first_ms` on that needs no more than `polls`, or else the sparsest. More
/// effort between two checks makes every check later, and so the number of polls smaller: a
/// search by halves finds the edge.
fn fitted(curve: &Curve, limits: Limits, first_ms: i64, polls: f64) -> PollPlan {
    let fits = |plan: &PollPlan| curve.cost(&plan.checks, plan.max_gap_ms).polls <= polls;
    let (mut dense, mut sparse) = (0.0, curve.effort());
    let mut best = placed(curve, limits, first_ms, sparse);
    let densest = placed(curve, limits, first_ms, dense);
    // Often there is nothing to search: the least gap is never too dense, or the longest always.
    if fits(&densest) {
        return densest;
    }
    if !fits(&best) {
        return best;
    }
    for _ in 0..HALVINGS {
        let middle = f64::midpoint(dense, sparse);
        let plan = placed(curve, limits, first_ms, middle);
        if fits(&plan) {
            (sparse, best) = (middle, plan);
        } else {
            dense = middle;
        }
    }
    best
}

/// A check whenever `step` more effort has accrued, as far as the limits of gaps allow.
fn placed(curve: &Curve, limits: Limits, first_ms: i64, step: f64) -> PollPlan {
    let mut checks = vec![first_ms];
    let mut last_ms = first_ms;
    while checks.len() < CHECKS_MAX && curve.running_at(last_ms as f64) > 0.0 {
        let wanted_ms = curve.at_effort(curve.effort_at(last_ms as f64) + step).round() as i64;
        last_ms = wanted_ms.clamp(last_ms + limits.min_ms, last_ms + limits.max_ms);
        checks.push(last_ms);
    }
    PollPlan { checks, min_gap_ms: limits.min_ms, max_gap_ms: limits.max_ms }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const V2: Table =
        Table { first_poll_ms: 15_000, gap_ms: 5_000, min_gap_ms: 5_000, max_gap_ms: 10_000 };

    /// Two kinds of solves: half end within 6 to 9 s, half within 32 to 45 s; a few at any time.
    fn bimodal() -> Histogram {
        let mut histogram = Histogram::default();
        for _ in 0..48 {
            histogram.record(6_000, 9_000);
            histogram.record(32_000, 45_000);
        }
        for _ in 0..4 {
            histogram.record(0, 60_000);
        }
        histogram
    }

    /// Polls and delay by asking the plan, for very many solves spread over the histogram.
    fn walked(plan: &PollPlan, histogram: &Histogram) -> Cost {
        const PARTS: u32 = 500;
        let (mut polls, mut delay_ms, mut all) = (0.0, 0.0, 0.0);
        for bucket in histogram.buckets() {
            for part in 0..PARTS {
                let share = (f64::from(part) + 0.5) / f64::from(PARTS);
                let solved_ms = bucket.from_ms + share * (bucket.to_ms - bucket.from_ms);
                let mut at_ms = plan.first_ms();
                let mut count = 1.0;
                while (at_ms as f64) < solved_ms {
                    at_ms = plan.next_after(at_ms);
                    count += 1.0;
                }
                let weight = bucket.samples / f64::from(PARTS);
                polls += weight * count;
                delay_ms += weight * (at_ms as f64 - solved_ms);
                all += weight;
            }
        }
        Cost { polls: polls / all, delay_ms: delay_ms / all }
    }

    fn close(a: Cost, b: Cost) -> bool {
        (a.polls / b.polls - 1.0).abs() < 0.01 && (a.delay_ms - b.delay_ms).abs() < 30.0
    }

    #[test]
    fn the_table_polls_first_and_then_at_its_gap() {
        let plan = PollPlan::from_table(15_000, 5_000);
        assert_eq!(plan.next_after(0), 15_000);
        assert_eq!(plan.next_after(15_000), 20_000);
        assert_eq!(plan.next_after(1_000_000), 1_005_000);
        assert_eq!(plan.next_after(14_000), 19_000, "asked out of turn");
        assert_eq!(PollPlan::from_table(1_000, 5_000).next_after(0), 1_000);
        assert_eq!(PollPlan::from_table(0, 0), PollPlan::from_table(1, 1));
    }

    #[test]
    fn a_sooner_answer_is_not_bought_with_more_polls() {
        // Asking early would spare a tenth of the solves 88 s, and cost the others ten polls.
        let mut histogram = Histogram::default();
        (0..10).for_each(|_| histogram.record(1_500, 2_000));
        (0..90).for_each(|_| histogram.record(95_000, 105_000));
        let table = Table { first_poll_ms: 90_000, ..V2 };
        let fixed = PollPlan::from_table(90_000, 5_000).cost(&histogram).unwrap();
        let learned = PollPlan::learned(&histogram, &table).cost(&histogram).unwrap();
        assert!(learned.polls <= fixed.polls, "{learned:?} {fixed:?}");
    }

    #[test]
    fn a_late_poll_keeps_the_gap_and_skips_no_check() {
        let plan =
            PollPlan { checks: vec![3_000, 8_000, 15_000], min_gap_ms: 5_000, max_gap_ms: 10_000 };
        assert_eq!(plan.next_after(3_040), 8_040);
        assert_eq!(plan.next_after(8_040), 15_000);
        assert_eq!(plan.next_after(15_000), 25_000);
    }

    #[test]
    fn until_fifty_samples_the_table_stays() {
        let mut histogram = Histogram::default();
        let table = PollPlan::from_table(15_000, 5_000);
        for _ in 0..49 {
            histogram.record(41_000, 44_000);
        }
        assert_eq!(PollPlan::learned(&histogram, &V2), table);
        histogram.record(41_000, 44_000);
        assert_ne!(PollPlan::learned(&histogram, &V2), table);
        assert_eq!(PollPlan::learned(&Histogram::default(), &V2), table);
    }

    #[test]
    fn at_the_same_number_of_polls_a_learned_plan_sees_answers_sooner() {
        let histogram = bimodal();
        let table = PollPlan::from_table(15_000, 5_000);
        let learned = PollPlan::learned(&histogram, &V2);
        let (before, after) = (table.cost(&histogram).unwrap(), learned.cost(&histogram).unwrap());
        assert!(after.polls <= before.polls && after.polls > before.polls - 0.01);
        assert!(after.delay_ms < 0.5 * before.delay_ms);
    }

    #[test]
    fn the_calculated_cost_is_what_a_walk_through_the_plan_finds() {
        let mut tailed = bimodal();
        tailed.record(0, 3_600_000);
        for histogram in [bimodal(), tailed] {
            let learned = PollPlan::learned(&histogram, &V2);
            for plan in [PollPlan::from_table(15_000, 5_000), learned] {
                let (cost, walk) = (plan.cost(&histogram).unwrap(), walked(&plan, &histogram));
                assert!(close(cost, walk), "{cost:?} {walk:?}");
            }
        }
    }

    #[test]
    fn checks_are_dense_where_the_square_root_of_the_hazard_is() {
        // Limits so wide that the law alone decides.
        let table =
            Table { first_poll_ms: 100, gap_ms: 100, min_gap_ms: 1, max_gap_ms: LONGEST_MS };
        let mut histogram = Histogram::default();
        for _ in 0..900 {
            histogram.record(0, 4_096);
        }
        for _ in 0..100 {
            histogram.record(4_096, 8_192);
        }
        let plan = PollPlan::learned(&histogram, &table);
        let mut ratios = Vec::new();
        for pair in plan.checks.windows(2).filter(|pair| pair[0] > 512 && pair[1] < 7_000) {
            let middle_ms = i64::midpoint(pair[0], pair[1]);
            ratios.push((pair[1] - pair[0]) as f64 * histogram.hazard(middle_ms).sqrt());
        }
        let mean = ratios.iter().sum::<f64>() / ratios.len() as f64;
        let near = ratios.iter().filter(|ratio| (*ratio / mean - 1.0).abs() < 0.15).count();
        assert!(ratios.len() > 30 && near * 10 >= ratios.len() * 9, "{ratios:?}");
    }

    #[test]
    fn it_survives_storage() {
        let plan = PollPlan::learned(&bimodal(), &V2);
        let text = serde_json::to_string(&plan).unwrap();
        assert_eq!(serde_json::from_str::<PollPlan>(&text).unwrap(), plan);
    }

    fn histograms() -> impl Strategy<Value = Histogram> {
        let interval = (0_i64..150_000, 1_i64..20_000).prop_map(|(at, width)| (at, at + width));
        let late = (0_i64..20_000_000, 1_i64..20_000).prop_map(|(at, width)| (at, at + width));
        proptest::collection::vec(prop_oneof![9 => interval, 1 => late], 1..8).prop_map(|kinds| {
            let mut histogram = Histogram::default();
            for i in 0..60_usize {
                let (after_ms, until_ms) = kinds[i % kinds.len()];
                histogram.record(after_ms, until_ms);
            }
            histogram
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn a_learned_plan_is_never_worse_than_the_table(
            histogram in histograms(), first_poll_ms in 0_i64..20_000,
        ) {
            let table = Table { first_poll_ms, ..V2 };
            let fixed = PollPlan::from_table(first_poll_ms, 5_000).cost(&histogram).unwrap();
            let learned = PollPlan::learned(&histogram, &table).cost(&histogram).unwrap();
            prop_assert!(learned.polls <= fixed.polls && learned.delay_ms <= fixed.delay_ms);
            prop_assert!(learned.polls >= 1.0 && learned.delay_ms >= -1e-6);
        }

        #[test]
        fn gaps_stay_within_their_limits(
            histogram in histograms(), late_ms in proptest::collection::vec(0_i64..3_000, 1..400),
        ) {
            let plan = PollPlan::learned(&histogram, &V2);
            prop_assert!(plan.checks.len() <= CHECKS_MAX);
            let mut at_ms = plan.next_after(0);
            prop_assert!(at_ms > 0);
            for late_ms in late_ms {
                let polled_ms = at_ms + late_ms;
                at_ms = plan.next_after(polled_ms);
                prop_assert!((5_000..=10_000).contains(&(at_ms - polled_ms)));
            }
        }

        #[test]
        fn the_next_poll_is_always_later(
            histogram in histograms(), elapsed_ms: i64, first_poll_ms: i64, gap_ms: i64,
        ) {
            let table = Table { first_poll_ms, gap_ms, ..V2 };
            let plan = PollPlan::learned(&histogram, &table);
            prop_assert!(plan.next_after(elapsed_ms) > elapsed_ms || elapsed_ms == i64::MAX);
            let fixed = PollPlan::from_table(first_poll_ms, gap_ms);
            prop_assert!(fixed.next_after(elapsed_ms) > elapsed_ms || elapsed_ms == i64::MAX);
        }
    }
}
