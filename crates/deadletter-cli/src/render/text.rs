//! Words and characters: cleaning hostile text, cutting it, counts, durations, ages.

use deadletter::core::UnixMs;
use jiff::Timestamp;
use std::fmt::Display;

/// Which characters pictures are drawn with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Glyphs {
    /// Blocks and lines.
    Unicode,
    /// For terminals and files that know nothing else.
    Ascii,
}

impl Glyphs {
    /// What the locale, read through `variable`, allows.
    pub(crate) fn for_locale<'a>(variable: impl Fn(&str) -> Option<&'a str>) -> Self {
        let locale = ["LC_ALL", "LC_CTYPE", "LANG"]
            .into_iter()
            .find_map(|name| variable(name).filter(|value| !value.is_empty()))
            .unwrap_or_default()
            .to_ascii_uppercase();
        if locale.contains("UTF-8") || locale.contains("UTF8") {
            Self::Unicode
        } else {
            Self::Ascii
        }
    }
}

/// `text` without control characters and without marks that turn the writing direction: it may
/// come from upstream or from a file, and is shown on a terminal.
pub(crate) fn plain(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}') {
            out.extend(c.escape_default());
        } else {
            out.push(c);
        }
    }
    out
}

/// `text` cut to `chars` characters, the last of them an ellipsis where something is missing.
pub(crate) fn cut(text: &str, chars: usize) -> String {
    if text.chars().count() <= chars {
        return text.to_owned();
    }
    let mut out: String = text.chars().take(chars.saturating_sub(1)).collect();
    out.push('…');
    out
}

/// A count with its thousands apart: `1,234,567`.
pub(crate) fn count(n: i64) -> String {
    let digits = n.unsigned_abs().to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3 + 1);
    for (at, digit) in (0..).zip(digits.chars()) {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    if n < 0 { format!("-{out}") } else { out }
}

/// How many of what: `1 task`, `2 tasks`. The words may go on with a verb that agrees.
pub(crate) fn counted(n: impl TryInto<u64> + Display, one: &str, many: &str) -> String {
    let shown = n.to_string();
    let is_one = n.try_into().is_ok_and(|n| n == 1);
    format!("{shown} {}", if is_one { one } else { many })
}

/// A duration with its two largest units: `450 ms`, `3.2 s`, `2 m 5 s`, `3 d 4 h`.
pub(crate) fn duration(ms: i64) -> String {
    let (s, m, h, d) = (ms / 1_000, ms / 60_000, ms / 3_600_000, ms / 86_400_000);
    match ms {
        ..0 => format!("-{}", duration(ms.saturating_neg())),
        0..1_000 => format!("{ms} ms"),
        1_000..10_000 => format!("{s}.{} s", ms % 1_000 / 100),
        10_000..60_000 => format!("{s} s"),
        60_000..3_600_000 => format!("{m} m {} s", s % 60),
        3_600_000..86_400_000 => format!("{h} h {} m", m % 60),
        _ => format!("{d} d {} h", h % 24),
    }
}

/// Milliseconds of a time that a person wrote: `90s`, `5m`, `2h 30m`.
pub(crate) fn duration_ms(text: &str) -> Result<i64, String> {
    let ms = text.parse::<jiff::SignedDuration>().map(|time| time.as_millis());
    match ms.map(i64::try_from) {
        Ok(Ok(ms)) if ms > 0 => Ok(ms),
        _ => Err("it is a time such as 90s, 5m or 2h".to_owned()),
    }
}

/// How long ago `at` was, in its largest unit: `now`, `5 m ago`, `in 3 h`.
pub(crate) fn ago(at: UnixMs, now: UnixMs) -> String {
    let ms = now.since(at);
    let far = match ms.saturating_abs() {
        0..1_000 => return "now".to_owned(),
        far @ 1_000..60_000 => format!("{} s", far / 1_000),
        far @ 60_000..3_600_000 => format!("{} m", far / 60_000),
        far @ 3_600_000..172_800_000 => format!("{} h", far / 3_600_000),
        far => format!("{} d", far / 86_400_000),
    };
    if ms < 0 { format!("in {far}") } else { format!("{far} ago") }
}

/// An instant in UTC, as RFC 3339 with milliseconds.
pub(crate) fn instant(at: UnixMs) -> String {
    Timestamp::from_millisecond(at.0).map_or_else(|_| at.to_string(), |time| format!("{time:.3}"))
}

/// An instant in UTC to the second: for columns.
pub(crate) fn second(at: UnixMs) -> String {
    Timestamp::from_millisecond(at.0).map_or_else(|_| at.to_string(), |time| format!("{time:.0}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_text_cannot_move_the_cursor_or_turn_the_line() {
        assert_eq!(plain("a\u{1b}[2Jb\u{202e}c\n"), "a\\u{1b}[2Jb\\u{202e}c\\n");
        assert_eq!(plain("Grüße"), "Grüße");
    }

    #[test]
    fn counts_durations_and_ages_read_as_people_say_them() {
        assert_eq!([0, 999, 1_000, -1_234_567].map(count), ["0", "999", "1,000", "-1,234,567"]);
        assert_eq!(
            [450, 3_240, 59_000, 125_000, 3_720_000, 273_600_000].map(duration),
            ["450 ms", "3.2 s", "59 s", "2 m 5 s", "1 h 2 m", "3 d 4 h"]
        );
        let now = UnixMs(1_800_000_000_000);
        assert_eq!(ago(now.plus(-300_000), now), "5 m ago");
        assert_eq!(ago(now.plus(300_000), now), "in 5 m");
        assert_eq!(instant(UnixMs(1_767_225_600_123)), "2026-01-01T00:00:00.123Z");
        assert_eq!(second(UnixMs(1_767_225_600_999)), "2026-01-01T00:00:00Z");
    }

    #[test]
    fn one_is_never_many() {
        let tasks = |n: i64| counted(n, "task is stored", "tasks are stored");
        assert_eq!(
            [0, 1, 2, -1].map(tasks),
            ["0 tasks are stored", "1 task is stored", "2 tasks are stored", "-1 tasks are stored"]
        );
    }

    #[test]
    fn a_cut_text_is_never_longer_than_asked() {
        assert_eq!(cut("abcdef", 4), "abc…");
        assert_eq!(cut("abcd", 4), "abcd");
        assert_eq!(cut("abcd", 0).chars().count(), 1);
    }

    #[test]
    fn glyphs_follow_the_locale() {
        let locale =
            |value: &'static str| Glyphs::for_locale(|name| (name == "LANG").then_some(value));
        assert_eq!(locale("de_DE.UTF-8"), Glyphs::Unicode);
        assert_eq!(locale("C"), Glyphs::Ascii);
    }
}
