//! deadletter as its users run it, with the simulated upstream, both on clocks that run fast.

use deadletter::{
    AccountConfig, Deadletter, Job, Notice, Outcome, RedriveOptions,
    core::{AccountName, Filter, OperationId, Task, TaskId},
    provider::captchaai::{CaptchaAi, Settings},
    store::{FastClock, MemoryStore, SqliteStore, Store, SystemClock, clock::Clock},
};
use deadletter_sim::{DEFAULT_KEY, Scenario, Simulator};
use std::{path::Path, sync::Arc, time::Duration};
use tokio::sync::broadcast::Receiver;

/// Both clocks run this much faster: an attempt's 120 s pass in 600 ms.
pub(crate) const SPEED: f64 = 200.0;
/// Threads of the account: upstream has as many.
pub(crate) const THREADS: u32 = 50;
/// A test that waits longer than this has failed; nothing is measured by it.
const PATIENCE: Duration = Duration::from_secs(60);
/// Far more than any test has dead letters.
const MOST_TASKS: u32 = 500;

/// A simulated upstream whose jobs take `solve_ms`.
pub(crate) fn scenario(solve_ms: u64) -> Scenario {
    Scenario::default().speed(SPEED).solve_ms(solve_ms)
}

/// Starts it.
pub(crate) async fn upstream(scenario: Scenario) -> Simulator {
    Simulator::start(scenario).await.expect("it starts")
}

/// A clock as fast as upstream's.
pub(crate) fn clock() -> FastClock {
    FastClock::new(SystemClock.now(), SPEED)
}

/// A store in memory.
pub(crate) fn memory() -> Arc<dyn Store> {
    Arc::new(MemoryStore::new(Arc::new(clock())))
}

/// The store in that file.
pub(crate) async fn sqlite(path: &Path, clock: FastClock) -> Arc<dyn Store> {
    Arc::new(SqliteStore::open(path, Arc::new(clock)).await.expect("it opens"))
}

/// An account there, by the key that upstream knows.
pub(crate) fn account(base_url: &str) -> AccountConfig {
    account_with(base_url, base_url, DEFAULT_KEY)
}

/// An account `main` with that key.
pub(crate) fn account_with(submits_to: &str, polls_at: &str, key: &str) -> AccountConfig {
    let settings = Settings {
        submit_endpoint: format!("{submits_to}/in.php"),
        result_endpoint: format!("{polls_at}/res.php"),
        ..Settings::new(key.into())
    };
    let provider = CaptchaAi::new(settings).expect("settings that can work");
    let name = AccountName::new("main").expect("a name");
    AccountConfig::new(name, Arc::new(provider)).threads(Some(THREADS))
}

/// An engine on `store` with one account.
pub(crate) async fn engine(store: &Arc<dyn Store>, account: AccountConfig) -> Deadletter {
    let builder = Deadletter::builder().store(Arc::clone(store)).account(account).seed(Some(7));
    builder.start().await.expect("the engine starts")
}

/// The article's kind of job.
pub(crate) fn job(page_url: &str) -> Job {
    Job::new("userrecaptcha").param("googlekey", "6LeARTICLE").param("pageurl", page_url)
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

/// Waits for a task's end; it must not be solved.
pub(crate) async fn unsolved(engine: &Deadletter, id: TaskId) -> Task {
    match soon(engine.task(id).wait()).await.expect("the store works") {
        Outcome::Unsolved(task) => *task,
        Outcome::Solved(answer) => panic!("solved: {answer:?}"),
    }
}

/// Waits for a task's end; it must be solved. Answers the token.
pub(crate) async fn solved(engine: &Deadletter, id: TaskId) -> String {
    match soon(engine.task(id).wait()).await.expect("the store works") {
        Outcome::Solved(answer) => answer.expose().to_owned(),
        Outcome::Unsolved(task) => panic!("not solved: {task:?}"),
    }
}

/// Redrives every dead letter, and waits until the operation has moved them all.
pub(crate) async fn redrive_all(engine: &Deadletter) -> OperationId {
    let mut notices = engine.notices();
    let options = RedriveOptions::default();
    let id = engine.desk().redrive(&Filter::all(), options).await.expect("it begins");
    let is_done = |n: &Notice| match n {
        Notice::Operation { id: done, state: "done" } if *done == id => Some(()),
        _ => None,
    };
    notice(&mut notices, is_done).await;
    id
}

/// Every task that `filter` chooses.
pub(crate) async fn tasks(engine: &Deadletter, filter: &str) -> Vec<Task> {
    let filter: Filter = filter.parse().expect("a filter");
    let (mut found, mut after) = (Vec::new(), None);
    loop {
        let page = engine.desk().page(&filter, after, MOST_TASKS).await.expect("a page");
        found.extend(page.tasks);
        after = page.next;
        if after.is_none() {
            return found;
        }
    }
}
