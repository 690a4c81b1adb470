//! `stats`: how long solves take, what fails where, and what died at once.

use crate::upstream::{GOOD, Scene, lines};
use deadletter_sim::{Fault, Phase, Rule, Scenario};
use serde_json::Value;

/// Five rows that are solved, and three that cannot be.
fn scene() -> Scene {
    let unsolvable = Rule::new(Fault::Unsolvable).on(Phase::Poll).sitekey("6Le-dead");
    let scene = Scene::new(Scenario::default().solve_ms(10_000).rule(unsolvable));
    scene.rows("good.csv", GOOD, 5);
    scene.rows("dead.csv", "6Le-dead", 3);
    assert_eq!(scene.run(&["run", "good.csv"]).code, 0);
    assert_eq!(scene.run(&["run", "dead.csv"]).code, 3);
    scene
}

fn ms(row: &Value, name: &str) -> f64 {
    row[name].as_f64().expect("milliseconds")
}

#[test]
fn solve_times_are_told_by_account_and_method() {
    let scene = scene();
    let rows = lines(&scene.run(&["stats", "--by", "times"]));
    assert_eq!(rows.len(), 1, "{rows:?}");
    let row = &rows[0];
    assert_eq!((&row["account"], &row["value"]), (&"main".into(), &"userrecaptcha".into()));
    assert_eq!(row["count"], 5);
    assert!(ms(row, "p50_ms") <= ms(row, "p90_ms") && ms(row, "p90_ms") <= ms(row, "p99_ms"));
    let buckets = row["buckets"].as_array().expect("a list");
    let samples: f64 = buckets.iter().map(|bucket| ms(bucket, "samples")).sum();
    assert!((samples - 5.0).abs() < 0.01, "{samples}");
}

#[test]
fn what_fails_where_and_when_is_counted_once() {
    let scene = scene();
    let rows = lines(&scene.run(&["stats"]));
    let of = |by: &str| -> Vec<&Value> { rows.iter().filter(|row| row["by"] == by).collect() };
    let where_it_fails = of("sitekey_cause");
    assert_eq!(where_it_fails.len(), 1, "{where_it_fails:?}");
    let cell = where_it_fails[0];
    assert_eq!((&cell["value"], &cell["count"]), (&"6Le-dead".into(), &3.into()));
    assert_eq!(cell["cause"], "ERROR_CAPTCHA_UNSOLVABLE");
    let deaths: i64 = of("cause_hour").iter().filter_map(|row| row["count"].as_i64()).sum();
    assert_eq!(deaths, 3);
    assert!(
        of("cause_hour")
            .iter()
            .all(|row| row["value"].as_str().is_some_and(|at| at.ends_with("00:00.000Z")))
    );
    assert_eq!(of("times").len(), 1);
}

#[test]
fn submits_and_those_in_doubt_are_counted_where_it_ends_and_in_stats() {
    let doubt = Rule::new(Fault::ResetAfter).on(Phase::Submit).times(1).sitekey("6Le-doubt");
    let scene = Scene::new(Scenario::default().solve_ms(10_000).rule(doubt));
    scene.rows("good.csv", GOOD, 2);
    let ran = scene.run(&["run", "good.csv"]);
    assert!(ran.stderr.contains("2 of 2 solved, 0 dead; 2 submits"), "{}", ran.stderr);
    assert!(!ran.stderr.contains("in doubt"), "{}", ran.stderr);
    scene.rows("doubt.csv", "6Le-doubt", 1);
    let ran = scene.run(&["run", "doubt.csv"]);
    assert!(ran.stderr.contains("1 of 1 solved, 0 dead; 2 submits"), "{}", ran.stderr);
    let told = "in doubt: 1 submit may have been paid for twice";
    assert!(ran.stderr.contains(told) && ran.stderr.contains("policy.on_doubt = resubmit"));
    assert_eq!(scene.paid(), 4);
    let rows = lines(&scene.run(&["stats"]));
    let unused = rows.iter().find(|row| row["by"] == "unused").expect("told");
    assert_eq!(unused["count"], 0, "run has written each answer down");
    let spent = |what: &str| {
        rows.iter().find(|row| row["by"] == "spent" && row["value"] == what).expect("counted")
    };
    assert_eq!((&spent("submits")["count"], &spent("in_doubt")["count"]), (&4.into(), &1.into()));
}
