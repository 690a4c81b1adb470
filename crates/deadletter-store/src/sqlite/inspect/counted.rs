//! What the counts should be: the same numbers as the store's, taken from every row.

use crate::sqlite::{columns::Columns, failure::Outcome};
use deadletter_core::{
    Task,
    counts::{Deltas, Dim, Place, Standing},
};
use rusqlite::Connection;
use std::collections::BTreeMap;

/// `standing` as it is and as the rows have it.
#[derive(Debug, Default)]
pub(super) struct Counted {
    rows: BTreeMap<Standing, i64>,
}

impl Counted {
    /// One more task stands.
    pub(super) fn take(&mut self, task: &Task) {
        for (standing, n) in Deltas::of_insert(task).standing {
            if !is_total(standing.place) {
                *self.rows.entry(standing).or_default() += n;
            }
        }
    }

    /// Where the store's counts differ: what is counted, and how many rows there are.
    pub(super) fn differences(mut self, conn: &Connection) -> Outcome<Vec<(String, i64, i64)>> {
        let mut statement =
            conn.prepare("SELECT place, cause, class, dim, value, n FROM standing WHERE n <> 0")?;
        let stored = statement.query_map([], |row| {
            let columns = &mut Columns::of(row);
            let standing = Standing {
                place: columns.text()?,
                cause: columns.word_opt()?,
                class: columns.word_opt()?,
                dim: columns.text()?,
                value: columns.take()?,
            };
            Ok((standing, columns.take::<i64>()?))
        })?;
        let mut differences = Vec::new();
        for row in stored {
            let (standing, n) = row?;
            if is_total(standing.place) {
                continue;
            }
            let found = self.rows.remove(&standing).unwrap_or(0);
            if found != n {
                differences.push((name(&standing), n, found));
            }
        }
        differences.extend(self.rows.iter().map(|(standing, n)| (name(standing), 0, *n)));
        Ok(differences)
    }
}

/// These two have no rows of their own.
const fn is_total(place: Place) -> bool {
    matches!(place, Place::Accepted | Place::Purged)
}

fn name(standing: &Standing) -> String {
    let mut name = standing.place.label().to_owned();
    if let Some(cause) = &standing.cause {
        name.push_str(&format!(" cause:{cause}"));
    }
    if standing.dim != Dim::All {
        name.push_str(&format!(" {}:{}", standing.dim.label(), standing.value));
    }
    name
}
