//! Every dependency carries a licence that deny.toml allows, and none that it bans is linked.
//!
//! cargo-deny checks the same file where it is installed. This test needs cargo alone, so that
//! the rules hold on every machine that builds the project.

use serde_json::Value;
use std::{collections::BTreeSet, path::Path, process::Command};

/// What deny.toml says, as far as this test enforces it.
#[derive(Debug, Default)]
struct Rules {
    allowed: BTreeSet<String>,
    banned: BTreeSet<String>,
}

impl Rules {
    fn parse(deny_toml: &str) -> Self {
        let table: toml::Table = deny_toml.parse().expect("deny.toml is TOML");
        let list = |section: &str, key: &str| -> Vec<toml::Value> {
            table
                .get(section)
                .and_then(|section| section.get(key))
                .and_then(toml::Value::as_array)
                .expect("deny.toml has the lists that this test enforces")
                .clone()
        };
        let allowed = list("licenses", "allow")
            .iter()
            .map(|id| id.as_str().expect("a licence is text").to_owned())
            .collect();
        let banned = list("bans", "deny")
            .iter()
            .map(|ban| {
                let name = ban.get("crate").and_then(toml::Value::as_str);
                name.expect("a ban names its crate").to_owned()
            })
            .collect();
        Self { allowed, banned }
    }

    /// What is wrong with the packages of `cargo metadata`: one line each.
    fn violations(&self, metadata: &Value) -> Vec<String> {
        let packages = metadata["packages"].as_array().expect("cargo metadata lists packages");
        packages.iter().filter_map(|package| self.violation(package)).collect()
    }

    fn violation(&self, package: &Value) -> Option<String> {
        let name = package["name"].as_str().expect("a package has a name");
        if self.banned.contains(name) {
            return Some(format!("{name}: is banned"));
        }
        if let Some(source) = package["source"].as_str()
            && !source.starts_with("registry+")
        {
            return Some(format!("{name}: comes from {source}, not from the registry"));
        }
        let Some(licence) = package["license"].as_str() else {
            return Some(format!("{name}: names no licence"));
        };
        match Expression::parse(licence) {
            Ok(expression) if expression.is_met_by(&self.allowed) => None,
            Ok(_) => Some(format!("{name}: {licence} is not allowed")),
            Err(why) => Some(format!("{name}: {licence:?} cannot be read: {why}")),
        }
    }
}

/// An SPDX licence expression; the old form with `/` reads as `OR`.
#[derive(Debug, PartialEq)]
enum Expression {
    Licence(String),
    Any(Vec<Expression>),
    All(Vec<Expression>),
}

impl Expression {
    fn parse(text: &str) -> Result<Self, String> {
        let spaced = text.replace('(', " ( ").replace(')', " ) ").replace('/', " OR ");
        let words: Vec<&str> = spaced.split_whitespace().collect();
        let mut rest = words.as_slice();
        let expression = Self::any(&mut rest)?;
        match rest.first() {
            None => Ok(expression),
            Some(word) => Err(format!("{word:?} was not expected")),
        }
    }

    fn any(rest: &mut &[&str]) -> Result<Self, String> {
        let mut parts = vec![Self::all(rest)?];
        while let ["OR", after @ ..] = *rest {
            *rest = after;
            parts.push(Self::all(rest)?);
        }
        Ok(if parts.len() == 1 { parts.remove(0) } else { Self::Any(parts) })
    }

    fn all(rest: &mut &[&str]) -> Result<Self, String> {
        let mut parts = vec![Self::one(rest)?];
        while let ["AND", after @ ..] = *rest {
            *rest = after;
            parts.push(Self::one(rest)?);
        }
        Ok(if parts.len() == 1 { parts.remove(0) } else { Self::All(parts) })
    }

    fn one(rest: &mut &[&str]) -> Result<Self, String> {
        match *rest {
            ["(", after @ ..] => {
                *rest = after;
                let inner = Self::any(rest)?;
                match *rest {
                    [")", after @ ..] => *rest = after,
                    _ => return Err("a bracket is left open".to_owned()),
                }
                Ok(inner)
            }
            [id, "WITH", exception, after @ ..] => {
                *rest = after;
                Ok(Self::Licence(format!("{id} WITH {exception}")))
            }
            [word @ ("OR" | "AND" | "WITH" | ")"), ..] => Err(format!("{word:?} was not expected")),
            [id, after @ ..] => {
                *rest = after;
                Ok(Self::Licence((*id).to_owned()))
            }
            [] => Err("it ends too early".to_owned()),
        }
    }

    fn is_met_by(&self, allowed: &BTreeSet<String>) -> bool {
        match self {
            Self::Licence(id) => allowed.contains(id),
            Self::Any(parts) => parts.iter().any(|part| part.is_met_by(allowed)),
            Self::All(parts) => parts.iter().all(|part| part.is_met_by(allowed)),
        }
    }
}

fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

fn rules() -> Rules {
    let path = root().join("deny.toml");
    let text = std::fs::read_to_string(&path).expect("deny.toml is in the root of the workspace");
    Rules::parse(&text)
}

/// What `cargo metadata` says of the workspace, on all platforms and with all features.
fn metadata() -> Value {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--locked", "--all-features", "--format-version", "1"])
        .current_dir(root())
        .output()
        .expect("cargo starts");
    assert!(
        output.status.success(),
        "cargo metadata failed: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    serde_json::from_slice(&output.stdout).expect("cargo metadata prints JSON")
}

fn package(name: &str, licence: Option<&str>) -> Value {
    serde_json::json!({ "name": name, "license": licence, "source": "registry+index" })
}

fn violations_of(package: Value) -> Vec<String> {
    rules().violations(&serde_json::json!({ "packages": [package] }))
}

#[test]
fn every_dependency_is_allowed_by_deny_toml() {
    let metadata = metadata();
    let packages = metadata["packages"].as_array().expect("cargo metadata lists packages");
    // The five crates of the workspace and at least as many dependencies: the list is real.
    assert!(packages.len() > 10, "cargo metadata lists only {} packages", packages.len());
    let violations = rules().violations(&metadata);
    assert!(violations.is_empty(), "{}", violations.join("\n"));
}

#[test]
fn every_allowed_licence_is_in_use() {
    let metadata = metadata();
    let packages = metadata["packages"].as_array().expect("cargo metadata lists packages");
    let licences: Vec<&str> = packages.iter().filter_map(|p| p["license"].as_str()).collect();
    for id in rules().allowed {
        let used = licences.iter().any(|licence| licence.contains(id.as_str()));
        assert!(used, "deny.toml allows {id}, which no dependency carries");
    }
}

#[test]
fn a_banned_crate_is_found() {
    for name in ["aws-lc-sys", "aws-lc-rs", "openssl-sys", "native-tls"] {
        assert_eq!(violations_of(package(name, Some("MIT"))), [format!("{name}: is banned")]);
    }
}

#[test]
fn a_licence_outside_the_list_is_found() {
    assert_eq!(violations_of(package("a", Some("MIT OR GPL-3.0-only"))), Vec::<String>::new());
    for licence in ["GPL-3.0-only", "MIT AND GPL-3.0-only", "Apache-2.0 WITH Nobody-knows"] {
        let expected = format!("a: {licence} is not allowed");
        assert_eq!(violations_of(package("a", Some(licence))), [expected]);
    }
    assert_eq!(violations_of(package("a", None)), ["a: names no licence"]);
}

#[test]
fn a_licence_that_cannot_be_read_is_found() {
    for licence in ["", "MIT OR", "OR MIT", "(MIT", "MIT)", "MIT Apache-2.0", "AND", "MIT WITH"] {
        let found = violations_of(package("a", Some(licence)));
        assert!(found.concat().contains("cannot be read"), "{licence:?} gave {found:?}");
    }
}

#[test]
fn a_crate_from_outside_the_registry_is_found() {
    let mut package = package("a", Some("MIT"));
    package["source"] = "git+ssh://example.test/a".into();
    let found = violations_of(package);
    assert_eq!(found, ["a: comes from git+ssh://example.test/a, not from the registry"]);
}

#[test]
fn and_binds_tighter_than_or_and_brackets_tighter_still() {
    let allowed = BTreeSet::from(["A".to_owned(), "B".to_owned()]);
    let is_met = |text: &str| Expression::parse(text).expect(text).is_met_by(&allowed);
    assert!(is_met("A OR B AND C"));
    assert!(!is_met("(A OR B) AND C"));
    assert!(is_met("C/A"));
    assert!(is_met("(A AND (C OR B)) OR C"));
    assert!(!is_met("A WITH exception"));
}
