//! The rules of the code that compiler and clippy do not know, kept by a machine.
//!
//! Each rule reads text and lists what breaks it, with file, line and what to do. A rule that must
//! be broken once is broken in the open: a comment `tidy: allow RULE, because ...` on the line or
//! on the one above it. Every rule is shown to bite on small samples beside it.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod documents;
mod layers;
mod sizes;
mod source;
mod words;

use source::Source;
use std::{
    fmt,
    path::{Path, PathBuf},
};

/// A place where a rule is broken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Breach {
    pub(crate) file: String,
    /// From 1.
    pub(crate) line: usize,
    pub(crate) what: String,
    pub(crate) fix: &'static str,
}

impl fmt::Display for Breach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}; {}", self.file, self.line, self.what, self.fix)
    }
}

/// The top of the repository.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

/// Every file below the root that people wrote, by its path from there.
fn files() -> Vec<(String, PathBuf)> {
    // Build output, the repository itself, and a file that cargo writes.
    const SKIPPED: [&str; 4] = ["target", ".git", "Cargo.lock", "proptest-regressions"];
    let root = root();
    let mut found = Vec::new();
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if SKIPPED.contains(&name.as_str()) {
                continue;
            }
            if path.is_dir() {
                folders.push(path);
            } else {
                let short = path.strip_prefix(&root).unwrap().to_string_lossy().into_owned();
                found.push((short, path));
            }
        }
    }
    found.sort();
    found
}

/// Every text with its path; what is not text is left out.
fn texts() -> Vec<(String, String)> {
    let read =
        |(short, path): (String, PathBuf)| Some((short, std::fs::read_to_string(path).ok()?));
    files().into_iter().filter_map(read).collect()
}

fn sources() -> Vec<Source> {
    let texts = texts();
    let rust = texts.iter().filter(|(path, _)| path.ends_with(".rs"));
    let mut sources: Vec<Source> = rust.map(|(path, text)| Source::new(path, text)).collect();
    source::mark_test_files(&mut sources);
    assert!(sources.len() > 100, "only {} sources: does the walk still find them?", sources.len());
    sources
}

fn none(breaches: impl IntoIterator<Item = Breach>) {
    let breaches: Vec<String> = breaches.into_iter().map(|breach| breach.to_string()).collect();
    assert!(breaches.is_empty(), "{} breaches:\n{}", breaches.len(), breaches.join("\n"));
}

#[test]
fn files_and_functions_stay_small() {
    none(sources().iter().flat_map(sizes::breaches));
}

#[test]
fn every_file_says_its_one_job_first() {
    none(sources().iter().flat_map(words::without_a_first_line));
}

#[test]
fn crates_depend_in_one_direction() {
    let manifests = texts().into_iter().filter(|(path, _)| path.ends_with("Cargo.toml"));
    none(manifests.flat_map(|(path, text)| layers::breaches(&path, &text)));
}

#[test]
fn the_core_asks_nobody() {
    none(sources().iter().flat_map(words::impure));
}

#[test]
fn words_that_mean_nothing_or_hide_something_are_not_used() {
    none(sources().iter().flat_map(words::banned));
}

#[test]
fn tests_wait_for_signals() {
    none(sources().iter().flat_map(words::sleeping));
}

#[test]
fn names_say_what_a_thing_does() {
    none(sources().iter().flat_map(words::empty_names));
}

#[test]
fn no_text_names_one_machine() {
    none(texts().iter().flat_map(|(path, text)| words::of_one_machine(path, text)));
}

#[test]
fn documents_name_files_that_exist() {
    let documents = texts().into_iter().filter(|(path, _)| path.ends_with(".md"));
    none(documents.flat_map(|(path, text)| {
        documents::breaches(&path, &text, |named| root().join(named).exists())
    }));
}
