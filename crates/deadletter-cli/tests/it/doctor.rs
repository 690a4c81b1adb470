//! `doctor`: well where all is well, and a next step where something is not.

use crate::{
    bench::{Bench, Ran, ran, set_mode},
    upstream::{Scene, lines},
};
use serde_json::Value;

fn of<'a>(checks: &'a [Value], name: &str) -> &'a Value {
    checks.iter().find(|check| check["check"] == name).expect("the check is made")
}

fn failed<'a>(ran: &Ran, checks: &'a [Value], name: &str) -> &'a str {
    let check = of(checks, name);
    assert_eq!(check["status"], "failed", "{}", ran.stdout);
    check["fix"].as_str().expect("it says what to do")
}

#[test]
fn a_healthy_set_up_passes_every_check_and_makes_no_store() {
    let scene = Scene::happy();
    let ran = scene.run(&["doctor"]);
    assert_eq!(ran.code, 0, "{}{}", ran.stdout, ran.stderr);
    for check in lines(&ran) {
        // Without a store there is nothing to look into.
        let is_inside = check["check"] == "queue" || check["check"] == "account";
        let is_doubtful = check["check"] == "store";
        let usual = if is_doubtful { "doubtful" } else { "ok" };
        assert_eq!(check["status"], if is_inside { "skipped" } else { usual }, "{check}");
    }
    let slip = scene.run(&["doctor", "--offline", "--store", "sqlite:nowhere/tasks.db"]);
    let checks = lines(&slip);
    assert!(failed(&slip, &checks, "store").contains("make nowhere"), "{}", slip.stdout);
    assert!(!scene.bench.path("tasks.db").exists());
    scene.rows("tasks.csv", crate::upstream::GOOD, 2);
    assert_eq!(scene.run(&["run", "tasks.csv"]).code, 0);
    let ran = scene.run(&["doctor"]);
    let checks = lines(&ran);
    assert!(checks.iter().all(|check| check["status"] == "ok"), "{}", ran.stdout);
    assert!(of(&checks, "queue")["detail"].as_str().expect("text").contains("2 solved"));
    assert_eq!(scene.paid(), 2, "a doctor submits nothing");
}

#[test]
fn without_a_key_it_says_how_to_set_one_and_asks_nobody() {
    let bench = Bench::new();
    let ran = bench.run(&["doctor", "--store", "sqlite:tasks.db"]);
    assert_eq!(ran.code, 4, "{}", ran.stdout);
    let checks = lines(&ran);
    assert!(failed(&ran, &checks, "key").contains("CAPTCHAAI_API_KEY"));
    assert_eq!(of(&checks, "upstream")["status"], "skipped");
}

#[test]
fn a_store_that_no_command_could_open_is_not_called_well() {
    let scene = Scene::happy();
    for url in ["postgres://host/tasks", "tasks", "sqlite:", "memory:x"] {
        let ran = scene.run(&["doctor", "--offline", "--store", url]);
        assert_eq!(ran.code, 2, "{url}: {}", ran.stdout);
        let checks = lines(&ran);
        assert!(failed(&ran, &checks, "store").contains("sqlite:tasks.db"), "{url}");
        assert_eq!(of(&checks, "disk")["status"], "skipped", "{url}");
    }
}

#[test]
fn an_upstream_that_is_not_there_is_told_apart_from_a_key_that_it_refuses() {
    let scene = Scene::happy();
    let mut command = scene.command(&["doctor"]);
    // Nobody listens on port 1 of this machine.
    command.env("CAPTCHAAI_RESULT_ENDPOINT", "http://127.0.0.1:1/res.php");
    let away = ran(command);
    assert_eq!(away.code, 5, "{}", away.stdout);
    assert!(failed(&away, &lines(&away), "upstream").contains("account.result_endpoint"));
    let mut command = scene.command(&["doctor"]);
    command.env("CAPTCHAAI_API_KEY", "00000000000000000000000000000bad");
    let refused = ran(command);
    assert_eq!(refused.code, 4, "{}", refused.stdout);
    assert!(failed(&refused, &lines(&refused), "upstream").contains("check the key"));
}

#[test]
fn a_store_that_is_no_store_and_a_file_that_cannot_be_read_are_named() {
    let scene = Scene::happy();
    scene.bench.write("tasks.db", "this is no database, and long enough to be looked at as one\n");
    set_mode(&scene.bench.path("tasks.db"), 0o600);
    let ran = scene.run(&["doctor", "--offline"]);
    assert_eq!(ran.code, 1, "{}", ran.stdout);
    assert_eq!(of(&lines(&ran), "store")["status"], "failed");
    assert_eq!(of(&lines(&ran), "upstream")["status"], "skipped");
    scene.bench.write("deadletter.toml", "[account]\ntreads = 3\n");
    let ran = scene.run(&["doctor"]);
    assert_eq!(ran.code, 2, "{}", ran.stdout);
    let checks = lines(&ran);
    let told = of(&checks, "configuration");
    assert!(told["detail"].as_str().expect("text").contains("deadletter.toml:2"), "{told}");
    assert_eq!(of(&checks, "store")["status"], "skipped");
}

#[test]
fn an_open_breaker_and_a_stopped_account_are_doubtful() {
    let scene = Scene::happy();
    scene.rows("tasks.csv", crate::upstream::GOOD, 1);
    assert_eq!(scene.run(&["run", "tasks.csv"]).code, 0);
    assert_eq!(scene.run(&["breaker", "trip", "--reason", "test"]).code, 0);
    let ran = scene.run(&["doctor"]);
    let checks = lines(&ran);
    assert_eq!(of(&checks, "account")["status"], "doubtful", "{}", ran.stdout);
    assert!(of(&checks, "account")["detail"].as_str().expect("text").contains("open"));
    assert_eq!(scene.run(&["breaker", "reset"]).code, 0);
    scene.rows("more.csv", "6Le-more", 1);
    let mut command = scene.command(&["run", "more.csv"]);
    command.env("CAPTCHAAI_API_KEY", "00000000000000000000000000000bad");
    assert_eq!(ran_of(command), 4);
    let checks = lines(&scene.run(&["doctor"]));
    let told = of(&checks, "account");
    assert!(told["detail"].as_str().expect("text").contains("is stopped"), "{told}");
}

#[test]
fn an_empty_file_is_told_from_a_damaged_store_and_can_be_removed() {
    let scene = Scene::happy();
    scene.bench.write("tasks.db", "");
    set_mode(&scene.bench.path("tasks.db"), 0o600);
    let ran = scene.run(&["doctor", "--offline"]);
    let checks = lines(&ran);
    assert!(failed(&ran, &checks, "store").contains("remove it to begin"), "{}", ran.stdout);
    let detail = of(&checks, "store")["detail"].as_str().expect("text").to_owned();
    assert!(detail.contains("is empty") && !detail.contains("damaged"), "{detail}");
    std::fs::remove_file(scene.bench.path("tasks.db")).expect("it stands");
    scene.rows("tasks.csv", crate::upstream::GOOD, 1);
    assert_eq!(scene.run(&["run", "tasks.csv"]).code, 0);
}

#[test]
fn a_store_that_is_ahead_of_the_clock_is_told_with_what_waits() {
    let scene = Scene::happy();
    scene.rows("tasks.csv", crate::upstream::GOOD, 1);
    assert_eq!(scene.run(&["run", "tasks.csv"]).code, 0);
    let behind = |args: &[&str]| ran(scene.command_behind(args));
    let told = behind(&["doctor", "--offline"]);
    let queue = of(&lines(&told), "queue").clone();
    assert_eq!(queue["status"], "doubtful", "{}", told.stdout);
    assert!(queue["detail"].as_str().expect("text").contains("ahead of this clock"), "{queue}");
    scene.rows("more.csv", crate::upstream::GOOD, 2);
    let told = behind(&["run", "more.csv"]);
    assert_eq!(told.code, 0, "{}", told.stderr);
    assert!(told.stderr.contains("ahead of this clock"), "{}", told.stderr);
}

fn ran_of(command: std::process::Command) -> i32 {
    ran(command).code
}
