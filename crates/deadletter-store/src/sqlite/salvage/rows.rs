//! Which table a row is of, by its shape, and where it goes.

use super::pages::Row;
use crate::sqlite::failure::Outcome;
use deadletter_core::StateKind;
use rusqlite::{Connection, ErrorCode, params_from_iter, types::Value};
use std::collections::HashMap;

/// Columns of the answers' table; of the counts' table.
const ANSWER_COLUMNS: usize = 10;
const STANDING_COLUMNS: usize = 6;

/// What has been taken in so far.
pub(super) struct Rows {
    tasks: Place,
    attempts: Place,
    /// The newest version that was seen of each task: an older one may lie in another page.
    versions: HashMap<i64, i64>,
    /// Where the version stands among the columns of a task.
    version_at: usize,
    /// Where the state stands.
    state_at: usize,
    /// Tasks by state, as the file counted them.
    standing: HashMap<String, i64>,
}

/// A table that rows are laid into.
struct Place {
    columns: usize,
    insert: String,
}

impl Place {
    fn of(conn: &Connection, table: &str) -> Outcome<(Self, Vec<String>)> {
        let sql = format!("SELECT name FROM pragma_table_info('{table}') ORDER BY cid");
        let mut statement = conn.prepare(&sql)?;
        let names = statement.query_map([], |row| row.get(0))?;
        let names = names.collect::<rusqlite::Result<Vec<String>>>()?;
        let places = vec!["?"; names.len()].join(", ");
        let insert = format!("INSERT OR REPLACE INTO {table} VALUES ({places})");
        Ok((Self { columns: names.len(), insert }, names))
    }
}

impl Rows {
    pub(super) fn of(conn: &Connection) -> Outcome<Self> {
        let (tasks, names) = Place::of(conn, "tasks")?;
        let (attempts, _) = Place::of(conn, "attempts")?;
        let at = |name: &str| names.iter().position(|column| column == name).unwrap_or(usize::MAX);
        Ok(Self {
            version_at: at("version"),
            state_at: at("state"),
            tasks,
            attempts,
            versions: HashMap::new(),
            standing: HashMap::new(),
        })
    }

    /// How many tasks stood; none where no count was read.
    pub(super) fn expected(&self) -> Option<u64> {
        if self.standing.is_empty() {
            return None;
        }
        let is_state = |place: &str| StateKind::ALL.iter().any(|state| state.label() == place);
        let states = self.standing.iter().filter(|(place, _)| is_state(place));
        let stand: i64 = states.map(|(_, n)| *n).sum();
        let total = |place: &str| self.standing.get(place).copied().unwrap_or(0);
        u64::try_from(stand.max(total("accepted") - total("purged"))).ok()
    }

    /// Lays a row where it belongs; false where it looked like one of ours and is none.
    pub(super) fn take(&mut self, conn: &Connection, row: Row) -> Outcome<bool> {
        let Row { id, mut columns } = row;
        match id {
            Some(id) if self.is_task(&columns) => self.task(conn, id, columns),
            Some(id) if columns.len() == ANSWER_COLUMNS && is_answer(&columns) => {
                if let Some(first) = columns.first_mut() {
                    *first = Value::Integer(id);
                }
                let places = ["?"; ANSWER_COLUMNS].join(", ");
                lay(conn, &format!("INSERT OR IGNORE INTO answers VALUES ({places})"), columns)
            }
            Some(id) => match <[Value; 2]>::try_from(columns) {
                Ok([Value::Null, Value::Text(body)]) => {
                    let columns = vec![Value::Integer(id), Value::Text(body)];
                    lay(conn, "INSERT OR REPLACE INTO requests VALUES (?, ?)", columns)
                }
                _ => Ok(true),
            },
            None if is_attempt(&columns) => {
                columns.resize(self.attempts.columns, Value::Null);
                lay(conn, &self.attempts.insert, columns)
            }
            None => {
                self.count(&columns);
                Ok(true)
            }
        }
    }

    /// A row of an older schema may have fewer columns than ours, and never more.
    fn is_task(&self, columns: &[Value]) -> bool {
        let state = columns.get(self.state_at);
        columns.len() <= self.tasks.columns
            && columns.first() == Some(&Value::Null)
            && matches!(state, Some(Value::Text(text)) if text.parse::<StateKind>().is_ok())
    }

    fn task(&mut self, conn: &Connection, id: i64, mut columns: Vec<Value>) -> Outcome<bool> {
        let Some(Value::Integer(version)) = columns.get(self.version_at).cloned() else {
            return Ok(false);
        };
        if self.versions.get(&id).is_some_and(|seen| *seen >= version) {
            return Ok(true);
        }
        columns.resize(self.tasks.columns, Value::Null);
        if let Some(first) = columns.first_mut() {
            *first = Value::Integer(id);
        }
        let is_laid = lay(conn, &self.tasks.insert, columns)?;
        if is_laid {
            self.versions.insert(id, version);
        }
        Ok(is_laid)
    }

    /// Takes note of a count over everything.
    fn count(&mut self, columns: &[Value]) {
        let [Value::Text(dim), Value::Text(place), _, _, Value::Text(value), Value::Integer(n)] =
            columns
        else {
            return;
        };
        if columns.len() == STANDING_COLUMNS && dim == "all" && value.is_empty() {
            *self.standing.entry(place.clone()).or_default() += n;
        }
    }
}

/// Task, token, number, account.
fn is_attempt(columns: &[Value]) -> bool {
    let is_begun = matches!(
        columns,
        [Value::Integer(_), Value::Integer(_), Value::Integer(_), Value::Text(_), ..]
    );
    is_begun && columns.len() > 12
}

/// Its number is its row's; then task, token, dialect.
fn is_answer(columns: &[Value]) -> bool {
    matches!(columns, [Value::Null, Value::Integer(_), Value::Integer(_), Value::Text(_), ..])
}

/// False where the table does not take the row.
fn lay(conn: &Connection, sql: &str, columns: Vec<Value>) -> Outcome<bool> {
    match conn.prepare_cached(sql)?.execute(params_from_iter(columns)) {
        Ok(_) => Ok(true),
        Err(error) if error.sqlite_error_code() == Some(ErrorCode::ConstraintViolation) => {
            Ok(false)
        }
        Err(error) => Err(error.into()),
    }
}
