//! Lines with a limit: a file without line ends must not fill the memory.

use std::io::{self, BufRead};

/// A line without its end.
#[derive(Clone, Debug)]
pub(crate) struct Line {
    /// From 1.
    pub(crate) number: u64,
    /// Where it begins in the file.
    pub(crate) offset: u64,
    /// Its bytes, without `\n` or `\r\n`; no more than the limit.
    pub(crate) bytes: Vec<u8>,
    /// True where it is longer than the limit.
    pub(crate) is_cut: bool,
    /// False for a last line without an end.
    pub(crate) is_ended: bool,
}

impl Line {
    /// Its text; what is no UTF-8 becomes the sign for that.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }
}

/// All lines of a reader.
#[derive(Debug)]
pub(crate) struct Lines<R> {
    reader: R,
    limit: usize,
    number: u64,
    offset: u64,
}

impl<R: BufRead> Lines<R> {
    /// Lines of at most `limit` bytes; the rest of a longer one is skipped and marked.
    pub(crate) fn new(reader: R, limit: usize) -> Self {
        Self { reader, limit, number: 0, offset: 0 }
    }

    fn read(&mut self) -> io::Result<Option<Line>> {
        let mut line = Line {
            number: self.number + 1,
            offset: self.offset,
            bytes: Vec::new(),
            is_cut: false,
            is_ended: false,
        };
        let mut seen = 0;
        loop {
            let buffer = match self.reader.fill_buf() {
                Ok(buffer) => buffer,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            if buffer.is_empty() {
                break;
            }
            let end = buffer.iter().position(|byte| *byte == b'\n');
            let part = buffer.get(..end.unwrap_or(buffer.len())).unwrap_or_default();
            let room = self.limit.saturating_sub(line.bytes.len());
            line.is_cut |= part.len() > room;
            line.bytes.extend(part.iter().take(room));
            let used = end.map_or(buffer.len(), |end| end + 1);
            self.reader.consume(used);
            seen += used as u64;
            if end.is_some() {
                line.is_ended = true;
                break;
            }
        }
        if seen == 0 {
            return Ok(None);
        }
        self.number += 1;
        self.offset += seen;
        if line.bytes.last() == Some(&b'\r') && line.is_ended {
            line.bytes.pop();
        }
        Ok(Some(line))
    }
}

impl<R: BufRead> Iterator for Lines<R> {
    type Item = io::Result<Line>;

    fn next(&mut self) -> Option<Self::Item> {
        self.read().transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &'static str, limit: usize) -> Vec<(u64, u64, String, bool, bool)> {
        Lines::new(io::BufReader::with_capacity(3, text.as_bytes()), limit)
            .map(|line| line.expect("memory does not fail"))
            .map(|line| (line.number, line.offset, line.text(), line.is_cut, line.is_ended))
            .collect()
    }

    #[test]
    fn a_line_that_is_too_long_is_cut_and_the_next_one_is_whole() {
        assert_eq!(
            lines("abcdefgh\nxy\r\n\nlast", 4),
            [
                (1, 0, "abcd".to_owned(), true, true),
                (2, 9, "xy".to_owned(), false, true),
                (3, 13, String::new(), false, true),
                (4, 14, "last".to_owned(), false, false),
            ]
        );
        assert!(lines("", 4).is_empty());
    }
}
