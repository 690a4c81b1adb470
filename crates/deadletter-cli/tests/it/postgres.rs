//! A store on a PostgreSQL server, as every command meets it. `scripts/servers` starts the server.

use crate::{
    bench::{Bench, KEY, ended, ran, said_after, set_mode, started},
    upstream::{GOOD, Scene, lines},
};
use std::{io::Read, process::Command};

/// The URL of a schema that no other test has, and the password in it.
fn place(name: &str) -> (String, String) {
    let server = std::env::var("DLQ_TEST_POSTGRES").unwrap_or_else(|_| {
        panic!("DLQ_TEST_POSTGRES is not set: run `scripts/servers cargo test -p deadletter-cli`")
    });
    let (_, password) = server.split_once("deadletter:").expect("the user");
    let password = password.split('@').next().expect("the password").to_owned();
    (format!("{server}&schema=c_{}_{name}", std::process::id()), password)
}

fn on(url: &str, mut command: Command) -> Command {
    command.env("DEADLETTER_STORE", url);
    command
}

#[test]
fn a_batch_is_run_looked_at_and_redriven() {
    let (url, password) = place("batch");
    let scene = Scene::happy();
    scene.rows("tasks.csv", GOOD, 3);
    // The simulated upstream refuses a key that is too short.
    scene.rows("bad.csv", "6Le", 2);
    let run = |args: &[&str]| {
        let ran = ran(on(&url, scene.command(args)));
        assert!(!ran.stdout.contains(&password) && !ran.stderr.contains(&password), "{args:?}");
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
    assert_eq!(lines(&run(&["config", "show"]))[0]["from"], "DEADLETTER_STORE");
}

#[test]
fn what_is_for_files_alone_says_so_and_what_to_do_instead() {
    let (url, _) = place("files");
    let bench = Bench::new();
    let store_commands: [&[&str]; 4] = [
        &["store", "info"],
        &["store", "check"],
        &["query", "SELECT 1"],
        &["export", "--salvage", "--with-secrets", "--out", "x.jsonl"],
    ];
    for args in store_commands {
        let ran = ran(on(&url, bench.command(args)));
        assert_eq!(ran.code, 2, "{args:?}: {}", ran.stderr);
        for told in ["needs an SQLite store", "pg_dump", "psql"] {
            assert!(ran.stderr.contains(told), "{args:?}: {}", ran.stderr);
        }
    }
}

#[test]
fn a_store_goes_into_a_file_and_back() {
    let ((url, password), (other, _)) = (place("backed_up"), place("restored"));
    let scene = Scene::happy();
    scene.rows("tasks.csv", GOOD, 3);
    let run = |url: &str, args: &[&str]| {
        let ran = ran(on(url, scene.command(args)));
        assert!(!ran.stdout.contains(&password) && !ran.stderr.contains(&password), "{args:?}");
        ran
    };
    assert_eq!(run(&url, &["store", "backup", "copy.db"]).code, 1, "nothing stands there yet");
    assert_eq!(run(&url, &["run", "tasks.csv", "--out", "answers.jsonl"]).code, 0);
    let copied = run(&url, &["store", "backup", "copy.db"]);
    assert_eq!(copied.code, 0, "{}", copied.stderr);
    assert_eq!(lines(&copied)[0]["tasks"], 3);
    let check = run("sqlite:copy.db", &["store", "check"]);
    assert_eq!(check.code, 0, "{}", check.stdout);
    let again = run(&url, &["store", "backup", "copy.db"]);
    assert!(again.code == 2 && again.stderr.contains("stands already"), "{}", again.stderr);
    let restored = run(&other, &["store", "restore", "copy.db"]);
    assert_eq!(restored.code, 0, "{}", restored.stderr);
    assert_eq!(lines(&restored)[0]["copied"], 3);
    let all = ["list", "*"];
    assert_eq!(run(&other, &all).stdout, run(&url, &all).stdout);
    let again = run(&other, &["store", "restore", "copy.db"]);
    assert!(again.code == 1 && again.stderr.contains("done already"), "{}", again.stderr);
    let memory = run("memory:", &["store", "restore", "copy.db"]);
    assert!(memory.code == 2 && memory.stderr.contains("would be gone"), "{}", memory.stderr);
}

#[test]
fn a_look_makes_no_tables_and_a_server_that_refuses_is_told_without_its_password() {
    let (url, password) = place("nothing");
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
        told(&url, args, &["there is no store at postgres://deadletter@"]);
    }
    told(&url.replace(&password, "hunter2"), &["list"], &["does not let", "CREATE DATABASE"]);
    told(&url.replace("/postgres?", "/nowhere?"), &["list"], &["does not let", "nowhere"]);
    let gone = "postgres://me:hunter2@127.0.0.1:1/x";
    told(gone, &["list"], &["not available", "127.0.0.1:1/x", "pg_isready"]);
}

#[test]
fn what_a_worker_of_the_demo_held_when_it_was_killed_is_taken_over() {
    let (url, _) = place("demo");
    let bench = Bench::new();
    let mut demo = started(bench.command(&["demo", "--workers", "2", "--json", "--store", &url]));
    let (pid, mut said) = said_after(&mut demo, "kill -9 ");
    let sent = Command::new("kill").args(["-KILL", &pid]).status();
    assert!(sent.expect("kill exists").success());
    let mut rest = String::new();
    said.read_to_string(&mut rest).expect("text");
    let output = ended(demo);
    assert_eq!(output.status.code(), Some(0), "{rest}");
    assert!(rest.contains(&format!("(process {pid}) is killed; it held ")), "{rest}");
    let facts: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let number: u64 = pid.parse().expect("a pid");
    let mut ends = facts["workers"].as_array().expect("a list").iter();
    let killed = ends.find(|it| it["process"] == number).expect("it is told of");
    assert_eq!(killed["end"], "killed", "{facts}");
    assert!(killed["held"].as_u64().is_some_and(|n| n > 0), "{facts}");
    assert_eq!(killed["held"], killed["taken_over"], "{facts}");
    assert_eq!((&facts["totals"]["solved"], &facts["lost"]), (&400.into(), &0.into()), "{facts}");
    assert_eq!((&facts["paid_twice"], &facts["is_sound"]), (&0.into(), &true.into()), "{facts}");
    // Its tasks would be worked on as well.
    let again = bench.run(&["demo", "--workers", "2", "--store", &url]);
    assert_eq!(again.code, 2, "{}", again.stderr);
    assert!(again.stderr.contains("a store of its own"), "{}", again.stderr);
}

#[test]
fn a_password_may_stand_in_the_file_that_other_programs_read() {
    let (url, password) = place("passfile");
    let (bare, bench) = (url.replace(&format!(":{password}@"), "@"), Bench::new());
    assert_ne!(bare, url);
    let looked = |file: &str| {
        let mut command = on(&bare, bench.command(&["doctor", "--offline"]));
        command.env("CAPTCHAAI_API_KEY", KEY).env("PGPASSFILE", bench.path(file));
        ran(command)
    };
    let line = format!("127.0.0.1:*:*:deadletter:{password}\n");
    let open = bench.write("open", &line);
    set_mode(&open, 0o644);
    let left_alone = looked("open");
    assert!(!left_alone.stdout.contains("there is no store at"), "{}", left_alone.stdout);
    assert!(left_alone.stderr.contains("chmod 600"), "{}", left_alone.stderr);
    set_mode(&open, 0o600);
    let found = looked("open");
    // It was let in, and looked.
    assert!(found.stdout.contains("there is no store at"), "{}", found.stdout);
    let at_home = bench.write(".pgpass", &line);
    set_mode(&at_home, 0o600);
    let mut command = bench.command(&["list"]);
    command.args(["--store", &bare]);
    let told = ran(command);
    assert!(told.stderr.contains("there is no store at"), "{}", told.stderr);
    assert!(!told.stderr.contains(&password) && !found.stderr.contains(&password));
}
