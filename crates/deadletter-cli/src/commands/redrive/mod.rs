//! `deadletter redrive`: dead letters back under control.

mod paused;

use super::{
    act::{self, chosen_ids, confirmed, refuse_unknown, who},
    answers::Answers,
    follow::{self, Before, Follow},
};
use crate::{
    app::App,
    exit::Exit,
    fault::{Fault, Result},
    render,
    shelf::{dead_unless, filter_of, refuse_missing},
    signals::Signals,
    work,
};
use deadletter::{
    Deadletter, Notice, OperationState, RedriveOptions, RedrivePlan,
    core::{Filter, OperationId, TaskId, decide::Eligibility},
};
use serde_json::json;
use std::path::PathBuf;
use tokio::sync::broadcast::Receiver;

/// Said where nobody gets the answers.
pub(super) const ANSWERS_STAY: &str =
    "answers stay in the store, and most live two minutes: --out writes them";

/// Arguments.
#[derive(Debug, clap::Args)]
#[command(
    before_help = "Examples:\n  deadletter redrive --where cause:TIMEOUT --dry-run\n  deadletter redrive --where 'host:shop.example.com age:<24h' --rate 5 --yes\n  deadletter redrive --resume redrive-116230479282176 --yes",
    after_help = "A redrive asks first for what is paid for already; what it submits again counts: each redrive grants two more submits, and the failure that makes seven buries. It takes dead letters alone, begins with a few, speeds up to --rate, and waits while the breaker is open. What nobody waits for any more (its client was told of the death, or its deadline passed) is counted before, and --out keeps its answer. Where nearly all die again it pauses itself, and the rest stays dead until --resume lets it go on. Ctrl-C ends the watching: the next process that works goes on with it. Exit code 3: some died again."
)]
pub(crate) struct Args {
    /// Ids of tasks
    #[arg(value_name = "ID")]
    ids: Vec<TaskId>,
    /// Which dead letters
    #[arg(
        long = "where",
        value_name = "FILTER",
        allow_hyphen_values = true,
        conflicts_with = "ids"
    )]
    filter: Option<String>,
    /// Let an operation go on that paused itself, with the options that it began with
    #[arg(
        long,
        value_name = "OPERATION",
        conflicts_with_all = ["ids", "filter", "dry_run", "limit", "rate", "force", "keep_deadline"]
    )]
    resume: Option<OperationId>,
    /// Show what it would do, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// Do not ask; needed where there is no terminal to ask at
    #[arg(long, short)]
    yes: bool,
    /// Tasks per second at most
    #[arg(long, value_name = "N", default_value_t = 50.0)]
    rate: f64,
    /// Tasks at most
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = crate::number::from_0)]
    limit: Option<u64>,
    /// Also tasks whose reason says that the same request fails again
    #[arg(long)]
    force: bool,
    /// Keep old deadlines; without this a redriven task has none
    #[arg(long)]
    keep_deadline: bool,
    /// Why, for the audit log
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// Leave the work to a running process
    #[arg(long, conflicts_with = "out")]
    detach: bool,
    /// Append verdicts and answers to this file, .csv or JSON lines
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

pub(super) async fn run(app: &App, args: Args) -> Result<Exit> {
    if !(args.rate.is_finite() && args.rate > 0.0) {
        return Err(Fault::usage("--rate is not a number above 0").fix("for example: --rate 5"));
    }
    let filter = if args.resume.is_some() { Filter::default() } else { chosen(&args)? };
    let settings = app.settings()?;
    let options = RedriveOptions {
        rate: args.rate,
        limit: args.limit,
        force: args.force,
        for_nobody: true,
        keep_deadline: args.keep_deadline,
        by: who(app),
        why: args.reason.clone(),
    };
    refuse_missing(&settings).await?;
    let desk_only = args.dry_run || args.detach;
    let engine =
        if desk_only { work::desk(&settings).await? } else { work::engine(app, &settings).await? };
    let mut signals = Signals::listen()?;
    let end = match &args.resume {
        Some(id) => resume(app, &engine, id, &args, &mut signals).await,
        None => redrive(app, &engine, &filter, options, &args, &mut signals).await,
    };
    let stopped = tokio::select! {
        stopped = engine.stop() => stopped.map_err(work::of_engine),
        // Asked to stop once more: what is on the wire is left in doubt.
        () = signals.next() => Ok(()),
    };
    // What ended the work is told first: a store that failed then fails again at the stop.
    let end = end?;
    stopped.map(|()| end)
}

async fn redrive(
    app: &App,
    engine: &Deadletter,
    filter: &Filter,
    options: RedriveOptions,
    args: &Args,
    signals: &mut Signals,
) -> Result<Exit> {
    refuse_unknown(engine, &args.ids).await?;
    let plan = engine.desk().plan_redrive(filter, &options).await.map_err(work::of_engine)?;
    show(app, filter, &plan, options.force)?;
    if plan.eligible == 0 {
        let why = if plan.count == 0 { "no dead letter matches" } else { "none of them can be" };
        app.out.say(&format!("nothing to redrive: {why}"));
    }
    if plan.for_nobody > 0 && args.out.is_none() {
        app.out.warn(&nobody_waits(plan.for_nobody));
    }
    if args.dry_run || plan.eligible == 0 {
        return Ok(Exit::Good);
    }
    if !args.yes
        && !confirmed(
            app,
            &format!("redrive {}?", render::counted(plan.eligible, "task", "tasks")),
        )?
    {
        app.out.say("nothing was changed");
        return Ok(Exit::Good);
    }
    let answers = answers(app, args)?;
    let notices = engine.notices();
    let before = follow::before(engine, &plan.eligible_ids).await?;
    let id = engine.desk().redrive(filter, options).await.map_err(work::of_engine)?;
    app.out.say(&format!("operation {id} has begun"));
    let begun = Begun { id: &id, before, answers, notices };
    watch(app, engine, begun, args.detach, signals).await
}

async fn resume(
    app: &App,
    engine: &Deadletter,
    id: &OperationId,
    args: &Args,
    signals: &mut Signals,
) -> Result<Exit> {
    if !paused::is_confirmed(app, engine, id, args).await? {
        app.out.say("nothing was changed");
        return Ok(Exit::Good);
    }
    let (answers, notices) = (answers(app, args)?, engine.notices());
    let before = paused::let_go_on(app, engine, id, args).await?;
    app.out.say(&format!("operation {id} goes on"));
    watch(app, engine, Begun { id, before, answers, notices }, args.detach, signals).await
}

fn answers(app: &App, args: &Args) -> Result<Option<Answers>> {
    if let Some(path) = &args.out {
        return Answers::open(Some(path.clone()), false, false).map(Some);
    }
    app.out.say(ANSWERS_STAY);
    Ok(None)
}

/// An operation that runs, and what is needed to tell what comes of it.
struct Begun<'a> {
    id: &'a OperationId,
    before: Before,
    answers: Option<Answers>,
    /// From before it ran.
    notices: Receiver<Notice>,
}

async fn watch(
    app: &App,
    engine: &Deadletter,
    mut begun: Begun<'_>,
    detach: bool,
    signals: &mut Signals,
) -> Result<Exit> {
    if detach {
        app.out.say("a running process does the work: deadletter run, or deadletter redrive");
        return Ok(Exit::Good);
    }
    let id = begun.id;
    let mut follow = Follow::begin(app, engine, id, begun.before, begun.answers.as_mut());
    let exit = follow.until_over(&mut begun.notices, signals).await?;
    if exit == Exit::Interrupted {
        app.out.say(&format!("interrupted; operation {id} goes on with the next process"));
    }
    follow.progress.end(app, engine);
    let found = engine.desk().operation(id).await.map_err(work::of_engine)?;
    let Some((operation, [_, _, skipped])) = found else { return Ok(exit) };
    if skipped > 0 {
        app.out.say(&act::told(&operation, skipped));
    }
    if operation.state == OperationState::Paused {
        app.out.say(&format!("once the cause is gone: deadletter redrive --resume {id}"));
    }
    Ok(exit)
}

/// Of those for whose answers nobody waits.
fn nobody_waits(n: u64) -> String {
    let tasks = render::counted(n, "task is", "tasks are");
    format!(
        "{tasks} redriven for nobody: whoever asked was told of the death or has given up, and no \
         delivery or batch takes the answer; --out FILE does"
    )
}

fn chosen(args: &Args) -> Result<Filter> {
    match &args.filter {
        Some(text) => dead_unless(filter_of(std::slice::from_ref(text))?, "state:dead"),
        None => chosen_ids(&args.ids, "redrive --where cause:TIMEOUT --dry-run"),
    }
}

fn show(app: &App, filter: &Filter, plan: &RedrivePlan, is_forced: bool) -> Result<()> {
    let eligibility: serde_json::Map<_, _> = plan
        .by_eligibility
        .iter()
        .map(|(verdict, n)| (verdict.label().to_owned(), (*n).into()))
        .collect();
    if !app.out.is_table() {
        let samples: Vec<_> = plan.samples.iter().map(|task| task.id).collect();
        return app.out.json(&json!({
            "filter": filter.to_string(),
            "count": plan.count,
            "eligible": plan.eligible,
            "by_cause": plan.by_cause,
            "by_eligibility": eligibility,
            "for_nobody": plan.for_nobody,
            "needs_ms": plan.needs_ms,
            "samples": samples,
        }));
    }
    let mut table = render::Table::new(&["what a redrive does", "#tasks"]);
    for (verdict, n) in &plan.by_eligibility {
        table.row([meaning(*verdict, is_forced), n.to_string()]);
    }
    let mut causes: Vec<_> = plan
        .by_cause
        .iter()
        .map(|(cause, n)| (cause.clone(), i64::try_from(*n).unwrap_or(i64::MAX)))
        .collect();
    causes.sort_by_key(|(_, n)| std::cmp::Reverse(*n));
    let (count, eligible) = (plan.count, plan.eligible);
    let match_ = render::counted(count, "dead letter matches", "dead letters match");
    app.out.picture(&format!("{match_} {filter}; {eligible} can be redriven"))?;
    if count > 0 {
        app.out.picture(&table.draw(app.out.width, app.out.glyphs))?;
        app.out.picture(&render::bars("by cause", &causes, app.out.width, app.out.glyphs))?;
        app.out.picture(&format!("needs about {}", render::duration(plan.needs_ms)))?;
    }
    Ok(())
}

fn meaning(verdict: Eligibility, is_forced: bool) -> String {
    match (verdict, why_left(verdict)) {
        (Eligibility::Resume, _) => "asks for the paid id again: costs nothing".to_owned(),
        (Eligibility::Hopeless, _) if is_forced => "submits again, forced".to_owned(),
        (Eligibility::Hopeless, Some(why)) => format!("skips: {why} (--force)"),
        (_, Some(why)) => format!("skips: {why}"),
        (_, None) => "submits again".to_owned(),
    }
}

/// Why a redrive leaves such a task alone; none where it does not.
pub(super) const fn why_left(verdict: Eligibility) -> Option<&'static str> {
    match verdict {
        Eligibility::Resume | Eligibility::Submit => None,
        Eligibility::Hopeless => Some("the same request fails again"),
        Eligibility::Spent => Some("all submits are spent (bury, then exhume --submits)"),
        Eligibility::Held => Some("held, since their secrets are masked"),
        Eligibility::NoAccount => Some("their account is not configured here"),
        Eligibility::NobodyWaits => Some(
            "whoever asked was told of the death or has given up, so nobody waits for an answer (--out, or --for-nobody)",
        ),
        Eligibility::NotDead => Some("no dead letters any more"),
    }
}
