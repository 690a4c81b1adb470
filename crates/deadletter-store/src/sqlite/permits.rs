//! Permits in use, counted once per transaction and followed from there.
//!
//! Nobody else writes within a transaction, so what its first claim counts and its own writes
//! change stays exact; nothing of it outlives the transaction, so it cannot drift. Without it each
//! claim would count all open attempts of its account again.

use super::{attempt_row, failure::Outcome};
use deadletter_core::{AccountName, Attempt};
use rusqlite::Connection;
use std::collections::HashMap;

pub(super) const IN_USE: &str = "SELECT count(*) FROM attempts INDEXED BY attempts_permit \
     WHERE permit = 1 AND account = ?";

/// Permits in use of the accounts that a transaction has asked about.
#[derive(Debug, Default)]
pub(super) struct Permits(HashMap<AccountName, u32>);

impl Permits {
    /// Permits of an account in use now.
    pub(super) fn in_use(&mut self, conn: &Connection, account: &AccountName) -> Outcome<u32> {
        if let Some(n) = self.0.get(account) {
            return Ok(*n);
        }
        let n = conn.prepare_cached(IN_USE)?.query_row([account.as_str()], |row| row.get(0))?;
        self.0.insert(account.clone(), n);
        Ok(n)
    }

    /// Stores a new attempt, which takes a permit if it has one.
    pub(super) fn begin(&mut self, conn: &Connection, attempt: &Attempt) -> Outcome<()> {
        attempt_row::insert(conn, attempt)?;
        self.follow(&attempt.account, false, attempt.permit);
        Ok(())
    }

    /// Writes what was learned of an attempt that had a permit before, or not.
    pub(super) fn update(
        &mut self,
        conn: &Connection,
        had: bool,
        attempt: &Attempt,
    ) -> Outcome<()> {
        attempt_row::update(conn, attempt)?;
        self.follow(&attempt.account, had, attempt.permit);
        Ok(())
    }

    fn follow(&mut self, account: &AccountName, had: bool, has: bool) {
        if let Some(n) = self.0.get_mut(account) {
            *n = (*n + u32::from(has)).saturating_sub(u32::from(had));
        }
    }
}
