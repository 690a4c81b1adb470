//! How long a task waits before its next submit: after a failure, and after a refusal for capacity.
//!
//! Both waits are random, so that tasks which failed together do not come back together. The
//! random number is an argument, drawn by the caller.

use serde::{Deserialize, Serialize};

/// The longest wait that an upstream can ask for with a `Retry-After`.
///
/// The longest one documented for this family of services is 10 minutes; an hour is generous, and
/// keeps a hostile or broken header from parking a task for years
/// ([`Failure::with_retry_after_ms`](crate::Failure::with_retry_after_ms) sees to it).
pub const RETRY_AFTER_MAX_MS: i64 = 3_600_000;

/// Exponential back-off with full jitter, for retries after a failure.
///
/// The formula is `random_between(0, min(cap, base * 2 ^ attempt))`, from "Exponential Backoff And
/// Jitter" (Marc Brooker, AWS Architecture Blog, 2015), which found full jitter to need the fewest
/// calls of the variants compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Backoff {
    /// The longest wait after the first failure, in milliseconds.
    pub base_ms: i64,
    /// The longest wait after any failure, in milliseconds, unless a minimum exceeds it.
    pub cap_ms: i64,
}

impl Default for Backoff {
    /// 1 s, doubling up to 60 s: what the vendor's guides advise.
    fn default() -> Self {
        Self { base_ms: 1_000, cap_ms: 60_000 }
    }
}

impl Backoff {
    /// Milliseconds to wait after the `failure`-th failure (counted from 1).
    ///
    /// `floor_ms` is the minimum that belongs to the failure's cause. The jitter lies above it, so
    /// that a minimum does not bring all tasks back at one instant. `random` is in `[0, 1)`. The
    /// result lies in `floor_ms ..= max(cap_ms, floor_ms)`; with a floor of 0 it is the formula
    /// of the article.
    #[must_use]
    pub fn full_jitter(&self, failure: u32, floor_ms: i64, random: f64) -> i64 {
        let floor_ms = floor_ms.max(0);
        let spread_ms = doubled(self.base_ms, failure, self.cap_ms);
        let top_ms = floor_ms.saturating_add(spread_ms).min(self.cap_ms.max(floor_ms));
        between(floor_ms, top_ms, random)
    }
}

/// The wait after a refusal for capacity: no failure, the upstream just has no free thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct CapacitySnooze {
    /// The shortest wait after the first refusal, in milliseconds.
    pub base_ms: i64,
    /// The longest wait, in milliseconds, unless the upstream asks for more.
    pub cap_ms: i64,
}

impl Default for CapacitySnooze {
    /// 5 s, as documented for `ERROR_NO_SLOT_AVAILABLE`, doubling up to 60 s: the time of a
    /// typical solve, after which some thread has become free.
    fn default() -> Self {
        Self { base_ms: 5_000, cap_ms: 60_000 }
    }
}

impl CapacitySnooze {
    /// Milliseconds to wait after the `refusal`-th refusal in a row (counted from 1).
    ///
    /// Unlike a retry this never waits less than `base_ms`: a thread is held for tens of seconds,
    /// so asking at once is useless. The wait lies between `base_ms` doubled per refusal and one
    /// and a half times that. `floor_ms` is the cause's own minimum; `retry_after_ms` is what the
    /// upstream asked for, honoured up to [`RETRY_AFTER_MAX_MS`]. `random` is in `[0, 1)`.
    #[must_use]
    pub fn wait_ms(
        &self,
        refusal: u32,
        floor_ms: i64,
        retry_after_ms: Option<i64>,
        random: f64,
    ) -> i64 {
        let asked_ms = retry_after_ms.unwrap_or(0).min(RETRY_AFTER_MAX_MS);
        let floor_ms = floor_ms.max(asked_ms).max(0);
        let own_ms = doubled(self.base_ms, refusal, self.cap_ms);
        // Two thirds of the cap leave room for the jitter under it.
        let low_ms = own_ms.min(self.cap_ms.max(0).saturating_mul(2) / 3).max(floor_ms);
        let top_ms = low_ms.saturating_add(own_ms / 2).min(self.cap_ms.max(low_ms));
        between(low_ms, top_ms, random)
    }
}

/// `base_ms` doubled for each count after the first, at most `cap_ms`, never negative.
fn doubled(base_ms: i64, count: u32, cap_ms: i64) -> i64 {
    let doublings = count.saturating_sub(1);
    let factor = 1_i64.checked_shl(doublings).filter(|f| *f > 0).unwrap_or(i64::MAX);
    base_ms.max(0).saturating_mul(factor).min(cap_ms.max(0))
}

/// The point at the share `random` of the way from `low_ms` to `top_ms`.
fn between(low_ms: i64, top_ms: i64, random: f64) -> i64 {
    // `clamp` keeps NaN, and NaN casts to 0: the low end.
    let share = random.clamp(0.0, 1.0);
    let width_ms = top_ms.saturating_sub(low_ms).max(0);
    low_ms.saturating_add(((width_ms as f64) * share) as i64).min(top_ms.max(low_ms))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_longest_wait_doubles_from_one_second_to_sixty() {
        let rules = Backoff::default();
        let longest: Vec<i64> = (1..=8).map(|n| rules.full_jitter(n, 0, 1.0)).collect();
        assert_eq!(longest, [1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 60_000, 60_000]);
        assert_eq!(rules.full_jitter(3, 0, 0.5), 2_000);
    }

    #[test]
    fn a_minimum_is_kept_and_still_jittered() {
        let rules = Backoff::default();
        assert_eq!(rules.full_jitter(1, 10_000, 0.0), 10_000);
        assert_eq!(rules.full_jitter(1, 10_000, 0.5), 10_500);
        assert_eq!(rules.full_jitter(9, 90_000, 0.9), 90_000);
    }

    #[test]
    fn refusals_wait_five_seconds_and_longer_each_time() {
        let rules = CapacitySnooze::default();
        let shortest: Vec<i64> = (1..=5).map(|n| rules.wait_ms(n, 0, None, 0.0)).collect();
        assert_eq!(shortest, [5_000, 10_000, 20_000, 40_000, 40_000]);
        assert_eq!(rules.wait_ms(9, 0, None, 1.0), 60_000);
    }

    #[test]
    fn a_retry_after_is_honoured_up_to_an_hour() {
        let rules = CapacitySnooze::default();
        assert_eq!(rules.wait_ms(1, 0, Some(30_000), 0.0), 30_000);
        assert_eq!(rules.wait_ms(1, 0, Some(30_000), 1.0), 32_500);
        assert_eq!(rules.wait_ms(1, 0, Some(i64::MAX), 0.5), RETRY_AFTER_MAX_MS);
        assert_eq!(rules.wait_ms(1, 10_000, None, 0.0), 10_000);
    }

    #[test]
    fn a_number_that_is_none_gives_the_shortest_wait() {
        assert_eq!(Backoff::default().full_jitter(5, 700, f64::NAN), 700);
    }

    proptest! {
        #[test]
        fn a_wait_lies_between_its_minimum_and_the_cap(
            base_ms in 0_i64..100_000, cap_ms in 0_i64..1_000_000, failure: u32,
            floor_ms in 0_i64..2_000_000, random in 0.0..1.0_f64,
        ) {
            let wait_ms = Backoff { base_ms, cap_ms }.full_jitter(failure, floor_ms, random);
            prop_assert!((floor_ms..=cap_ms.max(floor_ms)).contains(&wait_ms));
        }

        #[test]
        fn a_snooze_lies_between_its_minimum_and_the_cap(
            refusal: u32, floor_ms in 0_i64..100_000,
            retry_after_ms in proptest::option::of(0_i64..100_000), random in 0.0..1.0_f64,
        ) {
            let rules = CapacitySnooze::default();
            let least_ms = floor_ms.max(retry_after_ms.unwrap_or(0)).max(rules.base_ms);
            let wait_ms = rules.wait_ms(refusal, floor_ms, retry_after_ms, random);
            prop_assert!((least_ms..=rules.cap_ms.max(least_ms)).contains(&wait_ms));
        }

        #[test]
        fn nothing_overflows(base_ms: i64, cap_ms: i64, n: u32, floor_ms: i64, random: f64) {
            let retry = Backoff { base_ms, cap_ms };
            prop_assert!(retry.full_jitter(n, floor_ms, random) >= 0);
            let snooze = CapacitySnooze { base_ms, cap_ms };
            prop_assert!(snooze.wait_ms(n, floor_ms, Some(floor_ms), random) >= 0);
        }
    }
}
