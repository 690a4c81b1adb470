//! `drain`: passes that end, wait behind the breaker, and are one at a time.

use crate::{
    bench::{first_line, interrupt, once_said, started},
    upstream::{Scene, json_lines, lines},
};
use deadletter_sim::{Entry, Fault, OutageMode, Phase, Rule, Scenario};
use serde_json::Value;
use std::{
    io::{BufRead, BufReader, Read},
    process::{Child, ChildStdout},
};

/// A scene with `n` dead letters that can be solved by now, and one that never can; each was
/// submitted once.
pub(crate) fn with_dead_letters(n: usize) -> Scene {
    let unsolvable = Rule::new(Fault::Unsolvable).on(Phase::Poll);
    let code = "ERROR_GOOGLEKEY".to_owned();
    let wrong = Rule::new(Fault::Error { code }).on(Phase::Submit).sitekey("6Le-wrong");
    let scene = Scene::new(Scenario::default().solve_ms(5_000).rule(wrong).rule(unsolvable));
    scene.bench.write("deadletter.toml", "[policy]\nfirst_submits = 1\n");
    scene.rows("tasks.csv", "6Le-dead", n);
    scene.rows("wrong.csv", "6Le-wrong", 1);
    for file in ["tasks.csv", "wrong.csv"] {
        let ran = scene.run(&["run", file]);
        assert_eq!(ran.code, 3, "{}", ran.stderr);
    }
    scene
}

fn count(scene: &Scene, filter: &str) -> usize {
    lines(&scene.run(&["list", filter])).len()
}

/// What the passes say, one document each.
struct Passes {
    child: Child,
    out: BufReader<ChildStdout>,
}

impl Passes {
    fn begin(scene: &Scene, args: &[&str]) -> Self {
        let mut child = started(scene.command(&[&["drain"], args].concat()));
        let out = BufReader::new(child.stdout.take().expect("piped"));
        Self { child, out }
    }

    fn next(&mut self) -> Value {
        let mut line = String::new();
        self.out.read_line(&mut line).expect("a line");
        json_lines(&line).pop().expect("it goes on")
    }

    /// Presses ctrl-C; the exit code, and what was said.
    fn stop(mut self) -> (i32, String) {
        interrupt(&self.child);
        let mut said = String::new();
        let mut errors = self.child.stderr.take().expect("piped");
        errors.read_to_string(&mut said).expect("text");
        let code = self.child.wait().expect("it ends").code();
        assert!(!said.contains("panicked"), "{said}");
        (code.expect("it was not killed"), said)
    }
}

#[test]
fn one_pass_takes_what_may_succeed_and_no_more_than_it_is_told_to() {
    let scene = with_dead_letters(3);
    scene.simulator.clear_rules();
    let limited = scene.run(&["drain", "--max", "2", "--out", "answers.jsonl"]);
    assert_eq!(limited.code, 0, "{}", limited.stderr);
    let pass = &lines(&limited)[0];
    assert_eq!((&pass["redriven"], &pass["solved"]), (&2.into(), &2.into()), "{pass}");
    assert_eq!(json_lines(&scene.bench.read("answers.jsonl")).len(), 2);
    let rest = scene.run(&["drain"]);
    assert_eq!((rest.code, &lines(&rest)[0]["solved"]), (0, &1.into()), "{}", rest.stderr);
    let nothing = scene.run(&["drain"]);
    assert!(nothing.stderr.contains("nothing to redrive"), "{}", nothing.stderr);
    assert_eq!(count(&scene, "state:dead sitekey:6Le-wrong"), 1, "a wrong key stays wrong");
    assert_eq!(scene.run(&["drain", "--rate", "0"]).code, 2);
}

#[test]
fn a_drain_pays_for_nobody_unless_it_is_told_to() {
    let unsolvable = Rule::new(Fault::Unsolvable).on(Phase::Poll);
    let scene = Scene::new(Scenario::default().solve_ms(5_000).rule(unsolvable));
    scene.bench.write("deadletter.toml", "[policy]\nfirst_submits = 1\n");
    // Whoever asks is told of the death, and does not wait for another end.
    let solve = scene.run(&["solve", "--sitekey", "6Le-dead", "--pageurl", "https://a.example/"]);
    assert_eq!(solve.code, 3, "{}", solve.stderr);
    scene.simulator.clear_rules();
    let paid = scene.paid();
    let drained = scene.run(&["drain"]);
    let pass = &lines(&drained)[0];
    assert_eq!((drained.code, &pass["left"]["nobody_waits"]), (0, &1.into()), "{pass}");
    assert!(drained.stderr.contains("nobody waits for an answer"), "{}", drained.stderr);
    assert_eq!(scene.paid(), paid, "nothing was sent");
    let plan = scene.run(&["redrive", "--where", "state:dead", "--dry-run"]);
    assert_eq!(lines(&plan)[0]["for_nobody"], 1, "{}", plan.stdout);
    assert!(plan.stderr.contains("1 task is redriven for nobody"), "{}", plan.stderr);
    let told_to = scene.run(&["drain", "--for-nobody"]);
    assert_eq!((told_to.code, &lines(&told_to)[0]["solved"]), (0, &1.into()), "{}", told_to.stderr);
}

#[test]
fn a_pass_that_pauses_itself_tells_of_what_it_redrove_and_of_nothing_else() {
    let n = 60;
    let scene = with_dead_letters(n);
    let ran = scene.run(&["drain", "--out", "answers.jsonl"]);
    assert_eq!(ran.code, 3, "{}", ran.stderr);
    assert!(ran.stderr.contains("the operation paused itself"), "{}", ran.stderr);
    let pass = &lines(&ran)[0];
    let told = |key: &str| pass[key].as_u64().expect("a number");
    let (redriven, dead) = (told("redriven"), told("dead"));
    assert!(dead <= redriven && redriven < n as u64, "{pass}");
    assert_eq!(json_lines(&scene.bench.read("answers.jsonl")).len() as u64, dead, "{pass}");
}

#[test]
fn again_and_again_what_never_succeeds_is_buried_and_submitted_seven_times() {
    let scene = with_dead_letters(3);
    let mut passes = Passes::begin(&scene, &["--every", "2s"]);
    let mut buried = 0;
    while buried < 3 {
        buried += passes.next()["buried"].as_u64().expect("a number");
    }
    // Nothing is left: the passes go on, and nothing is paid for any more.
    for _ in 0..4 {
        assert_eq!(passes.next()["matched"], 0);
    }
    let (code, said) = passes.stop();
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("the next begins at"), "{said}");
    assert_eq!(said.matches("nothing to redrive").count(), 1, "said once: {said}");
    assert_eq!((scene.paid(), count(&scene, "state:buried")), (3 * 7, 3));
}

#[test]
fn through_an_outage_nothing_is_lost_and_nothing_but_probes_is_sent() {
    let n = 40;
    let scene = with_dead_letters(n);
    scene.simulator.clear_rules();
    let paid = scene.paid();
    let before = scene.simulator.log().entries().count();
    // Long enough for many probes that meet it: after 10 s, 20 s, 40 s, and then each minute.
    scene.simulator.outage_for(OutageMode::Html502, 400_000);
    let mut passes = Passes::begin(&scene, &["--every", "2s"]);
    let mut solved = 0;
    while solved < n as u64 {
        solved += passes.next()["solved"].as_u64().expect("a number");
    }
    let (code, said) = passes.stop();
    assert_eq!(code, 0, "{said}");
    let opened = said.matches("probe met an outage").count();
    assert!(opened >= 2, "{said}");
    let log = scene.simulator.log();
    let met = |entry: &&Entry| entry.phase == "submit" && entry.fault.is_some();
    let refused = log.entries().skip(before).filter(met).count();
    // A redrive has 20 tasks under way at most while none was solved; behind the open breaker, each
    // submit was a probe.
    assert!((opened..=20 + opened).contains(&refused), "{refused} calls met the outage: {said}");
    assert_eq!(scene.paid() - paid, n as u64, "each was paid for once");
    assert_eq!((count(&scene, "state:solved"), count(&scene, "state:dead")), (n, 1));
}

#[test]
fn one_drain_works_at_a_time_and_the_next_takes_over_from_a_dead_one() {
    let scene = with_dead_letters(3);
    scene.simulator.clear_rules();
    assert_eq!(scene.run(&["breaker", "trip", "--reason", "to hold it up"]).code, 0);
    // It waits for the breaker, and so it keeps its turn.
    let mut first = Passes::begin(&scene, &["--every", "1h"]);
    once_said(&mut first.child, "redriving");
    let second = scene.run(&["drain"]);
    assert_eq!(second.code, 1, "{}", second.stderr);
    let process = format!("process {}", first.child.id());
    for part in ["another drain is under way", &process, "at work on redrive-", "--wait"] {
        assert!(second.stderr.contains(part), "{part} in {}", second.stderr);
    }
    let mut waiting = started(scene.command(&["drain", "--wait", "--json"]));
    first.child.kill().expect("killed");
    first.child.wait().expect("gone");
    assert_eq!(scene.run(&["breaker", "reset"]).code, 0);
    let (line, _) = first_line(&mut waiting);
    let output = waiting.wait_with_output().expect("it ends");
    let said = String::from_utf8(output.stderr).expect("UTF-8");
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert!(said.contains("taken over from a drain that is gone"), "{said}");
    assert_eq!(json_lines(&line)[0]["solved"], 3, "{said}");
}

#[test]
fn a_letter_whose_secrets_are_masked_is_left_and_told_and_nothing_waits_for_it() {
    let unsolvable = Rule::new(Fault::Unsolvable).on(Phase::Poll);
    let scene = Scene::new(Scenario::default().solve_ms(5_000).rule(unsolvable));
    scene.bench.write("deadletter.toml", "[policy]\nfirst_submits = 1\n");
    scene.bench.write(
        "tasks.csv",
        "sitekey,url,proxy,proxytype\n6Le-dead,https://a.example,me:secret@10.0.0.1:80,HTTP\n",
    );
    assert_eq!(scene.run(&["run", "tasks.csv"]).code, 3);
    assert_eq!(scene.run(&["export", "--out", "masked.jsonl"]).code, 0);
    scene.simulator.clear_rules();
    let paid = scene.paid();
    let elsewhere = |args: &[&str]| scene.run(&[args, &["--store", "sqlite:other.db"]].concat());
    let imported = elsewhere(&["import", "masked.jsonl"]);
    assert_eq!(lines(&imported)[0]["masked"], 1, "{}", imported.stderr);

    let redriven = elsewhere(&["redrive", "--where", "state:dead", "--yes"]);
    assert_eq!(redriven.code, 0, "{}", redriven.stderr);
    let plan = &lines(&redriven)[0];
    assert_eq!((&plan["eligible"], &plan["by_eligibility"]["held"]), (&0.into(), &1.into()));
    let drained = elsewhere(&["drain"]);
    let pass = &lines(&drained)[0];
    assert_eq!((drained.code, &pass["left"]["held"]), (0, &1.into()), "{pass}");
    assert!(drained.stderr.contains("their secrets are masked"), "{}", drained.stderr);
    assert_eq!(lines(&elsewhere(&["list", "state:dead"])).len(), 1);
    assert_eq!(scene.paid(), paid, "nothing was sent");
}
