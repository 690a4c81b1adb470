//! A progress bar on standard error.

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use std::borrow::Cow;

/// A bar with a line of words behind it.
#[derive(Debug)]
pub(crate) struct Bar(ProgressBar);

impl Bar {
    pub(super) fn new(bars: Option<&MultiProgress>, total: usize) -> Self {
        let Some(bars) = bars else { return Self(ProgressBar::hidden()) };
        let bar = bars.add(ProgressBar::new(total as u64));
        // A template of ours that did not parse would be found by the first run.
        let style = ProgressStyle::with_template("{bar:10} {pos}/{len} {wide_msg}")
            .unwrap_or_else(|_| ProgressStyle::default_bar());
        bar.set_style(style);
        Self(bar)
    }

    /// True where nobody sees it.
    pub(crate) fn is_hidden(&self) -> bool {
        self.0.is_hidden()
    }

    /// Shows `done` steps and the words.
    pub(crate) fn draw(&self, done: usize, words: impl Into<Cow<'static, str>>) {
        self.0.set_message(words);
        self.0.set_position(done as u64);
    }

    /// It has that many steps after all.
    pub(crate) fn set_total(&self, total: usize) {
        self.0.set_length(total as u64);
    }

    /// Takes it away.
    pub(crate) fn clear(&self) {
        self.0.finish_and_clear();
    }
}

impl Drop for Bar {
    /// Whatever ended its work: what is said next does not stand behind half a bar.
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
