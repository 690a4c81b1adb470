//! Texts with wildcards.

use super::Key;
use crate::{Cause, cause::folded};

/// A character of a value as it was written: itself, or the wildcard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Piece {
    Char(char),
    Star,
}

/// A text with wildcards: the parts between them, one part where there is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pattern {
    parts: Vec<Box<str>>,
}

impl Pattern {
    /// The pattern that only this text matches.
    pub(super) fn exactly(text: &str) -> Self {
        Self { parts: vec![text.into()] }
    }

    /// The pattern that was written for `key`, in the spelling that the key's texts are kept in.
    pub(super) fn of(key: Key, pieces: &[Piece]) -> Self {
        let mut parts: Vec<String> = pieces
            .split(|piece| *piece == Piece::Star)
            .map(|part| {
                part.iter()
                    .filter_map(|piece| match piece {
                        Piece::Char(c) => Some(*c),
                        Piece::Star => None,
                    })
                    .collect()
            })
            .collect();
        // Two wildcards side by side are one: only the outer parts may be empty.
        let last = parts.len().saturating_sub(1);
        let mut at = 0;
        parts.retain(|part| {
            let keep = !part.is_empty() || at == 0 || at == last;
            at += 1;
            keep
        });
        let is_exact = parts.len() == 1;
        Self { parts: parts.iter().map(|part| spelled(key, part, is_exact).into()).collect() }
    }

    /// The only text that matches, where there is no wildcard.
    pub(super) fn exact(&self) -> Option<&str> {
        match self.parts.as_slice() {
            [only] => Some(only),
            _ => None,
        }
    }

    pub(super) fn parts(&self) -> &[Box<str>] {
        &self.parts
    }

    /// True where the parts follow each other in `text`, the outer ones at its ends.
    pub(super) fn matches(&self, text: &str) -> bool {
        match self.parts.as_slice() {
            [] => false,
            [only] => text == &**only,
            [first, middle @ .., last] => {
                let inner = text.strip_prefix(&**first).and_then(|rest| rest.strip_suffix(&**last));
                let Some(mut rest) = inner else { return false };
                // The leftmost place is always good enough: it leaves most room for the next part.
                for part in middle {
                    let Some((_, behind)) = rest.split_once(&**part) else { return false };
                    rest = behind;
                }
                true
            }
        }
    }
}

/// How `part` is spelled where texts of `key` have one spelling only.
fn spelled(key: Key, part: &str, is_exact: bool) -> String {
    match key {
        Key::Cause if is_exact => Cause::new(part).as_str().to_owned(),
        Key::Cause => part.chars().map(folded).collect(),
        Key::Host => part.to_ascii_lowercase(),
        _ => part.to_owned(),
    }
}
