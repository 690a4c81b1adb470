//! The store's file from outside: info, check, backup, and questions in SQL.

use crate::{
    bench::{Bench, KEY, Ran, ran},
    upstream::{GOOD, Scene, lines},
};
use serde_json::{Value, json};

fn run(bench: &Bench, args: &[&str]) -> Ran {
    let mut command = bench.command(args);
    command.env("DEADLETTER_STORE", "sqlite:tasks.db");
    ran(command)
}

/// Three dead letters, from an article's file.
fn filled() -> Bench {
    let bench = Bench::new();
    let entry = |sitekey: &str, error: &str| {
        json!({"sitekey": sitekey, "page_url": format!("https://{sitekey}.example/login"),
            "error": error, "attempts": 4, "timestamp": 1_800_000_000})
    };
    let list = json!([
        entry("a", "Task 1 timed out"),
        entry("b", "ERROR_CAPTCHA_UNSOLVABLE"),
        entry("=c", "Task 3 timed out")
    ]);
    bench.write("article.json", &list.to_string());
    assert_eq!(run(&bench, &["import", "article.json"]).code, 0);
    bench
}

#[test]
fn of_an_empty_file_nothing_is_to_be_salvaged() {
    let bench = Bench::new();
    bench.write("tasks.db", "");
    let checked = run(&bench, &["store", "check"]);
    assert_eq!(checked.code, 1, "{}", checked.stderr);
    let finding = &lines(&checked)[0]["findings"][0];
    assert_eq!(finding["rule"], "empty", "{finding}");
    let fix = finding["fix"].as_str().expect("text");
    assert!(fix.contains("backup") && fix.contains("remove it"), "{fix}");
    assert!(!checked.stderr.contains("salvage"), "{}", checked.stderr);
}

#[test]
fn info_tells_what_the_file_is_and_holds() {
    let bench = filled();
    let info = &lines(&run(&bench, &["store", "info"]))[0];
    assert_eq!((&info["schema"], &info["durability"]), (&info["schema_known"], &json!("D2")));
    assert_eq!((&info["tasks"]["accepted"], &info["tasks"]["dead"]), (&json!(3), &json!(3)));
    assert!(info["file_bytes"].as_u64().is_some_and(|n| n > 4_096));
    assert_eq!(info["oldest_at"], "2027-01-15T08:00:00.000Z");
    assert_eq!(info["workers"], json!([]));
}

#[test]
fn info_names_the_workers_that_are_alive_and_only_those() {
    let scene = Scene::happy();
    scene.rows("tasks.csv", GOOD, 1);
    let dead =
        scene.command(&["run", "tasks.csv"]).env("DEADLETTER_CRASH_AT", "after_intent:1").output();
    drop(dead.expect("the binary starts"));
    let info = scene.run(&["store", "info"]);
    assert_eq!(lines(&info)[0]["workers"], json!([]), "a dead one was named");
    let doctor = lines(&scene.run(&["doctor", "--offline"]));
    let queue = doctor.iter().find(|check| check["check"] == "queue").expect("it is made");
    assert!(queue["detail"].as_str().expect("text").starts_with("0 at work"), "{queue}");
    assert_eq!(scene.run(&["run", "tasks.csv", "--resume"]).code, 0);
    assert_eq!(scene.run(&["store", "check"]).code, 0);
}

#[test]
fn a_command_for_files_says_so_of_another_store_and_of_none() {
    let bench = Bench::new();
    for args in [vec!["store", "info"], vec!["store", "check"], vec!["query", "SELECT 1"]] {
        let mut memory = bench.command(&args);
        memory.env("DEADLETTER_STORE", "memory:");
        let told = ran(memory);
        assert!(told.code == 2 && told.stderr.contains("needs an SQLite store"), "{}", told.stderr);
        let none = run(&bench, &args);
        assert!(none.code == 1 && none.stderr.contains("there is no store"), "{}", none.stderr);
        assert!(!bench.path("tasks.db").exists(), "a look created a store");
    }
}

#[test]
fn a_whole_store_is_called_whole_and_a_wrong_row_is_found_where_it_is() {
    let bench = filled();
    let whole = run(&bench, &["store", "check"]);
    assert_eq!((whole.code, &lines(&whole)[0]["is_whole"]), (0, &json!(true)));
    let id = lines(&run(&bench, &["list"]))[0]["id"].clone();
    // An operation with its items.
    let bury = ["bury", "--where", "cause:ERROR_CAPTCHA_UNSOLVABLE", "--reason", "gone", "--yes"];
    let buried = run(&bench, &bury);
    assert_eq!(buried.code, 0, "{}", buried.stderr);
    assert_eq!(run(&bench, &["store", "check"]).code, 0);
    for (sql, rule) in [
        (format!("DELETE FROM requests WHERE task = {id}"), "each task has its request"),
        (format!("UPDATE tasks SET submits = 9 WHERE id = {id}"), "submits stay within K"),
        (format!("DELETE FROM attempts WHERE task = {id}"), "attempts are numbered without gaps"),
        (format!("UPDATE tasks SET state = 'cancelled' WHERE id = {id}"), "counts"),
        ("UPDATE standing SET n = n + 1 WHERE place = 'accepted'".to_owned(), "conservation"),
        ("UPDATE item_counts SET n = n + 1".to_owned(), "counts"),
        ("DELETE FROM item_counts".to_owned(), "counts"),
        (format!("DELETE FROM tasks WHERE id = {id}"), "no request without its task"),
    ] {
        // The log is folded into the file where the last of its users has closed it well.
        for part in ["", "-wal", "-shm"] {
            let copy = bench.path(&format!("wrong.db{part}"));
            if copy.exists() {
                std::fs::remove_file(&copy).expect("removed");
            }
            let original = bench.path(&format!("tasks.db{part}"));
            if part != "-shm" && original.exists() {
                std::fs::copy(original, copy).expect("copied");
            }
        }
        sqlite(&bench, "wrong.db", &sql);
        let mut check = bench.command(&["store", "check"]);
        check.env("DEADLETTER_STORE", "sqlite:wrong.db");
        let told = ran(check);
        assert_eq!(told.code, 1, "{sql}");
        let findings = lines(&told)[0]["findings"].as_array().expect("a list").clone();
        assert!(findings.iter().any(|finding| finding["rule"] == rule), "{sql}: {findings:?}");
        assert!(told.stderr.contains("fix: "), "{}", told.stderr);
    }
}

/// Changes a file behind the program's back.
fn sqlite(bench: &Bench, name: &str, sql: &str) {
    let conn = rusqlite::Connection::open(bench.path(name)).expect("a database");
    conn.execute_batch(sql).expect("changed");
}

#[test]
fn a_backup_is_a_whole_store_and_overwrites_nothing() {
    let bench = filled();
    let copied = run(&bench, &["store", "backup", "copy.db"]);
    assert_eq!((copied.code, &lines(&copied)[0]["tasks"]), (0, &json!(3)), "{}", copied.stderr);
    let before = std::fs::read(bench.path("copy.db")).expect("it stands");
    let again = run(&bench, &["store", "backup", "copy.db"]);
    assert!(again.code == 2 && again.stderr.contains("stands already"), "{}", again.stderr);
    assert!(std::fs::read(bench.path("copy.db")).expect("it stands") == before);
    let mut list = bench.command(&["list"]);
    list.env("DEADLETTER_STORE", "sqlite:copy.db");
    assert_eq!(lines(&ran(list)).len(), 3);
    let nowhere = run(&bench, &["store", "backup", "no/such/folder.db"]);
    assert_eq!(nowhere.code, 1, "{}", nowhere.stderr);
    let left: Vec<_> = std::fs::read_dir(bench.path("")).expect("a folder").flatten().collect();
    let drafts = left.iter().filter(|entry| entry.file_name().to_string_lossy().contains(".part"));
    assert_eq!(drafts.count(), 0, "a draft was left behind");
}

#[test]
fn a_backup_beside_a_running_process_is_one_moment_of_it() {
    let scene = Scene::happy();
    scene.rows("tasks.csv", GOOD, 60);
    let running = crate::bench::started(scene.command(&["run", "tasks.csv"]));
    scene.until(|stats| stats.paid >= 5);
    let alive = &lines(&scene.run(&["store", "info"]))[0]["workers"];
    assert_eq!(alive.as_array().map(Vec::len), Some(1), "{alive}");
    for instant in ["started_at", "beat_at"] {
        assert!(alive[0][instant].as_str().is_some_and(|at| at.ends_with('Z')), "{alive}");
    }
    for n in 0..3 {
        let name = format!("copy-{n}.db");
        assert_eq!(scene.run(&["store", "backup", &name]).code, 0);
        let url = format!("sqlite:{name}");
        let check = scene.run(&["store", "check", "--store", &url]);
        assert_eq!(check.code, 0, "{}\n{}", check.stdout, check.stderr);
        assert_eq!(lines(&check)[0]["tasks"], json!(60));
    }
    let ended = running.wait_with_output().expect("it ends");
    assert_eq!(ended.status.code(), Some(0));
}

#[test]
fn a_question_is_answered_as_lines_or_csv_up_to_a_limit_that_is_told() {
    let bench = filled();
    let rows =
        run(&bench, &["query", "SELECT cause, count(*) AS n FROM tasks GROUP BY 1 ORDER BY 2"]);
    assert_eq!(
        lines(&rows),
        [json!({"cause": "ERROR_CAPTCHA_UNSOLVABLE", "n": 1}), json!({"cause": "TIMEOUT", "n": 2})]
    );
    let csv = run(&bench, &["query", "--csv", "SELECT sitekey, NULL, 7 FROM tasks ORDER BY id"]);
    assert_eq!(csv.stdout, "sitekey,NULL,7\na,,7\nb,,7\n'=c,,7\n");
    let some = run(&bench, &["query", "--limit", "2", "SELECT id FROM tasks"]);
    assert_eq!(lines(&some).len(), 2);
    assert!(some.stderr.contains("there are more"), "{}", some.stderr);
    let all = run(&bench, &["query", "--limit", "3", "SELECT id FROM tasks"]);
    assert!(!all.stderr.contains("there are more"), "{}", all.stderr);
    let tables: Vec<Value> = lines(&run(&bench, &["query"]));
    assert!(tables.iter().any(|table| table["table"] == "tasks"));
}

#[test]
fn a_question_changes_nothing_and_shows_no_secret_unasked() {
    let bench = filled();
    for sql in
        ["DELETE FROM tasks", "ATTACH 'x.db' AS x", "VACUUM INTO 'x.db'", "PRAGMA query_only = 0"]
    {
        let told = run(&bench, &["query", "--with-secrets", sql]);
        assert!(told.code == 2 && told.stderr.contains("more than read"), "{sql}: {}", told.stderr);
    }
    assert!(!bench.path("x.db").exists());
    assert_eq!(lines(&run(&bench, &["list"])).len(), 3);
    let secret = run(&bench, &["query", "SELECT body FROM requests"]);
    assert!(secret.code == 2 && secret.stderr.contains("--with-secrets"), "{}", secret.stderr);
    assert!(!secret.stdout.contains("login"));
    let shown = run(&bench, &["query", "--with-secrets", "SELECT body FROM requests"]);
    assert!(shown.stdout.contains("login") && !shown.stdout.contains(KEY));
}

#[test]
fn ctrl_c_ends_a_question_that_takes_too_long() {
    let bench = filled();
    let endless = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) \
                   SELECT x FROM n WHERE x < 3 OR x < 0";
    let mut command = bench.command(&["query", endless]);
    command.env("DEADLETTER_STORE", "sqlite:tasks.db");
    let mut child = crate::bench::started(command);
    let (line, _out) = crate::bench::first_line(&mut child);
    assert!(line.contains('1'), "{line}");
    crate::bench::interrupt(&child);
    assert_eq!(child.wait().expect("it ends").code(), Some(130));
}

#[test]
fn a_run_leaves_its_store_whole_in_one_file() {
    let scene = Scene::happy();
    scene.rows("tasks.csv", GOOD, 3);
    let ran = scene.run(&["run", "tasks.csv", "--out", "answers.jsonl"]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    std::fs::copy(scene.bench.path("tasks.db"), scene.bench.path("copy.db")).expect("copied");
    let count = ["query", "SELECT count(*) AS n FROM tasks", "--store", "sqlite:copy.db"];
    assert_eq!(scene.run(&count).stdout.trim(), r#"{"n":3}"#);
}
