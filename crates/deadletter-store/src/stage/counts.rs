//! Deltas of one call, added up, so that each row of the counts is written once.

use deadletter_core::counts::{Deltas, Standing, Tally};
use std::collections::BTreeMap;

/// What a call adds to the counts, in the order of the rows: whoever locks them goes by it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    standing: BTreeMap<Standing, i64>,
    tallies: BTreeMap<Tally, i64>,
}

impl Counts {
    pub(super) fn add(&mut self, deltas: Deltas) {
        for (row, n) in deltas.standing {
            *self.standing.entry(row).or_default() += n;
        }
        for (row, n) in deltas.tallies {
            *self.tallies.entry(row).or_default() += n;
        }
    }

    /// The rows of `standing` that change.
    pub(crate) fn standing(&self) -> impl Iterator<Item = (&Standing, i64)> {
        self.standing.iter().map(|(row, n)| (row, *n)).filter(|(_, n)| *n != 0)
    }

    /// The rows of `tallies` that change.
    pub(crate) fn tallies(&self) -> impl Iterator<Item = (&Tally, i64)> {
        self.tallies.iter().map(|(row, n)| (row, *n)).filter(|(_, n)| *n != 0)
    }
}
