//! `deadletter simulate`: an upstream with scripted faults on a port of this machine.

use crate::{
    app::App,
    config::TIME_SCALE_VARIABLE,
    exit::Exit,
    fault::{Fault, Result},
    render,
    signals::Signals,
};
use deadletter_sim::{DEFAULT_KEY, Scenario, Simulator};
use serde_json::json;
use std::path::{Path, PathBuf};

/// A scenario file is written by hand.
const SCENARIO_BYTES: u64 = 1 << 20;

/// Arguments.
#[derive(Debug, clap::Args)]
#[command(
    before_help = "Examples:\n  deadletter simulate --scenario outage --speed 20x\n  deadletter simulate --scenario flaky --seed 7 --port 8089 --log requests.jsonl",
    after_help = "It listens on 127.0.0.1 only and solves nothing. Stop it with ctrl-C."
)]
pub(crate) struct Args {
    /// A scenario by name, or a file that holds one
    #[arg(long, value_name = "NAME|FILE", default_value = "happy")]
    scenario: String,
    /// Print the names of the scenarios and what they show
    #[arg(long)]
    list: bool,
    /// Decides every draw [default: the scenario's]
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// How many times faster than real time: 20x [default: the scenario's]
    #[arg(long, value_name = "N", value_parser = pace)]
    speed: Option<f64>,
    /// Port on 127.0.0.1; 0 takes a free one
    #[arg(long, value_name = "N", default_value_t = 0)]
    port: u16,
    /// Threads of each key [default: the scenario's]
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = crate::number::from_1)]
    threads: Option<usize>,
    /// Append every request to this file, as a line of JSON
    #[arg(long, value_name = "FILE")]
    log: Option<PathBuf>,
    /// Open /admin/ for tests: POST /admin/outage?mode=html_502 (reset, hang, off; refuse&for_ms=N),
    /// /admin/threads?n=N, /admin/speed?factor=F, /admin/advance?ms=N; GET /admin/stats, /admin/log
    #[arg(long)]
    admin: bool,
}

pub(super) async fn run(app: &App, args: Args) -> Result<Exit> {
    if args.list {
        return list(app);
    }
    let scenario = read(&args)?;
    let mut signals = Signals::listen()?;
    let facts = (scenario.seed, scenario.speed);
    let simulator = Simulator::start_on(scenario, args.port)
        .await
        .map_err(|error| Fault::failed("cannot start the simulator").because(error))?;
    announce(app, &args, facts, &simulator.base_url())?;
    signals.next().await;
    let stats = simulator.stats();
    simulator.stop().await;
    let counted = |n: u64| render::count(i64::try_from(n).unwrap_or(i64::MAX));
    app.out.say(&format!(
        "stopped after {} requests: {} submits ({} paid), {} polls",
        counted(stats.requests),
        counted(stats.submits),
        counted(stats.paid),
        counted(stats.polls),
    ));
    Ok(Exit::Good)
}

fn announce(app: &App, args: &Args, (seed, speed): (u64, f64), base: &str) -> Result<()> {
    if app.global.json {
        return app.out.json(&json!({
            "submit_endpoint": format!("{base}/in.php"),
            "result_endpoint": format!("{base}/res.php"),
            "key": DEFAULT_KEY,
            "scenario": args.scenario,
            "seed": seed,
            "speed": speed,
        }));
    }
    app.out.say(&format!("scenario {}, seed {seed}, {speed} times real time", args.scenario));
    app.out.say("in another terminal, to point a program at it (the key is worth nothing):");
    app.out.data(&format!("export CAPTCHAAI_SUBMIT_ENDPOINT={base}/in.php"))?;
    app.out.data(&format!("export CAPTCHAAI_RESULT_ENDPOINT={base}/res.php"))?;
    app.out.data(&format!("export CAPTCHAAI_API_KEY={DEFAULT_KEY}"))?;
    // Times of a simulation have no place among those of real tasks.
    let place = app.environment.variable("TMPDIR").unwrap_or("/tmp").trim_end_matches('/');
    let port = base.rsplit(':').next().unwrap_or("0");
    app.out
        .data(&format!("export DEADLETTER_STORE=sqlite:{place}/deadletter-simulated-{port}.db"))?;
    if speed > 1.0 {
        app.out.say("deadletter's own waits can run as fast as the simulator's:");
        app.out.data(&format!("export {TIME_SCALE_VARIABLE}={speed}"))?;
    }
    Ok(())
}

fn list(app: &App) -> Result<Exit> {
    let mut table = render::Table::new(&["scenario", "what it shows"]);
    for name in Scenario::names() {
        let scenario = Scenario::named(name)
            .map_err(|error| Fault::failed("a scenario of ours is broken").because(error))?;
        if app.out.is_table() {
            table.row([name.to_owned(), scenario.about]);
        } else {
            app.out.json(&json!({"scenario": name, "about": scenario.about}))?;
        }
    }
    if app.out.is_table() {
        app.out.picture(&table.draw(app.out.width, app.out.glyphs))?;
    }
    Ok(Exit::Good)
}

fn read(args: &Args) -> Result<Scenario> {
    let mut scenario = if Scenario::names().any(|name| name == args.scenario) {
        Scenario::named(&args.scenario)
    } else if Path::new(&args.scenario).is_file() {
        Scenario::from_toml(&text_of(Path::new(&args.scenario))?)
    } else {
        return Err(unknown(&args.scenario));
    }
    .map_err(|error| Fault::usage(format!("{} is no scenario", args.scenario)).because(error))?;
    scenario.seed = args.seed.unwrap_or(scenario.seed);
    scenario.speed = args.speed.unwrap_or(scenario.speed);
    scenario.threads = args.threads.unwrap_or(scenario.threads);
    scenario.admin |= args.admin;
    scenario.log_file = args.log.clone().or(scenario.log_file);
    Ok(scenario)
}

fn text_of(path: &Path) -> Result<String> {
    let failed = |error| Fault::usage(format!("cannot read {}", path.display())).because(error);
    if std::fs::metadata(path).map_err(failed)?.len() > SCENARIO_BYTES {
        return Err(Fault::usage(format!("{} is too long for a scenario", path.display())));
    }
    std::fs::read_to_string(path).map_err(failed)
}

fn unknown(name: &str) -> Fault {
    let fault = Fault::usage(format!("there is no scenario and no file {name}"));
    match crate::config::nearest(name, Scenario::names()) {
        Some(near) => fault.fix(format!("did you mean {near}?")),
        None => fault.fix("`deadletter simulate --list` shows every name"),
    }
}

/// A pace such as `20x` or `20`.
fn pace(text: &str) -> Result<f64, String> {
    match text.strip_suffix('x').unwrap_or(text).parse::<f64>() {
        Ok(pace) if pace.is_finite() && pace > 0.0 => Ok(pace),
        _ => Err("it is a number above 0, such as 20x".to_owned()),
    }
}
