//! Documents of the store, read and changed as values.

use crate::{Error, Result};
use deadletter_store::Store;
use serde::{Serialize, de::DeserializeOwned};

/// Tries against others who change the same document; each loss means that somebody else won.
const TRIES: u32 = 32;

/// The document as a value, with its version; the default at version 0 where there is none.
pub(crate) async fn read<D>(store: &dyn Store, key: &str) -> Result<Option<(u64, D)>>
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
/// Nothing is written where `act` changes nothing. Answers the document as it stands then, and
/// what `act` answered last.
pub(crate) async fn update<D, T>(
    store: &dyn Store,
    key: &str,
    fresh: &D,
    act: impl Fn(&mut D) -> T + Send + Sync,
) -> Result<(D, T)>
where
    D: Serialize + DeserializeOwned + Clone + PartialEq + Send + Sync,
    T: Send,
{
    for _ in 0..TRIES {
        let (version, before) = read(store, key).await?.unwrap_or((0, fresh.clone()));
        let mut after = before.clone();
        let answer = act(&mut after);
        if version > 0 && after == before {
            return Ok((after, answer));
        }
        let body = serde_json::to_string(&after)
            .map_err(|source| Error::BadDocument { key: key.to_owned(), source })?;
        if store.put_document(key, version, &body).await?.is_some() {
            return Ok((after, answer));
        }
    }
    Err(Error::Contended(key.to_owned()))
}
