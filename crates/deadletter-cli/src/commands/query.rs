//! `deadletter query`: questions in SQL about an SQLite store, which can change nothing.

use super::store::looking::{file, look};
use crate::{
    app::App,
    exit::Exit,
    fault::{Fault, Result},
    letter::guarded,
    render,
};
use deadletter::{
    core::hex,
    store::sqlite::inspect::{Answered, Cell, Inspection, Secrets, Table, Tolerance},
};
use serde_json::{Map, Value, json};
use std::ops::ControlFlow;
use tokio::sync::mpsc;

/// Rows of a table where nobody says how many: more than anybody reads.
const TABLE_ROWS: u64 = 1_000;
/// Rows for a program, where nobody says how many.
const LINES: u64 = 1_000_000;
/// Rows read ahead of what is written.
const ROWS_AHEAD: usize = 1_000;

const EXAMPLES: &str = "\
  deadletter query \"SELECT state, count(*) FROM tasks GROUP BY state\"
  deadletter query \"SELECT cause, sitekey, n FROM standing WHERE dim = 'sitekey' ORDER BY n DESC\"
  deadletter query --csv \"SELECT id, host, cause FROM tasks WHERE state = 'dead'\"";

/// Arguments.
#[derive(Debug, clap::Args)]
#[command(
    before_help = format!("Examples:\n  deadletter query\n{EXAMPLES}"),
    after_help = "Without a question it lists the tables. The question can only read: one SELECT (or a PRAGMA that tells something), on one snapshot, beside a running process. What was asked for (requests.body), what came back (answers) and what the engine keeps (documents.body) is refused without --with-secrets. Instants are milliseconds since 1970. Ctrl-C ends a question that takes too long."
)]
pub(crate) struct Args {
    /// One question in SQL [default: list the tables]
    #[arg(value_name = "SQL")]
    sql: Option<String>,
    /// Answer as CSV
    #[arg(long)]
    csv: bool,
    /// At most this many rows; 0 for all [default: 1,000 in a table, 1,000,000 in a pipe]
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = crate::number::from_0)]
    limit: Option<u64>,
    /// Requests and answers may be asked for
    #[arg(long)]
    with_secrets: bool,
}

pub(super) async fn run(app: &App, args: Args) -> Result<Exit> {
    let Some(sql) = args.sql else { return tables(app).await };
    let usual = if app.out.is_table() && !args.csv { TABLE_ROWS } else { LINES };
    let limit = match args.limit.unwrap_or(usual) {
        0 => u64::MAX,
        limit => limit,
    };
    let secrets = if args.with_secrets { Secrets::Shown } else { Secrets::Refused };
    let (sender, mut rows) = mpsc::channel(ROWS_AHEAD);
    let asking = look(app, Tolerance::None, move |inspection, _| {
        ask(inspection, &sql, secrets, limit, &sender)
    });
    // Takes the rows with it: where the reader of the output goes away, the question ends too.
    let printing = async move {
        let mut sheet = Sheet::new(app, args.csv);
        while let Some(row) = rows.recv().await {
            sheet.take(row)?;
        }
        sheet.end()
    };
    let (answered, printed) = tokio::join!(asking, printing);
    printed?;
    let Some(answered) = answered? else { return Ok(Exit::Interrupted) };
    if app.out.is_table() || answered.has_more {
        let more = if answered.has_more { "; there are more, see --limit" } else { "" };
        app.out.say(&format!("{} rows{more}", answered.rows));
    }
    Ok(Exit::Good)
}

/// What goes from the question to its print.
enum Row {
    Header(Vec<String>),
    Cells(Vec<Cell>),
}

fn ask(
    inspection: &mut Inspection,
    sql: &str,
    secrets: Secrets,
    limit: u64,
    sender: &mpsc::Sender<Row>,
) -> deadletter::store::Result<Answered> {
    let mut taken = 0;
    let mut header = |names| sender.blocking_send(Row::Header(names)).unwrap_or_default();
    inspection.query(sql, secrets, &mut header, &mut |cells| {
        if taken == limit || sender.blocking_send(Row::Cells(cells)).is_err() {
            return ControlFlow::Break(());
        }
        taken += 1;
        ControlFlow::Continue(())
    })
}

/// Rows on their way out.
struct Sheet<'a> {
    app: &'a App,
    csv: bool,
    names: Vec<String>,
    rows: Vec<Vec<String>>,
}

impl<'a> Sheet<'a> {
    const fn new(app: &'a App, csv: bool) -> Self {
        Self { app, csv, names: Vec::new(), rows: Vec::new() }
    }

    fn take(&mut self, row: Row) -> Result<()> {
        match row {
            Row::Header(names) if self.csv => self.csv_line(names),
            Row::Header(names) => {
                self.names = distinct(names);
                Ok(())
            }
            Row::Cells(cells) if self.csv => {
                self.csv_line(cells.into_iter().map(csv_cell).collect())
            }
            Row::Cells(cells) if self.app.out.is_table() => {
                self.rows.push(cells.into_iter().map(text).collect());
                Ok(())
            }
            Row::Cells(cells) => {
                let cells = cells.into_iter().map(value);
                let line: Map<String, Value> = self.names.iter().cloned().zip(cells).collect();
                self.app.out.json(&line)
            }
        }
    }

    fn csv_line(&self, cells: Vec<String>) -> Result<()> {
        let failed = |error| Fault::failed("cannot write a row as CSV").why(error);
        let mut line = csv::Writer::from_writer(Vec::new());
        line.write_record(&cells).map_err(|error| failed(error.to_string()))?;
        let bytes = line.into_inner().map_err(|error| failed(error.to_string()))?;
        self.app.out.data(String::from_utf8_lossy(&bytes).trim_end_matches('\n'))
    }

    fn end(self) -> Result<()> {
        if self.rows.is_empty() {
            return Ok(());
        }
        let names: Vec<&str> = self.names.iter().map(String::as_str).collect();
        let mut table = render::Table::new(&names);
        for row in self.rows {
            table.row(row);
        }
        self.app.out.picture(&table.draw(self.app.out.width, self.app.out.glyphs))
    }
}

/// Names that a JSON object can have beside each other.
fn distinct(names: Vec<String>) -> Vec<String> {
    let mut seen: Vec<String> = Vec::with_capacity(names.len());
    for name in names {
        let mut free = name.clone();
        let mut n = 2;
        while seen.contains(&free) {
            free = format!("{name}_{n}");
            n += 1;
        }
        seen.push(free);
    }
    seen
}

fn value(cell: Cell) -> Value {
    match cell {
        Cell::Null => Value::Null,
        Cell::Integer(n) => n.into(),
        Cell::Real(n) => n.into(),
        Cell::Text(text) => text.into(),
        Cell::Bytes(bytes) => hex(&bytes).into(),
    }
}

fn text(cell: Cell) -> String {
    match cell {
        Cell::Null => "-".to_owned(),
        Cell::Text(text) => text,
        cell => csv_cell(cell),
    }
}

fn csv_cell(cell: Cell) -> String {
    match cell {
        Cell::Null => String::new(),
        Cell::Integer(n) => n.to_string(),
        Cell::Real(n) => n.to_string(),
        Cell::Text(text) => guarded(text),
        Cell::Bytes(bytes) => hex(&bytes),
    }
}

async fn tables(app: &App) -> Result<Exit> {
    file(app)?;
    let tables = look(app, Tolerance::None, |inspection, _| inspection.tables()).await?;
    let Some(tables) = tables else { return Ok(Exit::Interrupted) };
    if !app.out.is_table() {
        for Table { name, columns } in tables {
            app.out.json(&json!({"table": name, "columns": columns}))?;
        }
        return Ok(Exit::Good);
    }
    let mut shown = render::Table::new(&["table", "columns"]);
    for Table { name, columns } in tables {
        shown.row([name, columns.join(", ")]);
    }
    app.out.picture(&shown.draw(app.out.width, app.out.glyphs))?;
    app.out.say(&format!("for example:\n{EXAMPLES}").replace('\n', " "));
    Ok(Exit::Good)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_of_one_name_stay_apart() {
        let names = ["id", "id", "id_2", "n"].map(str::to_owned).to_vec();
        assert_eq!(distinct(names), ["id", "id_2", "id_2_2", "n"]);
    }

    #[test]
    fn each_kind_of_value_is_told_as_what_it_is() {
        let cells = [Cell::Null, Cell::Integer(-7), Cell::Real(0.5), Cell::Bytes(vec![0, 255])];
        assert_eq!(cells.clone().map(value), [json!(null), json!(-7), json!(0.5), json!("00ff")]);
        assert_eq!(cells.map(csv_cell), ["", "-7", "0.5", "00ff"]);
        assert_eq!(csv_cell(Cell::Text("=1+1".to_owned())), "'=1+1");
    }
}
