//! Files that are cut off, flipped, emptied, or not ours.

use crate::scene::{Scene, lines};
use std::fs;

/// What is done to a file's bytes.
type Change = fn(&mut Vec<u8>);

/// Letters in the store that is damaged.
const LETTERS: usize = 400;

/// A store with letters, all of them in the file.
fn filled() -> Scene {
    let scene = Scene::new();
    scene.good(&["import", &scene.letters("letters", LETTERS)]);
    let conn = rusqlite::Connection::open(scene.store("")).expect("a database");
    conn.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).expect("emptied");
    scene
}

/// Changes the file's bytes; no log and no index of one lies beside it afterwards.
fn damage(scene: &Scene, change: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    for suffix in ["-wal", "-shm"] {
        fs::remove_file(scene.store(suffix)).unwrap_or_default();
    }
    let mut bytes = fs::read(scene.store("")).expect("it stands");
    change(&mut bytes);
    fs::write(scene.store(""), &bytes).expect("written");
    bytes
}

/// Commands that work are refused with advice, the check tells, and the file stays as it is.
fn assert_told(scene: &Scene, bytes: &[u8], word: &str) {
    let letters = scene.letters("more", 3);
    scene.run(&["import", &letters]).assert_told(1, word);
    let check = scene.run(&["store", "check"]);
    assert_eq!(check.code, 1, "{}\n{}", check.stdout, check.stderr);
    assert!(check.stderr.contains("fix: "), "{}", check.stderr);
    assert!(fs::read(scene.store("")).expect("it stands") == bytes, "{word}: it was overwritten");
}

#[test]
fn a_file_that_is_not_a_whole_store_is_told_and_never_overwritten() {
    let scene = filled();
    let whole = fs::read(scene.store("")).expect("it stands");
    let cases: [(&str, Change); 5] = [
        ("not an SQLite database", |bytes| *bytes = b"{\"tasks\": []}\n".repeat(1_000)),
        ("not an SQLite database", |bytes| bytes[3] ^= 1),
        ("is empty", Vec::clear),
        ("is cut off", |bytes| bytes.truncate(bytes.len() / 2)),
        ("is cut off", |bytes| bytes.truncate(700)),
    ];
    for (word, change) in cases {
        let bytes = damage(&scene, change);
        assert_told(&scene, &bytes, word);
        damage(&scene, |bytes| bytes.clone_from(&whole));
    }
    assert_eq!(scene.standing(), 400, "the whole file is a store again");
}

#[test]
fn a_page_that_is_flipped_is_told_where_it_is() {
    let scene = filled();
    let conn = rusqlite::Connection::open(scene.store("")).expect("a database");
    let sql = "SELECT rootpage FROM sqlite_schema WHERE name = 'tasks'";
    let root: u32 = conn.query_row(sql, [], |row| row.get(0)).expect("a page");
    drop(conn);
    let bytes = damage(&scene, |bytes| {
        let start = (root as usize - 1) * 4_096;
        for byte in &mut bytes[start..start + 16] {
            *byte ^= 0x40;
        }
    });
    assert_told(&scene, &bytes, "damaged");
    let findings = lines(&scene.run(&["store", "check"]))[0]["findings"].clone();
    assert!(findings.to_string().contains("tasks"), "{findings}");
}

#[test]
fn an_empty_file_beside_a_log_is_not_taken_for_a_new_store() {
    let scene = Scene::new();
    scene.good(&["import", &scene.letters("letters", 10)]);
    let log = fs::read(scene.store("-wal")).expect("a log");
    assert!(!log.is_empty());
    fs::remove_file(scene.store("-shm")).unwrap_or_default();
    fs::write(scene.store(""), b"").expect("written");
    scene.run(&["import", &scene.letters("more", 3)]).assert_told(1, "its log (-wal) stands");
    assert_eq!(scene.run(&["store", "check"]).code, 1);
    assert!(fs::read(scene.store("-wal")).expect("it stands") == log, "the log was written");
    assert_eq!(fs::metadata(scene.store("")).expect("it stands").len(), 0);
}
