//! `deadletter drain`: passes of redriving what may succeed, one drain at a time.
//!
//! A pass is a redrive like any other: audited, behind the breaker, within each task's limit of
//! submits. So a task whose submits keep failing is buried after a few passes, and what a drain
//! pays for has an end, though one that begins `--every` so often has none.

mod pass;

use super::{act::who, answers::Answers, redrive::ANSWERS_STAY};
use crate::{
    app::App,
    exit::Exit,
    fault::{Fault, Result},
    render,
    shelf::{filter_of, refuse_missing},
    signals::Signals,
    work,
};
use deadletter::{
    Deadletter, Holder, RedriveOptions, Turn, TurnTaken,
    core::{Filter, UnixMs, filter::Key},
    worker_label,
};
use pass::{Done, Pass, taken_over};
use std::path::PathBuf;

/// Dead letters that may succeed: neither the request nor a person's decision stands in the way.
const MAY_SUCCEED: &str = "state:dead reason:attempts_exhausted,proxy,deadline,upstream_lost";
/// What the audit log says of why a drain redrives.
const WHY: &str = "drain";
/// The turn that drains of one store take.
const TURN: &str = "drain";

/// Arguments.
#[derive(Debug, clap::Args)]
#[command(
    before_help = "Examples:\n  deadletter drain\n  deadletter drain --where host:shop.example.com --max 100 --out answers.jsonl\n  deadletter drain --every 15m --rate 5",
    after_help = "A pass is a redrive that nobody is asked about: it ends when each of its tasks has a verdict. Without a filter on reason or class, only dead letters that may succeed are taken: their submits or their proxies failed, their deadline passed, or upstream lost them. Without --out those are left out that nobody waits for: jobs of the gateway whose clients were told of the death, or whose deadline passed, and no pingback. Each pass grants two more submits; the failure that makes seven buries. While the breaker is open nothing but probes is sent, and the pass waits. One drain works on a store at a time; another one says who does, and ends (or waits, with --wait). Ctrl-C ends it: what was brought back is kept and goes on with the next process, the rest stays dead. Exit code 3: some died again; with --every, 0 at its end."
)]
pub(crate) struct Args {
    /// Which dead letters
    #[arg(long = "where", value_name = "FILTER", allow_hyphen_values = true)]
    filter: Option<String>,
    /// Go on with a pass each so often; one that takes longer skips the times that it misses
    #[arg(long, value_name = "TIME", value_parser = render::duration_ms)]
    every: Option<i64>,
    /// Tasks of one pass at most
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = crate::number::from_0)]
    max: Option<u64>,
    /// Tasks per second at most
    #[arg(long, value_name = "N", default_value_t = 50.0)]
    rate: f64,
    /// Also tasks that nobody waits for: whoever asked was told of the death or has given up, and
    /// no delivery or batch takes the answer; with --out they are taken as well
    #[arg(long)]
    for_nobody: bool,
    /// Wait while another drain works
    #[arg(long)]
    wait: bool,
    /// Append verdicts and answers to this file, .csv or JSON lines
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

pub(super) async fn run(app: &App, args: Args) -> Result<Exit> {
    if !(args.rate.is_finite() && args.rate > 0.0) {
        return Err(Fault::usage("--rate is not a number above 0").fix("for example: --rate 5"));
    }
    let filter = chosen(args.filter.as_ref())?;
    let settings = app.settings()?;
    refuse_missing(&settings).await?;
    let answers = match &args.out {
        Some(path) => Some(Answers::open(Some(path.clone()), false, false)?),
        None => None,
    };
    let engine = work::idle(app, &settings).await?;
    let mut signals = Signals::listen()?;
    let end = drain(app, &engine, &args, filter, answers, &mut signals).await;
    let stopped = tokio::select! {
        stopped = engine.stop() => stopped.map_err(work::of_engine),
        // Asked to stop once more: what is on the wire is left in doubt.
        () = signals.next() => Ok(()),
    };
    let end = end?;
    stopped.map(|()| end)
}

/// What may succeed, unless the filter itself says for what reasons.
fn chosen(text: Option<&String>) -> Result<Filter> {
    let failed = |error| Fault::failed("a filter of ours is broken").because(error);
    let usual: Filter = MAY_SUCCEED.parse().map_err(failed)?;
    let Some(text) = text else { return Ok(usual) };
    let given = filter_of(std::slice::from_ref(text))?.unwrap_or_default();
    if given.mentions(Key::Reason) || given.mentions(Key::Class) {
        return Ok(given);
    }
    given.and(&usual).map_err(|error| Fault::usage("the filter is too long").because(error))
}

async fn drain(
    app: &App,
    engine: &Deadletter,
    args: &Args,
    filter: Filter,
    answers: Option<Answers>,
    signals: &mut Signals,
) -> Result<Exit> {
    let Some(turn) = take_turn(app, engine, args.wait, signals).await? else {
        return Ok(Exit::Interrupted);
    };
    if answers.is_none() {
        app.out.say(ANSWERS_STAY);
    }
    let options = RedriveOptions {
        rate: args.rate,
        limit: args.max,
        for_nobody: args.for_nobody || args.out.is_some(),
        by: who(app),
        why: Some(WHY.to_owned()),
        ..RedriveOptions::default()
    };
    let passes = async {
        end_what_was_left(app, &turn).await?;
        work::begin(app, engine).await?;
        let mut pass = Pass { app, engine, turn: &turn, filter, options, answers };
        repeat(app, engine, &mut pass, args.every, signals).await
    };
    let end = tokio::select! {
        end = passes => end,
        // In whatever the pass is just now: nothing goes on once the turn is another's.
        kept = turn.keep() => Err(kept.map_or_else(work::of_engine, |()| taken_over())),
    };
    // A turn that names what is not ended is left as it is: whoever takes it over ends that.
    let ended = match turn.end_redrive(&who(app), Some(WHY)).await {
        Ok(()) => turn.give_back().await,
        failed => failed,
    };
    let exit = end?;
    ended.map_err(work::of_engine).map(|()| exit)
}

/// One pass, or one at each multiple of `every_ms` after the first.
async fn repeat(
    app: &App,
    engine: &Deadletter,
    pass: &mut Pass<'_>,
    every_ms: Option<i64>,
    signals: &mut Signals,
) -> Result<Exit> {
    let clock = engine.store().clock();
    let first_at = clock.now();
    let mut before: Option<Done> = None;
    for n in 1_u64.. {
        let began_at = clock.now();
        let done = pass.run(signals).await?;
        let is_interrupted = done.exit == Exit::Interrupted;
        let goes_on = every_ms.filter(|_| !is_interrupted);
        let next_at = goes_on.map(|ms| next_after(first_at, ms, clock.now()));
        done.tell(app, n, (began_at, clock.now()), next_at, before.as_ref())?;
        if is_interrupted {
            app.out.say("interrupted: what was brought back goes on with the next process");
        }
        if every_ms.is_none() {
            return Ok(done.exit);
        }
        let Some(next_at) = next_at else { break };
        if !pass.wait_until(next_at, signals).await? {
            break;
        }
        before = Some(done);
    }
    // A signal is how it ends where it was told to go on and on.
    app.out.say("the drain has ended");
    Ok(Exit::Good)
}

/// The next multiple of `every_ms` after `first_at` that is not over: a pass that takes longer does
/// not shift those behind it.
fn next_after(first_at: UnixMs, every_ms: i64, now: UnixMs) -> UnixMs {
    let passed = now.since(first_at).max(0) / every_ms.max(1);
    first_at.plus(passed.saturating_add(1).saturating_mul(every_ms.max(1)))
}

/// Our turn; none where a signal came first.
async fn take_turn(
    app: &App,
    engine: &Deadletter,
    waits: bool,
    signals: &mut Signals,
) -> Result<Option<Turn>> {
    let label = format!("{}, {}", worker_label(std::process::id()), who(app));
    let mut said = None;
    loop {
        let holder = match engine.desk().take_turn(TURN, &label).await.map_err(work::of_engine)? {
            TurnTaken::Ours(turn) => return Ok(Some(turn)),
            TurnTaken::Theirs(holder) => holder,
        };
        let words = held(&holder, engine.store().clock().now());
        if !waits {
            return Err(Fault::failed("another drain is under way")
                .why(words)
                .fix("wait for its end, or repeat it with --wait"));
        }
        if said.as_ref() != Some(&holder.label) {
            app.out.say(&format!("another drain is under way: {words}; waiting for its end"));
            said = Some(holder.label);
        }
        tokio::select! {
            () = signals.next() => return Ok(None),
            () = tokio::time::sleep(super::follow::TICK) => {}
        }
    }
}

fn held(holder: &Holder, now: UnixMs) -> String {
    let does = holder.operation.as_ref().map_or(String::new(), |id| format!(", at work on {id}"));
    format!("{} began it {}{does}", holder.label, render::ago(holder.since, now))
}

/// The pass of a drain that died is over: what it has not brought back is ours to bring back.
async fn end_what_was_left(app: &App, turn: &Turn) -> Result<()> {
    let Some(holder) = &turn.left_by else { return Ok(()) };
    app.out.say(&format!("taken over from a drain that is gone: {}", holder.label));
    turn.end_redrive(&who(app), Some("its drain is gone")).await.map_err(work::of_engine)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passes_keep_to_their_grid() {
        let first = UnixMs(1_000);
        for (now, next) in [(1_000, 1_500), (1_499, 1_500), (1_500, 2_000), (9_999, 10_000)] {
            assert_eq!(next_after(first, 500, UnixMs(now)), UnixMs(next), "at {now}");
        }
    }

    #[test]
    fn a_filter_narrows_what_may_succeed_unless_it_names_reasons() {
        let shown = |text: &str| chosen(Some(&text.to_owned())).expect("a filter").to_string();
        assert!(shown("host:a.example").contains("reason:attempts_exhausted"));
        assert!(!shown("reason:in_doubt").contains("attempts_exhausted"));
        assert!(chosen(None).expect("ours").mentions(Key::Reason));
    }
}
