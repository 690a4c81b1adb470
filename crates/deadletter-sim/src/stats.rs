//! Totals of a run; unlike the request log they are never cut.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::record::Entry;

/// Totals since the start.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Stats {
    /// Virtual milliseconds.
    pub at_ms: i64,
    /// Virtual time runs so many times faster than real time.
    pub speed: f64,
    /// Requests on all paths but the admin door's.
    pub requests: u64,
    /// Requests to in.php.
    pub submits: u64,
    /// Submits that created a job.
    pub paid: u64,
    /// Requests to res.php with `get` or `get2`.
    pub polls: u64,
    /// Polls that gave a solved answer away.
    pub delivered: u64,
    /// Open jobs of all keys now: at work or in upstream's queue.
    pub open_jobs: usize,
    /// The most open jobs that one key ever had at once.
    pub peak_threads: usize,
    /// Jobs whose ids are known now.
    pub jobs: usize,
    /// Connections accepted.
    pub connections: u64,
    /// Connections reset because too many were open.
    pub connections_refused: u64,
    /// What was answered, by the words of the log; words past the limit count as `other`.
    pub answered: BTreeMap<String, u64>,
    /// Faults and outages applied, by name.
    pub faults: BTreeMap<String, u64>,
    /// Log entries that fell out of memory.
    pub log_dropped: u64,
    /// The outage that is on now.
    pub outage: Option<&'static str>,
}

/// Different words counted; codes come from the scenario, so a handful is normal.
const MOST_WORDS: usize = 200;

impl Stats {
    pub(crate) fn count(&mut self, entry: &Entry) {
        self.requests += 1;
        self.submits += u64::from(entry.phase == "submit");
        self.polls += u64::from(entry.phase == "poll");
        self.paid += u64::from(entry.paid);
        self.delivered += u64::from(entry.delivered);
        self.peak_threads = self.peak_threads.max(entry.open_jobs);
        count_word(&mut self.answered, &entry.answered);
        if let Some(fault) = &entry.fault {
            count_word(&mut self.faults, fault);
        }
    }
}

fn count_word(words: &mut BTreeMap<String, u64>, word: &str) {
    let word = if words.len() < MOST_WORDS || words.contains_key(word) { word } else { "other" };
    *words.entry(word.to_owned()).or_default() += 1;
}
