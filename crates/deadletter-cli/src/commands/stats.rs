//! `deadletter stats`: how many tasks stand where, what the dead died of, and when.

use crate::{
    app::App,
    exit::Exit,
    fault::Result,
    render,
    shelf::{self, Shelf, fault},
};
use clap::ValueEnum;
use deadletter::{
    core::{
        StateKind, UnixMs,
        counts::{Dim, Tallied, Tally},
    },
    store::Totals,
};
use serde_json::json;
use std::collections::BTreeMap;

/// Rows of counts that are added up.
const ROWS: u32 = 100_000;
/// Bars of a picture.
const BARS: usize = 10;
/// Hours of a picture over time.
const HOURS: i64 = 24;
const HOUR_MS: i64 = 3_600_000;
/// Minutes of a picture of what is younger.
const MINUTES: i64 = 60;
const MINUTE_MS: i64 = 60_000;

/// Arguments.
#[derive(Debug, clap::Args)]
#[command(before_help = "Examples:\n  deadletter stats\n  deadletter stats --by sitekey --json")]
pub(crate) struct Args {
    /// Count by this alone [default: all of them]
    #[arg(long, value_enum)]
    by: Option<By>,
}

/// What the dead are counted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum By {
    /// The code of the last failure
    Cause,
    /// What that code means
    Class,
    /// The site key
    Sitekey,
    /// The host of the page
    Host,
    /// The proxy
    Proxy,
    /// The kind of job
    Method,
    /// The batch
    Batch,
    /// The account
    Account,
    /// The hour, for the last day: solved, failed attempts, dead
    Hour,
}

impl By {
    const fn label(self) -> &'static str {
        match self {
            Self::Cause => "cause",
            Self::Class => "class",
            Self::Sitekey => "sitekey",
            Self::Host => "host",
            Self::Proxy => "proxy",
            Self::Method => "method",
            Self::Batch => "batch",
            Self::Account => "account",
            Self::Hour => "hour",
        }
    }

    const fn dim(self) -> Dim {
        match self {
            Self::Cause | Self::Class | Self::Hour => Dim::All,
            Self::Sitekey => Dim::Sitekey,
            Self::Host => Dim::Host,
            Self::Proxy => Dim::Proxy,
            Self::Method => Dim::Method,
            Self::Batch => Dim::Batch,
            Self::Account => Dim::Account,
        }
    }
}

/// What happened in one slot of time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Slot {
    solved: i64,
    failed: i64,
    dead: i64,
}

pub(super) async fn run(app: &App, args: Args) -> Result<Exit> {
    let shelf = shelf::open(app).await?;
    if args.by.is_none() {
        totals(app, &shelf.store.totals().await.map_err(fault)?)?;
    }
    let chosen = args.by.map_or_else(|| By::value_variants().to_vec(), |by| vec![by]);
    for by in chosen {
        if by == By::Hour {
            hours(app, &shelf, args.by.is_some()).await?;
        } else {
            dead_by(app, &shelf, by, args.by.is_some()).await?;
        }
    }
    Ok(Exit::Good)
}

fn totals(app: &App, totals: &Totals) -> Result<()> {
    let states = [
        ("queued", totals.queued),
        ("submitting", totals.submitting),
        ("polling", totals.polling),
        ("solved", totals.solved),
        ("dead", totals.dead),
        ("buried", totals.buried),
        ("cancelled", totals.cancelled),
        ("purged", totals.purged),
        ("accepted", totals.accepted),
    ];
    if !app.out.is_table() {
        for (state, count) in states {
            app.out.json(&json!({"by": "state", "value": state, "count": count}))?;
        }
        return Ok(());
    }
    let shown: Vec<_> = states
        .iter()
        .filter(|(_, count)| *count != 0)
        .map(|(state, count)| format!("{state} {}", render::count(*count)))
        .collect();
    let line = if shown.is_empty() { "no task yet".to_owned() } else { shown.join("   ") };
    app.out.picture(&line)
}

/// Dead and buried tasks by `by`, most first.
async fn dead_by(app: &App, shelf: &Shelf, by: By, is_asked_for: bool) -> Result<()> {
    let places = [StateKind::Dead, StateKind::Buried];
    let census = shelf.store.census(&places, by.dim(), ROWS).await.map_err(fault)?;
    let mut counts: BTreeMap<String, i64> = BTreeMap::new();
    for (standing, n) in census {
        let value = match by {
            By::Cause => standing.cause.map_or("none".to_owned(), |cause| cause.to_string()),
            By::Class => standing.class.map_or("none".to_owned(), |class| class.to_string()),
            _ => standing.value,
        };
        *counts.entry(value).or_default() += n;
    }
    let mut rows: Vec<_> = counts.into_iter().filter(|(_, n)| *n > 0).collect();
    rows.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    if !app.out.is_table() {
        for (value, count) in rows {
            app.out.json(&json!({"by": by.label(), "value": value, "count": count}))?;
        }
        return Ok(());
    }
    // A picture of one bar says nothing; of the causes it says that there is one.
    let is_telling = rows.len() > 1 || (by == By::Cause && !rows.is_empty());
    if !is_telling && !is_asked_for {
        return Ok(());
    }
    let rest: i64 = rows.iter().skip(BARS).map(|(_, n)| n).sum();
    rows.truncate(BARS);
    if rest > 0 {
        rows.push(("all others".to_owned(), rest));
    }
    let title = format!("dead by {}", by.label());
    let picture = render::bars(&title, &rows, app.out.width, app.out.glyphs);
    app.out.picture(&format!("\n{picture}"))
}

/// What happened over time, in the slots of a picture.
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
            }
        }
    }
}

async fn hours(app: &App, shelf: &Shelf, is_asked_for: bool) -> Result<()> {
    let now = shelf.now();
    let mut day = Over::until(now, HOUR_MS, HOURS);
    let mut hour = Over::until(now, MINUTE_MS, MINUTES);
    let tallies = shelf.store.tallies(Dim::All, day.first, ROWS).await.map_err(fault)?;
    // A run that began a moment ago would be one column of a picture by hours.
    let is_young = tallies.iter().all(|(tally, _)| tally.minute >= hour.first);
    for (tally, n) in &tallies {
        day.add(tally, *n);
        hour.add(tally, *n);
    }
    if !app.out.is_table() {
        let slots = (0..).zip(&day.slots).filter(|(_, slot)| **slot != Slot::default());
        for (at, slot) in slots {
            app.out.json(&json!({
                "by": "hour", "value": render::instant(day.first.plus(at * HOUR_MS)),
                "solved": slot.solved, "failed": slot.failed, "count": slot.dead,
            }))?;
        }
        return Ok(());
    }
    let (over, by) = if is_young { (hour, "minute") } else { (day, "hour") };
    let failed: Vec<_> = over.slots.iter().map(|slot| slot.failed).collect();
    let dead: Vec<_> = over.slots.iter().map(|slot| slot.dead).collect();
    let from = clock_of(over.first);
    for (title, values) in [("failures of attempts", failed), ("deaths", dead)] {
        if is_asked_for || values.iter().any(|n| *n > 0) {
            let title = format!("{title} by {by} (UTC)");
            let ends = (from.as_str(), "now");
            let picture = render::columns(&title, &values, ends, app.out.width, app.out.glyphs);
            app.out.picture(&format!("\n{picture}"))?;
        }
    }
    Ok(())
}

/// `14:00` of an instant.
fn clock_of(at: UnixMs) -> String {
    render::instant(at).get(11..16).unwrap_or_default().to_owned()
}
