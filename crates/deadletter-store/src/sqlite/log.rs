//! The write-ahead log as it lies: which of its frames are whole, and which page each brings.
//!
//! After "WAL File Format" of SQLite's documentation. SQLite itself stops at the first frame that is
//! not whole; here the frames behind it are looked at too, because each names the checksum that the
//! next one goes on from.

use std::collections::HashMap;

/// Length of the log's header.
pub(super) const HEADER_LEN: usize = 32;
/// Length of a frame's header, before its page.
pub(super) const FRAME_LEN: usize = 24;
/// The first word of a log, but for its lowest bit, which says how its checksums read words.
const MAGIC: u32 = 0x377f_0682;

/// What a log brings.
#[derive(Debug, Default)]
pub(super) struct Log {
    bytes: Vec<u8>,
    /// Where the newest whole frame of each page keeps its bytes.
    pages: HashMap<u32, usize>,
    page_len: usize,
    /// Frames of this log's life that are not whole, before others that are.
    pub(super) bad_frames: u64,
    /// The last commit before the first frame that is not whole: what SQLite reads.
    pub(super) sound_frames: u64,
    /// True where something stands in it and even its header cannot be read.
    pub(super) is_headless: bool,
}

/// The words in which a checksum is summed up.
pub(super) type Sum = (u32, u32);

impl Log {
    /// Reads a whole log of pages of `page_len` bytes; an empty one brings nothing.
    pub(super) fn read(bytes: Vec<u8>, page_len: usize) -> Self {
        let mut log = Self { bytes, page_len, ..Self::default() };
        if log.bytes.len() > HEADER_LEN + FRAME_LEN {
            log.index();
        }
        log
    }

    /// The newest bytes of a page.
    pub(super) fn page(&self, number: u32) -> Option<&[u8]> {
        let at = *self.pages.get(&number)?;
        self.bytes.get(at..at + self.page_len)
    }

    /// The pages that it brings.
    pub(super) fn numbers(&self) -> impl Iterator<Item = u32> {
        self.pages.keys().copied().filter(|number| *number > 0)
    }

    fn index(&mut self) {
        let is_big = word(&self.bytes, 0) & 1 == 1;
        let stored = (word(&self.bytes, 24), word(&self.bytes, 28));
        self.is_headless = !is_header(&self.bytes);
        // Without its header the first frame says which life the log is in.
        let from = if self.is_headless { HEADER_LEN + 8 } else { 16 };
        let salt = (word(&self.bytes, from), word(&self.bytes, from + 4));
        let is_big = is_big && !self.is_headless;
        let mut before = stored;
        // Pages wait for the frame that commits them.
        let mut waiting: Vec<(u32, usize)> = Vec::new();
        let (mut bad, mut frame, mut is_sound) = (0, 0, !self.is_headless);
        let mut at = HEADER_LEN;
        while at + FRAME_LEN + self.page_len <= self.bytes.len() {
            let (number, commits) = (word(&self.bytes, at), word(&self.bytes, at + 4));
            let is_ours = (word(&self.bytes, at + 8), word(&self.bytes, at + 12)) == salt;
            let stored = (word(&self.bytes, at + 16), word(&self.bytes, at + 20));
            let is_whole = is_ours
                && (self.sum(at, before, is_big) == Some(stored)
                    || (self.is_headless && at == HEADER_LEN));
            before = stored;
            at += FRAME_LEN + self.page_len;
            frame += 1;
            if !is_whole {
                (bad, is_sound) = (bad + 1, false);
                continue;
            }
            // What is not whole before a whole one is damage, not the log's end.
            self.bad_frames += std::mem::take(&mut bad);
            waiting.push((number, at - self.page_len));
            if commits > 0 {
                if is_sound {
                    self.sound_frames = frame;
                }
                self.pages.extend(waiting.drain(..));
            }
        }
    }

    /// The checksum that the frame at `at` should have, going on from the one before it.
    fn sum(&self, at: usize, before: Sum, is_big: bool) -> Option<Sum> {
        let sum = add(self.bytes.get(at..at + 8)?, before, is_big);
        let page = at + FRAME_LEN;
        Some(add(self.bytes.get(page..page + self.page_len)?, sum, is_big))
    }
}

/// True for the beginning of a log: its magic number, and a checksum that fits.
pub(super) fn is_header(bytes: &[u8]) -> bool {
    let magic = word(bytes, 0);
    let sum = bytes.get(..24).map(|header| add(header, (0, 0), magic & 1 == 1));
    magic & !1 == MAGIC && sum == Some((word(bytes, 24), word(bytes, 28)))
}

/// The header of a frame.
#[derive(Clone, Copy, Debug)]
pub(super) struct Frame {
    /// True where it ends a commit.
    pub(super) commits: bool,
    /// The checksum up to and with it.
    pub(super) sum: Sum,
    /// What of its header is summed up.
    summed: [u8; 8],
    is_big: bool,
}

impl Frame {
    /// Reads a frame's header; none where it is of another life of the log than `log_header`.
    pub(super) fn of(header: &[u8], log_header: &[u8]) -> Option<Self> {
        if header.get(8..16)? != log_header.get(16..24)? {
            return None;
        }
        Some(Self {
            commits: word(header, 4) > 0,
            sum: (word(header, 16), word(header, 20)),
            summed: header.get(..8)?.try_into().ok()?,
            is_big: word(log_header, 0) & 1 == 1,
        })
    }

    /// True where it was written behind the frame with that checksum, and is whole.
    pub(super) fn goes_on_from(&self, before: Sum, page: &[u8]) -> bool {
        add(page, add(&self.summed, before, self.is_big), self.is_big) == self.sum
    }
}

fn word(bytes: &[u8], at: usize) -> u32 {
    let bytes = bytes.get(at..at + 4).and_then(|bytes| bytes.try_into().ok());
    bytes.map_or(0, u32::from_be_bytes)
}

/// SQLite's checksum over pairs of words.
fn add(bytes: &[u8], sum: Sum, is_big: bool) -> Sum {
    let read = |bytes: &[u8]| {
        let bytes = bytes.try_into().unwrap_or_default();
        if is_big { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) }
    };
    bytes.chunks_exact(8).fold(sum, |(first, second), pair| {
        let (left, right) = pair.split_at(4);
        let first = first.wrapping_add(read(left)).wrapping_add(second);
        (first, second.wrapping_add(read(right)).wrapping_add(first))
    })
}
