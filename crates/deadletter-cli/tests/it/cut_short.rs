//! A `run` that is cut short: by ctrl-C, once and twice, and by a reader that leaves.

use crate::{
    bench::{at_pipe, first_line, interrupt, started},
    upstream::{GOOD, Scene, json_lines, lines},
};
use deadletter_sim::{Fault, OutageMode, Phase, Rule, Scenario};
use std::{
    collections::BTreeSet,
    io::{BufRead, BufReader, Read},
    process::Command,
};

#[test]
fn ctrl_c_keeps_everything_and_a_resume_goes_on() {
    let scene = Scene::new(Scenario::default().threads(4).solve_ms(30_000));
    scene.rows("tasks.csv", GOOD, 12);
    let child = started(scene.command(&["run", "tasks.csv", "--out", "answers.jsonl"]));
    scene.until(|stats| stats.paid >= 6);
    interrupt(&child);
    let output = child.wait_with_output().expect("it ends");
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(130), "{told}");
    assert!(told.contains("--resume"), "{told}");
    let at = |words: &str| told.find(words).unwrap_or_else(|| panic!("no {words} in {told}"));
    assert!(
        at("stopping: ") < at(" of 12 solved") && at(" of 12 solved") < at("is kept"),
        "{told}"
    );
    let resumed = scene.run(&["run", "tasks.csv", "--resume", "--out", "answers.jsonl"]);
    assert_eq!(resumed.code, 0, "{}", resumed.stderr);
    let answers = json_lines(&scene.bench.read("answers.jsonl"));
    let numbers: BTreeSet<_> = answers.iter().map(|row| row["line"].as_u64()).collect();
    assert_eq!((answers.len(), numbers.len()), (12, 12));
    assert_eq!(scene.paid(), 12, "no row was submitted twice");
    assert!(scene.simulator.stats().peak_threads <= 4);
}

#[test]
fn a_second_ctrl_c_does_not_wait_for_an_upstream_that_hangs() {
    let scene = Scene::happy();
    scene.rows("tasks.csv", GOOD, 3);
    scene.simulator.outage(OutageMode::Hang);
    let child = started(scene.command(&["run", "tasks.csv", "--concurrency", "1"]));
    scene.until(|stats| stats.submits >= 1);
    interrupt(&child);
    interrupt(&child);
    let output = child.wait_with_output().expect("it ends");
    assert_eq!(output.status.code(), Some(130));
    scene.simulator.end_outage();
    let resumed = scene.run(&["run", "tasks.csv", "--resume"]);
    assert_eq!((resumed.code, lines(&resumed).len()), (0, 3), "{}", resumed.stderr);
}

#[test]
fn a_second_ctrl_c_does_not_wait_for_the_users_program() {
    let unsolvable = Rule::new(Fault::Unsolvable).on(Phase::Poll);
    let scene = Scene::new(Scenario::default().solve_ms(5_000).rule(unsolvable));
    scene.rows("tasks.csv", GOOD, 1);
    let fifos = ["begun", "never"].map(|name| scene.bench.path(name));
    assert!(Command::new("mkfifo").args(&fifos).status().expect("mkfifo exists").success());
    let tell = "sh -c 'echo > begun; read x < never'";
    let mut child = started(scene.command(&["run", "tasks.csv", "--on-dead", tell]));
    let begun = scene.bench.path("begun");
    at_pipe(&child, || std::fs::read(begun).expect("it has begun"));
    interrupt(&child);
    let mut told = BufReader::new(child.stderr.take().expect("piped"));
    let mut text = String::new();
    while !text.contains("stopping: ") {
        assert!(told.read_line(&mut text).expect("a line") > 0, "{text}");
    }
    interrupt(&child);
    told.read_to_string(&mut text).expect("read");
    assert_eq!(child.wait().expect("it ends").code(), Some(130), "{text}");
    assert!(!text.contains("took more than"), "{text}");
}

#[test]
fn a_reader_that_leaves_stops_the_run_and_loses_nothing() {
    let scene = Scene::happy();
    scene.rows("tasks.csv", GOOD, 6);
    let mut child = started(scene.command(&["run", "tasks.csv"]));
    let (line, out) = first_line(&mut child);
    assert!(line.contains("solved"), "{line}");
    drop(out);
    let output = child.wait_with_output().expect("it ends");
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(!told.contains("panicked"), "{told}");
    assert!(told.contains("the reader of the answers went away; everything is kept"), "{told}");
    let resumed = scene.run(&["run", "tasks.csv", "--resume"]);
    assert_eq!((resumed.code, lines(&resumed).len()), (0, 6), "{}", resumed.stderr);
    assert_eq!(scene.paid(), 6);
}
