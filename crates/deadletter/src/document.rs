//! Documents of the store, read and changed as values.
//!
//! For whoever keeps a document of its own beside the engine's.

use crate::{Error, Result};
use deadletter_store::Store;
use serde::{Serialize, de::DeserializeOwned};

/// Tries against others who change the same document; each loss means that somebody else won.
const TRIES: u32 = 32;

/// A document after a change.
#[derive(Debug)]
pub struct Updated<D, T> {
    /// Its version: what carries a lower one is older.
    pub version: u64,
    /// What it says.
    pub value: D,
    /// What the change answered.
    pub answer: T,
}

/// The document as a value, with its version; none where there is no such document. Errors:
/// [`Error::BadDocument`], and the store's.
pub async fn read<D>(store: &dyn Store, key: &str) -> Result<Option<(u64, D)>>
where
    D: DeserializeOwned,
{
    let Some(document) = store.document(key).await? else { return Ok(None) };
    let value = serde_json::from_str(&document.body)
        .map_err(|source| Error::BadDocument { key: key.to_owned(), source })?;
    Ok(Some((document.version, value)))
}

/// Changes a document by `act`, again on the newest version where somebody was faster.
///
/// Nothing is written where `act` changes nothing. `fresh` stands where there is no document yet.
/// Errors: as [`read`], and [`Error::Contended`] where others were always faster.
pub async fn update<D, T>(
    store: &dyn Store,
    key: &str,
    fresh: &D,
    act: impl Fn(&mut D) -> T + Send + Sync,
) -> Result<Updated<D, T>>
where
    D: Serialize + DeserializeOwned + Clone + PartialEq + Send + Sync,
    T: Send,
{
    for _ in 0..TRIES {
        let (version, before) = read(store, key).await?.unwrap_or((0, fresh.clone()));
        let mut value = before.clone();
        let answer = act(&mut value);
        if version > 0 && value == before {
            return Ok(Updated { version, value, answer });
        }
        let body = serde_json::to_string(&value)
            .map_err(|source| Error::BadDocument { key: key.to_owned(), source })?;
        if let Some(version) = store.put_document(key, version, &body).await? {
            return Ok(Updated { version, value, answer });
        }
    }
    Err(Error::Contended(key.to_owned()))
}
