//! Is a store whole? SQLite's own check of the file, and ours of what stands in it.
//!
//! Every finding says what is wrong, where, and what to do. Nothing is repaired: a file that is
//! wrong once is evidence, and what can be read of it is brought out by a salvage.

use super::{Inspection, Progress, counted::Counted};
use crate::{
    Error, Result,
    sqlite::{
        attempt_row, desk,
        failure::{Failure, Outcome, unwritten},
        schema, task_row,
    },
};
use deadletter_core::{Attempt, StateKind, Task, invariants};
use rusqlite::{Connection, ErrorCode};
use serde::Serialize;
use std::collections::HashMap;

/// Findings that are kept: a file with more is damaged beyond counting.
pub const FINDINGS_LIMIT: usize = 200;
/// Findings of SQLite's check.
const INTEGRITY_LIMIT: usize = 100;
/// SQLite tells of its check after so many of its steps: some times a second.
const STEPS_PER_NEWS: i32 = 1_000_000;
/// Tasks between two pieces of news.
const TASKS_PER_NEWS: u64 = 1_000;

/// For what no repair is known.
const RESCUE: &str = "stop what uses the store; put a backup in its place, or bring out what can \
     be read with `deadletter export --salvage --with-secrets --out rescued.jsonl` and import that into a new store";
/// For a file without a byte, and without a log that may hold what stood in it.
const BEGIN_ANEW: &str =
    "no task is in it: put a backup in its place, or remove it to begin a new store";
/// For counts alone.
const RECOUNT: &str = "the tasks are there, and what counts them is wrong: take a backup, then \
     export all letters and import them into a new store";

/// For a file that an older program wrote.
const UPGRADE: &str =
    "open it once with this program (`deadletter list` will do), and check it again";

/// Something that should not be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What should hold: a short word for programs.
    pub rule: &'static str,
    /// Where.
    pub at: String,
    /// What was found.
    pub found: String,
    /// What to do.
    pub fix: &'static str,
}

/// What a check found.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Checked {
    /// What is wrong; nothing where the store is whole.
    pub findings: Vec<Finding>,
    /// True where there is more than was kept.
    pub has_more: bool,
    /// Tasks that were looked at.
    pub tasks: u64,
    /// Attempts that were looked at.
    pub attempts: u64,
}

impl Checked {
    fn find(&mut self, rule: &'static str, at: impl Into<String>, found: impl Into<String>) {
        let fix = match rule {
            "counts" | "conservation" => RECOUNT,
            "schema" => UPGRADE,
            "empty" => BEGIN_ANEW,
            _ => RESCUE,
        };
        if self.findings.len() < FINDINGS_LIMIT {
            self.findings.push(Finding { rule, at: at.into(), found: found.into(), fix });
        } else {
            self.has_more = true;
        }
    }

    /// Takes in how a step ended: damage that stops it is a finding.
    fn take<T>(&mut self, at: &str, step: Outcome<T>) -> Result<Option<T>> {
        let error = match step {
            Ok(value) => return Ok(Some(value)),
            Err(Failure::Sql(error)) => {
                if error.sqlite_error_code() == Some(ErrorCode::OperationInterrupted) {
                    return Err(unwritten("check the store", error));
                }
                unwritten(at, error)
            }
            Err(Failure::Store(error)) => error,
        };
        match error {
            Error::Damaged { source, what } => {
                self.find("readable", at, source.map_or(what, |source| source.to_string()));
                Ok(None)
            }
            // A schema without our tables is damage too.
            Error::Unavailable { source: Some(source), .. }
                if source.to_string().starts_with("no such") =>
            {
                self.find("readable", at, source.to_string());
                Ok(None)
            }
            error => Err(error),
        }
    }
}

impl Inspection {
    /// Looks at everything, on one snapshot.
    ///
    /// Errors: where the file cannot be looked at, or the look was interrupted; damage is no error.
    pub fn check(&mut self, progress: &Progress) -> Result<Checked> {
        let mut checked = Checked::default();
        if let Some(flaw) = &self.flaw {
            let rule = if matches!(flaw, Error::Empty(_)) { "empty" } else { "the file" };
            checked.find(rule, self.path.display().to_string(), flaw.to_string());
        }
        if self.is_empty {
            return Ok(checked);
        }
        self.watch(Some(progress))?;
        let integrity = integrity(&self.conn);
        self.watch(None)?;
        for (at, found) in checked.take("the file", integrity)?.unwrap_or_default() {
            checked.find("integrity", at, found);
        }
        let schema = self.conn.pragma_query_value(None, "user_version", |row| row.get(0));
        let schema = checked.take("the file", schema.map_err(Failure::from))?.unwrap_or(0);
        if (1..schema::known()).contains(&schema) {
            let found = format!(
                "version {schema} of {}: what stands in it was not looked at",
                schema::known()
            );
            checked.find("schema", "the file", found);
            return Ok(checked);
        }
        let ours = self.in_snapshot("check the store", |conn| {
            ours(conn, &mut checked, progress).map_err(Failure::from)
        });
        ours.map(|()| checked)
    }

    /// Has SQLite tell that it goes on, or not any more.
    fn watch(&mut self, progress: Option<&Progress>) -> Result<()> {
        let news = progress.map(std::sync::Arc::clone).map(|progress| {
            let mut told = 0;
            move || {
                told += 1;
                progress("SQLite's check", told, 0);
                false
            }
        });
        let steps = if news.is_some() { STEPS_PER_NEWS } else { 0 };
        self.conn.progress_handler(steps, news).map_err(|error| unwritten("check the store", error))
    }
}

/// What SQLite's own check says, with the names of the tables that it numbers.
fn integrity(conn: &Connection) -> Outcome<Vec<(String, String)>> {
    let sql = format!("PRAGMA integrity_check({INTEGRITY_LIMIT})");
    let mut statement = conn.prepare(&sql)?;
    let lines = statement.query_map([], |row| row.get::<_, String>(0))?;
    let lines = lines.collect::<rusqlite::Result<Vec<String>>>()?;
    let names = trees(conn).unwrap_or_default();
    let lines = lines
        .iter()
        .flat_map(|text| text.lines())
        .filter(|line| !line.is_empty() && *line != "ok" && !line.starts_with("***"));
    Ok(lines.map(|line| (place(line, &names), line.to_owned())).collect())
}

/// Tables and indexes by the page at which they begin.
fn trees(conn: &Connection) -> rusqlite::Result<HashMap<i64, String>> {
    let mut statement = conn.prepare("SELECT rootpage, name FROM sqlite_schema")?;
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    rows.collect()
}

/// `Tree 7 page 9: ...` by the name of the tree; the file where no tree is named.
fn place(line: &str, names: &HashMap<i64, String>) -> String {
    let number = line.strip_prefix("Tree ").and_then(|rest| rest.split(' ').next());
    let name = number.and_then(|number| number.parse().ok()).and_then(|root: i64| names.get(&root));
    name.map_or_else(|| "the file".to_owned(), |name| format!("{name} in the file"))
}

/// What we promise of what stands in the file.
fn ours(conn: &Connection, checked: &mut Checked, progress: &Progress) -> Result<()> {
    let totals = desk::totals(conn);
    let totals = checked.take("standing", totals)?;
    if let Some(totals) = totals
        && !totals.is_conserved()
    {
        let (accepted, stand, purged) = (totals.accepted, totals.standing(), totals.purged);
        let found = format!("{accepted} were accepted; {stand} stand and {purged} were purged");
        checked.find("conservation", "standing", found);
    }
    let total = totals.map_or(0, |totals| totals.standing().unsigned_abs());
    let mut counted = Counted::default();
    let walked = tasks(conn, checked, &mut counted, total, progress);
    if checked.take("tasks", walked)?.is_some() {
        let differences = checked.take("standing", counted.differences(conn))?;
        for (at, stored, found) in differences.unwrap_or_default() {
            checked.find("counts", at, format!("{stored} are counted, and {found} stand"));
        }
    }
    for (at, counted, found) in checked.take("item_counts", items(conn))?.unwrap_or_default() {
        checked.find("counts", at, format!("{counted} items are counted, and {found} stand"));
    }
    let differing = checked.take("delivery_counts", deliveries(conn))?;
    for (state, counted, found) in differing.unwrap_or_default() {
        let found = format!("{counted} deliveries are counted, and {found} stand");
        checked.find("counts", format!("delivery_counts, {state}"), found);
    }
    for (rule, table, sql) in STRAYS {
        progress("rows without their task", 0, 0);
        let strays = strays(conn, sql);
        for (task, n) in checked.take(table, strays)?.unwrap_or_default() {
            checked.find(rule, format!("{table}, task {task}"), format!("{n} rows"));
        }
    }
    Ok(())
}

/// Where the counts of an operation's items differ from its items: what is counted, and how many
/// there are.
fn items(conn: &Connection) -> Outcome<Vec<(String, i64, i64)>> {
    let mut statement = conn.prepare(
        "SELECT operation, state, sum(counted), sum(found) FROM \
           (SELECT operation, state, n AS counted, 0 AS found FROM item_counts UNION ALL \
            SELECT operation, state, 0, count(*) FROM operation_items GROUP BY 1, 2) \
         GROUP BY 1, 2 HAVING sum(counted) <> sum(found) LIMIT 100",
    )?;
    let rows = statement.query_map([], |row| {
        let (operation, state): (String, String) = (row.get(0)?, row.get(1)?);
        Ok((format!("operation {operation}, {state}"), row.get(2)?, row.get(3)?))
    })?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// Where the counts of deliveries differ from what stands.
fn deliveries(conn: &Connection) -> Outcome<Vec<(String, i64, i64)>> {
    let mut statement = conn.prepare(
        "SELECT state, sum(counted), sum(found) FROM \
           (SELECT state, n AS counted, 0 AS found FROM delivery_counts UNION ALL \
            SELECT state, 0, count(*) FROM deliveries GROUP BY 1) \
         GROUP BY 1 HAVING sum(counted) <> sum(found)",
    )?;
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// Rows whose task is gone.
const STRAYS: [(&str, &str, &str); 6] = [
    (
        "no request without its task",
        "requests",
        "SELECT task, 1 FROM requests WHERE task NOT IN (SELECT id FROM tasks) LIMIT 100",
    ),
    (
        "no attempt without its task",
        "attempts",
        "SELECT task, count(*) FROM attempts WHERE task NOT IN (SELECT id FROM tasks) \
         GROUP BY task LIMIT 100",
    ),
    (
        "no answer without its attempt",
        "answers",
        "SELECT a.task, 1 FROM answers a LEFT JOIN attempts t ON t.task = a.task \
         AND t.token = a.token WHERE t.token IS NULL LIMIT 100",
    ),
    (
        "no item without its task",
        "operation_items",
        "SELECT task, count(*) FROM operation_items WHERE task NOT IN (SELECT id FROM tasks) \
         GROUP BY task LIMIT 100",
    ),
    (
        "no delivery without its task",
        "deliveries",
        "SELECT task, count(*) FROM deliveries WHERE task NOT IN (SELECT id FROM tasks) \
         GROUP BY task LIMIT 100",
    ),
    (
        "no key without its task",
        "idempotency",
        "SELECT task, 1 FROM idempotency WHERE task NOT IN (SELECT id FROM tasks) LIMIT 100",
    ),
];

fn strays(conn: &Connection, sql: &str) -> Outcome<Vec<(i64, i64)>> {
    let mut statement = conn.prepare(sql)?;
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// Asks every invariant of every task, and counts them all.
fn tasks(
    conn: &Connection,
    checked: &mut Checked,
    counted: &mut Counted,
    total: u64,
    progress: &Progress,
) -> Outcome<()> {
    let sql = format!("SELECT {} FROM tasks ORDER BY id", task_row::COLUMNS);
    let mut statement = conn.prepare(&sql)?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let task = match task_row::read(row) {
            Ok(task) => task,
            Err(error) => {
                let id = row.get::<_, i64>(0).unwrap_or_default();
                checked.find("a row can be read", format!("tasks, task {id}"), error.to_string());
                continue;
            }
        };
        checked.tasks += 1;
        if checked.tasks.is_multiple_of(TASKS_PER_NEWS) {
            progress("tasks", checked.tasks, total);
        }
        counted.take(&task);
        let looked = look(conn, checked, &task);
        checked.take(&format!("task {}", task.id), looked)?;
    }
    Ok(())
}

fn look(conn: &Connection, checked: &mut Checked, task: &Task) -> Outcome<()> {
    let at = format!("task {}", task.id);
    let attempts: Vec<Attempt> = desk::history(conn, task.id)?;
    checked.attempts += attempts.len() as u64;
    for violation in invariants::check(task, &attempts) {
        checked.find(violation.rule, at.clone(), violation.found);
    }
    let has =
        |sql: &str| -> Outcome<bool> { Ok(conn.prepare_cached(sql)?.exists([task.id.as_i64()])?) };
    if !has("SELECT 1 FROM requests WHERE task = ?")? {
        checked.find("each task has its request", at.clone(), "there is none");
    }
    if task.kind() == StateKind::Solved && attempt_row::get_answer(conn, task.id)?.is_none() {
        checked.find("each solved task has its answer", at, "there is none");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sqlite::{connect, file, inspect::Tolerance};
    use std::sync::Arc;

    #[test]
    fn a_file_of_an_older_program_is_told_from_a_damaged_one() {
        let dir = tempfile::tempdir().expect("a folder");
        let store = dir.path().join("older.db");
        file::create_private(&store).expect("created");
        let conn = connect::open_writer(&store).expect("a connection");
        let older = schema::STEPS.first().expect("the first schema");
        schema::upgrade(&conn, &store, &[older]).expect("as it was");
        drop(conn);
        let progress: Progress = Arc::new(|_, _, _| {});
        let mut inspection = Inspection::open(&store, Tolerance::Flawed).expect("opened");
        let checked = inspection.check(&progress).expect("looked at");
        let rules: Vec<_> = checked.findings.iter().map(|finding| finding.rule).collect();
        assert_eq!(rules, ["schema"], "{checked:?}");
        assert!(checked.findings.iter().all(|finding| finding.fix == UPGRADE));
    }
}
