//! Groups failures by meaning: what differs from task to task is folded out of the text.
//!
//! `Task 123 timed out` and `Task 456 timed out` are one group, because [`fold`] makes both of
//! them `Task <n> timed out`. Folding is a matter of shape alone: it never asks what a number or a
//! key is worth, so a group does not depend on values. It is no redaction: what is secret must
//! have been taken out before a text comes here.

use crate::hex;
use sha2::{Digest, Sha256};

/// Longest text that is looked at, in characters: details are kept up to 500 bytes.
const READ_CHARS: usize = 2_000;
/// Longest folded text, in characters: one line of a table, cut.
const FOLDED_CHARS: usize = 300;
/// A number, an id, a key, a time: whatever holds a digit.
const NUMBER: &str = "<n>";
/// An internet address.
const ADDRESS: &str = "<ip>";
/// What stood in quotes.
const QUOTED: &str = "<text>";
/// Shortest run of hex digits, one a letter, that is taken for an id: `a1b2c3` is, `2fa` is not.
const HEX_CHARS: usize = 6;
/// Shortest word that can be a key or token; real ones have 20 and more.
const KEY_CHARS: usize = 16;
/// Shortest run of letters mixed with digits that makes a long word a key and not a name.
const MIXED_CHARS: usize = 8;

/// Digits of a group: failures are far fewer than would meet by chance.
const DIGITS: usize = 16;

/// The group of a failure: 16 hex digits over its cause, method and folded detail.
#[must_use]
pub fn fingerprint(cause: &str, method: &str, detail: &str) -> String {
    let mut hash = Sha256::new();
    for part in [cause, method, &fold(detail)] {
        // The length keeps ("ab", "c") and ("a", "bc") apart.
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    let mut group = hex(&hash.finalize());
    group.truncate(DIGITS);
    group
}

/// The pattern of a failure's detail: what all failures of its group have in common.
///
/// Numbers, ids, hex, UUIDs, keys, times and durations become `<n>`, internet addresses `<ip>`,
/// quoted texts `<text>`; URLs lose credentials, query and fragment. At most 300 characters;
/// folding a folded text changes nothing.
#[must_use]
pub fn fold(detail: &str) -> String {
    let read: String = detail.chars().take(READ_CHARS).map(plain).collect();
    let unquoted = without_quotes(&read);
    let mut folded = String::with_capacity(unquoted.len());
    for word in unquoted.split_whitespace() {
        let before = folded.len();
        if before > 0 {
            folded.push(' ');
        }
        let gap = folded.len();
        fold_word(&mut folded, word);
        // A word of nothing but a query leaves nothing, and no gap either.
        if folded.len() == gap {
            folded.truncate(before);
        }
    }
    let cut: String = folded.chars().take(FOLDED_CHARS).collect();
    cut.trim_end().to_owned()
}

/// Control characters part words; digits of any script are digits.
fn plain(c: char) -> char {
    match c {
        c if c.is_control() => ' ',
        c if c.is_numeric() => '0',
        c => c,
    }
}

/// Puts [`QUOTED`] for what stands in quotes, and drops quotes without a partner.
fn without_quotes(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, quote, behind)) = split_at_quote(rest) {
        out.push_str(before);
        // "can't" holds no quote: a single one opens only where no word goes before.
        let opens = quote != '\'' || !out.ends_with(char::is_alphanumeric);
        rest = match behind.split_once(quote) {
            Some((_, behind)) if opens => {
                out.push_str(QUOTED);
                behind
            }
            _ => behind,
        };
    }
    out.push_str(rest);
    out
}

fn split_at_quote(text: &str) -> Option<(&str, char, &str)> {
    let at = text.find(['"', '\'', '`'])?;
    let (before, from) = text.split_at_checked(at)?;
    let quote = from.chars().next()?;
    Some((before, quote, from.strip_prefix(quote)?))
}

/// Folds what stands between two spaces.
fn fold_word(out: &mut String, word: &str) {
    if let Some((scheme, rest)) = word.split_once("://") {
        let (url, behind) = rest.split_at_checked(url_end(rest)).unwrap_or((rest, ""));
        fold_chunks(out, scheme);
        out.push_str("://");
        fold_url(out, url);
        fold_word(out, behind);
        return;
    }
    // A query without its host, as in `/res.php?key=...`: the values are what differs.
    match word.split_once('?') {
        Some((path, query)) if query.contains('=') => fold_chunks(out, path),
        _ => fold_chunks(out, word),
    }
}

/// Where a URL ends: at a bracket, or at another URL that stands in its path.
fn url_end(text: &str) -> usize {
    let end = text.find(['<', '>', '(', ')', '{', '}', '|']).unwrap_or(text.len());
    let query = text.find(['?', '#']).unwrap_or(text.len());
    text.find("://").filter(|nested| *nested < query).map_or(end, |nested| nested.min(end))
}

/// Folds `host/path`, without credentials, query and fragment.
fn fold_url(out: &mut String, url: &str) {
    let end = url.find(['?', '#']).unwrap_or(url.len());
    let url = url.split_at_checked(end).map_or(url, |(kept, _)| kept);
    let (authority, path) = match url.find('/').and_then(|at| url.split_at_checked(at)) {
        Some((authority, path)) => (authority, path),
        None => (url, ""),
    };
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    fold_chunks(out, host);
    for (at, segment) in path.split('/').enumerate() {
        if at > 0 {
            out.push('/');
        }
        fold_chunks(out, segment);
    }
}

/// Folds the pieces between brackets, commas and signs of assignment.
fn fold_chunks(out: &mut String, text: &str) {
    let mut start = 0;
    for (at, c) in text.char_indices().filter(|(_, c)| is_divider(*c)) {
        fold_chunk(out, text.get(start..at).unwrap_or_default());
        out.push(c);
        start = at + c.len_utf8();
    }
    fold_chunk(out, text.get(start..).unwrap_or_default());
}

const fn is_divider(c: char) -> bool {
    matches!(
        c,
        '(' | ')' | '[' | ']' | '{' | '}' | '<' | '>' | ',' | ';' | '|' | '=' | '&' | '!' | '?'
    )
}

/// Folds one piece by its shape.
fn fold_chunk(out: &mut String, chunk: &str) {
    let core = chunk.trim_matches(|c: char| !c.is_alphanumeric() && c != ':');
    let core = core.strip_suffix(':').filter(|core| !core.ends_with(':')).unwrap_or(core);
    let Some((before, behind)) = chunk.split_once(core).filter(|_| has_digit(core)) else {
        out.push_str(chunk);
        return;
    };
    out.push_str(before);
    if is_address(core) {
        push_once(out, ADDRESS);
    } else if is_moment(core) || is_duration(core) || is_uuid(core) || is_hex(core) || is_key(core)
    {
        push_once(out, NUMBER);
    } else {
        fold_digits(out, core);
    }
    out.push_str(behind);
}

/// Folds runs of digits, with points inside them, and keeps the letters between.
fn fold_digits(out: &mut String, text: &str) {
    let mut chars = text.chars().peekable();
    let mut in_number = false;
    while let Some(c) = chars.next() {
        let goes_on =
            in_number && matches!(c, '.' | ':') && chars.peek().is_some_and(char::is_ascii_digit);
        if c.is_ascii_digit() {
            if !in_number {
                push_once(out, NUMBER);
            }
            in_number = true;
        } else if !goes_on {
            in_number = false;
            out.push(c);
        }
    }
}

/// Writes `mark`, unless it would continue a list of the same: `1,204` and `7` are one pattern.
fn push_once(out: &mut String, mark: &str) {
    let is_list = out.strip_suffix(',').is_some_and(|list| list.ends_with(mark));
    if is_list {
        out.pop();
    } else {
        out.push_str(mark);
    }
}

fn has_digit(text: &str) -> bool {
    text.bytes().any(|b| b.is_ascii_digit())
}

fn has_letter(text: &str) -> bool {
    text.chars().any(char::is_alphabetic)
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}

/// Four numbers with points, or hex with two colons and more; either with a port or a mask.
fn is_address(text: &str) -> bool {
    let host = text.split_once('/').map_or(text, |(host, _)| host);
    let v4 = host.split_once(':').map_or(host, |(host, _)| host);
    let is_v4 = v4.split('.').count() == 4 && v4.split('.').all(is_digits);
    let is_v6 = host.matches(':').count() >= 2
        && host.bytes().all(|b| b.is_ascii_hexdigit() || matches!(b, b':' | b'.'))
        && (has_letter(host) || host.contains("::") || host.matches(':').count() > 2);
    is_v4 || is_v6
}

/// A date, a time of day, or both.
fn is_moment(text: &str) -> bool {
    let parts: Vec<&str> = text.splitn(3, '-').collect();
    let is_date = matches!(parts.as_slice(), [year, month, day]
        if year.len() == 4 && month.len() == 2 && is_digits(year) && is_digits(month)
            && day.bytes().take(2).filter(u8::is_ascii_digit).count() == 2
            && day.bytes().all(|b| b.is_ascii_digit() || b"T:.+-Z".contains(&b)));
    let is_time = text.matches(':').count() == 2
        && text.bytes().all(|b| b.is_ascii_digit() || matches!(b, b':' | b'.'));
    is_date || is_time
}

/// Numbers and units in turn, as in `1.5s` or `2m30s`.
fn is_duration(text: &str) -> bool {
    const UNITS: [&str; 14] =
        ["ns", "us", "µs", "ms", "s", "sec", "secs", "m", "min", "mins", "h", "hr", "hrs", "d"];
    let mut rest = text;
    while !rest.is_empty() {
        let unit = rest.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.');
        let behind = unit.trim_start_matches(char::is_alphabetic);
        let name = unit.strip_suffix(behind).unwrap_or_default();
        if unit.len() == rest.len() || !UNITS.contains(&name) {
            return false;
        }
        rest = behind;
    }
    true
}

/// Hex digits in groups of 8, 4, 4, 4 and 12.
fn is_uuid(text: &str) -> bool {
    text.split('-').map(str::len).eq([8, 4, 4, 4, 12])
        && text.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-')
}

fn is_hex(text: &str) -> bool {
    let digits = text.strip_prefix("0x").unwrap_or(text);
    let is_marked = digits.len() < text.len();
    digits.bytes().all(|b| b.is_ascii_hexdigit())
        && !digits.is_empty()
        && (is_marked || (digits.len() >= HEX_CHARS && has_letter(digits)))
}

/// Base64 and the like: long, and somewhere letters and digits mix without a sign between them.
fn is_key(text: &str) -> bool {
    text.len() >= KEY_CHARS
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-+/.%".contains(&b))
        && text
            .split(|c: char| !c.is_ascii_alphanumeric())
            .any(|run| run.len() >= MIXED_CHARS && has_digit(run) && has_letter(run))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_differs_from_task_to_task_is_folded() {
        let cases = [
            ("Task 123 timed out", "Task <n> timed out"),
            ("Task 0f8b2c4e timed out", "Task <n> timed out"),
            ("Task 550e8400-e29b-41d4-a716-446655440000 timed out", "Task <n> timed out"),
            ("still not ready after 120 s", "still not ready after <n> s"),
            ("took 1.5s, then 2m30s", "took <n>, then <n>"),
            ("connect to 10.0.0.1:8080 refused", "connect to <ip> refused"),
            ("connect to [2001:db8::7]:443: refused", "connect to [<ip>]:<n>: refused"),
            ("at 2026-11-23T10:11:12.5Z", "at <n>"),
            ("at 10:11:12 (UTC)", "at <n> (UTC)"),
            ("slots: 1,204 of 1.300", "slots: <n> of <n>"),
            ("HTTP 502: <html>", "HTTP <n>: <html>"),
            ("ERROR: 1001", "ERROR: <n>"),
            ("ERROR_TOO_BIG_CAPTCHA_FILESIZE", "ERROR_TOO_BIG_CAPTCHA_FILESIZE"),
            ("node17.example.com: v2", "node<n>.example.com: v<n>"),
            ("no method 'turnstyle' here", "no method <text> here"),
            ("can't reach the worker's host", "cant reach the workers host"),
            ("{\"status\":0,\"request\":\"X\"}", "{<text>:<n>,<text>:<text>}"),
            ("key=0123456789abcdef0123456789abcdef&id=7", "key=<n>&id=<n>"),
            ("site 6Le-wvkSAAAAAPBMRTvw0Q4Muexq9bi0DJwx_mJ- is bad", "site <n>- is bad"),
            ("code 0x1F, line\tone\r\n two", "code <n>, line one two"),
        ];
        for (detail, folded) in cases {
            assert_eq!(fold(detail), folded, "{detail}");
        }
    }

    #[test]
    fn a_url_keeps_its_host_and_the_shape_of_its_path() {
        let cases = [
            (
                "get https://u:pw@ocr.example.com/res.php?key=abc&id=7: reset",
                "get https://ocr.example.com/res.php reset",
            ),
            ("(http://127.0.0.1:9/task/77/x#top)", "(http://<ip>/task/<n>/x)"),
            ("url=https://a.b/c?d=e", "url=https://a.b/c"),
            ("for /res.php?key=abc&action=get", "for /res.php"),
            ("really?", "really?"),
        ];
        for (detail, folded) in cases {
            assert_eq!(fold(detail), folded, "{detail}");
        }
    }

    #[test]
    fn the_same_meaning_is_one_group_and_another_is_not() {
        let group = |detail| fingerprint("TIMEOUT", "userrecaptcha", detail);
        assert_eq!(group("Task 123 timed out"), group("Task 456 timed out"));
        assert_ne!(group("Task 123 timed out"), group("Task 123 was refused"));
        assert_ne!(group("x"), fingerprint("TIMEOUT", "turnstile", "x"));
        assert_ne!(fingerprint("AB", "C", ""), fingerprint("A", "BC", ""));
        assert_eq!(group("x").len(), 16);
        assert!(group("x").bytes().all(|b| b.is_ascii_hexdigit()));
    }

    /// Texts that look like what upstreams and networks say.
    fn details() -> impl Strategy<Value = String> {
        let piece = prop_oneof![
            "[a-f0-9]{1,40}",
            "[0-9]{1,4}[.:,/-][0-9]{1,4}",
            "[A-Za-z0-9_+/=-]{1,40}",
            "https?://[a-z0-9@:./?=&#%<>()-]{0,30}",
            "['\"`][a-z0-9 ]{0,6}['\"`]?",
            "[<>(){}\\[\\],;:.!?@#|&= ]{1,4}",
            "\\PC{0,6}",
        ];
        prop::collection::vec(piece, 0..10).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(300))]

        #[test]
        fn folding_again_changes_nothing(detail in details()) {
            let folded = fold(&detail);
            prop_assert_eq!(fold(&folded), folded);
        }

        #[test]
        fn a_folded_text_is_short_and_holds_no_number(detail in details(), copies in 1_usize..50) {
            let folded = fold(&detail.repeat(copies));
            prop_assert!(folded.chars().count() <= FOLDED_CHARS);
            prop_assert!(!folded.chars().any(|c| c.is_numeric() || c.is_control()));
        }

        #[test]
        fn other_digits_are_the_same_group(detail in details(), digit in 0_u8..10) {
            let other = detail.replace(|c: char| c.is_ascii_digit(), &digit.to_string());
            prop_assert_eq!(fold(&detail), fold(&other));
        }

        #[test]
        fn a_number_of_any_length_is_the_same_group(n: u64, m: u64) {
            let detail = |n: u64| fold(&format!("Task {n} timed out (id={n}, {n} s)"));
            prop_assert_eq!(detail(n), detail(m));
        }
    }
}
