//! Where the verdicts of a run or a redrive go: JSON lines or CSV, one line each, written as they come.

use super::written::{Written, whole_lines};
use crate::{
    app::App,
    fault::{Fault, Result},
    render,
};
use deadletter::core::{Answer, Task};
use serde_json::{Value, json};
use std::{
    fs::{File, OpenOptions},
    io::{self, BufRead, BufReader, Read, Write},
    path::{Path, PathBuf},
};

/// Columns of the CSV form, and keys of the JSON form.
pub(super) const COLUMNS: [&str; 9] =
    ["line", "task", "state", "answer", "cause", "solved_at", "expires_at", "row", "key"];

/// Longest line that is looked at: a record with nine images and their answer fits.
pub(super) const FIRST_LINE: u64 = 16 << 20;

/// Where a row stands in its file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// Its first line, from 1.
    pub(super) line: u64,
    /// Its number among the rows, from 1.
    pub(super) row: u64,
}

/// The place for verdicts.
pub(super) struct Answers {
    file: Option<(PathBuf, File)>,
    csv: bool,
    headed: bool,
    /// What the file tells already.
    written: Written,
}

impl Answers {
    /// Standard output, or a file that is appended to. A last line that was torn by the end of an
    /// earlier run is taken away where that run is `resumed`, since it is written again.
    pub(super) fn open(path: Option<PathBuf>, csv: bool, resumed: bool) -> Result<Self> {
        let Some(path) = path else {
            return Ok(Self { file: None, csv, headed: false, written: Written::default() });
        };
        check(&path, csv)?;
        let csv = is_sheet(&path, csv);
        let failed = |error| unwritable(&path, error);
        // A pipe or a device is written to: nothing in it can be read back or mended.
        if std::fs::metadata(&path).is_ok_and(|data| !data.is_file()) {
            let file = OpenOptions::new().write(true).open(&path).map_err(failed)?;
            let written = Written::default();
            return Ok(Self { file: Some((path, file)), csv, headed: false, written });
        }
        let mut options = OpenOptions::new();
        options.read(true).create(true).append(true);
        // Answers are worth money for as long as they live.
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut file = options.open(&path).map_err(failed)?;
        mend(&mut file, resumed).map_err(failed)?;
        let headed = file.metadata().map_err(failed)?.len() > 0;
        let written = if resumed { Written::read(&path, csv)? } else { Written::default() };
        Ok(Self { file: Some((path, file)), csv, headed, written })
    }

    /// One verdict, in the file or in the pipe before this returns; once for each state.
    pub(super) fn write(
        &mut self,
        app: &App,
        place: Option<Place>,
        task: &Task,
        answer: Option<&Answer>,
    ) -> Result<()> {
        if self.written.has(&task.id.to_string(), task.kind().label()) {
            return Ok(());
        }
        let row = row(place, task, answer);
        if self.csv && !std::mem::replace(&mut self.headed, true) {
            self.put(app, &csv_line(COLUMNS.iter().map(|name| (*name).to_owned())))?;
        }
        let text = if self.csv { csv_line(cells(&row)) } else { row.to_string() };
        self.put(app, &text)
    }

    fn put(&mut self, app: &App, text: &str) -> Result<()> {
        match &mut self.file {
            None => app.out.data(text),
            // One write for the line and its end: what has no end is torn.
            Some((path, file)) => file
                .write_all(format!("{text}\n").as_bytes())
                .map_err(|error| unwritable(path, error)),
        }
    }
}

/// Refuses a file that holds something else: answers among foreign lines are lost, and so are
/// the lines.
pub(super) fn check(path: &Path, csv: bool) -> Result<()> {
    if !std::fs::metadata(path).is_ok_and(|data| data.is_file()) {
        return Ok(());
    }
    let file = File::open(path).map_err(|error| unwritable(path, error))?;
    let mut first = Vec::new();
    let read = BufReader::new(file.take(FIRST_LINE)).read_until(b'\n', &mut first);
    read.map_err(|error| unwritable(path, error))?;
    if first.is_empty() || is_ours(&String::from_utf8_lossy(&first), is_sheet(path, csv)) {
        return Ok(());
    }
    let form = if is_sheet(path, csv) { "CSV" } else { "JSON" };
    Err(Fault::usage(format!("{} is no file of answers as {form}", path.display()))
        .why("answers are appended, and its first line is none of ours")
        .fix("name a new file with --out, or one that an earlier run wrote in the same form"))
}

/// A first line that was torn by the end of a run is ours as far as it goes.
fn is_ours(first: &str, is_sheet: bool) -> bool {
    let (line, is_torn) = first.strip_suffix('\n').map_or((first, true), |line| (line, false));
    let line = line.trim_end_matches('\r');
    if is_sheet {
        let header = COLUMNS.join(",");
        return header == line || is_torn && header.starts_with(line);
    }
    if is_torn && (line.starts_with(r#"{"line":"#) || r#"{"line":"#.starts_with(line)) {
        return true;
    }
    serde_json::from_str::<Value>(line)
        .is_ok_and(|row| row.get("task").is_some() && row.get("state").is_some())
}

/// True where answers in this file are CSV.
pub(super) fn is_sheet(path: &Path, csv: bool) -> bool {
    csv || path.extension().is_some_and(|extension| extension == "csv")
}

/// Makes the file end with a whole line.
fn mend(file: &mut File, resumed: bool) -> io::Result<()> {
    let length = file.metadata()?.len();
    match whole_lines(file)? {
        whole if whole == length => Ok(()),
        whole if resumed => file.set_len(whole),
        _ => file.write_all(b"\n"),
    }
}

fn row(place: Option<Place>, task: &Task, answer: Option<&Answer>) -> Value {
    let cause = task.cause.as_ref().filter(|_| answer.is_none());
    json!({
        "line": place.map(|place| place.line),
        "task": task.id,
        "state": task.kind(),
        "answer": answer.map(Answer::expose),
        "cause": cause,
        "solved_at": answer.map(|answer| render::instant(answer.solved_at)),
        "expires_at": answer.and_then(|answer| answer.expires_at).map(render::instant),
        "row": place.map(|place| place.row),
        "key": task.idempotency_key,
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

/// For answers that nobody reads any more.
pub(super) fn reader_left() -> Fault {
    Fault::failed("the reader of the answers went away; everything is kept")
        .why("its pipe is closed")
        .fix("go on with: deadletter run ... --resume")
}

pub(super) fn unwritable(path: &Path, error: io::Error) -> Fault {
    if error.kind() == io::ErrorKind::BrokenPipe {
        return reader_left();
    }
    let fault = Fault::failed(format!("cannot write answers to {}", path.display()));
    if error.kind() == io::ErrorKind::NotFound {
        return fault.because(error).fix("make the folder first; nothing was submitted");
    }
    fault
        .because(error)
        .fix("the answers are in the store: run again with --resume and another --out")
}
