//! Files and folders that may be read and not written.

use crate::scene::{Scene, ended, lines};
use std::{
    fs,
    os::unix::{fs::PermissionsExt, process::CommandExt},
    path::Path,
};

/// A user without rights: root may write everything.
const NOBODY: u32 = 65_534;

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("set");
}

/// What commands that write tell of a store that cannot be written, and what those can that read.
fn assert_refused(scene: &Scene, as_nobody: bool) {
    let letters = scene.letters("more", 3);
    let run = |args: &[&str]| {
        // A copy, because nobody may not reach into the folder of the build.
        let binary = scene.path("deadletter-copy");
        fs::copy(env!("CARGO_BIN_EXE_deadletter"), &binary).expect("copied");
        let mut command = scene.program(&binary.display().to_string(), args);
        if as_nobody {
            command.uid(NOBODY).gid(NOBODY);
        }
        ended(scene.start(command))
    };
    let before = fs::read(scene.store("")).expect("it stands");
    run(&["import", &letters]).assert_told(1, "may not be written");
    let info = run(&["store", "info"]);
    assert_eq!(info.code, 0, "{}", info.stderr);
    assert_eq!(lines(&info)[0]["tasks"]["dead"], 10);
    let check = run(&["store", "check"]);
    assert_eq!(check.code, 0, "{}\n{}", check.stdout, check.stderr);
    let asked = run(&["query", "SELECT count(*) AS n FROM tasks"]);
    assert_eq!(lines(&asked)[0]["n"], 10, "{}", asked.stderr);
    assert!(fs::read(scene.store("")).expect("it stands") == before, "it was written");
}

/// Ten letters, and a log that is empty.
fn at_rest() -> Scene {
    let scene = Scene::new();
    scene.good(&["import", &scene.letters("letters", 10)]);
    let conn = rusqlite::Connection::open(scene.store("")).expect("a database");
    conn.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).expect("emptied");
    drop(conn);
    scene
}

#[test]
fn a_disk_that_is_mounted_for_reading_is_told_and_still_read() {
    let scene = at_rest();
    scene.disk.set_read_only();
    assert_refused(&scene, false);
    scene.disk.set_writable();
    scene.good(&["import", &scene.letters("more", 3)]);
    assert_eq!(scene.standing(), 13);
}

#[test]
fn a_file_that_may_not_be_written_is_told_and_still_read() {
    let scene = at_rest();
    set_mode(&scene.path(""), 0o755);
    set_mode(scene.disk.path(), 0o755);
    set_mode(&scene.store(""), 0o444);
    assert_refused(&scene, true);
    set_mode(&scene.store(""), 0o600);
    scene.good(&["import", &scene.letters("more", 3)]);
    assert_eq!(scene.standing(), 13);
}

#[test]
fn a_store_in_a_folder_without_rights_is_told_what_it_lacks() {
    let scene = Scene::new();
    let letters = scene.letters("letters", 3);
    scene.disk.set_read_only();
    scene.run(&["import", &letters]).assert_told(1, "may not be written");
    assert!(!scene.store("").exists());
}
