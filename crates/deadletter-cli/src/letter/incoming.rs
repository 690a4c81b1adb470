//! Reads a file of letters whole, or not at all: a torn one is refused before anything is written.

use super::{
    article::{Entry, from_article},
    ours::{Letter, read_footer, read_header},
};
use crate::{
    fault::{Fault, Result},
    input::{Element, Elements, Line, Lines, RECORD_BYTES, Torn},
};
use serde_json::Value;
use std::io::{self, BufRead};

/// One letter of a file.
#[derive(Clone, Debug)]
pub(crate) enum Incoming {
    /// Of our own export.
    Ours(Box<Letter>),
    /// Of the article's queues.
    Article(Box<Entry>),
}

/// Reads all letters of `reader`, called `name`, and hands each to `take`.
pub(crate) fn read_all(
    name: &str,
    mut reader: impl BufRead,
    take: &mut dyn FnMut(Incoming) -> Result<()>,
) -> Result<u64> {
    let failed = |error| Fault::usage(format!("cannot read {name}")).because(error);
    match first_byte(&mut reader).map_err(failed)? {
        None => Err(refused(name, "it is empty", "an export of nothing is not empty: it says so")),
        Some(b'[') => read_list(name, reader, take),
        Some(b'{') => read_lines(name, reader, take),
        Some(_) => Err(refused(
            name,
            "it begins with neither { nor [",
            "import takes our own JSON lines, and the article's JSON files",
        )),
    }
}

fn read_list(
    name: &str,
    reader: impl BufRead,
    take: &mut dyn FnMut(Incoming) -> Result<()>,
) -> Result<u64> {
    let mut read = 0;
    for element in Elements::new(reader, RECORD_BYTES) {
        let element =
            element.map_err(|error| Fault::usage(format!("cannot read {name}")).because(error))?;
        let (line, text) = match element {
            Element::Whole { line, text } => (line, text),
            Element::TooLong { line, .. } => return Err(spoiled(name, line, "it is too long")),
            Element::Torn(Torn { line, byte, what, .. }) => {
                return Err(torn(name, line, byte, what));
            }
        };
        let entry = serde_json::from_str::<Value>(&text)
            .map_err(|error| spoiled(name, line, &format!("it is not JSON: {error}")))?;
        let entry = from_article(&entry).map_err(|why| spoiled(name, line, &why))?;
        take(Incoming::Article(Box::new(entry)))?;
        read += 1;
    }
    Ok(read)
}

fn read_lines(
    name: &str,
    reader: impl BufRead,
    take: &mut dyn FnMut(Incoming) -> Result<()>,
) -> Result<u64> {
    let mut lines = Lines::new(reader, RECORD_BYTES);
    let mut read = 0;
    let mut has_header = false;
    let mut end = (1, 0);
    while let Some(line) = lines
        .next()
        .transpose()
        .map_err(|error: io::Error| Fault::usage(format!("cannot read {name}")).because(error))?
    {
        end = (line.number, line.offset + line.bytes.len() as u64);
        if line.bytes.trim_ascii().is_empty() {
            continue;
        }
        if line.is_cut {
            return Err(spoiled(name, line.number, "it is too long"));
        }
        let value: Value = match serde_json::from_slice(&line.bytes) {
            Ok(value) => value,
            Err(_) if !line.is_ended => {
                return Err(torn(name, end.0, end.1, "the file ends in the middle of a line"));
            }
            Err(error) => {
                return Err(spoiled(name, line.number, &format!("it is not JSON: {error}")));
            }
        };
        if !has_header {
            let header = read_header(&value).unwrap_or_else(|| Err("it has no header".to_owned()));
            header.map_err(|why| {
                refused(
                    name,
                    &why,
                    "make one with `deadletter export`, or use `deadletter run` for tasks",
                )
            })?;
            has_header = true;
            continue;
        }
        if let Some(letters) = read_footer(&value) {
            if letters != read {
                return Err(torn(name, end.0, end.1, "it has not as many letters as it says"));
            }
            return match lines.find(|line| !is_blank(line)) {
                None => Ok(read),
                Some(_) => Err(torn(name, end.0, end.1, "something follows its last line")),
            };
        }
        let letter: Letter = serde_path_to_error::deserialize(value)
            .map_err(|error| spoiled(name, line.number, &error.to_string()))?;
        take(Incoming::Ours(Box::new(letter)))?;
        read += 1;
    }
    Err(torn(name, end.0, end.1, "the file ends before its last line"))
}

fn is_blank(line: &io::Result<Line>) -> bool {
    line.as_ref().is_ok_and(|line| line.bytes.trim_ascii().is_empty())
}

fn first_byte(reader: &mut impl BufRead) -> io::Result<Option<u8>> {
    loop {
        let buffer = reader.fill_buf()?;
        if buffer.is_empty() {
            return Ok(None);
        }
        match buffer.iter().position(|byte| !byte.is_ascii_whitespace()) {
            Some(at) => return Ok(buffer.get(at).copied()),
            // Blank as far as it goes: look on.
            None => {
                let blank = buffer.len();
                reader.consume(blank);
            }
        }
    }
}

fn refused(name: &str, why: &str, fix: &str) -> Fault {
    Fault::failed(format!("{name} is not a file of letters")).why(why).fix(fix)
}

fn torn(name: &str, line: u64, byte: u64, what: &str) -> Fault {
    Fault::failed(format!("{name} is torn at line {line}, byte {byte}; nothing was imported"))
        .why(what)
        .fix("take a whole copy of the file; what is missing in this one cannot be guessed")
}

fn spoiled(name: &str, line: u64, why: &str) -> Fault {
    Fault::failed(format!("{name}, line {line}: this is no letter; nothing was imported")).why(why)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<u64> {
        read_all("x", text.as_bytes(), &mut |_| Ok(()))
    }

    const ENTRY: &str =
        r#"{"sitekey":"a","page_url":"https://a.b","error":"e","attempts":4,"timestamp":1}"#;

    #[test]
    fn a_torn_list_is_refused_at_every_byte() {
        let whole = format!("[\n  {ENTRY},\n  {ENTRY}\n]");
        assert_eq!(read(&whole).expect("whole"), 2);
        assert_eq!(read("[]").expect("an export of nothing"), 0);
        for length in 0..whole.len() {
            let fault = read(&whole[..length]).expect_err("torn");
            if length > 1 {
                assert!(fault.what.contains("torn at line"), "{length}: {}", fault.what);
            }
        }
    }

    #[test]
    fn torn_lines_are_refused_at_every_byte() {
        let whole = "{\"export\":\"deadletter\",\"version\":1}\n{\"end\":true,\"letters\":0}\n";
        assert_eq!(read(whole).expect("whole"), 0);
        for length in 0..whole.len() - 1 {
            assert!(read(&whole[..length]).is_err(), "{length}");
        }
        let short = "{\"export\":\"deadletter\",\"version\":1}\n{\"end\":true,\"letters\":3}\n";
        assert!(read(short).expect_err("two are missing").what.contains("torn"));
        assert!(read(&format!("{whole}\n{whole}")).expect_err("two files").what.contains("torn"));
        assert_eq!(read(&format!("{whole}\n \n")).expect("blank lines are nothing"), 0);
    }

    #[test]
    fn other_files_are_refused_with_advice() {
        assert!(read("sitekey,url\n").expect_err("CSV").fix.is_some());
        assert!(read("{\"sitekey\":\"a\"}\n").expect_err("no header").fix.is_some());
        let newer = "{\"export\":\"deadletter\",\"version\":3}\n";
        assert!(format!("{:?}", read(newer).expect_err("newer").why).contains("version 3"));
        assert!(read("[{\"a\":1}]").expect_err("no letter").what.contains("line 1"));
    }
}
