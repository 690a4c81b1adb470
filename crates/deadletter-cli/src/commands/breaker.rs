//! `deadletter breaker`: how the breakers stand, and a hand on them.

use super::act::who;
use crate::{
    app::App,
    config::Settings,
    exit::Exit,
    fault::{Fault, Result},
    render, work,
};
use clap::Subcommand;
use deadletter::{
    BreakerStatus, Deadletter, Error,
    core::{
        AccountName, UnixMs,
        breaker::{Forced, Phase},
    },
};
use serde_json::json;

/// Why, where nobody says why.
const NO_REASON: &str = "no reason given";

/// Arguments.
#[derive(Debug, clap::Args)]
#[command(
    before_help = "Examples:\n  deadletter breaker status\n  deadletter breaker trip --for 10m --reason 'their maintenance'",
    after_help = "The breaker of an account opens by itself when upstream is away, and lets probes through until one is answered. It is shared by every process of the store: what is done here, a running one sees within seconds. Every hand on it is written to the audit log, with who and why."
)]
pub(crate) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// How each stands, why, and when something may pass again
    #[command(
        before_help = "Examples:\n  deadletter breaker status\n  deadletter breaker status --account main --json",
        after_help = "closed: everything passes. open: nothing is submitted, until its time is over or somebody resets it. half_open: one probe passes, and its answer closes it or opens it for longer. Outages are counted among the outcomes of the last minute, and in a row; each change begins a generation."
    )]
    Status {
        /// Of this account only
        #[arg(long, value_name = "NAME")]
        account: Option<AccountName>,
    },
    /// Open it: nothing is submitted until it is reset, or for a time
    #[command(
        before_help = "Examples:\n  deadletter breaker trip --reason 'their maintenance'\n  deadletter breaker trip --account main --for 10m",
        after_help = "With --for it probes when the time is over, as after an outage; without, not even a probe passes until `breaker reset`."
    )]
    Trip {
        #[command(flatten)]
        hand: Hand,
        /// For how long [default: until it is reset]
        #[arg(long = "for", value_name = "TIME", value_parser = render::duration_ms)]
        for_ms: Option<i64>,
    },
    /// Close it, whatever opened it: what was counted is forgotten, a hand on it ends
    #[command(
        before_help = "Examples:\n  deadletter breaker reset\n  deadletter breaker reset --account main --reason 'they are back'"
    )]
    Reset {
        #[command(flatten)]
        hand: Hand,
    },
}

#[derive(Debug, clap::Args)]
struct Hand {
    /// Whose breaker [default: the configured account's]
    #[arg(long, value_name = "NAME")]
    account: Option<AccountName>,
    /// Why, for the audit log and for `breaker status`
    #[arg(long, value_name = "TEXT", default_value = NO_REASON)]
    reason: String,
}

pub(super) async fn run(app: &App, args: Args) -> Result<Exit> {
    let settings = app.settings()?;
    let engine = work::desk(&settings).await?;
    let account = match args.what {
        What::Status { account } => account,
        What::Trip { hand, for_ms } => Some(trip(app, &engine, &settings, hand, for_ms).await?),
        What::Reset { hand } => {
            let name = hand.account.unwrap_or(settings.account);
            let reset = engine.desk().reset_breaker(&name, &who(app), &hand.reason).await;
            reset.map_err(of_hand)?;
            Some(name)
        }
    };
    let mut all = engine.desk().breakers().await.map_err(work::of_engine)?;
    if let Some(name) = &account {
        all.retain(|breaker| breaker.account == *name);
        if all.is_empty() {
            return Err(of_hand(Error::NoSuchAccount(name.clone())));
        }
    }
    show(app, &all, engine.store().clock().now())?;
    Ok(Exit::Good)
}

async fn trip(
    app: &App,
    engine: &Deadletter,
    settings: &Settings,
    hand: Hand,
    for_ms: Option<i64>,
) -> Result<AccountName> {
    let (desk, by) = (engine.desk(), who(app));
    let name = hand.account.unwrap_or_else(|| settings.account.clone());
    let tripped = match for_ms {
        Some(for_ms) => desk.trip_breaker(&name, for_ms, &by, &hand.reason).await,
        None => desk.force_breaker(&name, Forced::Open, &by, &hand.reason).await,
    };
    tripped.map_err(of_hand)?;
    app.out.say("running processes see it within seconds; tasks wait, and none is lost");
    Ok(name)
}

fn of_hand(error: Error) -> Fault {
    match error {
        Error::NoSuchAccount(name) => Fault::failed(format!("there is no account {name}"))
            .why("it is not the configured one, and nothing in the store has that name")
            .fix("`deadletter breaker status` lists the accounts"),
        error => work::of_engine(error),
    }
}

fn show(app: &App, breakers: &[BreakerStatus], now: UnixMs) -> Result<()> {
    let columns = [
        "account",
        "breaker",
        "passes in",
        "why",
        "#outages",
        "#outcomes",
        "#in a row",
        "#generation",
    ];
    let mut table = render::Table::new(&columns);
    for breaker in breakers {
        let why = breaker.last.as_ref().map(|last| last.reason.to_string());
        if app.out.is_table() {
            let since = breaker
                .last
                .as_ref()
                .map_or(String::new(), |last| format!(" ({})", render::ago(last.at, now)));
            table.row([
                breaker.account.to_string(),
                breaker.phase.label().to_owned(),
                passes_in(breaker),
                why.map_or("-".to_owned(), |why| why + &since),
                breaker.seen.outages.to_string(),
                breaker.seen.outcomes.to_string(),
                breaker.seen.run.to_string(),
                breaker.generation.to_string(),
            ]);
            continue;
        }
        app.out.json(&json!({
            "account": breaker.account,
            "phase": breaker.phase.label(),
            "forced": breaker.is_forced,
            "retry_after_s": breaker.retry_after_ms.map(whole_seconds),
            "generation": breaker.generation,
            "window_ms": breaker.window_ms,
            "outages": breaker.seen.outages,
            "outcomes": breaker.seen.outcomes,
            "run": breaker.seen.run,
            "why": why,
            "since": breaker.last.as_ref().map(|last| render::instant(last.at)),
        }))?;
    }
    if !table.is_empty() {
        app.out.picture(&table.draw(app.out.width, app.out.glyphs))?;
    }
    Ok(())
}

fn passes_in(breaker: &BreakerStatus) -> String {
    match (breaker.phase, breaker.retry_after_ms) {
        (Phase::Closed, _) => "now".to_owned(),
        (_, None) => "when reset".to_owned(),
        (Phase::HalfOpen, Some(0)) => "a probe may, now".to_owned(),
        (_, Some(ms)) => render::duration(whole_seconds(ms) * 1_000),
    }
}

/// A countdown never says 0 before its end.
const fn whole_seconds(ms: i64) -> i64 {
    (ms + 999) / 1_000
}
