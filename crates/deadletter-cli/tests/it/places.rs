//! Where answers and rejected rows go: pipes, links, devices, and files that hold something else.

use crate::{
    bench::{at_pipe, ended, started},
    upstream::{GOOD, Scene, json_lines, lines},
};
use std::{fs::File, process::Command};

fn fifo(scene: &Scene, name: &str) -> std::path::PathBuf {
    let path = scene.bench.path(name);
    assert!(Command::new("mkfifo").arg(&path).status().expect("mkfifo exists").success());
    path
}

fn is_fifo(path: &std::path::Path) -> bool {
    use std::os::unix::fs::FileTypeExt;
    std::fs::symlink_metadata(path).expect("it stands").file_type().is_fifo()
}

#[test]
fn answers_go_through_a_pipe_to_whoever_reads_it() {
    let scene = Scene::happy();
    scene.rows("tasks.csv", GOOD, 3);
    let path = fifo(&scene, "answers");
    let child = started(scene.command(&["run", "tasks.csv", "--out", "answers", "--csv"]));
    let reader = path.clone();
    let text = at_pipe(&child, || std::fs::read_to_string(reader).expect("read to its end"));
    let output = ended(child);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(text.starts_with("line,task,") && text.lines().count() == 4, "{text}");
    assert!(is_fifo(&path));
}

#[test]
fn a_pipe_whose_reader_leaves_is_no_success_and_loses_nothing() {
    let scene = Scene::happy();
    scene.rows("tasks.csv", GOOD, 6);
    let path = fifo(&scene, "answers");
    let child = started(scene.command(&["run", "tasks.csv", "--out", "answers"]));
    // Its end is closed before any answer comes.
    at_pipe(&child, move || drop(File::open(&path).expect("opened")));
    let output = ended(child);
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(told.contains("everything is kept") && told.contains("--resume"), "{told}");
    let resumed = scene.run(&["run", "tasks.csv", "--resume"]);
    assert_eq!((resumed.code, lines(&resumed).len(), scene.paid()), (0, 6, 6));
}

#[test]
fn answers_go_through_a_link_and_to_a_device() {
    let scene = Scene::happy();
    scene.rows("tasks.csv", GOOD, 2);
    scene.bench.write("real.jsonl", "");
    let link = scene.bench.path("link.jsonl");
    std::os::unix::fs::symlink("real.jsonl", &link).expect("linked");
    assert_eq!(scene.run(&["run", "tasks.csv", "--out", "link.jsonl"]).code, 0);
    assert!(link.is_symlink());
    assert_eq!(json_lines(&scene.bench.read("real.jsonl")).len(), 2);
    let ran = scene.run(&["run", "tasks.csv", "--resume", "--out", "/dev/stdout"]);
    assert_eq!((ran.code, lines(&ran).len()), (0, 2), "{}", ran.stderr);
    let into = File::create(scene.bench.path("redirected")).expect("created");
    let mut command = scene.command(&["run", "tasks.csv", "--resume", "--out", "/dev/stdout"]);
    assert!(command.stdout(into).status().expect("it starts").success());
    assert_eq!(json_lines(&scene.bench.read("redirected")).len(), 2);
}

#[test]
fn rejects_are_never_written_over_somebody_elses_file() {
    let scene = Scene::happy();
    scene.bench.write("tasks.csv", &format!("sitekey,url\n{GOOD},https://a.example\n{GOOD},\n"));
    for (name, text) in [
        ("notes.txt", "mine\n"),
        ("other.csv", "rejected_line,rejected_row,rejected_reason,a\n"),
        ("short", "r"),
    ] {
        scene.bench.write(name, text);
        let ran = scene.run(&["run", "tasks.csv", "--rejects", name]);
        assert_eq!(ran.code, 2, "{name}: {}", ran.stderr);
        assert!(ran.stderr.contains("is no file of rejected rows"), "{}", ran.stderr);
        assert!(ran.stderr.contains("  fix: "), "{}", ran.stderr);
        assert_eq!(scene.bench.read(name), text);
    }
    assert_eq!(scene.simulator.stats().requests, 0);
}

#[test]
fn rejects_of_an_earlier_run_stay_as_somebody_mended_them() {
    let scene = Scene::happy();
    scene.bench.write(
        "tasks.csv",
        &format!("sitekey,url\n{GOOD},https://a.example\n{GOOD},\n{GOOD},\"two\nlines\"\n"),
    );
    let run = || scene.run(&["run", "tasks.csv", "--resume", "--rejects", "bad.csv"]);
    assert_eq!(run().code, 1);
    let first = scene.bench.read("bad.csv");
    assert_eq!(first.matches(GOOD).count(), 2, "{first}");
    assert_eq!(run().code, 1);
    assert_eq!(scene.bench.read("bad.csv"), first, "what stands there is not written again");
    // Mended by hand, and left without an end of its last line.
    let mended = first.trim_end().replacen(&format!("{GOOD},"), "mended,https://b.example", 1);
    scene.bench.write("bad.csv", &mended);
    assert_eq!(run().code, 1);
    let after = scene.bench.read("bad.csv");
    assert!(
        after.starts_with(&format!("{mended}\n")) && after.ends_with(&format!("{GOOD},\n")),
        "{after}"
    );
    let jsonl = |n: u32| {
        scene.bench.write("tasks.jsonl", &format!("{{\"sitekey\":\"{GOOD}\"}}\n{n}\n"));
        scene.run(&["run", "tasks.jsonl", "--resume", "--rejects", "bad.jsonl"]);
        json_lines(&scene.bench.read("bad.jsonl")).len()
    };
    assert_eq!((jsonl(1), jsonl(1)), (2, 2));
}
