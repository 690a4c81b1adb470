//! Every example that a reader may copy is run: those of the help texts, of README.md and of
//! docs/, against the simulator, at a terminal, as they stand.
#![allow(clippy::indexing_slicing, clippy::panic, reason = "a test fails by panicking")]

mod page;
mod stage;

use page::{Line, of_help, of_page};
use stage::Stage;
use std::{
    path::{Path, PathBuf},
    sync::Mutex,
};

/// Examples that run at the same time: each is a process that mostly waits.
const SIDE_BY_SIDE: usize = 4;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().expect("the workspace")
}

#[test]
fn every_example_of_a_help_text_does_what_it_says() {
    let stage = Stage::furnished();
    let examples = of_help(&stage);
    assert!(examples.len() >= 2 * 11, "{} examples were found", examples.len());
    let queue = Mutex::new(examples);
    let failures = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..SIDE_BY_SIDE {
            scope.spawn(|| {
                loop {
                    let Some(example) = queue.lock().expect("no panic").pop() else { break };
                    // Each on a copy: none rests on what another has done.
                    if let Err(failure) = stage.copy().run(&example) {
                        failures.lock().expect("no panic").push(failure);
                    }
                }
            });
        }
    });
    let failures = failures.into_inner().expect("no panic");
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
}

#[test]
fn the_readme_can_be_followed_from_its_first_line_to_its_last() {
    let text = std::fs::read_to_string(root().join("README.md")).expect("README.md");
    follow(&of_page(&text), 5);
}

#[test]
fn every_page_of_the_documentation_can_be_followed() {
    for entry in std::fs::read_dir(root().join("docs")).expect("docs/") {
        let path = entry.expect("an entry").path();
        if path.extension().is_some_and(|e| e == "md") {
            let text = std::fs::read_to_string(&path).expect("text");
            follow(&of_page(&text), 0);
        }
    }
}

/// Runs the lines of one page in order, in one place, as its reader would.
fn follow(lines: &[Line], at_least: usize) {
    assert!(lines.len() >= at_least, "{} lines were found", lines.len());
    if lines.is_empty() {
        return;
    }
    let mut stage = Stage::of_reader(&root().join("examples"));
    for line in lines {
        if let Err(failure) = stage.follow(line) {
            panic!("{failure}");
        }
    }
}
