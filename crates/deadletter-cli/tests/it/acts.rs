//! `bury`, `exhume`, `cancel`, `purge`, `breaker`: on letters in a store of their own, beside a run.

use crate::{
    bench::{Bench, Ran, ran},
    upstream::{GOOD, Scene, lines},
};
use deadletter_sim::{Fault, Rule, Scenario};
use serde_json::{Value, json};
use std::{
    io::Write,
    process::{Command, Stdio},
};

const AT: i64 = 1_800_000_000;

/// A bench with three dead letters and a buried one, which has spent nine submits.
fn filled() -> Bench {
    let bench = Bench::new();
    let entry = |sitekey: &str, error: &str, attempts: u32, at: i64| {
        json!({"sitekey": sitekey, "page_url": format!("https://{sitekey}.example/login"),
            "error": error, "attempts": attempts, "timestamp": at})
    };
    let list = json!([
        entry("a", "ERROR_CAPTCHA_UNSOLVABLE", 4, AT),
        entry("a", "Task 1234567 timed out", 4, AT + 1),
        entry("b", "Task 7654321 timed out", 4, AT + 2),
        entry("c", "ERROR_PAGEURL", 9, AT + 3),
    ]);
    bench.write("article.json", &list.to_string());
    let ran = run(&bench, &["import", "article.json"]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    bench
}

fn run(bench: &Bench, args: &[&str]) -> Ran {
    let mut command = bench.command(args);
    command.env("DEADLETTER_STORE", "sqlite:tasks.db").env("USER", "ada");
    ran(command)
}

fn count(bench: &Bench, filter: &str) -> usize {
    lines(&run(bench, &["list", filter])).len()
}

/// The last line of an act: what came of it.
fn outcome(ran: &Ran) -> Value {
    lines(ran).pop().unwrap_or_else(|| panic!("no line: {}", ran.stderr))
}

#[test]
fn bury_and_exhume_undo_each_other_and_a_dry_run_changes_nothing() {
    let bench = filled();
    let dry = run(&bench, &["bury", "--where", "cause:TIMEOUT", "--dry-run"]);
    let plan = &lines(&dry)[0];
    assert_eq!((&plan["fit"], &plan["by_cause"]["TIMEOUT"]), (&2.into(), &2.into()), "{plan}");
    assert_eq!(count(&bench, "state:buried"), 1);
    let buried = run(&bench, &["bury", "--where", "cause:TIMEOUT", "--yes", "--reason", "gone"]);
    assert_eq!(buried.code, 0, "{}", buried.stderr);
    let told = outcome(&buried);
    assert_eq!(
        (&told["done"], &told["skipped"], &told["state"]),
        (&2.into(), &0.into(), &"done".into())
    );
    assert_eq!((count(&bench, "state:buried"), count(&bench, "state:dead")), (3, 1));
    let back = run(&bench, &["exhume", "--where", "cause:TIMEOUT", "--submits", "0", "--yes"]);
    assert_eq!(back.code, 0, "{}", back.stderr);
    assert_eq!((count(&bench, "state:buried"), count(&bench, "state:dead")), (1, 3));
}

#[test]
fn hold_keeps_letters_from_a_redrive_until_release() {
    let bench = filled();
    let held = run(&bench, &["hold", "--where", "sitekey:a", "--yes", "--reason", "closed"]);
    assert_eq!(held.code, 0, "{}", held.stderr);
    assert_eq!(outcome(&held)["done"], 2);
    assert_eq!((count(&bench, "held:yes"), count(&bench, "held:no state:dead")), (2, 1));
    let redrive = run(&bench, &["redrive", "--where", "cause:TIMEOUT", "--dry-run"]);
    assert_eq!(lines(&redrive)[0]["by_eligibility"]["held"], 1, "{}", redrive.stdout);
    let none = run(&bench, &["hold", "--where", "sitekey:a", "--dry-run"]);
    assert!(none.stderr.contains("nothing matches"), "{}", none.stderr);

    let released = run(&bench, &["release", "--where", "sitekey:a", "--yes"]);
    assert_eq!((released.code, &outcome(&released)["done"]), (0, &2.into()), "{}", released.stderr);
    assert_eq!(count(&bench, "held:yes"), 0);
}

#[test]
fn exhume_raises_the_limit_of_submits_only_where_it_is_told_to() {
    let bench = filled();
    assert_eq!(run(&bench, &["exhume", "--where", "*"]).code, 2, "--submits says how many");
    let plan = run(&bench, &["exhume", "--where", "*", "--submits", "0", "--dry-run"]);
    assert_eq!(lines(&plan)[0]["without_room"], 1);
    assert!(plan.stderr.contains("a redrive skips them"), "{}", plan.stderr);
    assert_eq!(run(&bench, &["exhume", "--where", "*", "--submits", "2", "--yes"]).code, 0);
    let task = &lines(&run(&bench, &["list", "sitekey:c"]))[0];
    assert_eq!((&task["state"], &task["max_submits"]), (&"dead".into(), &11.into()));
}

#[test]
fn what_is_named_and_does_not_fit_is_skipped_with_a_reason_and_a_code() {
    let bench = filled();
    let id = |filter: &str| lines(&run(&bench, &["list", filter]))[0]["id"].to_string();
    let (dead, buried) = (id("sitekey:b"), id("state:buried"));
    let unasked = run(&bench, &["bury", &dead, &buried]);
    assert_eq!(unasked.code, 2, "{}", unasked.stderr);
    let typed = format!("deadletter bury {dead} {buried} --yes");
    assert!(unasked.stderr.contains(&typed), "{}", unasked.stderr);
    assert_eq!(count(&bench, "state:buried"), 1, "nothing was changed");
    for act in ["bury", "redrive", "cancel", "purge"] {
        let empty = run(&bench, &[act, "--where", ""]);
        assert_eq!(empty.code, 2, "{}", empty.stderr);
        assert!(empty.stderr.contains("the filter is empty"), "{}", empty.stderr);
        let bare = run(&bench, &[act]);
        assert!(bare.code == 2 && bare.stderr.contains("--where "), "{}", bare.stderr);
    }
    let mixed = run(&bench, &["bury", &dead, &buried, "--yes"]);
    assert_eq!(mixed.code, 1, "{}", mixed.stderr);
    let told = outcome(&mixed);
    assert_eq!((&told["done"], &told["skips"]["unfit"]), (&1.into(), &1.into()), "{told}");
    assert!(mixed.stderr.contains("in a state that it does not fit"), "{}", mixed.stderr);
    assert_eq!(run(&bench, &["bury", &buried]).code, 1, "nothing was done for what was named");
    let slip = run(&bench, &["bury", &dead, "7"]);
    assert_eq!(slip.code, 1);
    assert!(slip.stderr.contains("there is no task 7; nothing was changed"), "{}", slip.stderr);
    assert_eq!(
        run(&bench, &["bury", "--where", "state:solved"]).code,
        0,
        "an empty choice is none"
    );
    assert_eq!(run(&bench, &["bury", "--where", "cuase:X"]).code, 2);
}

#[test]
fn a_purge_wants_the_exact_count_and_nothing_less() {
    let bench = filled();
    let bare = run(&bench, &["purge", "--where", "state:dead"]);
    assert_eq!(bare.code, 2);
    assert!(bare.stderr.contains("delete 3 tasks"), "{}", bare.stderr);
    assert!(bare.stderr.contains("--confirm 3"), "{}", bare.stderr);
    for wrong in ["2", "4"] {
        let ran = run(&bench, &["purge", "--where", "state:dead", "--confirm", wrong]);
        assert_eq!(ran.code, 2);
        assert!(ran.stderr.contains("delete 3 tasks"), "{}", ran.stderr);
    }
    assert_eq!(run(&bench, &["purge", "--where", "sitekey:none", "--confirm", "1"]).code, 2);
    assert_eq!(count(&bench, "*"), 4, "nothing was deleted so far");
    let done = run(&bench, &["purge", "--where", "state:dead", "--confirm", "3"]);
    assert_eq!((done.code, &outcome(&done)["done"]), (0, &3.into()), "{}", done.stderr);
    assert_eq!((count(&bench, "*"), count(&bench, "state:buried")), (1, 1));
}

#[test]
fn at_a_terminal_the_count_is_typed_again() {
    let bench = filled();
    let purge = |typed: &str| {
        // `script` of util-linux gives a terminal.
        let mut command = Command::new("script");
        let line = format!("{} purge --where state:dead", env!("CARGO_BIN_EXE_deadletter"));
        command.args(["--quiet", "--return", "--command", &line, "/dev/null"]);
        command.current_dir(bench.path(".")).env_clear().env("HOME", bench.path("."));
        command.env("DEADLETTER_STORE", "sqlite:tasks.db").env("TERM", "xterm");
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("`script` starts");
        let mut person = child.stdin.take().expect("piped");
        person.write_all(typed.as_bytes()).expect("typed");
        let output = child.wait_with_output().expect("it ends");
        drop(person);
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let said = purge("y\n");
    assert!(said.contains("type 3 to go on") && said.contains("nothing was changed"), "{said}");
    assert_eq!(count(&bench, "*"), 4);
    let said = purge("3\n");
    assert!(said.contains("3 purged"), "{said}");
    assert_eq!(count(&bench, "*"), 1);
}

#[test]
fn an_export_comes_first_and_comes_back_whole() {
    let bench = filled();
    let purge = ["purge", "--where", "*", "--confirm", "4", "--export-first", "kept.jsonl"];
    // What cannot be written keeps everything as it is.
    let nowhere = purge.map(|arg| if arg == "kept.jsonl" { "nowhere/kept.jsonl" } else { arg });
    let failed = run(&bench, &nowhere);
    assert_eq!(failed.code, 1, "{}", failed.stderr);
    assert!(failed.stderr.contains("nothing was deleted"), "{}", failed.stderr);
    assert_eq!(count(&bench, "*"), 4);
    bench.write("kept.jsonl", "another purge's");
    let existing = run(&bench, &purge);
    assert_eq!((existing.code, count(&bench, "*")), (2, 4), "{}", existing.stderr);
    std::fs::remove_file(bench.path("kept.jsonl")).expect("gone");

    let done = run(&bench, &purge);
    assert_eq!(done.code, 0, "{}", done.stderr);
    assert_eq!(count(&bench, "*"), 0);
    let folder = std::fs::read_dir(bench.path(".")).expect("a folder");
    let names = folder.map(|entry| entry.expect("an entry").file_name());
    assert!(!names.into_iter().any(|name| name.to_string_lossy().contains(".part")));
    let back = run(&bench, &["import", "kept.jsonl"]);
    assert_eq!(lines(&back)[0]["imported"], 4, "{}", back.stderr);
    assert_eq!((count(&bench, "state:dead"), count(&bench, "state:buried")), (3, 1));
}

#[test]
fn a_letter_whose_request_is_lost_or_garbled_is_shown_and_kept_before_it_is_purged() {
    let bench = filled();
    let id = |filter: &str| lines(&run(&bench, &["list", filter]))[0]["id"].to_string();
    let (lost, garbled) = (id("sitekey:b"), id("state:buried"));
    let conn = rusqlite::Connection::open(bench.path("tasks.db")).expect("a database");
    let set = format!("UPDATE requests SET body = 'no JSON' WHERE task = {garbled}");
    conn.execute_batch(&format!("DELETE FROM requests WHERE task = {lost}; {set}"))
        .expect("changed");
    drop(conn);
    for id in [&lost, &garbled] {
        let shown = run(&bench, &["show", id]);
        assert_eq!(shown.code, 0, "{}", shown.stderr);
        let letter = &lines(&shown)[0];
        assert!(letter["request"].is_null() && letter["attempts"][0].is_object(), "{letter}");
    }
    for format in ["jsonl", "csv", "article"] {
        let exported = run(&bench, &["export", "--format", format]);
        assert!(exported.stderr.contains("4 letters exported"), "{}", exported.stderr);
    }
    let purge = ["purge", "--where", "*", "--confirm", "4", "--export-first", "kept.jsonl"];
    let done = run(&bench, &purge);
    assert_eq!((done.code, count(&bench, "*")), (0, 0), "{}", done.stderr);
    let kept = crate::upstream::json_lines(&bench.read("kept.jsonl"));
    let of = |id: &str| kept.iter().find(|line| line["task"]["id"].as_u64() == id.parse().ok());
    for id in [&lost, &garbled] {
        let letter = of(id).expect("its history is kept");
        assert!(letter.get("request").is_none() && letter["attempts"][0].is_object(), "{letter}");
    }
    // There is nothing to submit of them: they are put aside, the others come back.
    let back = run(&bench, &["import", "kept.jsonl", "--rejects", "aside.jsonl"]);
    assert_eq!(lines(&back)[0]["imported"], 2, "{}", back.stderr);
    assert_eq!(bench.read("aside.jsonl").matches("request was lost").count(), 2);
}

#[test]
fn what_is_cancelled_beside_a_run_is_not_submitted_nor_purged_while_it_may_be_answered() {
    // One thread, and a job that is never ready: the others wait for it.
    let slow = Rule::new(Fault::Late { after_ms: 86_400_000 });
    let scene = Scene::new(Scenario::default().solve_ms(5_000).rule(slow));
    scene.rows("tasks.csv", "6Le-slow", 6);
    let child = crate::bench::started(scene.command(&["run", "tasks.csv", "--concurrency", "1"]));
    scene.until(|stats| stats.paid == 1);
    let ran = scene.run(&["cancel", "--where", "state:queued", "--yes"]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert_eq!(lines(&ran)[1]["done"], 5, "{}", ran.stdout);
    assert_eq!(lines(&scene.run(&["list", "state:cancelled"])).len(), 5);
    crate::bench::interrupt(&child);
    let output = child.wait_with_output().expect("it ends");
    assert_eq!(output.status.code(), Some(130));
    assert_eq!(scene.paid(), 1);
    // What was under way may still be answered: it is neither exported nor purged.
    assert_eq!(scene.run(&["cancel", "--where", "state:polling", "--yes"]).code, 0);
    let export = ["--confirm", "6", "--export-first", "kept.jsonl"];
    let mut purge =
        scene.command(&[&["purge", "--where", "state:cancelled"], &export[..]].concat());
    // By the wall's clock its time is not over for minutes.
    purge.env_remove("DEADLETTER_TIME_SCALE");
    let purged = crate::bench::ran(purge);
    let told = &lines(&purged)[1];
    assert_eq!((&told["done"], &told["skips"]["open"]), (&5.into(), &1.into()), "{told}");
    assert!(purged.stderr.contains("5 letters are in kept.jsonl"), "{}", purged.stderr);
    assert_eq!(lines(&scene.run(&["list", "state:cancelled"])).len(), 1);
}

#[test]
fn the_breaker_is_shown_tripped_and_reset() {
    let bench = filled();
    let status = |args: &[&str]| -> Value {
        let ran = run(&bench, &[&["breaker"], args].concat());
        assert_eq!(ran.code, 0, "{}", ran.stderr);
        outcome(&ran)
    };
    let fresh = status(&["status"]);
    assert_eq!((&fresh["account"], &fresh["phase"]), (&"main".into(), &"closed".into()));
    assert_eq!((&fresh["retry_after_s"], &fresh["why"]), (&0.into(), &Value::Null));
    let tripped = status(&["trip", "--for", "10m", "--reason", "maintenance"]);
    assert_eq!((&tripped["phase"], &tripped["forced"]), (&"open".into(), &true.into()));
    assert!(tripped["retry_after_s"].as_u64().is_some(), "it has an end: {tripped}");
    let left = tripped["retry_after_s"].as_i64().expect("a countdown");
    assert!((500..=600).contains(&left), "{tripped}");
    let forced = status(&["trip"]);
    assert_eq!((&forced["forced"], &forced["retry_after_s"]), (&true.into(), &Value::Null));
    assert!(
        status(&["status", "--account", "main"])["why"]
            .as_str()
            .is_some_and(|why| { why == "forced by ada at the command line: no reason given" })
    );
    let reset = status(&["reset", "--reason", "they are back"]);
    assert_eq!((&reset["phase"], &reset["generation"]), (&"closed".into(), &4.into()), "{reset}");
    for args in [["status", "--account", "mian"], ["trip", "--account", "mian"]] {
        let slip = run(&bench, &[&["breaker"], &args[..]].concat());
        assert_eq!(slip.code, 1);
        assert!(slip.stderr.contains("there is no account mian"), "{}", slip.stderr);
    }
}

#[test]
fn a_trip_is_obeyed_by_a_run_that_is_under_way() {
    let scene = Scene::new(Scenario::default().solve_ms(5_000));
    scene.rows("first.csv", GOOD, 1);
    scene.rows("tasks.csv", GOOD, 3);
    assert_eq!(scene.run(&["run", "first.csv"]).code, 0);
    assert_eq!(scene.run(&["breaker", "trip", "--reason", "to look first"]).code, 0);
    let mut child = crate::bench::started(scene.command(&["run", "tasks.csv"]));
    // Its reset is seen as the trip was; without it the run would never end.
    let paid = scene.paid();
    while lines(&scene.run(&["list", "state:queued"])).len() < 3 {
        assert!(child.try_wait().expect("asked").is_none(), "it did not wait for the reset");
    }
    assert_eq!(scene.run(&["breaker", "reset"]).code, 0);
    let status = child.wait().expect("it ends");
    assert_eq!((status.code(), paid, scene.paid()), (Some(0), 1, 4));
}

#[test]
fn what_is_solved_is_deleted_when_its_retention_is_over_and_the_setting_says_so() {
    let late = Rule::new(Fault::Late { after_ms: 100_000 }).sitekey("6Le-late");
    let scene = Scene::new(Scenario::default().solve_ms(5_000).rule(late));
    for (file, sitekey) in [("first.csv", GOOD), ("second.csv", "6Le-late"), ("third.csv", GOOD)] {
        scene.rows(file, sitekey, 3);
    }
    assert_eq!(scene.run(&["run", "first.csv"]).code, 0);
    // While this one works, more than a minute passes on the store's clock.
    assert_eq!(scene.run(&["run", "second.csv"]).code, 0);
    assert_eq!(lines(&scene.run(&["list", "batch:first"])).len(), 3, "a day is not over");
    let mut third = scene.command(&["run", "third.csv"]);
    third.env("DEADLETTER_RETENTION_SOLVED", "60s");
    assert_eq!(ran(third).code, 0);
    assert_eq!(lines(&scene.run(&["list", "batch:first"])).len(), 0);
    assert_eq!(lines(&scene.run(&["list", "batch:third"])).len(), 3);
    let shown = lines(&scene.run(&["config", "show"]));
    let row = shown.iter().find(|row| row["setting"] == "retention.solved").expect("listed");
    assert_eq!((&row["value"], &row["from"]), (&"24h".into(), &"default".into()));
}

#[test]
fn a_standing_hold_is_told_of_kept_and_ended_by_its_filter() {
    let bench = filled();
    let hold = |more: &[&str]| {
        run(&bench, &[&["hold", "--where", "sitekey:later", "--reason", "down"], more].concat())
    };
    assert_eq!(hold(&["--standing"]).code, 2, "nobody can be asked");
    let held = hold(&["--standing", "--yes"]);
    assert_eq!(held.code, 0, "{}", held.stderr);
    assert!(held.stderr.contains("what is stored from now on is held too"), "{}", held.stderr);
    assert_eq!(hold(&["--standing", "--limit", "3", "--yes"]).code, 2);
    let release = |filter: &str| run(&bench, &["release", "--where", filter, "--yes"]);
    let other = release("sitekey:other");
    assert!(other.stderr.contains("still held where sitekey:later matches"), "{}", other.stderr);
    assert!(other.stderr.contains(": down)"), "{}", other.stderr);
    let ended = release("sitekey:later");
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    assert!(ended.stderr.contains("is not held any more"), "{}", ended.stderr);
    let again = release("sitekey:later");
    assert!(!again.stderr.contains("held any more"), "{}", again.stderr);
    assert!(!again.stderr.contains("still held"), "{}", again.stderr);
}
