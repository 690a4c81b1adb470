//! Rows of SQL read and written column by column, in the order of the statement.

use deadletter_core::{AttemptToken, UnixMs};
use rusqlite::{
    Row, Statement, ToSql,
    types::{FromSql, Type, ValueRef},
};
use std::{error::Error as StdError, str::FromStr};

type Result<T> = rusqlite::Result<T>;

/// Reads a row from left to right.
pub(super) struct Columns<'r, 's> {
    row: &'r Row<'s>,
    at: usize,
}

impl<'r, 's> Columns<'r, 's> {
    pub(super) const fn of(row: &'r Row<'s>) -> Self {
        Self { row, at: 0 }
    }

    /// The next column as SQLite's own type.
    pub(super) fn take<T: FromSql>(&mut self) -> Result<T> {
        let value = self.row.get(self.at);
        self.at += 1;
        value
    }

    /// The next column as an instant.
    pub(super) fn instant(&mut self) -> Result<UnixMs> {
        self.take().map(UnixMs)
    }

    /// The next column as an instant, where there is one.
    pub(super) fn instant_opt(&mut self) -> Result<Option<UnixMs>> {
        Ok(self.take::<Option<i64>>()?.map(UnixMs))
    }

    /// The next column as a count that fits the core's type.
    pub(super) fn number<N: TryFrom<i64>>(&mut self) -> Result<N>
    where
        N::Error: StdError + Send + Sync + 'static,
    {
        let n: i64 = self.take()?;
        N::try_from(n).map_err(|e| self.misfit(Type::Integer, e))
    }

    /// The same, where there is one.
    pub(super) fn number_opt<N: TryFrom<i64>>(&mut self) -> Result<Option<N>>
    where
        N::Error: StdError + Send + Sync + 'static,
    {
        let n: Option<i64> = self.take()?;
        n.map(|n| N::try_from(n).map_err(|e| self.misfit(Type::Integer, e))).transpose()
    }

    /// The next column as an attempt's token.
    pub(super) fn token(&mut self) -> Result<AttemptToken> {
        self.take().map(token)
    }

    /// The same, where there is one.
    pub(super) fn token_opt(&mut self) -> Result<Option<AttemptToken>> {
        Ok(self.take::<Option<i64>>()?.map(token))
    }

    /// The next column as a word or name.
    pub(super) fn text<T: FromStr>(&mut self) -> Result<T>
    where
        T::Err: StdError + Send + Sync + 'static,
    {
        self.text_opt()?.ok_or_else(|| {
            rusqlite::Error::InvalidColumnType(self.at - 1, "a word".to_owned(), Type::Null)
        })
    }

    /// The next column as a word or name, where there is one.
    pub(super) fn text_opt<T: FromStr>(&mut self) -> Result<Option<T>>
    where
        T::Err: StdError + Send + Sync + 'static,
    {
        let value = self.row.get_ref(self.at)?;
        self.at += 1;
        if value == ValueRef::Null {
            return Ok(None);
        }
        let text = value.as_str().map_err(|e| self.misfit(value.data_type(), e))?;
        text.parse().map(Some).map_err(|e| self.misfit(Type::Text, e))
    }

    /// The next column as a word, where it is not empty: for columns of a primary key.
    pub(super) fn word_opt<T: FromStr>(&mut self) -> Result<Option<T>>
    where
        T::Err: StdError + Send + Sync + 'static,
    {
        let word: String = self.take()?;
        if word.is_empty() {
            return Ok(None);
        }
        word.parse().map(Some).map_err(|e| self.misfit(Type::Text, e))
    }

    /// The column that was read last does not hold what it should.
    pub(super) fn misfit<E: StdError + Send + Sync + 'static>(
        &self,
        kind: Type,
        error: E,
    ) -> rusqlite::Error {
        rusqlite::Error::FromSqlConversionFailure(self.at - 1, kind, Box::new(error))
    }
}

/// The token with this number: its constructor drops the lowest bit, as it does with a random one.
const fn token(n: i64) -> AttemptToken {
    AttemptToken::from_random(n.cast_unsigned() << 1)
}

/// Binds parameters from left to right.
pub(super) struct Binder<'b, 'c> {
    statement: &'b mut Statement<'c>,
    at: usize,
}

impl<'b, 'c> Binder<'b, 'c> {
    pub(super) const fn of(statement: &'b mut Statement<'c>) -> Self {
        Self { statement, at: 0 }
    }

    pub(super) fn put(&mut self, value: impl ToSql) -> Result<()> {
        self.at += 1;
        self.statement.raw_bind_parameter(self.at, value)
    }

    pub(super) fn instant(&mut self, at: Option<UnixMs>) -> Result<()> {
        self.put(at.map(|at| at.0))
    }

    /// Runs the statement; answers how many rows it changed.
    pub(super) fn execute(self) -> Result<usize> {
        self.statement.raw_execute()
    }
}
