//! The tables of the SQLite store, and the list of steps that leads to them.
//!
//! `user_version` is the number of steps taken; `application_id` marks the file as ours.
//! Words (states, causes, verdicts) are stored as their labels, so that people can query them.

use super::failure::Outcome;
use crate::Error;
use rusqlite::Connection;
use std::path::Path;

/// "dlq2" in ASCII: marks a file as a deadletter store. ("dlq1" marks files of before the first
/// release, whose tables were others.)
pub(super) const APPLICATION_ID: i32 = 0x646c_7132;

/// Bytes of a page: SQLite's usual one, and that of every store of ours.
pub(super) const PAGE_LEN: u32 = 4_096;

/// Each entry leads from its index to the next version; entries are never edited once released.
pub(super) const STEPS: &[&str] = &[V1, V2, V3, V4];

/// The schema version that this program writes.
pub(super) fn known() -> i64 {
    i64::try_from(STEPS.len()).unwrap_or(i64::MAX)
}

/// Brings `conn` to the newest version in one transaction.
///
/// Errors: `TooNew` for a schema that a newer program wrote; nothing is written then.
pub(super) fn upgrade(conn: &Connection, path: &Path, steps: &[&str]) -> Outcome<()> {
    let known = i64::try_from(steps.len()).unwrap_or(i64::MAX);
    if version(conn, path, known)? == known {
        return Ok(());
    }
    conn.execute_batch("BEGIN IMMEDIATE")?;
    let upgraded = apply(conn, path, steps, known);
    conn.execute_batch(if upgraded.is_ok() { "COMMIT" } else { "ROLLBACK" })?;
    upgraded
}

fn apply(conn: &Connection, path: &Path, steps: &[&str], known: i64) -> Outcome<()> {
    // Read again under the lock: another process may have been faster.
    let found = version(conn, path, known)?;
    for step in steps.iter().skip(usize::try_from(found).unwrap_or(0)) {
        conn.execute_batch(step)?;
    }
    conn.pragma_update(None, "application_id", APPLICATION_ID)?;
    conn.pragma_update(None, "user_version", known)?;
    Ok(())
}

fn version(conn: &Connection, path: &Path, known: i64) -> Outcome<i64> {
    let found: i64 = conn.pragma_query_value(None, "user_version", |row| row.get(0))?;
    if found > known {
        return Err(Error::TooNew { store: path.display().to_string(), found, known }.into());
    }
    if found < 0 {
        let what = format!("{} has the schema version {found}", path.display());
        return Err(Error::Damaged { what, source: None }.into());
    }
    Ok(found)
}

/// Notes on the indexes of `tasks`. `ready` is 1 for a task that may be claimed, 0 for one that
/// waits until `due_at`, and absent for all others (leased, held, dead, ...): claim's two indexes
/// know no other rows. A task in flight has an attempt and is found by its worker (`tasks_live`),
/// any other by state. `at_rest` is the state of the dead and the buried, and absent for others.
/// An update opens every index that knows one of the columns that it sets: hence the conditions
/// name columns that a step of a task's life does not set, where its `state` would do as well.
/// Attempts lie beside each other by task, so that a life cycle touches few pages; answers, which
/// are long, are only ever appended. An attempt that is closed holds no permit, so the open ones
/// are all that permits are counted over.
const V1: &str = "
CREATE TABLE tasks (
  id INTEGER PRIMARY KEY,
  owner TEXT, idempotency_key TEXT, idempotency_expires_at INTEGER,
  created_at INTEGER NOT NULL,
  method TEXT NOT NULL, sitekey TEXT, host TEXT, proxy TEXT, batch TEXT, tags TEXT,
  state TEXT NOT NULL, why TEXT, reason TEXT, due_at INTEGER, upstream_id TEXT,
  ready INTEGER, lane TEXT NOT NULL, at_rest TEXT,
  version INTEGER NOT NULL, account TEXT NOT NULL, worker TEXT, attempt INTEGER,
  priority INTEGER NOT NULL, turn INTEGER NOT NULL, hold TEXT, deadline_at INTEGER,
  attempts INTEGER NOT NULL, submits INTEGER NOT NULL, failures INTEGER NOT NULL,
  refusals INTEGER NOT NULL, panics INTEGER NOT NULL, redrives INTEGER NOT NULL,
  deaths INTEGER NOT NULL,
  round_allowance INTEGER NOT NULL, round_failures INTEGER NOT NULL,
  round_unsolvable INTEGER NOT NULL, round_lost INTEGER NOT NULL,
  round_refusals INTEGER NOT NULL, round_proxies_failed INTEGER NOT NULL,
  max_submits INTEGER NOT NULL, proxies INTEGER NOT NULL,
  cause TEXT, class TEXT, fingerprint TEXT, parent INTEGER, answered_by INTEGER,
  verdict_read_at INTEGER, updated_at INTEGER NOT NULL
) STRICT;
CREATE INDEX tasks_ready ON tasks (account, lane, priority, turn, due_at, id) WHERE ready = 1;
CREATE INDEX tasks_waiting ON tasks (account, due_at) WHERE ready = 0;
CREATE INDEX tasks_deadline ON tasks (account, deadline_at, id)
  WHERE due_at IS NOT NULL AND deadline_at IS NOT NULL;
CREATE INDEX tasks_live ON tasks (worker, id) WHERE attempt IS NOT NULL;
CREATE INDEX tasks_state ON tasks (state, id) WHERE attempt IS NULL;
CREATE INDEX tasks_dead_cause ON tasks (at_rest, cause, id) WHERE at_rest IS NOT NULL;
CREATE INDEX tasks_dead_sitekey ON tasks (at_rest, sitekey, id) WHERE at_rest IS NOT NULL;
CREATE INDEX tasks_dead_both ON tasks (at_rest, cause, sitekey, id) WHERE at_rest IS NOT NULL;
CREATE INDEX tasks_batch ON tasks (batch, id) WHERE batch IS NOT NULL;

CREATE TABLE idempotency (
  owner TEXT NOT NULL, key TEXT NOT NULL, task INTEGER NOT NULL, expires_at INTEGER,
  PRIMARY KEY (owner, key)
) STRICT, WITHOUT ROWID;

CREATE TABLE requests (task INTEGER PRIMARY KEY, body TEXT NOT NULL) STRICT;

CREATE TABLE attempts (
  task INTEGER NOT NULL, token INTEGER NOT NULL, n INTEGER NOT NULL,
  account TEXT NOT NULL, worker TEXT, intent_at INTEGER NOT NULL, upstream_id TEXT,
  accepted_at INTEGER, resumed_at INTEGER, abandoned_at INTEGER, closed_at INTEGER,
  verdict TEXT, cause TEXT, class TEXT, detail TEXT,
  permit INTEGER NOT NULL, permit_until INTEGER,
  PRIMARY KEY (task, token)
) STRICT, WITHOUT ROWID;
CREATE INDEX attempts_open ON attempts (account, worker, permit, permit_until)
  WHERE closed_at IS NULL;
CREATE INDEX attempts_lapsing ON attempts (account, permit_until)
  WHERE permit_until IS NOT NULL AND closed_at IS NULL;
CREATE INDEX attempts_upstream ON attempts (account, upstream_id) WHERE upstream_id IS NOT NULL;

CREATE TABLE answers (
  n INTEGER PRIMARY KEY,
  task INTEGER NOT NULL, token INTEGER NOT NULL, dialect TEXT NOT NULL, raw TEXT NOT NULL,
  text TEXT NOT NULL, user_agent TEXT, solved_at INTEGER NOT NULL, expires_at INTEGER,
  read_at INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX answers_attempt ON answers (task, token);

CREATE TABLE events (
  seq INTEGER PRIMARY KEY, task INTEGER NOT NULL, at INTEGER NOT NULL, state TEXT NOT NULL,
  reason TEXT, cause TEXT, answered_by INTEGER
) STRICT;
CREATE INDEX events_task ON events (task);

CREATE TABLE standing (
  dim TEXT NOT NULL, place TEXT NOT NULL, cause TEXT NOT NULL, class TEXT NOT NULL,
  value TEXT NOT NULL, n INTEGER NOT NULL,
  PRIMARY KEY (dim, place, cause, class, value)
) STRICT, WITHOUT ROWID;

CREATE TABLE tallies (
  dim TEXT NOT NULL, minute INTEGER NOT NULL, tallied TEXT NOT NULL, cause TEXT NOT NULL,
  value TEXT NOT NULL, n INTEGER NOT NULL,
  PRIMARY KEY (dim, minute, tallied, cause, value)
) STRICT, WITHOUT ROWID;

CREATE TABLE operation_items (
  operation TEXT NOT NULL, task INTEGER NOT NULL, version INTEGER NOT NULL, state TEXT NOT NULL,
  PRIMARY KEY (operation, task)
) STRICT, WITHOUT ROWID;
CREATE INDEX operation_items_pending ON operation_items (operation, task)
  WHERE state = 'pending';
CREATE INDEX operation_items_task ON operation_items (task);

CREATE TABLE item_counts (
  operation TEXT NOT NULL, state TEXT NOT NULL, n INTEGER NOT NULL,
  PRIMARY KEY (operation, state)
) STRICT, WITHOUT ROWID;

CREATE TABLE workers (
  id TEXT PRIMARY KEY, started_at INTEGER NOT NULL, beat_at INTEGER NOT NULL, dead_at INTEGER,
  left_at INTEGER, label TEXT NOT NULL
) STRICT;
CREATE INDEX workers_alive ON workers (beat_at) WHERE dead_at IS NULL AND left_at IS NULL;

CREATE TABLE documents (
  key TEXT PRIMARY KEY, version INTEGER NOT NULL, body TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE audit (
  n INTEGER PRIMARY KEY, writer TEXT NOT NULL, seq INTEGER NOT NULL, at INTEGER NOT NULL,
  body TEXT NOT NULL, hash TEXT NOT NULL,
  UNIQUE (writer, seq)
) STRICT;
";

/// Deliveries. Only one that waits has a `due_at`: the index knows no other, and it goes by place,
/// so that what waits for a busy place is stepped over at once.
const V2: &str = "
ALTER TABLE tasks ADD COLUMN delivers_to TEXT;

CREATE TABLE deliveries (
  task INTEGER NOT NULL, version INTEGER NOT NULL, state TEXT NOT NULL, place TEXT NOT NULL,
  ended TEXT NOT NULL, cause TEXT, class TEXT, answered_by INTEGER, made_at INTEGER NOT NULL,
  due_at INTEGER, tries INTEGER NOT NULL, settled_at INTEGER, said TEXT,
  PRIMARY KEY (task, version)
) STRICT, WITHOUT ROWID;
CREATE INDEX deliveries_due ON deliveries (place, due_at, task, version) WHERE due_at IS NOT NULL;

CREATE TABLE delivery_counts (state TEXT PRIMARY KEY, n INTEGER NOT NULL) STRICT, WITHOUT ROWID;
";

/// One word for an answer that expired before it was asked for.
const V3: &str = "UPDATE tallies SET tallied = 'unused' WHERE tallied = 'unread';";

/// The place that is told of a task has the name that it has in its deliveries.
const V4: &str = "ALTER TABLE tasks RENAME COLUMN delivers_to TO place;";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sqlite::{failure::Failure, page};

    /// What a later release might append to the list.
    const NEXT: &str = "ALTER TABLE tasks ADD COLUMN colour TEXT;";

    fn at(conn: &Connection) -> i64 {
        conn.pragma_query_value(None, "user_version", |row| row.get(0)).expect("a version")
    }

    fn first() -> Connection {
        let conn = Connection::open_in_memory().expect("a database");
        upgrade(&conn, Path::new("x.db"), STEPS).expect("the first schema");
        conn.execute("INSERT INTO documents VALUES ('kept', 1, '{}')", []).expect("a row");
        conn
    }

    #[test]
    fn an_older_schema_is_upgraded_and_keeps_its_rows() {
        let conn = first();
        let longer: Vec<&str> = STEPS.iter().copied().chain([NEXT]).collect();
        upgrade(&conn, Path::new("x.db"), &longer).expect("an upgrade");
        assert_eq!(at(&conn), known() + 1);
        let kept: i64 = conn
            .query_row("SELECT count(*) FROM documents WHERE key = 'kept'", [], |r| r.get(0))
            .expect("a count");
        assert_eq!(kept, 1);
    }

    #[test]
    fn tasks_of_before_deliveries_are_read_and_told_to_nobody() {
        let conn = Connection::open_in_memory().expect("a database");
        upgrade(&conn, Path::new("x.db"), &[V1]).expect("the first schema");
        let sql = "INSERT INTO tasks (id, created_at, method, state, reason, at_rest, lane, version, \
             account, priority, turn, attempts, submits, failures, refusals, panics, redrives, \
             deaths, round_allowance, round_failures, round_unsolvable, round_lost, \
             round_refusals, round_proxies_failed, max_submits, proxies, updated_at) \
             VALUES (7, 0, 'm', 'dead', 'unknown', 'dead', 'first', 1, 'main', 1, 0, 0, 0, 0, 0, 0, \
             0, 0, 4, 0, 0, 0, 0, 0, 7, 0, 0)";
        conn.execute(sql, []).expect("a task of then");
        upgrade(&conn, Path::new("x.db"), STEPS).expect("an upgrade");
        let id = 7_u64.try_into().expect("an id");
        let task = page::get(&conn, id).ok().flatten().expect("the task");
        assert_eq!((task.id, task.place), (id, None));
        assert!(conn.prepare("SELECT due_at FROM deliveries").is_ok());
    }

    #[test]
    fn a_step_that_fails_leaves_the_old_schema() {
        let conn = first();
        let broken: Vec<&str> = STEPS.iter().copied().chain([NEXT, "CREATE NONSENSE;"]).collect();
        assert!(upgrade(&conn, Path::new("x.db"), &broken).is_err());
        assert_eq!(at(&conn), known());
        assert!(conn.prepare("SELECT colour FROM tasks").is_err(), "half an upgrade stayed");
    }

    #[test]
    fn a_newer_schema_is_refused() {
        let conn = first();
        conn.pragma_update(None, "user_version", 99).expect("a pragma");
        let refused = upgrade(&conn, Path::new("x.db"), STEPS);
        assert!(
            matches!(refused, Err(Failure::Store(Error::TooNew { found: 99, .. }))),
            "{refused:?}"
        );
    }
}
