//! Python's queue: a deque in memory that holds at most 1,000 entries.

use super::{Entry, Queue};
use serde_json::json;
use std::collections::VecDeque;

/// `deque(maxlen=1000)`.
pub(crate) const MOST: usize = 1_000;

/// The deque.
#[derive(Debug, Default)]
pub(crate) struct PythonDeque(VecDeque<Entry>);

impl Queue for PythonDeque {
    fn push(&mut self, entry: Entry) {
        if self.0.len() == MOST {
            self.0.pop_front();
        }
        self.0.push_back(entry);
    }

    fn pop(&mut self) -> Option<Entry> {
        self.0.pop_front()
    }

    fn len(&self) -> usize {
        self.0.len()
    }
}

impl PythonDeque {
    /// What is in it, first in first.
    pub(crate) fn peek_all(&self) -> Vec<Entry> {
        self.0.iter().cloned().collect()
    }

    /// The export: a list, indented; seconds, and a task id that nobody sets.
    pub(crate) fn export_json(&self) -> String {
        let entries: Vec<_> = self
            .0
            .iter()
            .map(|entry| {
                json!({
                    "sitekey": entry.sitekey, "page_url": entry.page_url, "error": entry.error,
                    "attempts": entry.attempts, "timestamp": 1_750_000_000.25, "task_id": null,
                })
            })
            .collect();
        serde_json::to_string_pretty(&entries).expect("plain values")
    }
}
