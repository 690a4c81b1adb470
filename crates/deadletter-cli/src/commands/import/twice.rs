//! A source that is read twice: checked whole, then imported.

use crate::{
    fault::{Fault, Result},
    input::Source,
};
use std::io::{BufRead, BufReader, Cursor, Read};

/// Letters from standard input are kept in memory, to be read twice.
const STDIN_BYTES: u64 = 256 << 20;

/// A source that can be read twice.
pub(super) enum Twice {
    File,
    Memory(Vec<u8>),
}

impl Twice {
    /// Of a source; standard input is read to its end here.
    pub(super) fn of(source: &Source) -> Result<Self> {
        let Source::Stdin = source else { return Ok(Self::File) };
        let mut bytes = Vec::new();
        let read = std::io::stdin().take(STDIN_BYTES + 1).read_to_end(&mut bytes);
        read.map_err(|error| source.unreadable(error))?;
        if bytes.len() as u64 > STDIN_BYTES {
            return Err(Fault::usage("standard input is too long to be checked first")
                .fix("save it to a file, and import that"));
        }
        Ok(Self::Memory(bytes))
    }

    /// Its beginning.
    pub(super) fn open(&self, source: &Source) -> Result<Box<dyn BufRead + Send>> {
        match (self, source) {
            (Self::Memory(bytes), _) => Ok(Box::new(Cursor::new(bytes.clone()))),
            (Self::File, Source::File(path)) => {
                let file = std::fs::File::open(path).map_err(|error| source.unreadable(error))?;
                Ok(Box::new(BufReader::new(file)))
            }
            (Self::File, Source::Stdin) => Ok(Box::new(BufReader::new(std::io::stdin()))),
        }
    }
}
