//! Where the verdicts of a run go: JSON lines or CSV, one line each, written as they come.

use crate::{
    app::App,
    fault::{Fault, Result},
    render,
};
use deadletter::core::{Answer, Task};
use serde_json::{Value, json};
use std::{
    collections::HashSet,
    fs::{File, OpenOptions},
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
};

/// Columns of the CSV form, and keys of the JSON form.
const COLUMNS: [&str; 7] = ["line", "task", "state", "answer", "cause", "solved_at", "expires_at"];

/// The place for verdicts.
pub(super) struct Answers {
    file: Option<(PathBuf, File)>,
    csv: bool,
    headed: bool,
    /// Tasks whose verdict a resumed file holds already.
    written: HashSet<String>,
}

impl Answers {
    /// Standard output, or a file that is appended to.
    pub(super) fn open(path: Option<PathBuf>, csv: bool) -> Result<Self> {
        let Some(path) = path else {
            return Ok(Self { file: None, csv, headed: false, written: HashSet::new() });
        };
        let csv = csv || path.extension().is_some_and(|extension| extension == "csv");
        let written = solved_in(&path, csv)?;
        let mut options = OpenOptions::new();
        options.create(true).append(true);
        // Answers are worth money for as long as they live.
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let file = options.open(&path).map_err(|error| unwritable(&path, error))?;
        let headed = file.metadata().map_err(|error| unwritable(&path, error))?.len() > 0;
        Ok(Self { file: Some((path, file)), csv, headed, written })
    }

    /// One verdict, on disk or in the pipe before this returns.
    pub(super) fn write(
        &mut self,
        app: &App,
        line: u64,
        task: &Task,
        answer: Option<&Answer>,
    ) -> Result<()> {
        if self.written.contains(&task.id.to_string()) {
            return Ok(());
        }
        let row = row(line, task, answer);
        if self.csv && !std::mem::replace(&mut self.headed, true) {
            self.put(app, &csv_line(COLUMNS.iter().map(|name| (*name).to_owned())))?;
        }
        let text = if self.csv { csv_line(cells(&row)) } else { row.to_string() };
        self.put(app, &text)
    }

    fn put(&mut self, app: &App, text: &str) -> Result<()> {
        match &mut self.file {
            None => app.out.data(text),
            Some((path, file)) => file
                .write_all(format!("{text}\n").as_bytes())
                .map_err(|error| unwritable(path, error)),
        }
    }
}

fn row(line: u64, task: &Task, answer: Option<&Answer>) -> Value {
    let cause = task.cause.as_ref().filter(|_| answer.is_none());
    json!({
        "line": line,
        "task": task.id,
        "state": task.kind(),
        "answer": answer.map(Answer::expose),
        "cause": cause,
        "solved_at": answer.map(|answer| render::instant(answer.solved_at)),
        "expires_at": answer.and_then(|answer| answer.expires_at).map(render::instant),
    })
}

fn cells(row: &Value) -> impl Iterator<Item = String> + '_ {
    COLUMNS.iter().map(|name| match row.get(name) {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(value) => value.to_string(),
    })
}

fn csv_line(cells: impl Iterator<Item = String>) -> String {
    let mut writer = csv::WriterBuilder::new().from_writer(Vec::new());
    // Writing to memory cannot fail.
    writer.write_record(cells).unwrap_or_default();
    let bytes = writer.into_inner().unwrap_or_default();
    String::from_utf8_lossy(&bytes).trim_end().to_owned()
}

/// Tasks that an earlier run wrote as solved; a torn last line is none.
fn solved_in(path: &Path, csv: bool) -> Result<HashSet<String>> {
    let Ok(file) = File::open(path) else { return Ok(HashSet::new()) };
    if csv {
        let mut reader = csv::ReaderBuilder::new().flexible(true).from_reader(file);
        let solved = reader.records().flatten().filter(|row| row.get(2) == Some("solved"));
        return Ok(solved.filter_map(|row| row.get(1).map(str::to_owned)).collect());
    }
    let lines = BufReader::new(file).lines().map_while(std::io::Result::ok);
    let rows = lines.filter_map(|line| serde_json::from_str::<Value>(&line).ok());
    let solved = rows.filter(|row| row.get("state") == Some(&"solved".into()));
    Ok(solved.filter_map(|row| row.get("task").map(ToString::to_string)).collect())
}

fn unwritable(path: &Path, error: std::io::Error) -> Fault {
    Fault::failed(format!("cannot write answers to {}", path.display()))
        .because(error)
        .fix("the answers are in the store: run again with --resume and another --out")
}
