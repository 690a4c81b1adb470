//! The async shell of [`Registry`], and the locks that go with workers.

use super::SqliteStore;
use crate::{AuditEntry, Beat, Document, Registry, Result, Worker, sqlite::registry};
use async_trait::async_trait;
use deadletter_core::{AccountName, UnixMs, WorkerId};
use std::sync::Arc;

impl SqliteStore {
    /// Workers whose processes are proven to be gone. Locks are tried beside the writer: who is gone
    /// stays gone, whatever is written meanwhile.
    async fn gone(&self) -> Result<Vec<WorkerId>> {
        let locks = Arc::clone(&self.locks);
        self.read("look for the dead", move |conn| registry::gone(conn, &locks)).await
    }

    /// Registers a worker whose lock is held.
    async fn register_locked(&self, worker: &WorkerId, label: &str) -> Result<Beat> {
        let gone = self.gone().await?;
        let (id, label, theirs) = (worker.clone(), label.to_owned(), gone.clone());
        let beat = self
            .write("register a worker", move |session| {
                registry::register(session, &id, &label, &theirs)
            })
            .await?;
        gone.iter().for_each(|gone| self.locks.sweep(gone));
        Ok(beat)
    }
}

#[async_trait]
impl Registry for SqliteStore {
    async fn register(&self, worker: &WorkerId, label: &str) -> Result<Beat> {
        // The lock first: nobody may see the worker without it.
        self.locks.acquire(worker)?;
        let registered = self.register_locked(worker, label).await;
        if registered.is_err() {
            self.locks.release(worker);
        }
        registered
    }

    async fn beat(&self, worker: &WorkerId) -> Result<Beat> {
        let worker = worker.clone();
        self.write("beat", move |session| registry::beat(session, &worker)).await
    }

    async fn leave(&self, worker: &WorkerId) -> Result<()> {
        let id = worker.clone();
        self.write("leave", move |session| registry::leave(session, &id)).await?;
        self.locks.release(worker);
        Ok(())
    }

    async fn declare_dead(&self, before: UnixMs) -> Result<Vec<WorkerId>> {
        let gone = self.gone().await?;
        let declared = self
            .write("declare workers dead", move |session| {
                registry::declare_dead(session, before, &gone)
            })
            .await?;
        declared.iter().for_each(|worker| self.locks.sweep(worker));
        Ok(declared)
    }

    async fn workers(&self, limit: u32) -> Result<Vec<Worker>> {
        self.read("get workers", move |conn| registry::workers(conn, limit)).await
    }

    async fn permits(&self, account: &AccountName, now: UnixMs) -> Result<u32> {
        let account = account.clone();
        self.read("count permits", move |conn| registry::permits(conn, &account, now)).await
    }

    async fn document(&self, key: &str) -> Result<Option<Document>> {
        let key = key.to_owned();
        self.look_up("get a document", move |conn| registry::document(conn, &key)).await
    }

    async fn put_document(&self, key: &str, expects: u64, body: &str) -> Result<Option<u64>> {
        let (key, body) = (key.to_owned(), body.to_owned());
        self.write("put a document", move |session| {
            registry::put_document(session, &key, expects, &body)
        })
        .await
    }

    async fn documents_after(
        &self,
        prefix: &str,
        after: &str,
        limit: u32,
    ) -> Result<Vec<Document>> {
        let (prefix, after) = (prefix.to_owned(), after.to_owned());
        self.read("get documents", move |conn| registry::documents(conn, &prefix, &after, limit))
            .await
    }

    async fn audit(&self, entry: &AuditEntry) -> Result<bool> {
        let entry = entry.clone();
        self.write("append to the audit log", move |session| registry::audit(session, &entry)).await
    }

    async fn audit_log(&self, writer: Option<&str>, limit: u32) -> Result<Vec<AuditEntry>> {
        let writer = writer.map(str::to_owned);
        self.read("get the audit log", move |conn| {
            registry::audit_log(conn, writer.as_deref(), limit)
        })
        .await
    }

    async fn audit_after(&self, after: u64, limit: u32) -> Result<Vec<(u64, AuditEntry)>> {
        let read = move |conn: &_| registry::audit_after(conn, after, limit);
        self.read("get the audit log", read).await
    }
}
