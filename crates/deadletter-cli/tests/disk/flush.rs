//! Flushes that the disk refuses: `fdatasync` and `fsync` answer EIO, by system-call injection.
//!
//! After a failed flush the kernel may call the same pages clean: whoever tries again on them and
//! is told "done" has been lied to. So nothing may be acknowledged that was not flushed anew.

use crate::scene::{Ran, Scene, ended, lines};
use std::{
    io::{BufRead, BufReader},
    process::Command,
};

const ROWS: usize = 60;

/// The binary under strace, whose flushes of one thread fail as `when` says (`3`, `3+`, `2+2`).
fn with_bad_flushes(scene: &Scene, when: &str, args: &[&str]) -> Command {
    let known = Command::new("strace").args(["-qq", "-e", "trace=none", "true"]).output();
    let is_able = known.as_ref().is_ok_and(|output| output.status.success());
    assert!(
        is_able,
        "strace cannot trace a program here ({known:?}); these tests inject errors into system \
         calls: install strace (scripts/test does), and allow ptrace (CAP_SYS_PTRACE in a container)"
    );
    let inject = format!("inject=fdatasync,fsync:error=EIO:when={when}");
    let log = scene.path("strace.log").display().to_string();
    let binary = env!("CARGO_BIN_EXE_deadletter");
    let strace = ["-f", "-qq", "-o", &log, "-e", "trace=fdatasync,fsync", "-e", &inject, binary];
    scene.program("strace", &[&strace, args].concat())
}

/// The binary under strace, each of whose calls of `call` takes long; strace tells of each on
/// standard output, after the id of the thread that makes it.
fn with_slow(call: &str, scene: &Scene, args: &[&str]) -> Command {
    let binary = env!("CARGO_BIN_EXE_deadletter");
    let (trace, slow) = (format!("trace={call}"), format!("inject={call}:delay_exit=10000"));
    let strace = ["-f", "-qq", "-o", "/dev/stdout", "-e", &trace, "-e", &slow, binary, "--json"];
    scene.program("strace", &[&strace, args].concat())
}

/// Presses ctrl-C at the first call that strace tells of and that `is_it`.
fn interrupted_at(mut command: Command, scene: &Scene, is_it: impl Fn(&str) -> bool) -> Ran {
    command.stdout(std::process::Stdio::piped());
    let mut child = scene.start(command);
    let mut told = BufReader::new(child.stdout.take().expect("piped"));
    let mut line = String::new();
    while !is_it(&line) {
        line.clear();
        assert!(told.read_line(&mut line).expect("UTF-8") > 0, "it has ended");
    }
    let thread = line.split(' ').next().expect("an id");
    let pressed = Command::new("kill").args(["-INT", thread]).status();
    assert!(pressed.expect("kill").success(), "{line}");
    // Read to its end, so that nobody waits for room in the pipe.
    told.lines().for_each(|line| drop(line.expect("UTF-8")));
    ended(child)
}

/// Errors that were injected.
fn injected(scene: &Scene) -> usize {
    let log = std::fs::read_to_string(scene.path("strace.log")).expect("strace's log");
    log.matches("INJECTED").count()
}

#[test]
fn a_letter_whose_flush_failed_is_not_acknowledged_and_the_next_try_takes_it() {
    for when in ["1", "1+", "2", "2+", "3", "4+"] {
        let scene = Scene::new();
        scene.good(&["import", &scene.letters("first", 10)]);
        let second = scene.letters("second", 10);
        let told = ended(scene.start(with_bad_flushes(&scene, when, &["import", &second])));
        let n = injected(&scene);
        if told.code == 0 {
            assert_eq!(scene.standing(), 20, "{when}: acknowledged and lost: {}", told.stderr);
        } else {
            assert!(n > 0, "{when}: {}", told.stderr);
            told.assert_told(1, "the disk failed");
        }
        assert!(scene.standing() >= 10, "{when}: what was acknowledged before is gone");
        scene.good(&["import", &second]);
        assert_eq!(scene.standing(), 20, "{when}");
        scene.assert_whole();
    }
}

/// A store that stands already, and rows to run.
fn begun() -> Scene {
    let scene = Scene::new();
    scene.rows(ROWS);
    let begins = ["solve", "--sitekey", "6Le-good", "--pageurl", "https://a.example/first"];
    scene.good(&begins);
    scene
}

#[test]
fn a_run_outlives_a_flush_that_fails_now_and_then() {
    let scene = begun();
    // Each thread's flushes count by themselves.
    let run = with_bad_flushes(&scene, "2+3", &["run", "tasks.csv", "--resume"]);
    let told = ended(scene.start(run));
    let n = injected(&scene);
    assert!(n >= 2, "only {n} flushes failed");
    assert_eq!(told.code, 0, "after {n} failed flushes: {}", told.stderr);
    assert_eq!(lines(&told).len(), ROWS, "{}", told.stderr);
    scene.assert_whole();
}

#[test]
fn a_run_whose_flushes_all_fail_stops_and_is_resumed_on_a_healed_disk() {
    let scene = begun();
    let out = scene.path("answers.jsonl").display().to_string();
    let run = ["run", "tasks.csv", "--out", &out, "--resume"];
    // Three at a time: long after the rows are stored, and long before the last is solved.
    let slow = [&run[..], &["--concurrency", "3"]].concat();
    let told = ended(scene.start(with_bad_flushes(&scene, "20+", &slow)));
    told.assert_told(1, "the disk failed");
    assert!(told.stderr.contains("tasks are stored"), "it did not come so far: {}", told.stderr);
    assert_eq!(scene.standing(), i64::try_from(ROWS).expect("few") + 1, "rows were acknowledged");
    scene.good(&run);
    let answers = std::fs::read_to_string(&out).expect("answers");
    assert_eq!(answers.lines().count(), ROWS, "an answer is missing, or written twice");
    scene.assert_whole();
}

#[test]
fn a_backup_whose_flush_fails_is_no_backup() {
    let scene = Scene::new();
    scene.good(&["import", &scene.letters("letters", 10)]);
    let copy = scene.path("copy.db");
    let args = ["store", "backup", &copy.display().to_string()];
    let told = ended(scene.start(with_bad_flushes(&scene, "1+", &args)));
    assert_eq!(told.code, 1, "{}", told.stderr);
    assert!(injected(&scene) > 0);
    assert!(!copy.exists(), "a copy that is not on disk was put in its place");
    scene.good(&args);
}

#[test]
fn a_file_whose_folder_cannot_be_flushed_stands_whole_and_that_is_told() {
    let scene = Scene::new();
    scene.good(&["import", &scene.letters("letters", 10)]);
    let (copy, out) = (scene.path("copy.db"), scene.path("out.jsonl"));
    let (to_copy, to_out) = (copy.display().to_string(), out.display().to_string());
    for (file, args) in
        [(&copy, ["store", "backup", &to_copy]), (&out, ["export", "--out", &to_out])]
    {
        // Each flushes the file first, and then its folder.
        let told = ended(scene.start(with_bad_flushes(&scene, "1", &args)));
        assert_eq!(told.code, 1, "{}", told.stderr);
        assert!(!file.exists(), "what is not on disk was put in its place");
        let told = ended(scene.start(with_bad_flushes(&scene, "2", &args)));
        assert_eq!(told.code, 1, "{}", told.stderr);
        assert!(file.exists() && told.stderr.contains("stands there whole"), "{}", told.stderr);
    }
    let check = scene.run(&["store", "check", "--store", &format!("sqlite:{to_copy}")]);
    assert_eq!(check.code, 0, "{}", check.stdout);
    let left = std::fs::read_dir(scene.path("")).expect("a folder");
    let drafts = left.filter(|entry| {
        entry.as_ref().expect("one").file_name().to_string_lossy().contains(".part")
    });
    assert_eq!(drafts.count(), 0, "a draft stays");
}

#[test]
fn ctrl_c_ends_a_backup_and_leaves_nothing_of_it() {
    let scene = Scene::new();
    scene.good(&["import", &scene.letters("letters", 100)]);
    std::fs::create_dir(scene.path("copies")).expect("created");
    let copy = scene.path("copies/copy.db").display().to_string();
    let backup = with_slow("pwrite64", &scene, &["store", "backup", &copy]);
    let ran = interrupted_at(backup, &scene, |line| line.contains("pwrite64"));
    assert_eq!(ran.code, 130, "{}", ran.stderr);
    assert!(ran.stderr.contains("interrupted"), "{}", ran.stderr);
    let left = std::fs::read_dir(scene.path("copies")).expect("a folder").count();
    assert_eq!(left, 0, "half a copy stays");
    scene.good(&["store", "backup", &copy]);
}

#[test]
fn ctrl_c_ends_an_export_and_a_salvage_and_leaves_nothing_of_them() {
    let scene = Scene::new();
    scene.good(&["import", &scene.letters("letters", 400)]);
    std::fs::create_dir(scene.path("out")).expect("created");
    let out = scene.path("out/dead.jsonl").display().to_string();
    // A salvage is ended while it reads, and both while they write the file.
    let cases: [(&str, &[&str]); 3] = [
        ("pwrite64", &["export", "--salvage", "--out", &out]),
        ("write", &["export", "--salvage", "--out", &out]),
        ("write", &["export", "--out", &out]),
    ];
    for (call, args) in cases {
        let is_it = |line: &str| match call {
            "write" => line.contains("\\\"task\\\"") || line.contains("{\\\"export"),
            _ => line.contains(call),
        };
        let ran = interrupted_at(with_slow(call, &scene, args), &scene, is_it);
        assert_eq!(ran.code, 130, "{args:?}: {}", ran.stderr);
        assert!(ran.stderr.contains("interrupted"), "{args:?}: {}", ran.stderr);
        let left = std::fs::read_dir(scene.path("out")).expect("a folder").count();
        assert_eq!(left, 0, "{args:?}: half a file stays");
        let heaps = std::fs::read_dir(scene.path("")).expect("a folder").filter(|entry| {
            let name = entry.as_ref().expect("one").file_name();
            name.to_string_lossy().contains("deadletter-salvage-")
        });
        assert_eq!(
            heaps.count(),
            0,
            "{args:?}: what was read stays in the folder of temporary files"
        );
    }
}
