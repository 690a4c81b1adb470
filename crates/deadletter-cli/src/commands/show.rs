//! `deadletter show`: one task with its request, its history, and what its cause means.

use crate::{
    app::App,
    exit::Exit,
    fault::{Fault, Result},
    letter,
    render::{self, Timeline},
    shelf, work,
};
use deadletter::{
    Report, ReportState, TaskFile,
    core::{Cause, Delivery, DeliveryState, State, TaskId, UnixMs},
    provider::captchaai::codes,
    report_on,
};
use serde_json::{Value, json};

/// Deliveries of one task that are shown: each is an end of it, and few tasks end more than twice.
const DELIVERIES: u32 = 20;
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
    let mut cause = None;
    for id in args.ids {
        let file = shelf.file(id).await?.ok_or_else(|| {
            Fault::failed(format!("there is no task {id}"))
                .why(format!("the store {} does not know it, or it was purged", shelf.store.url()))
                .fix("`deadletter list '*'` lists every task")
        })?;
        let record = shelf.record(id).await?;
        let report = report_on(shelf.store.as_ref(), id).await.map_err(work::of_engine)?;
        let deliveries = shelf.store.deliveries(id, DELIVERIES).await.map_err(shelf::fault)?;
        let beside = Beside { report, deliveries };
        let timeline = Timeline::of(&file.task, &file.attempts, &record);
        if app.out.is_table() {
            app.out.picture(&page(&file, &timeline, beside, args.with_secrets, shelf.now()))?;
        } else {
            app.out.json(&document(&file, &timeline, beside, args.with_secrets)?)?;
        }
        cause = cause.or(file.task.cause);
    }
    super::explain::hint(app, cause.as_ref().map(Cause::as_str));
    Ok(Exit::Good)
}

/// What stands beside a task: what was said of its answer, and who was told of its ends.
struct Beside {
    report: Option<Report>,
    /// Newest first.
    deliveries: Vec<Delivery>,
}

/// The letter as export has it, and its time line.
fn document(
    file: &TaskFile,
    timeline: &Timeline,
    beside: Beside,
    with_secrets: bool,
) -> Result<Value> {
    let unwritable = |error| Fault::failed("cannot write a letter as JSON").because(error);
    let letter = letter::document(file, with_secrets);
    let mut shown = serde_json::to_value(&letter).map_err(unwritable)?;
    let moments = timeline
        .moments
        .iter()
        .map(|moment| json!({"at": render::instant(moment.at), "what": moment.what}));
    if let Some(fields) = shown.as_object_mut() {
        fields.insert("timeline".to_owned(), moments.collect());
        fields.extend(beside.report.map(|report| ("report".to_owned(), reported(&report))));
        if !beside.deliveries.is_empty() {
            let deliveries = beside.deliveries.iter().map(delivered).collect();
            fields.insert("deliveries".to_owned(), deliveries);
        }
    }
    Ok(shown)
}

fn reported(report: &Report) -> Value {
    json!({
        "verdict": verdict(report),
        "at": render::instant(report.at),
        "state": report.state.label(),
        "tries": report.tries,
        "upstream_said": report.said,
    })
}

/// The target's whole URL may hold a secret: it is shown with the request, where that is asked for.
fn delivered(delivery: &Delivery) -> Value {
    json!({
        "id": delivery.id(),
        "place": delivery.place,
        "tells": delivery.ended.label(),
        "state": delivery.state.label(),
        "tries": delivery.tries,
        "made_at": render::instant(delivery.made_at),
        "due_at": delivery.due_at.map(render::instant),
        "settled_at": delivery.settled_at.map(render::instant),
        "said": delivery.said,
    })
}

/// To whom, what, and how far it has come.
fn delivery_line(delivery: &Delivery, now: UnixMs) -> [String; 3] {
    let Delivery { tries, due_at, settled_at, .. } = delivery;
    let ago = |at: &Option<UnixMs>| at.map_or_else(String::new, |at| render::ago(at, now));
    let course = match delivery.state {
        DeliveryState::Waiting => format!("waits ({}), sent {tries} times", ago(due_at)),
        DeliveryState::Delivered => format!("delivered ({}), sent {tries} times", ago(settled_at)),
        DeliveryState::GivenUp => format!("given up ({}), sent {tries} times", ago(settled_at)),
    };
    let said = delivery.said.as_deref().map_or(String::new(), |said| format!(": {said}"));
    [delivery.place.clone(), delivery.ended.label().to_owned(), render::plain(&(course + &said))]
}

const fn verdict(report: &Report) -> &'static str {
    if report.is_good { "good" } else { "bad" }
}

/// What the task's owner said of the answer, and how far it has come.
fn report_line(report: &Report, now: UnixMs) -> String {
    let said = report.said.as_deref().map_or(String::new(), |said| format!(": {said}"));
    let course = match report.state {
        ReportState::Waiting => format!("waits for upstream, sent {} times", report.tries),
        ReportState::Answered => "upstream has answered".to_owned(),
        ReportState::GivenUp => format!("given up after {} times", report.tries),
    };
    format!("{} ({}), {course}{said}", verdict(report), render::ago(report.at, now))
}

fn page(
    file: &TaskFile,
    timeline: &Timeline,
    beside: Beside,
    with_secrets: bool,
    now: UnixMs,
) -> String {
    let mut facts = facts(file, now);
    facts.extend(beside.report.map(|it| ["report".to_owned(), report_line(&it, now)]));
    let mut sections = vec![render::aligned(&facts)];
    if let Some(code) = file.task.cause.as_ref().and_then(|cause| codes::find(cause.as_str())) {
        sections.push(format!("  {}\n  {}", code.meaning, code.advice));
    }
    let letter = letter::document(file, with_secrets);
    let request = letter.request.iter().flatten().map(|(name, value)| {
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        [name.clone(), render::cut(&text, VALUE_CHARS)]
    });
    sections.push(match &letter.request {
        Some(_) => format!("request\n{}", render::aligned(&request.collect::<Vec<_>>())),
        None => "request\n  lost or unreadable: the store has it no more".to_owned(),
    });
    let moments = timeline.moments.iter().map(|moment| {
        let age = render::duration(moment.at.since(file.task.created_at));
        [render::instant(moment.at), age, moment.what.clone()]
    });
    sections.push(format!("history\n{}", render::aligned(&moments.collect::<Vec<_>>())));
    if !beside.deliveries.is_empty() {
        let lines: Vec<_> = beside.deliveries.iter().map(|it| delivery_line(it, now)).collect();
        sections.push(format!("deliveries\n{}", render::aligned(&lines)));
    }
    if let Some(answer) = &file.answer {
        sections.push(if with_secrets {
            format!("answer\n  {}", render::plain(answer.expose()))
        } else {
            format!("answer\n  {} characters; --with-secrets shows it", answer.expose().len())
        });
    }
    sections.join("\n\n")
}

fn facts(file: &TaskFile, now: UnixMs) -> Vec<[String; 2]> {
    let task = &file.task;
    let at = |at: UnixMs| format!("{} ({})", render::instant(at), render::ago(at, now));
    let mut rows = Vec::new();
    let mut row = |name: &str, value: Option<String>| {
        rows.extend(value.map(|value| [name.to_owned(), value]));
    };
    row("task", Some(task.id.to_string()));
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
    row("owner", task.owner.clone());
    row("idempotency key", task.idempotency_key.clone());
    row("hold", task.hold.clone());
    let spent = &task.counters;
    row(
        "spent",
        Some(format!(
            "{} of {} submits, {} failures, {} refusals, {} redrives",
            spent.submits, task.max_submits, spent.failures, spent.refusals, spent.redrives
        )),
    );
    row("accepted", Some(at(task.created_at)));
    row("deadline", task.deadline_at.map(at));
    rows
}

fn state(state: &State, now: UnixMs) -> String {
    match state {
        State::Queued { due_at, why } => {
            let due = render::instant(*due_at);
            format!("queued ({why}), due {due} ({})", render::ago(*due_at, now))
        }
        State::Polling { upstream_id } => format!("polling upstream id {upstream_id}"),
        State::Dead { reason } => format!("dead ({reason})"),
        State::Buried { reason } => format!("buried ({reason})"),
        other => other.kind().label().to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use deadletter::core::StateKind;

    #[test]
    fn a_delivery_is_told_in_a_line() {
        let delivery = Delivery {
            task: TaskId::try_from(42_u64).expect("small"),
            version: 5,
            place: "a.example:443".to_owned(),
            ended: StateKind::Dead,
            cause: None,
            class: None,
            answered_by: None,
            made_at: UnixMs(0),
            state: DeliveryState::GivenUp,
            due_at: None,
            tries: 3,
            settled_at: Some(UnixMs(60_000)),
            said: Some("answered with 410".to_owned()),
        };
        let [to, tells, course] = delivery_line(&delivery, UnixMs(180_000));
        assert_eq!((to.as_str(), tells.as_str()), ("a.example:443", "dead"));
        assert_eq!(course, "given up (2 m ago), sent 3 times: answered with 410");
    }
}
