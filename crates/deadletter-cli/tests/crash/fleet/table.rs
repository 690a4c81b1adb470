//! What came after each blow, as Markdown: `scripts/chaos --write` puts it into docs/reliability.md,
//! and each run looks whether the document tells of every blow.

use super::pace::Pace;
use crate::marked::parts;
use std::fmt::{self, Display, Formatter};
use std::path::{Path, PathBuf};

/// What came after one blow, in microseconds from it.
pub(super) struct After {
    pub(super) blow: String,
    /// When a worker was declared dead because of it.
    pub(super) declared: Option<u64>,
    pub(super) first: u64,
    /// Since when answers came in as before; not known where nobody has measured.
    pub(super) back: Option<u64>,
}

/// Seconds, or that it is not known.
fn seconds(us: Option<u64>) -> String {
    us.map_or_else(|| "-".to_owned(), |us| format!("{:.1} s", us as f64 / 1e6))
}

impl Display for After {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { blow, declared, first, back } = self;
        let (first, back) = (seconds(Some(*first)), seconds(*back));
        write!(f, "| {blow} | {} | {first} | {back} |", seconds(*declared))
    }
}

/// All of a run.
#[derive(Default)]
pub(super) struct Table {
    lines: Vec<After>,
    pace: Option<Pace>,
}

impl Table {
    pub(super) fn push(&mut self, after: After) {
        self.lines.push(after);
    }

    /// Names the pace that it was measured against.
    pub(super) fn of_pace(self, pace: Option<Pace>) -> Self {
        Self { pace, ..self }
    }

    fn drawn(&self, closing: &str) -> String {
        let head =
            "| After | declared dead | first answer | as fast as before |\n|---|---|---|---|";
        let lines: Vec<_> = self.lines.iter().map(ToString::to_string).collect();
        let pace = self.pace.map_or_else(String::new, |pace| {
            format!("{:.1} answers a second before the first blow; ", pace.per_second())
        });
        format!("{head}\n{}\n\n{pace}{closing}", lines.join("\n"))
    }

    /// Puts it in the place of the one that stands there.
    pub(super) fn write(&self, name: &str, closing: &str) {
        let text = std::fs::read_to_string(document()).expect("a document");
        let (before, _, behind) = parts(&text, name).expect("marks around the table");
        let text = format!("{before}\n\n{}\n\n{behind}", self.drawn(closing));
        std::fs::write(document(), text).expect("written");
    }

    /// Whether the document tells of these blows: numbers vary.
    pub(super) fn is_told(&self, name: &str) -> bool {
        let text = std::fs::read_to_string(document()).expect("a document");
        let blows = |text: &str| -> Vec<String> {
            let lines = text.lines().filter(|line| line.starts_with('|')).skip(2);
            let cells = lines.filter_map(|line| line.split('|').nth(1));
            cells.map(|cell| cell.trim().to_owned()).collect()
        };
        parts(&text, name).is_some_and(|(_, stands, _)| blows(stands) == blows(&self.drawn("")))
    }
}

fn document() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reliability.md")
}
