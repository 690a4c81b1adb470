//! What fails where: dead and buried tasks by site key and cause.

use super::ROWS;
use crate::{
    app::App,
    fault::Result,
    render::{self, Heat},
    shelf::{Shelf, fault},
};
use deadletter::core::{
    StateKind,
    counts::{Dim, Standing},
};
use serde_json::json;
use std::{cmp::Reverse, collections::BTreeMap};

/// Site keys with a row of their own; the rest is added up.
const SITEKEYS: usize = 12;
/// Causes with a column of their own.
const CAUSES: usize = 6;
const DEAD: [StateKind; 2] = [StateKind::Dead, StateKind::Buried];

/// Shows it.
pub(super) async fn show(app: &App, shelf: &Shelf) -> Result<()> {
    let by_sitekey = shelf.store.census(&DEAD, Dim::Sitekey, ROWS).await.map_err(fault)?;
    let all = shelf.store.census(&DEAD, Dim::All, ROWS).await.map_err(fault)?;
    let counts = Counts::of(by_sitekey, all);
    if !app.out.is_table() {
        for ((sitekey, cause), n) in &counts.cells {
            app.out.json(&json!({
                "by": "sitekey_cause", "value": sitekey, "cause": cause, "count": n,
            }))?;
        }
        for (cause, n) in counts.rest(&counts.cells) {
            // Tasks without a site key.
            app.out.json(&json!({
                "by": "sitekey_cause", "value": null, "cause": cause, "count": n,
            }))?;
        }
        return Ok(());
    }
    // With one site key and one cause it repeats what the bars say.
    let heat = counts.heat();
    if heat.rows.len() * heat.columns.len() < 2 {
        return Ok(());
    }
    let picture = render::heat(&heat, app.out.width, app.out.glyphs);
    app.out.picture(&format!("\n{picture}"))
}

/// How many died, by site key and cause, and in all by cause.
#[derive(Debug, Default)]
struct Counts {
    cells: BTreeMap<(String, String), i64>,
    all: BTreeMap<String, i64>,
}

impl Counts {
    fn of(by_sitekey: Vec<(Standing, i64)>, all: Vec<(Standing, i64)>) -> Self {
        let mut counts = Self::default();
        for (standing, n) in by_sitekey {
            let cause = cause_of(&standing);
            *counts.cells.entry((standing.value, cause)).or_default() += n;
        }
        for (standing, n) in all {
            *counts.all.entry(cause_of(&standing)).or_default() += n;
        }
        counts
    }

    /// What is in none of these cells, by cause.
    fn rest(&self, cells: &BTreeMap<(String, String), i64>) -> BTreeMap<String, i64> {
        let mut rest = self.all.clone();
        for ((_, cause), n) in cells {
            *rest.entry(cause.clone()).or_default() -= n;
        }
        rest.retain(|_, n| *n > 0);
        rest
    }

    fn heat(&self) -> Heat {
        let columns = largest(self.all.clone(), CAUSES);
        let mut by_sitekey: BTreeMap<String, i64> = BTreeMap::new();
        for ((sitekey, _), n) in &self.cells {
            *by_sitekey.entry(sitekey.clone()).or_default() += n;
        }
        let sitekeys = largest(by_sitekey, SITEKEYS);
        let mut shown = self.cells.clone();
        shown.retain(|(sitekey, _), _| sitekeys.contains(sitekey));
        let row = |name: &str, of: &dyn Fn(&str) -> i64, all: i64| {
            let cells: Vec<i64> = columns.iter().map(|cause| of(cause)).collect();
            let others = all - cells.iter().sum::<i64>();
            (name.to_owned(), cells, others)
        };
        let mut rows = Vec::new();
        for sitekey in &sitekeys {
            let of = |cause: &str| {
                shown.get(&(sitekey.clone(), cause.to_owned())).copied().unwrap_or_default()
            };
            let all = shown.iter().filter(|((it, _), _)| it == sitekey).map(|(_, n)| n).sum();
            rows.push(row(sitekey, &of, all));
        }
        let rest = self.rest(&shown);
        if !rest.is_empty() {
            let of = |cause: &str| rest.get(cause).copied().unwrap_or_default();
            rows.push(row("all others", &of, rest.values().sum()));
        }
        Heat { title: "dead by site key and cause".to_owned(), columns, rows }
    }
}

fn cause_of(standing: &Standing) -> String {
    standing.cause.as_ref().map_or("none".to_owned(), ToString::to_string)
}

/// The names with the largest counts, largest first.
fn largest(counts: BTreeMap<String, i64>, most: usize) -> Vec<String> {
    let mut counts: Vec<_> = counts.into_iter().filter(|(_, n)| *n > 0).collect();
    counts.sort_by_key(|(_, n)| Reverse(*n));
    counts.into_iter().take(most).map(|(name, _)| name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use deadletter::core::{Cause, counts::Place};

    fn standing(dim: Dim, value: &str, cause: &str, n: i64) -> (Standing, i64) {
        let (value, cause) = (value.to_owned(), Some(Cause::new(cause)));
        (Standing { place: Place::Dead, cause, class: None, dim, value }, n)
    }

    #[test]
    fn every_dead_task_is_in_one_cell_whatever_is_shown() {
        let mut by_sitekey = Vec::new();
        let mut all: BTreeMap<String, i64> = BTreeMap::new();
        for key in 0..30 {
            for cause in 0..9 {
                let (name, n) = (format!("C{cause}"), i64::from(key * cause));
                by_sitekey.push(standing(Dim::Sitekey, &format!("6Le-{key:02}"), &name, n));
                *all.entry(name).or_default() += n;
            }
        }
        // Some have no site key.
        *all.entry("C8".to_owned()).or_default() += 5;
        let sum: i64 = all.values().sum();
        let all = all.iter().map(|(cause, n)| standing(Dim::All, "", cause, *n)).collect();
        let heat = Counts::of(by_sitekey, all).heat();
        assert_eq!((heat.rows.len(), heat.columns.len()), (SITEKEYS + 1, CAUSES));
        assert_eq!((heat.rows[0].0.as_str(), heat.columns[0].as_str()), ("6Le-29", "C8"));
        assert_eq!(heat.rows[0].1[0], 29 * 8);
        let shown: i64 =
            heat.rows.iter().map(|(_, cells, others)| cells.iter().sum::<i64>() + others).sum();
        assert_eq!(shown, sum);
    }
}
