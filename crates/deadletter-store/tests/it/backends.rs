//! The stores and wrappers that the suite runs over: a function for each, of its test module's name.

pub(crate) use crate::alike::twins;
use crate::{
    redis_prefix::Prefix,
    server::{Schema, variable},
};
use async_trait::async_trait;
use deadletter_store::{
    Clock, Faulty, MemoryStore, PostgresStore, RedisStore, SqliteStore, Store, Traced,
};
use std::sync::{Arc, OnceLock};
use tempfile::TempDir;

/// Where a test's store comes from.
#[async_trait]
pub(crate) trait Backend: Send + Sync {
    /// Opens a handle; all handles of one backend see the same contents. Called again after a
    /// close where the contents outlive it.
    async fn open(&self, clock: Arc<dyn Clock>) -> Arc<dyn Store>;

    /// Takes away what the contents lie in, where that does not go by itself.
    async fn end(&self) {}
}

/// The reference.
pub(crate) fn memory() -> impl Backend {
    Memory::default()
}

/// A memory store that the test itself has made.
pub(crate) fn over(store: Arc<MemoryStore>) -> impl Backend {
    Memory(OnceLock::from(store))
}

/// Contents that live in the one handle there is.
#[derive(Default)]
pub(crate) struct Memory(OnceLock<Arc<MemoryStore>>);

#[async_trait]
impl Backend for Memory {
    async fn open(&self, clock: Arc<dyn Clock>) -> Arc<dyn Store> {
        self.0.get_or_init(|| Arc::new(MemoryStore::new(clock))).clone()
    }
}

/// A file in a directory of its own.
pub(crate) fn sqlite() -> impl Backend {
    Sqlite::new()
}

pub(crate) struct Sqlite(TempDir);

impl Sqlite {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }
}

#[async_trait]
impl Backend for Sqlite {
    async fn open(&self, clock: Arc<dyn Clock>) -> Arc<dyn Store> {
        Arc::new(SqliteStore::open(self.0.path().join("tasks.db"), clock).await.unwrap())
    }
}

/// A schema of a PostgreSQL server.
pub(crate) fn postgres() -> impl Backend {
    Postgres(Schema::new())
}

/// The same behind PgBouncer, which gives each transaction another connection and leaves nothing
/// in its session.
pub(crate) fn pooled() -> impl Backend {
    Postgres(Schema::behind(&variable("DLQ_TEST_PGBOUNCER")))
}

struct Postgres(Schema);

#[async_trait]
impl Backend for Postgres {
    async fn open(&self, clock: Arc<dyn Clock>) -> Arc<dyn Store> {
        Arc::new(PostgresStore::open(&self.0.url, clock).await.unwrap())
    }

    async fn end(&self) {
        self.0.end().await;
    }
}

/// Keys of a Redis server.
pub(crate) fn redis() -> impl Backend {
    Redis(Prefix::new())
}

/// Keys under a prefix that the test looks into.
pub(crate) fn redis_under(prefix: Prefix) -> impl Backend {
    Redis(prefix)
}

/// The same on three servers that share the slots out among them.
pub(crate) fn cluster() -> impl Backend {
    Redis(Prefix::on_a_cluster())
}

struct Redis(Prefix);

#[async_trait]
impl Backend for Redis {
    async fn open(&self, clock: Arc<dyn Clock>) -> Arc<dyn Store> {
        Arc::new(RedisStore::open(&self.0.url, clock).await.unwrap())
    }

    async fn end(&self) {
        self.0.end();
    }
}

/// The reference under traces.
pub(crate) fn traced() -> impl Backend {
    Wrapped { inner: Memory::default(), wrap: |store| Arc::new(Traced::new(store)) }
}

/// The reference under faults that nobody asks for.
pub(crate) fn faulty() -> impl Backend {
    Wrapped { inner: Memory::default(), wrap: |store| Arc::new(Faulty::new(store)) }
}

struct Wrapped<B> {
    inner: B,
    wrap: fn(Arc<dyn Store>) -> Arc<dyn Store>,
}

#[async_trait]
impl<B: Backend> Backend for Wrapped<B> {
    async fn open(&self, clock: Arc<dyn Clock>) -> Arc<dyn Store> {
        (self.wrap)(self.inner.open(clock).await)
    }
}
