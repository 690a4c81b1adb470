//! What a file of answers tells already, so that nothing is written or paid for twice.

use super::answers::{COLUMNS, FIRST_LINE};
use crate::{
    app::App,
    fault::{Fault, Result},
    render,
};
use csv::{ByteRecord, StringRecord};
use serde_json::Value;
use std::{
    collections::{HashMap, HashSet},
    fs::{self, File},
    io::{self, BufRead, BufReader, Read, Seek, SeekFrom},
    path::Path,
};

/// Bytes that are read at once on the way back to the end of the last whole line.
const BLOCK: u64 = 64 << 10;
/// Bad lines that are told one by one: the first ones say what happened to the file.
const SHOWN: usize = 3;

/// What earlier runs wrote.
#[derive(Debug, Default)]
pub(super) struct Written {
    /// The last state of each task.
    states: HashMap<String, String>,
    /// Keys of the rows that are solved.
    solved: HashSet<String>,
    /// The first lines that tell nothing, from 1, and how many there are.
    bad: (Vec<u64>, u64),
}

impl Written {
    /// Of the file at `path`; nothing of one that is not there, or is no file.
    ///
    /// A last line that has no end was torn by the end of a run, and tells nothing. A line that is
    /// none of ours tells nothing either, and keeps no other line from being read.
    pub(super) fn read(path: &Path, is_sheet: bool) -> Result<Self> {
        let failed = |error| unreadable(path, error);
        match fs::metadata(path) {
            Ok(data) if data.is_file() => {}
            Ok(_) => return Ok(Self::default()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => return Err(failed(error)),
        }
        let mut file = File::open(path).map_err(failed)?;
        let whole = whole_lines(&mut file).map_err(failed)?;
        file.rewind().map_err(failed)?;
        Self::of_lines(BufReader::new(file.take(whole)), is_sheet).map_err(failed)
    }

    fn of_lines(lines: impl BufRead, is_sheet: bool) -> io::Result<Self> {
        let mut written = Self::default();
        if is_sheet {
            written.take_sheet(lines)?
        } else {
            written.take_json(lines)?
        }
        Ok(written)
    }

    fn take_sheet(&mut self, lines: impl BufRead) -> io::Result<()> {
        let at = |name: &str| COLUMNS.iter().position(|column| *column == name);
        let (task, state, key) = (at("task"), at("state"), at("key"));
        let mut reader = csv::ReaderBuilder::new().flexible(true).from_reader(lines);
        let mut row = ByteRecord::new();
        while reader.read_byte_record(&mut row)? {
            let line = row.position().map_or(0, csv::Position::line);
            let is_whole = row.len() == COLUMNS.len();
            let text = StringRecord::from_byte_record(row.clone()).ok().filter(|_| is_whole);
            let cell = |at: Option<usize>| text.as_ref()?.get(at?);
            let is_ours = self.take(cell(task), cell(state), cell(key));
            self.count(line, is_ours);
        }
        Ok(())
    }

    fn take_json(&mut self, mut lines: impl BufRead) -> io::Result<()> {
        let (mut bytes, mut line, mut is_inside) = (Vec::new(), 1, false);
        loop {
            bytes.clear();
            if lines.by_ref().take(FIRST_LINE).read_until(b'\n', &mut bytes)? == 0 {
                return Ok(());
            }
            let is_end = bytes.ends_with(b"\n");
            // What is longer than a line of ours comes in pieces, and none of them is read.
            let row = Some(&bytes).filter(|_| is_end && !is_inside);
            let row = row.and_then(|row| serde_json::from_slice::<Value>(row).ok());
            let text = |name: &str| row.as_ref()?.get(name)?.as_str();
            let task = row.as_ref().and_then(|row| row.get("task")).map(ToString::to_string);
            let is_ours = self.take(task.as_deref(), text("state"), text("key"));
            if is_end {
                self.count(line, is_ours || bytes.trim_ascii().is_empty() && !is_inside);
                line += 1;
            }
            is_inside = !is_end;
        }
    }

    /// True where the line tells the state of a task.
    fn take(&mut self, task: Option<&str>, state: Option<&str>, key: Option<&str>) -> bool {
        let (Some(task), Some(state)) = (task, state) else { return false };
        self.states.insert(task.to_owned(), state.to_owned());
        if state == "solved" {
            self.solved.extend(key.filter(|key| !key.is_empty()).map(str::to_owned));
        }
        true
    }

    fn count(&mut self, line: u64, is_ours: bool) {
        let (first, n) = &mut self.bad;
        if !is_ours {
            *n += 1;
            first.extend(Some(line).filter(|_| *n <= SHOWN as u64));
        }
    }

    /// Warns of the lines of `path` that told nothing: their rows may be asked for again.
    pub(super) fn tell_bad(&self, app: &App, path: &Path) {
        let (first, n) = &self.bad;
        for line in first {
            app.out.warn(&format!(
                "line {line} of {} cannot be read; it is left as it is, and its row counts as unanswered",
                path.display()
            ));
        }
        let more = n.saturating_sub(SHOWN as u64);
        if more > 0 {
            let lines = render::counted(more, "more line of it is", "more lines of it are");
            app.out.warn(&format!("{lines} skipped likewise"));
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

/// Where the last whole line ends; 0 where there is none.
pub(super) fn whole_lines(file: &mut File) -> io::Result<u64> {
    let mut end = file.metadata()?.len();
    let mut block = Vec::new();
    while end > 0 {
        let from = end.saturating_sub(BLOCK);
        block.clear();
        file.seek(SeekFrom::Start(from))?;
        file.by_ref().take(end - from).read_to_end(&mut block)?;
        if let Some(at) = block.iter().rposition(|byte| *byte == b'\n') {
            return Ok(from + at as u64 + 1);
        }
        end = from;
    }
    Ok(0)
}

/// Answers that cannot be read are no answers that are missing: their rows would be paid for again.
fn unreadable(path: &Path, error: io::Error) -> Fault {
    Fault::failed(format!("cannot read the answers in {}; nothing was submitted", path.display()))
        .because(error)
        .fix("let it be read, or name another --out: what is in the store is answered from there")
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

    #[test]
    fn a_line_that_cannot_be_read_hides_no_other_one() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("answers");
        let line = |task: u8| format!("1,{task},solved,token,,,,1,row:{task}\n").into_bytes();
        let head = format!("{}\n", COLUMNS.join(",")).into_bytes();
        let bad = [&b"1,9,solved,\xff,,,,1,row:9\n"[..], b"1,8,solved,cut\n"].concat();
        let sheet = [head, line(1), bad, line(2)].concat();
        let json = |task: u8| {
            format!("{{\"task\":{task},\"state\":\"solved\",\"key\":\"row:{task}\"}}\n")
                .into_bytes()
        };
        let json = [json(1), b"\xff\xfe\n\n[]\n".to_vec(), json(2)].concat();
        for (bytes, is_sheet, bad) in [(sheet, true, vec![3, 4]), (json, false, vec![2, 4])] {
            fs::write(&path, bytes).expect("written");
            let written = Written::read(&path, is_sheet).expect("read");
            assert!(written.has_answer("row:1") && written.has_answer("row:2"), "{written:?}");
            assert!(!written.has("8", "solved") && !written.has("9", "solved"), "{written:?}");
            assert_eq!(written.bad, (bad, 2), "{written:?}");
        }
    }

    #[test]
    fn a_torn_line_of_any_length_hides_no_other_one() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("answers");
        let json = r#"{"task":1,"state":"solved","key":"row:1"}"#;
        let torn = "x".repeat(3 * BLOCK as usize);
        fs::write(&path, format!("{json}\n{torn}")).expect("written");
        assert!(Written::read(&path, false).expect("read").has_answer("row:1"));
        let mut file = File::open(&path).expect("opened");
        assert_eq!(whole_lines(&mut file).expect("read"), json.len() as u64 + 1);
        fs::write(&path, torn).expect("written");
        let mut file = File::open(&path).expect("opened");
        assert_eq!(whole_lines(&mut file).expect("read"), 0);
    }

    /// What fails in the middle is no end.
    struct Failing<'a>(&'a [u8]);

    impl Read for Failing<'_> {
        fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
            if self.0.is_empty() { Err(io::Error::other("the disk")) } else { self.0.read(into) }
        }
    }

    #[test]
    fn a_file_that_cannot_be_read_to_its_end_is_told() {
        for is_sheet in [true, false] {
            let read = Written::of_lines(BufReader::new(Failing(b"line,task\n1,2\n")), is_sheet);
            assert!(read.is_err(), "{read:?}");
        }
    }
}
