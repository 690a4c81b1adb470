//! `list`, `show`, `stats`, `export`, `import`: letters in a store of their own.

use crate::bench::{Bench, KEY, Ran, ran};
use serde_json::{Value, json};

const AT: i64 = 1_800_000_000;

fn entry(sitekey: &str, error: &str, attempts: u32, at: i64) -> Value {
    json!({"sitekey": sitekey, "page_url": format!("https://{sitekey}.example/login"),
        "error": error, "attempts": attempts, "timestamp": at})
}

/// A bench whose store holds four letters.
fn filled() -> Bench {
    let bench = Bench::new();
    let list = json!([
        entry("a", "ERROR_CAPTCHA_UNSOLVABLE", 4, AT),
        entry("a", "Task 1234567 timed out", 4, AT + 1),
        entry("b", "Task 7654321 timed out", 4, AT + 2),
        entry("=c", "ERROR_PAGEURL", 9, AT + 3),
    ]);
    bench.write("article.json", &list.to_string());
    let ran = run(&bench, &["import", "article.json"]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert_eq!(lines(&ran)[0]["imported"], 4);
    bench
}

fn run(bench: &Bench, args: &[&str]) -> Ran {
    let mut command = bench.command(args);
    command.env("DEADLETTER_STORE", "sqlite:tasks.db");
    let ran = ran(command);
    assert!(!ran.stdout.contains(KEY) && !ran.stderr.contains(KEY));
    ran
}

fn lines(ran: &Ran) -> Vec<Value> {
    ran.stdout.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

#[test]
fn list_chooses_by_filter_and_writes_one_document_a_line() {
    let bench = filled();
    let causes = |args: &[&str]| -> Vec<String> {
        let ran = run(&bench, args);
        assert_eq!(ran.code, 0, "{}", ran.stderr);
        lines(&ran).iter().map(|row| row["cause"].as_str().expect("text").to_owned()).collect()
    };
    assert_eq!(causes(&["list"]).len(), 3, "the buried one is no dead letter");
    assert_eq!(causes(&["list", "*"]).len(), 4);
    assert_eq!(causes(&["list", "cause:TIMEOUT", "sitekey:b"]), ["TIMEOUT"]);
    assert_eq!(causes(&["list", "--limit", "1", "--oldest-first"]), ["ERROR_CAPTCHA_UNSOLVABLE"]);
    let slip = run(&bench, &["list", "cuase:TIMEOUT"]);
    assert_eq!(slip.code, 2);
    assert!(slip.stderr.contains("cause") && slip.stderr.contains("fix: "), "{}", slip.stderr);
}

#[test]
fn stats_count_the_dead_by_every_dimension() {
    let bench = filled();
    let rows = lines(&run(&bench, &["stats"]));
    let count = |by: &str, value: &str| {
        let row = rows.iter().find(|row| row["by"] == by && row["value"] == value);
        row.map(|row| row["count"].as_i64().expect("a number"))
    };
    assert_eq!(count("state", "dead"), Some(3));
    assert_eq!(count("state", "buried"), Some(1));
    assert_eq!(count("cause", "TIMEOUT"), Some(2));
    assert_eq!(count("class", "transient"), Some(2));
    assert_eq!(count("sitekey", "a"), Some(2));
    assert_eq!(count("host", "b.example"), Some(1));
    assert_eq!(count("method", "userrecaptcha"), Some(4));
    let alone = lines(&run(&bench, &["stats", "--by", "sitekey"]));
    assert!(alone.iter().all(|row| row["by"] == "sitekey") && alone.len() == 3);
}

#[test]
fn show_has_the_request_and_every_attempt() {
    let bench = filled();
    let row = &lines(&run(&bench, &["list", "sitekey:b"]))[0];
    let shown = &lines(&run(&bench, &["show", &row["id"].to_string()]))[0];
    assert_eq!(shown["request"]["pageurl"], "https://b.example/login");
    assert_eq!(shown["attempts"].as_array().map(Vec::len), Some(4));
    let missing = run(&bench, &["show", "7"]);
    assert_eq!(missing.code, 1);
    assert!(missing.stderr.contains("there is no task 7"), "{}", missing.stderr);
}

#[test]
fn our_export_comes_back_whole_and_twice_is_once() {
    let bench = filled();
    assert_eq!(run(&bench, &["export", "--out", "dead.jsonl"]).code, 0);
    let mut elsewhere = bench.command(&["import", "dead.jsonl"]);
    elsewhere.env("DEADLETTER_STORE", "sqlite:other.db");
    assert_eq!(
        lines(&ran(elsewhere))[0],
        json!({"imported": 4, "duplicates": 0, "not_at_rest": 0, "masked": 0, "without_request": 0, "rejected": 0, "torn": null})
    );
    let mut again = bench.command(&["import", "dead.jsonl"]);
    again.env("DEADLETTER_STORE", "sqlite:other.db");
    assert_eq!(lines(&ran(again))[0]["duplicates"], 4);
    assert_eq!(lines(&run(&bench, &["import", "dead.jsonl"]))[0]["duplicates"], 4);

    let mut back = bench.command(&["export", "--out", "back.jsonl"]);
    back.env("DEADLETTER_STORE", "sqlite:other.db");
    assert_eq!(ran(back).code, 0);
    let letters = |name: &str| -> Vec<Value> {
        let text = bench.read(name);
        let lines: Vec<Value> =
            text.lines().map(|l| serde_json::from_str(l).expect("JSON")).collect();
        assert_eq!(lines.last().expect("a footer")["letters"], 4);
        lines[1..5].to_vec()
    };
    for (mut there, mut here) in letters("dead.jsonl").into_iter().zip(letters("back.jsonl")) {
        // The row was written twice: inserted, and laid to rest.
        for row in [&mut there, &mut here] {
            row["task"]["version"] = Value::Null;
        }
        assert_eq!(there, here);
    }
}

#[test]
fn the_article_reads_what_we_export_for_it() {
    let bench = filled();
    let ran = run(&bench, &["export", "*", "--format", "article"]);
    let list: Value = serde_json::from_str(&ran.stdout).expect("one JSON list");
    let first = &list[0];
    assert_eq!(first["sitekey"], "a");
    assert_eq!(first["page_url"], "https://a.example/login");
    assert_eq!(first["attempts"], 4);
    assert_eq!(first["timestamp"].as_f64(), Some(AT as f64));
    assert!(first["error"].as_str().expect("text").starts_with("ERROR_CAPTCHA_UNSOLVABLE"));
    let none = run(&bench, &["export", "state:cancelled", "--format", "article"]);
    assert_eq!(none.stdout.trim().replace('\n', ""), "[]");
}

#[test]
fn no_cell_of_a_sheet_is_a_formula() {
    let bench = filled();
    let ran = run(&bench, &["export", "*", "--format", "csv"]);
    let mut rows = csv::Reader::from_reader(ran.stdout.as_bytes());
    let cells: Vec<String> = rows
        .records()
        .flat_map(|row| row.expect("CSV").iter().map(str::to_owned).collect::<Vec<_>>())
        .collect();
    assert!(cells.contains(&"'=c".to_owned()), "{cells:?}");
    assert!(cells.iter().all(|cell| !cell.starts_with(['=', '+', '-', '@'])));
}

#[test]
fn the_javascript_file_is_read_and_its_entries_are_known_again() {
    let bench = Bench::new();
    let entry = json!({"sitekey": "6Le", "pageurl": "https://a.example", "error": "ERROR_CAPTCHA_UNSOLVABLE",
        "attempts": 4, "timestamp": AT * 1_000});
    bench.write("captcha-dlq.json", &serde_json::to_string_pretty(&json!([entry])).expect("JSON"));
    assert_eq!(lines(&run(&bench, &["import", "captcha-dlq.json"]))[0]["imported"], 1);
    assert_eq!(lines(&run(&bench, &["import", "captcha-dlq.json"]))[0]["duplicates"], 1);
    let row = &lines(&run(&bench, &["list"]))[0];
    assert_eq!(row["updated_at"], "2027-01-15T08:00:00.000Z");
    assert_eq!(row["counters"]["submits"], 4);
}

#[test]
fn of_a_torn_file_of_the_articles_every_whole_letter_is_taken_and_the_tear_is_told() {
    for page in ["page_url", "pageurl"] {
        let bench = Bench::new();
        let entry = |n: i64| {
            json!({"sitekey": "x", page: format!("https://x.example/{n}"),
            "error": "e", "attempts": 4, "timestamp": AT + n})
        };
        let list = json!([entry(1), entry(2), entry(3)]);
        let text = serde_json::to_string_pretty(&list).expect("JSON");
        let torn = &text[..text.len() - 20];
        bench.write("captcha-dlq.json", torn);
        let dry = run(&bench, &["import", "captcha-dlq.json", "--dry-run"]);
        assert_eq!((dry.code, &lines(&dry)[0]["letters"]), (1, &2.into()));
        assert!(lines(&run(&bench, &["list"])).is_empty());
        let ran = run(&bench, &["import", "captcha-dlq.json"]);
        assert_eq!(ran.code, 1, "{}", ran.stderr);
        let told = &lines(&ran)[0];
        assert_eq!((&told["imported"], &told["torn"]["byte"]), (&2.into(), &torn.len().into()));
        let line = torn.lines().count();
        assert_eq!(told["torn"]["line"], line);
        let words = format!("torn at line {line}, byte {}", torn.len());
        assert!(
            ran.stderr.contains(&words) && ran.stderr.contains("2 whole letters"),
            "{}",
            ran.stderr
        );
        assert_eq!(bench.read("captcha-dlq.json"), torn, "the file is left as it is");
        // The whole file brings the rest.
        bench.write("captcha-dlq.json", &text);
        let again = &lines(&run(&bench, &["import", "captcha-dlq.json"]))[0];
        assert_eq!((&again["imported"], &again["duplicates"]), (&1.into(), &2.into()));
        let held = lines(&run(&bench, &["list", "*"]));
        assert!(held.len() == 3 && held.iter().all(|row| row["hold"].is_null()), "{held:?}");
    }
}

#[test]
fn a_file_without_a_whole_letter_is_refused_and_changes_nothing() {
    let bench = filled();
    let list = json!([entry("x", "e", 4, AT)]).to_string();
    bench.write("torn.json", &list[..list.len() - 9]);
    let ran = run(&bench, &["import", "torn.json"]);
    assert_eq!(ran.code, 1);
    assert!(ran.stderr.contains("torn at line 1, byte"), "{}", ran.stderr);
    bench.write("empty.json", "");
    assert_eq!(run(&bench, &["import", "empty.json"]).code, 1);
    assert_eq!(run(&bench, &["export", "--out", "ours.jsonl"]).code, 0);
    let ours = bench.read("ours.jsonl");
    bench.write("ours.jsonl", &ours[..ours.len() - 3]);
    assert_eq!(run(&bench, &["import", "ours.jsonl", "--store", "sqlite:other.db"]).code, 1);
    assert!(lines(&run(&bench, &["list", "*", "--store", "sqlite:other.db"])).is_empty());
    assert_eq!(lines(&run(&bench, &["list", "*"])).len(), 4);
}

#[test]
fn an_export_for_the_article_that_comes_back_adds_nothing_and_says_so() {
    let bench = filled();
    assert_eq!(run(&bench, &["export", "*", "--format", "article", "--out", "back.json"]).code, 0);
    let list: Value = serde_json::from_str(&bench.read("back.json")).expect("JSON");
    let errors: Vec<_> = list.as_array().expect("a list").iter().map(|it| &it["error"]).collect();
    assert_eq!(errors[0], "ERROR_CAPTCHA_UNSOLVABLE", "the cause is named once");
    assert_eq!(errors[1], "TIMEOUT: Task 1234567 timed out");
    for _ in 0..2 {
        let ran = run(&bench, &["import", "back.json"]);
        assert_eq!(lines(&ran)[0]["imported"], 0, "{}", ran.stdout);
        assert!(ran.stderr.contains("4 were here already"), "{}", ran.stderr);
    }
    // The JavaScript form of the same letters, in another store and back.
    let mut forms = list.as_array().expect("a list").clone();
    for form in &mut forms {
        form["pageurl"] = form["page_url"].take();
        form["timestamp"] = json!((form["timestamp"].as_f64().expect("seconds") * 1_000.0).round());
    }
    bench.write("captcha-dlq.json", &Value::from(forms).to_string());
    assert_eq!(lines(&run(&bench, &["import", "captcha-dlq.json"]))[0]["duplicates"], 4);
}

#[test]
fn equal_entries_of_one_list_are_letters_of_their_own_however_often_it_is_imported() {
    let bench = Bench::new();
    let same = entry("x", "fetch failed", 4, AT);
    bench.write("one.json", &json!([same]).to_string());
    bench.write("three.json", &json!([same, same, same]).to_string());
    assert_eq!(lines(&run(&bench, &["import", "one.json"]))[0]["imported"], 1);
    let more = &lines(&run(&bench, &["import", "three.json"]))[0];
    assert_eq!((&more["imported"], &more["duplicates"]), (&2.into(), &1.into()));
    assert_eq!(lines(&run(&bench, &["import", "three.json"]))[0]["duplicates"], 3);
}

#[test]
fn what_is_no_letter_is_put_aside_when_asked_for() {
    let bench = Bench::new();
    let error = format!("/res.php?key={KEY}&id=5 timed out");
    let bad = json!({"sitekey": "x", "error": error, "attempts": 4, "timestamp": AT});
    bench.write(
        "mixed.json",
        &json!([entry("a", "e", 4, AT), bad, entry("b", "e", 4, AT)]).to_string(),
    );
    let refused = run(&bench, &["import", "mixed.json"]);
    assert!(refused.code == 1 && refused.stderr.contains("--rejects"), "{}", refused.stderr);
    assert!(lines(&run(&bench, &["list"])).is_empty());
    assert_eq!(run(&bench, &["import", "mixed.json", "--rejects", "./mixed.json"]).code, 2);
    let ran = run(&bench, &["import", "mixed.json", "--rejects", "bad.jsonl"]);
    assert_eq!(ran.code, 1, "{}", ran.stderr);
    let told = &lines(&ran)[0];
    assert_eq!((&told["imported"], &told["rejected"]), (&2.into(), &1.into()));
    let aside: Value = serde_json::from_str(bench.read("bad.jsonl").trim()).expect("one line");
    assert_eq!((&aside["rejected_row"], &aside["sitekey"]), (&2.into(), &"x".into()));
    assert!(aside["rejected_reason"].as_str().is_some_and(|why| why.contains("page_url")));
    assert!(!bench.read("bad.jsonl").contains(KEY));
}

#[test]
fn a_letter_larger_than_any_task_may_be_is_put_aside() {
    let bench = filled();
    assert_eq!(run(&bench, &["export", "--out", "dead.jsonl"]).code, 0);
    let mut letters: Vec<Value> = bench.read("dead.jsonl").lines().map(json_of).collect();
    letters[1]["task"]["owner"] = "x".repeat(257).into();
    letters[3]["task"]["tags"] = vec!["x"; 65].into();
    let text: String = letters.iter().map(|letter| format!("{letter}\n")).collect();
    bench.write("large.jsonl", &text);
    let elsewhere = |args: &[&str]| {
        let mut command = bench.command(args);
        command.env("DEADLETTER_STORE", "sqlite:other.db");
        ran(command)
    };
    let refused = elsewhere(&["import", "large.jsonl"]);
    assert!(refused.code == 1 && refused.stderr.contains("257 bytes"), "{}", refused.stderr);
    let told = elsewhere(&["import", "large.jsonl", "--rejects", "bad.jsonl"]);
    assert_eq!(told.code, 1, "{}", told.stderr);
    let told = &lines(&told)[0];
    assert_eq!((&told["imported"], &told["rejected"]), (&2.into(), &2.into()), "{told}");
    let aside: Vec<Value> = bench.read("bad.jsonl").lines().map(json_of).collect();
    let why: Vec<_> = aside.iter().map(|row| row["rejected_reason"].clone()).collect();
    assert_eq!(
        why,
        [
            "the owner has 257 bytes; at most 256 are allowed",
            "the task has 65 tags; at most 64 are allowed"
        ]
    );
    assert_eq!(lines(&elsewhere(&["list", "*"])).len(), 2);
}

fn json_of(line: &str) -> Value {
    serde_json::from_str(line).expect("JSON")
}

#[test]
fn a_dry_run_changes_nothing() {
    let bench = filled();
    bench.write("more.json", &json!([entry("x", "e", 4, AT)]).to_string());
    assert_eq!(lines(&run(&bench, &["import", "more.json", "--dry-run"]))[0]["letters"], 1);
    assert_eq!(lines(&run(&bench, &["list", "*"])).len(), 4);
}

#[test]
fn the_key_in_an_articles_error_never_reaches_the_store() {
    let bench = Bench::new();
    let error = format!("HTTPSConnectionPool: /res.php?key={KEY}&action=get&id=5 timed out");
    bench.write("article.json", &json!([entry("a", &error, 4, AT)]).to_string());
    let mut command = bench.command(&["import", "article.json"]);
    command.env("DEADLETTER_STORE", "sqlite:tasks.db").env("CAPTCHAAI_API_KEY", KEY);
    assert_eq!(ran(command).code, 0);
    assert_eq!(run(&bench, &["export"]).code, 0);
    assert_eq!(
        run(&bench, &["import", "article.json"]).code,
        0,
        "without the key in the environment"
    );
    for name in ["tasks.db", "tasks.db-wal"] {
        let bytes = std::fs::read(bench.path(name)).unwrap_or_default();
        assert!(!bytes.windows(KEY.len()).any(|part| part == KEY.as_bytes()), "{name}");
    }
}

#[test]
fn a_file_of_letters_is_moved_into_a_store_as_another_store_would_be() {
    let bench = Bench::new();
    let list =
        json!([entry("a", "ERROR_CAPTCHA_UNSOLVABLE", 4, AT), entry("b", "x timed out", 4, AT)]);
    bench.write("article.json", &list.to_string());
    let migrate = ["store", "migrate", "--from", "article.json", "--to", "sqlite:moved.db"];
    let looked = run(&bench, &[&migrate[..], &["--dry-run"]].concat());
    assert_eq!((looked.code, &lines(&looked)[0]["letters"]), (0, &2.into()), "{}", looked.stderr);
    assert!(!bench.path("moved.db").exists());
    let moved = run(&bench, &migrate);
    assert_eq!((moved.code, &lines(&moved)[0]["imported"]), (0, &2.into()), "{}", moved.stderr);
    assert!(!bench.path("tasks.db").exists(), "the store of the settings is not meant");
    let listed = run(&bench, &["list", "--store", "sqlite:moved.db"]);
    assert_eq!(lines(&listed).len(), 2);
    let again = run(&bench, &migrate);
    assert_eq!(lines(&again)[0]["duplicates"], 2, "{}", again.stderr);
}

#[test]
fn letters_meet_the_holds_that_stand() {
    let bench = filled();
    let hold = ["hold", "--where", "sitekey:held", "--standing", "--yes"];
    assert_eq!(run(&bench, &hold).code, 0);
    let list = json!([
        entry("held", "ERROR_CAPTCHA_UNSOLVABLE", 4, AT + 10),
        entry("free", "ERROR_CAPTCHA_UNSOLVABLE", 4, AT + 11),
        // Buried: nobody redrives it anyway.
        entry("held", "ERROR_PAGEURL", 9, AT + 12),
    ]);
    bench.write("more.json", &list.to_string());
    assert_eq!(lines(&run(&bench, &["import", "more.json"]))[0]["imported"], 3);
    let held = lines(&run(&bench, &["list", "held:yes"]));
    let keys: Vec<_> = held.iter().map(|task| &task["sitekey"]).collect();
    assert_eq!(keys, ["held"], "{held:?}");
    let released = run(&bench, &["release", "--where", "sitekey:held", "--yes"]);
    assert_eq!(released.code, 0, "{}", released.stderr);
    assert_eq!(run(&bench, &["list", "held:yes"]).stdout, "");
}
