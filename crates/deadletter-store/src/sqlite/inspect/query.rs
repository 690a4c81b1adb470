//! Questions in SQL that can change nothing, and show no secret unless they are told to.
//!
//! Three locks on one door: the file is open for reading alone, the connection refuses to write,
//! and each statement is looked at before it runs: it may read, and nothing else.

use super::Inspection;
use crate::{
    Error, Result,
    sqlite::failure::{Failure, Outcome, unwritten},
};
use rusqlite::{
    Batch, Connection, ErrorCode,
    fallible_iterator::FallibleIterator as _,
    hooks::{AuthAction, AuthContext, Authorization},
    types::ValueRef,
};
use std::ops::ControlFlow;

/// Columns that hold secrets: what was asked for, what came back, and what keys are made with.
const SECRETS: [(&str, &str); 5] = [
    ("requests", "body"),
    ("answers", "raw"),
    ("answers", "text"),
    ("answers", "user_agent"),
    ("documents", "body"),
];
/// Pragmas that only tell something, whatever their argument is.
const TELLING: [&str; 9] = [
    "table_info",
    "table_xinfo",
    "table_list",
    "index_list",
    "index_info",
    "index_xinfo",
    "function_list",
    "pragma_list",
    "compile_options",
];
/// Pragmas that tell something where they have no argument.
const TELLING_ALONE: [&str; 8] = [
    "user_version",
    "application_id",
    "schema_version",
    "page_count",
    "page_size",
    "freelist_count",
    "journal_mode",
    "encoding",
];
/// Functions that reach beyond the file.
const REACHING: [&str; 2] = ["load_extension", "fts3_tokenizer"];

/// Whether secrets may be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Secrets {
    /// A question for them is refused.
    Refused,
    /// They are shown.
    Shown,
}

/// A value of an answer.
#[derive(Clone, Debug, PartialEq)]
pub enum Cell {
    /// Nothing.
    Null,
    /// A whole number.
    Integer(i64),
    /// A number.
    Real(f64),
    /// A text.
    Text(String),
    /// Bytes.
    Bytes(Vec<u8>),
}

/// How a question ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answered {
    /// Rows that were handed over.
    pub rows: u64,
    /// True where there were more.
    pub has_more: bool,
}

/// A table and its columns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    /// Its name.
    pub name: String,
    /// Its columns in order.
    pub columns: Vec<String>,
}

impl Inspection {
    /// Asks `sql`, one statement, and hands each row to `take` until it answers `Break`; `header`
    /// gets the names of the columns first.
    ///
    /// Errors: `Refused` with SQLite's words where the question is wrong or would do more than
    /// read; `Unavailable` where it was interrupted.
    pub fn query(
        &mut self,
        sql: &str,
        secrets: Secrets,
        header: &mut dyn FnMut(Vec<String>),
        take: &mut dyn FnMut(Vec<Cell>) -> ControlFlow<()>,
    ) -> Result<Answered> {
        let guard = move |context: AuthContext<'_>| judge(&context.action, secrets);
        self.conn.authorizer(Some(guard)).map_err(|error| unwritten("guard a question", error))?;
        let asked = ask(&self.conn, sql, header, take);
        let open: Option<fn(AuthContext<'_>) -> Authorization> = None;
        self.conn.authorizer(open).map_err(|error| unwritten("guard a question", error))?;
        asked
    }

    /// The tables, by name.
    pub fn tables(&self) -> Result<Vec<Table>> {
        self.in_snapshot("list the tables", |conn| {
            let mut statement = conn.prepare(
                "SELECT m.name, c.name FROM sqlite_schema m, pragma_table_info(m.name) c \
                 WHERE m.type IN ('table', 'view') ORDER BY m.name, c.cid",
            )?;
            let mut tables: Vec<Table> = Vec::new();
            let mut rows = statement.query([])?;
            while let Some(row) = rows.next()? {
                let (name, column): (String, String) = (row.get(0)?, row.get(1)?);
                match tables.last_mut().filter(|table| table.name == name) {
                    Some(table) => table.columns.push(column),
                    None => tables.push(Table { name, columns: vec![column] }),
                }
            }
            Ok(tables)
        })
    }
}

fn judge(action: &AuthAction<'_>, secrets: Secrets) -> Authorization {
    let is_fine = match action {
        AuthAction::Select | AuthAction::Recursive => true,
        AuthAction::Read { table_name, column_name } => {
            secrets == Secrets::Shown || !is_secret(table_name, column_name)
        }
        AuthAction::Function { function_name } => {
            !REACHING.iter().any(|name| function_name.eq_ignore_ascii_case(name))
        }
        AuthAction::Pragma { pragma_name, pragma_value } => {
            let is = |name: &&str| pragma_name.eq_ignore_ascii_case(name);
            TELLING.iter().any(is) || (pragma_value.is_none() && TELLING_ALONE.iter().any(is))
        }
        _ => false,
    };
    if is_fine { Authorization::Allow } else { Authorization::Deny }
}

fn is_secret(table: &str, column: &str) -> bool {
    SECRETS.iter().any(|(t, c)| table.eq_ignore_ascii_case(t) && column.eq_ignore_ascii_case(c))
}

fn ask(
    conn: &Connection,
    sql: &str,
    header: &mut dyn FnMut(Vec<String>),
    take: &mut dyn FnMut(Vec<Cell>) -> ControlFlow<()>,
) -> Result<Answered> {
    let mut batch = Batch::new(conn, sql);
    let statement = batch.next().map_err(refused)?;
    let Some(mut statement) = statement else {
        return Err(Error::Refused("there is no question in it".to_owned()));
    };
    if !matches!(batch.next(), Ok(None)) {
        return Err(Error::Refused("it is more than one statement; ask one at a time".to_owned()));
    }
    header(statement.column_names().map(str::to_owned).collect());
    rows(&mut statement, take).map_err(|failure| match failure {
        Failure::Sql(error) => refused(error),
        Failure::Store(error) => error,
    })
}

fn rows(
    statement: &mut rusqlite::Statement<'_>,
    take: &mut dyn FnMut(Vec<Cell>) -> ControlFlow<()>,
) -> Outcome<Answered> {
    let columns = statement.column_count();
    let mut answered = Answered { rows: 0, has_more: false };
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let cells = (0..columns).map(|at| row.get_ref(at).map(cell));
        if take(cells.collect::<rusqlite::Result<_>>()?).is_break() {
            answered.has_more = true;
            break;
        }
        answered.rows += 1;
    }
    Ok(answered)
}

fn cell(value: ValueRef<'_>) -> Cell {
    match value {
        ValueRef::Null => Cell::Null,
        ValueRef::Integer(n) => Cell::Integer(n),
        ValueRef::Real(n) => Cell::Real(n),
        ValueRef::Text(text) => Cell::Text(String::from_utf8_lossy(text).into_owned()),
        ValueRef::Blob(bytes) => Cell::Bytes(bytes.to_vec()),
    }
}

/// SQLite's words about a question that cannot be asked.
fn refused(error: rusqlite::Error) -> Error {
    let why = match &error {
        rusqlite::Error::SqlInputError { msg, .. } => msg.clone(),
        rusqlite::Error::SqliteFailure(_, Some(msg)) => msg.clone(),
        error => error.to_string(),
    };
    match error.sqlite_error_code() {
        Some(ErrorCode::AuthorizationForStatementDenied) if why.starts_with("access to") => {
            Error::Refused(format!("{why}: it holds secrets, which --with-secrets shows"))
        }
        Some(ErrorCode::AuthorizationForStatementDenied) => {
            Error::Refused("it would do more than read".to_owned())
        }
        Some(
            ErrorCode::DatabaseCorrupt
            | ErrorCode::NotADatabase
            | ErrorCode::SystemIoFailure
            | ErrorCode::DatabaseBusy
            | ErrorCode::DatabaseLocked
            | ErrorCode::OutOfMemory
            | ErrorCode::OperationInterrupted,
        ) => unwritten("ask the store", error),
        _ => Error::Refused(why),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn denied(sql: &str, secrets: Secrets) -> Option<Error> {
        let mut conn = Connection::open_in_memory().expect("a database");
        crate::sqlite::schema::upgrade(
            &conn,
            std::path::Path::new("x.db"),
            crate::sqlite::schema::STEPS,
        )
        .map_err(|failure| failure.into_error("upgrade"))
        .expect("our tables");
        conn.authorizer(Some(move |context: AuthContext<'_>| judge(&context.action, secrets)))
            .expect("guarded");
        ask(&conn, sql, &mut |_| (), &mut |_| ControlFlow::Continue(())).err()
    }

    #[test]
    fn a_question_may_read_and_nothing_else() {
        for sql in [
            "SELECT state, count(*) FROM tasks GROUP BY state",
            "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n LIMIT 9) SELECT x FROM n",
            "SELECT count(*) FROM requests",
            "PRAGMA table_info(tasks)",
            "PRAGMA user_version",
            "EXPLAIN QUERY PLAN SELECT * FROM tasks",
            "SELECT json_extract('[1]', '$[0]')",
            "  SELECT 1 ; -- and no more",
        ] {
            let told = denied(sql, Secrets::Refused);
            assert!(told.is_none(), "{sql}: {told:?}");
        }
        for sql in [
            "DELETE FROM tasks",
            "UPDATE tasks SET state = 'dead'",
            "INSERT INTO documents VALUES ('a', 1, '')",
            "DROP TABLE tasks",
            "CREATE TEMP TABLE t (a)",
            "ATTACH 'other.db' AS other",
            "VACUUM INTO 'copy.db'",
            "BEGIN",
            "PRAGMA user_version = 9",
            "PRAGMA query_only = false",
            "PRAGMA journal_mode = delete",
            "PRAGMA wal_checkpoint(TRUNCATE)",
            "SELECT load_extension('x.so')",
            "SELECT 1; DELETE FROM tasks",
            "",
            "-- nothing",
            "SELECT nonsense FROM tasks",
            "SELECT json('x')",
        ] {
            let told = denied(sql, Secrets::Shown);
            assert!(matches!(told, Some(Error::Refused(_))), "{sql}: {told:?}");
        }
    }

    #[test]
    fn secrets_are_refused_by_every_way_in() {
        for sql in [
            "SELECT body FROM requests",
            "SELECT * FROM requests",
            "SELECT count(*) FROM requests WHERE body LIKE '%x%'",
            "SELECT task FROM requests ORDER BY body",
            "WITH r AS (SELECT * FROM requests) SELECT 1 FROM r WHERE r.BODY > ''",
            "SELECT raw FROM answers",
            "SELECT \"text\" FROM answers",
            "SELECT body FROM documents WHERE key = 'secret/fold'",
        ] {
            let told = denied(sql, Secrets::Refused).map(|error| error.to_string());
            assert!(told.as_ref().is_some_and(|told| told.contains("secrets")), "{sql}: {told:?}");
            assert!(denied(sql, Secrets::Shown).is_none(), "{sql}");
        }
    }
}
