//! Rows of answers read column by column, in the order of the statement.

use super::{
    failure::{Failure, Outcome},
    nul,
};
use deadletter_core::{AttemptToken, UnixMs};
use std::{error::Error as StdError, str::FromStr};
use tokio_postgres::{Row, types::FromSql};

/// Reads a row from left to right.
pub(super) struct Columns<'r> {
    row: &'r Row,
    at: usize,
}

impl<'r> Columns<'r> {
    pub(super) const fn of(row: &'r Row) -> Self {
        Self { row, at: 0 }
    }

    /// The next column as a type of the driver.
    pub(super) fn take<T: FromSql<'r>>(&mut self) -> Outcome<T> {
        let value = self.row.try_get(self.at);
        self.at += 1;
        value.map_err(|error| self.misfit(error))
    }

    /// The next column as an instant.
    pub(super) fn instant(&mut self) -> Outcome<UnixMs> {
        self.take().map(UnixMs)
    }

    /// The next column as an instant, where there is one.
    pub(super) fn instant_opt(&mut self) -> Outcome<Option<UnixMs>> {
        Ok(self.take::<Option<i64>>()?.map(UnixMs))
    }

    /// The next column (a bigint) as a count that fits the core's type.
    pub(super) fn number<N: TryFrom<i64>>(&mut self) -> Outcome<N>
    where
        N::Error: StdError + Send + Sync + 'static,
    {
        let n: i64 = self.take()?;
        N::try_from(n).map_err(|error| self.misfit(error))
    }

    /// The same, where there is one.
    pub(super) fn number_opt<N: TryFrom<i64>>(&mut self) -> Outcome<Option<N>>
    where
        N::Error: StdError + Send + Sync + 'static,
    {
        let n: Option<i64> = self.take()?;
        n.map(|n| N::try_from(n).map_err(|error| self.misfit(error))).transpose()
    }

    /// The next column as an attempt's token.
    pub(super) fn token(&mut self) -> Outcome<AttemptToken> {
        self.take().map(token)
    }

    /// The same, where there is one.
    pub(super) fn token_opt(&mut self) -> Outcome<Option<AttemptToken>> {
        Ok(self.take::<Option<i64>>()?.map(token))
    }

    /// The next column as text that others chose.
    pub(super) fn plain(&mut self) -> Outcome<String> {
        self.take().map(|text| nul::plain(text).into_owned())
    }

    /// The same, where there is one.
    pub(super) fn plain_opt(&mut self) -> Outcome<Option<String>> {
        Ok(self.take::<Option<&str>>()?.map(|text| nul::plain(text).into_owned()))
    }

    /// The next column as a word or name.
    pub(super) fn text<T: FromStr>(&mut self) -> Outcome<T>
    where
        T::Err: StdError + Send + Sync + 'static,
    {
        let text: &str = self.take()?;
        text.parse().map_err(|error| self.misfit(error))
    }

    /// The next column as a word or name, where there is one.
    pub(super) fn text_opt<T: FromStr>(&mut self) -> Outcome<Option<T>>
    where
        T::Err: StdError + Send + Sync + 'static,
    {
        let text: Option<&str> = self.take()?;
        text.map(|text| text.parse().map_err(|error| self.misfit(error))).transpose()
    }

    /// The next column as a word, where it is not empty: for columns of a primary key.
    pub(super) fn word_opt<T: FromStr>(&mut self) -> Outcome<Option<T>>
    where
        T::Err: StdError + Send + Sync + 'static,
    {
        let word: &str = self.take()?;
        if word.is_empty() {
            return Ok(None);
        }
        word.parse().map(Some).map_err(|error| self.misfit(error))
    }

    /// The column that was read last does not hold what it should.
    pub(super) fn misfit(&self, error: impl StdError + Send + Sync + 'static) -> Failure {
        let column = self.at.checked_sub(1).and_then(|at| self.row.columns().get(at));
        let column = column.map_or("?", |column| column.name()).to_owned();
        Failure::Misfit { column, source: Box::new(error) }
    }
}

/// The token with this number: its constructor drops the lowest bit, as it does with a random one.
const fn token(n: i64) -> AttemptToken {
    AttemptToken::from_random(n.cast_unsigned() << 1)
}

/// A number of the core's as a column holds it.
pub(super) fn bigint(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}
