//! The audit log: what people did and what came of it, each entry chained to its writer's entry
//! before.

use crate::{
    Desk, Error, Result,
    act::Act,
    operation::{self, Operation, RedriveOptions},
    shared::Shared,
};
use deadletter_core::{TaskId, hex};
use deadletter_store::{AuditEntry, Store};
use sha2::{Digest, Sha256};

/// Tries against the desk of the same engine, which writes under the same name.
const TRIES: u32 = 16;

/// Whose act an entry tells of, and why they say they did it.
#[derive(Clone, Copy)]
pub(crate) struct By<'a> {
    pub(crate) who: &'a str,
    pub(crate) why: Option<&'a str>,
}

impl<'a> By<'a> {
    /// Whoever asked for the operation: what it comes to by itself is theirs.
    pub(crate) fn asker(options: &'a RedriveOptions) -> Self {
        Self { who: &options.by, why: options.why.as_deref() }
    }
}

/// Writes down where an operation stands, and who brought it there.
pub(crate) async fn write(shared: &Shared, operation: &Operation, by: By<'_>) -> Result<()> {
    note(shared, operation, by, None).await
}

/// Writes down that it did not come to what was written as `meant`, because somebody else was
/// faster: the operation `stands` as it is written here.
///
/// Who dies before this leaves a line that the operation's own later lines contradict.
pub(crate) async fn correct(
    shared: &Shared,
    meant: &Operation,
    stands: &Operation,
    by: By<'_>,
) -> Result<()> {
    note(shared, stands, by, Some(meant.state.label())).await
}

async fn note(
    shared: &Shared,
    operation: &Operation,
    by: By<'_>,
    not_done: Option<&str>,
) -> Result<()> {
    let store = shared.store.as_ref();
    let [pending, done, skipped] = operation::tally(store, operation).await?;
    let mut body = serde_json::json!({
        "operation": operation.id,
        "kind": operation.act.label(),
        "by": by.who,
        "why": by.why,
        "asked_by": operation.options.by,
        "filter": operation.filter,
        "state": operation.state.label(),
        "frozen": operation.frozen,
        "done": done,
        "skipped": skipped,
        "pending": pending,
        "note": operation.note,
    });
    if let (Some(meant), Some(fields)) = (not_done, body.as_object_mut()) {
        fields.insert("not_done".to_owned(), meant.into());
    }
    append(store, shared.worker().as_str(), shared.now(), body.to_string()).await
}

/// Writes down that a program acts on a single task.
pub(crate) async fn write_one(shared: &Shared, act: Act, task: TaskId) -> Result<()> {
    let body = serde_json::json!({
        "kind": act.label(),
        "by": RedriveOptions::default().by,
        "task": task,
        "count": 1,
    });
    append(shared.store.as_ref(), shared.worker().as_str(), shared.now(), body.to_string()).await
}

impl Desk {
    /// Writes an act down that is no operation, for those who keep documents of their own in the
    /// store: `said` tells its `kind`, `by` whom it is, and `why`; nothing in it may be secret.
    pub async fn write_down(&self, said: &serde_json::Value) -> Result<()> {
        let (shared, body) = (&self.shared, said.to_string());
        append(shared.store.as_ref(), shared.worker().as_str(), shared.now(), body).await
    }
}

/// Appends an entry behind the writer's last one.
pub(crate) async fn append(
    store: &dyn Store,
    writer: &str,
    at: deadletter_core::UnixMs,
    body: String,
) -> Result<()> {
    for _ in 0..TRIES {
        let last = store.audit_log(Some(writer), 1).await?.pop();
        let (seq, before) = last.map_or((1, String::new()), |last| (last.seq + 1, last.hash));
        let (writer, body) = (writer.to_owned(), body.clone());
        let mut entry = AuditEntry { writer, seq, at, body, hash: String::new() };
        entry.hash = chained(&before, &entry);
        if store.audit(&entry).await? {
            return Ok(());
        }
    }
    Err(Error::Contended(format!("audit/{writer}")))
}

/// SHA-256 over the hash before and everything in the entry, in hex.
#[must_use]
pub fn chained(before: &str, entry: &AuditEntry) -> String {
    let mut hash = Sha256::new();
    for part in
        [before, &entry.writer, &entry.seq.to_string(), &entry.at.0.to_string(), &entry.body]
    {
        hash.update(part.len().to_le_bytes());
        hash.update(part.as_bytes());
    }
    hex(&hash.finalize())
}
