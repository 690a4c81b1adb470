//! The turn that drains of one store take: wherever its holder dies, whoever comes next finds
//! everything that was begun, and nobody goes on once the turn is another's.

use crate::{
    bench::{once_said, started},
    drain::with_dead_letters,
    upstream::{Scene, json_lines, lines},
};
use deadletter::store::{self, SystemClock};
use serde_json::{Value, json};
use std::{
    io::{BufReader, Read},
    os::unix::process::ExitStatusExt,
    process::ChildStderr,
    sync::Arc,
};

/// What `abort` at a crash point raises.
const SIGABRT: i32 = 6;

fn query(scene: &Scene, sql: &str) -> Vec<Value> {
    lines(&scene.run(&["query", "--with-secrets", sql]))
}

/// The states of all operations, the oldest first. An engine that begins to work on one may come as
/// far as to freeze its tasks before it dies.
fn states(scene: &Scene) -> Vec<String> {
    let rows = query(scene, "SELECT body FROM documents WHERE key LIKE 'operation/%' ORDER BY key");
    let body = |row: &Value| json_lines(row["body"].as_str().expect("text")).remove(0);
    let states = rows.iter().map(|row| body(row)["state"].as_str().expect("a word").to_owned());
    states.map(|state| state.replace("freezing", "running")).collect()
}

/// What the turn names: who has it, and at what operation.
fn seat(scene: &Scene) -> Value {
    let rows = query(scene, "SELECT body FROM documents WHERE key = 'turn/drain'");
    json_lines(rows[0]["body"].as_str().expect("text")).remove(0)
}

fn dies_at(scene: &Scene, point: &str) {
    let mut drain = scene.command(&["drain"]);
    let output =
        drain.env("DEADLETTER_CRASH_AT", format!("{point}:1")).output().expect("it starts");
    assert_eq!(output.status.signal(), Some(SIGABRT), "{output:?}");
}

fn trip(scene: &Scene) {
    assert_eq!(scene.run(&["breaker", "trip", "--reason", "to hold it up"]).code, 0);
}

fn reset(scene: &Scene) {
    assert_eq!(scene.run(&["breaker", "reset"]).code, 0);
}

/// A drain that waits behind the breaker, and what it says from then on.
fn held_up(scene: &Scene) -> (std::process::Child, BufReader<ChildStderr>) {
    let mut child = started(scene.command(&["drain"]));
    let said = once_said(&mut child, "redriving");
    (child, said)
}

#[test]
fn wherever_a_drain_dies_the_next_one_takes_over_and_one_operation_is_under_way() {
    // What stands once the first has died: whether its turn names an operation, and their states.
    let cases: [(&str, bool, &[&str]); 3] = [
        ("after_turn", false, &[]),
        ("after_naming", true, &[]),
        ("after_beginning", true, &["running"]),
    ];
    for (point, is_named, begun) in cases {
        let scene = with_dead_letters(3);
        scene.simulator.clear_rules();
        let paid = scene.paid();
        trip(&scene);
        dies_at(&scene, point);
        assert_eq!(seat(&scene)["operation"].is_string(), is_named, "{point}");
        assert_eq!(states(&scene), begun, "{point}");
        reset(&scene);
        let next = scene.run(&["drain"]);
        assert_eq!(next.code, 0, "{point}: {}", next.stderr);
        assert!(next.stderr.contains("taken over from a drain that is gone"), "{}", next.stderr);
        assert_eq!(lines(&next)[0]["solved"], 3, "{point}: {}", next.stderr);
        let ended: Vec<_> = begun.iter().map(|_| "stopped").chain(["done"]).collect();
        assert_eq!(states(&scene), ended, "{point}");
        assert_eq!(seat(&scene), json!(null), "{point}");
        assert_eq!(scene.paid() - paid, 3, "{point}: each is paid for once");
    }
}

#[test]
fn what_a_dead_drain_had_begun_is_not_lost_with_the_one_that_took_over_from_it() {
    let scene = with_dead_letters(3);
    scene.simulator.clear_rules();
    trip(&scene);
    dies_at(&scene, "after_beginning");
    let begun = seat(&scene)["operation"].clone();
    // It has the turn, and dies before it has ended anything.
    dies_at(&scene, "after_turn");
    assert_eq!((&seat(&scene)["operation"], states(&scene)), (&begun, vec!["running".to_owned()]));
    reset(&scene);
    let third = scene.run(&["drain"]);
    assert_eq!((third.code, &lines(&third)[0]["solved"]), (0, &3.into()), "{}", third.stderr);
    assert_eq!(states(&scene), ["stopped", "done"]);
}

#[test]
fn a_drain_whose_turn_is_anothers_stops_what_it_had_begun() {
    let scene = with_dead_letters(3);
    trip(&scene);
    let (mut child, mut said) = held_up(&scene);
    let key = "turn/drain";
    scene.block_on(async {
        let url = format!("sqlite:{}", scene.bench.path("tasks.db").display());
        let store = store::open(&url, Arc::new(SystemClock)).await.expect("it opens");
        let mut is_written = false;
        while !is_written {
            let seat = store.document(key).await.expect("read").expect("it stands");
            let mut holder = json_lines(&seat.body).remove(0);
            holder["token"] = json!("somebody-else");
            let put = store.put_document(key, seat.version, &holder.to_string()).await;
            is_written = put.expect("written").is_some();
        }
        store.close().await.expect("closed");
    });
    let mut rest = String::new();
    said.read_to_string(&mut rest).expect("text");
    assert_eq!(child.wait().expect("it ends").code(), Some(1), "{rest}");
    assert!(rest.contains("another drain has taken over"), "{rest}");
    assert_eq!(states(&scene), ["stopped"]);
    assert_eq!(seat(&scene)["token"], "somebody-else", "it is not given back by who lost it");
}

#[test]
fn a_drain_that_has_not_the_turn_does_not_work() {
    let scene = with_dead_letters(3);
    trip(&scene);
    let (mut child, _said) = held_up(&scene);
    let workers = || query(&scene, "SELECT id FROM workers").len();
    let before = workers();
    let second = scene.run(&["drain"]);
    assert_eq!(second.code, 1, "{}", second.stderr);
    assert!(second.stderr.contains("another drain is under way"), "{}", second.stderr);
    assert_eq!(workers(), before, "it made itself known as a worker");
    child.kill().expect("killed");
    child.wait().expect("gone");
}
