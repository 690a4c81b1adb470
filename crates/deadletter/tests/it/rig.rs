//! An engine on the memory store with a scripted upstream, on a clock that runs fast.

use deadletter::{
    AccountConfig, Deadletter, Job, Notice, Outcome,
    core::{AccountName, Task, TaskId, breaker::Phase, breaker::Transition, invariants},
    provider::scripted::ScriptedProvider,
    store::{Clock, FastClock, MemoryStore, Store, SystemClock},
};
use std::{sync::Arc, time::Duration};
use tokio::sync::broadcast::Receiver;

/// Store time passes this much faster: a poll after 10 s comes after 20 ms.
pub(crate) const SPEED: f64 = 500.0;
/// A test that waits longer than this has failed; nothing is measured by it.
const PATIENCE: Duration = Duration::from_secs(30);

/// A store whose clock runs fast.
pub(crate) fn memory() -> Arc<dyn Store> {
    Arc::new(MemoryStore::new(clock(SPEED)))
}

/// A clock that runs that fast from now on.
pub(crate) fn clock(speed: f64) -> Arc<dyn Clock> {
    Arc::new(FastClock::new(SystemClock.now(), speed))
}

/// The account `main` at that upstream.
pub(crate) fn account(provider: Arc<ScriptedProvider>) -> AccountConfig {
    let name = AccountName::new("main").expect("a name");
    AccountConfig::new(name, provider).threads(Some(10))
}

/// An account beside it: what it solves in the meantime shows that time has passed.
pub(crate) fn other(provider: Arc<ScriptedProvider>) -> AccountConfig {
    AccountConfig { name: AccountName::new("other").expect("a name"), ..account(provider) }
}

/// Lets the other account solve `n` jobs, one after the other.
pub(crate) async fn pass_time(engine: &Deadletter, n: u32) {
    for n in 0..n {
        let name = AccountName::new("other").expect("a name");
        let job = job(&format!("other-{n}")).account(name);
        solved(&soon(engine.solve(job)).await.expect("the store works"));
    }
}

/// An engine on `store`.
pub(crate) async fn engine(store: &Arc<dyn Store>, account: AccountConfig) -> Deadletter {
    let builder = Deadletter::builder().store(Arc::clone(store)).account(account).seed(Some(7));
    builder.start().await.expect("the engine starts")
}

/// Jobs for `n` site keys.
pub(crate) fn jobs(n: usize) -> Vec<Job> {
    (0..n).map(|n| job(&format!("key-{n}"))).collect()
}

/// Submits, and answers the tasks' ids.
pub(crate) async fn submit(engine: &Deadletter, jobs: Vec<Job>) -> Vec<TaskId> {
    let submitted = engine.submit_all(jobs).await.expect("stored");
    submitted.into_iter().map(|one| one.id).collect()
}

/// A job for that site key.
pub(crate) fn job(sitekey: &str) -> Job {
    Job::new("userrecaptcha").param("sitekey", sitekey)
}

/// Waits for `what`, and fails the test where it does not come.
pub(crate) async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, what).await.expect("it should have happened by now")
}

/// Waits for the notice that `pick` chooses.
pub(crate) async fn notice<T>(
    notices: &mut Receiver<Notice>,
    pick: impl Fn(&Notice) -> Option<T>,
) -> T {
    soon(async {
        loop {
            let notice = notices.recv().await.expect("the engine is there, and we keep up");
            if let Some(found) = pick(&notice) {
                return found;
            }
        }
    })
    .await
}

/// Waits for the next change of a breaker to that phase.
pub(crate) async fn moved(notices: &mut Receiver<Notice>, to: Phase) -> Transition {
    notice(notices, |notice| match notice {
        Notice::Breaker { transition, .. } if transition.to == to => Some(transition.clone()),
        _ => None,
    })
    .await
}

/// The answer's text.
pub(crate) fn solved(outcome: &Outcome) -> &str {
    match outcome {
        Outcome::Solved(answer) => answer.expose(),
        Outcome::Unsolved(task) => panic!("not solved: {task:?}"),
    }
}

/// The row of a task that was not solved.
pub(crate) fn unsolved(outcome: Outcome) -> Task {
    match outcome {
        Outcome::Unsolved(task) => *task,
        Outcome::Solved(answer) => panic!("solved: {answer:?}"),
    }
}

/// Waits until every task rests.
pub(crate) async fn all_rest(engine: &Deadletter, ids: &[TaskId]) {
    soon(async {
        for id in ids {
            engine.task(*id).wait().await.expect("the store works");
        }
    })
    .await;
}

/// Waits until every task is solved.
pub(crate) async fn all_solved(engine: &Deadletter, ids: &[TaskId]) {
    for id in ids {
        solved(&soon(engine.task(*id).wait()).await.expect("the store works"));
    }
}

/// What must be true of tasks and their attempts at any time, and of the counts.
pub(crate) async fn sound(store: &dyn Store, ids: &[TaskId]) -> Vec<Task> {
    let mut tasks = Vec::new();
    for id in ids {
        let task = store.get(&[*id]).await.expect("read").remove(0).expect("no task is lost");
        let attempts = store.history(*id).await.expect("read");
        let violations = invariants::check(&task, &attempts);
        assert!(violations.is_empty(), "{violations:?}: {task:?} {attempts:?}");
        tasks.push(task);
    }
    let totals = store.totals().await.expect("counted");
    assert!(totals.is_conserved(), "{totals:?}");
    assert_eq!(totals, store.recount().await.expect("counted"));
    tasks
}
