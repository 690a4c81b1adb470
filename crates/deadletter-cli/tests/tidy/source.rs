//! A source file as the rules read it: code apart from comments and strings, tests marked.

/// A Rust file.
pub(crate) struct Source {
    /// From the root of the repository.
    pub(crate) path: String,
    /// Lines as they stand.
    pub(crate) raw: Vec<String>,
    /// The same lines without comments, and with the contents of strings blanked.
    pub(crate) code: Vec<String>,
    /// Which lines are tests.
    pub(crate) test: Vec<bool>,
}

/// An item: what `#[cfg(test)]` applies to, or a function.
struct Item {
    first_line: usize,
    last_line: usize,
}

impl Source {
    pub(crate) fn new(path: &str, text: &str) -> Self {
        let raw: Vec<String> = text.lines().map(str::to_owned).collect();
        let code: Vec<String> = strip(text).lines().map(str::to_owned).collect();
        let is_test_file = path.contains("/tests/") || path.ends_with("/tests.rs");
        let mut source =
            Self { path: path.to_owned(), test: vec![is_test_file; code.len()], raw, code };
        for at in source.places("#[cfg(test)]") {
            let item = source.item_from(at);
            source.test[item.first_line..=item.last_line].fill(true);
        }
        source
    }

    /// True where the whole file is tests.
    pub(crate) fn is_test(&self) -> bool {
        self.test.iter().all(|test| *test)
    }

    /// Lines of code with their numbers from 1, and whether they are tests.
    pub(crate) fn lines(&self) -> impl Iterator<Item = (usize, &str, bool)> {
        let lines = self.code.iter().zip(&self.test).enumerate();
        lines.map(|(at, (line, test))| (at + 1, line.as_str(), *test))
    }

    /// True where a comment on that line (from 1), or on the one above, allows to break `rule`.
    pub(crate) fn allows(&self, line: usize, rule: &str) -> bool {
        let marker = format!("tidy: allow {rule}, because ");
        let above = line.checked_sub(2).and_then(|at| self.raw.get(at));
        let own = self.raw.get(line - 1);
        own.into_iter().chain(above).any(|text| text.contains(&marker))
    }

    /// Functions by name, with their first line (from 1) and how many lines of code they have.
    pub(crate) fn functions(&self) -> Vec<(String, usize, usize)> {
        let mut functions = Vec::new();
        for (line, column) in self.places("fn ") {
            let text = &self.code[line];
            let is_word = text[..column].chars().next_back().is_none_or(|c| !is_name(c));
            let name: String = text[column + 3..].chars().take_while(|c| is_name(*c)).collect();
            // Without a name it is a type, such as `fn (&str)`.
            if !is_word || name.is_empty() {
                continue;
            }
            let item = self.item_from((line, column));
            let body = &self.code[item.first_line..=item.last_line];
            functions.push((name, line + 1, body.iter().filter(|l| !l.trim().is_empty()).count()));
        }
        functions
    }

    /// Names of modules that are declared as tests in files of their own.
    fn test_modules(&self) -> Vec<String> {
        let declared = self.code.iter().zip(&self.test).filter(|(_, test)| **test);
        declared
            .filter_map(|(line, _)| {
                let name = line.trim().strip_suffix(';')?;
                let name = name.strip_prefix("pub(crate) ").unwrap_or(name);
                Some(name.strip_prefix("mod ")?.to_owned())
            })
            .collect()
    }

    /// Where a text stands in the code: lines and columns, from 0.
    fn places(&self, text: &str) -> Vec<(usize, usize)> {
        let lines = self.code.iter().enumerate();
        lines
            .flat_map(|(at, line)| line.match_indices(text).map(move |(col, _)| (at, col)))
            .collect()
    }

    /// The item that begins here: up to its closing brace, or to a semicolon before any brace.
    fn item_from(&self, (line, column): (usize, usize)) -> Item {
        let (mut braces, mut brackets) = (0_i32, 0_i32);
        for (at, text) in self.code.iter().enumerate().skip(line) {
            let from = if at == line { column } else { 0 };
            for c in text[from..].chars() {
                match c {
                    '(' | '[' => brackets += 1,
                    ')' | ']' => brackets -= 1,
                    '{' => braces += 1,
                    '}' => braces -= 1,
                    _ => (),
                }
                let is_end =
                    (c == '}' && braces == 0) || (c == ';' && braces == 0 && brackets == 0);
                if is_end && brackets == 0 {
                    return Item { first_line: line, last_line: at };
                }
            }
        }
        Item { first_line: line, last_line: self.code.len().saturating_sub(1) }
    }
}

/// Marks files whose module is declared as a test in the file above them.
pub(crate) fn mark_test_files(sources: &mut [Source]) {
    let mut folders = Vec::new();
    for source in sources.iter() {
        let stem = source.path.trim_end_matches(".rs");
        let folder = ["/mod", "/lib", "/main"].iter().find_map(|end| stem.strip_suffix(end));
        let folder = folder.unwrap_or(stem);
        folders.extend(source.test_modules().iter().map(|name| format!("{folder}/{name}")));
    }
    for source in sources {
        let is_named = |name: &String| {
            source.path == format!("{name}.rs") || source.path.starts_with(&format!("{name}/"))
        };
        if folders.iter().any(is_named) {
            source.test.fill(true);
        }
    }
}

pub(crate) fn is_name(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Blanks comments and the contents of strings; lines stay where they are.
fn strip(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    while at < chars.len() {
        let end = match chars[at] {
            '/' if chars.get(at + 1) == Some(&'/') => line_end(&chars, at),
            '/' if chars.get(at + 1) == Some(&'*') => comment_end(&chars, at),
            '"' => string_end(&chars, at),
            'r' if !out.ends_with(is_name) => raw_string_end(&chars, at),
            '\'' => char_end(&chars, at),
            _ => at + 1,
        };
        if end == at + 1 {
            out.push(chars[at]);
        } else {
            let is_text = chars[at] != '/';
            out.extend(is_text.then_some('"'));
            out.extend(chars[at..end].iter().map(|c| if *c == '\n' { '\n' } else { ' ' }));
            out.extend(is_text.then_some('"'));
        }
        at = end;
    }
    out
}

fn line_end(chars: &[char], at: usize) -> usize {
    chars[at..].iter().position(|c| *c == '\n').map_or(chars.len(), |length| at + length)
}

fn comment_end(chars: &[char], at: usize) -> usize {
    let (mut depth, mut end) = (0_i32, at);
    while end < chars.len() {
        match (chars[end], chars.get(end + 1)) {
            ('/', Some('*')) => (depth, end) = (depth + 1, end + 2),
            ('*', Some('/')) => (depth, end) = (depth - 1, end + 2),
            _ => end += 1,
        }
        if depth == 0 {
            return end;
        }
    }
    chars.len()
}

fn string_end(chars: &[char], at: usize) -> usize {
    let mut end = at + 1;
    while end < chars.len() && chars[end] != '"' {
        end += if chars[end] == '\\' { 2 } else { 1 };
    }
    (end + 1).min(chars.len())
}

/// The end of `r"..."` or `r#"..."#`; only the next character where it is neither.
fn raw_string_end(chars: &[char], at: usize) -> usize {
    let hashes = chars[at + 1..].iter().take_while(|c| **c == '#').count();
    if chars.get(at + 1 + hashes) != Some(&'"') {
        return at + 1;
    }
    let close: Vec<char> = std::iter::once('"').chain(std::iter::repeat_n('#', hashes)).collect();
    let from = at + 2 + hashes;
    let length = chars[from..].windows(close.len()).position(|window| window == close);
    length.map_or(chars.len(), |length| from + length + close.len())
}

/// The end of a character such as `'"'` or `'\n'`; only the next one where it is a lifetime.
fn char_end(chars: &[char], at: usize) -> usize {
    match (chars.get(at + 1), chars.get(at + 2)) {
        (Some('\\'), _) => chars[at + 3..]
            .iter()
            .position(|c| *c == '\'')
            .map_or(chars.len(), |length| at + 4 + length),
        (Some(_), Some('\'')) => at + 3,
        _ => at + 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAMPLE: &str = r##"//! A file.
use a::b; // fn not_this() {
/* fn nor { /* this */ */
fn first(x: &'static str) -> [u8; 2] {
    let quote = '"';
    let text = "} fn text() {";
    let raw = r#"{ "{" "#;

    call(x)
}
type Callback = fn (u8);
#[cfg(test)]
mod apart;
#[cfg(test)]
mod tests {
    fn inner() {}
}
fn after();
"##;

    #[test]
    fn comments_and_strings_are_no_code() {
        let source = Source::new("a.rs", SAMPLE);
        let names: Vec<String> = source.functions().into_iter().map(|(name, ..)| name).collect();
        assert_eq!(names, ["first", "inner", "after"]);
        assert_eq!(source.functions()[0], ("first".to_owned(), 4, 6), "blank lines do not count");
        assert!(!source.code.concat().contains("text()"));
        assert_eq!(source.code.len(), source.raw.len());
    }

    #[test]
    fn what_is_declared_as_test_is_a_test() {
        let mut sources = [
            Source::new("crates/x/src/lib.rs", SAMPLE),
            Source::new("crates/x/src/apart.rs", "fn a() {}\n"),
            Source::new("crates/x/src/apart/deep.rs", "fn a() {}\n"),
            Source::new("crates/x/src/other.rs", "fn a() {}\n"),
            Source::new("crates/x/tests/it/main.rs", "fn a() {}\n"),
        ];
        mark_test_files(&mut sources);
        assert_eq!(sources.each_ref().map(Source::is_test), [false, true, true, false, true]);
        let tests: Vec<usize> =
            sources[0].lines().filter(|(_, _, test)| *test).map(|(n, ..)| n).collect();
        assert_eq!(tests, [12, 13, 14, 15, 16, 17]);
    }

    #[test]
    fn a_rule_is_broken_in_the_open_only() {
        let text = "a();\n// tidy: allow sleep, because it is slow\nb();\nc();\n";
        let source = Source::new("a.rs", text);
        assert_eq!([1, 3, 4].map(|line| source.allows(line, "sleep")), [false, true, false]);
        assert!(!source.allows(3, "size"));
    }
}
