//! JavaScript's queue: a file that each change rewrites in place.

use super::{Entry, Queue};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// The queue and its file.
#[derive(Debug)]
pub(crate) struct JsFile {
    path: PathBuf,
    entries: Vec<Value>,
}

impl JsFile {
    /// Loads the file; whatever goes wrong, the queue is empty.
    pub(crate) fn load(path: &Path) -> Self {
        let text = std::fs::read_to_string(path).unwrap_or_default();
        let entries = serde_json::from_str(&text).unwrap_or_default();
        Self { path: path.to_owned(), entries }
    }

    fn save(&self) {
        let text = serde_json::to_string_pretty(&self.entries).expect("plain values");
        std::fs::write(&self.path, text).expect("the test's directory can be written");
    }
}

impl Queue for JsFile {
    fn push(&mut self, entry: Entry) {
        self.entries.push(json!({
            "sitekey": entry.sitekey, "pageurl": entry.page_url, "error": entry.error,
            "attempts": entry.attempts, "timestamp": 1_750_000_000_250_u64,
        }));
        self.save();
    }

    fn pop(&mut self) -> Option<Entry> {
        if self.entries.is_empty() {
            return None;
        }
        let first = self.entries.remove(0);
        self.save();
        let text = |name: &str| first[name].as_str().unwrap_or_default().to_owned();
        Some(Entry {
            sitekey: text("sitekey"),
            page_url: text("pageurl"),
            error: text("error"),
            attempts: first["attempts"].as_u64().unwrap_or_default() as u32,
        })
    }

    fn len(&self) -> usize {
        self.entries.len()
    }
}
