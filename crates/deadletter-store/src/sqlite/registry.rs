//! Workers, permits, documents and the audit log.

use super::{
    columns::Columns, failure::Outcome, locks::Locks, statements::Statements, writer::Session,
};
use crate::{AuditEntry, Beat, Document, Error, Worker};
use deadletter_core::{AccountName, UnixMs, WorkerId};
use rusqlite::{Connection, OptionalExtension, Row};

const ALIVE: &str = "SELECT 1 FROM workers WHERE id = ? AND dead_at IS NULL AND left_at IS NULL";

/// True for a worker that is registered, not declared dead, and has not left.
pub(super) fn is_alive(statements: &Statements<'_>, worker: &str) -> Outcome<bool> {
    Ok(statements.get(ALIVE)?.exists([worker])?)
}

/// Errors: `DeclaredDead` where the worker is not alive.
pub(super) fn must_be_alive(statements: &Statements<'_>, worker: &WorkerId) -> Outcome<()> {
    match is_alive(statements, worker.as_str())? {
        true => Ok(()),
        false => Err(Error::DeclaredDead(worker.clone()).into()),
    }
}

/// Workers that stand as alive, and whose processes are proven to be gone.
pub(super) fn gone(conn: &Connection, locks: &Locks) -> Outcome<Vec<WorkerId>> {
    let mut gone = alive_since(conn, UnixMs(i64::MAX))?;
    gone.retain(|worker| locks.is_gone(worker));
    Ok(gone)
}

/// Writes a new worker, and declares those dead that are gone.
pub(super) fn register(
    session: &Session<'_, '_>,
    worker: &WorkerId,
    label: &str,
    gone: &[WorkerId],
) -> Outcome<Beat> {
    let (conn, now) = (session.conn, session.now);
    let is_known =
        conn.prepare_cached("SELECT 1 FROM workers WHERE id = ?")?.exists([worker.as_str()])?;
    if is_known {
        return Err(Error::DeclaredDead(worker.clone()).into());
    }
    declare(session, gone)?;
    conn.prepare_cached(
        "INSERT INTO workers (id, started_at, beat_at, label) VALUES (?, ?, ?, ?)",
    )?
    .execute((worker.as_str(), now.0, now.0, label))?;
    Ok(Beat { now, workers: living(conn)? })
}

/// Notes that the worker is alive.
pub(super) fn beat(session: &Session<'_, '_>, worker: &WorkerId) -> Outcome<Beat> {
    let beaten = session
        .conn
        .prepare_cached(
            "UPDATE workers SET beat_at = ? WHERE id = ? AND dead_at IS NULL AND left_at IS NULL",
        )?
        .execute((session.now.0, worker.as_str()))?;
    match beaten {
        1 => Ok(Beat { now: session.now, workers: living(session.conn)? }),
        _ => Err(Error::DeclaredDead(worker.clone()).into()),
    }
}

fn living(conn: &Connection) -> Outcome<u32> {
    let sql = "SELECT count(*) FROM workers INDEXED BY workers_alive \
         WHERE dead_at IS NULL AND left_at IS NULL";
    Ok(conn.prepare_cached(sql)?.query_row([], |row| row.get(0))?)
}

/// Notes that the worker has stopped.
pub(super) fn leave(session: &Session<'_, '_>, worker: &WorkerId) -> Outcome<()> {
    session
        .conn
        .prepare_cached(
            "UPDATE workers SET left_at = ? WHERE id = ? AND dead_at IS NULL AND left_at IS NULL",
        )?
        .execute((session.now.0, worker.as_str()))?;
    Ok(())
}

/// Declares workers dead that are gone, or beat last before an instant.
pub(super) fn declare_dead(
    session: &Session<'_, '_>,
    before: UnixMs,
    gone: &[WorkerId],
) -> Outcome<Vec<WorkerId>> {
    let mut declared = declare(session, gone)?;
    let silent = alive_since(session.conn, before)?;
    declared.extend(declare(session, &silent)?);
    Ok(declared)
}

/// Workers that are alive and last beat before an instant.
fn alive_since(conn: &Connection, before: UnixMs) -> Outcome<Vec<WorkerId>> {
    let mut statement = conn.prepare_cached(
        "SELECT id FROM workers INDEXED BY workers_alive \
         WHERE dead_at IS NULL AND left_at IS NULL AND beat_at < ? ORDER BY beat_at",
    )?;
    let rows = statement.query_map([before.0], |row| Columns::of(row).text())?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// Answers who was alive until now.
fn declare(session: &Session<'_, '_>, workers: &[WorkerId]) -> Outcome<Vec<WorkerId>> {
    let mut declared = Vec::new();
    let mut statement = session.conn.prepare_cached(
        "UPDATE workers SET dead_at = ? WHERE id = ? AND dead_at IS NULL AND left_at IS NULL",
    )?;
    for worker in workers {
        if statement.execute((session.now.0, worker.as_str()))? == 1 {
            declared.push(worker.clone());
        }
    }
    Ok(declared)
}

/// Workers, newest first.
pub(super) fn workers(conn: &Connection, limit: u32) -> Outcome<Vec<Worker>> {
    let mut statement = conn.prepare_cached(
        "SELECT id, started_at, beat_at, dead_at, left_at, label FROM workers \
         ORDER BY started_at DESC, id DESC LIMIT ?",
    )?;
    let rows = statement.query_map([limit], |row| {
        let columns = &mut Columns::of(row);
        Ok(Worker {
            id: columns.text()?,
            started_at: columns.instant()?,
            beat_at: columns.instant()?,
            dead_at: columns.instant_opt()?,
            left_at: columns.instant_opt()?,
            label: columns.take()?,
        })
    })?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// Permits in use of an account.
pub(super) fn permits(conn: &Connection, account: &AccountName, now: UnixMs) -> Outcome<u32> {
    Ok(conn
        .prepare_cached(
            "SELECT count(*) FROM attempts INDEXED BY attempts_open \
             WHERE closed_at IS NULL AND permit = 1 AND account = ? \
             AND (permit_until IS NULL OR permit_until > ?)",
        )?
        .query_row((account.as_str(), now.0), |row| row.get(0))?)
}

/// A document by name.
pub(super) fn document(conn: &Connection, key: &str) -> Outcome<Option<Document>> {
    Ok(conn
        .prepare_cached("SELECT key, version, body FROM documents WHERE key = ?")?
        .query_row([key], read_document)
        .optional()?)
}

/// Writes a document if it stands at `expects`; answers its new version.
pub(super) fn put_document(
    session: &Session<'_, '_>,
    key: &str,
    expects: u64,
    body: &str,
) -> Outcome<Option<u64>> {
    let sql = match expects {
        0 => "INSERT OR IGNORE INTO documents (body, key, version) VALUES (?, ?, ? + 1)",
        _ => {
            "UPDATE documents SET body = ?1, version = version + 1 WHERE key = ?2 AND version = ?3"
        }
    };
    let written = session.conn.prepare_cached(sql)?.execute((body, key, expects.cast_signed()))?;
    Ok((written == 1).then(|| expects + 1))
}

/// Documents whose name begins with `prefix` and comes behind `after`, by name.
pub(super) fn documents(
    conn: &Connection,
    prefix: &str,
    after: &str,
    limit: u32,
) -> Outcome<Vec<Document>> {
    let mut statement = conn.prepare_cached(
        "SELECT key, version, body FROM documents \
         WHERE key >= max(?1, ?2) AND key > ?2 AND substr(key, 1, length(?1)) = ?1 \
         ORDER BY key LIMIT ?3",
    )?;
    let rows = statement.query_map((prefix, after, limit), read_document)?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

fn read_document(row: &Row<'_>) -> rusqlite::Result<Document> {
    let columns = &mut Columns::of(row);
    Ok(Document { key: columns.take()?, version: columns.number()?, body: columns.take()? })
}

/// Appends to the audit log; false where the writer's number stands already.
pub(super) fn audit(session: &Session<'_, '_>, entry: &AuditEntry) -> Outcome<bool> {
    let written = session
        .conn
        .prepare_cached(
            "INSERT OR IGNORE INTO audit (writer, seq, at, body, hash) VALUES (?, ?, ?, ?, ?)",
        )?
        .execute((&entry.writer, entry.seq.cast_signed(), entry.at.0, &entry.body, &entry.hash))?;
    Ok(written == 1)
}

/// The audit log of a writer, or of all, last appended first.
pub(super) fn audit_log(
    conn: &Connection,
    writer: Option<&str>,
    limit: u32,
) -> Outcome<Vec<AuditEntry>> {
    let columns = "SELECT writer, seq, at, body, hash FROM audit";
    let mut statement =
        match writer {
            Some(_) => conn
                .prepare_cached(&format!("{columns} WHERE writer = ?1 ORDER BY n DESC LIMIT ?2"))?,
            None => conn
                .prepare_cached(&format!("{columns} WHERE ?1 IS NULL ORDER BY n DESC LIMIT ?2"))?,
        };
    let rows = statement.query_map((writer, limit), |row| read_entry(&mut Columns::of(row)))?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// The audit log of all in the order in which it was appended, from behind a number on.
pub(super) fn audit_after(
    conn: &Connection,
    after: u64,
    limit: u32,
) -> Outcome<Vec<(u64, AuditEntry)>> {
    let mut statement = conn.prepare_cached(
        "SELECT n, writer, seq, at, body, hash FROM audit WHERE n > ? ORDER BY n LIMIT ?",
    )?;
    let after = i64::try_from(after).unwrap_or(i64::MAX);
    let rows = statement.query_map((after, limit), |row| {
        let columns = &mut Columns::of(row);
        Ok((columns.number()?, read_entry(columns)?))
    })?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

fn read_entry(columns: &mut Columns<'_, '_>) -> rusqlite::Result<AuditEntry> {
    Ok(AuditEntry {
        writer: columns.take()?,
        seq: columns.number()?,
        at: columns.instant()?,
        body: columns.take()?,
        hash: columns.take()?,
    })
}
