//! The writer's statements, compiled once per connection and kept at hand.
//!
//! The cache that comes with the driver copies and hashes a statement's text at each use, which
//! for the long ones of a task's row costs as much as some of SQLite's own work.

use rusqlite::{Connection, PrepFlags, Result, Statement};
use std::{
    cell::RefCell,
    ops::{Deref, DerefMut},
    ptr,
};

/// A connection with the statements that were asked of it.
pub(super) struct Statements<'c> {
    conn: &'c Connection,
    /// As many as the writer has texts. None while a statement is in use.
    kept: RefCell<Vec<(&'static str, Option<Statement<'c>>)>>,
}

/// A statement in use; it goes back when dropped.
pub(super) struct InUse<'s, 'c> {
    statements: &'s Statements<'c>,
    at: usize,
    /// None only while it is being dropped.
    statement: Option<Statement<'c>>,
}

impl<'c> Statements<'c> {
    pub(super) const fn of(conn: &'c Connection) -> Self {
        Self { conn, kept: RefCell::new(Vec::new()) }
    }

    pub(super) const fn conn(&self) -> &'c Connection {
        self.conn
    }

    /// The statement of that text, which is known by its address: texts are constants.
    pub(super) fn get(&self, sql: &'static str) -> Result<InUse<'_, 'c>> {
        let mut kept = self.kept.borrow_mut();
        let at = match kept.iter().position(|(known, _)| ptr::eq(*known, sql)) {
            Some(at) => at,
            None => {
                kept.push((sql, None));
                kept.len() - 1
            }
        };
        let statement = match kept.get_mut(at).and_then(|(_, statement)| statement.take()) {
            Some(statement) => statement,
            None => self.conn.prepare_with_flags(sql, PrepFlags::SQLITE_PREPARE_PERSISTENT)?,
        };
        Ok(InUse { statements: self, at, statement: Some(statement) })
    }
}

impl<'c> Deref for InUse<'_, 'c> {
    type Target = Statement<'c>;

    fn deref(&self) -> &Self::Target {
        self.statement.as_ref().expect("it is there until it is dropped")
    }
}

impl DerefMut for InUse<'_, '_> {
    fn deref_mut(&mut self) -> &mut Self::Target {
        self.statement.as_mut().expect("it is there until it is dropped")
    }
}

impl Drop for InUse<'_, '_> {
    fn drop(&mut self) {
        let mut kept = self.statements.kept.borrow_mut();
        if let Some((_, place)) = kept.get_mut(self.at) {
            *place = self.statement.take();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_statement_is_kept_and_a_second_user_gets_one_of_its_own() {
        const SQL: &str = "SELECT ? + 1";
        let conn = Connection::open_in_memory().expect("a database");
        let statements = Statements::of(&conn);
        let ask = |of: &mut InUse<'_, '_>, n: i64| {
            of.query_row([n], |row| row.get::<_, i64>(0)).expect("a number")
        };
        let mut one = statements.get(SQL).expect("a statement");
        let mut other = statements.get(SQL).expect("another");
        assert_eq!((ask(&mut one, 1), ask(&mut other, 2)), (2, 3));
        drop((one, other));
        assert_eq!(ask(&mut statements.get(SQL).expect("a statement"), 3), 4);
        assert_eq!(statements.kept.borrow().len(), 1);
    }
}
