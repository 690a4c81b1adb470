//! Texts with the one character that PostgreSQL's text cannot hold.
//!
//! U+0000 may stand in whatever others choose: a site key, an owner, an answer. It is written as
//! two characters, of which the first, U+001A, stands in no text that anybody writes; where it
//! does, it is doubled. All other texts are stored as they are.

use std::borrow::Cow;

/// SUBSTITUTE: ASCII's own character for one that cannot be represented.
const MARK: char = '\u{1a}';

/// The text as it is stored.
pub(super) fn escaped(text: &str) -> String {
    if !text.bytes().any(|byte| matches!(byte, 0 | 0x1a)) {
        return text.to_owned();
    }
    let mut out = String::with_capacity(text.len() + 1);
    for c in text.chars() {
        match c {
            '\0' => out.extend([MARK, '0']),
            MARK => out.extend([MARK, MARK]),
            c => out.push(c),
        }
    }
    out
}

/// The text that was stored so.
pub(super) fn plain(stored: &str) -> Cow<'_, str> {
    if !stored.contains(MARK) {
        return stored.into();
    }
    let mut out = String::with_capacity(stored.len());
    let mut chars = stored.chars();
    while let Some(c) = chars.next() {
        match c {
            MARK => out.push(chars.next().filter(|c| *c == MARK).unwrap_or('\0')),
            c => out.push(c),
        }
    }
    out.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_text_comes_back_from_one_without_nul(text in "[\\x00\\x1a0aé]{0,8}") {
            let stored = escaped(&text);
            prop_assert!(!stored.contains('\0'));
            prop_assert_eq!(plain(&stored), text);
        }
    }
}
