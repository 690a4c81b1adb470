//! One grammar to choose tasks by, for command line, API, page, alerts and operations.
//!
//! ```text
//! state:dead cause:TIMEOUT sitekey:6Le* host:example.com age:<24h attempts:>=4 -batch:nightly
//! ```
//!
//! Terms are joined by AND. Values of one term, parted by commas, are joined by OR. `*` stands for
//! any text, anywhere in a value. A leading `-` negates a term. Numbers and ages are compared with
//! `<` `<=` `>` `>=` `=`; ages need a unit (`ms`, `s`, `m`, `h`, `d`). Quotes hold spaces and
//! commas together; a backslash takes the next character as it is, in quotes too. `*` alone, or
//! nothing, chooses every task. [`Key`] lists the keys and what they look at.
//!
//! What this does not do: there is no OR between terms and no parenthesis. A filter that needs
//! them is two filters.

mod compare;
mod error;
mod key;
mod parse;
mod pattern;
mod range;
mod show;
mod term;
#[cfg(test)]
mod tests;

pub use error::FilterError;
pub use key::Key;
pub use range::Range;

use crate::{Cause, StateKind, Task, TaskId, UnixMs};
use pattern::Pattern;
use serde::{Deserialize, Serialize};
use term::{Term, Values};

/// Most terms of a filter: far above what a person writes, and a bound on the cost per task.
pub const MAX_TERMS: usize = 64;
/// Most values of a term, unless it lists ids.
pub const MAX_VALUES: usize = 256;
/// Most ids of a term: a page's selection, or the rows of a file.
pub const MAX_IDS: usize = 10_000;
/// Longest value in bytes: the longest names that tasks carry are 200.
pub const MAX_VALUE_BYTES: usize = 512;
/// Longest filter in bytes: `MAX_IDS` ids of 16 digits with commas, and as much again to spare.
pub const MAX_BYTES: usize = 256 * 1024;

/// A conjunction of terms.
///
/// Its text form (`Display`) is canonical and parses back to the same filter; it is also how a
/// filter is serialised.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Filter {
    terms: Vec<Term>,
}

impl Filter {
    /// Every task.
    #[must_use]
    pub const fn all() -> Self {
        Self { terms: Vec::new() }
    }

    /// These tasks; at least one, at most [`MAX_IDS`].
    pub fn ids(ids: impl IntoIterator<Item = TaskId>) -> Result<Self, FilterError> {
        let mut ids: Vec<TaskId> = ids.into_iter().take(MAX_IDS + 1).collect();
        if ids.is_empty() {
            return Err(FilterError::no_ids());
        }
        if ids.len() > MAX_IDS {
            return Err(FilterError::too_many_ids());
        }
        ids.sort_unstable();
        ids.dedup();
        Ok(Self::of(Key::Id, Values::Ids(ids)))
    }

    /// The tasks that stand in one of these states; an empty list chooses none.
    #[must_use]
    pub fn states(states: &[StateKind]) -> Self {
        if states.is_empty() {
            // A state and its negation: the grammar's way to say "none".
            let solved = Values::States(vec![StateKind::Solved]);
            let mut none = Self::of(Key::State, solved.clone());
            none.terms.push(Term { negated: true, key: Key::State, values: solved });
            return none;
        }
        let mut states = states.to_vec();
        states.sort_unstable();
        states.dedup();
        Self::of(Key::State, Values::States(states))
    }

    /// The tasks whose last failure has this cause.
    #[must_use]
    pub fn cause(cause: &Cause) -> Self {
        Self::of(Key::Cause, Values::Texts(vec![Pattern::exactly(cause.as_str())]))
    }

    /// The tasks of this batch.
    pub fn batch(batch: &str) -> Result<Self, FilterError> {
        Self::text(Key::Batch, batch)
    }

    /// The tasks of this owner.
    pub fn owner(owner: &str) -> Result<Self, FilterError> {
        Self::text(Key::Owner, owner)
    }

    /// The tasks that both filters choose; an error where that exceeds the limits of a filter.
    pub fn and(&self, other: &Self) -> Result<Self, FilterError> {
        let mut terms = self.terms.clone();
        for term in &other.terms {
            if !terms.contains(term) {
                terms.push(term.clone());
            }
        }
        Self::within_limits(terms)
    }

    /// True where every task is chosen because there is no term.
    #[must_use]
    pub const fn is_all(&self) -> bool {
        self.terms.is_empty()
    }

    /// True where some term looks at `key`.
    #[must_use]
    pub fn mentions(&self, key: Key) -> bool {
        self.terms.iter().any(|term| term.key == key)
    }

    /// True where `task` is chosen; ages are measured at `now`.
    #[must_use]
    pub fn matches(&self, task: &Task, now: UnixMs) -> bool {
        self.terms.iter().all(|term| term.matches(task, now))
    }

    fn of(key: Key, values: Values) -> Self {
        Self { terms: vec![Term { negated: false, key, values }] }
    }

    fn text(key: Key, text: &str) -> Result<Self, FilterError> {
        if text.len() > MAX_VALUE_BYTES {
            return Err(FilterError::long_value(key));
        }
        Ok(Self::of(key, Values::Texts(vec![Pattern::exactly(text)])))
    }

    fn within_limits(terms: Vec<Term>) -> Result<Self, FilterError> {
        if terms.len() > MAX_TERMS {
            return Err(FilterError::too_many_terms());
        }
        let filter = Self { terms };
        // The canonical text can be a little longer than what was read, and must be readable too.
        if filter.to_string().len() > MAX_BYTES {
            return Err(FilterError::too_long());
        }
        Ok(filter)
    }
}

impl TryFrom<String> for Filter {
    type Error = FilterError;
    fn try_from(text: String) -> Result<Self, FilterError> {
        text.parse()
    }
}

impl From<Filter> for String {
    fn from(filter: Filter) -> Self {
        filter.to_string()
    }
}
