//! `deadletter stats`: how many tasks stand where, what the dead died of, where and when, and how
//! long solves take. All of it from counters that each write keeps: nothing is counted by looking.

mod dead;
mod heat;
mod over_time;
mod times;

use super::spent::Spent;
use crate::{
    app::App,
    exit::Exit,
    fault::Result,
    render,
    shelf::{self, fault},
};
use clap::ValueEnum;
use deadletter::{core::counts::Dim, store::Totals};
use over_time::Day;
use serde_json::json;

/// Rows of counts that are added up.
const ROWS: u32 = 100_000;

/// Arguments.
#[derive(Debug, clap::Args)]
#[command(
    before_help = "Examples:\n  deadletter stats\n  deadletter stats --by sitekey-cause\n  deadletter stats --by times --json"
)]
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
    /// Site key and cause: what fails where
    SitekeyCause,
    /// The hour, for the last day: solved, failed attempts, dead
    Hour,
    /// Cause and hour, for the last day: what came at once
    CauseHour,
    /// How long solves take, by account and method
    Times,
}

impl By {
    pub(super) const fn label(self) -> &'static str {
        match self {
            Self::Cause => "cause",
            Self::Class => "class",
            Self::Sitekey => "sitekey",
            Self::Host => "host",
            Self::Proxy => "proxy",
            Self::Method => "method",
            Self::Batch => "batch",
            Self::Account => "account",
            Self::SitekeyCause => "sitekey_cause",
            Self::Hour => "hour",
            Self::CauseHour => "cause_hour",
            Self::Times => "times",
        }
    }

    pub(super) const fn dim(self) -> Dim {
        match self {
            Self::Cause | Self::Class | Self::Hour | Self::CauseHour | Self::Times => Dim::All,
            Self::Sitekey | Self::SitekeyCause => Dim::Sitekey,
            Self::Host => Dim::Host,
            Self::Proxy => Dim::Proxy,
            Self::Method => Dim::Method,
            Self::Batch => Dim::Batch,
            Self::Account => Dim::Account,
        }
    }
}

pub(super) async fn run(app: &App, args: Args) -> Result<Exit> {
    let shelf = shelf::open(app).await?;
    if args.by.is_none() {
        totals(app, &shelf.store.totals().await.map_err(fault)?)?;
        let day = Day::read(&shelf).await?;
        spent(app, day.spent())?;
        expired_unused(app, day.expired_unused())?;
    }
    let is_asked_for = args.by.is_some();
    let chosen = args.by.map_or_else(|| By::value_variants().to_vec(), |by| vec![by]);
    let mut most = None;
    for by in chosen {
        match by {
            By::Hour => Day::read(&shelf).await?.show(app, is_asked_for)?,
            By::CauseHour => Day::read(&shelf).await?.show_causes(app)?,
            By::SitekeyCause => heat::show(app, &shelf).await?,
            By::Times => times::show(app, &shelf).await?,
            By::Cause => most = dead::show(app, &shelf, by, is_asked_for).await?,
            _ => drop(dead::show(app, &shelf, by, is_asked_for).await?),
        }
    }
    super::explain::hint(app, most.as_deref());
    Ok(Exit::Good)
}

/// What the last day has cost, as far as it is known.
fn spent(app: &App, spent: Spent) -> Result<()> {
    if !app.out.is_table() {
        app.out.json(&json!({"by": "spent", "value": "submits", "count": spent.submits}))?;
        return app.out.json(&json!({"by": "spent", "value": "in_doubt", "count": spent.in_doubt}));
    }
    if spent.submits > 0 {
        app.out.picture(&format!("{} in the last day", spent.counted()))?;
    }
    spent.tell_doubt(app);
    Ok(())
}

/// Answers of the last day that expired before they were asked for, as far as it is known: their lives
/// are counted from the earliest moment at which they can have been solved.
fn expired_unused(app: &App, count: u64) -> Result<()> {
    if !app.out.is_table() {
        return app.out.json(&json!({"by": "unused", "value": "expired", "count": count}));
    }
    if count > 0 {
        let answers = render::counted(count, "answer", "answers");
        app.out.picture(&format!(
            "{answers} expired unused in the last day (before they were asked for)"
        ))?;
    }
    Ok(())
}

fn totals(app: &App, totals: &Totals) -> Result<()> {
    let states = totals.by_state().map(|(state, count)| (state.label(), count));
    let states =
        [&states[..], &[("purged", totals.purged), ("accepted", totals.accepted)]].concat();
    if !app.out.is_table() {
        for (state, count) in &states {
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
