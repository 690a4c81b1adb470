//! `.env` in the working directory: variables for people who keep them beside their project.
//!
//! The form is the one that shells and other programs share: `NAME=VALUE` a line, `#` comments,
//! `export ` allowed, quotes for what holds spaces. Nothing is expanded: a `$` in a key is a `$`.
//! Written here, because the libraries for it expand, keep no line numbers, and repeat the line,
//! and with it perhaps the key, in their errors.

use super::{
    Environment,
    layers::{Origin, Sourced},
};
use crate::fault::{Fault, Result};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

/// The file's name.
const FILE_NAME: &str = ".env";
/// A page of variables, not a data base.
const SIZE_LIMIT: u64 = 1 << 20;

/// A variable of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    /// Its value, without quotes.
    pub(super) value: String,
    /// Where it stands, from 1.
    pub(super) line: usize,
}

/// The variables of the file; none where there is no file.
#[derive(Clone, Debug, Default)]
pub(super) struct DotEnv {
    /// The file, where there is one.
    pub(super) path: Option<PathBuf>,
    entries: BTreeMap<String, Entry>,
}

impl DotEnv {
    /// Reads the file of `directory`. A folder of that name is none: some tools make one.
    pub(super) fn read(directory: &Path) -> Result<Self> {
        let path = directory.join(FILE_NAME);
        if !path.is_file() {
            return Ok(Self::default());
        }
        let failed = |error| {
            Fault::usage(format!("cannot read {}", path.display()))
                .because(error)
                .fix("make it readable by you, or run from another directory")
        };
        let size = std::fs::metadata(&path).map_err(failed)?.len();
        if size > SIZE_LIMIT {
            return Err(Fault::usage(format!("{} is too long", path.display()))
                .why(format!("it has {size} bytes; {SIZE_LIMIT} are the limit"))
                .fix("run from another directory"));
        }
        let bytes = std::fs::read(&path).map_err(failed)?;
        let entries = parse(&bytes).map_err(|(line, why)| {
            Fault::usage(format!("{FILE_NAME}:{line} cannot be read"))
                .why(why)
                .fix("write NAME=VALUE, with quotes around a value that holds spaces or #")
        })?;
        Ok(Self { path: Some(path), entries })
    }

    /// A variable; an empty one is none.
    pub(super) fn get(&self, name: &str) -> Option<&Entry> {
        self.entries.get(name).filter(|entry| !entry.value.is_empty())
    }

    /// Names of the variables that begin with `prefix`.
    fn names(&self, prefix: &str) -> impl Iterator<Item = &str> {
        self.entries.keys().map(String::as_str).filter(move |name| name.starts_with(prefix))
    }
}

/// The variables of the process, and below them those of the file.
pub(super) struct Variables<'a> {
    environment: &'a Environment,
    /// The file's.
    pub(super) dotenv: DotEnv,
}

impl<'a> Variables<'a> {
    /// Reads the file of the working directory.
    pub(super) fn read(environment: &'a Environment) -> Result<Self> {
        Ok(Self { environment, dotenv: DotEnv::read(&environment.current_dir)? })
    }

    /// A variable that is not empty. One that the process has hides the file's, even if it is
    /// empty: so it can be switched off.
    pub(super) fn get(&self, name: &str) -> Option<Sourced> {
        if self.environment.has(name) {
            let raw = self.environment.variable(name)?.to_owned();
            return Some(Sourced { raw, origin: Origin::Variable(name.to_owned()) });
        }
        let entry = self.dotenv.get(name)?;
        let origin = Origin::EnvFile { line: entry.line };
        Some(Sourced { raw: entry.value.clone(), origin })
    }

    /// Names that begin with `prefix`, each once.
    pub(super) fn names(&self, prefix: &str) -> BTreeSet<&str> {
        self.environment.names(prefix).chain(self.dotenv.names(prefix)).collect()
    }
}

/// What is wrong, and in which line; never what stands there, which may be the key.
type Wrong = (usize, &'static str);

fn parse(bytes: &[u8]) -> Result<BTreeMap<String, Entry>, Wrong> {
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let good = bytes.get(..error.valid_up_to()).unwrap_or_default();
        (good.iter().filter(|byte| **byte == b'\n').count() + 1, "it is not UTF-8")
    })?;
    let mut entries = BTreeMap::new();
    let mut lines = text.strip_prefix('\u{feff}').unwrap_or(text).lines().zip(1..);
    while let Some((text, line)) = lines.next() {
        let text = text.trim();
        if text.is_empty() || text.starts_with('#') {
            continue;
        }
        let Some((name, value)) = text.split_once('=') else {
            return Err((line, "it has no = between a name and a value"));
        };
        let name = name.trim();
        let name = name.strip_prefix("export ").unwrap_or(name).trim();
        if name.is_empty() || name.contains(|c: char| c.is_whitespace() || "\"'#".contains(c)) {
            return Err((line, "what stands before = is not the name of a variable"));
        }
        let value = value.trim_start();
        let value = match value.chars().next() {
            Some(quote @ ('"' | '\'')) => {
                let mut open = value.get(1..).unwrap_or_default().to_owned();
                // A quoted value may span lines.
                loop {
                    match unquoted(&open, quote) {
                        Some(Ok(value)) => break value,
                        Some(Err(why)) => return Err((line, why)),
                        None => {}
                    }
                    let Some((next, _)) = lines.next() else {
                        return Err((line, "a quote that opens here is never closed"));
                    };
                    open.push('\n');
                    open.push_str(next);
                }
            }
            _ => bare(value).to_owned(),
        };
        // The last one wins, as in a shell.
        entries.insert(name.to_owned(), Entry { value, line });
    }
    Ok(entries)
}

/// A value without quotes ends at its line's end, or at a comment after a space.
fn bare(value: &str) -> &str {
    let mut before = '=';
    let comment = value.char_indices().find(|(_, c)| {
        let begins = *c == '#' && (before.is_whitespace() || before == '=');
        before = *c;
        begins
    });
    value.get(..comment.map_or(value.len(), |(at, _)| at)).unwrap_or(value).trim_end()
}

/// What stands within quotes, and why that is wrong; none where they are still open.
fn unquoted(text: &str, quote: char) -> Option<Result<String, &'static str>> {
    let mut value = String::new();
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' if quote == '"' => match chars.next()? {
                'n' => value.push('\n'),
                't' => value.push('\t'),
                'r' => value.push('\r'),
                c @ ('"' | '\\' | '$' | '`' | '\'') => value.push(c),
                other => value.extend(['\\', other]),
            },
            c if c == quote => {
                let rest = chars.as_str().trim_start();
                let is_end = rest.is_empty() || rest.starts_with('#');
                return Some(if is_end { Ok(value) } else { Err("something follows its quotes") });
            }
            c => value.push(c),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(text: &str) -> String {
        parse(text.as_bytes()).expect("good")["A"].value.clone()
    }

    #[test]
    fn values_are_what_a_shell_would_take_them_for() {
        for (text, expected) in [
            ("A=b", "b"),
            ("export A = b ", "b"),
            ("\u{feff}A=b\r\n", "b"),
            ("A=b#c # comment", "b#c"),
            ("A=#c", ""),
            ("A=", ""),
            ("A='b # $c \\n'  # comment", "b # $c \\n"),
            ("A=\"b \\\"c\\\" \\$d\\n\"", "b \"c\" $d\n"),
            ("A=b$c${d}", "b$c${d}"),
            ("A=\"1\n2\"\nB=3", "1\n2"),
            ("A=1\nA=2", "2"),
            ("A=b=c", "b=c"),
        ] {
            assert_eq!(value(text), expected, "{text}");
        }
    }

    #[test]
    fn lines_are_counted_past_values_that_span_some() {
        let entries = parse(b"# x\n\nA=\"1\n2\n\"\nB=3\n").expect("good");
        assert_eq!((entries["A"].line, entries["B"].line), (3, 6));
    }

    #[test]
    fn a_bad_line_is_named_and_not_repeated() {
        for (text, line) in [
            ("A=1\nsecret\n", 2),
            ("=secret", 1),
            ("A B=secret", 1),
            ("\nA=\"secret\n\n", 2),
            ("A='secret' more", 1),
        ] {
            let (at, why) = parse(text.as_bytes()).expect_err(text);
            assert_eq!(at, line, "{text}");
            assert!(!why.contains("secret"));
        }
        assert_eq!(parse(b"A=1\nB=\xff").expect_err("no text"), (2, "it is not UTF-8"));
    }
}
