//! What a row may not be: the key in any cell, two meanings in one.

use crate::{
    bench::KEY,
    upstream::{GOOD, Scene, lines},
};
use serde_json::json;

/// No file that a run leaves behind holds the key.
fn refuse_key_in(scene: &Scene, names: &[&str]) {
    for name in names {
        let bytes = std::fs::read(scene.bench.path(name)).expect("it was written");
        assert!(!bytes.windows(KEY.len()).any(|part| part == KEY.as_bytes()), "{name}");
    }
}

#[test]
fn a_row_that_holds_the_key_is_put_aside_without_it() {
    let scene = Scene::happy();
    let url = "https://a.example";
    scene.bench.write(
        "tasks.csv",
        &format!(
            "sitekey,url,note,tag,spare\n{GOOD},{url},,,\n{GOOD},{url}/2,{KEY},,\n{GOOD},{url}/3,,{KEY},\n\
             {GOOD},{url}/?k={KEY},,,\n{GOOD},{url}/5,,,{KEY}\n{GOOD},{url}/6,{KEY}\n"
        ),
    );
    let ran = scene.run(&["run", "tasks.csv", "--map", "spare=-"]);
    assert_eq!((ran.code, lines(&ran).len()), (1, 2), "{}", ran.stderr);
    for told in ["line 3: note: it holds", "line 4: tag: it holds", "line 5: url: it holds"] {
        assert!(ran.stderr.contains(told), "{told:?} is missing in {}", ran.stderr);
    }
    let rejects = scene.bench.read("tasks.csv.rejected.csv");
    assert_eq!((rejects.lines().count(), rejects.matches("***").count()), (5, 4), "{rejects}");
    refuse_key_in(&scene, &["tasks.csv.rejected.csv", "tasks.db"]);
}

#[test]
fn a_json_row_that_holds_the_key_is_put_aside_without_it() {
    let scene = Scene::happy();
    let row = |n: u32, more: serde_json::Value| {
        let mut row = json!({"sitekey": GOOD, "url": format!("https://a.example/{n}")});
        row.as_object_mut().expect("an object").extend(more.as_object().expect("one").clone());
        row.to_string()
    };
    let rows = [
        row(1, json!({})),
        row(2, json!({"proxy": [format!("u:{KEY}@10.0.0.1:80")]})),
        row(3, json!({KEY: 1})),
        row(4, json!({"tags": [KEY]})),
    ];
    scene.bench.write("tasks.jsonl", &rows.join("\n"));
    let ran = scene.run(&["run", "tasks.jsonl", "--rejects", "bad.jsonl"]);
    assert_eq!((ran.code, lines(&ran).len()), (1, 1), "{}", ran.stderr);
    for told in ["line 2: proxy: it holds", "line 3: the name of a column holds", "line 4: tags:"] {
        assert!(ran.stderr.contains(told), "{told:?} is missing in {}", ran.stderr);
    }
    refuse_key_in(&scene, &["bad.jsonl", "tasks.db"]);
}

#[test]
fn no_name_that_every_task_would_carry_may_be_the_key() {
    let scene = Scene::happy();
    scene.rows("tasks.csv", GOOD, 1);
    scene.rows(&format!("{KEY}.csv"), GOOD, 1);
    scene.bench.write("head.csv", &format!("sitekey,url,{KEY}\n{GOOD},https://a.example,1\n"));
    let file = format!("{KEY}.csv");
    let named: [&[&str]; 4] = [
        &["tasks.csv", "--name", KEY],
        &["tasks.csv", "--method", KEY],
        &["head.csv"],
        // A path is the user's own: only the batch would repeat it.
        &[&file, "--quiet"],
    ];
    for args in named {
        let ran = scene.run(&[&["run"], args].concat());
        assert_eq!(ran.code, 2, "{args:?}: {}", ran.stderr);
        assert!(ran.stderr.contains("holds the account's key"), "{}", ran.stderr);
    }
    assert_eq!(scene.run(&["run", &file, "--name", "x", "--quiet"]).code, 0);
}

#[test]
fn a_row_with_two_site_keys_or_two_pages_is_put_aside() {
    let scene = Scene::happy();
    scene.bench.write(
        "tasks.csv",
        &format!(
            "sitekey,googlekey,url,pageurl\n{GOOD},{GOOD},https://a.example,\n\
             {GOOD},6Le-other,https://a.example,\n{GOOD},,https://a.example,https://b.example\n"
        ),
    );
    let ran = scene.run(&["run", "tasks.csv"]);
    assert_eq!((ran.code, lines(&ran).len()), (1, 1), "{}", ran.stderr);
    for told in
        ["line 3: sitekey and googlekey differ", "line 4: pageurl: it means pageurl, as url"]
    {
        assert!(ran.stderr.contains(told), "{told:?} is missing in {}", ran.stderr);
    }
}

#[test]
fn a_lone_task_has_one_site_key_and_no_key_of_ours() {
    let scene = Scene::happy();
    let base = ["solve", "--sitekey", GOOD, "--pageurl", "https://a.example", "--dry-run"];
    let within = format!("x={KEY}-and-more");
    let refused: [&[&str]; 4] = [
        &["--param", &within],
        &["--param", "googlekey=other"],
        &["--param", "pageurl=https://b.example"],
        &["--param", "sitekey=other"],
    ];
    for more in refused {
        let ran = scene.run(&[&base, more].concat());
        assert_eq!(ran.code, 2, "{more:?}: {}", ran.stderr);
        assert!(ran.stderr.contains("  fix: "), "{}", ran.stderr);
    }
    let same = format!("googlekey={GOOD}");
    assert_eq!(scene.run(&[&base[..], &["--param", &same]].concat()).code, 0);
}

#[test]
fn a_json_row_that_says_one_thing_twice_is_put_aside() {
    let scene = Scene::happy();
    let row = |url: &str, more: &str| format!(r#"{{"sitekey":"{GOOD}","url":"{url}"{more}}}"#);
    let rows = [
        row("https://a.example/1", ""),
        row("https://a.example/2", r#","url":"https://a.example/3""#),
        row("https://a.example/4", r#","note":1,"note":1"#),
        row("https://a.example/5", &format!(r#","{KEY}":1,"{KEY}":1"#)),
    ];
    for (name, text) in
        [("lines.jsonl", rows.join("\n")), ("list.json", format!("[{}]", rows.join(",\n")))]
    {
        scene.bench.write(name, &text);
        let ran = scene.run(&["run", name]);
        assert_eq!((ran.code, lines(&ran).len()), (1, 1), "{name}: {}", ran.stderr);
        for told in ["\"url\"", "\"note\"", "\"***\""] {
            let told = format!("it has two fields of the name {told}");
            assert!(ran.stderr.contains(&told), "{told} is missing in {}", ran.stderr);
        }
        refuse_key_in(&scene, &[&format!("{name}.rejected.jsonl")]);
    }
}
