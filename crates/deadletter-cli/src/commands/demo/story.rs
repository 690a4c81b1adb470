//! What happens in the demo: an upstream that fails in scripted ways, and an engine that copes.

use super::report::Facts;
use crate::{
    app::App,
    commands::run::Progress,
    fault::{Fault, Result},
    shelf::fault,
    work,
};
use deadletter::{
    AccountConfig, Deadletter, Job, Notice, OperationState, RedriveOptions,
    core::{AccountName, Filter, StateKind, TaskId, breaker::Transition, counts::Dim},
    outbound::Guard,
    provider::captchaai::{CaptchaAi, Settings},
    store::{Clock, FastClock, SqliteStore, Store, SystemClock},
};
use deadletter_sim::{
    DEFAULT_KEY, Fault as SimFault, OutageMode, Phase, Rule, Scenario, Simulator,
};
use secrecy::SecretString;
use std::{collections::HashSet, path::Path, sync::Arc, time::Duration};
use tokio::sync::broadcast::error::RecvError;

/// The story's clock against the reader's.
const SPEED: f64 = 60.0;
/// Tasks in all.
const TASKS: usize = 200;
/// Threads of the simulated plan.
const THREADS: u32 = 60;
/// The outage begins when this many tasks are solved.
const OUTAGE_AFTER: usize = 30;
/// How long upstream is away, in story time.
const OUTAGE_MS: u64 = 90_000;
/// The bar moves this often.
const TICK: Duration = Duration::from_millis(100);
/// Nothing in the story takes longer; something is broken then.
const PATIENCE: Duration = Duration::from_secs(60);

/// Site keys of the story, how many tasks each has, and what upstream does to them.
const CAST: [(&str, &str, usize, Option<Trouble>); 5] = [
    ("6Le-shop", "shop.example.com", 140, None),
    ("6Le-news", "news.example.com", 32, None),
    ("6Le-broken", "broken.example.com", 14, Some(Trouble::Unsolvable)),
    ("6Le-slow", "slow.example.com", 8, Some(Trouble::NeverReady)),
    ("6Le-wrong", "wrong.example.com", 6, Some(Trouble::WrongKey)),
];

#[derive(Clone, Copy)]
enum Trouble {
    Unsolvable,
    NeverReady,
    WrongKey,
}

/// The stage: upstream, store, engine.
pub(super) struct Story {
    simulator: Simulator,
    engine: Deadletter,
    clock: Arc<dyn Clock>,
    /// Holds the store's file until the story is over; none where it is kept.
    _directory: Option<tempfile::TempDir>,
}

impl Story {
    pub(super) async fn begin(app: &App, seed: u64, keep: Option<&Path>) -> Result<Self> {
        let cannot = |what| move |error| Fault::failed(what).because(anyhow::Error::new(error));
        let simulator = Simulator::start(scenario(seed))
            .await
            .map_err(cannot("cannot start the simulated upstream"))?;
        let clock: Arc<dyn Clock> = Arc::new(FastClock::new(SystemClock.now(), SPEED));
        let directory = match keep {
            Some(_) => None,
            None => Some(tempfile::tempdir().map_err(|error| {
                Fault::failed("cannot make a temporary directory").because(error)
            })?),
        };
        let place =
            keep.or(directory.as_ref().map(tempfile::TempDir::path)).unwrap_or(Path::new("."));
        let path = place.join("demo.db");
        let store = SqliteStore::open(&path, Arc::clone(&clock)).await.map_err(fault)?;
        let store: Arc<dyn Store> = Arc::new(store);
        let account = account(&simulator.base_url(), THREADS)?;
        let engine = work::start(app, store, account, None, &Guard::default()).await?;
        app.out.say(&format!(
            "upstream: simulated, {}/in.php, {THREADS} threads",
            simulator.base_url()
        ));
        app.out.say(&format!("store:    sqlite:{}", path.display()));
        Ok(Self { simulator, engine, clock, _directory: directory })
    }

    /// The story from the first task to the last figure; none where it stopped half-way.
    pub(super) async fn tell(&self, app: &App) -> Result<Option<Facts>> {
        let facts = tokio::time::timeout(PATIENCE, self.acts(app)).await;
        let facts = facts.map_err(|_| Fault::failed("the demo did not come to its end"))??;
        self.engine.stop().await.map_err(work::of_engine)?;
        Ok(Some(facts))
    }

    async fn acts(&self, app: &App) -> Result<Facts> {
        let began_at = self.clock.now();
        let (jobs, _) = jobs();
        let submitted = self.engine.submit_all(jobs).await.map_err(work::of_engine)?;
        let ids: Vec<TaskId> = submitted.iter().map(|one| one.id).collect();
        app.out.say(&format!("1. {TASKS} tasks are stored; the engine works"));
        let mut cast = Cast { breaker: Vec::new(), began_at };
        self.settle(app, &ids, &mut cast, true).await?;

        app.out.say("2. what died, and why");
        let store = self.engine.store();
        let died = store.census(&[StateKind::Dead], Dim::All, 20).await.map_err(fault)?;
        for (row, n) in &died {
            let cause = row.cause.as_ref().map_or("-", |cause| cause.as_str());
            let class = row.class.map_or("-", deadletter::core::Class::label);
            app.out.say(&format!("   {n:>3} {cause} ({class})"));
        }
        let failures = store.tallies(Dim::All, began_at, 10_000).await.map_err(fault)?;

        app.out.say("3. upstream is repaired; redrive state:dead");
        self.simulator.clear_rules();
        self.simulator
            .add_rule(wrong_key())
            .map_err(|error| Fault::failed("a rule of the demo is broken").because(error))?;
        let again = self.redrive(app, &mut cast).await?;
        let totals = store.totals().await.map_err(fault)?;
        let intents = self.intents(&ids).await?;
        let stats = self.simulator.stats();
        Ok(Facts {
            totals,
            died,
            failures,
            again,
            intents,
            paid: stats.paid,
            peak_threads: u32::try_from(stats.peak_threads).unwrap_or(u32::MAX),
            threads: THREADS,
            breaker: cast.breaker,
            began_at,
            ended_at: self.clock.now(),
        })
    }

    /// Waits until each of `ids` has a verdict; in the middle of it upstream goes away.
    async fn settle(
        &self,
        app: &App,
        ids: &[TaskId],
        cast: &mut Cast,
        with_outage: bool,
    ) -> Result<()> {
        let mut notices = self.engine.notices();
        let mut open: HashSet<TaskId> = ids.iter().copied().collect();
        let mut progress = Progress::begin(app, open.len());
        let mut is_healthy = with_outage;
        while !open.is_empty() {
            tokio::select! {
                () = tokio::time::sleep(TICK) => {}
                notice = notices.recv() => match notice {
                    Ok(Notice::Breaker { transition, .. }) => cast.note(app, transition),
                    Ok(Notice::Waiting(task)) => progress.waits(&task),
                    Ok(_) | Err(RecvError::Lagged(_)) => {}
                    Err(RecvError::Closed) => break,
                },
            }
            let ids: Vec<_> = open.iter().copied().collect();
            for task in self.engine.store().get(&ids).await.map_err(fault)?.into_iter().flatten() {
                if task.kind().is_terminal() && open.remove(&task.id) {
                    progress.settled(&task);
                }
            }
            if is_healthy && progress.solved >= OUTAGE_AFTER {
                is_healthy = false;
                app.out.say(&format!(
                    "   upstream goes away for {} s: every connection is refused",
                    OUTAGE_MS / 1_000
                ));
                self.simulator.outage_for(OutageMode::Refuse, OUTAGE_MS);
            }
            progress.draw(&self.engine, app);
        }
        progress.clear();
        let (solved, dead) = (progress.solved, progress.dead);
        app.out.say(&format!("   {solved} solved, {dead} dead, none lost"));
        Ok(())
    }

    /// Redrives every dead letter; answers how many were redriven.
    async fn redrive(&self, app: &App, cast: &mut Cast) -> Result<u64> {
        let desk = self.engine.desk();
        let filter = Filter::states(&[StateKind::Dead]);
        let options = RedriveOptions { by: "demo".to_owned(), ..RedriveOptions::default() };
        let plan = desk.plan_redrive(&filter, &options).await.map_err(work::of_engine)?;
        app.out.say(&format!(
            "   {} match; {} can be redriven, {} never can (a wrong site key stays wrong)",
            plan.count,
            plan.eligible,
            plan.count - plan.eligible
        ));
        let id = desk.redrive(&filter, options).await.map_err(work::of_engine)?;
        let mut notices = self.engine.notices();
        loop {
            let found = desk.operation(&id).await.map_err(work::of_engine)?;
            if found.is_none_or(|(operation, _)| {
                operation.state != OperationState::Freezing && !operation.state.is_active()
            }) {
                break;
            }
            tokio::select! {
                () = tokio::time::sleep(TICK) => {}
                notice = notices.recv() => {
                    if let Ok(Notice::Breaker { transition, .. }) = notice {
                        cast.note(app, transition);
                    }
                }
            }
        }
        self.settle(app, &plan.eligible_ids, cast, false).await?;
        Ok(plan.eligible)
    }

    async fn intents(&self, ids: &[TaskId]) -> Result<u64> {
        let tasks = self.engine.store().get(ids).await.map_err(fault)?;
        Ok(tasks.iter().flatten().map(|task| u64::from(task.counters.submits)).sum())
    }
}

/// What is noted down on the way.
struct Cast {
    breaker: Vec<Transition>,
    began_at: deadletter::core::UnixMs,
}

impl Cast {
    fn note(&mut self, app: &App, transition: Transition) {
        let seconds = transition.at.since(self.began_at) / 1_000;
        app.out.say(&format!(
            "   {seconds:>4} s  breaker {} -> {}: {}",
            transition.from, transition.to, transition.reason
        ));
        self.breaker.push(transition);
    }
}

pub(super) fn account(base: &str, threads: u32) -> Result<AccountConfig> {
    let usual = Settings::new(SecretString::from(DEFAULT_KEY));
    let provider = CaptchaAi::new(Settings {
        submit_endpoint: format!("{base}/in.php"),
        result_endpoint: format!("{base}/res.php"),
        ..usual
    })
    .map_err(|error| Fault::failed("the demo's settings cannot work").because(error))?;
    let name = AccountName::new("demo")
        .map_err(|error| Fault::failed("the demo's account has no name").because(error))?;
    Ok(AccountConfig::new(name, Arc::new(provider)).threads(Some(threads)))
}

fn jobs() -> (Vec<Job>, usize) {
    let mut jobs = Vec::with_capacity(TASKS);
    for (sitekey, host, n, _) in CAST {
        jobs.extend((0..n).map(|i| {
            Job::new("userrecaptcha")
                .param("googlekey", sitekey)
                .param("pageurl", format!("https://{host}/page/{i}"))
                .batch("demo")
        }));
    }
    // The parts come mixed, as they would in life.
    jobs.sort_by_key(|job| {
        let page = job.field("pageurl").unwrap_or_default();
        page.rsplit('/').next().and_then(|i| i.parse::<usize>().ok())
    });
    let n = jobs.len();
    (jobs, n)
}

fn scenario(seed: u64) -> Scenario {
    let scenario = Scenario::default().seed(seed).speed(SPEED).threads(THREADS as usize);
    CAST.iter().fold(scenario, |scenario, (sitekey, _, _, trouble)| match trouble {
        None => scenario,
        Some(Trouble::Unsolvable) => {
            scenario.rule(Rule::new(SimFault::Unsolvable).on(Phase::Poll).sitekey(*sitekey))
        }
        Some(Trouble::NeverReady) => {
            scenario.rule(Rule::new(SimFault::NotReady).on(Phase::Poll).sitekey(*sitekey))
        }
        Some(Trouble::WrongKey) => scenario.rule(wrong_key()),
    })
}

fn wrong_key() -> Rule {
    let code = "ERROR_WRONG_GOOGLEKEY".to_owned();
    Rule::new(SimFault::Error { code }).on(Phase::Submit).sitekey("6Le-wrong")
}
