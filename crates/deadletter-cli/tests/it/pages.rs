//! Plain lists of pages, and parameters that the command line gives for every row.

use crate::{
    bench::KEY,
    upstream::{GOOD, Scene, json_lines, lines},
};
use serde_json::Value;
use std::{
    io::Write,
    process::{Command, Stdio},
};

const PAGES: &str = "# mine\n\nhttps://a.example/1\r\n  HTTPS://a.example/2  \nnowhere\n";

fn requests(scene: &Scene) -> Vec<Value> {
    let ids: Vec<_> = lines(&scene.run(&["list", "*", "--oldest-first"]))
        .iter()
        .map(|row| row["id"].to_string())
        .collect();
    let ids: Vec<_> = ids.iter().map(String::as_str).collect();
    let shown = scene.run(&[&["show"], &ids[..]].concat());
    lines(&shown).into_iter().map(|letter| letter["request"].clone()).collect()
}

#[test]
fn a_list_of_pages_needs_only_a_site_key() {
    let scene = Scene::happy();
    scene.bench.write("urls.txt", PAGES);
    let bare = scene.run(&["run", "urls.txt"]);
    assert_eq!(bare.code, 2, "{}", bare.stderr);
    assert!(bare.stderr.contains("  fix: --sitekey KEY"), "{}", bare.stderr);
    let ran = scene.run(&["run", "urls.txt", "--sitekey", GOOD, "--param", "action=go"]);
    let places: Vec<_> = lines(&ran).iter().map(|row| row["line"].as_u64()).collect();
    assert_eq!((ran.code, places.len()), (1, 2), "{}", ran.stderr);
    assert!(places.contains(&Some(3)) && places.contains(&Some(4)), "{places:?}");
    assert!(ran.stderr.contains("line 5: its page URL does not begin"), "{}", ran.stderr);
    for (request, page) in
        requests(&scene).iter().zip(["https://a.example/1", "HTTPS://a.example/2"])
    {
        assert_eq!(request["pageurl"], page);
        assert_eq!((&request["googlekey"], &request["action"]), (&GOOD.into(), &"go".into()));
    }
    // What was put aside is mended and run again with the same words.
    let rejects = scene.bench.read("urls.txt.rejected.jsonl");
    let mended = rejects.replace("nowhere", "https://a.example/3");
    scene.bench.write("mended.jsonl", &mended);
    let again = scene.run(&["run", "mended.jsonl", "--sitekey", GOOD, "--param", "action=go"]);
    assert_eq!((again.code, lines(&again).len()), (0, 1), "{}", again.stderr);
}

#[test]
fn rows_without_a_header_are_not_taken_for_pages() {
    let scene = Scene::happy();
    let row = "https://a.example/login,6Le-wvkSAAAAAPBMRTvw";
    let turned = "6Le-wvkSAAAAAPBMRTvw,https://a.example/login,x";
    for (name, text, header) in [
        ("urls.txt", row, "url,sitekey"),
        ("urls.csv", row, "url,sitekey"),
        ("turned.txt", turned, "sitekey,url,column3"),
    ] {
        scene.bench.write(name, &format!("{text}\n{text}\n"));
        for more in [&[][..], &["--sitekey", GOOD]] {
            let ran = scene.run(&[&["run", name], more].concat());
            assert_eq!(ran.code, 2, "{name} {more:?}: {}", ran.stderr);
            assert!(ran.stderr.contains("looks like CSV without a header"), "{}", ran.stderr);
            let fix = format!("put this line before it: {header}\n");
            assert!(ran.stderr.contains(&fix), "{}", ran.stderr);
        }
    }
    // Behind a page alone it may be a slip: that row is put aside.
    scene.bench.write("mixed.txt", &format!("https://a.example/1\n{row}\n"));
    let ran = scene.run(&["run", "mixed.txt", "--sitekey", GOOD]);
    assert_eq!((ran.code, scene.paid()), (1, 1), "{}", ran.stderr);
    assert!(ran.stderr.contains("line 2: a site key stands behind its page"), "{}", ran.stderr);
}

#[test]
fn a_list_of_pages_comes_through_a_pipe_too() {
    let scene = Scene::happy();
    let args = ["run", "-", "--method", "turnstile", "--sitekey", GOOD];
    let mut child = scene
        .command(&args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    let text = PAGES.replace("nowhere\n", "");
    child.stdin.take().expect("piped").write_all(text.as_bytes()).expect("written");
    let output = child.wait_with_output().expect("it ends");
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(json_lines(&String::from_utf8_lossy(&output.stdout)).len(), 2);
    assert!(requests(&scene).iter().all(|request| request["sitekey"] == GOOD));
}

#[test]
fn what_the_command_line_says_holds_where_a_row_is_silent() {
    let scene = Scene::happy();
    scene.bench.write(
        "tasks.csv",
        &format!("url,sitekey,action\nhttps://a.example/1,,\nhttps://a.example/2,{GOOD}2,own\n"),
    );
    let ran = scene.run(&["run", "tasks.csv", "--sitekey", GOOD, "--param", "action=usual"]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let said: Vec<_> = requests(&scene)
        .iter()
        .map(|request| format!("{} {}", request["googlekey"], request["action"]))
        .collect();
    assert_eq!(said, [format!("\"{GOOD}\" \"usual\""), format!("\"{GOOD}2\" \"own\"")]);
    for bad in [format!("x={KEY}"), "key=x".to_owned()] {
        let ran = scene.run(&["run", "tasks.csv", "--param", &bad, "--name", "other"]);
        assert_eq!(ran.code, 2, "{}", ran.stderr);
    }
}

#[test]
fn an_image_is_read_from_its_file() {
    let scene = Scene::happy();
    std::fs::write(scene.bench.path("img.png"), b"\x89PNG\r\n\x1a\n\0\0").expect("written");
    let dry = |args: &[&str]| scene.run(&[&["solve", "--dry-run"], args].concat());
    for (method, name) in [("base64", "body"), ("post", "file")] {
        let ran = dry(&["--method", method, "--param", &format!("{name}=@img.png")]);
        assert_eq!(ran.code, 0, "{}", ran.stderr);
        assert_eq!(lines(&ran)[0][name], "iVBORw0KGgoAAA==");
    }
    let page = ["--sitekey", GOOD, "--pageurl", "https://a.example", "--param", "data-s=@img.png"];
    let refused = dry(&page);
    assert_eq!(refused.code, 2);
    assert!(refused.stderr.contains("img.png is not text, and data-s takes text"));
    assert!(refused.stderr.contains("  fix: "), "{}", refused.stderr);
}

#[test]
fn the_help_of_solve_keeps_its_examples_whole() {
    let scene = Scene::happy();
    for command in ["solve", "run"] {
        let mut help: Command = scene.command(&[command, "--help"]);
        let output = help.env("COLUMNS", "100").output().expect("it starts");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let examples: Vec<_> =
            text.lines().skip(1).take_while(|line| !line.is_empty()).map(str::to_owned).collect();
        assert!(examples.len() >= 2, "{text}");
        for line in examples {
            assert!(line.starts_with("  deadletter ") && line.len() <= 100, "{text}");
        }
    }
}
