//! `redrive` and `solve`: dead letters back, and one task alone.

use crate::{
    bench::{once_said, started},
    upstream::{GOOD, Scene, json_lines, lines},
};
use deadletter_sim::{Fault, OutageMode, Phase, Rule, Scenario};
use std::io::Read;

/// A scene with four dead letters: three unsolvable ones, one with a wrong site key.
pub(crate) fn with_dead_letters() -> Scene {
    let unsolvable = Rule::new(Fault::Unsolvable).on(Phase::Poll).sitekey("6Le-dead");
    let code = "ERROR_GOOGLEKEY".to_owned();
    let wrong = Rule::new(Fault::Error { code }).on(Phase::Submit).sitekey("6Le-wrong");
    let scene = Scene::new(Scenario::default().solve_ms(5_000).rule(unsolvable).rule(wrong));
    let row = |sitekey: &str, n: u32| format!("{sitekey},https://a.example/{n}\n");
    let dead: String = (0..3).map(|n| row("6Le-dead", n)).collect();
    scene.bench.write("tasks.csv", &format!("sitekey,url\n{dead}{}", row("6Le-wrong", 9)));
    let ran = scene.run(&["run", "tasks.csv"]);
    assert_eq!(ran.code, 3, "{}", ran.stderr);
    scene
}

#[test]
fn a_dry_run_counts_by_cause_and_by_what_would_be_done_and_changes_nothing() {
    let scene = with_dead_letters();
    let before = scene.simulator.stats().requests;
    let ran = scene.run(&["redrive", "--where", "state:dead", "--dry-run"]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let plan = &lines(&ran)[0];
    assert_eq!((&plan["count"], &plan["eligible"]), (&4.into(), &3.into()));
    assert_eq!(plan["by_cause"]["ERROR_CAPTCHA_UNSOLVABLE"], 3);
    assert_eq!(plan["by_eligibility"]["hopeless"], 1);
    assert!(plan["needs_ms"].as_i64().is_some_and(|ms| ms > 0));
    assert_eq!(scene.simulator.stats().requests, before);
    assert_eq!(lines(&scene.run(&["list"])).len(), 4);
}

#[test]
fn a_redrive_brings_back_what_can_be_and_attempts_accumulate() {
    let scene = with_dead_letters();
    scene.simulator.clear_rules();
    let ran = scene.run(&["redrive", "--where", "state:dead", "--yes"]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert!(ran.stderr.contains("1 skipped: 1 whose request fails again"), "{}", ran.stderr);
    let solved = lines(&scene.run(&["list", "state:solved"]));
    assert_eq!(solved.len(), 3);
    assert!(solved.iter().all(|row| row["counters"]["submits"] == 4), "{solved:?}");
    assert!(solved.iter().all(|row| row["counters"]["redrives"] == 1));
    assert_eq!(lines(&scene.run(&["list"])).len(), 1);
}

#[test]
fn redriven_again_and_again_a_hopeless_task_is_buried_and_never_submitted_more_than_seven_times() {
    let scene = with_dead_letters();
    for _ in 0..4 {
        let code = scene.run(&["redrive", "--where", "sitekey:6Le-dead", "--yes"]).code;
        assert!(matches!(code, 0 | 3), "{code}");
    }
    let buried = lines(&scene.run(&["list", "state:buried"]));
    assert_eq!(buried.len(), 3);
    assert_eq!(scene.simulator.log().paid().len(), 3 * 7);
}

#[test]
fn ids_choose_too_and_a_limit_holds() {
    let scene = with_dead_letters();
    scene.simulator.clear_rules();
    let dead = lines(&scene.run(&["list", "sitekey:6Le-dead"]));
    let id = dead[0]["id"].to_string();
    assert_eq!(scene.run(&["redrive", &id, "--yes"]).code, 0);
    assert_eq!(lines(&scene.run(&["list", "state:solved"]))[0]["id"], dead[0]["id"]);
    let limited = scene.run(&["redrive", "--where", "sitekey:6Le-dead", "--limit", "1", "--yes"]);
    assert_eq!(limited.code, 0, "{}", limited.stderr);
    assert_eq!(lines(&scene.run(&["list", "state:solved"])).len(), 2);
}

#[test]
fn a_detached_redrive_is_done_by_the_next_process() {
    let scene = with_dead_letters();
    scene.simulator.clear_rules();
    let paid = scene.paid();
    let ran = scene.run(&["redrive", "--where", "sitekey:6Le-dead", "--yes", "--detach"]);
    assert_eq!((ran.code, scene.paid()), (0, paid), "{}", ran.stderr);
    scene.rows("more.csv", GOOD, 8);
    assert_eq!(scene.run(&["run", "more.csv"]).code, 0);
    let live = ["list", "state:queued,submitting,polling,dead", "sitekey:6Le-dead"];
    let left = lines(&scene.run(&live));
    assert!(left.len() < 3 || left.iter().any(|row| row["counters"]["redrives"] == 1), "{left:?}");
}

#[test]
fn what_is_paid_for_is_asked_for_again_and_not_submitted() {
    // Upstream takes longer than an attempt waits. A picture's text does not expire, so its id is
    // worth asking for at any later time.
    let not_yet = Rule::new(Fault::NotReady).on(Phase::Poll);
    let scene = Scene::new(Scenario::default().solve_ms(5_000).rule(not_yet));
    scene
        .bench
        .write("deadletter.toml", "[policy]\nfirst_submits = 1\n[timeouts]\nbase64 = \"60s\"\n");
    scene.bench.write("tasks.csv", "method,body\nbase64,aGVsbG8=\nbase64,d29ybGQ=\n");
    assert_eq!(scene.run(&["run", "tasks.csv"]).code, 3);
    let plan = &lines(&scene.run(&["redrive", "--where", "cause:TIMEOUT", "--dry-run"]))[0];
    assert_eq!(plan["by_eligibility"]["resume"], 2, "{plan}");
    scene.simulator.clear_rules();
    let args = ["redrive", "--where", "cause:TIMEOUT", "--yes", "--out", "answers.jsonl"];
    let ran = scene.run(&args);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert_eq!(scene.paid(), 2, "nothing was submitted again");
    let answers = json_lines(&scene.bench.read("answers.jsonl"));
    assert!(
        answers.len() == 2 && answers.iter().all(|row| row["answer"].is_string()),
        "{answers:?}"
    );
}

#[test]
fn one_task_is_solved_and_only_its_answer_is_data() {
    let scene = Scene::happy();
    let args = ["solve", "--sitekey", GOOD, "--pageurl", "https://a.example"];
    let ran = scene.run(&args);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert_eq!(ran.stdout.lines().count(), 1);
    let json = scene.run(&[&args[..], &["--json"]].concat());
    assert_eq!(lines(&json)[0]["state"], "solved");
    let proxy = ["--dry-run", "--param", "proxy=me:hunter2@10.0.0.1:80"];
    let paid = scene.paid();
    let dry = scene.run(&[&args[..], &proxy].concat());
    assert_eq!((lines(&dry)[0]["proxy"].as_str(), scene.paid()), (Some("***@10.0.0.1:80"), paid));
}

#[test]
fn each_way_to_fail_has_its_exit_code() {
    let unsolvable = Rule::new(Fault::Unsolvable).on(Phase::Poll).sitekey("6Le-dead");
    let scene = Scene::new(Scenario::default().solve_ms(5_000).rule(unsolvable));
    let solve = |sitekey: &str, more: &[&str]| {
        let args = ["solve", "--sitekey", sitekey, "--pageurl", "https://a.example"];
        scene.run(&[&args[..], more].concat())
    };
    assert_eq!(solve("6Le-dead", &[]).code, 3);
    assert_eq!(scene.run(&["solve", "--param", "key=x"]).code, 2);
    let mut no_key = scene.command(&["solve", "--sitekey", "x", "--pageurl", "https://a.example"]);
    no_key.env_remove("CAPTCHAAI_API_KEY");
    assert_eq!(crate::bench::ran(no_key).code, 4);
    scene.simulator.outage(OutageMode::Refuse);
    let away = solve(GOOD, &["--deadline", "30s"]);
    assert_eq!(away.code, 5, "{}", away.stderr);
}

#[test]
fn what_cannot_be_solved_is_refused_before_it_is_paid_for() {
    let scene = Scene::happy();
    let stolen = format!("note={}", crate::bench::KEY);
    for args in [
        &["--sitekey", GOOD][..],
        &["--pageurl", "https://a.example"],
        &["--sitekey", GOOD, "--pageurl", "a.example"],
        &["--sitekey", GOOD, "--pageurl", "https://a.example", "--param", &stolen],
    ] {
        let ran = scene.run(&[&["solve"], args].concat());
        assert_eq!(ran.code, 2, "{}", ran.stderr);
    }
    assert_eq!(scene.paid(), 0);
}

#[test]
fn a_plan_takes_a_filter_that_excludes() {
    let scene = with_dead_letters();
    let ran = scene.run(&["redrive", "--where", "-sitekey:6Le-wrong", "--dry-run"]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
}

#[test]
fn letters_that_a_run_made_are_known_again_in_an_articles_file() {
    let scene = with_dead_letters();
    let export = ["export", "--format", "article", "--out", "dead.json"];
    assert_eq!(scene.run(&export).code, 0);
    let import = || lines(&scene.run(&["import", "dead.json"])).remove(0);
    assert_eq!((&import()["imported"], &import()["duplicates"]), (&0.into(), &4.into()));
    // Still so when they have been redriven and are no dead letters any more.
    scene.simulator.clear_rules();
    assert_eq!(scene.run(&["redrive", "--where", "sitekey:6Le-dead", "--yes"]).code, 0);
    assert_eq!(import()["duplicates"], 4);
    assert_eq!(lines(&scene.run(&["list", "*"])).len(), 4);
}

#[test]
fn what_a_redrive_did_not_touch_is_none_of_its_verdicts() {
    let scene = with_dead_letters();
    scene.simulator.clear_rules();
    assert_eq!(scene.run(&["breaker", "trip", "--reason", "to hold it up"]).code, 0);
    let args = ["redrive", "--where", "sitekey:6Le-dead", "--yes", "--out", "answers.jsonl"];
    let mut child = started(scene.command(&args));
    let mut said = once_said(&mut child, "has begun");
    let dead = lines(&scene.run(&["list", "sitekey:6Le-dead"]));
    assert_eq!(scene.run(&["bury", &dead[0]["id"].to_string(), "--yes"]).code, 0);
    assert_eq!(scene.run(&["breaker", "reset"]).code, 0);
    let mut rest = String::new();
    said.read_to_string(&mut rest).expect("text");
    assert_eq!(child.wait().expect("it ends").code(), Some(0), "{rest}");
    let answers = json_lines(&scene.bench.read("answers.jsonl"));
    assert_eq!(answers.len(), 2, "{answers:?}");
    assert!(answers.iter().all(|row| row["state"] == "solved"), "{answers:?}");
}

#[test]
fn an_operation_that_paused_itself_is_let_go_on() {
    let unsolvable = Rule::new(Fault::Unsolvable).on(Phase::Poll);
    let scene = Scene::new(Scenario::default().solve_ms(5_000).rule(unsolvable));
    scene.bench.write("deadletter.toml", "[policy]\nfirst_submits = 1\n");
    let n = 60;
    scene.rows("tasks.csv", "6Le-dead", n);
    assert_eq!(scene.run(&["run", "tasks.csv"]).code, 3);
    let unknown = scene.run(&["redrive", "--resume", "redrive-1", "--yes"]);
    assert_eq!(unknown.code, 1, "{}", unknown.stderr);
    assert!(unknown.stderr.contains("none is paused"), "{}", unknown.stderr);
    let paused = scene.run(&["redrive", "--where", "state:dead", "--yes"]);
    assert_eq!(paused.code, 3, "{}", paused.stderr);
    let told = "deadletter redrive --resume ";
    let (_, id) = paused.stderr.split_once(told).expect("how it goes on is told");
    let id = id.split_whitespace().next().expect("its id");
    // As many as drains leave in weeks, all of them older.
    let conn = rusqlite::Connection::open(scene.bench.path("tasks.db")).expect("a store");
    let sql = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n LIMIT 1200) \
        INSERT INTO documents SELECT 'operation/redrive-0' || x, 1, '{}' FROM n";
    assert_eq!(conn.execute(sql, []).expect("written"), 1200);
    drop(conn);
    let elsewhere = ["--out", "none.jsonl"];
    let named =
        scene.run(&[&["redrive", "--resume", "redrive-1", "--yes"], &elsewhere[..]].concat());
    assert!(named.stderr.contains(id), "{}", named.stderr);
    assert!(!scene.bench.path("none.jsonl").exists(), "nothing goes on, so nothing is told");
    scene.simulator.clear_rules();
    let out = ["--out", "answers.jsonl", "--reason", "the page was mended"];
    let ran = scene.run(&[&["redrive", "--resume", id, "--yes"], &out[..]].concat());
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let left = lines(&ran)[0]["left"].as_u64().expect("a number");
    assert!(left > 0 && left < n as u64, "{}", ran.stdout);
    let answers = json_lines(&scene.bench.read("answers.jsonl"));
    assert_eq!(answers.len() as u64, left, "each that was left was redriven");
    assert!(answers.iter().all(|row| row["state"] == "solved"), "{answers:?}");
    assert_eq!(scene.run(&["redrive", "--resume", id, "--yes"]).code, 1, "it is over");
}
