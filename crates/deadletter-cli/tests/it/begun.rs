//! A store that a command begins is told; one that is only looked at is left unmade.

use crate::{
    advice::place,
    bench::{Bench, KEY, ended, first_line, interrupt, ran, started},
    upstream::{GOOD, Scene, lines},
};

#[test]
fn whoever_begins_a_store_says_so_once() {
    let scene = Scene::happy();
    scene.rows("tasks.csv", GOOD, 1);
    let told = "a new store was begun at";
    let first = scene.run(&["run", "tasks.csv", "--store", "sqlite:slip.db"]);
    assert!(first.stderr.contains(told) && first.stderr.contains("slip.db"), "{}", first.stderr);
    let again = scene.run(&["run", "tasks.csv", "--resume", "--store", "sqlite:slip.db"]);
    assert!(!again.stderr.contains(told), "{}", again.stderr);
}

#[test]
fn a_gateway_names_its_store_as_it_was_written_and_whether_it_began_it() {
    let bench = Bench::new();
    for variable in ["DLQ_TEST_REDIS", "DLQ_TEST_POSTGRES"] {
        let url = place(variable, "start");
        let (_, after) = url.split_once('@').expect("a password");
        for is_first in [true, false] {
            let mut serve = bench.command(&["serve", "--listen", "127.0.0.1:0", "--store", &url]);
            serve.env("CAPTCHAAI_API_KEY", KEY);
            let mut child = started(serve);
            first_line(&mut child);
            interrupt(&child);
            let said = String::from_utf8_lossy(&ended(child).stderr).into_owned();
            let line = said.lines().find(|line| line.starts_with("store ")).expect(&said);
            assert!(line.ends_with(&format!(":****@{after}")), "{line}");
            assert_eq!(said.contains("a new store was begun at"), is_first, "{said}");
        }
    }
}

#[test]
fn a_dry_run_of_a_migration_makes_no_target() {
    let scene = Scene::happy();
    scene.rows("tasks.csv", GOOD, 2);
    assert_eq!(scene.run(&["run", "tasks.csv", "--out", "answers.jsonl"]).code, 0);
    for to in ["sqlite:new.db", &place("DLQ_TEST_POSTGRES", "dry"), &place("DLQ_TEST_REDIS", "dry")]
    {
        let looked = scene.run(&["store", "migrate", "--to", to, "--dry-run"]);
        assert_eq!((looked.code, &lines(&looked)[0]["tasks"]), (0, &2.into()), "{}", looked.stderr);
        assert!(looked.stderr.contains("which would be begun"), "{}", looked.stderr);
        let listed = scene.run(&["list", "--store", to]);
        assert!(listed.stderr.contains("there is no store at"), "{}", listed.stderr);
    }
}

#[test]
fn what_was_submitted_by_a_clock_that_ran_ahead_costs_nothing_again() {
    let scene = Scene::happy();
    scene.rows("tasks.csv", GOOD, 2);
    assert_eq!(scene.run(&["run", "tasks.csv"]).code, 0);
    let resumed = ran(scene.command_behind(&["run", "tasks.csv", "--resume"]));
    assert!(resumed.stderr.contains("2 of 2 solved, 0 dead; 0 submits"), "{}", resumed.stderr);
}

#[test]
fn a_list_of_nothing_is_told_in_a_pipe_too() {
    let scene = Scene::happy();
    scene.rows("tasks.csv", GOOD, 1);
    assert_eq!(scene.run(&["run", "tasks.csv"]).code, 0);
    let listed = scene.run(&["list"]);
    assert_eq!(listed.stdout, "");
    assert!(
        listed.stderr.contains("0 tasks (state:dead); `deadletter list '*'`"),
        "{}",
        listed.stderr
    );
    assert_eq!(scene.run(&["list", "*"]).stderr, "");
}

#[test]
fn a_hold_of_what_comes_does_not_say_that_nothing_matches() {
    let scene = Scene::happy();
    scene.rows("tasks.csv", GOOD, 1);
    assert_eq!(scene.run(&["run", "tasks.csv"]).code, 0);
    let held = scene.run(&["hold", "--where", "host:shop.example", "--standing", "--yes"]);
    assert_eq!(held.code, 0, "{}", held.stderr);
    assert!(!held.stderr.contains("nothing matches"), "{}", held.stderr);
    assert!(held.stderr.contains("what is stored from now on is held"), "{}", held.stderr);
}
