//! The request log: what came, what was answered, what it cost.

use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use serde::Serialize;

use crate::error::{Error, Result};

/// Longest text of a request that the log keeps, bytes; longer ones are cut at the end.
const LONGEST_TEXT: usize = 2_048;

/// One request and its answer; a line of the log file.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Entry {
    /// Counts up from 1 in the order of treatment.
    pub seq: u64,
    /// Virtual milliseconds.
    pub at_ms: i64,
    /// Unix milliseconds of the real clock.
    pub real_at_ms: i64,
    /// GET or POST.
    pub verb: String,
    /// `/in.php` or `/res.php`, or what was asked for instead.
    pub path: String,
    /// `submit`, `poll`, `account`, `report`, `other`.
    pub phase: &'static str,
    /// `method` of a submit.
    pub method: Option<String>,
    /// `action` of a question.
    pub action: Option<String>,
    /// Page URL of the submit; for a poll, of its job.
    pub pageurl: Option<String>,
    /// Site key of the submit; for a poll, of its job.
    pub sitekey: Option<String>,
    /// The job's id: the one created by a submit, the one asked for by a poll.
    pub id: Option<String>,
    /// The last four characters of the key.
    pub key_tail: Option<String>,
    /// What the client was told: `OK`, `CAPCHA_NOT_READY`, a code, `HTML_502`, `RESET`, `HANG`, ...
    pub answered: String,
    /// The HTTP status; 0 when there is no answer.
    pub status: u16,
    /// The scripted fault or outage that was applied.
    pub fault: Option<String>,
    /// Whether this request created a job: the submits that cost something.
    pub paid: bool,
    /// Whether this poll gave the job's solved answer away.
    pub delivered: bool,
    /// Open jobs of the key after this request.
    pub open_jobs: usize,
}

/// A copy of the log at one moment, with questions to ask of it.
#[derive(Debug, Clone, Default)]
pub struct Records {
    entries: Vec<Arc<Entry>>,
    dropped: u64,
}

impl Records {
    /// All entries in order, as far as memory kept them.
    pub fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter().map(Arc::as_ref)
    }

    /// How many of the oldest entries fell out of memory. When it is not 0 the counts below are
    /// too low, and [`Stats`](crate::Stats) or the log file must be asked.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Submits for this page URL, whatever came of them.
    pub fn submits_of(&self, pageurl: &str) -> Vec<&Entry> {
        self.entries()
            .filter(|entry| entry.phase == "submit" && entry.pageurl.as_deref() == Some(pageurl))
            .collect()
    }

    /// Submits that created a job.
    pub fn paid(&self) -> Vec<&Entry> {
        self.entries().filter(|entry| entry.paid).collect()
    }

    /// Submits for this page URL that created a job.
    pub fn paid_for(&self, pageurl: &str) -> Vec<&Entry> {
        self.submits_of(pageurl).into_iter().filter(|entry| entry.paid).collect()
    }

    /// Polls of this id.
    pub fn polls_of(&self, id: &str) -> Vec<&Entry> {
        self.entries()
            .filter(|entry| entry.phase == "poll" && entry.id.as_deref() == Some(id))
            .collect()
    }

    /// Entries to which this fault or outage was applied.
    pub fn with_fault(&self, label: &str) -> Vec<&Entry> {
        self.entries().filter(|entry| entry.fault.as_deref() == Some(label)).collect()
    }
}

/// The log of a running simulator.
#[derive(Debug)]
pub(crate) struct Log {
    kept: VecDeque<Arc<Entry>>,
    most: usize,
    dropped: u64,
    next_seq: u64,
    file: Option<File>,
}

impl Log {
    pub(crate) fn open(most: usize, path: Option<&Path>) -> Result<Self> {
        let open = |path: &Path| {
            OpenOptions::new()
                .create(true)
                .append(true)
                .open(path)
                .map_err(|source| Error::LogFile { path: path.display().to_string(), source })
        };
        let file = path.map(open).transpose()?;
        Ok(Self { kept: VecDeque::new(), most: most.max(1), dropped: 0, next_seq: 1, file })
    }

    /// Numbers and keeps an entry. The file has it when this returns: one unbuffered write, so
    /// that a client that saw the answer finds the line, even when one of the two is killed.
    pub(crate) fn write(&mut self, mut entry: Entry) -> std::io::Result<()> {
        entry.seq = self.next_seq;
        self.next_seq += 1;
        let written = match &mut self.file {
            None => Ok(()),
            Some(file) => {
                let mut line = serde_json::to_vec(&entry)?;
                line.push(b'\n');
                file.write_all(&line)
            }
        };
        if self.kept.len() >= self.most {
            self.kept.pop_front();
            self.dropped += 1;
        }
        self.kept.push_back(Arc::new(entry));
        written
    }

    pub(crate) fn copy(&self) -> Records {
        Records { entries: self.kept.iter().cloned().collect(), dropped: self.dropped }
    }

    pub(crate) fn dropped(&self) -> u64 {
        self.dropped
    }

    /// The last `n` entries as lines of JSON.
    pub(crate) fn tail(&self, n: usize) -> String {
        let first = self.kept.len().saturating_sub(n);
        let lines = self.kept.iter().skip(first);
        lines.filter_map(|entry| serde_json::to_string(entry.as_ref()).ok()).fold(
            String::new(),
            |mut text, line| {
                text.push_str(&line);
                text.push('\n');
                text
            },
        )
    }
}

/// A text of the request, cut to what the log keeps.
pub(crate) fn kept_text(text: &str) -> String {
    let mut end = text.len().min(LONGEST_TEXT);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default().to_owned()
}
