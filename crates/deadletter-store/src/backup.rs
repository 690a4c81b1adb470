//! A copy of a store that a server keeps, in an SQLite file: whole, compared, or not there.
//!
//! What the copy shows is one instant. A server that can show one to many questions (PostgreSQL) is
//! copied while others work on it; any other must be at rest.

use crate::{
    Clock, PostgresStore, Result, Store,
    migrate::{Moved, Phase, migrate, migrate_from_rest},
    open_existing,
    postgres::is_postgres,
    sqlite::Unnamed,
};
use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

/// A store as it is at one instant.
pub struct Snapshot {
    /// It can only be read.
    store: Arc<dyn Store>,
    /// False where it would change under the eyes of who reads it.
    is_frozen: bool,
}

/// A copy that was taken.
#[derive(Clone, Debug)]
pub struct Copied {
    /// Where it lies.
    pub path: PathBuf,
    /// Its length.
    pub bytes: u64,
    /// What is in it.
    pub moved: Moved,
}

impl Snapshot {
    /// Of the store that stands at `url`. A server keeps what is deleted there until this value is
    /// dropped.
    ///
    /// Errors: as [`open_existing`].
    pub async fn open(url: &str, clock: Arc<dyn Clock>) -> Result<Self> {
        if is_postgres(url) {
            let store = PostgresStore::open_snapshot(url, clock).await?;
            return Ok(Self { store: Arc::new(store), is_frozen: true });
        }
        Ok(Self { store: open_existing(url, clock).await?, is_frozen: false })
    }

    /// The store, for whoever looks at it.
    #[must_use]
    pub fn store(&self) -> &dyn Store {
        self.store.as_ref()
    }

    /// Copies it to `path`, where nothing may stand: tasks with all that is theirs, documents and the
    /// audit log, each of them compared. `news` hears how many tasks are through a phase.
    ///
    /// The copy grows under another name, is flushed with its folder, and only then put in its place.
    ///
    /// Errors: `Exists`; those of [`migrate`], of the store and of the file system. Nothing is left
    /// behind then.
    pub async fn copy_to(
        &self,
        path: &Path,
        news: &(dyn Fn(Phase, u64) + Send + Sync),
    ) -> Result<Copied> {
        let copy = Unnamed::begin(path, self.store.clock()).await?;
        let moved = match self.is_frozen {
            true => migrate_from_rest(self.store(), copy.store(), news).await,
            false => migrate(self.store(), copy.store(), news).await,
        };
        let moved = moved?;
        let (path, bytes) = copy.put_in_place().await?;
        Ok(Copied { path, bytes, moved })
    }
}
