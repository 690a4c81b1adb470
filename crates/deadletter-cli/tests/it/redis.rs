//! A store on a Redis server, as every command meets it. `scripts/servers` starts the servers.

use crate::{
    bench::{Bench, KEY, ran},
    upstream::{GOOD, Scene, lines},
};
use std::process::Command;

/// The URL of a prefix that no other test has, and the password in it.
fn place(server: &str, name: &str) -> (String, String) {
    let server = std::env::var(server).unwrap_or_else(|_| {
        panic!("{server} is not set: run `scripts/servers cargo test -p deadletter-cli`")
    });
    let (_, password) = server.split_once("default:").expect("the user");
    let password = password.split('@').next().expect("the password").to_owned();
    (format!("{server}?prefix=c-{}-{name}", std::process::id()), password)
}

fn on(url: &str, mut command: Command) -> Command {
    command.env("DEADLETTER_STORE", url);
    command
}

/// A batch is run, looked at, and redriven.
fn a_batch_lives(url: &str, password: &str) {
    let scene = Scene::happy();
    scene.rows("tasks.csv", GOOD, 3);
    // The simulated upstream refuses a key that is too short.
    scene.rows("bad.csv", "6Le", 2);
    let run = |args: &[&str]| {
        let ran = ran(on(url, scene.command(args)));
        assert!(!ran.stdout.contains(password) && !ran.stderr.contains(password), "{args:?}");
        ran
    };
    let solved = run(&["run", "tasks.csv", "--out", "answers.jsonl"]);
    assert_eq!(solved.code, 0, "{}", solved.stderr);
    assert_eq!(scene.bench.read("answers.jsonl").lines().count(), 3);
    run(&["run", "bad.csv", "--out", "more.jsonl"]);
    let dead = lines(&run(&["list"]));
    let states: Vec<_> = dead.iter().map(|task| task["state"].as_str().unwrap_or("")).collect();
    assert_eq!(states, ["dead", "dead"], "{dead:?}");
    let doctor = run(&["doctor", "--offline"]);
    assert!(doctor.stdout.contains("takes writes; durability D2"), "{}", doctor.stdout);
    assert!(doctor.stdout.contains("2 dead, 3 solved"), "{}", doctor.stdout);
    assert!(doctor.stdout.contains("it has lost nothing of late"), "{}", doctor.stdout);
    run(&["redrive", "--where", "state:dead", "--force", "--yes"]);
    let redriven = lines(&run(&["list"]));
    let redrives = redriven.iter().filter_map(|task| task["counters"]["redrives"].as_u64());
    assert_eq!(redrives.collect::<Vec<_>>(), [1, 1], "{redriven:?}");
    let copied = run(&["store", "backup", "copy.db"]);
    assert_eq!(copied.code, 0, "{}", copied.stderr);
    let copy = lines(&scene.run(&["list", "--store", "sqlite:copy.db"]));
    assert_eq!(copy, redriven);
}

#[test]
fn a_batch_is_run_looked_at_and_redriven_on_a_server() {
    let (url, password) = place("DLQ_TEST_REDIS", "batch");
    a_batch_lives(&url, &password);
}

#[test]
fn a_batch_is_run_looked_at_and_redriven_on_a_cluster() {
    let (url, password) = place("DLQ_TEST_REDIS_CLUSTER", "batch");
    a_batch_lives(&url, &password);
}

#[test]
fn what_is_for_files_alone_says_so_and_what_to_do_instead() {
    let (url, _) = place("DLQ_TEST_REDIS", "files");
    let bench = Bench::new();
    let store_commands: [&[&str]; 3] =
        [&["store", "info"], &["store", "check"], &["query", "SELECT 1"]];
    for args in store_commands {
        let ran = ran(on(&url, bench.command(args)));
        assert_eq!(ran.code, 2, "{args:?}: {}", ran.stderr);
        for told in ["needs an SQLite store", "deadletter store backup"] {
            assert!(ran.stderr.contains(told), "{args:?}: {}", ran.stderr);
        }
    }
}

#[test]
fn a_look_makes_no_store_and_a_server_that_refuses_is_told_without_its_password() {
    let (url, password) = place("DLQ_TEST_REDIS", "nothing");
    let bench = Bench::new();
    let told = |url: &str, args: &[&str], words: &[&str]| {
        let mut command = on(url, bench.command(args));
        command.env("CAPTCHAAI_API_KEY", KEY);
        let ran = ran(command);
        assert_eq!((ran.code, ran.stdout.as_str()), (1, ""), "{args:?}: {}", ran.stderr);
        for word in words.iter().chain(&["  fix: "]) {
            assert!(ran.stderr.contains(word), "{args:?}: {}", ran.stderr);
        }
        assert!(
            !ran.stderr.contains(&password) && !ran.stderr.contains("hunter2"),
            "{}",
            ran.stderr
        );
    };
    for args in [&["list"] as &[&str], &["stats"], &["redrive", "--where", "*"]] {
        told(&url, args, &["there is no store at redis://default@"]);
    }
    told(&url.replace(&password, "hunter2"), &["list"], &["does not let", "docs/redis.md"]);
    let gone = "redis://me:hunter2@127.0.0.1:1";
    told(gone, &["list"], &["not available", "127.0.0.1:1", "redis-cli ping"]);
}

#[test]
fn a_doctor_tells_whether_submits_are_noted_beside_the_store() {
    let (url, _) = place("DLQ_TEST_REDIS", "ledger");
    let bench = Bench::new();
    bench.write("file", "");
    let ledger = |url: &str, has_home: bool| {
        let mut command = on(url, bench.command(&["doctor", "--offline"]));
        if !has_home {
            command.env_remove("HOME");
        }
        let told = ran(command);
        let found = lines(&told).into_iter().find(|check| check["check"] == "ledger");
        let found = found.unwrap_or_else(|| panic!("{}", told.stdout));
        (found["status"].clone(), found["fix"].as_str().unwrap_or("").contains("ledger=FOLDER"))
    };
    assert_eq!(ledger(&url, true), ("ok".into(), false), "in the folder of our data");
    assert_eq!(ledger(&url, false), ("doubtful".into(), true), "there is no such folder");
    let file = format!("{url}&ledger=file");
    assert_eq!(ledger(&file, true), ("doubtful".into(), true), "a file is no folder");
}

/// A user who may not ask how the server flushes; ends with this value.
struct Curt {
    url: String,
    name: String,
    server: String,
}

impl Curt {
    fn new(url: &str, password: &str) -> Self {
        let server = std::env::var("DLQ_TEST_REDIS").expect("it is set");
        let name = format!("curt-{}", std::process::id());
        let url = url.replace(&format!("default:{password}"), &format!("{name}:short"));
        let curt = Self { url, name, server };
        curt.ask(&["ACL", "SETUSER", &curt.name, "on", ">short", "~*", "+@all", "-config"]);
        curt
    }

    fn ask(&self, words: &[&str]) {
        let mut asked = Command::new("redis-cli");
        let done = asked.args(["--no-auth-warning", "-u", &self.server]).args(words).output();
        assert!(done.expect("redis-cli exists").status.success());
    }
}

impl Drop for Curt {
    fn drop(&mut self) {
        self.ask(&["ACL", "DELUSER", &self.name]);
    }
}

#[test]
fn what_is_weak_about_a_server_is_said_once_by_a_command() {
    let (url, password) = place("DLQ_TEST_REDIS", "once");
    let scene = Scene::happy();
    scene.rows("tasks.csv", GOOD, 1);
    let curt = Curt::new(&url, &password);
    let commands: [&[&str]; 4] = [
        &["run", "tasks.csv"],
        &["doctor", "--offline"],
        &["hold", "--where", "host:x.example", "--standing", "--yes"],
        &["release", "--where", "host:x.example", "--yes"],
    ];
    for args in commands {
        let told = ran(on(&curt.url, scene.command(args)));
        assert_eq!(told.code, 0, "{args:?}: {}", told.stderr);
        assert_eq!(told.stderr.matches("+config|get").count(), 1, "{args:?}: {}", told.stderr);
    }
}
