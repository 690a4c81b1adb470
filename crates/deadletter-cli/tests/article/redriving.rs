//! Drains and redrives: that they end (A1), survive a crash (A6), and give up on the record (A10).

use crate::{
    port::{Entry, JsFile, PythonDeque, Queue, Script, drain, solve},
    rig::{
        account, clock, engine, job, memory, redrive_all, scenario, solved, soon, sqlite, tasks,
        unsolved, upstream,
    },
};
use deadletter::{
    Deadletter,
    core::{DeadReason, StateKind, Task, TaskId, Verdict},
    store::Store,
};
use deadletter_sim::{DEFAULT_KEY, Fault, Phase, Rule, Scenario};
use std::{path::Path, sync::Arc};
use tokio::runtime::Runtime;

/// The port's sleeps are so many times shorter; upstream is as fast.
const PACE: f64 = 2_000.0;
/// K of the default policy: submits of one task, over all redrives.
const K: usize = 7;
const PAGE: &str = "https://a.example/login";

fn never_solvable() -> Scenario {
    scenario(3_000).rule(Rule::new(Fault::Unsolvable))
}

fn entry(attempts: u32) -> Entry {
    let (sitekey, page_url) = ("6LeARTICLE".to_owned(), PAGE.to_owned());
    Entry { sitekey, page_url, error: "ERROR_CAPTCHA_UNSOLVABLE".to_owned(), attempts }
}

/// Redrives the task until it is not dead any more.
async fn redriven_to_the_end(engine: &Deadletter, id: TaskId) -> Task {
    for _ in 0..2 * K {
        let task = unsolved(engine, id).await;
        if task.kind() != StateKind::Dead {
            return task;
        }
        redrive_all(engine).await;
    }
    panic!("{K} submits were allowed, and so many redrives did not use them up");
}

#[tokio::test]
async fn a01_redrives_of_a_task_that_keeps_failing_come_to_an_end() {
    // The article: every failure is a new entry with a count of its own, and the drain has no end.
    let rounds = 10;
    let sim = upstream(never_solvable().speed(PACE)).await;
    let script = Script::python(&sim.base_url(), DEFAULT_KEY, PACE);
    let mut queue = PythonDeque::default();
    solve(&script, &mut queue, "6LeARTICLE", PAGE, 3).await;
    let drained = drain(&script, &mut queue, rounds).await;
    assert!(drained.cut_off, "{drained:?}");
    assert_eq!((drained.retried, drained.recovered, drained.printed), (rounds, 0, 0));
    assert_eq!(queue.peek_all()[0].attempts, 3, "the count begins anew with each round");
    let paid = sim.log().paid_for(PAGE).len();
    assert_eq!(paid, 4 + 3 * rounds as usize);

    // Ours: the count goes on over redrives, up to K and no further.
    let sim = upstream(never_solvable()).await;
    let engine = engine(&memory(), account(&sim.base_url())).await;
    let id = engine.submit(job(PAGE)).await.expect("stored").id;
    assert_eq!(unsolved(&engine, id).await.counters.submits, 3);
    let task = redriven_to_the_end(&engine, id).await;
    assert_eq!(task.kind(), StateKind::Buried);
    assert_eq!((task.counters.submits as usize, task.counters.redrives), (K, 2));
    redrive_all(&engine).await;
    assert_eq!(unsolved(&engine, id).await, task, "a buried task is not redriven");
    assert_eq!(sim.log().paid_for(PAGE).len(), K);
    assert_eq!(sim.stats().submits as usize, K);
    soon(engine.stop()).await.expect("it stops");
}

#[tokio::test]
async fn a10_what_is_given_up_is_buried_with_its_history_and_still_listed() {
    // The article: a line on the screen, and nothing in the queue.
    let script = Script::python("http://127.0.0.1:1", DEFAULT_KEY, PACE);
    let mut queue = PythonDeque::default();
    queue.push(entry(5));
    assert_eq!(drain(&script, &mut queue, 10).await.printed, 1);
    assert_eq!(queue.peek_all(), []);

    let sim = upstream(never_solvable()).await;
    let engine = engine(&memory(), account(&sim.base_url())).await;
    let id = engine.submit(job(PAGE)).await.expect("stored").id;
    let task = redriven_to_the_end(&engine, id).await;
    assert_eq!(task.reason(), Some(DeadReason::AttemptsExhausted));
    let listed = tasks(&engine, "state:buried").await;
    assert_eq!(listed, [task]);

    let file = engine.desk().open(id).await.expect("it is kept");
    assert_eq!(file.payload.expect("it is kept").text("pageurl").as_deref(), Some(PAGE));
    assert_eq!(file.attempts.len(), K);
    let paid: Vec<_> = sim.log().paid_for(PAGE).iter().map(|entry| entry.id.clone()).collect();
    for (attempt, id) in file.attempts.iter().zip(paid) {
        assert_eq!(attempt.upstream_id.as_ref().map(ToString::to_string), id);
        assert_eq!(attempt.verdict, Some(Verdict::Failed));
        let cause = attempt.cause.as_ref().map(|cause| cause.as_str());
        assert_eq!(cause, Some("ERROR_CAPTCHA_UNSOLVABLE"));
    }

    // Given up is not lost: a person may change their mind.
    sim.clear_rules();
    assert!(engine.desk().exhume(id, 1).await.expect("the store works"));
    redrive_all(&engine).await;
    assert!(solved(&engine, id).await.starts_with("SIM-"));
}

#[test]
fn a06_a_crash_in_a_redrive_loses_no_task() {
    let directory = tempfile::tempdir().expect("a directory");
    // Upstream survives the crash: it has a runtime of its own.
    let outside = Runtime::new().expect("a runtime");
    outside.block_on(the_article_loses_its_entry(&directory.path().join("captcha-dlq.json")));

    let sim = outside.block_on(upstream(never_solvable()));
    let (clock, file) = (clock(), directory.path().join("tasks.db"));
    let hung = |stats: &deadletter_sim::Stats| stats.faults.contains_key("hang");

    let first = Runtime::new().expect("a runtime");
    let (crashed, id) = first.block_on(async {
        let engine = engine(&sqlite(&file, clock).await, account(&sim.base_url())).await;
        let id = engine.submit(job(PAGE)).await.expect("stored").id;
        assert_eq!(unsolved(&engine, id).await.kind(), StateKind::Dead);
        sim.clear_rules();
        sim.add_rule(Rule::new(Fault::Hang).on(Phase::Submit).times(1)).expect("a rule");
        redrive_all(&engine).await;
        soon(sim.until(hung)).await;
        (engine, id)
    });
    // Its tasks end where they are, in the middle of the submit; nothing is said good-bye to.
    first.shutdown_timeout(std::time::Duration::from_secs(30));
    drop(crashed);

    let second = Runtime::new().expect("a runtime");
    second.block_on(async {
        let store: Arc<dyn Store> = sqlite(&file, clock).await;
        let task = store.get(&[id]).await.expect("read").pop().flatten().expect("still there");
        assert_eq!(task.kind(), StateKind::Submitting);
        let engine = engine(&store, account(&sim.base_url())).await;
        assert!(solved(&engine, id).await.starts_with("SIM-"));
        let file = engine.desk().open(id).await.expect("it is kept");
        let verdicts: Vec<_> = file.attempts.iter().map(|attempt| attempt.verdict).collect();
        assert_eq!(verdicts[3..], [Some(Verdict::InDoubt), Some(Verdict::Solved)]);
        assert_eq!((file.task.counters.submits, file.task.counters.redrives), (5, 1));
        assert!(store.recount().await.expect("counted").is_conserved());
        soon(engine.stop()).await.expect("it stops");
    });
}

async fn the_article_loses_its_entry(path: &Path) {
    let sim = upstream(scenario(3_000).rule(Rule::new(Fault::Hang).on(Phase::Submit))).await;
    let script = Script::javascript(&sim.base_url(), DEFAULT_KEY, PACE);
    let mut queue = JsFile::load(path);
    queue.push(entry(4));
    let draining = tokio::spawn(async move { drain(&script, &mut queue, 1).await });
    soon(sim.until(|stats| stats.submits == 1)).await;
    draining.abort();
    assert!(draining.await.is_err_and(|error| error.is_cancelled()));
    assert_eq!(JsFile::load(path).len(), 0, "taken out before it was solved");
}
