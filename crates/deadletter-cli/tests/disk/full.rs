//! A disk without room.

use crate::scene::{Scene, ended};

/// Rows of a batch.
const ROWS: usize = 120;

#[test]
fn an_import_onto_a_full_disk_is_refused_and_can_be_made_again() {
    let scene = Scene::on(2_048);
    let first = scene.letters("first", 20);
    scene.good(&["import", &first]);
    let second = scene.letters("second", 2_000);
    scene.disk.fill();
    scene.run(&["import", &second]).assert_told(1, "disk is full");
    scene.disk.make_room();
    assert!(scene.standing() >= 20);
    scene.disk.resize(64 << 10);
    scene.good(&["import", &second]);
    assert_eq!(scene.standing(), 2_020);
    scene.assert_whole();
}

#[test]
fn a_store_that_finds_no_room_to_begin_leaves_nothing_behind() {
    let scene = Scene::on(1_024);
    let letters = scene.letters("letters", 3);
    scene.disk.fill();
    scene.run(&["import", &letters]).assert_told(1, "disk is full");
    let left = std::fs::read_dir(scene.disk.path()).expect("a folder").flatten();
    let left: Vec<_> = left.map(|entry| entry.file_name()).collect();
    assert_eq!(left, ["filler"], "half a store stays");
    scene.disk.make_room();
    scene.good(&["import", &letters]);
    assert_eq!(scene.standing(), 3);
}

#[test]
fn a_run_whose_disk_fills_up_stops_with_a_word_and_is_resumed() {
    let scene = Scene::on(8_192);
    scene.rows(ROWS);
    let out = scene.path("answers.jsonl").display().to_string();
    let run = ["run", "tasks.csv", "--out", &out, "--resume"];
    let running = scene.start(scene.command(&run));
    scene.until_paid(5);
    scene.disk.fill();
    let stopped = ended(running);
    stopped.assert_told(1, "disk is full");
    assert!(stopped.stderr.contains("--resume"), "{}", stopped.stderr);
    assert!(stopped.stderr.lines().count() < 200, "a flood: {}", stopped.stderr);
    scene.disk.make_room();
    assert_eq!(scene.standing(), i64::try_from(ROWS).expect("few"));
    scene.good(&run);
    let answers = std::fs::read_to_string(&out).expect("answers");
    assert_eq!(answers.lines().count(), ROWS, "an answer is missing, or written twice");
    scene.assert_whole();
}

#[test]
fn a_backup_onto_a_full_disk_is_refused_and_leaves_nothing_behind() {
    let scene = Scene::new();
    scene.good(&["import", &scene.letters("letters", 500)]);
    let small = crate::mount::Disk::mount(&scene.path("small"), 256);
    let copy = small.path().join("copy.db").display().to_string();
    scene.run(&["store", "backup", &copy]).assert_told(1, "disk is full");
    assert_eq!(std::fs::read_dir(small.path()).expect("a folder").count(), 0);
    small.resize(16 << 10);
    scene.good(&["store", "backup", &copy]);
}
