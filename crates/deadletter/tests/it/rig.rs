//! An engine on the memory store with a scripted upstream, on a clock that runs fast.

use deadletter::{
    AccountConfig, Deadletter, Job, Notice,
    core::AccountName,
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
    let clock = FastClock::new(SystemClock.now(), SPEED);
    Arc::new(MemoryStore::new(Arc::new(clock)))
}

/// The account `main` at that upstream.
pub(crate) fn account(provider: Arc<ScriptedProvider>) -> AccountConfig {
    let name = AccountName::new("main").expect("a name");
    AccountConfig::new(name, provider).threads(Some(10))
}

/// An engine on `store`.
pub(crate) async fn engine(store: &Arc<dyn Store>, account: AccountConfig) -> Deadletter {
    let builder = Deadletter::builder().store(Arc::clone(store)).account(account).seed(Some(7));
    builder.start().await.expect("the engine starts")
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
