//! Reads a file of letters, one at a time.
//!
//! Our own export is read whole or not at all: its last line counts its letters. The article's
//! files have no such line and are torn by every crash of the code that writes them; what is whole
//! in a torn one is read, and the tear is told.

use super::{
    article::{Entry, Mark, from_article},
    ours::{Letter, read_footer, read_header},
};
use crate::{
    fault::{Fault, Result},
    input::{Element, Elements, Line, Lines, RECORD_BYTES, Torn},
};
use serde_json::Value;
use std::{
    collections::HashMap,
    io::{self, BufRead},
};

/// One letter of a file.
#[derive(Clone, Debug)]
pub(crate) enum Incoming {
    /// Of our own export.
    Ours(Box<Letter>),
    /// Of the article's queues.
    Article(Box<Entry>),
}

impl Incoming {
    /// True where what it asked for was lost with the store that had it.
    pub(crate) fn is_without_request(&self) -> bool {
        matches!(self, Self::Ours(letter) if letter.request.is_none())
    }
}

/// What stands where a letter should be.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Spoiled {
    /// Its first line, from 1.
    pub(crate) line: u64,
    /// Its number in the file, from 1.
    pub(crate) nth: u64,
    /// Why it is none.
    pub(crate) why: String,
    /// Its text.
    pub(crate) text: String,
}

/// Where a file of the article's is torn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Tear {
    /// The line, from 1.
    pub(crate) line: u64,
    /// The byte, from 0.
    pub(crate) byte: u64,
    /// What is wrong there.
    pub(crate) what: &'static str,
    /// Bytes behind the last whole letter.
    pub(crate) left_bytes: u64,
    /// The beginning of what they say.
    pub(crate) text: String,
}

/// What a file came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Whole {
    /// Whole letters.
    pub(crate) letters: u64,
    /// Where it is torn.
    pub(crate) tear: Option<Tear>,
}

/// Where a letter stands, and its text.
struct Place<'a> {
    line: u64,
    nth: u64,
    text: &'a str,
}

/// Reads the letters of one file.
pub(crate) struct Reader<'a> {
    /// The file's name.
    pub(crate) name: &'a str,
    /// Why a letter is none that can be taken, if it is none.
    pub(crate) refuse: &'a dyn Fn(&Incoming) -> Result<(), String>,
    /// Gets each letter.
    pub(crate) take: &'a mut dyn FnMut(Incoming) -> Result<()>,
    /// Gets what is none; a fault ends the reading.
    pub(crate) spoiled: &'a mut dyn FnMut(Spoiled) -> Result<()>,
}

impl Reader<'_> {
    /// Reads all of them.
    pub(crate) fn read(&mut self, mut reader: impl BufRead) -> Result<Whole> {
        match first_byte(&mut reader).map_err(|error| self.unreadable(error))? {
            None => {
                Err(self.refused("it is empty", "an export of nothing is not empty: it says so"))
            }
            Some(b'[') => self.read_list(reader),
            Some(b'{') => self.read_lines(reader),
            Some(_) => Err(self.refused(
                "it begins with neither { nor [",
                "import takes our own JSON lines, and the article's JSON files",
            )),
        }
    }

    fn read_list(&mut self, reader: impl BufRead) -> Result<Whole> {
        let mut elements = Elements::new(reader, RECORD_BYTES);
        let mut whole = Whole::default();
        let mut seen: HashMap<Mark, u32> = HashMap::new();
        let mut nth = 0;
        while let Some(element) = elements.next() {
            nth += 1;
            match element.map_err(|error| self.unreadable(error))? {
                Element::Whole { line, text } => match entry_of(&text) {
                    Ok(entry) => {
                        let place = Place { line, nth, text: &text };
                        self.entry(entry, place, &mut seen, &mut whole)?;
                    }
                    Err(why) => (self.spoiled)(Spoiled { line, nth, why, text })?,
                },
                Element::TooLong { line, text } => {
                    let why = "it is too long".to_owned();
                    (self.spoiled)(Spoiled { line, nth, why, text })?;
                }
                // A list behind a list: one more copy of the queue, with letters of its own.
                Element::Torn(torn) if torn.text == "[" && nth > 1 => {
                    nth -= 1;
                    seen.clear();
                    elements.go_on();
                }
                Element::Torn(torn) => {
                    // The end of the list may be all that is missing.
                    let last = entry_of(torn.text.trim_end_matches(['\0', ' ', '\n', '\r', '\t']));
                    let rest = elements.rest().map_err(|error| self.unreadable(error))?;
                    let Torn { line, byte, what, text } = torn;
                    let left_bytes = if last.is_ok() { rest } else { text.len() as u64 + rest };
                    if let Ok(entry) = last {
                        let place = Place { line, nth, text: &text };
                        self.entry(entry, place, &mut seen, &mut whole)?;
                    }
                    whole.tear = Some(Tear { line, byte, what, left_bytes, text });
                }
            }
        }
        match whole.tear {
            Some(tear) if whole.letters == 0 => {
                Err(self.torn(tear.line, tear.byte, "no letter in it is whole").why(tear.what))
            }
            tear => Ok(Whole { tear, ..whole }),
        }
    }

    fn entry(
        &mut self,
        mut entry: Entry,
        place: Place<'_>,
        seen: &mut HashMap<Mark, u32>,
        whole: &mut Whole,
    ) -> Result<()> {
        let nth = seen.entry(entry.mark()).or_default();
        *nth += 1;
        entry.nth = *nth;
        self.hand_over(Incoming::Article(Box::new(entry)), place, whole)
    }

    fn hand_over(&mut self, incoming: Incoming, place: Place<'_>, whole: &mut Whole) -> Result<()> {
        if let Err(why) = (self.refuse)(&incoming) {
            let Place { line, nth, text } = place;
            return (self.spoiled)(Spoiled { line, nth, why, text: text.to_owned() });
        }
        whole.letters += 1;
        (self.take)(incoming)
    }

    fn read_lines(&mut self, reader: impl BufRead) -> Result<Whole> {
        let mut lines = Lines::new(reader, RECORD_BYTES);
        let mut whole = Whole::default();
        let mut has_header = false;
        let (mut nth, mut end) = (0, (1, 0));
        while let Some(line) = lines.next().transpose().map_err(|error| self.unreadable(error))? {
            end = (line.number, line.offset + line.bytes.len() as u64);
            if line.bytes.trim_ascii().is_empty() {
                continue;
            }
            let value = match value_of(&line) {
                Ok(value) => value,
                Err(_) if !line.is_ended => {
                    return Err(self.torn(end.0, end.1, "the file ends in the middle of a line"));
                }
                Err(why) if !has_header => return Err(self.no_header(&why)),
                Err(why) => {
                    nth += 1;
                    self.put_aside(&line, nth, why)?;
                    continue;
                }
            };
            if !has_header {
                let header =
                    read_header(&value).unwrap_or_else(|| Err("it has no header".to_owned()));
                header.map_err(|why| self.no_header(&why))?;
                has_header = true;
                continue;
            }
            if let Some(letters) = read_footer(&value) {
                return self.ended(letters, nth, end, &mut lines).map(|()| whole);
            }
            nth += 1;
            match serde_path_to_error::deserialize::<_, Letter>(value) {
                Ok(letter) => {
                    let text = line.text();
                    let place = Place { line: line.number, nth, text: &text };
                    self.hand_over(Incoming::Ours(Box::new(letter)), place, &mut whole)?;
                }
                Err(error) => self.put_aside(&line, nth, error.to_string())?,
            }
        }
        Err(self.torn(end.0, end.1, "the file ends before its last line"))
    }

    /// The footer must count what was read, and end the file.
    fn ended(
        &self,
        letters: u64,
        read: u64,
        end: (u64, u64),
        lines: &mut impl Iterator<Item = io::Result<Line>>,
    ) -> Result<()> {
        if letters != read {
            return Err(self.torn(end.0, end.1, "it has not as many letters as it says"));
        }
        match lines.find(|line| !is_blank(line)) {
            None => Ok(()),
            Some(_) => Err(self.torn(end.0, end.1, "something follows its last line")),
        }
    }

    fn put_aside(&mut self, line: &Line, nth: u64, why: String) -> Result<()> {
        (self.spoiled)(Spoiled { line: line.number, nth, why, text: line.text() })
    }

    fn unreadable(&self, error: io::Error) -> Fault {
        Fault::usage(format!("cannot read {}", self.name)).because(error)
    }

    fn refused(&self, why: &str, fix: &str) -> Fault {
        Fault::failed(format!("{} is not a file of letters", self.name)).why(why).fix(fix)
    }

    fn no_header(&self, why: &str) -> Fault {
        let fix = "make one with `deadletter export`, or use `deadletter run` for tasks";
        self.refused(why, fix)
    }

    fn torn(&self, line: u64, byte: u64, what: &str) -> Fault {
        let place = format!("{} is torn at line {line}, byte {byte}", self.name);
        Fault::failed(format!("{place}; nothing was imported"))
            .why(what)
            .fix("take a whole copy of the file; what is missing in this one cannot be guessed")
    }
}

impl Spoiled {
    /// The fault of a file that may hold nothing but letters.
    pub(crate) fn fault(&self, name: &str) -> Fault {
        Fault::failed(format!(
            "{name}, entry {} (line {}): this is no letter; nothing was imported",
            self.nth, self.line
        ))
        .why(&self.why)
        .fix("--rejects FILE puts what is no letter aside, and takes the others")
    }
}

fn entry_of(text: &str) -> Result<Entry, String> {
    let value = serde_json::from_str::<Value>(text).map_err(|e| format!("it is not JSON: {e}"))?;
    from_article(&value)
}

fn value_of(line: &Line) -> Result<Value, String> {
    if line.is_cut {
        return Err("it is too long".to_owned());
    }
    serde_json::from_slice(&line.bytes).map_err(|error| format!("it is not JSON: {error}"))
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

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Whole> {
        let mut spoiled = |spoiled: Spoiled| Err(spoiled.fault("x"));
        let (refuse, take) = (&|_: &Incoming| Ok(()), &mut |_| Ok(()));
        Reader { name: "x", refuse, take, spoiled: &mut spoiled }.read(text.as_bytes())
    }

    /// The numbers of the entries among their equals.
    fn numbers(text: &str) -> Vec<u32> {
        let mut numbers = Vec::new();
        let mut take = |incoming| {
            if let Incoming::Article(entry) = incoming {
                numbers.push(entry.nth);
            }
            Ok(())
        };
        let mut spoiled = |_| Ok(());
        let refuse = &|_: &Incoming| Ok(());
        let mut reader = Reader { name: "x", refuse, take: &mut take, spoiled: &mut spoiled };
        reader.read(text.as_bytes()).expect("read");
        numbers
    }

    const ENTRY: &str =
        r#"{"sitekey":"a","page_url":"https://a.b","error":"e","attempts":4,"timestamp":1}"#;

    #[test]
    fn of_a_torn_list_every_whole_letter_is_read_at_every_byte() {
        let whole = format!("[\n  {ENTRY},\n  {ENTRY}\n]");
        assert_eq!(read(&whole).expect("whole"), Whole { letters: 2, tear: None });
        assert_eq!(read("[]").expect("an export of nothing").letters, 0);
        let ends = [4 + ENTRY.len(), 4 + ENTRY.len() + 4 + ENTRY.len()];
        for length in 0..whole.len() {
            let letters = ends.iter().filter(|end| **end <= length).count() as u64;
            match read(&whole[..length]) {
                Ok(found) => {
                    let tear = found.tear.expect("it is torn");
                    assert_eq!((found.letters, tear.byte), (letters, length as u64));
                    let behind = ends.iter().rev().find(|end| **end <= length).expect("one");
                    assert!(tear.left_bytes <= (length - behind) as u64, "{length}: {tear:?}");
                }
                Err(fault) => {
                    assert_eq!(letters, 0, "{length}: {}", fault.what);
                    assert!(length < 2 || fault.what.contains("torn at line"), "{}", fault.what);
                }
            }
        }
    }

    #[test]
    fn what_follows_a_list_is_told_and_a_second_list_is_read() {
        let found = read(&format!("[{ENTRY}]\n  \"timestamp\": 5\n  }}\n]")).expect("read");
        let tear = found.tear.expect("it is torn");
        assert_eq!((found.letters, tear.line, tear.left_bytes), (1, 2, 20));
        let zeros = read(&format!("[{ENTRY},{ENTRY}\0\0\0")).expect("read");
        assert_eq!(zeros.letters, 2);
        let two = read(&format!("[{ENTRY}][{ENTRY},{ENTRY}]")).expect("read");
        assert_eq!(two, Whole { letters: 3, tear: None });
        assert_eq!(numbers(&format!("[{ENTRY}]\n[{ENTRY},{ENTRY}]")), [1, 1, 2]);
    }

    #[test]
    fn what_is_no_letter_is_a_fault_unless_it_is_put_aside() {
        let text = format!("[{ENTRY},{{\"a\":1}},{ENTRY}]");
        assert!(read(&text).expect_err("no letter").what.contains("entry 2 (line 1)"));
        assert_eq!(numbers(&text), [1, 2]);
    }

    #[test]
    fn torn_lines_are_refused_at_every_byte() {
        let whole = "{\"export\":\"deadletter\",\"version\":1}\n{\"end\":true,\"letters\":0}\n";
        assert_eq!(read(whole).expect("whole").letters, 0);
        for length in 0..whole.len() - 1 {
            assert!(read(&whole[..length]).is_err(), "{length}");
        }
        let short = "{\"export\":\"deadletter\",\"version\":1}\n{\"end\":true,\"letters\":3}\n";
        assert!(read(short).expect_err("two are missing").what.contains("torn"));
        assert!(read(&format!("{whole}\n{whole}")).expect_err("two files").what.contains("torn"));
        assert_eq!(read(&format!("{whole}\n \n")).expect("blank lines are nothing").letters, 0);
    }

    #[test]
    fn other_files_are_refused_with_advice() {
        assert!(read("sitekey,url\n").expect_err("CSV").fix.is_some());
        assert!(read("{\"sitekey\":\"a\"}\n").expect_err("no header").fix.is_some());
        let newer = "{\"export\":\"deadletter\",\"version\":3}\n";
        assert!(format!("{:?}", read(newer).expect_err("newer").why).contains("version 3"));
    }
}
