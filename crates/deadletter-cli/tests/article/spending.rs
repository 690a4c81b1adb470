//! What is paid for: one submit per job that lives (A3), none with a key that is wrong (A4).

use crate::{
    port::{PythonDeque, Queue, Script, solve},
    rig::{
        account, account_with, engine, job, memory, notice, scenario, solved, soon, tasks, upstream,
    },
};
use deadletter::Notice;
use deadletter_sim::{DEFAULT_KEY, Fault, Phase, Rule, Scenario};

/// The port's sleeps are so many times shorter; upstream is as fast.
const PACE: f64 = 1_000.0;
const PAGE: &str = "https://a.example/login";
/// 32 characters, as a key has them, and no key of upstream's.
const WRONG_KEY: &str = "51300000000000000000000000000bad";

/// Every job is solved at its first poll's time, if only the polls came through: the first ones of
/// each job do not.
fn hiccups() -> Scenario {
    let on_poll = |fault| Rule::new(fault).on(Phase::Poll).times(1).per_job();
    scenario(4_000)
        .rule(on_poll(Fault::Html502))
        .rule(on_poll(Fault::ResetBefore))
        .rule(on_poll(Fault::CutBody))
        .rule(on_poll(Fault::Garbage))
}

#[tokio::test]
async fn a03_a_hiccup_while_polling_never_pays_again() {
    // The article: each hiccup throws away a live id and submits again.
    let sim = upstream(hiccups().speed(PACE)).await;
    let script = Script::python(&sim.base_url(), DEFAULT_KEY, PACE);
    let mut queue = PythonDeque::default();
    assert_eq!(solve(&script, &mut queue, "6LeARTICLE", PAGE, 3).await, None);
    assert_eq!((sim.log().paid_for(PAGE).len(), queue.len()), (4, 1));

    // Ours: the same id is asked until it answers.
    let sim = upstream(hiccups()).await;
    let engine = engine(&memory(), account(&sim.base_url())).await;
    let handle = engine.submit(job(PAGE)).await.expect("stored");
    assert!(solved(&engine, handle.id).await.starts_with("SIM-"));
    let log = sim.log();
    assert_eq!((log.paid_for(PAGE).len(), log.submits_of(PAGE).len()), (1, 1));
    let id = log.paid()[0].id.clone().expect("it was created");
    let heard: Vec<_> = log.polls_of(&id).iter().filter_map(|poll| poll.fault.as_deref()).collect();
    assert_eq!(heard, ["html_502", "reset_before", "cut_body", "garbage"]);
    assert_eq!(log.polls_of(&id).len() as u64, sim.stats().polls, "no other id was asked for");
    soon(engine.stop()).await.expect("it stops");
}

#[tokio::test]
async fn a04_a_wrong_key_is_sent_once_and_the_tasks_are_kept() {
    // The article: four times per task; with the second task the address is banned.
    let sim = upstream(scenario(3_000).speed(PACE)).await;
    let script = Script::python(&sim.base_url(), WRONG_KEY, PACE);
    let mut queue = PythonDeque::default();
    for _ in 0..2 {
        solve(&script, &mut queue, "6LeARTICLE", PAGE, 3).await;
    }
    let answered = sim.stats().answered;
    assert_eq!(sim.stats().submits, 8);
    assert_eq!((answered["ERROR_KEY_DOES_NOT_EXIST"], answered["IP_BANNED"]), (5, 3));

    // Ours: the first answer stops the account, however many tasks and threads there are.
    let sim = upstream(scenario(3_000)).await;
    let engine = engine(&memory(), account_with(&sim.base_url(), &sim.base_url(), WRONG_KEY)).await;
    let mut notices = engine.notices();
    let pages: Vec<_> = (0..20).map(|n| format!("https://a.example/{n}")).collect();
    let jobs = pages.iter().map(|page| job(page)).collect();
    let submitted = engine.submit_all(jobs).await.expect("stored");
    let stopped = |n: &Notice| match n {
        Notice::AccountStopped { failure, .. } => Some(failure.cause.clone()),
        _ => None,
    };
    assert_eq!(notice(&mut notices, stopped).await.as_str(), "ERROR_KEY_DOES_NOT_EXIST");
    // Nothing more is sent until the account's probe, five minutes later: and that is no submit.
    soon(sim.until(|stats| stats.requests >= 2)).await;
    let phases: Vec<_> = sim.log().entries().map(|entry| entry.phase).collect();
    assert_eq!(phases, ["submit", "account"]);
    let kept = tasks(&engine, "state:queued").await;
    assert_eq!(kept.len(), 20);
    assert!(kept.iter().all(|task| (task.counters.submits, task.counters.failures) == (0, 0)));

    // When the key is good, all of them are solved.
    sim.add_key(WRONG_KEY);
    for one in submitted {
        assert!(solved(&engine, one.id).await.starts_with("SIM-"));
    }
    assert_eq!((sim.stats().paid, sim.stats().submits), (20, 21));
    soon(engine.stop()).await.expect("it stops");
}
