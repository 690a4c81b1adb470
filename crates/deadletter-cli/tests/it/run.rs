//! `run`: a file of tasks, from the first row to the last verdict.

use crate::{
    bench::{KEY, ended, first_line, started},
    upstream::{GOOD, Scene, json_lines, lines},
};
use deadletter_sim::{Fault, OutageMode, Phase, Rule, Scenario};
use std::{
    collections::BTreeSet,
    io::{BufRead, Read},
};

#[test]
fn every_row_is_answered_once_with_its_line() {
    let scene = Scene::happy();
    scene.rows("tasks.csv", GOOD, 12);
    let ran = scene.run(&["run", "tasks.csv"]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let answers = lines(&ran);
    let numbers: BTreeSet<_> = answers.iter().map(|row| row["line"].as_u64()).collect();
    assert_eq!(numbers, (2..14).map(Some).collect());
    let tokens: BTreeSet<_> = answers.iter().map(|row| row["answer"].as_str()).collect();
    assert_eq!(tokens.len(), 12, "one token never goes to two rows");
    assert!(answers.iter().all(|row| row["state"] == "solved" && row["expires_at"].is_string()));
    assert_eq!(scene.paid(), 12);
    for told in ["sitekey -> site key", "url -> pageurl", "12 of 12 solved"] {
        assert!(ran.stderr.contains(told), "{told:?} is missing in {}", ran.stderr);
    }
}

#[test]
fn bad_rows_are_told_and_put_aside_and_the_good_ones_go_on() {
    let scene = Scene::happy();
    scene.bench.write(
        "tasks.csv",
        &format!("sitekey,url\n{GOOD},https://a.example\n{GOOD},\n{GOOD}\n\"{GOOD},https://b.example\n{GOOD},https://c.example\n"),
    );
    let ran = scene.run(&["run", "tasks.csv"]);
    assert_eq!(ran.code, 1, "{}", ran.stderr);
    assert_eq!(lines(&ran).len(), 2);
    for told in ["line 3: it has no pageurl", "line 4: it has 1 field,", "line 5: a quote"] {
        assert!(ran.stderr.contains(told), "{told:?} is missing in {}", ran.stderr);
    }
    let rejected = scene.bench.read("tasks.csv.rejected.csv");
    assert_eq!(rejected.lines().count(), 4, "{rejected}");
    assert!(
        rejected.starts_with("rejected_line,rejected_row,rejected_reason,sitekey,url\n3,2,"),
        "{rejected}"
    );
    // Refused, since it was run before: nothing is put aside for a run that is none.
    std::fs::remove_file(scene.bench.path("tasks.csv.rejected.csv")).expect("it stands");
    assert_eq!(scene.run(&["run", "tasks.csv"]).code, 2);
    assert!(!scene.bench.path("tasks.csv.rejected.csv").exists());
    for _ in 0..2 {
        let ran = scene.run(&["run", "tasks.csv", "--resume"]);
        assert_eq!(ran.code, 1, "{}", ran.stderr);
        assert!(ran.stderr.contains("tasks.csv.rejected.csv"), "{}", ran.stderr);
    }
    assert_eq!(scene.bench.read("tasks.csv.rejected.csv"), rejected);
    assert!(!scene.bench.path("tasks.csv.rejected-2.csv").exists(), "the same was written twice");
}

#[test]
fn json_lines_and_lists_are_read_like_sheets() {
    let scene = Scene::happy();
    let row = |n: u32| format!(r#"{{"websiteKey":"{GOOD}","websiteURL":"https://a.example/{n}"}}"#);
    scene.bench.write("a.jsonl", &format!("{}\nno json\n{}\n", row(1), row(2)));
    let ran = scene.run(&["run", "a.jsonl"]);
    assert_eq!((ran.code, lines(&ran).len()), (1, 2), "{}", ran.stderr);
    assert!(scene.bench.read("a.jsonl.rejected.jsonl").contains("no json"));
    scene.bench.write("b.json", &format!("[\n{},\n{}\n]", row(3), row(4)));
    let ran = scene.run(&["run", "b.json"]);
    assert_eq!((ran.code, lines(&ran).len()), (0, 2), "{}", ran.stderr);
}

#[test]
fn rows_of_a_list_in_one_line_are_told_apart_by_their_number() {
    let scene = Scene::happy();
    let row = |n: u32| format!(r#"{{"websiteKey":"{GOOD}","websiteURL":"https://a.example/{n}"}}"#);
    scene.bench.write("a.json", &format!("[{},5,{}]", row(1), row(2)));
    let ran = scene.run(&["run", "a.json"]);
    let places: BTreeSet<_> =
        lines(&ran).iter().map(|row| (row["line"].as_u64(), row["row"].as_u64())).collect();
    assert_eq!(places, [(Some(1), Some(1)), (Some(1), Some(3))].into());
    assert!(ran.stderr.contains("line 1, row 2: "), "{}", ran.stderr);
    let rejected = json_lines(&scene.bench.read("a.json.rejected.jsonl"));
    assert_eq!(
        (&rejected[0]["rejected_line"], &rejected[0]["rejected_row"]),
        (&1.into(), &2.into())
    );
}

#[test]
fn a_run_never_writes_into_its_rows_or_into_somebody_elses_file() {
    let scene = Scene::happy();
    scene.rows("tasks.csv", GOOD, 2);
    scene.bench.write("more.csv", "name,line\nx,1\n");
    scene.bench.write("more.jsonl", "{\"task\":1}\n");
    std::os::unix::fs::symlink("tasks.csv", scene.bench.path("link.csv")).expect("linked");
    std::fs::hard_link(scene.bench.path("tasks.csv"), scene.bench.path("hard")).expect("linked");
    let before = ["tasks.csv", "more.csv", "more.jsonl"].map(|name| scene.bench.read(name));
    let refused: [&[&str]; 9] = [
        &["--out", "tasks.csv"],
        &["--out", "./tasks.csv"],
        &["--out", "link.csv"],
        &["--rejects", "tasks.csv"],
        &["--rejects", "hard"],
        &["--out", "new.csv", "--rejects", "./new.csv"],
        &["--out", "more.csv"],
        &["--out", "more.jsonl"],
        &["--out", "more.csv", "--csv"],
    ];
    for args in refused {
        let ran = scene.run(&[&["run", "tasks.csv"], args].concat());
        assert_eq!(ran.code, 2, "{args:?}: {}", ran.stderr);
        assert!(ran.stderr.contains("fix: "), "{args:?}: {}", ran.stderr);
        let is_same = !args.iter().any(|arg| arg.starts_with("more."));
        assert_eq!(ran.stderr.contains("are the same file"), is_same, "{}", ran.stderr);
    }
    assert_eq!(before, ["tasks.csv", "more.csv", "more.jsonl"].map(|name| scene.bench.read(name)));
    assert_eq!(scene.simulator.stats().requests, 0);
    let shared = ["run", "tasks.csv", "--rejects", "/dev/null", "--out", "new.csv"];
    assert_eq!(scene.run(&shared).code, 0);
}

#[test]
fn a_batch_is_never_begun_twice_by_accident_and_a_resume_pays_nothing_twice() {
    let scene = Scene::happy();
    scene.rows("tasks.csv", GOOD, 5);
    assert_eq!(scene.run(&["run", "tasks.csv", "--out", "answers.jsonl"]).code, 0);
    let twice = scene.run(&["run", "tasks.csv"]);
    assert_eq!(twice.code, 2);
    assert!(twice.stderr.contains("--resume"), "{}", twice.stderr);
    // One row more, in front of the others: only that one is new.
    let text = scene.bench.read("tasks.csv");
    let more = text.replacen('\n', &format!("\n{GOOD},https://new.example\n"), 1);
    scene.bench.write("tasks.csv", &more);
    let resumed = scene.run(&["run", "tasks.csv", "--resume", "--out", "answers.jsonl"]);
    assert_eq!(resumed.code, 0, "{}", resumed.stderr);
    assert_eq!(scene.paid(), 6);
    let answers = json_lines(&scene.bench.read("answers.jsonl"));
    assert_eq!(answers.len(), 6, "each answer is written once");
}

#[test]
fn a_row_whose_answer_is_written_is_not_paid_for_again_when_its_task_is_deleted() {
    for out in ["answers.jsonl", "answers.csv"] {
        let scene = Scene::happy();
        scene.rows("tasks.csv", GOOD, 5);
        assert_eq!(scene.run(&["run", "tasks.csv", "--out", out]).code, 0);
        assert_eq!(scene.run(&["purge", "--where", "state:solved", "--confirm", "5"]).code, 0);
        // Twice the first row now: that is one more task.
        let text = scene.bench.read("tasks.csv");
        let row = text.lines().nth(1).expect("a row").to_owned();
        scene.bench.write("tasks.csv", &format!("{text}{row}\n"));
        let resume = ["run", "tasks.csv", "--resume", "--out", out];
        let looked = scene.run(&[&resume[..], &["--dry-run"]].concat());
        assert!(looked.stderr.contains("1 row is good; --out has the answers of 5 more"));
        let resumed = scene.run(&resume);
        assert_eq!((resumed.code, scene.paid()), (0, 6), "{}", resumed.stderr);
        assert!(resumed.stderr.contains("1 of 1 solved, 0 dead; 5 rows were skipped"));
        // A line that was torn is no answer.
        let answers = scene.bench.read(out);
        assert_eq!(answers.lines().count(), if out == "answers.csv" { 7 } else { 6 });
        scene.bench.write(out, answers.trim_end());
        assert_eq!(scene.run(&["purge", "--where", "state:solved", "--confirm", "1"]).code, 0);
        let resumed = scene.run(&resume);
        assert_eq!((resumed.code, scene.paid()), (0, 7), "{}", resumed.stderr);
        let again = scene.run(&resume);
        assert!(again.stderr.contains("0 of 0 solved, 0 dead; 6 rows"), "{}", again.stderr);
        assert_eq!((again.code, scene.paid()), (0, 7), "{}", again.stderr);
    }
}

#[test]
fn a_torn_line_of_answers_does_not_spoil_the_next() {
    let scene = Scene::happy();
    scene.rows("tasks.csv", GOOD, 3);
    assert_eq!(scene.run(&["run", "tasks.csv", "--out", "answers.jsonl"]).code, 0);
    let text = scene.bench.read("answers.jsonl");
    scene.bench.write("answers.jsonl", &text[..text.len() - 20]);
    let resumed = scene.run(&["run", "tasks.csv", "--resume", "--out", "answers.jsonl"]);
    assert_eq!(resumed.code, 0, "{}", resumed.stderr);
    let whole: BTreeSet<_> = scene
        .bench
        .read("answers.jsonl")
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .map(|row| row["line"].as_u64())
        .collect();
    assert_eq!(whole, (2..5).map(Some).collect());
    assert_eq!(scene.paid(), 3);
}

#[test]
fn an_answer_that_comes_while_the_run_goes_on_is_counted_and_written_however_late() {
    let silent = |sitekey| Rule::new(Fault::NotReady).on(Phase::Poll).sitekey(sitekey);
    let scene = Scene::new(Scenario::default().rule(silent("6Le-late")).rule(silent("0x4-slow")));
    scene.bench.write(
        "deadletter.toml",
        "[policy]\nfirst_submits = 1\n[timeouts]\nuserrecaptcha = \"20s\"\nturnstile = \"50m\"\n",
    );
    scene.bench.write(
        "tasks.csv",
        "method,sitekey,url\nuserrecaptcha,6Le-late,https://a.example/\nturnstile,0x4-slow,https://b.example/\n",
    );
    let mut command = scene.command(&["run", "tasks.csv"]);
    // Slower than upstream: what is given up is asked for only as long as upstream may hold it.
    command.env("DEADLETTER_TIME_SCALE", "10");
    let mut child = started(command);
    let (first, mut out) = first_line(&mut child);
    scene.simulator.clear_rules();
    scene.simulator.add_rule(silent("0x4-slow")).expect("a rule");
    let mut next = String::new();
    out.read_line(&mut next).expect("a line");
    scene.simulator.clear_rules();
    let mut rest = String::new();
    out.read_to_string(&mut rest).expect("text");
    let said = ended(child);
    let talk = String::from_utf8_lossy(&said.stderr);
    assert_eq!(said.status.code(), Some(0), "{talk}");
    assert!(talk.contains("2 of 2 solved, 0 dead; 2 submits"), "{talk}");
    let rows = json_lines(&format!("{first}{next}{rest}"));
    let told: Vec<_> =
        rows.iter().map(|row| (row["line"].as_u64(), row["state"].as_str())).collect();
    let lines = [(2, "dead"), (2, "solved"), (3, "solved")];
    assert_eq!(told, lines.map(|(line, state)| (Some(line), Some(state))));
}

#[test]
fn a_run_with_dead_tasks_says_so_and_tells_the_users_program() {
    let unsolvable = Rule::new(Fault::Unsolvable).on(Phase::Poll).sitekey("6Le-dead");
    let scene = Scene::new(Scenario::default().solve_ms(5_000).rule(unsolvable));
    scene.bench.write(
        "tasks.csv",
        &format!("sitekey,url,proxy\n{GOOD},https://a.example,\n6Le-dead,https://b.example,me:hunter2@10.0.0.1:80\n"),
    );
    let tell = "sh -c 'cat >> told.jsonl; printenv CAPTCHAAI_API_KEY >> told.jsonl; true'";
    let ran = scene.run(&["run", "tasks.csv", "--on-dead", tell]);
    assert_eq!(ran.code, 3, "{}", ran.stderr);
    let told = scene.bench.read("told.jsonl");
    assert!(told.contains("ERROR_CAPTCHA_UNSOLVABLE") && told.contains("6Le-dead"), "{told}");
    assert!(!told.contains(KEY) && !told.contains("hunter2"), "{told}");
    let dead: Vec<_> = lines(&ran).into_iter().filter(|row| row["state"] == "dead").collect();
    assert_eq!(dead.len(), 1);
    assert_eq!(dead[0]["cause"], "ERROR_CAPTCHA_UNSOLVABLE");
    assert_eq!(scene.run(&["list"]).stdout.lines().count(), 1);
}

#[test]
fn a_wrong_key_stops_the_account_and_keeps_the_tasks() {
    let scene = Scene::new(Scenario::default().keys(["another key of 32 characters...."]));
    scene.rows("tasks.csv", GOOD, 20);
    let ran = scene.run(&["run", "tasks.csv"]);
    assert_eq!(ran.code, 4, "{}", ran.stderr);
    assert!(ran.stderr.contains("fix: "), "{}", ran.stderr);
    // Each bad key brings the address nearer to a ban.
    assert!(scene.simulator.stats().submits <= 5, "{}", scene.simulator.stats().submits);
    assert_eq!(scene.run(&["list", "state:queued"]).stdout.lines().count(), 20);
    // Again, with the account stopped from the start: one probe, and not one submit more.
    let submits = scene.simulator.stats().submits;
    let again = scene.run(&["run", "tasks.csv", "--resume"]);
    assert_eq!(again.code, 4, "{}", again.stderr);
    assert!(again.stderr.contains("account main is stopped"), "{}", again.stderr);
    assert_eq!(scene.simulator.stats().submits, submits);
}

#[test]
fn the_right_key_goes_on_where_a_wrong_one_stopped() {
    let scene = Scene::new(Scenario::default().solve_ms(5_000));
    scene.rows("tasks.csv", GOOD, 3);
    scene.simulator.remove_key(KEY);
    assert_eq!(scene.run(&["run", "tasks.csv"]).code, 4);
    scene.simulator.add_key(KEY);
    let ran = scene.run(&["run", "tasks.csv", "--resume"]);
    assert_eq!((ran.code, lines(&ran).len()), (0, 3), "{}", ran.stderr);
}

#[test]
fn an_outage_is_waited_for_and_nothing_is_lost() {
    let scene = Scene::happy();
    scene.rows("tasks.csv", GOOD, 30);
    scene.simulator.outage_for(OutageMode::Refuse, 60_000);
    let ran = scene.run(&["run", "tasks.csv", "--concurrency", "10"]);
    assert_eq!((ran.code, lines(&ran).len()), (0, 30), "{}", ran.stderr);
    assert!(ran.stderr.contains("breaker"), "{}", ran.stderr);
    assert!(scene.simulator.stats().peak_threads <= 10);
}

#[test]
fn a_deadline_ends_what_nobody_waits_for_any_more() {
    let scene = Scene::happy();
    scene.rows("tasks.csv", GOOD, 2);
    scene.simulator.outage(OutageMode::Refuse);
    let ran = scene.run(&["run", "tasks.csv", "--deadline", "60s"]);
    assert_eq!(ran.code, 5, "{}", ran.stderr);
    let reasons = lines(&scene.run(&["list"]));
    assert!(reasons.iter().all(|row| row["reason"] == "deadline"), "{reasons:?}");
    assert_eq!(scene.paid(), 0);
}

#[test]
fn a_dry_run_sends_nothing_and_writes_nothing() {
    let scene = Scene::happy();
    scene.bench.write("tasks.csv", &format!("sitekey,url\n{GOOD},https://a.example\n{GOOD},\n"));
    let ran = scene.run(&["run", "tasks.csv", "--dry-run"]);
    assert_eq!(ran.code, 1, "{}", ran.stderr);
    assert!(ran.stderr.contains("line 3"), "{}", ran.stderr);
    assert_eq!(scene.simulator.stats().requests, 0);
    assert!(!scene.bench.path("tasks.csv.rejected.csv").exists());
    assert!(!scene.bench.path("tasks.db").exists());
}

#[test]
fn a_column_that_would_carry_the_key_is_refused() {
    let scene = Scene::happy();
    scene.bench.write("tasks.csv", &format!("key,sitekey,url\n{KEY},{GOOD},https://a.example\n"));
    assert_eq!(scene.run(&["run", "tasks.csv"]).code, 2);
    assert_eq!(scene.run(&["run", "tasks.csv", "--map", "key=-"]).code, 0);
}

#[test]
fn a_file_whose_columns_say_nothing_is_refused_before_its_rows() {
    let scene = Scene::happy();
    scene.bench.write("tasks.csv", "a,b\nx,y\n");
    let ran = scene.run(&["run", "tasks.csv"]);
    assert_eq!(ran.code, 2);
    assert!(ran.stderr.contains("--map"), "{}", ran.stderr);
    let mapped = ["run", "tasks.csv", "--map", "a=googlekey", "--map", "b=pageurl"];
    scene.bench.write("tasks.csv", &format!("a,b\n{GOOD},https://a.example\n"));
    assert_eq!(scene.run(&mapped).code, 0);
}

#[test]
fn answers_are_written_as_a_sheet_where_the_file_is_one() {
    let scene = Scene::happy();
    scene.rows("tasks.csv", GOOD, 2);
    assert_eq!(scene.run(&["run", "tasks.csv", "--out", "answers.csv"]).code, 0);
    let text = scene.bench.read("answers.csv");
    let mut rows = csv::Reader::from_reader(text.as_bytes());
    assert_eq!(rows.headers().expect("a header").get(3), Some("answer"));
    assert_eq!(
        rows.records().filter(|row| row.as_ref().is_ok_and(|row| row.len() == 9)).count(),
        2
    );
}

#[test]
fn standard_input_is_a_file_too() {
    use std::{io::Write, process::Stdio};
    let scene = Scene::happy();
    let mut command = scene.command(&["run", "-", "--name", "piped"]);
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    let text = format!("sitekey,url\n{GOOD},https://a.example\n");
    child.stdin.take().expect("piped").write_all(text.as_bytes()).expect("written");
    let output = child.wait_with_output().expect("it ends");
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(json_lines(&String::from_utf8_lossy(&output.stdout)).len(), 1);
}
