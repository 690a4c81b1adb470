//! Rows from files: CSV, JSON lines, a JSON array or plain page URLs, read as a stream, with limits everywhere.
//!
//! A row that cannot be used is never dropped: it comes out as a [`Reject`] with its line, its
//! reason and its text.

mod array;
mod columns;
mod csv;
mod headless;
mod key;
mod lines;
mod object;
mod params;
mod rejects;
mod row;
mod source;

pub(crate) use array::{Element, Elements, Torn};
pub(crate) use columns::{Columns, Overrides, override_of};
pub(crate) use key::KeyWatch;
pub(crate) use lines::{Line, Lines};
pub(crate) use params::{param_of, twice, values_of};
pub(crate) use rejects::Rejects;
pub(crate) use row::{Occurrences, Usual, one_sitekey, row_of, sendable};
pub(crate) use source::{Format, Source};

use crate::fault::{Fault, Result};
use object::fields_of;
use serde_json::Value;
use std::io::BufRead;

/// Longest record in bytes: the largest body that upstream takes, nine images in base64.
pub(crate) const RECORD_BYTES: usize = 16 << 20;
/// Most rows of one file: what `run` remembers of each row fits in memory many times.
pub(crate) const ROWS_LIMIT: u64 = 5_000_000;

/// A record as it stands in the file.
#[derive(Debug)]
pub(crate) struct Record {
    /// Its first line, from 1.
    pub(crate) line: u64,
    /// Its text, cut where it was too long.
    pub(crate) text: String,
    /// Its fields by column, or why it cannot be read.
    pub(crate) fields: Result<Vec<(String, Value)>, String>,
}

/// A row that cannot be used.
#[derive(Debug)]
pub(crate) struct Reject {
    /// Its first line, from 1.
    pub(crate) line: u64,
    /// Its number among the rows, from 1.
    pub(crate) row: u64,
    /// Why; it never repeats a value, which may be secret.
    pub(crate) reason: String,
    /// Its text.
    pub(crate) text: String,
    /// Its fields, where it could be read.
    pub(crate) fields: Option<Vec<(String, Value)>>,
}

/// All records of a file, in order.
pub(crate) struct Records {
    /// How the file is written.
    pub(crate) format: Format,
    /// The columns that a header names; none where each record names its own.
    pub(crate) header: Option<Vec<String>>,
    inner: Box<dyn Iterator<Item = std::io::Result<Record>> + Send>,
    read: u64,
}

impl Records {
    /// The records of `source`.
    pub(crate) fn open(source: &Source) -> Result<Self> {
        let (format, mut reader) = source.open()?;
        let failed = |error| source.unreadable(error);
        let (header, inner): (_, Box<dyn Iterator<Item = _> + Send>) = match format {
            Format::Csv { tabs } => {
                let records = csv::CsvRecords::open(reader, tabs).map_err(failed)?;
                if records.header.is_empty() {
                    return Err(Fault::usage(format!("{source} is empty"))
                        .why("the first line of a CSV file names its columns")
                        .fix("write the rows first, such as sitekey,url and a row below it"));
                }
                if let Some(header) = headless::of_header(&records.header) {
                    return Err(headless::fault(source, &header));
                }
                (Some(records.header.clone()), Box::new(records))
            }
            Format::JsonLines => (None, Box::new(json_lines(reader))),
            Format::JsonArray => {
                skip_blank(&mut reader).map_err(failed)?;
                (None, Box::new(array_records(reader)))
            }
            Format::Pages => (None, Box::new(pages(reader))),
        };
        Ok(Self { format, header, inner, read: 0 })
    }
}

impl Iterator for Records {
    type Item = Result<Record>;

    fn next(&mut self) -> Option<Self::Item> {
        let record = self.inner.next()?;
        self.read += 1;
        if self.read > ROWS_LIMIT {
            return Some(Err(Fault::usage(format!("the file has more than {ROWS_LIMIT} rows"))
                .fix("split it into several files")));
        }
        Some(record.map_err(|error| {
            Fault::failed("cannot read on")
                .because(error)
                .fix("look at the file and its disk, then run again with --resume")
        }))
    }
}

fn skip_blank(reader: &mut impl BufRead) -> std::io::Result<()> {
    loop {
        let buffer = reader.fill_buf()?;
        let blank = buffer.iter().take_while(|byte| byte.is_ascii_whitespace()).count();
        if blank == 0 {
            return Ok(());
        }
        reader.consume(blank);
    }
}

fn json_lines<R: BufRead + Send + 'static>(
    reader: R,
) -> impl Iterator<Item = std::io::Result<Record>> + Send {
    Lines::new(reader, RECORD_BYTES).filter_map(|line| {
        let line = match line {
            Ok(line) => line,
            Err(error) => return Some(Err(error)),
        };
        let text = line.text();
        if text.trim().is_empty() {
            return None;
        }
        let fields = if line.is_cut { Err(too_long()) } else { fields_of(&text) };
        Some(Ok(Record { line: line.number, text, fields }))
    })
}

/// Each line is the URL of a page; blank lines and those that begin with `#` are none.
fn pages<R: BufRead + Send + 'static>(
    reader: R,
) -> impl Iterator<Item = std::io::Result<Record>> + Send {
    let lines = Lines::new(reader, RECORD_BYTES);
    let is_page = |line: &Line| {
        let text = line.bytes.trim_ascii();
        !text.is_empty() && !text.starts_with(b"#")
    };
    lines.filter(move |line| line.as_ref().map_or(true, is_page)).map(|line| {
        let line = line?;
        let text = line.text();
        let fields = if line.is_cut {
            Err(too_long())
        } else if let Some(header) = headless::of_page(&text) {
            Err(format!(
                "a site key stands behind its page URL: if the file is CSV, its first line is to \
                 be {header}"
            ))
        } else {
            Ok(vec![("url".to_owned(), Value::from(text.trim()))])
        };
        Ok(Record { line: line.number, text, fields })
    })
}

fn array_records<R: BufRead + Send + 'static>(
    reader: R,
) -> impl Iterator<Item = std::io::Result<Record>> + Send {
    Elements::new(reader, RECORD_BYTES).map(|element| {
        element.map(|element| match element {
            Element::Whole { line, text } => {
                let fields = fields_of(&text);
                Record { line, text, fields }
            }
            Element::TooLong { line, text } => Record { line, text, fields: Err(too_long()) },
            Element::Torn(Torn { line, what, text, .. }) => {
                Record { line, text, fields: Err(what.to_owned()) }
            }
        })
    })
}

fn too_long() -> String {
    format!("it is longer than {} MiB", RECORD_BYTES >> 20)
}
