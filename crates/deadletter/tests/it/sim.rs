//! The engine and the in.php / res.php provider against the simulated upstream, over real HTTP.

use crate::rig::{
    account, all_rest, all_solved, clock, engine, moved, notice, soon, sound, submit,
};
use deadletter::{
    AccountConfig, Deadletter, Job, Notice,
    core::{Class, DeadReason, StateKind, Task, TaskId, breaker::Phase},
    provider::captchaai::{CaptchaAi, Settings},
    store::{MemoryStore, Store},
};
use deadletter_sim::{DEFAULT_KEY, Scenario, Simulator};
use secrecy::SecretString;
use std::{collections::HashSet, sync::Arc, time::Duration};

/// Both clocks run this much faster.
const SPEED: f64 = 200.0;

struct World {
    sim: Simulator,
    store: Arc<dyn Store>,
    engine: Deadletter,
}

async fn world(scenario: &str, threads: Option<u32>) -> World {
    let scenario = Scenario::named(scenario).expect("there is one").speed(SPEED).seed(11);
    let sim = Simulator::start(scenario).await.expect("it starts");
    let base = sim.base_url();
    // A hang must end soon; a machine that is busy must not be taken for one.
    let patience = Duration::from_secs(1);
    let provider = CaptchaAi::new(Settings {
        submit_endpoint: format!("{base}/in.php"),
        result_endpoint: format!("{base}/res.php"),
        submit_timeout: patience,
        poll_timeout: patience,
        ..Settings::new(SecretString::from(DEFAULT_KEY))
    });
    let name = account(Arc::default()).name;
    let provider = Arc::new(provider.expect("good settings"));
    let config = AccountConfig::new(name, provider).threads(threads);
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new(clock(SPEED)));
    let engine = engine(&store, config).await;
    World { sim, store, engine }
}

fn page(n: usize) -> String {
    format!("https://page-{n}.example/login")
}

fn captcha(n: usize) -> Job {
    let job = Job::new("userrecaptcha").param("googlekey", "6Le-wvkSAAAAAPBMRTvw0Q4Muexq9bi0DJwx");
    job.param("pageurl", page(n))
}

impl World {
    async fn submit(&self, n: usize) -> Vec<TaskId> {
        submit(&self.engine, (0..n).map(captcha).collect()).await
    }

    /// What must be true whatever happened: wire submits within the intents, one token for one
    /// task, and the invariants.
    async fn sound(&self, ids: &[TaskId]) -> Vec<Task> {
        let tasks = sound(self.store.as_ref(), ids).await;
        let log = self.sim.log();
        assert_eq!(log.dropped(), 0);
        let mut tokens = HashSet::new();
        for (n, task) in tasks.iter().enumerate() {
            let (paid, intents) = (log.paid_for(&page(n)).len(), task.counters.submits as usize);
            assert!(paid <= intents, "{paid} paid of {intents} intents: {task:?}");
            if task.kind() == StateKind::Solved {
                let answer = self.store.answer(task.id).await.expect("read").expect("kept");
                assert!(tokens.insert(answer.expose().to_owned()), "a token went to two tasks");
            }
        }
        tasks
    }
}

fn dead(tasks: &[Task]) -> Vec<(DeadReason, Class, String)> {
    tasks
        .iter()
        .filter_map(|task| {
            let cause = task.cause.as_ref().map(|cause| cause.as_str().to_owned());
            Some((task.reason()?, task.class?, cause?))
        })
        .collect()
}

fn solved(tasks: &[Task]) -> usize {
    tasks.iter().filter(|task| task.kind() == StateKind::Solved).count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_a_flaky_day_nearly_every_task_is_solved() {
    let world = world("flaky", None).await;
    let ids = world.submit(60).await;
    all_rest(&world.engine, &ids).await;
    let tasks = world.sound(&ids).await;
    let dead = dead(&tasks);
    assert_eq!(solved(&tasks) + dead.len(), 60);
    assert!(dead.len() <= 6, "{dead:?}");
    assert!(dead.iter().all(|(reason, ..)| *reason == DeadReason::AttemptsExhausted), "{dead:?}");
    assert_eq!(world.engine.status().accounts[0].threads, 50, "upstream was asked");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cut_lines_pay_no_more_than_what_was_intended() {
    let world = world("disconnects", Some(20)).await;
    let ids = world.submit(40).await;
    all_rest(&world.engine, &ids).await;
    let tasks = world.sound(&ids).await;
    let dead = dead(&tasks);
    assert!(dead.len() <= 4, "{dead:?}");
    assert!(dead.iter().all(|(_, class, _)| matches!(class, Class::Transient)), "{dead:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_read_is_in_doubt_and_what_nobody_knows_is_dead_by_its_name() {
    let world = world("malformed", Some(20)).await;
    let ids = world.submit(40).await;
    all_rest(&world.engine, &ids).await;
    let tasks = world.sound(&ids).await;
    let dead = dead(&tasks);
    assert!(solved(&tasks) >= 25, "{dead:?}");
    for (reason, class, cause) in dead {
        match reason {
            DeadReason::Unknown => assert_eq!(cause, "ERROR_NEVER_HEARD_OF"),
            DeadReason::AttemptsExhausted => {
                assert!(matches!(class, Class::Transient | Class::Lost), "{cause}");
            }
            DeadReason::UpstreamLost => assert_eq!(class, Class::Lost),
            other => panic!("{other:?} {cause}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bad_stretch_ends_in_retries_and_late_answers() {
    let world = world("timeout-cluster", Some(30)).await;
    let ids = world.submit(60).await;
    all_rest(&world.engine, &ids).await;
    let tasks = world.sound(&ids).await;
    let dead = dead(&tasks);
    assert!(dead.iter().all(|(.., cause)| cause == "TIMEOUT"), "{dead:?}");
    assert_eq!(solved(&tasks) + dead.len(), 60);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_small_plan_refuses_and_solves_everything_in_the_end() {
    let world = world("no-slot", Some(10)).await;
    let ids = world.submit(20).await;
    all_solved(&world.engine, &ids).await;
    let tasks = world.sound(&ids).await;
    assert!(tasks.iter().all(|t| (t.counters.submits, t.counters.failures) == (1, 0)));
    assert!(tasks.iter().any(|task| task.counters.refusals > 0), "four threads are fewer than ten");
    assert!(world.engine.status().accounts[0].limit < 10);
    let log = world.sim.log();
    assert_eq!(log.paid().len(), 20);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ban_is_sat_out_with_probes_alone() {
    let world = world("banned", Some(10)).await;
    let mut notices = world.engine.notices();
    let ids = world.submit(20).await;
    notice(&mut notices, |n| matches!(n, Notice::AccountStopped { .. }).then_some(())).await;
    notice(&mut notices, |n| matches!(n, Notice::AccountResumed { .. }).then_some(())).await;
    let log = world.sim.log();
    let banned = log.entries().filter(|e| e.phase == "submit" && e.answered == "IP_BANNED");
    assert_eq!(banned.count(), 1, "one submit learned of the ban");
    all_solved(&world.engine, &ids).await;
    let tasks = world.sound(&ids).await;
    assert!(tasks.iter().all(|t| (t.counters.submits, t.counters.failures) == (1, 0)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_key_costs_one_submit_and_no_task() {
    let world = world("bad-key", Some(10)).await;
    let mut notices = world.engine.notices();
    let ids = world.submit(20).await;
    notice(&mut notices, |n| matches!(n, Notice::AccountStopped { .. }).then_some(())).await;
    // Two probes later the key is still wrong, and the address is not banned.
    world.sim.until(|stats| stats.answered.get("ERROR_KEY_DOES_NOT_EXIST") >= Some(&2)).await;
    assert_eq!(world.sim.stats().submits, 1);
    let queued = world.store.totals().await.expect("counted").queued;
    assert_eq!(queued, 20, "all tasks wait");
    world.sim.add_key(DEFAULT_KEY);
    world.sim.lift_bans();
    all_solved(&world.engine, &ids).await;
    world.sound(&ids).await;
    assert_eq!(world.sim.log().paid().len(), 20);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_outage_opens_the_breaker_and_live_ids_close_it() {
    let world = world("happy", Some(10)).await;
    let mut notices = world.engine.notices();
    let ids = world.submit(30).await;
    soon(world.sim.until(|stats| stats.paid >= 10)).await;
    world.sim.outage(deadletter_sim::OutageMode::Html502);
    moved(&mut notices, Phase::Open).await;
    let paid = world.sim.stats().paid;
    moved(&mut notices, Phase::HalfOpen).await;
    world.sim.end_outage();
    moved(&mut notices, Phase::Closed).await;
    assert!(world.sim.stats().paid >= paid);
    all_solved(&world.engine, &ids).await;
    world.sound(&ids).await;
}
