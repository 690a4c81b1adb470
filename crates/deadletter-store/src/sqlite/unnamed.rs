//! A new store that gets its name only when somebody has filled it.

use super::{
    SqliteStore,
    file::{self, unavailable},
};
use crate::{Clock, Error, Result, Store, draft::Draft};
use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

/// A store under another name than its own; dropped, nothing is left of it.
pub(crate) struct Unnamed {
    store: SqliteStore,
    path: PathBuf,
    // Behind the store, which closes its files before they are removed.
    draft: Draft,
}

impl Unnamed {
    /// Begins the store that is to lie at `path`, where nothing may stand.
    ///
    /// Errors: `Exists`; those of [`SqliteStore::open`].
    pub(crate) async fn begin(path: &Path, clock: Arc<dyn Clock>) -> Result<Self> {
        let path = std::path::absolute(path).map_err(|e| unavailable("find", path, e))?;
        match fs::symlink_metadata(&path) {
            Ok(_) => return Err(Error::Exists(path)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(unavailable("look at", &path, error)),
        }
        let (draft, file) = Draft::begin(&path).map_err(|e| unavailable("create", &path, e))?;
        drop(file);
        // A store makes its own file, which is whole from its first moment.
        file::remove(draft.at())?;
        let store = SqliteStore::open(draft.at(), clock).await?;
        Ok(Self { store, path, draft })
    }

    pub(crate) const fn store(&self) -> &SqliteStore {
        &self.store
    }

    /// Closes it and gives it its name, on the disk; answers its path and its length.
    ///
    /// Errors: `Exists`; `InDoubt` where it has its place and its folder could not be flushed; others
    /// of the file system.
    pub(crate) async fn put_in_place(self) -> Result<(PathBuf, u64)> {
        let Self { store, path, draft } = self;
        store.close().await?;
        drop(store);
        let length = fs::metadata(draft.at()).map_err(|e| unavailable("look at", &path, e))?.len();
        let log = file::beside(draft.at(), "-wal");
        // It would stay behind under the draft's name.
        if fs::metadata(log).is_ok_and(|log| log.len() > 0) {
            let what = format!("close {}: its log is not in its file", path.display());
            return Err(Error::Unavailable { what, source: None });
        }
        file::put_in_place(draft, &path)?;
        Ok((path, length))
    }
}
