//! Where a batch keeps its tasks: a file in its folder, or a part of its own of a server.

use super::ledger::Ledger;
use deadletter::store::{Error, SystemClock, open_existing};
use std::path::Path;
use std::sync::Arc;

/// The store of a batch.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    url: String,
    is_file: bool,
}

impl Place {
    /// A file in that folder.
    pub(crate) fn file(dir: &Path) -> Self {
        Self::backup(&dir.join("crash.db"))
    }

    /// A copy of one.
    pub(crate) fn backup(path: &Path) -> Self {
        Self { url: format!("sqlite:{}", path.display()), is_file: true }
    }

    /// The usual part of a server.
    pub(crate) fn server(url: &str) -> Self {
        Self { url: url.to_owned(), is_file: false }
    }

    /// A part of the server at `url` that nobody has used yet.
    pub(crate) fn part(url: &str, seed: u64) -> Self {
        let joint = if url.contains('?') { '&' } else { '?' };
        let name = if url.starts_with("redis") { "prefix" } else { "schema" };
        Self { url: format!("{url}{joint}{name}=crash_{seed:x}"), is_file: false }
    }

    /// As `--store` takes it.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// True where a copy of it is a file too.
    pub(crate) const fn is_file(&self) -> bool {
        self.is_file
    }

    /// What stands there; nothing in a store that was never opened.
    pub(crate) async fn read(&self) -> Result<Ledger, Error> {
        let store = match open_existing(&self.url, Arc::new(SystemClock)).await {
            Err(Error::Missing(_)) => return Ok(Ledger::default()),
            store => store?,
        };
        let ledger = Ledger::read(store.as_ref()).await;
        store.close().await?;
        ledger
    }

    /// True where the program has begun one.
    pub(crate) async fn exists(&self) -> Result<bool, Error> {
        match open_existing(&self.url, Arc::new(SystemClock)).await {
            Err(Error::Missing(_)) => Ok(false),
            store => store?.close().await.map(|()| true),
        }
    }
}
