//! What is counted of tasks: `standing` and `tallies`, added up by the script.

use crate::{
    redis::{apply::Apply, keys::Keys},
    stage::Counts,
};
use deadletter_core::{
    Cause, Class,
    counts::{Standing, Tally},
};

/// The field of a row of `standing`: place, cause, class, and the value, which may hold anything.
pub(in crate::redis) fn standing_field(row: &Standing) -> String {
    let class = row.class.map_or("", Class::label);
    format!("{}\0{}\0{class}\0{}", row.place.label(), cause(row.cause.as_ref()), row.value)
}

/// The field of a row of `tallies`: what happened, its cause, and the value, which may hold anything.
pub(in crate::redis) fn tally_field(row: &Tally) -> String {
    format!("{}\0{}\0{}", row.tallied.label(), cause(row.cause.as_ref()), row.value)
}

fn cause(cause: Option<&Cause>) -> &str {
    cause.map_or("", Cause::as_str)
}

/// Adds to the counts.
pub(super) fn add(counts: &Counts, keys: &Keys, apply: &mut Apply) {
    for (row, n) in counts.standing() {
        apply.count(keys.standing(row.dim), &standing_field(row), n);
    }
    for (row, n) in counts.tallies() {
        apply.add(keys.minutes(row.dim), row.minute.0, row.minute.0);
        apply.count(keys.tallies(row.dim, row.minute), &tally_field(row), n);
    }
}
