//! The article's algorithm, to be seen failing: solve with retries, queue what failed, drain.
//!
//! Its steps are kept as they are published, with one addition: a drain that never ends is stopped
//! after so many rounds. Its sleeps are divided by a pace.

mod javascript;
mod line;
mod python;
mod script;

pub(crate) use javascript::JsFile;
pub(crate) use python::PythonDeque;
pub(crate) use script::{Script, drain, solve};

/// What the article's queues keep of a failed task.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Entry {
    pub(crate) sitekey: String,
    pub(crate) page_url: String,
    /// The text of the exception.
    pub(crate) error: String,
    pub(crate) attempts: u32,
}

/// A queue of failed tasks.
pub(crate) trait Queue {
    /// Adds at the end.
    fn push(&mut self, entry: Entry);
    /// Takes the first.
    fn pop(&mut self) -> Option<Entry>;
    /// How many there are.
    fn len(&self) -> usize;
}
