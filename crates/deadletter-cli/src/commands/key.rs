//! `deadletter key`: the keys that the gateway accepts: issue, list, revoke.

use super::act::who;
use crate::{
    app::App,
    config::Settings,
    exit::Exit,
    fault::{Fault, Result},
    render,
    shelf::{self, Place, Shelf},
    work,
};
use clap::{Subcommand, ValueEnum};
use deadletter::{Deadletter, core::UnixMs};
use deadletter_gateway::{
    By, IssuedKey, KeyError, KeyTerms, Quota, Rate, is_name, issue, issued, new_key, revoke,
};
use secrecy::ExposeSecret;
use serde_json::json;

/// Arguments.
#[derive(Debug, clap::Args)]
#[command(
    before_help = "Examples:\n  deadletter key add shop\n  deadletter key list",
    after_help = "Each program or team that uses the gateway gets a key under a name of its own, and sees its own tasks only. Until the first one is issued, `deadletter serve` accepts the account's own key, from this machine alone. A gateway that runs knows of a change within a second."
)]
pub(crate) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Issue a key and show it, once
    #[command(
        before_help = "Examples:\n  deadletter key add shop\n  deadletter key add nightly --priority low --rate 5/s --in-flight 20 --per-day 2000",
        after_help = "The key alone goes to standard output; the store keeps its hash and its last four characters. From the first key on, the account's own key is not accepted by the gateway any more. A name that was revoked may be given a new key, which sees the tasks of the old one."
    )]
    Add(Add),
    /// List the keys, revoked ones too
    #[command(before_help = "Examples:\n  deadletter key list\n  deadletter key list --json")]
    List,
    /// Revoke a key: its client is refused from now on, its tasks stay
    #[command(
        before_help = "Examples:\n  deadletter key revoke crawler\n  deadletter key revoke crawler --reason 'it leaked'",
        after_help = "Where no key is left, nobody is let in: the account's own key does not become valid again."
    )]
    Revoke {
        /// Whose
        #[arg(value_name = "NAME")]
        name: String,
        /// Why, for the audit log
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
    },
}

#[derive(Debug, clap::Args)]
struct Add {
    /// For whom: letters, digits, dots, dashes and underscores
    #[arg(value_name = "NAME")]
    name: String,
    /// Whose tasks go first when threads are short [default: normal]
    #[arg(long, value_name = "PRIORITY")]
    priority: Option<Priority>,
    /// Submits per second, such as 5/s; beyond it ERROR_TOO_MUCH_REQUESTS
    #[arg(long, value_name = "N/s")]
    rate: Option<Rate>,
    /// Its tasks that wait or are under way at a time; beyond it ERROR_NO_SLOT_AVAILABLE
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    in_flight: Option<u32>,
    /// Its tasks per day of UTC; beyond it ERROR_NO_SLOT_AVAILABLE
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    per_day: Option<u32>,
    /// Why, for the audit log
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
}

/// The four priorities, first to last.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Priority {
    /// Before all others
    Critical,
    /// Before what is normal
    High,
    /// As tasks without a priority
    Normal,
    /// When nothing else waits
    Low,
}

impl Priority {
    const NAMES: [&str; 4] = ["critical", "high", "normal", "low"];
}

pub(super) async fn run(app: &App, args: Args) -> Result<Exit> {
    let settings = app.settings()?;
    match args.what {
        What::Add(args) => add(app, &settings, &args).await?,
        What::List => {
            let engine = work::desk(&settings).await?;
            let keys = issued(&engine).await.map_err(of_key)?;
            show(app, &keys, engine.store().clock().now())?;
        }
        What::Revoke { name, reason } => {
            let engine = work::desk(&settings).await?;
            let who = who(app);
            let by = By { who: &who, why: reason.as_deref() };
            let key = revoke(&engine, &name, by).await.map_err(of_key)?;
            app.out.say(&format!(
                "the key {} of {name} is revoked: running gateways refuse it within a second",
                shown(&key)
            ));
            tell_shut(app, &engine).await?;
        }
    }
    Ok(Exit::Good)
}

async fn add(app: &App, settings: &Settings, args: &Add) -> Result<()> {
    // Before a store begins for nothing.
    if !is_name(&args.name) {
        return Err(of_key(KeyError::BadName));
    }
    if matches!(shelf::place(settings)?, Place::Memory) {
        return Err(Fault::usage("a store in memory forgets the key at once").fix(
            "name the store that `deadletter serve` uses, for example --store sqlite:tasks.db",
        ));
    }
    let shelf = Shelf::open(app, settings).await?;
    let engine = work::desk_on(settings, shelf).await?;
    let key = new_key(&mut rand::rng());
    let (name, who) = (&args.name, who(app));
    let quota = Quota { rate: args.rate, in_flight: args.in_flight, per_day: args.per_day };
    let terms = KeyTerms { priority: args.priority.map(|priority| priority as u8), quota };
    let by = By { who: &who, why: args.reason.as_deref() };
    let issued = issue(&engine, name, &key, terms, by).await.map_err(of_key)?;
    if app.global.json {
        app.out.json(&json!({"name": name, "key": key.expose_secret()}))?;
    } else {
        app.out.data(key.expose_secret())?;
    }
    app.out.say(&format!("this is the key of {name}; it is shown this once, and kept as a hash"));
    if issued.is_first {
        app.out.warn(
            "it is the first one: from now on gateways refuse the account's own key, those that run \
             already within a second. Each script needs an issued key; tasks that came with the \
             account's own are seen by the command line alone",
        );
    }
    Ok(())
}

/// Whoever revokes the last key shuts the door.
async fn tell_shut(app: &App, engine: &Deadletter) -> Result<()> {
    let keys = issued(engine).await.map_err(of_key)?;
    if !keys.iter().any(IssuedKey::is_valid) {
        app.out.warn("no key is left, and nobody is let in; `deadletter key add NAME` issues one");
    }
    Ok(())
}

fn show(app: &App, keys: &[IssuedKey], now: UnixMs) -> Result<()> {
    let mut table = render::Table::new(&[
        "name",
        "key",
        "priority",
        "rate",
        "#in flight",
        "#per day",
        "issued",
        "revoked",
    ]);
    for key in keys {
        let priority = Priority::NAMES.get(usize::from(key.priority.unwrap_or(2)));
        let priority = priority.copied().unwrap_or("low");
        let revoked_at = key.revoked_at.map(UnixMs);
        if app.out.is_table() {
            table.row([
                key.name.clone(),
                shown(key),
                priority.to_owned(),
                or_dash(key.quota.rate),
                or_dash(key.quota.in_flight),
                or_dash(key.quota.per_day),
                render::ago(UnixMs(key.created_at), now),
                revoked_at.map_or("-".to_owned(), |at| render::ago(at, now)),
            ]);
            continue;
        }
        app.out.json(&json!({
            "name": key.name,
            "ends_with": key.ends_with,
            "priority": priority,
            "rate_per_s": key.quota.rate.map(Rate::per_s),
            "in_flight": key.quota.in_flight,
            "per_day": key.quota.per_day,
            "issued": render::instant(UnixMs(key.created_at)),
            "revoked": revoked_at.map(render::instant),
        }))?;
    }
    if !table.is_empty() {
        app.out.picture(&table.draw(app.out.width, app.out.glyphs))?;
    }
    if keys.is_empty() {
        app.out.say("no key is issued: the gateway accepts the account's own, on this machine");
    }
    Ok(())
}

fn or_dash(limit: Option<impl ToString>) -> String {
    limit.map_or_else(|| "-".to_owned(), |limit| limit.to_string())
}

/// A key by its last characters.
pub(super) fn shown(key: &IssuedKey) -> String {
    format!("****{}", key.ends_with)
}

/// A fault of the keys.
pub(super) fn of_key(error: KeyError) -> Fault {
    match error {
        KeyError::Engine(error) => work::of_engine(error),
        KeyError::BadName => Fault::usage("this cannot be a key's name").because(KeyError::BadName),
        error @ KeyError::Taken(_) => Fault::failed("no key was issued")
            .because(error)
            .fix("name another, or revoke it first with `deadletter key revoke NAME`"),
        error @ KeyError::Unknown(_) => Fault::failed("no key was revoked")
            .because(error)
            .fix("`deadletter key list` shows the names"),
        error => Fault::failed("no key was issued").because(error),
    }
}
