//! `deadletter show`: one task with its request, its history, and what its cause means.

use crate::{
    app::App,
    exit::Exit,
    fault::{Fault, Result},
    letter,
    render::{self, Timeline},
    shelf,
};
use deadletter::{
    TaskFile,
    core::{State, TaskId, UnixMs},
    provider::captchaai::codes,
};

/// Longest value of a request that is shown to people: an image is not read.
const VALUE_CHARS: usize = 200;

/// Arguments.
#[derive(Debug, clap::Args)]
#[command(
    before_help = "Examples:\n  deadletter show 116230479282176\n  deadletter show 116230479282176 --json --with-secrets"
)]
pub(crate) struct Args {
    /// The tasks' numbers
    #[arg(value_name = "ID", required = true)]
    ids: Vec<TaskId>,
    /// Proxy credentials, cookies and the answer too
    #[arg(long)]
    with_secrets: bool,
}

pub(super) async fn run(app: &App, args: Args) -> Result<Exit> {
    let shelf = shelf::open(app).await?;
    for id in args.ids {
        let file = shelf.file(id).await?.ok_or_else(|| {
            Fault::failed(format!("there is no task {id}"))
                .why(format!("the store {} does not know it, or it was purged", shelf.store.url()))
                .fix("`deadletter list '*'` lists every task")
        })?;
        if app.out.is_table() {
            app.out.picture(&page(&file, args.with_secrets, shelf.now(), app))?;
        } else {
            app.out.json(&letter::document(&file, args.with_secrets))?;
        }
    }
    Ok(Exit::Good)
}

fn page(file: &TaskFile, with_secrets: bool, now: UnixMs, app: &App) -> String {
    let mut sections = vec![facts(file, now).draw(app.out.width, app.out.glyphs)];
    if let Some(code) = file.task.cause.as_ref().and_then(|cause| codes::find(cause.as_str())) {
        sections.push(format!("  {}\n  {}", code.meaning, code.advice));
    }
    let letter = letter::document(file, with_secrets);
    let mut request = render::Table::new(&["parameter", "value"]);
    for (name, value) in &letter.request {
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        request.row([name.clone(), render::cut(&text, VALUE_CHARS)]);
    }
    sections.push(request.draw(app.out.width, app.out.glyphs));
    let mut table = render::Table::new(&["when", "#after", "what happened"]);
    for moment in Timeline::of(&file.task, &file.attempts).moments {
        table.row([
            render::instant(moment.at),
            render::duration(moment.at.since(file.task.created_at)),
            moment.what,
        ]);
    }
    sections.push(table.draw(app.out.width, app.out.glyphs));
    if let Some(answer) = &file.answer {
        sections.push(if with_secrets {
            format!("  answer: {}", render::plain(answer.expose()))
        } else {
            format!("  answer: {} characters; --with-secrets shows it", answer.expose().len())
        });
    }
    sections.join("\n\n")
}

fn facts(file: &TaskFile, now: UnixMs) -> render::Table {
    let task = &file.task;
    let mut table = render::Table::new(&["task", ""]);
    let mut row = |name: &str, value: Option<String>| {
        if let Some(value) = value {
            table.row([name.to_owned(), value]);
        }
    };
    row("id", Some(task.id.to_string()));
    row("state", Some(state(&task.state, now)));
    row(
        "cause",
        task.cause.as_ref().map(|cause| {
            let class = task.class.map_or("unknown", |class| class.label());
            format!("{cause} ({class})")
        }),
    );
    row("group", task.fingerprint.clone());
    row("account", Some(task.account.to_string()));
    row("method", Some(task.dimensions.method.clone()));
    row("site key", task.dimensions.sitekey.clone());
    row("host", task.dimensions.host.clone());
    row("proxy", task.dimensions.proxy.clone());
    row("batch", task.dimensions.batch.clone());
    row("hold", task.hold.clone());
    let spent = &task.counters;
    row(
        "spent",
        Some(format!(
            "{} of {} submits, {} failures, {} refusals, {} redrives",
            spent.submits, task.max_submits, spent.failures, spent.refusals, spent.redrives
        )),
    );
    row("accepted", Some(render::ago(task.created_at, now)));
    row("deadline", task.deadline_at.map(|at| render::ago(at, now)));
    table
}

fn state(state: &State, now: UnixMs) -> String {
    match state {
        State::Queued { due_at, why } => {
            format!("queued ({why}), due {}", render::ago(*due_at, now))
        }
        State::Polling { upstream_id } => format!("polling upstream id {upstream_id}"),
        State::Dead { reason } => format!("dead ({reason})"),
        State::Buried { reason } => format!("buried ({reason})"),
        other => other.kind().label().to_owned(),
    }
}
