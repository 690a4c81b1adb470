//! The concurrency window of an account: how many of its threads may be used just now.
//!
//! Additive increase, multiplicative decrease (Chiu and Jain 1989), as in TCP's congestion
//! avoidance: the upstream's free threads are not told to us, only its refusals are.

use crate::time::UnixMs;
use serde::{Deserialize, Serialize};

/// How the window reacts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct WindowRules {
    /// After the window has shrunk, further refusals change nothing for this long, in
    /// milliseconds: they answer submits that were sent before the shrinking could be felt.
    pub cool_down_ms: i64,
}

impl Default for WindowRules {
    /// 5 s: the shortest capacity snooze, so that what was refused comes back to a window that
    /// can shrink again.
    fn default() -> Self {
        Self { cool_down_ms: 5_000 }
    }
}

/// The state of a concurrency window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Window {
    /// The account's threads: the window's upper end.
    threads: u32,
    limit: u32,
    /// Refusals before this instant change nothing.
    #[serde(default)]
    cooled_at: Option<UnixMs>,
}

impl Window {
    /// A window over all `threads`. An account without a thread counts as one with one: stopping
    /// an account is the account's state, not a window of nothing that could never widen again.
    #[must_use]
    pub fn new(threads: u32) -> Self {
        let threads = threads.max(1);
        Self { threads, limit: threads, cooled_at: None }
    }

    /// Open attempts allowed now, in `1 ..= threads`.
    #[must_use]
    pub const fn limit(&self) -> u32 {
        self.limit
    }

    /// The account's threads.
    #[must_use]
    pub const fn threads(&self) -> u32 {
        self.threads
    }

    /// Widens the window by one for each of `n` accepted submits: doubled in the time that a job
    /// takes. A refusal costs nothing but its wait, while a thread that stands idle is paid for.
    pub fn accepted(&mut self, n: u32) {
        self.limit = self.limit.saturating_add(n).min(self.threads);
    }

    /// Halves the window after a refusal for capacity, at most once per cool-down.
    pub fn refused(&mut self, rules: &WindowRules, now: UnixMs) {
        if self.cooled_at.is_some_and(|at| now < at) {
            return;
        }
        self.limit = (self.limit / 2).max(1);
        self.cooled_at = Some(now.plus(rules.cool_down_ms.max(0)));
    }

    /// Takes over a new number of threads. A window that stood at its upper end stays there; a
    /// narrower one was made so by refusals, and widens by successes only.
    pub fn set_threads(&mut self, threads: u32) {
        let threads = threads.max(1);
        let was_full = self.limit >= self.threads;
        self.limit = if was_full { threads } else { self.limit.min(threads) };
        self.threads = threads;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const START: UnixMs = UnixMs(1_000_000);

    #[test]
    fn it_starts_at_the_threads_and_halves_once_per_cool_down() {
        let rules = WindowRules::default();
        let mut window = Window::new(20);
        assert_eq!(window.limit(), 20);
        window.refused(&rules, START);
        window.refused(&rules, START.plus(4_999));
        assert_eq!(window.limit(), 10);
        window.refused(&rules, START.plus(5_000));
        assert_eq!(window.limit(), 5);
    }

    #[test]
    fn each_success_widens_it_by_one_up_to_the_threads() {
        let rules = WindowRules::default();
        let mut window = Window::new(20);
        window.accepted(1_000);
        assert_eq!(window, Window::new(20), "successes at the upper end are not saved up");
        window.refused(&rules, START);
        window.accepted(1);
        assert_eq!(window.limit(), 11);
        window.refused(&rules, START.plus(5_000));
        assert_eq!(window.limit(), 5);
        window.accepted(u32::MAX);
        assert_eq!(window.limit(), 20);
    }

    #[test]
    fn threads_that_change_carry_a_full_window_along_and_cap_a_narrow_one() {
        let mut window = Window::new(10);
        window.set_threads(30);
        assert_eq!(window.limit(), 30);
        window.refused(&WindowRules::default(), START);
        window.set_threads(50);
        assert_eq!(window.limit(), 15);
        window.set_threads(8);
        assert_eq!(window.limit(), 8);
        window.set_threads(0);
        assert_eq!((window.limit(), window.threads()), (1, 1));
    }

    #[test]
    fn it_survives_storage_and_older_documents() {
        let mut window = Window::new(9);
        window.refused(&WindowRules::default(), START);
        window.accepted(3);
        let stored = serde_json::to_string(&window).unwrap();
        assert_eq!(serde_json::from_str::<Window>(&stored).unwrap(), window);
        let old: Window = serde_json::from_str(r#"{"threads":9,"limit":4}"#).unwrap();
        assert_eq!(old.limit(), 4);
    }

    #[derive(Clone, Debug)]
    enum Step {
        Accepted(u32),
        Refused(i64),
        Threads(u32),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            (0_u32..100).prop_map(Step::Accepted),
            (0_i64..10_000).prop_map(Step::Refused),
            (0_u32..100).prop_map(Step::Threads),
        ]
    }

    proptest! {
        #[test]
        fn the_limit_stays_within_one_and_the_threads(
            threads in 0_u32..100, steps in proptest::collection::vec(step(), 0..100),
        ) {
            let rules = WindowRules::default();
            let (mut window, mut now) = (Window::new(threads), START);
            let mut threads = threads.max(1);
            for step in steps {
                let before = window.limit();
                match step {
                    Step::Accepted(n) => {
                        window.accepted(n);
                        prop_assert!(window.limit() >= before);
                    }
                    Step::Refused(ms) => {
                        now = now.plus(ms);
                        window.refused(&rules, now);
                        prop_assert!(window.limit() >= before / 2 && window.limit() <= before);
                    }
                    Step::Threads(n) => {
                        window.set_threads(n);
                        threads = n.max(1);
                    }
                }
                prop_assert!((1..=threads).contains(&window.limit()));
            }
        }

        #[test]
        fn successes_count_the_same_in_one_batch_or_many(
            batches in proptest::collection::vec(0_u32..50, 0..20),
        ) {
            let mut one = Window::new(64);
            one.refused(&WindowRules::default(), START);
            let mut many = one;
            one.accepted(batches.iter().sum());
            batches.iter().for_each(|n| many.accepted(*n));
            prop_assert_eq!(one, many);
        }
    }
}
