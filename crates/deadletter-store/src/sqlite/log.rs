//! The write-ahead log as it lies: which of its frames are whole, and which page each brings.
//!
//! After "WAL File Format" of SQLite's documentation. SQLite itself stops at the first frame that is
//! not whole; here the frames behind it are looked at too, because each names the checksum that the
//! next one goes on from.

use std::{
    collections::HashMap,
    io::{self, BufReader, Read, Seek, SeekFrom},
};

/// Length of the log's header.
pub(super) const HEADER_LEN: usize = 32;
/// Length of a frame's header, before its page.
pub(super) const FRAME_LEN: usize = 24;
/// The first word of a log, but for its lowest bit, which says how its checksums read words.
const MAGIC: u32 = 0x377f_0682;
/// Read at once: some frames, whatever the log's length.
const BUFFER: usize = 64 << 10;

/// What a log brings. Its pages stay where they lie until they are asked for.
#[derive(Debug)]
pub(super) struct Log<F> {
    file: F,
    /// Where the newest whole frame of each page keeps its bytes.
    pages: HashMap<u32, u64>,
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

impl<F: Read + Seek> Log<F> {
    /// Reads through a log of pages of `page_len` bytes; an empty one brings nothing.
    ///
    /// Errors: of `file`; a frame that is cut off is the log's end.
    pub(super) fn read(file: F, page_len: usize) -> io::Result<Self> {
        let mut log = Self {
            file,
            pages: HashMap::new(),
            page_len,
            bad_frames: 0,
            sound_frames: 0,
            is_headless: false,
        };
        log.index()?;
        Ok(log)
    }

    /// The newest bytes of a page; none where the log does not bring it.
    pub(super) fn page(&mut self, number: u32) -> io::Result<Option<Vec<u8>>> {
        let Some(at) = self.pages.get(&number) else { return Ok(None) };
        let mut page = vec![0; self.page_len];
        self.file.seek(SeekFrom::Start(*at))?;
        self.file.read_exact(&mut page)?;
        Ok(Some(page))
    }

    fn index(&mut self) -> io::Result<()> {
        self.file.seek(SeekFrom::Start(0))?;
        let mut reader = BufReader::with_capacity(BUFFER, &mut self.file);
        let (mut header, mut head) = ([0; HEADER_LEN], [0; FRAME_LEN]);
        if !fills(&mut reader, &mut header)? || !fills(&mut reader, &mut head)? {
            return Ok(());
        }
        self.is_headless = !is_header(&header);
        let is_big = word(&header, 0) & 1 == 1 && !self.is_headless;
        // Without its header the first frame says which life the log is in.
        let ours = if self.is_headless { life(&head, 8) } else { life(&header, 16) };
        let mut before = (word(&header, 24), word(&header, 28));
        let mut page = vec![0; self.page_len];
        // Pages wait for the frame that commits them.
        let mut waiting: Vec<(u32, u64)> = Vec::new();
        let (mut bad, mut frame, mut is_sound) = (0, 0, !self.is_headless);
        while fills(&mut reader, &mut page)? {
            let at = page_at(frame, self.page_len);
            let stored = (word(&head, 16), word(&head, 20));
            let is_whole = life(&head, 8) == ours
                && (sum(&head, &page, before, is_big) == stored
                    || (self.is_headless && frame == 0));
            before = stored;
            frame += 1;
            if is_whole {
                // What is not whole before a whole one is damage, not the log's end.
                self.bad_frames += std::mem::take(&mut bad);
                waiting.push((word(&head, 0), at));
                if word(&head, 4) > 0 {
                    if is_sound {
                        self.sound_frames = frame;
                    }
                    self.pages.extend(waiting.drain(..));
                }
            } else {
                (bad, is_sound) = (bad + 1, false);
            }
            if !fills(&mut reader, &mut head)? {
                break;
            }
        }
        Ok(())
    }
}

impl<F> Log<F> {
    /// The pages that it brings.
    pub(super) fn numbers(&self) -> impl Iterator<Item = u32> {
        self.pages.keys().copied().filter(|number| *number > 0)
    }
}

/// Where the page of that frame lies; the first frame is 0.
fn page_at(frame: u64, page_len: usize) -> u64 {
    (HEADER_LEN + FRAME_LEN) as u64 + frame * (FRAME_LEN + page_len) as u64
}

/// Reads as many bytes as `into` takes; false where the file ends before.
fn fills(reader: &mut impl Read, into: &mut [u8]) -> io::Result<bool> {
    match reader.read_exact(into) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        read => read.map(|()| true),
    }
}

/// What sets one life of a log apart from the one before it.
fn life(bytes: &[u8], at: usize) -> (u32, u32) {
    (word(bytes, at), word(bytes, at + 4))
}

/// The checksum that a frame should have, going on from the one before it.
fn sum(head: &[u8], page: &[u8], before: Sum, is_big: bool) -> Sum {
    let summed = head.get(..8).unwrap_or_default();
    add(page, add(summed, before, is_big), is_big)
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
        sum(&self.summed, page, before, self.is_big) == self.sum
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
