//! Many rows in one statement: a column of values each, unnested by the server.
//!
//! A table's columns are named once, with their type and with where their values come from, so
//! that a statement's text and its parameters cannot part.

use super::statement::Statement;
use std::fmt::Write as _;

/// A column of what is written, from rows of type `R`.
pub(super) struct Column<R: 'static> {
    /// Its name.
    pub(super) name: &'static str,
    /// The type of its values, in SQL.
    pub(super) kind: &'static str,
    /// Puts its values, one for each row.
    pub(super) put: fn(Statement, &[R]) -> Statement,
}

/// The values of one column.
pub(super) fn each<R, T>(rows: &[R], value: impl Fn(&R) -> T) -> Vec<T> {
    rows.iter().map(value).collect()
}

/// `unnest($1::bigint[], ...) AS c (id, ...)`: the rows, for a FROM.
pub(super) fn rows<R>(columns: &[&[Column<R>]]) -> String {
    let columns = columns.iter().copied().flatten();
    let mut arrays = String::new();
    let mut names = String::new();
    for (at, column) in (1..).zip(columns) {
        let comma = if at == 1 { "" } else { ", " };
        // Writing to a string cannot fail.
        write!(arrays, "{comma}${at}::{}[]", column.kind).unwrap_or_default();
        write!(names, "{comma}{}", column.name).unwrap_or_default();
    }
    format!("unnest({arrays}) AS c ({names})")
}

/// An insert of rows into `table`.
pub(super) fn insert<R>(table: &str, columns: &[&[Column<R>]]) -> String {
    let names: Vec<&str> = columns.iter().copied().flatten().map(|column| column.name).collect();
    format!("INSERT INTO {table} ({}) SELECT * FROM {}", names.join(", "), rows(columns))
}

/// True where a row of `table` has the keys of the row `c`.
///
/// The first key is spelled so that the server can only look it up in an index. A table that it takes
/// for empty, because it was when somebody looked last, it would else walk from end to end, and all the
/// given rows for each row that it finds there.
pub(super) fn same<R>(table: &str, keys: &[Column<R>]) -> String {
    let equal = |(at, key): (usize, &Column<R>)| match (at, key.name) {
        (0, name) => format!("{table}.{name} = ANY (ARRAY[c.{name}])"),
        (_, name) => format!("{table}.{name} = c.{name}"),
    };
    keys.iter().enumerate().map(equal).collect::<Vec<_>>().join(" AND ")
}

/// An update of the rows of `table` that `keys` name, of which each is there once.
pub(super) fn update<R>(table: &str, keys: &[Column<R>], columns: &[&[Column<R>]]) -> String {
    let sets: Vec<String> = columns
        .iter()
        .copied()
        .flatten()
        .map(|column| format!("{0} = c.{0}", column.name))
        .collect();
    let all: Vec<&[Column<R>]> = std::iter::once(keys).chain(columns.iter().copied()).collect();
    format!(
        "UPDATE {table} SET {} FROM {} WHERE {}",
        sets.join(", "),
        rows(&all),
        same(table, keys)
    )
}

/// Rows that leave the table `from`, where they are in it, and stand in `to` as they are now. `also`
/// is a condition on those that leave.
pub(super) fn pass<R>(
    (from, also): (&str, &str),
    to: &str,
    keys: &[Column<R>],
    columns: &[&[Column<R>]],
) -> String {
    let names = |columns: &[&[Column<R>]]| -> Vec<&str> {
        columns.iter().copied().flatten().map(|column| column.name).collect()
    };
    let sets: Vec<String> =
        names(columns).iter().map(|name| format!("{name} = excluded.{name}")).collect();
    let all: Vec<&[Column<R>]> = std::iter::once(keys).chain(columns.iter().copied()).collect();
    let (key, cells) = (names(&[keys]).join(", "), names(&all).join(", "));
    format!(
        "WITH c AS (SELECT * FROM {}), \
           gone AS (DELETE FROM {from} USING c WHERE {}{also}) \
         INSERT INTO {to} ({cells}) SELECT {cells} FROM c \
         ON CONFLICT ({key}) DO UPDATE SET {}",
        rows(&all),
        same(from, keys),
        sets.join(", ")
    )
}

/// Puts the values of all columns, in the order in which [`rows`] names them.
pub(super) fn put<R>(statement: Statement, columns: &[&[Column<R>]], values: &[R]) -> Statement {
    columns
        .iter()
        .copied()
        .flatten()
        .fold(statement, |statement, column| (column.put)(statement, values))
}
