//! Which column means which parameter: guessed from its name, or told by `--map`.

use crate::fault::{Fault, Result};
use std::collections::BTreeMap;

/// What a column is for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Target {
    /// A parameter of the request.
    Param(String),
    /// The site key: `googlekey` or `sitekey`, as the method has it.
    Sitekey,
    /// 0 to 3.
    Priority,
    /// Words of the owner, parted by spaces or commas.
    Tags,
    /// Nothing.
    Ignored,
}

impl Target {
    /// For people.
    pub(crate) fn label(&self) -> &str {
        match self {
            Self::Param(name) => name,
            Self::Sitekey => "site key",
            Self::Priority => "priority of the task",
            Self::Tags => "tags of the task",
            Self::Ignored => "nothing",
        }
    }
}

/// Names that people use, folded to small letters and digits.
const KNOWN: &[(&str, &str)] = &[
    ("method", "method"),
    ("googlekey", "googlekey"),
    ("recaptchakey", "googlekey"),
    ("pageurl", "pageurl"),
    ("url", "pageurl"),
    ("page", "pageurl"),
    ("website", "pageurl"),
    ("websiteurl", "pageurl"),
    ("proxy", "proxy"),
    ("proxytype", "proxytype"),
    ("action", "action"),
    ("pageaction", "action"),
    ("minscore", "min_score"),
    ("score", "min_score"),
    ("datas", "data-s"),
    ("recaptchadatasvalue", "data-s"),
    ("useragent", "userAgent"),
    ("cookie", "cookies"),
    ("cookies", "cookies"),
    ("version", "version"),
    ("enterprise", "enterprise"),
    ("isenterprise", "enterprise"),
    ("invisible", "invisible"),
    ("isinvisible", "invisible"),
    ("body", "body"),
    ("base64", "body"),
    ("gt", "gt"),
    ("challenge", "challenge"),
    ("captchaid", "captcha_id"),
    ("apiserver", "api_server"),
];
/// Site keys under whatever name.
const SITEKEYS: &[&str] = &["sitekey", "websitekey", "datasitekey"];
/// Our own notes in a file of rejected rows.
const NOTES: &[&str] = &["rejectedline", "rejectedrow", "rejectedreason", "rejectedtext"];
/// Parameters that are set by the program alone.
const OURS: &[&str] = &["key", "apikey", "clientkey", "json"];
/// New columns that JSON rows may bring along, one row after the other.
const COLUMNS_LIMIT: usize = 500;

/// What `--map` says: column to parameter, or to nothing.
pub(crate) type Overrides = BTreeMap<String, Option<String>>;

/// The columns seen so far.
#[derive(Debug, Default)]
pub(crate) struct Columns {
    overrides: Overrides,
    targets: BTreeMap<String, Target>,
    news: Vec<String>,
}

impl Columns {
    /// No column seen yet.
    pub(crate) fn new(overrides: Overrides) -> Self {
        Self { overrides, ..Self::default() }
    }

    /// What `column` is for; a fault where it would carry the key.
    pub(crate) fn target(&mut self, column: &str) -> Result<&Target> {
        if !self.targets.contains_key(column) {
            if self.targets.len() >= COLUMNS_LIMIT {
                return Err(Fault::usage(format!(
                    "the rows have more than {COLUMNS_LIMIT} columns"
                ))
                .fix("is this a file of tasks?"));
            }
            let target = self.guess(column)?;
            self.targets.insert(column.to_owned(), target);
            self.news.push(column.to_owned());
        }
        self.targets.get(column).ok_or_else(|| Fault::failed("a column was lost"))
    }

    /// Columns seen since the last call, with what each is taken for: `url -> pageurl`.
    pub(crate) fn take_news(&mut self) -> Vec<String> {
        let news = std::mem::take(&mut self.news);
        let shown =
            |column: &String| Some(format!("{column} -> {}", self.targets.get(column)?.label()));
        news.iter().filter_map(shown).collect()
    }

    /// True where some column names a page, a site key, a method or an image.
    pub(crate) fn are_of_tasks(&self) -> bool {
        let telling = ["method", "googlekey", "pageurl", "body", "gt", "captcha_id"];
        self.targets.values().any(|target| match target {
            Target::Param(name) => telling.contains(&name.as_str()),
            Target::Sitekey => true,
            _ => false,
        })
    }

    /// Columns that `--map` names and the file does not have.
    pub(crate) fn missing(&self) -> Vec<&str> {
        let seen = |column: &&String| !self.targets.contains_key(*column);
        self.overrides.keys().filter(seen).map(String::as_str).collect()
    }

    fn guess(&self, column: &str) -> Result<Target> {
        let target = match self.overrides.get(column) {
            Some(None) => return Ok(Target::Ignored),
            Some(Some(param)) => by_name(param).unwrap_or_else(|| Target::Param(param.clone())),
            None => by_name(column).unwrap_or_else(|| Target::Param(column.to_owned())),
        };
        match &target {
            Target::Param(name) if OURS.contains(&folded(name).as_str()) => {
                Err(Fault::usage(format!("the column {column:?} would be sent as {name:?}"))
                    .why("the key never comes from a file of tasks")
                    .fix(format!(
                        "--map {column}=- leaves it out, --map {column}=PARAMETER renames it"
                    )))
            }
            _ => Ok(target),
        }
    }
}

fn by_name(name: &str) -> Option<Target> {
    let folded = folded(name);
    let is = |known: &&str| **known == *folded;
    if SITEKEYS.iter().any(is) {
        return Some(Target::Sitekey);
    }
    if folded.is_empty() || NOTES.iter().any(is) {
        return Some(Target::Ignored);
    }
    match folded.as_str() {
        "priority" => Some(Target::Priority),
        "tag" | "tags" => Some(Target::Tags),
        _ => KNOWN
            .iter()
            .find(|(known, _)| is(known))
            .map(|(_, param)| Target::Param((*param).to_owned())),
    }
}

/// Small letters and digits alone: `Site Key`, `site_key` and `siteKey` are one.
fn folded(name: &str) -> String {
    name.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

/// A `--map` argument: `column=parameter`, or `column=-` to leave it out.
pub(crate) fn override_of(text: &str) -> Result<(String, Option<String>), String> {
    match text.split_once('=') {
        Some((column, "-")) if !column.is_empty() => Ok((column.to_owned(), None)),
        Some((column, param)) if !column.is_empty() && !param.is_empty() => {
            Ok((column.to_owned(), Some(param.to_owned())))
        }
        _ => Err("it has the form COLUMN=PARAMETER, or COLUMN=- to leave a column out".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_people_use_are_understood() {
        let mut columns = Columns::default();
        for (column, label) in [
            ("sitekey", "site key"),
            ("Site Key", "site key"),
            ("googlekey", "googlekey"),
            ("page_url", "pageurl"),
            ("URL", "pageurl"),
            ("websiteURL", "pageurl"),
            ("minScore", "min_score"),
            ("data-s", "data-s"),
            ("proxy_type", "proxytype"),
            ("rejected_reason", "nothing"),
            ("rejected_row", "nothing"),
            ("soft_id", "soft_id"),
        ] {
            assert_eq!(columns.target(column).expect("allowed").label(), label, "{column}");
        }
        assert_eq!(columns.take_news().first().map(String::as_str), Some("sitekey -> site key"));
        assert!(columns.take_news().is_empty());
    }

    #[test]
    fn the_key_never_comes_from_a_column() {
        for column in ["key", "API_KEY", "clientKey", "json"] {
            assert!(Columns::default().target(column).is_err(), "{column}");
        }
        let overrides = [("key".to_owned(), None)].into();
        assert_eq!(Columns::new(overrides).target("key").expect("left out"), &Target::Ignored);
        let overrides = [("key".to_owned(), Some("googlekey".to_owned()))].into();
        assert_eq!(Columns::new(overrides).target("key").expect("renamed").label(), "googlekey");
        let overrides = [("x".to_owned(), Some("key".to_owned()))].into();
        assert!(Columns::new(overrides).target("x").is_err());
    }

    #[test]
    fn an_override_is_a_pair() {
        assert_eq!(override_of("a=b"), Ok(("a".to_owned(), Some("b".to_owned()))));
        assert_eq!(override_of("a=-"), Ok(("a".to_owned(), None)));
        for bad in ["a", "=b", "a="] {
            assert!(override_of(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_override_that_names_no_column_is_noticed() {
        let mut columns = Columns::new([("no".to_owned(), None)].into());
        columns.target("url").expect("allowed");
        assert_eq!(columns.missing(), ["no"]);
    }
}
