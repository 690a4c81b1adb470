//! `deadletter solve`: one task, waited for.

use super::{run::is_unreached, spent::Spent};
use crate::{
    app::App,
    exit::Exit,
    fault::{Fault, Result},
    input::{KeyWatch, one_sitekey, param_of, twice, values_of},
    letter, render, shelf,
    signals::Signals,
    work,
};
use deadletter::{
    Deadletter, Job, Notice, Outcome,
    core::{Failure, Payload, Task},
};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Map, Value, json};

/// For a task that upstream would refuse.
const SEND_FIX: &str = "--param NAME=VALUE sets what has no option of its own; \
    --dry-run shows what would be sent";

/// Arguments.
#[derive(Debug, clap::Args)]
#[command(
    before_help = "Examples:\n  deadletter solve --sitekey 6Le-wvkSAAAAAPBMRTvw --pageurl https://example.com/login\n  deadletter solve --method turnstile --sitekey 0x4AAA --pageurl https://example.com\n  deadletter solve --method base64 --param body=@captcha.png --param numeric=1",
    after_help = "The answer is the only line on standard output; with --json, an object with its age. What cannot be solved stays in the dead-letter queue: `deadletter list`."
)]
pub(crate) struct Args {
    /// Kind of job, in the provider's words
    #[arg(long, default_value = "userrecaptcha")]
    method: String,
    /// Site key (sent as googlekey for userrecaptcha)
    #[arg(long)]
    sitekey: Option<String>,
    /// Address of the page
    #[arg(long, value_name = "URL")]
    pageurl: Option<String>,
    /// Any other parameter, as often as needed; `NAME=@FILE` reads it from a file, images too
    #[arg(long = "param", value_name = "NAME=VALUE", value_parser = param_of)]
    params: Vec<(String, String)>,
    /// How long to wait: after it nothing new is submitted
    #[arg(long, value_name = "TIME", value_parser = render::duration_ms, default_value = "10m")]
    deadline: i64,
    /// Show what would be sent, without its secrets, and send nothing
    #[arg(long)]
    dry_run: bool,
}

pub(super) async fn run(app: &App, args: Args) -> Result<Exit> {
    let settings = app.settings()?;
    let request = request(&args)?;
    crate::input::sendable(&request, &args.method)
        .map_err(|why| Fault::usage("this task cannot be submitted").why(why).fix(SEND_FIX))?;
    refuse_key(&request, settings.key.as_ref())?;
    if args.dry_run {
        app.out.json(&letter::masked(&request).0)?;
        app.out.say("nothing was sent");
        return Ok(Exit::Good);
    }
    let job = Job::from_payload(Payload::new(request)).priority(0).deadline_ms(args.deadline);
    let mut signals = Signals::listen()?;
    let engine = work::engine(app, &settings).await?;
    let exit = solve(app, &engine, job, &mut signals).await;
    let stopped = engine.stop().await.map_err(work::of_engine);
    let exit = exit?;
    stopped.map(|()| exit)
}

async fn solve(app: &App, engine: &Deadletter, job: Job, signals: &mut Signals) -> Result<Exit> {
    let mut notices = engine.notices();
    let handle = engine.submit(job).await.map_err(work::of_engine)?;
    app.out.say(&format!("task {} is stored", handle.id));
    let mut waiting = std::pin::pin!(handle.wait());
    loop {
        tokio::select! {
            outcome = &mut waiting => {
                let spent = Spent::on(engine, handle.id, |_| true).await.map_err(shelf::fault)?;
                return shown(app, outcome.map_err(work::of_engine)?, spent);
            }
            () = signals.next() => {
                app.out.say(&format!("interrupted; task {} is kept: deadletter show {0}", handle.id));
                return Ok(Exit::Interrupted);
            }
            notice = notices.recv() => match notice {
                Ok(Notice::AccountStopped { failure, .. }) if failure.retry_after_ms.is_none() => {
                    return Err(stopped(&failure));
                }
                Ok(notice) => say(app, &notice)?,
                Err(_) => {}
            }
        }
    }
}

/// The account is stopped, and waiting does not help.
pub(super) fn stopped(failure: &Failure) -> Fault {
    let detail = match failure.detail.as_str() {
        "" => String::new(),
        detail => format!(": {detail}"),
    };
    Fault::new(Exit::Key, "upstream does not accept the account")
        .why(format!("{}{detail}", failure.cause))
        .fix("check the key and the plan; the tasks are kept, nothing more was sent")
}

/// What somebody who waits for tasks wants to hear; a store that fails ends the wait.
pub(super) fn say(app: &App, notice: &Notice) -> Result<()> {
    match notice {
        Notice::StoreFails(error) => return Err(shelf::shared_fault(error)),
        Notice::Breaker { account, transition } => {
            let (to, reason) = (transition.to, &transition.reason);
            app.out.say(&format!("breaker of {account}: {to} ({reason})"));
        }
        Notice::AccountStopped { account, failure } => {
            app.out.warn(&format!("account {account} is stopped: {}", failure.cause));
        }
        Notice::AccountResumed { account } => app.out.say(&format!("account {account} goes on")),
        _ => {}
    }
    Ok(())
}

fn shown(app: &App, outcome: Outcome, spent: Spent) -> Result<Exit> {
    spent.tell_doubt(app);
    match outcome {
        Outcome::Solved(answer) if app.global.json => {
            app.out.json(&json!({
                "task": answer.task,
                "state": "solved",
                "answer": answer.expose(),
                "submits": spent.submits,
                "in_doubt": spent.in_doubt,
                "user_agent": answer.user_agent,
                "solved_at": render::instant(answer.solved_at),
                "expires_at": answer.expires_at.map(render::instant),
            }))?;
            Ok(Exit::Good)
        }
        Outcome::Solved(answer) => {
            app.out.say(&format!("solved after {}", spent.counted()));
            app.out.data(answer.text.expose_secret())?;
            Ok(Exit::Good)
        }
        Outcome::Unsolved(task) => {
            if app.global.json {
                let shown = letter::dated(&*task);
                app.out.json(
                    &shown.map_err(|e| Fault::failed("cannot write it as JSON").because(e))?,
                )?;
            }
            app.out.warn(&why_dead(&task));
            Ok(if is_unreached(&task) { Exit::Upstream } else { Exit::DeadTasks })
        }
    }
}

/// One line about a task that ended without an answer.
fn why_dead(task: &Task) -> String {
    let cause = task.cause.as_ref().map_or("no cause", |cause| cause.as_str());
    let state = task.kind();
    let submits = render::counted(task.counters.submits, "submit", "submits");
    format!("task {} is {state} after {submits}: {cause}; deadletter show {0}", task.id)
}

fn request(args: &Args) -> Result<Map<String, Value>> {
    let mut fields = Map::new();
    fields.insert("method".to_owned(), args.method.clone().into());
    let sitekey_name = if args.method == "userrecaptcha" { "googlekey" } else { "sitekey" };
    let named = [(sitekey_name, &args.sitekey), ("pageurl", &args.pageurl)];
    for (name, value) in named {
        fields.extend(value.clone().map(|value| (name.to_owned(), Value::from(value))));
    }
    for (name, value) in values_of(&args.params)? {
        if fields.get(&name).is_some_and(|said| *said != value) {
            return Err(twice(&name));
        }
        fields.insert(name, value);
    }
    one_sitekey(fields.get("sitekey"), fields.get("googlekey"))
        .map_err(|why| Fault::usage("this task cannot be submitted").why(why).fix(SEND_FIX))?;
    Ok(fields)
}

/// The key is no part of a task, whatever the parameter is called.
fn refuse_key(request: &Map<String, Value>, key: Option<&SecretString>) -> Result<()> {
    let watch = KeyWatch::new(key);
    match request.iter().find(|(name, value)| watch.finds_in(name) || watch.finds_in_value(value)) {
        None => Ok(()),
        Some((name, _)) => {
            let name = watch.mask(name);
            Err(Fault::usage(format!("the value of {name} holds the account's key"))
                .why("it would be stored with the task, and shown")
                .fix(format!("leave {name} out: the key is sent without it")))
        }
    }
}
