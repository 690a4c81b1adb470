//! Permits in use, counted once per transaction and followed from there.
//!
//! Nobody else writes within a transaction, so what its first claim counts and its own writes
//! change stays exact; nothing of it outlives the transaction, so it cannot drift. Without it each
//! claim would count all open attempts of its account again.

use super::{attempt_row, failure::Outcome, statements::Statements};
use deadletter_core::{AccountName, Attempt};
use std::collections::HashMap;

pub(super) const IN_USE: &str = "SELECT count(*) FROM attempts INDEXED BY attempts_open \
     WHERE closed_at IS NULL AND permit = 1 AND account = ?";

/// Permits in use of the accounts that a transaction has asked about.
#[derive(Debug, Default)]
pub(super) struct Permits(HashMap<AccountName, u32>);

impl Permits {
    /// Permits of an account in use now.
    pub(super) fn in_use(
        &mut self,
        statements: &Statements<'_>,
        account: &AccountName,
    ) -> Outcome<u32> {
        if let Some(n) = self.0.get(account) {
            return Ok(*n);
        }
        let n = statements.get(IN_USE)?.query_row([account.as_str()], |row| row.get(0))?;
        self.0.insert(account.clone(), n);
        Ok(n)
    }

    /// Stores a new attempt, which takes a permit if it has one.
    pub(super) fn begin(&mut self, statements: &Statements<'_>, attempt: &Attempt) -> Outcome<()> {
        attempt_row::insert(statements, attempt)?;
        self.follow(&attempt.account, false, attempt.permit);
        Ok(())
    }

    /// Writes what was learned of an attempt.
    pub(super) fn update(
        &mut self,
        statements: &Statements<'_>,
        before: &Attempt,
        attempt: &Attempt,
    ) -> Outcome<()> {
        attempt_row::update(statements, before, attempt)?;
        self.follow(&attempt.account, before.permit, attempt.permit);
        Ok(())
    }

    fn follow(&mut self, account: &AccountName, had: bool, has: bool) {
        if let Some(n) = self.0.get_mut(account) {
            *n = (*n + u32::from(has)).saturating_sub(u32::from(had));
        }
    }
}
