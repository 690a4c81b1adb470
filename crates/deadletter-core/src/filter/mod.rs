//! One grammar to choose tasks by, for command line, API, page, alerts and operations.

use crate::{Cause, StateKind, Task, TaskId, UnixMs};

/// A conjunction of terms.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {}

/// The part of a filter that an index can answer; the rest is left to [`Filter::matches`].
///
/// Every set field narrows: a task outside the range never matches the filter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Range {
    /// Only these tasks.
    pub ids: Option<Vec<TaskId>>,
    /// Only these states.
    pub states: Option<Vec<StateKind>>,
    /// Only this cause, exactly.
    pub cause: Option<Cause>,
    /// Only this site key, exactly.
    pub sitekey: Option<String>,
    /// Only this batch, exactly.
    pub batch: Option<String>,
}

impl Filter {
    /// True where `task` is chosen; ages are measured at `now`.
    #[must_use]
    pub fn matches(&self, _task: &Task, _now: UnixMs) -> bool {
        true
    }

    /// What an index can answer.
    #[must_use]
    pub fn range(&self) -> Range {
        Range::default()
    }
}
