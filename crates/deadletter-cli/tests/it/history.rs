//! `show`: the whole history of a task in its order; and how every output writes its instants.

use crate::{redrive::with_dead_letters, upstream::lines};
use serde_json::Value;

#[test]
fn show_tells_of_death_redrive_and_answer_in_their_order() {
    let scene = with_dead_letters();
    scene.simulator.clear_rules();
    let by_cause = ["redrive", "--where", "cause:ERROR_CAPTCHA_UNSOLVABLE", "--yes"];
    assert_eq!(scene.run(&by_cause).code, 0);
    let id = lines(&scene.run(&["list", "state:solved"]))[0]["id"].to_string();
    let shown = &lines(&scene.run(&["show", &id]))[0];
    let moments = shown["timeline"].as_array().expect("a list");
    let told: Vec<&str> =
        moments.iter().map(|moment| moment["what"].as_str().expect("words")).collect();
    let mut rest = told.iter();
    for next in [
        "accepted",
        "submit 1",
        "submit 1 taken as upstream id",
        "submit 3 failed: ERROR_CAPTCHA_UNSOLVABLE",
        "died: attempts_exhausted (ERROR_CAPTCHA_UNSOLVABLE)",
        "redriven by operation redrive-",
        "submit 4",
        "submit 4 answered",
        "solved by submit 4",
    ] {
        assert!(rest.any(|what| what.starts_with(next)), "{next} is not in its place: {told:#?}");
    }
    assert_eq!(rest.count(), 0, "{told:#?}");
    let times: Vec<_> = moments.iter().map(|moment| moment["at"].as_str()).collect();
    assert!(times.is_sorted() && times[0].is_some_and(|at| at.ends_with('Z')), "{times:?}");
}

/// Every field that is an instant, with its value.
fn instants(value: &Value, found: &mut Vec<(String, Value)>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                if name.ends_with("_at") || name == "at" || name.ends_with("_until") {
                    found.push((name.clone(), value.clone()));
                }
                instants(value, found);
            }
        }
        Value::Array(list) => list.iter().for_each(|value| instants(value, found)),
        _ => {}
    }
}

#[test]
fn every_instant_that_is_written_is_iso_8601_in_utc() {
    let scene = with_dead_letters();
    let id = lines(&scene.run(&["list"]))[0]["id"].to_string();
    scene.simulator.clear_rules();
    let out = ["redrive", "--where", "sitekey:6Le-dead", "--yes", "--out", "answers.jsonl"];
    assert_eq!(scene.run(&out).code, 0);
    let mut written = Vec::new();
    for args in
        [&["list", "*"][..], &["show", &id], &["show", &id, "--with-secrets"], &["export", "*"]]
    {
        written.extend(lines(&scene.run(args)));
    }
    written.extend(crate::upstream::json_lines(&scene.bench.read("answers.jsonl")));
    let mut found = Vec::new();
    written.iter().for_each(|document| instants(document, &mut found));
    assert!(found.len() > 50, "{}", found.len());
    for (name, value) in found {
        let is_iso = |text: &str| text.len() == 24 && text.ends_with('Z') && text.contains('T');
        assert!(value.is_null() || value.as_str().is_some_and(is_iso), "{name}: {value}");
    }
}
