//! Workers, permits, documents and the audit log.

use super::{
    PostgresStore,
    columns::{Columns, bigint},
    failure::{Failure, Outcome},
    nul,
    statement::Statement,
    transaction::{Transaction, Work},
};
use crate::{AuditEntry, Beat, Document, Error, Registry, Result, Worker};
use async_trait::async_trait;
use deadletter_core::{AccountName, UnixMs, WorkerId};
use tokio_postgres::Row;

/// Who lives, as it was before the statement that it stands in.
macro_rules! alive {
    () => {
        "(SELECT count(*) FROM workers WHERE dead_at IS NULL AND left_at IS NULL)"
    };
}

const REGISTER: &str = concat!(
    "INSERT INTO workers (id, started_at, beat_at, label) VALUES ($1, $2, $2, $3) \
     ON CONFLICT (id) DO NOTHING RETURNING 1 + ",
    alive!()
);

const BEAT: &str = concat!(
    "UPDATE workers SET beat_at = $2 \
     WHERE id = $1 AND dead_at IS NULL AND left_at IS NULL RETURNING ",
    alive!()
);

/// As `FOR UPDATE`, because a call that a worker makes locks its row `FOR KEY SHARE`: nobody is gone
/// in the middle of a call. A beat does not wait for that.
const LEAVE: &str = "UPDATE workers SET left_at = $2 WHERE id IN \
     (SELECT id FROM workers WHERE id = $1 AND dead_at IS NULL AND left_at IS NULL FOR UPDATE) \
     RETURNING 1";

/// A worker whose row is locked is in the middle of a call: it is looked at again later.
const DECLARE: &str = "UPDATE workers SET dead_at = $1 WHERE id IN \
     (SELECT id FROM workers WHERE dead_at IS NULL AND left_at IS NULL AND beat_at < $2 \
      ORDER BY id FOR UPDATE SKIP LOCKED) RETURNING id, beat_at";

const WORKERS: &str = "SELECT id, started_at, beat_at, dead_at, left_at, label FROM workers \
     ORDER BY started_at DESC, id DESC LIMIT $1";

const PERMITS: &str = "SELECT count(*) FROM open_attempts WHERE permit \
     AND account = $1 AND (permit_until IS NULL OR permit_until > $2)";

const BEGIN_DOCUMENT: &str = "INSERT INTO documents (key, version, body) VALUES ($1, 1, $2) \
     ON CONFLICT (key) DO NOTHING RETURNING 1";

const PUT_DOCUMENT: &str = "UPDATE documents SET version = version + 1, body = $2 \
     WHERE key = $1 AND version = $3 RETURNING 1";

const DOCUMENT: &str = "SELECT key, version, body FROM documents WHERE key = $1";

const DOCUMENTS: &str = "SELECT key, version, body FROM documents \
     WHERE key >= $1 AND key > $2 AND starts_with(key, $3) ORDER BY key LIMIT $4";

const AUDIT: &str = "INSERT INTO audit (n, writer, seq, at, body, hash) \
     SELECT coalesce(max(n), 0) + 1, $1, $2, $3, $4, $5 FROM audit \
     ON CONFLICT (writer, seq) DO NOTHING RETURNING 1";

const LOG_OF_ALL: &str = "SELECT writer, seq, at, body, hash FROM audit ORDER BY n DESC LIMIT $1";

const LOG_OF_ONE: &str = "SELECT writer, seq, at, body, hash FROM audit WHERE writer = $2 \
     ORDER BY n DESC LIMIT $1";

const LOG_AFTER: &str = "SELECT n, writer, seq, at, body, hash FROM audit WHERE n > $1 \
     ORDER BY n LIMIT $2";

#[async_trait]
impl Registry for PostgresStore {
    async fn register(&self, worker: &WorkerId, label: &str) -> Result<Beat> {
        self.transact_alive("register a worker", |tx| async move {
            let new = Statement::new(REGISTER).text(worker.as_str()).put(tx.now.0);
            Ok(Work::done(beat(&tx, &new.put(nul::escaped(label)), worker).await?))
        })
        .await
    }

    async fn beat(&self, worker: &WorkerId) -> Result<Beat> {
        self.set_clock(&self.server.beats).await?;
        self.transact_alive("beat", |tx| async move {
            let statement = Statement::new(BEAT).text(worker.as_str()).put(tx.now.0);
            Ok(Work::quiet(beat(&tx, &statement, worker).await?))
        })
        .await
    }

    async fn leave(&self, worker: &WorkerId) -> Result<()> {
        self.transact_alive("leave", |tx| async move {
            let left = Statement::new(LEAVE).text(worker.as_str()).put(tx.now.0);
            Ok(news_where(!tx.read(&left).await?.is_empty(), ()))
        })
        .await
    }

    async fn declare_dead(&self, before: UnixMs) -> Result<Vec<WorkerId>> {
        self.transact("declare workers dead", |tx| async move {
            let rows = tx.read(&Statement::new(DECLARE).put(tx.now.0).put(before.0)).await?;
            let declared = rows.iter().map(|row| {
                let columns = &mut Columns::of(row);
                let id = columns.text::<WorkerId>()?;
                Ok((columns.instant()?, id))
            });
            let mut declared = declared.collect::<Outcome<Vec<(UnixMs, WorkerId)>>>()?;
            declared.sort();
            let declared: Vec<WorkerId> = declared.into_iter().map(|(_, id)| id).collect();
            Ok(news_where(!declared.is_empty(), declared))
        })
        .await
    }

    async fn workers(&self, limit: u32) -> Result<Vec<Worker>> {
        self.list("get workers", Statement::new(WORKERS).put(i64::from(limit)), read_worker).await
    }

    async fn permits(&self, account: &AccountName, now: UnixMs) -> Result<u32> {
        self.look("count permits", |tx| async move {
            let count = Statement::new(PERMITS).text(account.as_str()).put(now.0);
            one(&tx.read(&count).await?, |columns| columns.number())
        })
        .await
    }

    async fn document(&self, key: &str) -> Result<Option<Document>> {
        let named = Statement::new(DOCUMENT).put(nul::escaped(key));
        Ok(self.list("get a document", named, read_document).await?.pop())
    }

    async fn put_document(&self, key: &str, expects: u64, body: &str) -> Result<Option<u64>> {
        self.transact("put a document", |tx| async move {
            let (key, body) = (nul::escaped(key), nul::escaped(body));
            let put = match expects {
                0 => Statement::new(BEGIN_DOCUMENT).put(key).put(body),
                _ => Statement::new(PUT_DOCUMENT).put(key).put(body).put(bigint(expects)),
            };
            let is_written = !tx.read(&put).await?.is_empty();
            Ok(news_where(is_written, is_written.then(|| expects + 1)))
        })
        .await
    }

    async fn documents_after(
        &self,
        prefix: &str,
        after: &str,
        limit: u32,
    ) -> Result<Vec<Document>> {
        let (prefix, after) = (nul::escaped(prefix), nul::escaped(after));
        // Compared here as there: byte by byte.
        let from = prefix.as_str().max(&after).to_owned();
        let page = Statement::new(DOCUMENTS).put(from).put(after).put(prefix);
        self.list("get documents", page.put(i64::from(limit)), read_document).await
    }

    async fn audit(&self, entry: &AuditEntry) -> Result<bool> {
        self.transact("append to the audit log", |tx| async move {
            let line = Statement::new(AUDIT)
                .put(nul::escaped(&entry.writer))
                .put(bigint(entry.seq))
                .put(entry.at.0)
                .put(nul::escaped(&entry.body))
                .put(nul::escaped(&entry.hash));
            let is_new = !tx.read(&line).await?.is_empty();
            Ok(news_where(is_new, is_new))
        })
        .await
    }

    async fn audit_log(&self, writer: Option<&str>, limit: u32) -> Result<Vec<AuditEntry>> {
        let log = match writer {
            Some(writer) => {
                Statement::new(LOG_OF_ONE).put(i64::from(limit)).put(nul::escaped(writer))
            }
            None => Statement::new(LOG_OF_ALL).put(i64::from(limit)),
        };
        self.list("get the audit log", log, read_entry).await
    }

    async fn audit_after(&self, after: u64, limit: u32) -> Result<Vec<(u64, AuditEntry)>> {
        let log = Statement::new(LOG_AFTER).put(bigint(after)).put(i64::from(limit));
        self.list("get the audit log", log, |columns| Ok((columns.number()?, read_entry(columns)?)))
            .await
    }
}

/// Runs a statement that touches the row of a worker, and answers how many live; `DeclaredDead`
/// where it touches none.
async fn beat(tx: &Transaction, statement: &Statement, worker: &WorkerId) -> Outcome<Beat> {
    let rows = tx.read(statement).await?;
    let Some(row) = rows.first() else { return Err(Error::DeclaredDead(worker.clone()).into()) };
    Ok(Beat { now: tx.now, workers: Columns::of(row).number()? })
}

/// What was written already, if it was.
const fn news_where<T>(is_written: bool, answer: T) -> Work<T> {
    if is_written { Work::done(answer) } else { Work::quiet(answer) }
}

/// The one row of an answer that always has one.
pub(super) fn one<T>(
    rows: &[Row],
    read: impl FnOnce(&mut Columns<'_>) -> Outcome<T>,
) -> Outcome<T> {
    read(&mut Columns::of(rows.first().ok_or(Failure::Silence)?))
}

fn read_worker(columns: &mut Columns<'_>) -> Outcome<Worker> {
    Ok(Worker {
        id: columns.text()?,
        started_at: columns.instant()?,
        beat_at: columns.instant()?,
        dead_at: columns.instant_opt()?,
        left_at: columns.instant_opt()?,
        label: columns.plain()?,
    })
}

fn read_document(columns: &mut Columns<'_>) -> Outcome<Document> {
    Ok(Document { key: columns.plain()?, version: columns.number()?, body: columns.plain()? })
}

fn read_entry(columns: &mut Columns<'_>) -> Outcome<AuditEntry> {
    Ok(AuditEntry {
        writer: columns.plain()?,
        seq: columns.number()?,
        at: columns.instant()?,
        body: columns.plain()?,
        hash: columns.plain()?,
    })
}
