//! Rejected rows, put aside in a file that can be mended and run again.

use super::{Format, Lines, RECORD_BYTES, Reject, Source, row::digest};
use crate::fault::{Fault, Result};
use serde_json::{Map, Value};
use std::{
    collections::HashSet,
    fs::{File, OpenOptions},
    io::{self, BufReader, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};

/// Files of rejects beside one another, before somebody should clean up.
const FILES_LIMIT: u32 = 1_000;
/// Text of a rejected row that is kept; what is longer still stands in the original.
const TEXT_LIMIT: usize = 64 << 10;
/// What each rejected row begins with, where it is written as JSON.
const JSON_NOTE: &[u8] = br#"{"rejected_line":"#;

/// The rows rejected so far. They get their file when somebody says that they are to be kept: a run
/// that is refused leaves none behind.
#[derive(Debug)]
pub(crate) struct Rejects {
    named: Option<PathBuf>,
    source: Source,
    format: Format,
    header: Option<Vec<String>>,
    /// Their lines until then: a file without a name, because there may be many.
    spool: Option<File>,
    is_dry: bool,
    /// What the named file held before.
    written: HashSet<[u8; 16]>,
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
        Self {
            named,
            source,
            format,
            header,
            spool: None,
            is_dry: false,
            written: HashSet::new(),
            count: 0,
        }
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

    /// Takes one in.
    pub(crate) fn put(&mut self, reject: &Reject) -> Result<()> {
        self.count += 1;
        if self.is_dry {
            return Ok(());
        }
        let line = self.line_of(reject);
        let failed = |error| unwritable(Path::new("the folder of temporary files"), error);
        if self.spool.is_none() {
            self.spool = Some(tempfile::tempfile().map_err(failed)?);
            if let Some(path) = self.named.as_ref().filter(|path| path.is_file()) {
                self.written = self.lines_in(path).map_err(|error| unwritable(path, error))?;
            }
        }
        match &mut self.spool {
            Some(spool) if !self.written.contains(&digest(&line)) => {
                spool.write_all(&line).map_err(failed)
            }
            _ => Ok(()),
        }
    }

    /// Gives those that were taken in their file, and answers where it is; none where there are
    /// none. A file of an earlier run that holds the same is theirs.
    pub(crate) fn keep(&mut self) -> Result<Option<PathBuf>> {
        let Some(mut spool) = self.spool.take() else { return Ok(None) };
        let mut options = OpenOptions::new();
        options.write(true);
        // The rows may hold proxies with passwords.
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let header = self.header_line().unwrap_or_default();
        let path = match self.named.clone() {
            Some(path) => {
                let appended = append(&path, options, &header, &mut spool);
                appended.map(|()| path.clone()).map_err(|error| unwritable(&path, error))
            }
            None => self.create(&mut options, &header, &mut spool),
        };
        path.map(Some)
    }

    /// Refuses a named file that holds something else than rejects of this form: they are
    /// appended, since somebody may be mending those that stand there.
    pub(crate) fn refuse_foreign(&self) -> Result<()> {
        let Some(path) = self.named.as_ref().filter(|path| path.is_file()) else { return Ok(()) };
        let failed = |error| unwritable(path, error);
        let file = BufReader::new(File::open(path).map_err(failed)?);
        let mut begin = Vec::new();
        let is_ours = match self.header_line() {
            Some(header) => {
                file.take(header.len() as u64).read_to_end(&mut begin).map_err(failed)?;
                begin.is_empty() || begin == header
            }
            None => {
                let mut file = file.take(JSON_NOTE.len() as u64);
                file.read_to_end(&mut begin).map_err(failed)?;
                begin.is_empty() || begin == JSON_NOTE
            }
        };
        if is_ours {
            return Ok(());
        }
        Err(Fault::usage(format!("{} is no file of rejected rows", path.display()))
            .why("rejected rows are appended, and it begins with something else")
            .fix("name a new file with --rejects, or one of an earlier run over the same columns"))
    }

    /// What stands in the file that was named is not written again.
    fn lines_in(&self, path: &Path) -> io::Result<HashSet<[u8; 16]>> {
        let written = File::open(path)?;
        let mut lines = HashSet::new();
        if self.header.is_some() {
            let mut rows = ::csv::ReaderBuilder::new().flexible(true).from_reader(&written);
            for row in rows.byte_records() {
                let row = row.map_err(io::Error::other)?;
                lines.insert(digest(&csv_line(row.iter())));
            }
        } else {
            for line in Lines::new(BufReader::new(&written), 2 * RECORD_BYTES) {
                let mut line = line?.bytes;
                line.push(b'\n');
                lines.insert(digest(&line));
            }
        }
        Ok(lines)
    }

    fn create(
        &self,
        options: &mut OpenOptions,
        header: &[u8],
        spool: &mut File,
    ) -> Result<PathBuf> {
        let extension = if matches!(self.format, Format::Csv { .. }) { "csv" } else { "jsonl" };
        let base = match &self.source {
            Source::Stdin => "stdin".to_owned(),
            Source::File(path) => path.display().to_string(),
        };
        // A file of rejects may be being mended by somebody: never write over one.
        for n in 1..=FILES_LIMIT {
            let nth = if n == 1 { String::new() } else { format!("-{n}") };
            let path = PathBuf::from(format!("{base}.rejected{nth}.{extension}"));
            let failed = |error| unwritable(&path, error);
            match options.create_new(true).open(&path) {
                Ok(mut file) => {
                    write_all(&mut file, header, spool).map_err(failed)?;
                    return Ok(path);
                }
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                    if holds(&path, header, spool).map_err(failed)? {
                        return Ok(path);
                    }
                }
                Err(error) => return Err(failed(error)),
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

/// Behind what stands there; a header where nothing does.
fn append(
    path: &Path,
    mut options: OpenOptions,
    header: &[u8],
    spool: &mut File,
) -> io::Result<()> {
    let mut file = options.append(true).create(true).open(path)?;
    let length = if file.metadata()?.is_file() { file.metadata()?.len() } else { 0 };
    if length == 0 {
        return write_all(&mut file, header, spool);
    }
    let mut end = File::open(path)?;
    end.seek(SeekFrom::End(-1))?;
    let mut last = [0];
    end.read_exact(&mut last)?;
    // A row that was torn by the end of an earlier run.
    let gap: &[u8] = if last == [b'\n'] { b"" } else { b"\n" };
    write_all(&mut file, gap, spool)
}

fn write_all(file: &mut File, header: &[u8], spool: &mut File) -> io::Result<()> {
    file.write_all(header)?;
    spool.seek(SeekFrom::Start(0))?;
    io::copy(spool, file).map(drop)
}

/// True where the file holds just that.
fn holds(path: &Path, header: &[u8], spool: &mut File) -> io::Result<bool> {
    let data = std::fs::metadata(path)?;
    if !data.is_file() || data.len() != header.len() as u64 + spool.metadata()?.len() {
        return Ok(false);
    }
    spool.seek(SeekFrom::Start(0))?;
    let standing = BufReader::new(File::open(path)?).bytes();
    let ours = header.chain(BufReader::new(spool)).bytes();
    for (one, other) in standing.zip(ours) {
        if one? != other? {
            return Ok(false);
        }
    }
    Ok(true)
}

fn csv_line<T: AsRef<[u8]>>(cells: impl Iterator<Item = T>) -> Vec<u8> {
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
        let put = |lines: &[u64]| {
            let header = Some(vec!["url".to_owned()]);
            let mut rejects =
                Rejects::new(None, source.clone(), Format::Csv { tabs: false }, header);
            assert_eq!(rejects.keep().expect("nothing is written"), None);
            rejects.put(&reject(3, Some(vec![("url".into(), "x".into())]))).expect("taken");
            for line in lines {
                rejects.put(&reject(*line, None)).expect("taken");
            }
            rejects.keep().expect("written").expect("there is one")
        };
        let (first, second, again) = (put(&[4]), put(&[5]), put(&[4]));
        assert!(
            first.ends_with("tasks.csv.rejected.csv")
                && second.ends_with("tasks.csv.rejected-2.csv")
        );
        assert_eq!(again, first, "what stands there is not written once more");
        assert_eq!(std::fs::read_dir(dir.path()).expect("a directory").count(), 2);
        assert_eq!(
            std::fs::read_to_string(first).expect("read"),
            "rejected_line,rejected_row,rejected_reason,url\n3,2,\"no page, \"\"none\"\"\",x\n4,3,\"no page, \"\"none\"\"\",\"a,b\"\n"
        );
    }

    #[test]
    fn rows_that_are_not_kept_leave_nothing_behind() {
        let dir = tempfile::tempdir().expect("a directory");
        let source = Source::File(dir.path().join("tasks.csv"));
        for named in [None, Some(dir.path().join("mine.jsonl"))] {
            let mut rejects = Rejects::new(named, source.clone(), Format::JsonLines, None);
            rejects.put(&reject(2, None)).expect("taken");
            drop(rejects);
        }
        assert_eq!(std::fs::read_dir(dir.path()).expect("a directory").count(), 0);
    }

    #[test]
    fn json_rows_keep_their_fields() {
        let dir = tempfile::tempdir().expect("a directory");
        let named = dir.path().join("mine.jsonl");
        let mut rejects = Rejects::new(Some(named.clone()), Source::Stdin, Format::JsonLines, None);
        rejects.put(&reject(2, Some(vec![("url".into(), 5.into())]))).expect("taken");
        assert_eq!(rejects.keep().expect("written").as_ref(), Some(&named));
        let text = std::fs::read_to_string(named).expect("read");
        let line: Value = serde_json::from_str(text.trim()).expect("JSON");
        assert_eq!((&line["rejected_row"], &line["url"]), (&1.into(), &5.into()));
    }
}
