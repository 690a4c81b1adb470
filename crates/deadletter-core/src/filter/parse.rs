//! From text to filter, with errors that name the term, its place and the fix.

use super::{
    Filter, FilterError, Key, MAX_BYTES, MAX_IDS, MAX_TERMS, MAX_VALUE_BYTES, MAX_VALUES,
    compare::{Compare, Op, age_ms, number},
    error::nearest,
    pattern::{Pattern, Piece},
    term::{Term, Values},
};
use crate::{Class, DeadReason, StateKind, TaskId, Why};
use std::{fmt::Display, str::FromStr};

type Result<T> = std::result::Result<T, FilterError>;

impl FromStr for Filter {
    type Err = FilterError;

    fn from_str(text: &str) -> Result<Self> {
        if text.len() > MAX_BYTES {
            return Err(FilterError::too_long());
        }
        if text.trim() == "*" {
            return Ok(Self::all());
        }
        let terms = split_terms(text)?;
        if terms.len() > MAX_TERMS {
            return Err(FilterError::too_many_terms());
        }
        Self::within_limits(terms.into_iter().map(Source::term).collect::<Result<_>>()?)
    }
}

/// A value as it was written.
struct Value {
    pieces: Vec<Piece>,
    /// With quotes even the empty text is a value.
    quoted: bool,
}

impl Value {
    /// The characters, for values that know no wildcard.
    fn plain(&self) -> String {
        self.pieces
            .iter()
            .map(|piece| match piece {
                Piece::Char(c) => *c,
                Piece::Star => '*',
            })
            .collect()
    }
}

/// A term as it was written, and where.
#[derive(Clone, Copy)]
struct Source<'a> {
    /// In characters, from 1.
    position: usize,
    text: &'a str,
}

/// Splits at white space outside quotes.
fn split_terms(text: &str) -> Result<Vec<Source<'_>>> {
    let mut terms = Vec::new();
    let mut open: Option<(usize, usize)> = None;
    let (mut quoted, mut escaped) = (false, false);
    for (position, (at, c)) in text.char_indices().enumerate() {
        let is_gap = c.is_whitespace() && !quoted && !escaped;
        match (open, is_gap) {
            (Some((start, first)), true) => {
                let text = text.get(start..at).unwrap_or_default();
                terms.push(Source { position: first, text });
                open = None;
            }
            (None, false) => open = Some((at, position + 1)),
            _ => (),
        }
        quoted ^= c == '"' && !escaped;
        escaped = c == '\\' && !escaped;
    }
    if let Some((start, position)) = open {
        let source = Source { position, text: text.get(start..).unwrap_or_default() };
        if quoted {
            return Err(source.wrong("a quote is not closed", "add \" at the end of the value"));
        }
        if escaped {
            return Err(source.wrong(
                "nothing follows the last backslash",
                "write \\\\ for a backslash, or leave it out",
            ));
        }
        terms.push(source);
    }
    Ok(terms)
}

impl Source<'_> {
    fn wrong(self, what: impl Into<String>, fix: impl Into<String>) -> FilterError {
        FilterError::term((self.position, self.text), what, fix)
    }

    fn term(self) -> Result<Term> {
        let (negated, rest) = match self.text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, self.text),
        };
        let (name, written) = rest.split_once(':').ok_or_else(|| self.without_key(rest))?;
        let key = Key::named(name).ok_or_else(|| self.unknown_key(name))?;
        let values = self.split_values(key, written)?;
        Ok(Term { negated, key, values: self.values(key, &values)? })
    }

    fn without_key(self, text: &str) -> FilterError {
        let signed = text.find(['<', '>', '=']).and_then(|at| text.split_at_checked(at));
        let fix = if let Some((name, rest)) = signed {
            format!("write a colon behind the key: {name}:{rest}")
        } else if text.parse::<TaskId>().is_ok() {
            format!("write id:{text} for a task's number")
        } else if text.parse::<StateKind>().is_ok() {
            format!("write state:{text}")
        } else {
            "write key:value, such as cause:TIMEOUT".to_owned()
        };
        self.wrong("there is no key", fix)
    }

    fn unknown_key(self, name: &str) -> FilterError {
        let what = format!("there is no key {name:?}");
        match nearest(&name.to_ascii_lowercase(), Key::names()) {
            Some(near) => self.wrong(what, format!("did you mean {near}?")),
            None => {
                let keys: Vec<&str> = Key::ALL.iter().map(|key| key.label()).collect();
                self.wrong(what, format!("the keys are {}", keys.join(", ")))
            }
        }
    }

    /// Splits at commas outside quotes, and takes quotes and backslashes away.
    fn split_values(self, key: Key, written: &str) -> Result<Vec<Value>> {
        let mut values = vec![Value { pieces: Vec::new(), quoted: false }];
        let (mut quoted, mut escaped) = (false, false);
        for c in written.chars() {
            if c == ',' && !quoted && !escaped {
                values.push(Value { pieces: Vec::new(), quoted: false });
                continue;
            }
            let Some(value) = values.last_mut() else { break };
            match c {
                _ if escaped => {
                    value.pieces.push(Piece::Char(c));
                    escaped = false;
                }
                '\\' => escaped = true,
                '"' => {
                    quoted = !quoted;
                    value.quoted = true;
                }
                '*' => value.pieces.push(Piece::Star),
                _ => value.pieces.push(Piece::Char(c)),
            }
        }
        let most = if key == Key::Id { MAX_IDS } else { MAX_VALUES };
        if values.len() > most {
            let fix = format!("write at most {most} values per term");
            return Err(self.wrong("there are too many values", fix));
        }
        Ok(values)
    }

    fn values(self, key: Key, values: &[Value]) -> Result<Values> {
        for value in values {
            self.check_size(key, value)?;
        }
        Ok(match key {
            Key::State => Values::States(self.labels(values, StateKind::ALL)?),
            Key::Reason => Values::Reasons(self.labels(values, DeadReason::ALL)?),
            Key::Class => Values::Classes(self.labels(values, Class::ALL)?),
            Key::Why => Values::Whys(self.labels(values, Why::ALL)?),
            Key::Held => Values::Held(self.each(values, Self::yes_or_no)?),
            Key::Id => {
                let mut ids = self.each(values, Self::id)?;
                ids.sort_unstable();
                ids.dedup();
                Values::Ids(ids)
            }
            Key::Cause
            | Key::Sitekey
            | Key::Host
            | Key::Proxy
            | Key::Method
            | Key::Batch
            | Key::Tag
            | Key::Owner
            | Key::Account
            | Key::Group => {
                Values::Texts(values.iter().map(|v| Pattern::of(key, &v.pieces)).collect())
            }
            Key::Age | Key::Idle => Values::Ages(self.each(values, |s, text| s.age(key, text))?),
            Key::Attempts
            | Key::Submits
            | Key::Failures
            | Key::Refusals
            | Key::Redrives
            | Key::Priority => Values::Numbers(self.each(values, |s, text| s.number(key, text))?),
        })
    }

    fn check_size(self, key: Key, value: &Value) -> Result<()> {
        // An empty cause does not exist: causes without a name are called UNKNOWN.
        if value.pieces.is_empty() && (!value.quoted || key == Key::Cause) {
            let fix = format!("write {key}:VALUE, or leave the term out");
            return Err(self.wrong(format!("{key} has no value"), fix));
        }
        if value.plain().len() > MAX_VALUE_BYTES {
            let fix = format!("at most {MAX_VALUE_BYTES} bytes; write * for the rest");
            return Err(self.wrong("a value is too long", fix));
        }
        Ok(())
    }

    fn each<T>(self, values: &[Value], read: impl Fn(Self, &str) -> Result<T>) -> Result<Vec<T>> {
        values.iter().map(|value| read(self, &value.plain())).collect()
    }

    /// Values that are one of a few words.
    fn labels<T: Copy + Display>(self, values: &[Value], all: &[T]) -> Result<Vec<T>> {
        self.each(values, |source, text| {
            let text = text.to_ascii_lowercase();
            let words: Vec<(String, T)> =
                all.iter().map(|word| (word.to_string(), *word)).collect();
            if let Some((_, found)) = words.iter().find(|(word, _)| *word == text) {
                return Ok(*found);
            }
            let known: Vec<&str> = words.iter().map(|(word, _)| word.as_str()).collect();
            let near = nearest(&text, known.iter().copied())
                .map_or_else(String::new, |near| format!("did you mean {near}? "));
            let fix = format!("{near}it is one of {}", known.join(", "));
            Err(source.wrong(format!("there is no value {text:?}"), fix))
        })
    }

    fn yes_or_no(self, text: &str) -> Result<bool> {
        match text.to_ascii_lowercase().as_str() {
            "yes" | "true" => Ok(true),
            "no" | "false" => Ok(false),
            _ => {
                Err(self
                    .wrong(format!("{text:?} is neither yes nor no"), "write held:yes or held:no"))
            }
        }
    }

    fn id(self, text: &str) -> Result<TaskId> {
        text.parse().map_err(|_| {
            self.wrong(
                format!("{text:?} is not a task's number"),
                "an id is a number below 2^53, such as id:1754",
            )
        })
    }

    fn number(self, key: Key, text: &str) -> Result<Compare> {
        let (op, digits) = Op::split(text);
        let with = number(digits).ok_or_else(|| {
            let fix = format!("write a whole number, such as {key}:>=4");
            self.wrong(format!("{digits:?} is not a number"), fix)
        })?;
        Ok(Compare { op: op.unwrap_or(Op::Equal), with })
    }

    fn age(self, key: Key, text: &str) -> Result<Compare> {
        let (op, span) = Op::split(text);
        let Some(with) = age_ms(span) else {
            let fix = match number(span) {
                Some(n) => format!("add a unit: {n}s, {n}m, {n}h or {n}d"),
                None => format!("write a whole number and a unit, such as {key}:<24h"),
            };
            return Err(self.wrong(format!("{span:?} is not a length of time"), fix));
        };
        let op = op.ok_or_else(|| {
            let fix = format!("write {key}:<{span} for less, {key}:>{span} for more");
            self.wrong("a length of time needs a comparison", fix)
        })?;
        Ok(Compare { op, with })
    }
}
