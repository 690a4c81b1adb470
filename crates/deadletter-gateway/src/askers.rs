//! Who asks: the keys that the gateway issued, or, on a machine of one's own, the upstream key.
//!
//! A key is 32 hexadecimal digits, shown once, and kept as its SHA-256. Without issued keys the
//! account's own key is accepted, so that a script on the same machine changes its base URL alone.
//! A key that nobody has is answered here; it is never sent upstream.

use crate::quota::Quota;
use deadletter::{
    core::hex,
    store::{self, Store},
};
use rand::{Rng, RngExt};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::{
    collections::HashMap,
    sync::{Arc, PoisonError, RwLock},
};

/// The document of the store that holds the issued keys.
pub const KEYS_DOCUMENT: &str = "gateway/keys";
/// Characters of an issued key: clients check the length of a key, and nothing else.
const KEY_LEN: usize = 32;

/// Every key that was issued.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct KeyBook {
    /// In the order of their issue. Of each name one key at most is valid; a revoked one stays until
    /// its name is given again.
    pub keys: Vec<IssuedKey>,
}

/// A key that was issued, without the key itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct IssuedKey {
    /// The owner of the tasks that come with it. A new key under the same name, after the old one
    /// was revoked, sees the same tasks.
    pub name: String,
    /// SHA-256 of the key, in hexadecimal.
    pub sha256: String,
    /// The key's last four characters, for people who have several.
    pub ends_with: String,
    /// When it was issued, in Unix milliseconds.
    pub created_at: i64,
    /// When it was revoked, in Unix milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked_at: Option<i64>,
    /// The priority of its tasks, 0 (first) to 3; none leaves the usual one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<u8>,
    /// How much of the gateway it may use.
    #[serde(flatten)]
    pub quota: Quota,
}

impl IssuedKey {
    /// What is kept of `key`, issued to `name` now.
    #[must_use]
    pub(crate) fn of(name: &str, key: &SecretString, now_ms: i64) -> Self {
        let exposed = key.expose_secret();
        let tail = exposed.get(exposed.len().saturating_sub(4)..).unwrap_or_default();
        Self {
            name: name.to_owned(),
            sha256: hash(exposed),
            ends_with: tail.to_owned(),
            created_at: now_ms,
            revoked_at: None,
            priority: None,
            quota: Quota::default(),
        }
    }

    /// True until it is revoked.
    #[must_use]
    pub const fn is_valid(&self) -> bool {
        self.revoked_at.is_none()
    }
}

/// A fresh key.
#[must_use]
pub fn new_key(random: &mut impl Rng) -> SecretString {
    let key = format!("{:016x}{:016x}", random.random::<u64>(), random.random::<u64>());
    SecretString::from(key)
}

fn hash(key: &str) -> String {
    hex(&Sha256::digest(key))
}

/// Who asks.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Asker {
    /// The owner of its tasks; none for the account's own key.
    pub(crate) owner: Option<Arc<str>>,
    /// The priority of its tasks.
    pub(crate) priority: Option<u8>,
    /// How much it may use.
    pub(crate) quota: Quota,
}

impl Asker {
    /// Its key's name, for the log.
    pub(crate) fn name(&self) -> &str {
        self.owner.as_deref().unwrap_or("the account's own")
    }
}

/// Why nobody is known by a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stranger {
    /// Missing, or not of a key's form.
    Malformed,
    /// Of a key's form, and nobody's.
    Unknown,
}

/// The keys that are accepted.
#[derive(Debug)]
pub struct Askers {
    /// The hash of the account's own key, accepted while no key is issued.
    upstream: Option<String>,
    /// Guards the valid keys, by hash: replaced whole when the document changes. None until the
    /// first key is issued, for good: who revokes the last one shuts the door.
    issued: RwLock<Option<HashMap<String, Asker>>>,
}

/// Why the issued keys are not known.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    /// The store did not give them.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// The document is not what was written.
    #[error("the document {KEYS_DOCUMENT} of the store cannot be read")]
    Unreadable(#[from] serde_json::Error),
}

impl Askers {
    /// Accepts issued keys, and `upstream` while there are none.
    #[must_use]
    pub fn new(upstream: Option<SecretString>) -> Self {
        let upstream = upstream.map(|key| hash(key.expose_secret()));
        Self { upstream, issued: RwLock::default() }
    }

    /// Reads the issued keys from the store. Where that fails, those that were read last stay. True
    /// where they are the first ones, so that the account's own key is not accepted any more.
    pub async fn refresh(&self, store: &dyn Store) -> Result<bool, KeysError> {
        let Some(document) = store.document(KEYS_DOCUMENT).await? else { return Ok(false) };
        let book: KeyBook = serde_json::from_str(&document.body)?;
        let valid = book.keys.into_iter().filter(IssuedKey::is_valid);
        let issued = valid.map(|key| {
            let IssuedKey { priority, quota, .. } = key;
            (key.sha256, Asker { owner: Some(key.name.into()), priority, quota })
        });
        let issued = Some(issued.collect());
        let before = std::mem::replace(
            &mut *self.issued.write().unwrap_or_else(PoisonError::into_inner),
            issued,
        );
        Ok(before.is_none())
    }

    /// True where a key was ever issued, so that the account's own is not accepted.
    #[must_use]
    pub fn are_issued(&self) -> bool {
        self.issued.read().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    pub(crate) fn who(&self, key: Option<&str>) -> Result<Asker, Stranger> {
        let key = key.map(str::trim).ok_or(Stranger::Malformed)?;
        let issued = self.issued.read().unwrap_or_else(PoisonError::into_inner);
        let is_formed = key.len() == KEY_LEN && key.bytes().all(|b| b.is_ascii_alphanumeric());
        let stranger = if is_formed { Stranger::Unknown } else { Stranger::Malformed };
        // Hashes are compared, so that the time that it takes tells nothing of a key.
        match (&*issued, &self.upstream) {
            (Some(issued), _) if is_formed => issued.get(&hash(key)).cloned().ok_or(stranger),
            (None, Some(upstream)) if hash(key) == *upstream => {
                Ok(Asker { owner: None, priority: None, quota: Quota::default() })
            }
            _ => Err(stranger),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use deadletter::store::{MemoryStore, SystemClock};

    fn memory() -> MemoryStore {
        MemoryStore::new(Arc::new(SystemClock))
    }

    #[tokio::test]
    async fn an_issued_key_is_known_until_it_is_revoked() {
        use deadletter::store::Registry as _;
        let (store, key) = (memory(), new_key(&mut rand::rng()));
        let mut book = KeyBook { keys: vec![IssuedKey::of("shop", &key, 1)] };
        let askers = Askers::new(Some("the-upstream-key".into()));
        assert!(askers.who(Some("the-upstream-key")).is_ok_and(|asker| asker.owner.is_none()));
        let body = serde_json::to_string(&book).unwrap();
        assert!(!body.contains(key.expose_secret()), "{body}");
        let version = store.put_document(KEYS_DOCUMENT, 0, &body).await.unwrap().unwrap();
        askers.refresh(&store).await.unwrap();
        let shop = askers.who(Some(key.expose_secret())).unwrap();
        assert_eq!(shop.owner.as_deref(), Some("shop"));
        assert_eq!(askers.who(Some("the-upstream-key")), Err(Stranger::Malformed));
        assert_eq!(askers.who(Some(&"0".repeat(32))), Err(Stranger::Unknown));
        assert_eq!(askers.who(None), Err(Stranger::Malformed));
        book.keys[0].revoked_at = Some(2);
        let body = serde_json::to_string(&book).unwrap();
        store.put_document(KEYS_DOCUMENT, version, &body).await.unwrap().unwrap();
        askers.refresh(&store).await.unwrap();
        assert!(askers.who(Some(key.expose_secret())).is_err());
        assert!(askers.who(Some("the-upstream-key")).is_err(), "the door is shut");
    }

    #[tokio::test]
    async fn keys_that_cannot_be_read_let_nobody_in() {
        use deadletter::store::Registry as _;
        let (store, askers) = (memory(), Askers::new(None));
        store.put_document(KEYS_DOCUMENT, 0, "torn").await.unwrap();
        assert!(matches!(askers.refresh(&store).await, Err(KeysError::Unreadable(_))));
        assert!(askers.who(Some(&"0".repeat(32))).is_err());
    }
}
