//! A fleet of two gateways on one server, with clients that work through both, while
//! the gateways, the server and the line between them are killed, frozen and cut. After all of it
//! the promises of `check::CHECKS` hold, and every client has its answers.

mod client;
mod failover;
mod line;
mod postgres;
mod redis;
mod server;

use super::check::{Evidence, violations};
use super::place::Place;
use super::wire::Wire;
use client::{Client, Solved};
use deadletter::core::{Filter, StateKind, Task, UnixMs};
use deadletter::store::clock::Stopwatch;
use deadletter::store::{Clock, FastClock, Query, Store, SystemClock, open_existing};
use deadletter::worker_label;
use deadletter_sim::{DEFAULT_KEY, Scenario, Simulator};
use line::{Line, State};
use postgres::Postgres;
use redis::Redis;
use server::Server;
use std::collections::HashSet;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};
use std::thread::JoinHandle;
use std::time::Duration;
use tempfile::TempDir;

/// Programs and upstream run so many times faster than the wall: a job takes two seconds.
const SPEED: f64 = 10.0;
/// An id that was read is written down within a second of the wall.
const ON_ITS_WAY_MS: i64 = 1_000 * SPEED as i64;
/// Open jobs that the account allows, over both gateways; upstream itself would take more.
const THREADS: u32 = 12;
/// Clients: more than threads, so that jobs wait too.
const CLIENTS: u32 = 16;
/// Answers after each blow that prove that work goes on: more than were under way.
const ANSWERS: usize = 24;
/// The first of them comes well before a client gives up.
const LONGEST_WAIT: Duration = Duration::from_secs(90);
/// How often connections are ended, one time right after the other.
const ENDINGS: u32 = 30;
/// An attempt's time-out, in upstream's milliseconds.
const TIMEOUT_MS: i64 = 120_000;

/// Sends a process a signal.
fn signal(process: impl ToString, name: &str) {
    let sent = Command::new("kill").args([name, &process.to_string()]).status();
    assert!(sent.expect("kill exists").success());
}

/// A gateway at a port that it has again when it is started again.
struct Gateway<'a> {
    dir: &'a Path,
    address: String,
    variables: Vec<(&'static str, String)>,
    /// With its standard output, which is kept open.
    child: Option<(Child, BufReader<ChildStdout>)>,
}

impl<'a> Gateway<'a> {
    /// Starts it, and waits until it listens.
    fn start(dir: &'a Path, variables: Vec<(&'static str, String)>) -> Self {
        let free = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
        let address = free.local_addr().expect("bound").to_string();
        drop(free);
        let mut gateway = Self { dir, address, variables, child: None };
        gateway.begin();
        gateway
    }

    fn begin(&mut self) {
        let log = std::fs::OpenOptions::new().create(true).append(true).open(self.log());
        let mut child = Command::new(env!("CARGO_BIN_EXE_deadletter"))
            .args(["serve", "--listen", &self.address, "--deadline", "1h"])
            .current_dir(self.dir)
            .env_clear()
            .envs(self.variables.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log.expect("the folder can be written"))
            .spawn()
            .expect("the program starts");
        let mut out = BufReader::new(child.stdout.take().expect("piped"));
        let mut line = String::new();
        out.read_line(&mut line).expect("it says where it listens");
        assert!(line.contains(&self.address), "it listens at {line:?}");
        self.child = Some((child, out));
    }

    /// Where it says what it has to say.
    fn log(&self) -> PathBuf {
        let port = self.address.rsplit(':').next().unwrap_or_default();
        self.dir.join(format!("gateway-{port}.log"))
    }

    fn signal(&self, name: &str) {
        let (child, _) = self.child.as_ref().expect("it runs");
        signal(child.id(), name);
    }

    fn ended(&mut self) -> Option<i32> {
        let (mut child, _) = self.child.take().expect("it runs");
        child.wait().expect("it ends").code()
    }
}

impl Drop for Gateway<'_> {
    fn drop(&mut self) {
        if let Some((mut child, _)) = self.child.take() {
            child.kill().and_then(|()| child.wait()).expect("it is ours");
        }
    }
}

/// What is at work, and what came of it so far.
struct Fleet {
    store: Arc<dyn Store>,
    clients: Vec<JoinHandle<Result<(), String>>>,
    is_over: Arc<AtomicBool>,
    answers: Receiver<Solved>,
    solved: Vec<Solved>,
}

impl Fleet {
    /// Waits for so many answers, and tells how long the first and the last of them took.
    fn goes_on_after(&mut self, blow: &str) {
        let clock = Stopwatch::start();
        // What was answered before is no sign.
        self.solved.extend(self.answers.try_iter());
        let mut first = None;
        for _ in 0..ANSWERS {
            let solved = self.answers.recv_timeout(LONGEST_WAIT);
            self.solved.push(solved.unwrap_or_else(|error| panic!("after {blow}: {error}")));
            first = first.or(Some(clock.elapsed_us()));
        }
        let seconds = |us: u64| us as f64 / 1e6;
        println!(
            "{blow}: the first answer after {:.1} s, {ANSWERS} after {:.1} s",
            seconds(first.unwrap_or_default()),
            seconds(clock.elapsed_us())
        );
    }

    /// How many workers the store has declared dead.
    fn deaths(&self, runtime: &tokio::runtime::Runtime) -> usize {
        let workers = runtime.block_on(self.store.workers(1_000)).expect("the server answers");
        workers.iter().filter(|worker| worker.dead_at.is_some()).count()
    }

    /// Tokens of the attempts that a gateway, which takes and gives up nothing, has in hand.
    async fn in_hand_of(&self, gateway: &Gateway<'_>) -> HashSet<String> {
        let (child, _) = gateway.child.as_ref().expect("it runs");
        let label = worker_label(child.id());
        let workers = self.store.workers(1_000).await.expect("the server answers");
        let own: Vec<_> = workers.iter().filter(|it| it.label == label).collect();
        assert!(!own.is_empty(), "nobody is called {label}");
        let query = Query {
            filter: Filter::states(&[StateKind::Submitting, StateKind::Polling]),
            now: self.store.clock().now(),
            newest_first: false,
            after: None,
            limit: 1_000,
            scan_limit: 1_000,
        };
        let page = self.store.page(&query).await.expect("the server answers");
        assert_eq!(page.next, None, "all that is open fits in a page");
        let is_its = |task: &&Task| own.iter().any(|it| task.worker.as_ref() == Some(&it.id));
        let tokens = page.tasks.iter().filter(is_its).filter_map(|task| task.attempt);
        tokens.map(|token| token.to_string()).collect()
    }

    /// Waits until one more worker is declared dead.
    fn sees_a_death_after(&self, runtime: &tokio::runtime::Runtime, before: usize) {
        let clock = Stopwatch::start();
        while self.deaths(runtime) == before {
            let waited = u128::from(clock.elapsed_us());
            assert!(waited < LONGEST_WAIT.as_micros(), "nobody was declared dead");
            // tidy: allow sleep, because a store tells of a death only when it is asked.
            std::thread::sleep(Duration::from_millis(100));
        }
        println!("  declared dead after {:.1} s", clock.elapsed_us() as f64 / 1e6);
    }
}

fn started(gateways: &[&Gateway<'_>], store: Arc<dyn Store>) -> Fleet {
    let (sender, answers) = channel();
    let is_over = Arc::new(AtomicBool::new(false));
    let clients = (0..CLIENTS).map(|number| {
        let gateways = gateways.iter().map(|gateway| gateway.address.clone()).collect();
        let client =
            Client { number, gateways, is_over: Arc::clone(&is_over), solved: sender.clone() };
        std::thread::spawn(move || client.work())
    });
    let clients = clients.collect();
    Fleet { store, clients, is_over, answers, solved: Vec::new() }
}

#[test]
fn a_fleet_that_is_killed_frozen_and_cut_off_keeps_every_promise() {
    keeps_every_promise(&Postgres::start());
}

#[test]
fn a_fleet_on_redis_that_is_killed_frozen_and_cut_off_keeps_every_promise() {
    keeps_every_promise(&Redis::start());
}

fn keeps_every_promise(server: &dyn Server) {
    let site = Site::new(Scenario::default());
    let runtime = &site.runtime;
    let line = Line::to(runtime, server.port());
    let url = server.url(server.port());
    let mut near = Gateway::start(site.dir.path(), site.variables(&url));
    let far = Gateway::start(site.dir.path(), site.variables(&server.url(line.port)));
    let mut fleet = started(&[&near, &far], site.store(&url));
    fleet.goes_on_after("the start");

    near.signal("-KILL");
    near.ended();
    fleet.goes_on_after("a gateway was killed");
    near.begin();
    fleet.goes_on_after("it was started again");

    let clock = FastClock::new(site.anchor, SPEED);
    let mut blind = Vec::new();
    let (deaths, from) = (fleet.deaths(runtime), clock.now());
    far.signal("-STOP");
    let struck = runtime.block_on(fleet.in_hand_of(&far));
    fleet.sees_a_death_after(runtime, deaths);
    fleet.goes_on_after("the other was frozen past its lease");
    far.signal("-CONT");
    blind.push(Blind { from, until: clock.now(), struck });
    fleet.goes_on_after("it woke");

    let ended: u32 = (0..ENDINGS).map(|_| server.end_connections()).sum();
    assert!(ended > server.least_ended(ENDINGS), "{ended} connections were ended");
    fleet.goes_on_after(&format!("{ended} connections were ended"));
    server.stop();
    server.begin();
    fleet.goes_on_after("the server was restarted");
    server.kill();
    server.begin();
    fleet.goes_on_after("the server was killed");

    for (state, blow) in [(State::Cut, "was cut off"), (State::Silent, "heard nothing any more")] {
        let (deaths, from) = (fleet.deaths(runtime), clock.now());
        line.becomes(state);
        let struck = runtime.block_on(fleet.in_hand_of(&far));
        fleet.sees_a_death_after(runtime, deaths);
        fleet.goes_on_after(&format!("a gateway {blow}"));
        line.becomes(State::Whole);
        blind.push(Blind { from, until: clock.now(), struck });
        fleet.goes_on_after("its line was mended");
    }

    let solved = stand_down(fleet, [near, far]);
    let mut evidence = look(runtime, site.dir.path(), &url, &solved);
    forgive(&mut evidence, &blind);
    site.accepts(&evidence, &solved);
}

/// Where programs run, and upstream with them.
struct Site {
    runtime: tokio::runtime::Runtime,
    dir: TempDir,
    simulator: Simulator,
    /// When the clocks began to run fast.
    anchor: UnixMs,
}

impl Site {
    /// With upstream as the scenario says, but for its times.
    fn new(scenario: Scenario) -> Self {
        let runtime = super::runtime();
        let dir = tempfile::tempdir().expect("a folder");
        let scenario = scenario.speed(SPEED).threads(1_000).solve_ms(12_000);
        let scenario = scenario.log_file(dir.path().join("upstream.jsonl"));
        let simulator = runtime.block_on(Simulator::start(scenario)).expect("a free port");
        let toml = format!("[account]\nthreads = {THREADS}\n");
        std::fs::write(dir.path().join("deadletter.toml"), toml).expect("written");
        Self { runtime, dir, simulator, anchor: SystemClock.now() }
    }

    fn variables(&self, store: &str) -> Vec<(&'static str, String)> {
        let base = self.simulator.base_url();
        vec![
            ("CAPTCHAAI_API_KEY", DEFAULT_KEY.to_owned()),
            ("CAPTCHAAI_SUBMIT_ENDPOINT", format!("{base}/in.php")),
            ("CAPTCHAAI_RESULT_ENDPOINT", format!("{base}/res.php")),
            ("DEADLETTER_STORE", store.to_owned()),
            ("XDG_DATA_HOME", self.dir.path().display().to_string()),
            ("DEADLETTER_TIME_SCALE", format!("{SPEED}@{}", self.anchor.0)),
        ]
    }

    fn store(&self, url: &str) -> Arc<dyn Store> {
        let store = self.runtime.block_on(open_existing(url, Arc::new(SystemClock)));
        store.expect("a gateway has made it")
    }

    /// Panics where a promise is broken, and keeps the evidence.
    fn accepts(self, evidence: &Evidence, solved: &[Solved]) {
        let broken = violations(evidence);
        if !broken.is_empty() {
            panic!("evidence in {}:\n  {}", self.dir.keep().display(), broken.join("\n  "));
        }
        tell(evidence, solved);
    }
}

fn tell(evidence: &Evidence, solved: &[Solved]) {
    let attempts = evidence.ledger.tasks.values().flat_map(|task| &task.attempts);
    let paid = evidence.wire.lines().iter().filter(|line| line.paid).count();
    println!("{} jobs answered, {} attempts, {paid} paid", solved.len(), attempts.count());
}

/// Lets the clients finish what they have, ends the gateways, and answers all that was answered.
fn stand_down(fleet: Fleet, gateways: [Gateway<'_>; 2]) -> Vec<Solved> {
    let Fleet { clients, is_over, answers, mut solved, .. } = fleet;
    is_over.store(true, Ordering::SeqCst);
    for client in clients {
        let worked = client.join().expect("no client panics");
        worked.unwrap_or_else(|why| panic!("a client has no answer: {why}"));
    }
    solved.extend(answers.try_iter());
    for mut gateway in gateways {
        gateway.signal("-INT");
        assert_eq!(gateway.ended(), Some(0), "a gateway did not end well");
    }
    solved
}

/// A time in which the store could not hear of one gateway.
struct Blind {
    from: UnixMs,
    until: UnixMs,
    /// Tokens of the attempts that this gateway had in hand when it was struck.
    struck: HashSet<String>,
}

/// An id that a gateway was given while the store could not hear of it binds nobody before the end of
/// that time: its task was in doubt, and went on. It is written down late, and asked all the same. So is
/// one that it had read, and not written down yet, when it was struck: [`ON_ITS_WAY_MS`]. The other
/// gateway is forgiven nothing.
fn forgive(evidence: &mut Evidence, blind: &[Blind]) {
    let attempts = evidence.ledger.tasks.values_mut().flat_map(|task| &mut task.attempts);
    for attempt in attempts {
        let Some(accepted_at) = &mut attempt.accepted_at else { continue };
        let is_meant = |it: &&Blind| {
            it.struck.contains(&attempt.token)
                && (it.from.plus(-ON_ITS_WAY_MS).0..it.until.0).contains(accepted_at)
        };
        if let Some(blind) = blind.iter().find(is_meant) {
            *accepted_at = blind.until.0;
        }
    }
}

fn look(runtime: &tokio::runtime::Runtime, dir: &Path, url: &str, solved: &[Solved]) -> Evidence {
    let log = std::fs::read_to_string(dir.join("upstream.jsonl")).expect("upstream's log");
    let ledger = runtime.block_on(Place::server(url).read());
    Evidence {
        wire: Wire::parse(&log).expect("the simulator writes whole lines"),
        ledger: ledger.expect("the store can be read"),
        written: solved.iter().map(|it| (it.task, it.answer.clone())).collect(),
        pages: solved.iter().map(|it| it.page.clone()).collect(),
        threads: THREADS,
        timeout_ms: TIMEOUT_MS,
        is_finished: true,
    }
}
