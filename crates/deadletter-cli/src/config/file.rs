//! `deadletter.toml`: where it is found, and its values with their lines.

use super::{
    Environment,
    dotenv::Variables,
    layers::{Origin, Sourced},
    table::{OPEN_TABLES, SETTINGS, by_key, nearest},
};
use crate::fault::{Fault, Result};
use std::path::{Path, PathBuf};
use toml::de::{DeArray, DeTable, DeValue};

/// The file's name, in the current directory and in the configuration directory.
const FILE_NAME: &str = "deadletter.toml";
/// A configuration is a page, not a data base.
const SIZE_LIMIT: u64 = 1 << 20;

/// The file to read: named by flag or variable, else the first that exists.
///
/// Parent directories are not searched: a stranger's file in `/tmp` must not choose where the key
/// is sent.
pub(crate) fn find(environment: &Environment, flag: Option<&Path>) -> Result<Option<PathBuf>> {
    let by_variable = Variables::read(environment)?.get("DEADLETTER_CONFIG");
    let named = flag
        .map(|path| (path.to_owned(), "--config".to_owned()))
        .or_else(|| by_variable.map(|value| (value.raw.into(), value.origin.to_string())));
    if let Some((path, by)) = named {
        let path = environment.current_dir.join(path);
        return if path.is_file() {
            Ok(Some(path))
        } else {
            Err(Fault::usage(format!("there is no configuration file {}", path.display()))
                .why(format!("{by} names it"))
                .fix("name an existing file, or leave it out to use the defaults"))
        };
    }
    Ok(candidates(environment).into_iter().find(|path| path.is_file()))
}

/// Where a file is looked for, first wins.
pub(crate) fn candidates(environment: &Environment) -> Vec<PathBuf> {
    let mut places = vec![environment.current_dir.join(FILE_NAME)];
    places.extend(environment.config_dir().map(|dir| dir.join(FILE_NAME)));
    places
}

/// The values of the file at `path`, each with its line.
pub(super) fn read(path: &Path) -> Result<Vec<(String, Sourced)>> {
    let shown = path.display();
    let failed = |error| {
        Fault::usage(format!("cannot read {shown}"))
            .because(error)
            .fix("make it a text file that you can read, or name another with --config")
    };
    let size = std::fs::metadata(path).map_err(failed)?.len();
    if size > SIZE_LIMIT {
        return Err(Fault::usage(format!("{shown} is too long for a configuration"))
            .why(format!("it has {size} bytes; {SIZE_LIMIT} are the limit"))
            .fix("name the right file with --config"));
    }
    parse(path, &std::fs::read_to_string(path).map_err(failed)?)
}

/// The values of `text`, as if it stood at `path`.
fn parse(path: &Path, text: &str) -> Result<Vec<(String, Sourced)>> {
    let document = DeTable::parse(text).map_err(|error| {
        let line = error.span().map_or(1, |span| line_at(text, span.start));
        Fault::usage(format!("{}:{line} is not TOML", path.display()))
            .why(error.message())
            .fix("a line is `name = \"text\"` or `name = 1`, under [account], [policy], [deliveries], [timeouts] or [codes]")
    })?;
    let mut values = Vec::new();
    Walk { path, text }.table("", document.get_ref(), &mut values)?;
    Ok(values)
}

/// The line of a byte offset, from 1.
fn line_at(text: &str, offset: usize) -> usize {
    text.bytes().take(offset).filter(|byte| *byte == b'\n').count() + 1
}

struct Walk<'a> {
    path: &'a Path,
    text: &'a str,
}

impl Walk<'_> {
    fn table(
        &self,
        prefix: &str,
        table: &DeTable<'_>,
        values: &mut Vec<(String, Sourced)>,
    ) -> Result<()> {
        for (name, value) in table {
            let line = line_at(self.text, name.span().start);
            let key = if prefix.is_empty() {
                name.get_ref().to_string()
            } else {
                format!("{prefix}.{}", name.get_ref())
            };
            let open = OPEN_TABLES.contains(&prefix);
            match value.get_ref() {
                DeValue::Table(inner) if prefix.is_empty() && is_table(&key) => {
                    self.table(&key, inner, values)?;
                }
                value if open || by_key(&key).is_some() => {
                    let raw = match value {
                        DeValue::Array(items) if by_key(&key).is_some_and(|it| it.list) => {
                            self.list(&key, line, items)?
                        }
                        value => self.scalar(&key, line, value)?,
                    };
                    let origin = Origin::File { path: self.path.to_owned(), line };
                    values.push((key, Sourced { raw, origin }));
                }
                _ => return Err(self.unknown(&key, line)),
            }
        }
        Ok(())
    }

    /// As it would stand in a variable.
    fn list(&self, key: &str, line: usize, items: &DeArray<'_>) -> Result<String> {
        let texts = items.iter().map(|item| self.scalar(key, line, item.get_ref()));
        Ok(texts.collect::<Result<Vec<_>>>()?.join(", "))
    }

    fn scalar(&self, key: &str, line: usize, value: &DeValue<'_>) -> Result<String> {
        match value {
            DeValue::String(text) => Ok(text.to_string()),
            DeValue::Integer(n) if n.radix() == 10 => Ok(n.as_str().to_owned()),
            DeValue::Float(n) => Ok(n.as_str().to_owned()),
            DeValue::Boolean(truth) => Ok(truth.to_string()),
            other => Err(Fault::usage(format!("{}:{line}: {key} has no use", self.path.display()))
                .why(format!(
                    "it is {} of TOML, where a text or a number is wanted",
                    other.type_str()
                ))
                .fix(format!(
                    "write {key} = ... on one line; `deadletter config show` has examples"
                ))),
        }
    }

    fn unknown(&self, key: &str, line: usize) -> Fault {
        let known = SETTINGS.iter().map(|setting| setting.key).chain(OPEN_TABLES.iter().copied());
        // A last part alone (`threads` without its table) is the most frequent slip.
        let last = |known: &'static str| known.rsplit('.').next().unwrap_or(known);
        let near = nearest(key, known.clone())
            .or_else(|| known.clone().find(|known| last(known) == last_part(key)));
        let fault =
            Fault::usage(format!("{}:{line}: there is no setting {key}", self.path.display()))
                .why("an unknown setting is an error, so that no slip of the pen goes unnoticed");
        match near {
            Some(near) => fault.fix(format!("did you mean {near}?")),
            None => fault.fix("`deadletter config show` lists every setting"),
        }
    }
}

fn is_table(key: &str) -> bool {
    let prefix = format!("{key}.");
    OPEN_TABLES.contains(&key) || SETTINGS.iter().any(|setting| setting.key.starts_with(&prefix))
}

fn last_part(key: &str) -> &str {
    key.rsplit('.').next().unwrap_or(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_text(text: &str) -> Result<Vec<(String, Sourced)>> {
        parse(Path::new("deadletter.toml"), text)
    }

    #[test]
    fn every_value_knows_its_line() {
        let mut values =
            read_text("store = \"memory:\"\n\n[account]\nthreads = 8\n").expect("valid");
        values.sort_by(|(a, _), (b, _)| b.cmp(a));
        let lines: Vec<_> = values
            .iter()
            .map(|(key, value)| (key.as_str(), value.raw.as_str(), value.origin.to_string()))
            .collect();
        assert_eq!(
            lines,
            [
                ("store", "memory:", "deadletter.toml:1".to_owned()),
                ("account.threads", "8", "deadletter.toml:4".to_owned())
            ]
        );
    }

    #[test]
    fn an_unknown_key_is_an_error_with_line_and_suggestion() {
        for (text, line, near) in [
            ("stroe = \"memory:\"", 1, "store"),
            ("[account]\nname = \"a\"\ntreads = 8", 3, "account.threads"),
            ("\nthreads = 8", 2, "account.threads"),
            ("[polcy]\nfirst_submits = 1", 1, "policy"),
        ] {
            let fault = read_text(text).expect_err("unknown keys are refused");
            assert!(fault.what.contains(&format!("toml:{line}:")), "{}", fault.what);
            assert!(fault.fix.as_deref().unwrap_or_default().contains(near), "{:?}", fault.fix);
        }
    }

    #[test]
    fn text_that_is_not_toml_names_its_line() {
        let fault = read_text("store = \"memory:\"\n[account\n").expect_err("it is torn");
        assert!(fault.what.starts_with("deadletter.toml:2"), "{}", fault.what);
    }

    #[test]
    fn a_list_is_read_where_a_setting_takes_one() {
        for text in ["[\"10.0.0.0/8\", \"::1\"]", "\"10.0.0.0/8, ::1\""] {
            let values = read_text(&format!("[deliveries]\nallow = {text}")).expect("valid");
            assert_eq!(values[0].1.raw, "10.0.0.0/8, ::1");
        }
        assert!(read_text("[deliveries]\nallow = [[\"::1\"]]").is_err());
    }

    #[test]
    fn a_list_where_a_number_is_wanted_is_refused() {
        assert!(read_text("[account]\nthreads = [8]").is_err());
        assert!(read_text("[account.threads]\nmax = 8").is_err());
    }
}
