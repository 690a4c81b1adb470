//! How lives end: drawn from a seed, so that a run can be repeated as far as time allows.

use super::beside::Side;
use super::life::Fate;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use std::time::Duration;

/// The points that an attempt passes, in their order.
const ON_THE_WAY: [&str; 4] = ["after_intent", "after_wire", "after_id", "after_answer"];
/// The point that only a redrive passes.
const IN_REDRIVE: &str = "in_redrive";
/// A life dies at one of this many first passages of its point.
const PASSAGES: u32 = 5;
/// A life that does not come by its point is killed after this.
const POINT_AT_LATEST: Duration = Duration::from_millis(1_000);
/// Half of the instants fall into the start of a life, where it opens the store and takes over.
const START_MS: std::ops::Range<u64> = 0..80;
/// The rest into its work.
const WORK_MS: std::ops::Range<u64> = 80..900;

/// A side job is soon done: most of these instants fall into it.
const SIDE_MS: std::ops::Range<u64> = 0..250;

/// A source of fates.
#[derive(Debug)]
pub(crate) struct Chance(StdRng);

impl Chance {
    pub(crate) fn new(seed: u64) -> Self {
        Self(StdRng::seed_from_u64(seed))
    }

    /// A seed for what has chances of its own.
    pub(crate) fn seed(&mut self) -> u64 {
        // The simulator's scenario file keeps seeds as TOML integers.
        self.0.random_range(0..1 << 31)
    }

    /// True once in `n`.
    pub(crate) fn once_in(&mut self, n: u32) -> bool {
        self.0.random_range(0..n) == 0
    }

    /// What an operator does beside the next life; none: a second process works too.
    pub(crate) fn side(&mut self) -> Option<Side> {
        if self.once_in(4) { None } else { Side::ALL.choose(&mut self.0).copied() }
    }

    /// How a side job ends: two of three die.
    pub(crate) fn side_fate(&mut self) -> Fate {
        if self.once_in(3) {
            return Fate::Finish;
        }
        Fate::Instant(Duration::from_millis(self.0.random_range(SIDE_MS)))
    }

    /// How the next life ends: half at an instant, half at a point.
    pub(crate) fn fate(&mut self, is_redrive: bool) -> Fate {
        if self.once_in(2) {
            let range = if self.once_in(4) { START_MS } else { WORK_MS };
            return Fate::Instant(Duration::from_millis(self.0.random_range(range)));
        }
        // The first life of a redrive sees to most of it: later ones seldom come by its point.
        let name = if is_redrive && !self.once_in(3) {
            IN_REDRIVE
        } else {
            ON_THE_WAY.choose(&mut self.0).copied().unwrap_or(IN_REDRIVE)
        };
        let nth = self.0.random_range(1..=PASSAGES);
        Fate::Point { name, nth, at_latest: POINT_AT_LATEST }
    }
}
