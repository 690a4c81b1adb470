//! What makes a PostgreSQL server keep what nobody needs.

use super::{PostgresStore, columns::Columns, failure::Outcome, statement::Statement};
use crate::{Ailment, Result};
use deadletter_core::UnixMs;

/// Ours end within moments, and each second of another one is a second of rows that stay: a minute of a
/// thousand tasks a second is some hundred megabytes.
const LONG_MS: i64 = 60_000;

/// A transaction that has a snapshot or a number holds the clearing of old rows back. Of another user's
/// the server tells the begin only to who may read all statistics.
const OPEN: &str = "SELECT pid, coalesce(application_name, ''), \
     (extract(epoch FROM xact_start) * 1000)::bigint, \
     (extract(epoch FROM clock_timestamp() - xact_start) * 1000)::bigint \
     FROM pg_stat_activity \
     WHERE datname = current_database() AND pid <> pg_backend_pid() \
     AND (backend_xid IS NOT NULL OR backend_xmin IS NOT NULL) \
     AND clock_timestamp() - xact_start > $1 * interval '1 ms' \
     ORDER BY xact_start LIMIT 10";

impl PostgresStore {
    /// Transactions of this database, oldest first and ten at most, that are open for longer than
    /// `ms`. Errors: the server's.
    pub async fn transactions_open_for(&self, ms: i64) -> Result<Vec<Ailment>> {
        let question = Statement::new(OPEN).put(ms);
        self.list("look for open transactions", question, read).await
    }

    pub(super) async fn look_for_ailments(&self) -> Result<Vec<Ailment>> {
        self.transactions_open_for(LONG_MS).await
    }
}

fn read(columns: &mut Columns<'_>) -> Outcome<Ailment> {
    Ok(Ailment::OpenTransaction {
        process: columns.take()?,
        application: columns.take()?,
        began_at: UnixMs(columns.take()?),
        open_ms: columns.take()?,
    })
}
