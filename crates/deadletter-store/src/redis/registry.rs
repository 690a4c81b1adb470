//! Workers, permits, documents and the audit log, as callers see them.

use super::{RedisStore, audit, documents, workers};
use crate::{AuditEntry, Beat, Document, Error, Registry, Result, Worker};
use async_trait::async_trait;
use deadletter_core::{AccountName, UnixMs, WorkerId};
use redis::Cmd;

#[async_trait]
impl Registry for RedisStore {
    async fn register(&self, worker: &WorkerId, label: &str) -> Result<Beat> {
        self.recall().await?;
        let registered =
            self.transact("register a worker", |call| workers::register(call, worker, label)).await;
        self.heard(worker, registered.is_ok());
        registered
    }

    async fn beat(&self, worker: &WorkerId) -> Result<Beat> {
        self.set_clock().await?;
        let beat = self.transact("beat", |call| workers::beat(call, worker)).await;
        if matches!(beat, Err(Error::DeclaredDead(_))) {
            self.heard(worker, false);
        }
        beat
    }

    async fn leave(&self, worker: &WorkerId) -> Result<()> {
        self.heard(worker, false);
        self.transact("leave", |call| workers::leave(call, worker)).await
    }

    async fn declare_dead(&self, before: UnixMs) -> Result<Vec<WorkerId>> {
        self.transact("declare workers dead", |call| workers::declare_dead(call, before)).await
    }

    async fn workers(&self, limit: u32) -> Result<Vec<Worker>> {
        self.look("get workers", |call| workers::newest(call, limit)).await
    }

    async fn permits(&self, account: &AccountName, now: UnixMs) -> Result<u32> {
        self.look("count permits", |call| async move {
            let permits = call.keys().permits(account);
            call.ask_one(Cmd::zcount(permits, format!("({}", now.0), "+inf")).await
        })
        .await
    }

    async fn document(&self, key: &str) -> Result<Option<Document>> {
        self.look("get a document", |call| documents::get(call, key)).await
    }

    async fn put_document(&self, key: &str, expects: u64, body: &str) -> Result<Option<u64>> {
        self.transact("put a document", |call| documents::put(call, key, expects, body)).await
    }

    async fn documents_after(
        &self,
        prefix: &str,
        after: &str,
        limit: u32,
    ) -> Result<Vec<Document>> {
        self.look("get documents", |call| documents::page(call, prefix, after, limit)).await
    }

    async fn audit(&self, entry: &AuditEntry) -> Result<bool> {
        self.transact("append to the audit log", |call| audit::append(call, entry)).await
    }

    async fn audit_log(&self, writer: Option<&str>, limit: u32) -> Result<Vec<AuditEntry>> {
        self.look("get the audit log", |call| audit::newest(call, writer, limit)).await
    }

    async fn audit_after(&self, after: u64, limit: u32) -> Result<Vec<(u64, AuditEntry)>> {
        self.look("get the audit log", |call| audit::after(call, after, limit)).await
    }
}
