//! The elements of a JSON array, one at a time, without reading the whole file.
//!
//! Only brackets, strings and commas are looked at here; each element's text is parsed by whoever
//! wants it, so that one broken element does not hide the others.

use std::io::{self, BufRead};

/// One element of the array, or the place where the array breaks off.
#[derive(Debug)]
pub(crate) enum Element {
    /// An element's text, not yet parsed.
    Whole {
        /// Its first line, from 1.
        line: u64,
        /// Its text.
        text: String,
    },
    /// An element that exceeds the limit: its beginning.
    TooLong {
        /// Its first line, from 1.
        line: u64,
        /// Its beginning.
        text: String,
    },
    /// The text is no array, or no whole one; nothing follows.
    Torn(Torn),
}

/// Where and how an array breaks off.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Torn {
    /// The line, from 1.
    pub(crate) line: u64,
    /// The byte, from 0.
    pub(crate) byte: u64,
    /// What is wrong there.
    pub(crate) what: &'static str,
    /// The text of the element that was being read, or the character that follows the list.
    pub(crate) text: String,
}

/// All elements of the array that a reader begins with.
#[derive(Debug)]
pub(crate) struct Elements<R> {
    reader: R,
    limit: usize,
    line: u64,
    byte: u64,
    place: Place,
    elements: u64,
    /// What follows the last element, once that is out.
    trailing: Option<Torn>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Start,
    Inside,
    Ended,
}

/// An element being gathered.
#[derive(Debug, Default)]
struct Gathered {
    line: u64,
    bytes: Vec<u8>,
    is_cut: bool,
    depth: u32,
    in_string: bool,
    escaped: bool,
}

impl<R: BufRead> Elements<R> {
    /// Elements of at most `limit` bytes.
    pub(crate) fn new(reader: R, limit: usize) -> Self {
        Self { reader, limit, line: 1, byte: 0, place: Place::Start, elements: 0, trailing: None }
    }

    /// Goes on behind a `[` that followed the end of the list.
    pub(crate) fn go_on(&mut self) {
        (self.place, self.elements) = (Place::Inside, 0);
    }

    /// How many bytes stand behind what was read.
    pub(crate) fn rest(&mut self) -> io::Result<u64> {
        let from = self.byte;
        while self.byte()?.is_some() {}
        Ok(self.byte - from)
    }

    fn byte(&mut self) -> io::Result<Option<u8>> {
        loop {
            return match self.reader.fill_buf() {
                Ok([]) => Ok(None),
                Ok([byte, ..]) => {
                    let byte = *byte;
                    self.reader.consume(1);
                    self.byte += 1;
                    self.line += u64::from(byte == b'\n');
                    Ok(Some(byte))
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => Err(error),
            };
        }
    }

    fn torn(&mut self, what: &'static str, gathered: &Gathered) -> Torn {
        self.place = Place::Ended;
        let text = String::from_utf8_lossy(&gathered.bytes).into_owned();
        Torn { line: self.line, byte: self.byte, what, text }
    }

    fn read(&mut self) -> io::Result<Option<Element>> {
        if let Some(torn) = self.trailing.take() {
            return Ok(Some(Element::Torn(torn)));
        }
        if self.place == Place::Ended {
            return Ok(None);
        }
        if self.place == Place::Start {
            match self.not_blank()? {
                Some(b'[') => self.place = Place::Inside,
                Some(_) => return Ok(Some(self.ended("a list begins with ["))),
                None => return Ok(Some(self.ended("the file is empty"))),
            }
        }
        let mut element = Gathered::default();
        loop {
            let Some(byte) = self.byte()? else {
                let what = "the file ends before its list is closed";
                return Ok(Some(Element::Torn(self.torn(what, &element))));
            };
            if element.is_end(byte) {
                if byte == b']' {
                    self.place = Place::Ended;
                    self.trailing = self.what_follows()?;
                    if element.is_blank() && self.elements == 0 {
                        return Ok(self.trailing.take().map(Element::Torn));
                    }
                }
                return Ok(Some(self.finished(element)));
            }
            if element.line == 0 && !byte.is_ascii_whitespace() {
                element.line = self.line;
            }
            element.take(byte, self.limit);
        }
    }

    fn finished(&mut self, element: Gathered) -> Element {
        self.elements += 1;
        let line = if element.line == 0 { self.line } else { element.line };
        let text = String::from_utf8_lossy(&element.bytes).trim().to_owned();
        if element.is_cut { Element::TooLong { line, text } } else { Element::Whole { line, text } }
    }

    fn not_blank(&mut self) -> io::Result<Option<u8>> {
        loop {
            match self.byte()? {
                Some(byte) if byte.is_ascii_whitespace() => {}
                other => return Ok(other),
            }
        }
    }

    /// What stands after the end of the list.
    fn what_follows(&mut self) -> io::Result<Option<Torn>> {
        let Some(byte) = self.not_blank()? else { return Ok(None) };
        let found = Gathered { bytes: vec![byte], ..Gathered::default() };
        Ok(Some(self.torn("something follows the end of the list", &found)))
    }

    fn ended(&mut self, what: &'static str) -> Element {
        Element::Torn(self.torn(what, &Gathered::default()))
    }
}

impl Gathered {
    /// True where `byte` ends the element and is not part of it.
    const fn is_end(&self, byte: u8) -> bool {
        self.depth == 0 && !self.in_string && matches!(byte, b',' | b']')
    }

    fn is_blank(&self) -> bool {
        self.bytes.iter().all(u8::is_ascii_whitespace)
    }

    fn take(&mut self, byte: u8, limit: usize) {
        if self.in_string {
            match byte {
                _ if self.escaped => self.escaped = false,
                b'\\' => self.escaped = true,
                b'"' => self.in_string = false,
                _ => {}
            }
        } else {
            match byte {
                b'"' => self.in_string = true,
                b'{' | b'[' => self.depth = self.depth.saturating_add(1),
                b'}' | b']' => self.depth = self.depth.saturating_sub(1),
                _ => {}
            }
        }
        if self.bytes.len() < limit {
            self.bytes.push(byte);
        } else {
            self.is_cut = true;
        }
    }
}

impl<R: BufRead> Iterator for Elements<R> {
    type Item = io::Result<Element>;

    fn next(&mut self) -> Option<Self::Item> {
        self.read().transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(text: &str, limit: usize) -> Vec<String> {
        Elements::new(text.as_bytes(), limit)
            .map(|element| match element.expect("memory does not fail") {
                Element::Whole { line, text } => format!("{line}: {text}"),
                Element::TooLong { line, .. } => format!("{line}: too long"),
                Element::Torn(torn) => {
                    format!("torn at {}/{}: {}", torn.line, torn.byte, torn.what)
                }
            })
            .collect()
    }

    #[test]
    fn elements_come_one_by_one_whatever_their_strings_hold() {
        let text = "[\n {\"a\": \"],{\\\"\"},\n [1, 2] , 3\n]\n";
        assert_eq!(seen(text, 100), ["2: {\"a\": \"],{\\\"\"}", "3: [1, 2]", "3: 3"]);
        assert!(seen(" [ \n ] \n", 100).is_empty());
    }

    #[test]
    fn a_torn_list_is_never_taken_for_a_shorter_one() {
        assert_eq!(
            seen("[{\"a\":1},\n{\"a\"", 100)[1],
            "torn at 2/14: the file ends before its list is closed"
        );
        assert_eq!(seen("[", 100), ["torn at 1/1: the file ends before its list is closed"]);
        assert_eq!(seen("", 100), ["torn at 1/0: the file is empty"]);
        assert_eq!(seen("{}", 100), ["torn at 1/1: a list begins with ["]);
        let after = "torn at 1/5: something follows the end of the list";
        assert_eq!(seen("[1] x", 100), ["1: 1", after], "the last element stays");
        assert_eq!(seen("[]  x", 100), [after]);
    }

    #[test]
    fn a_list_behind_a_list_is_read_on_when_asked_for() {
        let mut elements = Elements::new("[1]\n[2, 3] x y".as_bytes(), 100);
        let mut seen = Vec::new();
        while let Some(element) = elements.next() {
            match element.expect("memory does not fail") {
                Element::Torn(torn) if torn.text == "[" => elements.go_on(),
                Element::Torn(torn) => seen.push(format!("{}/{}", torn.line, torn.byte)),
                Element::Whole { text, .. } | Element::TooLong { text, .. } => seen.push(text),
            }
        }
        assert_eq!(seen, ["1", "2", "3", "2/12"]);
        assert_eq!(elements.rest().expect("memory does not fail"), 2);
    }

    #[test]
    fn an_element_that_is_too_long_does_not_hide_the_next() {
        assert_eq!(seen("[\"aaaaaaaaaa\", 2]", 5), ["1: too long", "1: 2"]);
    }

    #[test]
    fn a_missing_element_is_an_element_without_text() {
        assert_eq!(seen("[1,,2]", 9), ["1: 1", "1: ", "1: 2"]);
        assert_eq!(seen("[1,]", 9), ["1: 1", "1: "]);
    }
}
