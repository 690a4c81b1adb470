//! How the program talks: filters as people type them, counts that agree, advice in every fault.

use crate::{
    bench::{at_pipe, ended, started},
    upstream::{GOOD, Scene, lines},
};
use deadletter_sim::{Fault, Phase, Rule, Scenario};
use std::{
    fs::File,
    io::{BufRead, BufReader},
    process::Command,
};

/// A store with `n` dead letters.
fn dead(n: usize) -> Scene {
    let rule = Rule::new(Fault::Unsolvable).on(Phase::Poll).sitekey("6Le-dead");
    let scene = Scene::new(Scenario::default().solve_ms(5_000).rule(rule));
    scene.rows("tasks.csv", "6Le-dead", n);
    assert_eq!(scene.run(&["run", "tasks.csv"]).code, 3);
    scene
}

#[test]
fn a_term_that_begins_with_a_dash_is_a_term_and_an_option_is_an_option() {
    let scene = dead(2);
    let count = |args: &[&str]| {
        let ran = scene.run(args);
        assert_eq!(ran.code, 0, "{args:?}: {}", ran.stderr);
        lines(&ran).len()
    };
    assert_eq!(count(&["list", "state:dead", "-batch:tasks"]), 0);
    assert_eq!(count(&["list", "-batch:tasks"]), 0);
    assert_eq!(count(&["list", "-batch:other", "--limit", "1"]), 1);
    assert_eq!(count(&["list", "--limit", "1", "state:dead", "-batch:other", "--json"]), 1);
    assert_eq!(count(&["list", "-q", "-batch:other"]), 2);
    assert_eq!(count(&["export", "-batch:tasks"]), 2, "a header and a footer");
    assert_eq!(count(&["export", "state:dead", "-batch:other", "--format", "jsonl"]), 4);
    let dry = ["redrive", "--dry-run", "--where", "-batch:other"];
    assert_eq!(lines(&scene.run(&dry))[0]["count"], 2);
    let slip = scene.run(&["list", "state:dead", "--limt", "1"]);
    assert_eq!(slip.code, 2);
    assert!(slip.stderr.contains("--limt") && slip.stderr.contains("--limit"), "{}", slip.stderr);
    for help in ["list", "export"] {
        let text = scene.run(&[help, "--help"]).stdout;
        assert!(
            text.contains("state:dead -batch:nightly") && !text.contains(" behind --"),
            "{text}"
        );
    }
}

#[test]
fn one_is_told_as_one() {
    let scene = dead(1);
    let told = |args: &[&str]| scene.run(args).stderr;
    assert!(
        told(&["run", "tasks.csv", "--resume"]).contains("1 task is stored; 1 of them from before")
    );
    assert!(told(&["run", "tasks.csv"]).contains("already (1 task)"));
    assert!(told(&["run", "tasks.csv", "--dry-run"]).contains("1 row is good"));
    assert!(told(&["export", "--out", "dead.jsonl"]).contains("1 letter exported to"));
    assert!(told(&["import", "dead.jsonl"]).contains("0 letters imported, 1 was here already"));
    scene.bench.write("bad.csv", &format!("sitekey,url\n{GOOD},https://a.example\n{GOOD}\n"));
    let bad = told(&["run", "bad.csv"]);
    assert!(bad.contains("it has 1 field, ") && bad.contains("1 bad row was put aside"), "{bad}");
}

#[test]
fn an_export_whose_reader_leaves_claims_no_success() {
    let scene = dead(2);
    let path = scene.bench.path("pipe");
    assert!(Command::new("mkfifo").arg(&path).status().expect("mkfifo exists").success());
    // More than a pipe holds, so that it is written to after its reader has gone.
    let rows: String =
        (0..400).map(|n| format!("6Le-dead,https://a.example/{n}?{}\n", "x".repeat(400))).collect();
    scene.bench.write("more.csv", &format!("sitekey,url\n{rows}"));
    assert_eq!(scene.run(&["run", "more.csv"]).code, 3);
    let child = started(scene.command(&["export", "--out", "pipe"]));
    at_pipe(&child, move || {
        let mut line = String::new();
        BufReader::new(File::open(&path).expect("opened")).read_line(&mut line).expect("a line");
    });
    let output = ended(child);
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(told.contains("the reader of pipe went away before it had everything"), "{told}");
    assert!(!told.contains("exported"), "{told}");
}
