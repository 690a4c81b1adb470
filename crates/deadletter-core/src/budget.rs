//! The retry budget of an account: a token bucket that keeps retries from multiplying an outage.
//!
//! Every first attempt earns a tenth of a retry, and time earns ten a second, so that a quiet
//! account can retry too. Both flow into one bucket of bounded size. The idea and the floor are
//! those of Finagle's `RetryBudget`.
//!
//! Workers that share an account share its budget: each has a bucket of its own, which fills by its
//! own first attempts and by its part of the floor. What all of them grant is what one would,
//! but for the bucket that each begins with.

use crate::time::UnixMs;
use serde::{Deserialize, Serialize};

/// One retry in the bucket's unit: millionths, in which a part of the floor is a whole number.
const TOKEN: i64 = 1_000_000;
/// Millionths per thousandth: `floor_per_s` thousandths come in each millisecond, and the share is
/// in thousandths.
const THOUSANDTH: i64 = 1_000;

/// How a retry budget fills, and how much it holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct BudgetRules {
    /// Thousandths of a retry that one first attempt earns.
    pub share_permille: u32,
    /// Retries that each second earns.
    pub floor_per_s: u32,
    /// Retries that the bucket holds at most: the largest burst.
    pub capacity: u32,
    /// Workers among whom floor and capacity are divided; each holds at least one retry.
    pub workers: u32,
}

impl Default for BudgetRules {
    /// 10 % of first attempts, at least 10 a second (the vendor's guides); a bucket of ten
    /// seconds of that floor, so that a short hiccup of a busy account is retried in full.
    fn default() -> Self {
        Self { share_permille: 100, floor_per_s: 10, capacity: 100, workers: 1 }
    }
}

impl BudgetRules {
    fn full(&self) -> i64 {
        let capacity = i64::from(self.capacity) * TOKEN;
        (capacity / self.workers()).max(capacity.min(TOKEN))
    }

    /// What the floor has paid in after so many milliseconds.
    fn floor(&self, elapsed_ms: i64) -> i64 {
        elapsed_ms.saturating_mul(i64::from(self.floor_per_s) * THOUSANDTH) / self.workers()
    }

    fn workers(&self) -> i64 {
        i64::from(self.workers.max(1))
    }
}

/// The state of a retry budget. Whoever changed it last replaces what is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Budget {
    /// What the bucket held at `filled_at`, in millionths of a retry.
    tokens_micro: i64,
    /// Up to when the floor has been paid in.
    filled_at: UnixMs,
}

impl Budget {
    /// A full bucket.
    #[must_use]
    pub fn full(rules: &BudgetRules, now: UnixMs) -> Self {
        Self { tokens_micro: rules.full(), filled_at: now }
    }

    /// Pays in for `first_attempts` submits that were no retries.
    pub fn earn(&mut self, rules: &BudgetRules, first_attempts: u32, now: UnixMs) {
        self.fill(rules, now);
        let earned = i64::from(first_attempts) * i64::from(rules.share_permille) * THOUSANDTH;
        // What runs over the brim is dropped when the level is next read.
        self.tokens_micro = self.tokens_micro.saturating_add(earned);
    }

    /// Takes up to `wanted` retries; the result is how many are granted.
    pub fn take(&mut self, rules: &BudgetRules, wanted: u32, now: UnixMs) -> u32 {
        self.fill(rules, now);
        let granted = wanted.min(whole(self.tokens_micro));
        self.tokens_micro -= i64::from(granted) * TOKEN;
        granted
    }

    /// Retries that could be taken at `now`.
    #[must_use]
    pub fn available(&self, rules: &BudgetRules, now: UnixMs) -> u32 {
        whole(self.level(rules, now))
    }

    /// Milliseconds until a retry can be taken without further first attempts; 0 when one can be
    /// taken now, nothing when none ever can (no floor, or a bucket that holds less than one).
    #[must_use]
    pub fn wait_ms(&self, rules: &BudgetRules, now: UnixMs) -> Option<i64> {
        let lacking = TOKEN - self.level(rules, now);
        if lacking <= 0 {
            return Some(0);
        }
        if rules.floor_per_s == 0 || rules.capacity == 0 {
            return None;
        }
        let per_ms = i64::from(rules.floor_per_s) * THOUSANDTH;
        Some((lacking.saturating_mul(rules.workers()) + per_ms - 1) / per_ms)
    }

    fn fill(&mut self, rules: &BudgetRules, now: UnixMs) {
        self.tokens_micro = self.level(rules, now);
        // A clock that went back pays nothing twice: the later instant stays.
        self.filled_at = self.filled_at.max(now);
    }

    fn level(&self, rules: &BudgetRules, now: UnixMs) -> i64 {
        let floor = rules.floor(now.since(self.filled_at).max(0));
        // A bucket may come from rules with a larger capacity.
        self.tokens_micro.max(0).saturating_add(floor).min(rules.full())
    }
}

fn whole(tokens_micro: i64) -> u32 {
    u32::try_from(tokens_micro.max(0) / TOKEN).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const START: UnixMs = UnixMs(1_000_000);

    fn drained() -> Budget {
        let rules = BudgetRules::default();
        let mut budget = Budget::full(&rules, START);
        assert_eq!(budget.take(&rules, u32::MAX, START), rules.capacity);
        budget
    }

    #[test]
    fn ten_first_attempts_earn_one_retry() {
        let (rules, mut budget) = (BudgetRules::default(), drained());
        budget.earn(&rules, 9, START);
        assert_eq!(budget.take(&rules, 1, START), 0);
        budget.earn(&rules, 1, START);
        assert_eq!(budget.take(&rules, 5, START), 1);
    }

    #[test]
    fn a_second_earns_ten_retries_and_the_bucket_has_a_brim() {
        let (rules, budget) = (BudgetRules::default(), drained());
        assert_eq!(budget.available(&rules, START.plus(1_000)), 10);
        assert_eq!(budget.available(&rules, START.plus(86_400_000)), rules.capacity);
    }

    #[test]
    fn what_three_workers_grant_is_what_one_would() {
        let rules = BudgetRules { workers: 3, ..BudgetRules::default() };
        let mut buckets = [Budget::full(&rules, START); 3];
        let mut granted =
            |now| -> u32 { buckets.iter_mut().map(|b| b.take(&rules, 99, now)).sum() };
        assert_eq!(granted(START), 99, "a third of a hundred each");
        let floor: u32 = (1..=30_000).map(|ms| granted(START.plus(ms))).sum();
        assert_eq!(floor, 300, "ten a second");
        let crowd = BudgetRules { workers: 1_000, ..rules };
        assert_eq!(Budget::full(&crowd, START).available(&crowd, START), 1, "nobody has none");
    }

    #[test]
    fn the_wait_for_a_retry_is_known() {
        let (rules, budget) = (BudgetRules::default(), drained());
        assert_eq!(budget.wait_ms(&rules, START), Some(100));
        assert_eq!(budget.wait_ms(&rules, START.plus(99)), Some(1));
        assert_eq!(budget.wait_ms(&rules, START.plus(100)), Some(0));
        let shared = BudgetRules { workers: 3, ..rules };
        assert_eq!(budget.wait_ms(&shared, START), Some(300));
        assert_eq!(budget.available(&shared, START.plus(299)), 0);
        assert_eq!(budget.available(&shared, START.plus(300)), 1);
        let slow = BudgetRules { floor_per_s: 3, ..rules };
        assert_eq!(budget.wait_ms(&slow, START), Some(334));
        let no_floor = BudgetRules { floor_per_s: 0, ..rules };
        assert_eq!(budget.wait_ms(&no_floor, START), None);
    }

    #[test]
    fn a_clock_that_goes_back_and_forth_pays_once() {
        let (rules, mut budget) = (BudgetRules::default(), drained());
        assert_eq!(budget.take(&rules, 100, START.plus(1_000)), 10);
        assert_eq!(budget.take(&rules, 100, START), 0);
        assert_eq!(budget.take(&rules, 100, START.plus(1_000)), 0);
    }

    #[test]
    fn it_survives_storage() {
        let budget = drained();
        let stored = serde_json::to_string(&budget).unwrap();
        assert_eq!(serde_json::from_str::<Budget>(&stored).unwrap(), budget);
    }

    #[derive(Clone, Debug)]
    enum Step {
        Earn(u32),
        Take(u32),
        Wait(i64),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            (0_u32..500).prop_map(Step::Earn),
            (0_u32..200).prop_map(Step::Take),
            (-5_000_i64..5_000).prop_map(Step::Wait),
        ]
    }

    proptest! {
        #[test]
        fn never_more_is_granted_than_earned_plus_floor_plus_capacity(
            share_permille in 0_u32..1_000, floor_per_s in 0_u32..50, capacity in 0_u32..200,
            workers in 1_u32..9,
            steps in proptest::collection::vec(step(), 0..100),
        ) {
            let rules = BudgetRules { share_permille, floor_per_s, capacity, workers };
            let mut budget = Budget::full(&rules, START);
            let (mut now, mut latest, mut earned, mut granted) = (START, START, 0_i64, 0_i64);
            for step in steps {
                match step {
                    Step::Earn(n) => {
                        budget.earn(&rules, n, now);
                        earned += i64::from(n) * i64::from(share_permille) * THOUSANDTH;
                    }
                    Step::Take(n) => {
                        let available = budget.available(&rules, now);
                        let got = budget.take(&rules, n, now);
                        prop_assert_eq!(got, n.min(available));
                        granted += i64::from(got) * TOKEN;
                    }
                    Step::Wait(ms) => {
                        now = now.plus(ms);
                        latest = latest.max(now);
                    }
                }
                let floor = rules.floor(latest.since(START));
                prop_assert!(granted <= earned + floor + rules.full());
                prop_assert!(budget.available(&rules, now) <= capacity);
            }
        }
    }
}
