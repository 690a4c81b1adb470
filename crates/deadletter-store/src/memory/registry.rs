//! The memory store's side of [`crate::Registry`].

use super::contents::Contents;
use crate::{AuditEntry, Beat, Document, Error, Result, Worker};
use deadletter_core::{AccountName, UnixMs, WorkerId};
use std::{cmp::Reverse, ops::Bound};

impl Contents {
    pub(super) fn register(&mut self, id: &WorkerId, label: &str, now: UnixMs) -> Result<Beat> {
        if self.workers.contains_key(id) {
            return Err(Error::DeclaredDead(id.clone()));
        }
        let worker = Worker {
            id: id.clone(),
            started_at: now,
            beat_at: now,
            dead_at: None,
            left_at: None,
            label: label.to_owned(),
        };
        self.workers.insert(id.clone(), worker);
        self.pulse += 1;
        Ok(Beat { now, workers: self.living() })
    }

    pub(super) fn beat(&mut self, id: &WorkerId, now: UnixMs) -> Result<Beat> {
        let worker = self.workers.get_mut(id).filter(|worker| is_alive(worker));
        worker.ok_or_else(|| Error::DeclaredDead(id.clone()))?.beat_at = now;
        self.pulse += 1;
        Ok(Beat { now, workers: self.living() })
    }

    fn living(&self) -> u32 {
        let living = self.workers.values().filter(|worker| is_alive(worker)).count();
        u32::try_from(living).unwrap_or(u32::MAX)
    }

    pub(super) fn leave(&mut self, id: &WorkerId, now: UnixMs) {
        if let Some(worker) = self.workers.get_mut(id).filter(|worker| is_alive(worker)) {
            worker.left_at = Some(now);
            self.pulse += 1;
        }
    }

    pub(super) fn declare_dead(&mut self, before: UnixMs, now: UnixMs) -> Vec<WorkerId> {
        let silent =
            self.workers.values_mut().filter(|worker| is_alive(worker) && worker.beat_at < before);
        let declared: Vec<WorkerId> = silent
            .map(|worker| {
                worker.dead_at = Some(now);
                worker.id.clone()
            })
            .collect();
        self.pulse += declared.len() as u64;
        declared
    }

    /// True where what this holder has is free for others; nobody is always gone.
    pub(super) fn is_gone(&self, holder: Option<&WorkerId>) -> bool {
        holder.and_then(|id| self.workers.get(id)).is_none_or(|worker| !is_alive(worker))
    }

    pub(super) fn must_be_alive(&self, id: &WorkerId) -> Result<()> {
        if self.is_gone(Some(id)) { Err(Error::DeclaredDead(id.clone())) } else { Ok(()) }
    }

    pub(super) fn newest_workers(&self, limit: u32) -> Vec<Worker> {
        let mut workers: Vec<&Worker> = self.workers.values().collect();
        workers.sort_by_key(|worker| Reverse((worker.started_at, &worker.id)));
        workers.into_iter().take(limit as usize).cloned().collect()
    }

    pub(super) fn permits(&self, account: &AccountName, now: UnixMs) -> u32 {
        let lent = self.rows.index().permits(account);
        let attempts = lent.filter_map(|(id, token)| self.rows.get(id)?.attempt(token));
        attempts.filter(|attempt| attempt.holds_permit(now)).count() as u32
    }

    pub(super) fn document(&self, key: &str) -> Option<Document> {
        self.documents.get(key).cloned()
    }

    pub(super) fn put_document(&mut self, key: &str, expects: u64, body: &str) -> Option<u64> {
        let stands_at = self.documents.get(key).map_or(0, |document| document.version);
        if stands_at != expects {
            return None;
        }
        let version = expects + 1;
        let document = Document { key: key.to_owned(), version, body: body.to_owned() };
        self.documents.insert(key.to_owned(), document);
        self.pulse += 1;
        Some(version)
    }

    pub(super) fn documents(&self, prefix: &str, after: &str, limit: u32) -> Vec<Document> {
        let from = if after < prefix { Bound::Included(prefix) } else { Bound::Excluded(after) };
        self.documents
            .range::<str, _>((from, Bound::Unbounded))
            .map(|(_, document)| document)
            .take_while(|document| document.key.starts_with(prefix))
            .take(limit as usize)
            .cloned()
            .collect()
    }

    pub(super) fn audit(&mut self, entry: &AuditEntry) -> bool {
        let is_new = self.audited.insert((entry.writer.clone(), entry.seq));
        if is_new {
            self.audit.push(entry.clone());
            self.pulse += 1;
        }
        is_new
    }

    pub(super) fn audit_log(&self, writer: Option<&str>, limit: u32) -> Vec<AuditEntry> {
        let entries = self.audit.iter().rev();
        entries
            .filter(|entry| writer.is_none_or(|writer| entry.writer == writer))
            .take(limit as usize)
            .cloned()
            .collect()
    }

    pub(super) fn audit_after(&self, after: u64, limit: u32) -> Vec<(u64, AuditEntry)> {
        let numbered = (1..).zip(&self.audit).skip(usize::try_from(after).unwrap_or(usize::MAX));
        numbered.take(limit as usize).map(|(n, entry)| (n, entry.clone())).collect()
    }
}

const fn is_alive(worker: &Worker) -> bool {
    worker.dead_at.is_none() && worker.left_at.is_none()
}
