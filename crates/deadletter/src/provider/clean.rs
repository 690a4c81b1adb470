//! Cleans text that came from upstream before it is stored, logged or shown.
//!
//! Upstream's words are hostile input, and they may repeat what we sent: the account's key in an
//! echoed URL, a proxy with its password, a token. What is left is one line of at most
//! [`LIMIT`] bytes, without control characters, terminal escapes, keys and URL queries.
//!
//! The order matters. Invisible characters go first, so that none can split a key; the key goes
//! next, so that no cut leaves half of it; and once more last, against a mistake in the steps between.

use deadletter_core::hex;
use secrecy::{ExposeSecret, SecretString};

/// Longest text that is kept, in bytes.
pub const LIMIT: usize = 500;

/// Of longer input only this much is looked at; the rest could not be kept anyway.
const INPUT_LIMIT: usize = 16 << 10;

/// Stands where something was taken out. No key may hold a `*`: so nothing that is put in can
/// become part of one.
const MASK: &str = "***";

/// Letters and digits in a row from which on a word is taken for a key or token. Upstream's own
/// ids have at most 20 digits; keys have 32 characters.
const KEY_LENGTH: usize = 24;

/// Stands where a text was cut.
const ELLIPSIS: char = '…';

/// Characters of a secret's beginning from which on it is looked for where a text was cut.
const HALF_MIN: usize = 4;

/// Shortest encoded form that is looked for: shorter ones occur by chance.
const ENCODED_MIN: usize = 8;

/// Parameter names whose values are masked.
const SECRET_NAMES: &[&str] =
    &["key", "clientkey", "apikey", "api_key", "token", "password", "pass", "cookies", "cookie"];

/// Cleans upstream text; knows the spellings of one key.
#[derive(Clone, Default)]
pub struct Cleaner {
    /// Lower case, longest first.
    needles: Vec<SecretString>,
}

impl Cleaner {
    /// A cleaner that also takes out `key`: plain, percent-encoded, in base64 and in hex.
    #[must_use]
    pub fn new(key: &SecretString) -> Self {
        Self::of(&[key.expose_secret()])
    }

    /// A cleaner that takes out each of these secrets.
    #[must_use]
    pub fn of(secrets: &[impl AsRef<str>]) -> Self {
        let mut needles: Vec<String> =
            secrets.iter().flat_map(|secret| spellings(secret.as_ref())).collect();
        needles.sort_by_key(|needle| std::cmp::Reverse(needle.len()));
        needles.dedup();
        Self { needles: needles.into_iter().map(SecretString::from).collect() }
    }

    /// `text` in one line that may be stored and shown.
    #[must_use]
    pub fn clean(&self, text: &str) -> String {
        let line = self.masked(&one_line(bounded(text)));
        let words: Vec<String> = line.split_whitespace().map(clean_word).collect();
        let mut cleaned = self.masked(&words.join(" "));
        if cleaned.len() > LIMIT {
            cleaned.truncate(cleaned.floor_char_boundary(LIMIT - ELLIPSIS.len_utf8()));
            cleaned.push(ELLIPSIS);
        }
        cleaned
    }

    /// True where `text` holds a secret in one of its spellings.
    #[must_use]
    pub fn finds_in(&self, text: &str) -> bool {
        let lower = text.to_ascii_lowercase();
        self.needles.iter().any(|needle| lower.contains(needle.expose_secret()))
    }

    /// Text that was cleaned before, with a mask where a secret stood, also one that was cut in two.
    #[must_use]
    pub fn without(&self, text: &str) -> String {
        let masked = self.masked(text);
        let Some(cut) = masked.strip_suffix(ELLIPSIS) else { return masked };
        let lower = cut.to_ascii_lowercase();
        let left = |needle: &SecretString| {
            let needle = needle.expose_secret();
            let ends = needle.char_indices().map(|(at, _)| at).skip(HALF_MIN);
            ends.filter(|at| needle.get(..*at).is_some_and(|half| lower.ends_with(half))).max()
        };
        match self.needles.iter().filter_map(left).max() {
            Some(bytes) => {
                let kept = cut.get(..cut.len() - bytes).unwrap_or_default();
                format!("{kept}{MASK}{ELLIPSIS}")
            }
            None => masked,
        }
    }

    /// `text` with a mask where a secret stood, and otherwise as it is, however long.
    #[must_use]
    pub fn masked(&self, text: &str) -> String {
        self.needles.iter().fold(text.to_owned(), |text, needle| {
            let needle = needle.expose_secret();
            let lower = text.to_ascii_lowercase();
            let mut out = String::with_capacity(text.len());
            let mut from = 0;
            for (at, _) in lower.match_indices(needle) {
                out.push_str(text.get(from..at).unwrap_or_default());
                out.push_str(MASK);
                from = at + needle.len();
            }
            out.push_str(text.get(from..).unwrap_or_default());
            out
        })
    }
}

impl std::fmt::Debug for Cleaner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Cleaner({} spellings)", self.needles.len())
    }
}

/// How a secret may be written, in lower case: plain, percent-encoded, in base64 and in hex.
fn spellings(secret: &str) -> Vec<String> {
    if secret.is_empty() {
        return Vec::new();
    }
    let percent = |keep: fn(u8) -> bool| -> String {
        secret
            .bytes()
            .map(|b| if keep(b) { char::from(b).to_string() } else { format!("%{b:02x}") })
            .collect()
    };
    let mut encoded = vec![hex(secret.as_bytes())];
    for offset in 0..3 {
        let standard = base64_core(secret.as_bytes(), offset);
        encoded.push(standard.replace('+', "-").replace('/', "_"));
        encoded.push(standard);
    }
    encoded.retain(|text| text.len() >= ENCODED_MIN);
    let mut all = vec![
        secret.to_owned(),
        percent(|b| b.is_ascii_alphanumeric() || b"-_.~".contains(&b)),
        form_urlencoded::byte_serialize(secret.as_bytes()).collect(),
    ];
    all.append(&mut encoded);
    for spelling in &mut all {
        spelling.make_ascii_lowercase();
    }
    all
}

/// Cleans text where no key is known.
#[must_use]
pub fn clean(text: &str) -> String {
    Cleaner::default().clean(text)
}

/// The start of a long text, without the word that the cut went through: it may be half a key.
fn bounded(text: &str) -> &str {
    if text.len() <= INPUT_LIMIT {
        return text;
    }
    let start = text.get(..text.floor_char_boundary(INPUT_LIMIT)).unwrap_or_default();
    let end = start.rfind(char::is_whitespace).unwrap_or(0);
    start.get(..end).unwrap_or_default()
}

/// Without terminal sequences, control and invisible characters; line ends and tabs are spaces.
fn one_line(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\u{1b}' if chars.next_if_eq(&'[').is_some() => {
                // A control sequence ends with a character of `@` to `~`.
                while chars.next_if(|c| (' '..='?').contains(c)).is_some() {}
                chars.next_if(|c| ('@'..='~').contains(c));
            }
            '\n' | '\r' | '\t' => out.push(' '),
            c if c.is_control() || is_invisible(c) => {}
            c => out.push(c),
        }
    }
    out
}

/// Marks of direction and joining, which change how the rest of a line looks.
const fn is_invisible(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}'
        | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}'
        | '\u{e0000}'..='\u{e007f}')
}

fn clean_word(word: &str) -> String {
    let word = without_query(word);
    let word = without_credentials(&word);
    let word = without_secret_values(&word);
    without_key_like(&word)
}

/// Cuts what follows a `?` up to a quote or bracket, where it looks like parameters.
fn without_query(word: &str) -> String {
    let Some((head, rest)) = word.split_once('?') else { return word.to_owned() };
    let end = rest.find(['"', '\'', '<', '>', ')', ']', '}']).unwrap_or(rest.len());
    let (query, tail) = rest.split_at(end);
    let query = if query.contains('=') || head.contains("://") { "…" } else { query };
    format!("{head}?{query}{tail}")
}

/// Masks `user:password@host` and `host:port:user:password`.
fn without_credentials(word: &str) -> String {
    if let Some((before, host)) = word.rsplit_once('@')
        && before.contains(':')
    {
        let scheme = before.find("://").map_or(0, |at| at + 3);
        return format!("{}{MASK}@{host}", before.get(..scheme).unwrap_or_default());
    }
    let mut parts = word.splitn(3, ':');
    if let (Some(host), Some(port), Some(rest)) = (parts.next(), parts.next(), parts.next())
        && host.contains('.')
        && port.parse::<u16>().is_ok()
        && rest.contains(':')
    {
        return format!("{host}:{port}:{MASK}");
    }
    word.to_owned()
}

/// Masks the values of `key=...`, `"key":"..."` and the like.
fn without_secret_values(word: &str) -> String {
    let is_end = |c: char| matches!(c, '&' | ',' | ';' | '}' | ']' | ')' | '<' | '>');
    word.split_inclusive(is_end)
        .map(|piece| {
            let (pair, end) = match piece.char_indices().next_back() {
                Some((at, c)) if is_end(c) => piece.split_at(at),
                _ => (piece, ""),
            };
            match pair.split_once(['=', ':']) {
                Some((name, value)) if !value.is_empty() && is_secret_name(name) => {
                    let name_end = name.len() + 1;
                    format!("{}{MASK}{end}", pair.get(..name_end).unwrap_or_default())
                }
                _ => piece.to_owned(),
            }
        })
        .collect()
}

fn is_secret_name(name: &str) -> bool {
    let name = name.trim_matches(|c: char| !c.is_ascii_alphanumeric()).to_ascii_lowercase();
    SECRET_NAMES.contains(&name.as_str())
}

/// Masks long runs of letters and digits that hold a digit; `ERROR_..._CODES` have none of those.
fn without_key_like(word: &str) -> String {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    let mut out = String::with_capacity(word.len());
    let mut rest = word;
    while !rest.is_empty() {
        let run = rest.find(|c| !is_part(c)).unwrap_or(rest.len());
        let (head, tail) = rest.split_at(run);
        out.push_str(if is_key_like(head) { MASK } else { head });
        let next = tail.chars().next().map_or(0, char::len_utf8);
        let (between, tail) = tail.split_at(next);
        out.push_str(between);
        rest = tail;
    }
    out
}

fn is_key_like(run: &str) -> bool {
    let is_code = run.bytes().any(|b| b == b'_') && !run.bytes().any(|b| b.is_ascii_lowercase());
    run.len() >= KEY_LENGTH && !is_code && run.bytes().any(|b| b.is_ascii_digit())
}

/// The characters that the base64 of any text has where `key` stands in it, `offset` bytes after
/// a multiple of three: those that depend on the bytes around it are left out.
fn base64_core(key: &[u8], offset: usize) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let bit = |at: usize| {
        let byte = key.get(at / 8).copied().unwrap_or_default();
        usize::from(byte >> (7 - at % 8) & 1)
    };
    // The first boundary between characters at or after the key's first bit.
    let skew = (6 - offset * 8 % 6) % 6;
    let characters = (key.len() * 8).saturating_sub(skew) / 6;
    (0..characters)
        .map(|n| (0..6).fold(0, |six, k| six << 1 | bit(skew + n * 6 + k)))
        .filter_map(|six| ALPHABET.get(six).copied().map(char::from))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const KEY: &str = "0123456789abcdef0123456789abcdef";

    fn cleaner(key: &str) -> Cleaner {
        Cleaner::new(&SecretString::from(key))
    }

    #[test]
    fn a_plain_sentence_stays_as_it_is() {
        for text in [
            "ERROR_IMAGE_DIMENSIONS_TOO_LARGE: 4000 x 3000",
            "The line to ocr.example:443 broke: Connection reset by peer (os error 104)",
            "task 74372499131 is unknown, really?",
            "at 12:30:45 UTC",
            "could not connect to a.example:80: refused",
        ] {
            assert_eq!(cleaner(KEY).clean(text), text);
        }
    }

    #[test]
    fn the_key_goes_in_each_of_its_spellings() {
        let key = "se/cret+KEY";
        let cleaner = cleaner(key);
        for text in [
            "se/cret+KEY",
            "SE/CRET+key",
            "se%2Fcret%2BKEY",
            "se%2fcret%2bKEY",
            "c2UvY3JldCtLRVk=",         // base64 of the key
            "dXNlcjpzZS9jcmV0K0tFWQ==", // base64 of `user:` and the key
            "dTpzZS9jcmV0K0tFWTpw",     // base64 of `u:`, the key and `:p`
            "73652f637265742b4b4559",   // hex
            "se/\u{1b}[31mcret\u{200b}+\u{7}KEY",
        ] {
            let cleaned = cleaner.clean(&format!("key is <{text}> here"));
            assert!(!cleaner.finds_in(&cleaned), "{text} became {cleaned}");
            assert!(cleaned.contains("***"), "{text} became {cleaned}");
        }
    }

    #[test]
    fn what_looks_like_a_key_or_password_goes() {
        for (text, cleaned) in [
            ("bad key 00112233445566778899aabbccddeeff!", "bad key ***!"),
            ("proxy bob:hunter2@10.0.0.1:80 failed", "proxy ***@10.0.0.1:80 failed"),
            ("http://bob:hunter2@10.0.0.1:80/", "http://***@10.0.0.1:80/"),
            ("10.0.0.1:80:bob:hunter2", "10.0.0.1:80:***"),
            ("https://a.example/res.php?key=abc&id=1 failed", "https://a.example/res.php?… failed"),
            ("see \"/in.php?key=abc\".", "see \"/in.php?…\"."),
            ("{\"key\":\"abc\",\"id\":\"7\"}", "{\"key\":***,\"id\":\"7\"}"),
            ("key=abc&method=x", "key=***&method=x"),
        ] {
            assert_eq!(clean(text), cleaned);
        }
    }

    #[test]
    fn terminal_escapes_and_control_characters_go() {
        assert_eq!(
            clean("\u{1b}[2J\u{1b}]0;title\u{7}a\r\nb\u{9b}31m\u{202e}c"),
            "]0;titlea b31mc"
        );
    }

    #[test]
    fn no_step_leaves_half_a_key() {
        // A key that looks like a query, and one that an invisible character splits as well.
        let cleaner = cleaner("abcdefgh?x=ijklmnop");
        assert_eq!(cleaner.clean("<abcdefgh?x=ijklmnop>"), "<***>");
        assert_eq!(cleaner.clean("<abcdefgh?x=ij\u{7}klmnop>"), "<***>");
    }

    #[test]
    fn a_text_of_the_limit_stays_and_one_byte_more_is_cut() {
        let text = "a b ".repeat(LIMIT / 4);
        assert_eq!(clean(&text), text.trim_end());
        let text = format!("{text}abc");
        assert!(clean(&text).len() <= LIMIT && clean(&text).ends_with('…'));
    }

    #[test]
    fn a_long_text_is_cut_between_characters() {
        let cleaned = clean(&"ä ".repeat(10_000));
        assert!(cleaned.len() <= LIMIT && cleaned.ends_with('…'), "{}", cleaned.len());
    }

    #[test]
    fn a_cut_never_leaves_half_a_key() {
        let cleaner = cleaner(KEY);
        let text = format!("{}{KEY}", "\u{7}".repeat(INPUT_LIMIT - 20));
        assert_eq!(cleaner.clean(&text), "");
    }

    fn hostile() -> impl Strategy<Value = String> {
        let piece = prop_oneof![
            Just("kEy-9/+=".to_owned()),
            Just("kEy-9".to_owned()),
            Just("/+=".to_owned()),
            Just("\u{1b}[".to_owned()),
            Just("?".to_owned()),
            Just("@".to_owned()),
            Just("://".to_owned()),
            Just("key=".to_owned()),
            any::<String>(),
        ];
        proptest::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #[test]
        fn cleaned_text_never_holds_the_key_and_is_one_bounded_line(text in hostile()) {
            let key = "kEy-9/+=";
            let cleaner = cleaner(key);
            let cleaned = cleaner.clean(&text);
            prop_assert!(!cleaner.finds_in(&cleaned), "{cleaned:?}");
            prop_assert!(cleaned.len() <= LIMIT);
            prop_assert!(!cleaned.chars().any(char::is_control));
        }

        #[test]
        fn the_base64_of_any_text_around_a_key_holds_its_core(
            before in proptest::collection::vec(any::<u8>(), 0..7),
            after in proptest::collection::vec(any::<u8>(), 0..7),
        ) {
            let text = [before.as_slice(), KEY.as_bytes(), after.as_slice()].concat();
            let encoded = base64_core(&text, 0);
            prop_assert!(encoded.contains(&base64_core(KEY.as_bytes(), before.len() % 3)));
        }
    }
}
