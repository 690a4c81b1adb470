//! What a file of answers tells already, so that nothing is written or paid for twice.

use super::answers::{COLUMNS, unwritable};
use crate::fault::Result;
use serde_json::Value;
use std::{
    collections::{HashMap, HashSet},
    fs::File,
    io::{self, BufRead, BufReader, Read, Seek, SeekFrom},
    path::Path,
};

/// Bytes of a file that are read back in search of the end of its last line.
const TAIL: u64 = 64 << 10;

/// What earlier runs wrote.
#[derive(Debug, Default)]
pub(super) struct Written {
    /// The last state of each task.
    states: HashMap<String, String>,
    /// Keys of the rows that are solved.
    solved: HashSet<String>,
}

impl Written {
    /// Of the file at `path`; nothing of one that is not there, or is no file.
    ///
    /// A last line that has no end was torn by the end of a run, and tells nothing.
    pub(super) fn read(path: &Path, is_sheet: bool) -> Result<Self> {
        let mut written = Self::default();
        if !std::fs::metadata(path).is_ok_and(|data| data.is_file()) {
            return Ok(written);
        }
        let failed = |error| unwritable(path, error);
        let mut file = File::open(path).map_err(failed)?;
        let whole = whole_lines(&mut file).map_err(failed)?.unwrap_or(0);
        file.rewind().map_err(failed)?;
        let lines = BufReader::new(file.take(whole));
        if is_sheet {
            let at = |name: &str| COLUMNS.iter().position(|column| *column == name);
            let (task, state, key) = (at("task"), at("state"), at("key"));
            let mut reader = csv::ReaderBuilder::new().flexible(true).from_reader(lines);
            for row in reader.records().flatten() {
                let cell = |at: Option<usize>| row.get(at?);
                written.take(cell(task), cell(state), cell(key));
            }
        } else {
            for line in lines.lines().map_while(io::Result::ok) {
                let Ok(row) = serde_json::from_str::<Value>(&line) else { continue };
                let text = |name: &str| row.get(name).and_then(Value::as_str);
                let task = row.get("task").map(ToString::to_string);
                written.take(task.as_deref(), text("state"), text("key"));
            }
        }
        Ok(written)
    }

    fn take(&mut self, task: Option<&str>, state: Option<&str>, key: Option<&str>) {
        let (Some(task), Some(state)) = (task, state) else { return };
        self.states.insert(task.to_owned(), state.to_owned());
        if state == "solved" {
            self.solved.extend(key.filter(|key| !key.is_empty()).map(str::to_owned));
        }
    }

    /// True where the task's last line says that it is in this state.
    pub(super) fn has(&self, task: &str, state: &str) -> bool {
        self.states.get(task).is_some_and(|last| last == state)
    }

    /// True where the row with this key has its answer.
    pub(super) fn has_answer(&self, key: &str) -> bool {
        self.solved.contains(key)
    }
}

/// Where the last whole line ends; none where the last line is longer than any of ours.
pub(super) fn whole_lines(file: &mut File) -> io::Result<Option<u64>> {
    let length = file.metadata()?.len();
    let from = length.saturating_sub(TAIL);
    let mut tail = Vec::new();
    file.seek(SeekFrom::Start(from))?;
    file.take(TAIL).read_to_end(&mut tail)?;
    let end = tail.iter().rposition(|byte| *byte == b'\n').map(|at| from + at as u64 + 1);
    Ok(end.or((from == 0).then_some(0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_torn_tells_nothing() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("answers");
        let line = |task: u8| format!("1,{task},solved,token,,,,1,row:{task}");
        let sheet = format!("{}\n{}\n{}", COLUMNS.join(","), line(1), line(2));
        let json = |task: u8| format!(r#"{{"task":{task},"state":"solved","key":"row:{task}"}}"#);
        for (text, is_sheet) in [(sheet, true), (format!("{}\n{}", json(1), json(2)), false)] {
            std::fs::write(&path, text).expect("written");
            let written = Written::read(&path, is_sheet).expect("read");
            assert!(written.has_answer("row:1") && written.has("1", "solved"), "{written:?}");
            assert!(!written.has_answer("row:2") && !written.has("2", "solved"), "{written:?}");
        }
        let nothing = Written::read(&dir.path().join("nowhere"), false).expect("nothing to read");
        assert!(!nothing.has_answer("row:1"));
    }
}
