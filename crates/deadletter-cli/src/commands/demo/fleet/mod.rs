//! The demo on a shared store: worker processes side by side behind one upstream, of which one may be
//! killed in the middle.
//!
//! ```text
//! demo ── tasks ──▶ store ◀── worker 1 (deadletter serve) ──▶ simulated upstream
//!   └─ looks at it ──┘  ▲ ◀── worker 2 (deadletter serve) ──▶
//! ```
//!
//! This process only submits and looks; all the work is done by the others.

mod facts;
mod worker;

use super::story::account;
use crate::{
    app::App,
    exit::Exit,
    fault::{Fault, Result},
    shelf::fault,
    signals::Signals,
    work,
};
use deadletter::{
    Deadletter, Job,
    core::{TaskId, WorkerId},
    store::{self, Clock, FastClock, Store, SystemClock},
    worker_label,
};
use deadletter_sim::{Scenario, Simulator};
use facts::Facts;
use std::{collections::BTreeMap, path::Path, sync::Arc, time::Duration};
use worker::{End, Stage, Worker};

/// The story's clock against the reader's: slow enough to find a process and kill it.
const SPEED: f64 = 10.0;
/// Tasks in all: half a minute of work.
const TASKS: usize = 400;
/// Threads of the simulated plan, which all workers share.
const THREADS: u32 = 24;
/// How long upstream works at a job, in story time.
const SOLVE_MS: u64 = 12_000;
/// The store is looked at this often.
const TICK: Duration = Duration::from_millis(100);
/// Every so many solved tasks a line.
const LINE_EVERY: usize = 40;
/// Nothing in the story takes longer; something is broken then.
const PATIENCE: Duration = Duration::from_secs(180);
/// Workers that are looked at in the store.
const WORKERS: u32 = 1_000;

/// What the command line says of it.
pub(super) struct Plan<'a> {
    pub(super) seed: u64,
    pub(super) workers: u16,
    /// Files lie there: configuration, logs, and the store where no other is named.
    pub(super) dir: &'a Path,
    pub(super) store: Option<&'a str>,
}

/// Tells the story.
pub(super) async fn run(app: &App, plan: &Plan<'_>) -> Result<Exit> {
    let mut signals = Signals::listen()?;
    let file = format!("sqlite:{}", plan.dir.join("demo.db").display());
    let url = anywhere(plan.store.unwrap_or(&file));
    let anchor = SystemClock.now();
    let clock: Arc<dyn Clock> = Arc::new(FastClock::new(anchor, SPEED));
    let store = open(app, &url, clock).await?;
    let scenario = Scenario::default().seed(plan.seed).speed(SPEED).solve_ms(SOLVE_MS);
    let simulator = Simulator::start(scenario.threads(THREADS as usize))
        .await
        .map_err(|error| Fault::failed("cannot start the simulated upstream").because(error))?;
    let base = simulator.base_url();
    let toml = format!("[account]\nname = \"demo\"\nthreads = {THREADS}\n");
    std::fs::write(plan.dir.join("demo.toml"), toml)
        .map_err(|error| Fault::failed("cannot write the demo's configuration").because(error))?;
    app.out.say(&format!("upstream: simulated, {base}/in.php, {THREADS} threads"));
    app.out.say(&format!("store:    {}", store.url()));
    let stage = Stage {
        dir: plan.dir,
        store: &url,
        upstream: &base,
        time_scale: format!("{SPEED}@{}", anchor.0),
    };
    let mut story = Story { store, workers: Vec::new(), tasks: BTreeMap::new(), solved: 0 };
    let told = async {
        for n in 1..=usize::from(plan.workers) {
            let worker = Worker::start(app, &stage, n).await?;
            app.out
                .say(&format!("worker {n}: process {}, a gateway at {}", worker.pid, worker.url));
            story.workers.push(worker);
        }
        story.submit(app, &base).await?;
        let settled = tokio::time::timeout(PATIENCE, story.settle(app)).await;
        settled.map_err(|_| Fault::failed("the demo did not come to its end"))??;
        for worker in &mut story.workers {
            worker.stop().await;
        }
        let stats = simulator.stats();
        Facts::gather(&story.store, &story.workers, story.tasks.keys(), &stats, THREADS).await
    };
    let facts = tokio::select! {
        facts = told => facts?,
        () = signals.next() => return Ok(Exit::Interrupted),
    };
    facts.show(app)?;
    Ok(if facts.is_sound() { Exit::Good } else { Exit::Failed })
}

/// The same URL for processes that begin elsewhere: a file's path from the root.
fn anywhere(url: &str) -> String {
    let path = store::sqlite_path(url).ok().and_then(|path| std::path::absolute(path).ok());
    path.map_or_else(|| url.to_owned(), |path| format!("sqlite:{}", path.display()))
}

/// Opens the store of the story: shared, and of nobody else.
async fn open(app: &App, url: &str, clock: Arc<dyn Clock>) -> Result<Arc<dyn Store>> {
    store::check_url(url).map_err(fault)?;
    if url == "memory:" {
        return Err(Fault::usage("the workers of the demo are processes, which share no memory")
            .fix(
                "name a store that they can share, or leave --store out: they share a file then",
            ));
    }
    let store = store::open(url, clock).await.map_err(fault)?;
    app.close_at_end(&store);
    if store.totals().await.map_err(fault)?.accepted > 0 {
        return Err(Fault::usage("the demo needs a store of its own")
            .why(format!("{} has tasks already, and they would be worked on as well", store.url()))
            .fix("name an empty one: another file, another schema of a database (?schema=NAME), another prefix of a Redis server (?prefix=NAME)"));
    }
    Ok(store)
}

/// What is known of a task that is not over.
#[derive(Clone, Default)]
struct Known {
    holder: Option<WorkerId>,
    is_over: bool,
}

impl Known {
    fn is_held_by(&self, worker: &Worker) -> bool {
        self.holder.as_ref().is_some_and(|holder| worker.ids.contains(holder))
    }
}

struct Story {
    store: Arc<dyn Store>,
    workers: Vec<Worker>,
    tasks: BTreeMap<TaskId, Known>,
    solved: usize,
}

impl Story {
    async fn submit(&mut self, app: &App, upstream: &str) -> Result<()> {
        let account = account(upstream, THREADS)?;
        let desk = Deadletter::builder().store(Arc::clone(&self.store)).account(account);
        let desk = desk.desk_only().await.map_err(work::of_engine)?;
        let jobs = (0..TASKS).map(|i| {
            Job::new("userrecaptcha")
                .param("googlekey", "6Le-shop")
                .param("pageurl", format!("https://shop.example.com/page/{i}"))
                .batch("demo")
        });
        let submitted = desk.submit_all(jobs.collect()).await.map_err(work::of_engine)?;
        self.tasks = submitted.iter().map(|one| (one.id, Known::default())).collect();
        desk.stop().await.map_err(work::of_engine)?;
        app.out.say(&format!("1. {TASKS} tasks are stored; {} workers work", self.workers.len()));
        Ok(())
    }

    /// Waits until every task has its verdict, and notices who ends meanwhile.
    async fn settle(&mut self, app: &App) -> Result<()> {
        while self.tasks.values().any(|known| !known.is_over) {
            tokio::time::sleep(TICK).await;
            self.look_for_ends(app).await?;
            let solved = self.solved;
            self.look_at_tasks().await?;
            if self.solved / LINE_EVERY > solved / LINE_EVERY {
                self.say_how_far(app);
            }
            if self.workers.iter().all(|worker| worker.end == Some(End::Gone)) {
                return Err(Fault::failed("no worker is left")
                    .why("what they held waits in the store, and nothing of it is lost")
                    .fix("start the demo again, and leave one alive"));
            }
        }
        Ok(())
    }

    /// How far it has come, who holds how much, and at first how to make it worth a look.
    fn say_how_far(&self, app: &App) {
        let open = || self.tasks.values().filter(|known| !known.is_over);
        let holds = |worker: &Worker| open().filter(|known| known.is_held_by(worker)).count();
        let working = || self.workers.iter().filter(|worker| worker.end.is_none());
        let each = working().map(|one| format!("process {} holds {}", one.pid, holds(one)));
        let each = each.collect::<Vec<_>>().join(", ");
        app.out.say(&format!("   {} of {TASKS} are solved; {each}", self.solved));
        let is_early = self.solved < 2 * LINE_EVERY && working().count() > 1;
        if let Some(busiest) = working().max_by_key(|one| holds(one)).filter(|_| is_early) {
            app.out.say(&format!(
                "   kill one now, and see what becomes of what it holds: kill -9 {}",
                busiest.pid
            ));
        }
    }

    async fn look_at_tasks(&mut self) -> Result<()> {
        let open = self.tasks.iter().filter(|(_, known)| !known.is_over).map(|(id, _)| *id);
        let open: Vec<TaskId> = open.collect();
        for task in self.store.get(&open).await.map_err(fault)?.into_iter().flatten() {
            let is_over = task.kind().is_terminal();
            self.solved += usize::from(is_over);
            self.tasks.insert(task.id, Known { holder: task.worker, is_over });
        }
        Ok(())
    }

    /// Notices workers that are gone, and those that the store has declared dead.
    async fn look_for_ends(&mut self, app: &App) -> Result<()> {
        let known = self.store.workers(WORKERS).await.map_err(fault)?;
        for at in 0..self.workers.len() {
            let Some(worker) = self.workers.get_mut(at) else { continue };
            let label = worker_label(worker.pid);
            let own = known.iter().filter(|it| it.label == label);
            worker.ids.extend(own.clone().map(|it| it.id.clone()));
            let is_dead = own.clone().any(|it| it.dead_at.is_some());
            let end = match (worker.end, worker.is_gone()) {
                (Some(End::Gone), _) => continue,
                (_, true) => End::Gone,
                (None, false) if is_dead => End::DeclaredDead,
                _ => continue,
            };
            let is_first = worker.end.replace(end).is_none();
            if !is_first {
                continue;
            }
            // What it holds stays with it until it is declared dead; then others have it already,
            // and the last look says what it was.
            if end == End::Gone && !is_dead {
                self.look_at_tasks().await?;
            }
            self.note_what_was_held(app, at, end);
        }
        Ok(())
    }

    fn note_what_was_held(&mut self, app: &App, at: usize, end: End) {
        let Some(worker) = self.workers.get_mut(at) else { return };
        let held = self.tasks.iter();
        let held = held.filter(|(_, known)| !known.is_over && known.is_held_by(worker));
        worker.held = held.map(|(id, _)| *id).collect();
        app.out.say(&format!(
            "   worker {} (process {}) is {}; it held {} tasks, which others take over within 8 s",
            at + 1,
            worker.pid,
            end.label(),
            worker.held.len()
        ));
    }
}
