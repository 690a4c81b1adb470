//! Records of a CSV file. Each is found first and parsed alone, so that a quote that is never
//! closed spoils its own line and not the rest of the file.

use super::{
    RECORD_BYTES, Record,
    lines::{Line, Lines},
    too_long,
};
use crate::render::counted;
use serde_json::Value;
use std::{
    collections::VecDeque,
    io::{self, BufRead},
};

/// Lines that one quoted field may span; after so many, its quote is taken for a slip.
const RECORD_LINES: usize = 200;
/// Most columns: real files have a dozen.
const COLUMNS_LIMIT: usize = 500;

/// The records of a reader, the first of them as the header.
#[derive(Debug)]
pub(super) struct CsvRecords<R> {
    lines: Lines<R>,
    /// Lines read ahead in search of a closing quote.
    ahead: VecDeque<Line>,
    delimiter: u8,
    /// Names of the columns; empty for an empty file.
    pub(super) header: Vec<String>,
}

impl<R: BufRead> CsvRecords<R> {
    /// Reads the header.
    pub(super) fn open(reader: R, tabs: bool) -> io::Result<Self> {
        let lines = Lines::new(reader, RECORD_BYTES);
        let mut records =
            Self { lines, ahead: VecDeque::new(), delimiter: b'\t', header: Vec::new() };
        while let Some(line) = records.line()? {
            if line.bytes.trim_ascii().is_empty() {
                continue;
            }
            if !tabs {
                records.delimiter = delimiter_of(&line.bytes);
            }
            let header = fields(&line.bytes, records.delimiter).map_err(io::Error::other)?;
            records.header =
                header.iter().take(COLUMNS_LIMIT).map(|name| name.trim().to_owned()).collect();
            break;
        }
        Ok(records)
    }

    fn line(&mut self) -> io::Result<Option<Line>> {
        match self.ahead.pop_front() {
            Some(line) => Ok(Some(line)),
            None => self.lines.next().transpose(),
        }
    }

    fn read(&mut self) -> io::Result<Option<Record>> {
        loop {
            let Some(first) = self.line()? else { return Ok(None) };
            if !first.bytes.trim_ascii().is_empty() {
                return self.record(first).map(Some);
            }
        }
    }

    /// The record that begins with `first`: more lines, while a quote is open.
    fn record(&mut self, first: Line) -> io::Result<Record> {
        let line = first.number;
        let rejected = |text: String, reason: String| Record { line, text, fields: Err(reason) };
        if first.is_cut {
            return Ok(rejected(first.text(), too_long()));
        }
        let mut bytes = first.bytes.clone();
        let mut more: Vec<Line> = Vec::new();
        loop {
            match quotes(&bytes, self.delimiter) {
                Quotes::Closed => break,
                Quotes::Broken if more.is_empty() => {
                    return Ok(rejected(first.text(), "text follows a closing quote".to_owned()));
                }
                Quotes::Broken => return Ok(self.unclosed(&first, more)),
                Quotes::Open => {}
            }
            let next = if more.len() < RECORD_LINES { self.line()? } else { None };
            let Some(next) = next else { return Ok(self.unclosed(&first, more)) };
            let is_useless = next.is_cut || bytes.len() + next.bytes.len() > RECORD_BYTES;
            bytes.push(b'\n');
            bytes.extend(&next.bytes);
            more.push(next);
            if is_useless {
                return Ok(self.unclosed(&first, more));
            }
        }
        let fields = self.named(&bytes);
        if fields.is_err() && !more.is_empty() {
            return Ok(self.unclosed(&first, more));
        }
        Ok(Record { line, text: String::from_utf8_lossy(&bytes).into_owned(), fields })
    }

    /// Rejects `first` alone: the lines after it are read again.
    fn unclosed(&mut self, first: &Line, more: Vec<Line>) -> Record {
        for line in more.into_iter().rev() {
            self.ahead.push_front(line);
        }
        let reason = "a quote that opens here is never closed".to_owned();
        Record { line: first.number, text: first.text(), fields: Err(reason) }
    }

    fn named(&self, bytes: &[u8]) -> Result<Vec<(String, Value)>, String> {
        let fields = fields(bytes, self.delimiter)?;
        if fields.len() != self.header.len() {
            return Err(format!(
                "it has {}, and the header names {}",
                counted(fields.len(), "field", "fields"),
                self.header.len()
            ));
        }
        let values = fields.into_iter().map(|field| Value::String(field.trim().to_owned()));
        Ok(self.header.iter().cloned().zip(values).collect())
    }
}

impl<R: BufRead> Iterator for CsvRecords<R> {
    type Item = io::Result<Record>;

    fn next(&mut self) -> Option<Self::Item> {
        self.read().transpose()
    }
}

/// The mark that parts the fields of a header: the most frequent of three.
fn delimiter_of(header: &[u8]) -> u8 {
    let count = |mark: u8| header.iter().filter(|byte| **byte == mark).count();
    // The last of equals wins: a comma where there is none of them.
    [b'\t', b';', b','].into_iter().max_by_key(|mark| count(*mark)).unwrap_or(b',')
}

/// How the quotes of a record stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Quotes {
    /// The record is whole.
    Closed,
    /// It ends within quotes.
    Open,
    /// Something follows a closing quote: a quote before it is a slip.
    Broken,
}

fn quotes(record: &[u8], delimiter: u8) -> Quotes {
    #[derive(Clone, Copy, PartialEq)]
    enum At {
        FieldStart,
        Plain,
        Quoted,
        /// A quote within quotes: it closes the field, or a second one makes it a sign.
        Quote,
    }
    let mut at = At::FieldStart;
    for byte in record {
        at = match (at, *byte) {
            (At::FieldStart | At::Quote, b'"') => At::Quoted,
            (At::Quoted, b'"') => At::Quote,
            (At::Quoted, _) => At::Quoted,
            (_, byte) if byte == delimiter => At::FieldStart,
            (At::Quote, byte) if !byte.is_ascii_whitespace() => return Quotes::Broken,
            (At::Quote, _) => At::Quote,
            _ => At::Plain,
        };
    }
    if at == At::Quoted { Quotes::Open } else { Quotes::Closed }
}

/// The fields of one record whose quotes are closed.
fn fields(record: &[u8], delimiter: u8) -> Result<Vec<String>, String> {
    let text = std::str::from_utf8(record).map_err(|_| "it is not UTF-8".to_owned())?;
    let delimiter = char::from(delimiter);
    let mut fields = vec![String::new()];
    let mut quoted = false;
    let mut at_start = true;
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        let Some(field) = fields.last_mut() else { break };
        match c {
            '"' if quoted && chars.peek() == Some(&'"') => {
                chars.next();
                field.push('"');
            }
            '"' if quoted || at_start => quoted = !quoted,
            c if c == delimiter && !quoted => {
                fields.push(String::new());
                at_start = true;
                continue;
            }
            c => field.push(c),
        }
        at_start = false;
    }
    Ok(fields)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Vec<(u64, Result<Vec<String>, String>)> {
        CsvRecords::open(text.as_bytes(), false)
            .expect("memory does not fail")
            .map(|record| record.expect("memory does not fail"))
            .map(|record| {
                let values = record.fields.map(|fields| {
                    fields
                        .into_iter()
                        .map(|(_, v)| v.as_str().unwrap_or_default().to_owned())
                        .collect()
                });
                (record.line, values)
            })
            .collect()
    }

    fn good(line: u64, values: &[&str]) -> (u64, Result<Vec<String>, String>) {
        (line, Ok(values.iter().map(|value| (*value).to_owned()).collect()))
    }

    #[test]
    fn quoted_fields_hold_marks_quotes_and_line_ends() {
        let text = "a,b\n1,\"x, \"\"y\"\"\nz\"\n\n2, w \r\n";
        assert_eq!(read(text), [good(2, &["1", "x, \"y\"\nz"]), good(5, &["2", "w"])]);
    }

    #[test]
    fn a_quote_that_is_never_closed_spoils_its_own_line_only() {
        let rows = read("a,b\n1,\"open\n2,fine\n3,5\" wide\n4,\"also fine\"\n");
        assert_eq!(rows[0], (2, Err("a quote that opens here is never closed".to_owned())));
        assert_eq!(
            rows[1..],
            [good(3, &["2", "fine"]), good(4, &["3", "5\" wide"]), good(5, &["4", "also fine"])]
        );
    }

    #[test]
    fn a_wrong_number_of_fields_is_told_apart() {
        let rows = read("a;b;c\n1;2\n1;2;3;4\n1;2;3\n");
        assert_eq!(rows[0], (2, Err("it has 2 fields, and the header names 3".to_owned())));
        assert_eq!(rows[1], (3, Err("it has 4 fields, and the header names 3".to_owned())));
        assert_eq!(rows[2], good(4, &["1", "2", "3"]));
    }

    #[test]
    fn a_quote_is_open_only_where_a_field_begins_with_it() {
        for (record, expected) in [
            ("a,\"b", Quotes::Open),
            ("a,\"b\"", Quotes::Closed),
            ("a,b\"c", Quotes::Closed),
            ("\"a\"\"", Quotes::Open),
            ("\"a\"\"\"", Quotes::Closed),
            ("a,\"b\",\"c", Quotes::Open),
            ("\"\",\"", Quotes::Open),
            ("\"a\" ,b", Quotes::Closed),
            ("\"a\"b,c", Quotes::Broken),
        ] {
            assert_eq!(quotes(record.as_bytes(), b','), expected, "{record}");
        }
    }

    #[test]
    fn bytes_that_are_no_text_are_rejected_with_their_line() {
        let bytes: &[u8] = b"a,b\n1,\xff\n2,3\n";
        let mut rows = CsvRecords::open(bytes, false).expect("memory does not fail");
        let first = rows.next().expect("a row").expect("memory does not fail");
        assert_eq!((first.line, first.fields), (2, Err("it is not UTF-8".to_owned())));
        assert!(rows.next().expect("a row").expect("memory does not fail").fields.is_ok());
    }
}
