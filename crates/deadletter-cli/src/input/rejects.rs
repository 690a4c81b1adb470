//! Rejected rows, put aside in a file that can be mended and run again.

use super::{Format, Reject, Source};
use crate::fault::{Fault, Result};
use serde_json::{Map, Value};
use std::{
    fs::{File, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
};

/// Files of rejects beside one another, before somebody should clean up.
const FILES_LIMIT: u32 = 1_000;
/// Text of a rejected row that is kept; what is longer still stands in the original.
const TEXT_LIMIT: usize = 64 << 10;

/// The rows put aside so far; the file is made for the first one.
#[derive(Debug)]
pub(crate) struct Rejects {
    named: Option<PathBuf>,
    source: Source,
    format: Format,
    header: Option<Vec<String>>,
    open: Option<(PathBuf, File)>,
    is_dry: bool,
    /// How many.
    pub(crate) count: u64,
}

impl Rejects {
    /// Rejects of `source`, into the file that the user `named` or into one beside the source.
    pub(crate) fn new(
        named: Option<PathBuf>,
        source: Source,
        format: Format,
        header: Option<Vec<String>>,
    ) -> Self {
        Self { named, source, format, header, open: None, is_dry: false, count: 0 }
    }

    /// The same, counted and not written.
    pub(crate) fn dry(mut self, is_dry: bool) -> Self {
        self.is_dry = is_dry;
        self
    }

    /// How the rows are written.
    pub(crate) const fn format(&self) -> Format {
        self.format
    }

    /// Where they are, once there is one.
    pub(crate) fn path(&self) -> Option<&Path> {
        self.open.as_ref().map(|(path, _)| path.as_path())
    }

    /// Puts one aside.
    pub(crate) fn put(&mut self, reject: &Reject) -> Result<()> {
        self.count += 1;
        if self.is_dry {
            return Ok(());
        }
        let line = self.line_of(reject);
        if self.open.is_none() {
            let (path, mut file) = self.create()?;
            if let Some(header) = self.header_line() {
                file.write_all(&header).map_err(|error| unwritable(&path, error))?;
            }
            self.open = Some((path, file));
        }
        match &mut self.open {
            Some((path, file)) => file.write_all(&line).map_err(|error| unwritable(path, error)),
            None => Ok(()),
        }
    }

    fn create(&self) -> Result<(PathBuf, File)> {
        let mut options = OpenOptions::new();
        options.write(true);
        // The rows may hold proxies with passwords.
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        if let Some(path) = &self.named {
            let file = options.create(true).truncate(true).open(path);
            return file.map(|file| (path.clone(), file)).map_err(|error| unwritable(path, error));
        }
        let extension = if matches!(self.format, Format::Csv { .. }) { "csv" } else { "jsonl" };
        let base = match &self.source {
            Source::Stdin => "stdin".to_owned(),
            Source::File(path) => path.display().to_string(),
        };
        // A file of rejects may be being mended by somebody: never write over one.
        for n in 1..=FILES_LIMIT {
            let nth = if n == 1 { String::new() } else { format!("-{n}") };
            let path = PathBuf::from(format!("{base}.rejected{nth}.{extension}"));
            match options.create_new(true).open(&path) {
                Ok(file) => return Ok((path, file)),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(unwritable(&path, error)),
            }
        }
        Err(Fault::failed(format!("there are {FILES_LIMIT} files of rejected rows already"))
            .fix("remove old ones, or name a file with --rejects"))
    }

    fn header_line(&self) -> Option<Vec<u8>> {
        let header = self.header.as_ref()?;
        let notes = ["rejected_line", "rejected_row", "rejected_reason"].into_iter();
        Some(csv_line(notes.chain(header.iter().map(String::as_str))))
    }

    fn line_of(&self, reject: &Reject) -> Vec<u8> {
        let text = crate::render::cut(&reject.text, TEXT_LIMIT);
        if self.header.is_some() {
            let (line, row) = (reject.line.to_string(), reject.row.to_string());
            let values: Vec<&str> = match &reject.fields {
                Some(fields) => {
                    fields.iter().map(|(_, value)| value.as_str().unwrap_or_default()).collect()
                }
                None => vec![&text],
            };
            return csv_line([line.as_str(), &row, &reject.reason].into_iter().chain(values));
        }
        let mut object = Map::new();
        object.insert("rejected_line".to_owned(), reject.line.into());
        object.insert("rejected_row".to_owned(), reject.row.into());
        object.insert("rejected_reason".to_owned(), reject.reason.clone().into());
        match &reject.fields {
            Some(fields) => object.extend(fields.iter().cloned()),
            None => {
                object.insert("rejected_text".to_owned(), text.into());
            }
        }
        let mut line = Value::Object(object).to_string().into_bytes();
        line.push(b'\n');
        line
    }
}

fn csv_line<'a>(cells: impl Iterator<Item = &'a str>) -> Vec<u8> {
    let mut writer = ::csv::WriterBuilder::new().flexible(true).from_writer(Vec::new());
    // Writing to memory cannot fail.
    writer.write_record(cells).unwrap_or_default();
    writer.into_inner().unwrap_or_default()
}

fn unwritable(path: &Path, error: io::Error) -> Fault {
    Fault::failed(format!("cannot put rejected rows aside in {}", path.display()))
        .because(error)
        .fix("name another file with --rejects")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reject(line: u64, fields: Option<Vec<(String, Value)>>) -> Reject {
        Reject {
            line,
            row: line - 1,
            reason: "no page, \"none\"".to_owned(),
            text: "a,b".to_owned(),
            fields,
        }
    }

    #[test]
    fn no_file_of_rejects_is_ever_written_over() {
        let dir = tempfile::tempdir().expect("a directory");
        let source = Source::File(dir.path().join("tasks.csv"));
        let put = || {
            let header = Some(vec!["url".to_owned()]);
            let mut rejects =
                Rejects::new(None, source.clone(), Format::Csv { tabs: false }, header);
            assert_eq!(rejects.path(), None);
            rejects.put(&reject(3, Some(vec![("url".into(), "x".into())]))).expect("written");
            rejects.put(&reject(4, None)).expect("written");
            rejects.path().expect("there is one").to_owned()
        };
        let (first, second) = (put(), put());
        assert!(
            first.ends_with("tasks.csv.rejected.csv")
                && second.ends_with("tasks.csv.rejected-2.csv")
        );
        assert_eq!(
            std::fs::read_to_string(first).expect("read"),
            "rejected_line,rejected_row,rejected_reason,url\n3,2,\"no page, \"\"none\"\"\",x\n4,3,\"no page, \"\"none\"\"\",\"a,b\"\n"
        );
    }

    #[test]
    fn json_rows_keep_their_fields() {
        let dir = tempfile::tempdir().expect("a directory");
        let named = dir.path().join("mine.jsonl");
        let mut rejects = Rejects::new(Some(named.clone()), Source::Stdin, Format::JsonLines, None);
        rejects.put(&reject(2, Some(vec![("url".into(), 5.into())]))).expect("written");
        let text = std::fs::read_to_string(named).expect("read");
        let line: Value = serde_json::from_str(text.trim()).expect("JSON");
        assert_eq!((&line["rejected_row"], &line["url"]), (&1.into(), &5.into()));
    }
}
