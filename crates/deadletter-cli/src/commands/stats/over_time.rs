//! What happened over the last day: solved, failed and dead by hour, and the dead by cause.

use super::ROWS;
use crate::{
    app::App,
    commands::spent::Spent,
    fault::Result,
    render,
    shelf::{Shelf, fault},
};
use deadletter::core::{
    UnixMs,
    counts::{Dim, Tallied, Tally, expired_unused},
};
use serde_json::json;
use std::collections::BTreeMap;

/// Hours of a picture over time.
const HOURS: i64 = 24;
const HOUR_MS: i64 = 3_600_000;
/// Minutes of a picture of what is younger.
const MINUTES: i64 = 60;
const MINUTE_MS: i64 = 60_000;
/// Causes with a line of their own.
const CAUSES: usize = 8;

/// What happened in one slot of time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Slot {
    solved: i64,
    failed: i64,
    dead: i64,
    submits: i64,
    in_doubt: i64,
}

/// The tallies of the last day.
pub(super) struct Day {
    now: UnixMs,
    tallies: Vec<(Tally, i64)>,
}

impl Day {
    /// From the store.
    pub(super) async fn read(shelf: &Shelf) -> Result<Self> {
        let now = shelf.now();
        let since = Over::until(now, HOUR_MS, HOURS).first;
        let tallies = shelf.store.tallies(Dim::All, since, ROWS).await.map_err(fault)?;
        Ok(Self { now, tallies })
    }

    /// The slots of a picture, and their name: a run that began a moment ago would be one column of
    /// a picture by hours.
    fn slots(&self) -> (Over, &'static str) {
        let hour = Over::until(self.now, MINUTE_MS, MINUTES);
        if self.tallies.iter().all(|(tally, _)| tally.minute >= hour.first) {
            (hour, "minute")
        } else {
            (self.hours(), "hour")
        }
    }

    fn hours(&self) -> Over {
        Over::until(self.now, HOUR_MS, HOURS)
    }

    /// Everything that happened, in those slots.
    fn all(&self, over: &Over) -> Over {
        let mut over = over.clone();
        self.tallies.iter().for_each(|(tally, n)| over.add(tally, *n));
        over
    }

    /// The same by cause, for failures and deaths.
    fn by_cause(&self, over: &Over) -> BTreeMap<String, Over> {
        let mut causes: BTreeMap<String, Over> = BTreeMap::new();
        for (tally, n) in &self.tallies {
            let Some(cause) = &tally.cause else { continue };
            causes.entry(cause.to_string()).or_insert_with(|| over.clone()).add(tally, *n);
        }
        causes
    }

    /// What was submitted in it.
    pub(super) fn spent(&self) -> Spent {
        let day = self.all(&self.hours());
        let sum = |of: fn(&Slot) -> i64| day.slots.iter().map(of).sum::<i64>().try_into();
        Spent {
            submits: sum(|slot| slot.submits).unwrap_or_default(),
            in_doubt: sum(|slot| slot.in_doubt).unwrap_or_default(),
        }
    }

    /// Answers that expired before they were asked for.
    pub(super) fn expired_unused(&self) -> u64 {
        expired_unused(&self.tallies, self.hours().first, self.now)
    }

    /// Shows what happened by hour.
    pub(super) fn show(&self, app: &App, is_asked_for: bool) -> Result<()> {
        if !app.out.is_table() {
            let day = self.all(&self.hours());
            for (at, slot) in day.happened() {
                app.out.json(&json!({
                    "by": "hour", "value": render::instant(at),
                    "solved": slot.solved, "failed": slot.failed, "count": slot.dead,
                    "submits": slot.submits, "in_doubt": slot.in_doubt,
                }))?;
            }
            return Ok(());
        }
        let (over, by) = self.slots();
        let over = self.all(&over);
        let from = clock_of(over.first);
        for (title, values) in [
            ("failures of attempts", over.values(|it| it.failed)),
            ("deaths", over.values(|it| it.dead)),
        ] {
            if is_asked_for || values.iter().any(|n| *n > 0) {
                let title = format!("{title} by {by} (UTC)");
                let ends = (from.as_str(), "now");
                let picture = render::columns(&title, &values, ends, app.out.width, app.out.glyphs);
                app.out.picture(&format!("\n{picture}"))?;
            }
        }
        Ok(())
    }

    /// Shows when the dead of each cause died: what clusters in time has one reason.
    pub(super) fn show_causes(&self, app: &App) -> Result<()> {
        if !app.out.is_table() {
            for (cause, over) in self.by_cause(&self.hours()) {
                for (at, slot) in over.happened() {
                    app.out.json(&json!({
                        "by": "cause_hour", "value": render::instant(at), "cause": cause,
                        "failed": slot.failed, "count": slot.dead,
                    }))?;
                }
            }
            return Ok(());
        }
        let (over, by) = self.slots();
        let causes = self.by_cause(&over).into_iter();
        let deaths = causes.map(|(cause, over)| (cause, over.values(|it| it.dead)));
        let mut rows: Vec<_> = deaths.filter(|(_, dead)| dead.iter().any(|n| *n > 0)).collect();
        rows.sort_by_key(|(_, dead)| std::cmp::Reverse(dead.iter().sum::<i64>()));
        if rows.is_empty() {
            return Ok(());
        }
        let more = rows.len().saturating_sub(CAUSES);
        rows.truncate(CAUSES);
        let sparks = rows.into_iter().map(|(cause, dead)| {
            let told = told(&dead, |at| clock_of(over.at(at)));
            render::Spark { name: cause, values: dead, told }
        });
        let more = if more > 0 { format!(", and {more} more with --json") } else { String::new() };
        let title =
            format!("deaths by cause and {by}, from {} UTC until now{more}", clock_of(over.first));
        let sparks: Vec<_> = sparks.collect();
        let picture = render::sparks(&title, &sparks, app.out.width, app.out.glyphs);
        app.out.picture(&format!("\n{picture}"))
    }
}

/// How many, and when most.
fn told(values: &[i64], clock: impl Fn(usize) -> String) -> String {
    let sum: i64 = values.iter().sum();
    // The first of several that are equal.
    let most = values.iter().enumerate().rev().max_by_key(|(_, n)| **n);
    let Some((at, most)) = most else { return render::count(sum) };
    format!("{}, {} of them at {}", render::count(sum), render::count(*most), clock(at))
}

/// What happened over time, in the slots of a picture.
#[derive(Clone, Debug)]
struct Over {
    first: UnixMs,
    slot_ms: i64,
    slots: Vec<Slot>,
}

impl Over {
    /// The last `slots` slots until `now`.
    fn until(now: UnixMs, slot_ms: i64, slots: i64) -> Self {
        let first = UnixMs(now.0 - now.0.rem_euclid(slot_ms)).plus(-(slots - 1) * slot_ms);
        let slots = vec![Slot::default(); usize::try_from(slots).unwrap_or_default()];
        Self { first, slot_ms, slots }
    }

    fn add(&mut self, tally: &Tally, n: i64) {
        let at = usize::try_from(tally.minute.since(self.first).div_euclid(self.slot_ms)).ok();
        if let Some(slot) = at.and_then(|at| self.slots.get_mut(at)) {
            match tally.tallied {
                Tallied::Solved => slot.solved += n,
                Tallied::Failed => slot.failed += n,
                Tallied::Dead => slot.dead += n,
                Tallied::Submitted => slot.submits += n,
                Tallied::InDoubt => slot.in_doubt += n,
                // Told whole: they are counted by when they expire.
                Tallied::Unused => {}
            }
        }
    }

    fn at(&self, slot: usize) -> UnixMs {
        self.first.plus(i64::try_from(slot).unwrap_or_default() * self.slot_ms)
    }

    fn values(&self, of: impl Fn(&Slot) -> i64) -> Vec<i64> {
        self.slots.iter().map(of).collect()
    }

    /// Slots in which anything happened.
    fn happened(&self) -> impl Iterator<Item = (UnixMs, &Slot)> {
        let slots = self.slots.iter().enumerate().filter(|(_, slot)| **slot != Slot::default());
        slots.map(|(at, slot)| (self.at(at), slot))
    }
}

/// `14:00` of an instant.
fn clock_of(at: UnixMs) -> String {
    render::instant(at).get(11..16).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use deadletter::core::Cause;

    const NOW: UnixMs = UnixMs(1_800_000_000_000);

    fn death(cause: &str, minutes_ago: i64, n: i64) -> (Tally, i64) {
        let minute = NOW.plus(-minutes_ago * MINUTE_MS);
        let cause = Some(Cause::new(cause));
        let (tallied, dim, value) = (Tallied::Dead, Dim::All, String::new());
        (Tally { minute, tallied, cause, dim, value }, n)
    }

    #[test]
    fn deaths_are_told_by_cause_and_by_the_slot_in_which_most_died() {
        let tallies = vec![death("TIMEOUT", 30, 2), death("TIMEOUT", 5, 40), death("X", 5, 1)];
        let day = Day { now: NOW, tallies };
        let (over, by) = day.slots();
        assert_eq!(by, "minute");
        let causes = day.by_cause(&over);
        let dead = causes["TIMEOUT"].values(|it| it.dead);
        assert_eq!(dead.iter().sum::<i64>(), 42);
        assert_eq!(told(&dead, |at| clock_of(over.at(at))), "42, 40 of them at 07:55");
        let older = Day { tallies: vec![death("TIMEOUT", 90, 1)], ..day };
        assert_eq!(older.slots().1, "hour");
        assert_eq!(older.all(&older.hours()).happened().count(), 1);
    }
}
