//! Standing counts and tallies: the core's deltas, added up.

use crate::Totals;
use deadletter_core::{
    StateKind, UnixMs,
    counts::{Deltas, Dim, Place, Standing, Tally},
};
use std::{cmp::Reverse, collections::BTreeMap};

/// All counts, by dimension first, because every question names one. A count of 0 is no row.
#[derive(Debug, Default)]
pub(super) struct Counts {
    standing: BTreeMap<Dim, BTreeMap<Standing, i64>>,
    tallies: BTreeMap<Dim, BTreeMap<Tally, i64>>,
}

impl Counts {
    pub(super) fn add(&mut self, deltas: Deltas) {
        for (row, n) in deltas.standing {
            add_up(self.standing.entry(row.dim).or_default(), row, n);
        }
        for (row, n) in deltas.tallies {
            add_up(self.tallies.entry(row.dim).or_default(), row, n);
        }
    }

    pub(super) fn census(
        &self,
        states: &[StateKind],
        dim: Dim,
        limit: u32,
    ) -> Vec<(Standing, i64)> {
        let asked = if states.is_empty() { StateKind::ALL } else { states };
        let places: Vec<Place> = asked.iter().map(|state| Place::from(*state)).collect();
        let mut rows: Vec<_> = self
            .standing
            .get(&dim)
            .into_iter()
            .flatten()
            .filter(|(row, _)| places.contains(&row.place))
            .map(|(row, n)| (row.clone(), *n))
            .collect();
        rows.sort_by_key(|(_, n)| Reverse(*n));
        rows.truncate(limit as usize);
        rows
    }

    pub(super) fn tallies(&self, dim: Dim, since: UnixMs, limit: u32) -> Vec<(Tally, i64)> {
        let rows = self.tallies.get(&dim).into_iter().flatten();
        rows.filter(|(row, _)| row.minute >= since)
            .take(limit as usize)
            .map(|(row, n)| (row.clone(), *n))
            .collect()
    }

    /// Drops tallies of minutes before `before`, at most so many of each dimension.
    pub(super) fn forget(&mut self, before: UnixMs, limit: usize) -> u64 {
        let mut forgotten = 0;
        for tallies in self.tallies.values_mut() {
            let old = tallies.keys().take_while(|row| row.minute < before).take(limit);
            for row in old.cloned().collect::<Vec<_>>() {
                tallies.remove(&row);
                forgotten += 1;
            }
        }
        forgotten
    }

    pub(super) fn totals(&self) -> Totals {
        let rows = self.standing.get(&Dim::All).into_iter().flatten();
        rows.map(|(row, n)| (row.place, *n)).collect()
    }
}

fn add_up<K: Ord>(counts: &mut BTreeMap<K, i64>, row: K, n: i64) {
    let sum = counts.get(&row).copied().unwrap_or(0) + n;
    if sum == 0 {
        counts.remove(&row);
    } else {
        counts.insert(row, sum);
    }
}
