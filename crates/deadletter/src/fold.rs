//! The keys of folded jobs: equal parameters share one, which tells nobody what they are.
//!
//! Parameters hold passwords and cookies, and keys are shown. So a key depends on a secret of the
//! store as well: without it nobody can try passwords until the key comes out.

use crate::{Result, document, shared::Shared};
use deadletter_core::{Payload, hex};
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use tokio::sync::OnceCell;

/// The document that holds the secret.
const SECRET_DOCUMENT: &str = "secret/fold";
/// Beginning of the keys of folded jobs.
const FOLD: &str = "fold:";
/// As long as the hash is: nobody tries that many.
const SECRET_BYTES: usize = 32;

/// The store's secret, once it was asked for: it never changes.
#[derive(Debug, Default)]
pub(crate) struct Folding(OnceCell<SecretString>);

/// The key of these parameters in this store.
///
/// Errors: the secret could be neither read nor made; nothing of a job is written then.
pub(crate) async fn key(shared: &Shared, payload: &Payload) -> Result<String> {
    let secret = shared.folding.0.get_or_try_init(|| secret(shared)).await?;
    Ok(key_of(secret, payload))
}

/// The secret of the store; whoever is first makes it, for every process that shares the store.
async fn secret(shared: &Shared) -> Result<SecretString> {
    // Not the engine's dice: their seed may be known.
    let fresh = hex(&rand::random::<[u8; SECRET_BYTES]>());
    let kept = document::update(shared.store.as_ref(), SECRET_DOCUMENT, &fresh, |_| ()).await?;
    Ok(kept.value.into())
}

/// A key that equal parameters share, in whatever order they came.
fn key_of(secret: &SecretString, payload: &Payload) -> String {
    let fields: BTreeMap<_, _> = payload.expose().iter().collect();
    let text = serde_json::to_vec(&fields).expect("it was JSON before");
    // The secret is always as long: no other parameters give the same bytes.
    let hash = Sha256::new().chain_update(secret.expose_secret()).chain_update(text).finalize();
    format!("{FOLD}{}", hex(&hash))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{AccountConfig, Deadletter, Job, provider::scripted::ScriptedProvider};
    use deadletter_core::{AccountName, UnixMs};
    use deadletter_store::{ManualClock, MemoryStore, Store};
    use std::sync::Arc;

    fn memory() -> Arc<dyn Store> {
        Arc::new(MemoryStore::new(Arc::new(ManualClock::at(UnixMs(1_800_000_000_000)))))
    }

    /// An engine that has just begun on that store, and does no work: what is submitted stays open.
    async fn engine(store: &Arc<dyn Store>) -> Deadletter {
        let provider = ScriptedProvider::default();
        let account = AccountConfig::new(AccountName::new("main").unwrap(), Arc::new(provider));
        let builder = Deadletter::builder().store(Arc::clone(store)).account(account).seed(Some(7));
        builder.desk_only().await.unwrap()
    }

    fn job() -> Job {
        Job::new("userrecaptcha").param("proxy", "user:hunter2@10.0.0.1:3128").fold_for(60_000)
    }

    async fn key_in(store: &Arc<dyn Store>, job: Job) -> String {
        let id = engine(store).await.submit(job).await.unwrap().id;
        store.get(&[id]).await.unwrap().pop().flatten().unwrap().idempotency_key.unwrap()
    }

    #[tokio::test]
    async fn the_same_job_has_another_key_in_another_store() {
        let (one, other) = (memory(), memory());
        assert_ne!(key_in(&one, job()).await, key_in(&other, job()).await);
    }

    #[tokio::test]
    async fn the_key_of_a_job_outlives_the_engine_that_made_the_secret() {
        let store = memory();
        let first = engine(&store).await;
        let submitted = first.submit(job()).await.unwrap();
        let key = key(&first.shared, &job().payload).await.unwrap();
        drop(first);
        let next = engine(&store).await;
        assert_eq!(super::key(&next.shared, &job().payload).await.unwrap(), key);
        let again = next.submit(job()).await.unwrap();
        assert_eq!((again.id, again.is_new), (submitted.id, false));
    }

    #[tokio::test]
    async fn engines_that_need_the_secret_at_once_agree_on_it() {
        let store = memory();
        let engines = [engine(&store).await, engine(&store).await];
        let [one, other] = &engines;
        let payload = job().payload;
        let (one, other) = tokio::join!(key(&one.shared, &payload), key(&other.shared, &payload));
        assert_eq!(one.unwrap(), other.unwrap());
    }

    #[tokio::test]
    async fn a_parameter_that_is_named_after_the_window_counts_and_a_key_of_its_own_goes_first() {
        let store = memory();
        let engine = engine(&store).await;
        let first = engine.submit(job()).await.unwrap();
        let other = engine.submit(job().param("invisible", "1")).await.unwrap();
        let named = engine.submit(job().idempotency_key("order-17", None)).await.unwrap();
        assert!(first.is_new && other.is_new && named.is_new);
    }
}
