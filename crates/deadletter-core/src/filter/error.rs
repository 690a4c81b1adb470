//! Why a text is not a filter, and what to write instead.

use super::{Key, MAX_BYTES, MAX_IDS, MAX_TERMS, MAX_VALUE_BYTES};

/// Longest piece of a term that a message repeats, in characters.
const SHOWN_CHARS: usize = 80;

/// Why a text is not a filter.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FilterError {
    /// One term cannot be understood.
    #[error("{what} in `{term}` at character {position}: {fix}")]
    Term {
        /// The term as it was written, cut to 80 characters.
        term: String,
        /// Where the term begins, in characters, from 1.
        position: usize,
        /// What is wrong with it.
        what: String,
        /// What to write instead.
        fix: String,
    },
    /// The filter exceeds a limit.
    #[error("the filter {what}: {fix}")]
    TooLarge {
        /// Which limit.
        what: String,
        /// What to do instead.
        fix: &'static str,
    },
    /// A list of ids without an id.
    #[error("the filter names no task: give at least one id, or leave the ids out to choose all")]
    NoIds,
}

impl FilterError {
    /// What is wrong with one term, and what to write instead.
    pub(super) fn term(
        (position, term): (usize, &str),
        what: impl Into<String>,
        fix: impl Into<String>,
    ) -> Self {
        let term = term.chars().take(SHOWN_CHARS).collect();
        Self::Term { term, position, what: what.into(), fix: fix.into() }
    }

    pub(super) const fn no_ids() -> Self {
        Self::NoIds
    }

    pub(super) fn too_many_ids() -> Self {
        Self::TooLarge {
            what: format!("names more than {MAX_IDS} ids"),
            fix: "split the ids over several filters",
        }
    }

    pub(super) fn too_many_terms() -> Self {
        Self::TooLarge {
            what: format!("has more than {MAX_TERMS} terms"),
            fix: "join values of one key by commas, as in cause:A,B",
        }
    }

    pub(super) fn long_value(key: Key) -> Self {
        Self::TooLarge {
            what: format!("has a {key} of more than {MAX_VALUE_BYTES} bytes"),
            fix: "shorten it, with * for the rest",
        }
    }

    pub(super) fn too_long() -> Self {
        Self::TooLarge {
            what: format!("is longer than {MAX_BYTES} bytes"),
            fix: "split it into several filters",
        }
    }
}

/// The candidate nearest to `word`, where one is near enough to be a slip of the fingers.
pub(super) fn nearest<'a>(
    word: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let word: String = word.chars().take(SHOWN_CHARS).collect();
    // A third of the letters, and at least one: "cuase" is cause, "x" is nothing.
    let slips = (word.chars().count() / 3).max(1);
    candidates
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(&word, candidate), candidate))
        .filter(|(distance, _)| *distance <= slips)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}
