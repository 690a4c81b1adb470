//! `deadletter config`: every setting with its origin.

use crate::{app::App, config, exit::Exit, fault::Result, render, shelf, upstream};
use clap::Subcommand;
use deadletter::store;
use serde_json::json;

/// Arguments.
#[derive(Debug, clap::Args)]
#[command(
    before_help = "Examples:\n  deadletter config show\n  deadletter config validate --config deadletter.toml"
)]
pub(crate) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Every setting, its value and where that comes from
    #[command(before_help = "Examples:\n  deadletter config show\n  deadletter config show --json")]
    Show,
    /// The file that is read, or the places where one is looked for
    #[command(before_help = "Examples:\n  deadletter config path\n  deadletter config path --json")]
    Path,
    /// Check every value, and that there is a key
    #[command(
        before_help = "Examples:\n  deadletter config validate\n  deadletter config validate --config other.toml"
    )]
    Validate,
}

pub(super) fn run(app: &App, args: &Args) -> Result<Exit> {
    match args.what {
        What::Show => show(app),
        What::Path => path(app),
        What::Validate => validate(app),
    }
}

fn show(app: &App) -> Result<Exit> {
    let layers = config::load(&app.environment, &app.flags(&[]))?;
    for remark in &layers.remarks {
        app.out.warn(remark);
    }
    let rows = config::shown(&layers)?;
    if app.out.is_table() {
        let mut table = render::Table::new(&["setting", "value", "from"]);
        for (key, value, origin) in rows {
            table.row([key, value, origin]);
        }
        app.out.picture(&table.draw(app.out.width, app.out.glyphs))?;
    } else {
        for (key, value, origin) in rows {
            app.out.json(&json!({"setting": key, "value": value, "from": origin}))?;
        }
    }
    // Shown first: whoever looks for what is wrong sees where it comes from.
    let store = layers.get("store").map(|store| store::check_url(&store.raw));
    store.transpose().map_err(shelf::fault)?;
    Ok(Exit::Good)
}

fn path(app: &App) -> Result<Exit> {
    let found = config::find(&app.environment, app.global.config.as_deref())?;
    let places = config::candidates(&app.environment);
    if !app.out.is_table() {
        app.out.json(&json!({"path": found, "looked_for": places}))?;
    } else if let Some(found) = &found {
        app.out.data(&found.display().to_string())?;
    }
    if found.is_none() {
        let places: Vec<_> = places.iter().map(|path| path.display().to_string()).collect();
        app.out.say(&format!("no file; looked for {}", places.join(", then ")));
    }
    Ok(Exit::Good)
}

fn validate(app: &App) -> Result<Exit> {
    let settings = app.settings()?;
    shelf::check(&settings)?;
    upstream::provider(&settings)?;
    app.out.say("the configuration is valid");
    Ok(Exit::Good)
}
