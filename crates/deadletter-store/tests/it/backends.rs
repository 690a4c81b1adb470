//! The stores and wrappers that the suite runs over: a function for each, of its test module's name.

use async_trait::async_trait;
use deadletter_store::{Clock, MemoryStore, Store};
use std::sync::{Arc, OnceLock};

/// Where a test's store comes from.
#[async_trait]
pub(crate) trait Backend: Send + Sync {
    /// Opens a handle; all handles of one backend see the same contents. Called again after a
    /// close where the contents outlive it.
    async fn open(&self, clock: Arc<dyn Clock>) -> Arc<dyn Store>;
}

/// The reference.
pub(crate) fn memory() -> impl Backend {
    Memory::default()
}

/// Contents that live in the one handle there is.
#[derive(Default)]
struct Memory(OnceLock<Arc<MemoryStore>>);

#[async_trait]
impl Backend for Memory {
    async fn open(&self, clock: Arc<dyn Clock>) -> Arc<dyn Store> {
        self.0.get_or_init(|| Arc::new(MemoryStore::new(clock))).clone()
    }
}
