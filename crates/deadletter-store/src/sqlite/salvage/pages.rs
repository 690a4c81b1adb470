//! The pages of a damaged file, and the rows that lie in each, without asking what leads to them.
//!
//! After "B-tree Pages" and "Cell Payload Overflow Pages" of SQLite's documentation.

use super::record;
use crate::{
    Result,
    sqlite::{
        file::{beside, unavailable},
        log::Log,
        schema,
    },
};
use rusqlite::types::Value;
use std::{
    collections::HashSet,
    fs::{self, File},
    io::{Cursor, Read, Seek, SeekFrom},
    path::Path,
};

const PAGE_LEN: usize = schema::PAGE_LEN as usize;
/// Pages free for reuse that are believed: more than a file has are a ring.
const FREE_LIMIT: usize = 10_000_000;
/// A row longer than this is damage: requests and answers end far below.
const ROW_LIMIT: u64 = 64 << 20;

/// A row as it lies in a page.
#[derive(Debug)]
pub(super) struct Row {
    /// Its number, where its table has such.
    pub(super) id: Option<i64>,
    pub(super) columns: Vec<Value>,
}

/// A file with its log.
pub(super) struct Pages {
    file: File,
    length: u64,
    /// In memory: others may write on while the file is read, and what they change would be torn.
    log: Log<Cursor<Vec<u8>>>,
    free: HashSet<u32>,
}

/// What a page came to.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) rows: Vec<Row>,
    /// Cells that hold no row.
    pub(super) bad: u64,
}

impl Pages {
    /// Opens a file and its log for reading.
    pub(super) fn open(path: &Path) -> Result<Self> {
        let read = |e| unavailable("read", path, e);
        let file = File::open(path).map_err(read)?;
        let length = file.metadata().map_err(read)?.len();
        // A log that is not there brings nothing.
        let log = fs::read(beside(path, "-wal")).unwrap_or_default();
        let log = Log::read(Cursor::new(log), PAGE_LEN).map_err(read)?;
        let mut pages = Self { file, length, log, free: HashSet::new() };
        pages.free = pages.free_pages();
        Ok(pages)
    }

    /// Those that lie in the file or in its log, in their order.
    pub(super) fn numbers(&self) -> Vec<u32> {
        let in_file = u32::try_from(self.length.div_ceil(PAGE_LEN as u64)).unwrap_or(u32::MAX);
        let mut behind: Vec<u32> = self.log.numbers().filter(|number| *number > in_file).collect();
        behind.sort_unstable();
        (1..=in_file).chain(behind).collect()
    }

    /// How many pages the log's highest one says that there are. Without its header nothing proves
    /// that number, and none is told: garbage may say billions.
    pub(super) fn told(&self) -> u32 {
        if self.log.is_headless { 0 } else { self.log.numbers().max().unwrap_or(0) }
    }

    /// Frames of the log that are damaged.
    pub(super) const fn bad_frames(&self) -> u64 {
        self.log.bad_frames
    }

    /// True where the log's header cannot be read.
    pub(super) const fn is_log_headless(&self) -> bool {
        self.log.is_headless
    }

    /// The rows of a page: none where it holds none, or is free; an error in words where it cannot
    /// be read.
    pub(super) fn rows(&mut self, number: u32) -> std::result::Result<Found, &'static str> {
        if self.free.contains(&number) {
            return Ok(Found::default());
        }
        let page = self.page(number).ok_or("it is cut off")?;
        let start = if number == 1 { 100 } else { 0 };
        let header = page.get(start..start + 12).ok_or("it is cut off")?;
        let (cells_at, is_table) = match header {
            [0x0d, ..] => (start + 8, true),
            // An index that is a table too, or an index of a table.
            [0x0a, ..] => (start + 8, false),
            [0x02, ..] => (start + 12, false),
            // An inner page of a table holds no rows; overflow pages are read with their rows.
            _ => return Ok(Found::default()),
        };
        let is_inner = header.first() == Some(&0x02);
        let count = half(&page, start + 3);
        if cells_at + 2 * count > page.len() {
            return Err("its cells do not fit into it");
        }
        let mut found = Found::default();
        for cell in 0..count {
            let at = half(&page, cells_at + 2 * cell) + if is_inner { 4 } else { 0 };
            match self.row(&page, at, is_table) {
                Some(row) => found.rows.push(row),
                None => found.bad += 1,
            }
        }
        Ok(found)
    }

    fn row(&mut self, page: &[u8], at: usize, is_table: bool) -> Option<Row> {
        let cell = page.get(at..)?;
        let (length, used) = record::varint(cell)?;
        if length > ROW_LIMIT {
            return None;
        }
        let (id, used) = if is_table {
            let (id, more) = record::varint(cell.get(used..)?)?;
            (Some(id.cast_signed()), used + more)
        } else {
            (None, used)
        };
        let payload = self.payload(cell.get(used..)?, usize::try_from(length).ok()?, is_table)?;
        Some(Row { id, columns: record::read(&payload)? })
    }

    /// The bytes of a row: those in its page, then those of its overflow pages.
    fn payload(&mut self, cell: &[u8], length: usize, is_table: bool) -> Option<Vec<u8>> {
        let usable = PAGE_LEN;
        let most = if is_table { usable - 35 } else { (usable - 12) * 64 / 255 - 23 };
        if length <= most {
            return cell.get(..length).map(<[u8]>::to_vec);
        }
        let least = (usable - 12) * 32 / 255 - 23;
        let fits = least + (length - least) % (usable - 4);
        let local = if fits <= most { fits } else { least };
        let mut payload = cell.get(..local)?.to_vec();
        let mut next = be_u32(cell, local)?;
        while payload.len() < length {
            // Page 0 ends the chain; a chain that goes on for ever is longer than the row.
            let page = self.page(next).filter(|_| next > 0)?;
            next = be_u32(&page, 0)?;
            let take = (length - payload.len()).min(usable - 4);
            payload.extend_from_slice(page.get(4..4 + take)?);
        }
        Some(payload)
    }

    fn page(&mut self, number: u32) -> Option<Vec<u8>> {
        if let Some(page) = self.log.page(number).ok()? {
            return Some(page);
        }
        let at = u64::from(number.checked_sub(1)?) * PAGE_LEN as u64;
        if at >= self.length {
            return None;
        }
        let mut page = vec![0; PAGE_LEN];
        self.file.seek(SeekFrom::Start(at)).ok()?;
        // A sector that cannot be read is a page that cannot; one that is cut off too.
        self.file.read_exact(&mut page).ok()?;
        Some(page)
    }

    /// Pages that wait for reuse: what lies in them was deleted.
    fn free_pages(&mut self) -> HashSet<u32> {
        let mut free = HashSet::new();
        let Some(first) = self.page(1) else { return free };
        let mut trunk = be_u32(&first, 32).unwrap_or(0);
        while trunk > 0 && free.len() < FREE_LIMIT && free.insert(trunk) {
            let Some(page) = self.page(trunk) else { break };
            let leaves = be_u32(&page, 4).unwrap_or(0).min(PAGE_LEN as u32 / 4 - 2);
            let leaf = |n: u32| be_u32(&page, 8 + 4 * n as usize);
            free.extend((0..leaves).filter_map(leaf));
            trunk = be_u32(&page, 0).unwrap_or(0);
        }
        free
    }
}

fn half(page: &[u8], at: usize) -> usize {
    let bytes = page.get(at..at + 2).and_then(|bytes| bytes.try_into().ok());
    bytes.map_or(0, |bytes| usize::from(u16::from_be_bytes(bytes)))
}

fn be_u32(page: &[u8], at: usize) -> Option<u32> {
    page.get(at..at + 4)?.try_into().ok().map(u32::from_be_bytes)
}
