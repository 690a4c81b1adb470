//! What a person is told to do where a store does not open, or cannot be moved: what mends it.

use crate::bench::{Bench, Ran, ended, ran, said_after, started};
use std::process::Command;

fn server(variable: &str) -> String {
    std::env::var(variable).unwrap_or_else(|_| {
        panic!("{variable} is not set: run `scripts/servers cargo test -p deadletter-cli`")
    })
}

/// A place on a server that no other test has.
pub(crate) fn place(variable: &str, name: &str) -> String {
    let (url, id) = (server(variable), std::process::id());
    match url.contains('?') {
        true => format!("{url}&schema=a_{id}_{name}"),
        false => format!("{url}?prefix=a-{id}-{name}"),
    }
}

fn is_told(ran: &Ran, words: &[&str]) {
    assert_ne!(ran.code, 0, "{}", ran.stdout);
    for word in words {
        assert!(ran.stderr.contains(word), "{word:?} in {}", ran.stderr);
    }
}

#[test]
fn a_password_that_is_missing_is_named_with_the_places_for_it() {
    let url = server("DLQ_TEST_POSTGRES");
    let (_, after) = url.split_once('@').expect("a password");
    let bare = format!("postgres://deadletter@{after}");
    let listed = Bench::new().run(&["list", "--store", &bare]);
    is_told(&listed, &["wants a password", "USER:PASSWORD@HOST", "PGPASSFILE", "~/.pgpass"]);
}

#[test]
fn a_certificate_that_nobody_vouches_for_asks_for_its_authority() {
    let bench = Bench::new();
    let postgres = server("DLQ_TEST_POSTGRES").replace("sslmode=disable", "sslmode=verify-full");
    for url in [postgres, server("DLQ_TEST_REDIS_TLS")] {
        let listed = bench.run(&["list", "--store", &url]);
        is_told(&listed, &["certificate is not trusted", "sslrootcert=FILE"]);
    }
}

#[test]
fn a_server_without_tls_is_told_apart_from_one_that_is_away() {
    let bench = Bench::new();
    let plain = server("DLQ_TEST_REDIS").replace("redis://", "rediss://");
    let listed = bench.run(&["list", "--store", &plain]);
    is_told(&listed, &["speaks no TLS", "tls-port", "redis://"]);
}

#[test]
fn a_cluster_has_no_second_database() {
    let url = format!("{}/1", server("DLQ_TEST_REDIS_CLUSTER"));
    let listed = Bench::new().run(&["list", "--store", &url]);
    is_told(&listed, &["leave it out", "?prefix=NAME"]);
    assert!(!listed.stderr.contains("damaged"), "{}", listed.stderr);
}

#[test]
fn a_parameter_that_there_is_not_is_named_beside_those_that_there_are() {
    let bench = Bench::new();
    for url in ["redis://h?prefx=1", "postgres://me@h/d?prefx=1"] {
        for args in [&["list"] as &[&str], &["config", "show"]] {
            let mut args = args.to_vec();
            args.extend(["--store", url]);
            let told = bench.run(&args);
            assert_eq!(told.code, 2, "{args:?}: {}", told.stderr);
            is_told(&told, &["`prefx`", "sslrootcert="]);
        }
    }
}

#[test]
fn a_source_that_is_missing_is_not_to_be_begun() {
    let bench = Bench::new();
    for from in [
        place("DLQ_TEST_POSTGRES", "slip"),
        place("DLQ_TEST_REDIS", "slip"),
        "sqlite:slip.db".to_owned(),
    ] {
        let moved = bench.run(&["store", "migrate", "--from", &from, "--to", "sqlite:new.db"]);
        is_told(&moved, &["there is no store at", "look for a slip"]);
        assert!(!moved.stderr.contains("begins a store"), "{}", moved.stderr);
        assert!(!bench.path("new.db").exists());
    }
}

#[test]
fn a_file_of_letters_that_is_missing_is_told_by_its_name() {
    let bench = Bench::new();
    let migrate = ["store", "migrate", "--from", "slip.json", "--to", "sqlite:new.db"];
    let told = bench.run(&migrate);
    is_told(&told, &["slip.json", "No such file"]);
    assert!(!told.stderr.contains("no store") && !bench.path("new.db").exists());
}

/// What is kept lies where the unit may write, though it has no home.
#[test]
fn the_gateways_unit_has_a_folder_for_what_is_kept_beside_its_store() {
    let unit = include_str!("../../../../deploy/deadletter.service");
    let set = |name: &str| {
        unit.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('=')).expect(name)
    };
    assert_eq!((set("ProtectHome"), set("ProtectSystem")), ("yes", "strict"));
    let data = set("Environment=XDG_DATA_HOME");
    assert_eq!(format!("{data}/deadletter"), format!("/var/lib/{}", set("StateDirectory")));
}

#[test]
fn a_text_file_is_no_backup() {
    let bench = Bench::new();
    bench.write("letters.jsonl", "{}\n");
    let restored = bench.run(&["store", "restore", "letters.jsonl", "--store", "sqlite:new.db"]);
    is_told(&restored, &["letters.jsonl is no backup", "deadletter import"]);
    assert!(!bench.path("new.db").exists());
}

/// A gateway at work on the store.
fn gateway(bench: &Bench, url: &str) -> std::process::Child {
    let mut command = bench.command(&["serve", "--listen", "127.0.0.1:0", "--store", url]);
    command.env("CAPTCHAAI_API_KEY", crate::bench::KEY);
    let mut child = started(command);
    let (_, _said) = said_after(&mut child, "point scripts at");
    child
}

#[test]
fn a_store_at_work_is_to_be_stopped_whatever_kind_the_other_one_is() {
    let bench = Bench::new();
    let (redis, postgres) = (place("DLQ_TEST_REDIS", "busy"), place("DLQ_TEST_POSTGRES", "quiet"));
    let child = gateway(&bench, &redis);
    let commands: [&[&str]; 2] = [
        &["store", "migrate", "--from", &redis, "--to", &postgres],
        &["store", "backup", "copy.db", "--store", &redis],
    ];
    for args in commands {
        let told = bench.run(args);
        is_told(&told, &["somebody works on it", "(1 worker)", "stop its gateways"]);
        assert!(!told.stderr.contains("another schema"), "{}", told.stderr);
    }
    let pid = child.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &pid]).status().expect("kill exists").success());
    ended(child);
    let mut moving = bench.command(&["store", "migrate", "--from", &redis, "--to", &postgres]);
    moving.env("DEADLETTER_LOG", "off");
    assert_eq!(ran(moving).code, 0);
    let again = bench.run(&["store", "migrate", "--from", &redis, "--to", &postgres]);
    is_told(&again, &["it is done already"]);
}
