//! `deadletter list`: tasks by filter.

use crate::{
    app::App,
    exit::Exit,
    fault::{Fault, Result},
    letter, render,
    shelf::{self, dead_unless, filter_of},
};
use deadletter::core::Task;

/// Rows of a table where nobody says how many: what fits on a few screens.
const TABLE_LIMIT: u64 = 50;

/// Arguments.
#[derive(Debug, clap::Args)]
#[command(
    before_help = "Examples:\n  deadletter list\n  deadletter list state:dead cause:TIMEOUT 'age:<24h' --limit 20",
    after_help = super::FILTER_HELP
)]
pub(crate) struct Args {
    /// What to list [default: state:dead]
    #[arg(value_name = "FILTER")]
    filter: Vec<String>,
    /// At most this many; 0 for all [default: 50 in a table, all in a pipe]
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = crate::number::from_0)]
    limit: Option<u64>,
    /// Oldest first
    #[arg(long)]
    oldest_first: bool,
}

pub(super) async fn run(app: &App, args: Args) -> Result<Exit> {
    let filter = dead_unless(filter_of(&args.filter)?, "state:dead")?;
    let shelf = shelf::open(app).await?;
    let limit = args.limit.unwrap_or(if app.out.is_table() { TABLE_LIMIT } else { 0 });
    let mut table = render::Table::new(COLUMNS);
    let mut listed = 0;
    let mut has_more = false;
    shelf
        .each(&filter, !args.oldest_first, async |task| {
            if limit > 0 && listed == limit {
                has_more = true;
                return Ok(false);
            }
            listed += 1;
            if app.out.is_table() {
                table.row(row(&task));
            } else {
                app.out.json(&letter::dated(&task).map_err(unwritable)?)?;
            }
            Ok(true)
        })
        .await?;
    if !table.is_empty() {
        app.out.picture(&table.draw(app.out.width, app.out.glyphs))?;
    }
    // Nothing at all is told in a pipe too: it may be the wrong question.
    if app.out.is_table() || listed == 0 {
        let more = if has_more { "; there are more, see --limit" } else { "" };
        let tasks = render::counted(listed, "task", "tasks");
        let others = if listed == 0 && args.filter.is_empty() {
            "; `deadletter list '*'` lists those of every state"
        } else {
            ""
        };
        app.out.say(&format!("{tasks} ({filter}){more}{others}"));
    }
    Ok(Exit::Good)
}

/// The first ones stay where a terminal is too narrow for all.
const COLUMNS: &[&str] =
    &["=id", "state", "cause", "site key", "host", "#submits", "changed at", "method", "batch"];

fn row(task: &Task) -> [String; 9] {
    let dimensions = &task.dimensions;
    let text = |text: &Option<String>, chars| render::cut(text.as_deref().unwrap_or("-"), chars);
    [
        task.id.to_string(),
        task.kind().label().to_owned(),
        task.cause.as_ref().map_or("-".to_owned(), ToString::to_string),
        text(&dimensions.sitekey, 14),
        text(&dimensions.host, 30),
        task.counters.submits.to_string(),
        render::second(task.updated_at),
        dimensions.method.clone(),
        text(&dimensions.batch, 24),
    ]
}

fn unwritable(error: serde_json::Error) -> Fault {
    Fault::failed("cannot write a task as JSON").because(error)
}
