//! The benchmarks run and say what they should in the form that they should; never how fast.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use serde_json::Value;

/// What a program says with small numbers.
fn quick(program: &str, args: &[&str]) -> String {
    let directory = tempfile::tempdir().unwrap();
    let mut command = assert_cmd::Command::cargo_bin(program).unwrap();
    command.args(args).args(["--quick", "--dir"]).arg(directory.path());
    let output = command.assert().success().get_output().stdout.clone();
    assert_eq!(directory.path().read_dir().unwrap().count(), 0, "files are left behind");
    String::from_utf8(output).unwrap()
}

#[test]
fn every_line_of_the_table_is_measured_and_judged() {
    let report: Value =
        serde_json::from_str(&quick("deadletter-bench", &["store", "--json"])).unwrap();
    assert!(report["cores"].as_u64().unwrap() > 0);
    assert_eq!(report["quick"], true);
    let lines = report["lines"].as_array().unwrap();
    for line in lines {
        let number = |name: &str| line[name].as_f64().unwrap();
        assert!(number("min") <= number("median") && number("median") <= number("max"), "{line}");
        assert!(number("min") > 0.0, "{line}");
        let is_asked = line["at_least"].is_number() || line["at_most"].is_number();
        assert!(line["met"].is_boolean() && is_asked, "{line}");
    }
    let works: Vec<_> = lines.iter().map(|line| line["work"].as_str().unwrap()).collect();
    for work in [
        "64 producers",
        "life cycle",
        "claim",
        "page",
        "counts",
        "open",
        "a kill",
        "the log",
        "article",
    ] {
        assert!(works.iter().any(|line| line.contains(work)), "no line on {work}: {works:?}");
    }
}

#[test]
fn a_table_shows_reach_and_whether_it_is_met() {
    let table = quick("deadletter-bench", &["store", "--only", "inserts"]);
    for word in ["Reach", "Met", "64 producers", "cores", "say nothing about speed"] {
        assert!(table.contains(word), "{word} in\n{table}");
    }
}

#[test]
fn the_weight_of_a_task_in_flight_is_measured() {
    let report: Value =
        serde_json::from_str(&quick("deadletter-bench-engine", &["--json"])).unwrap();
    let line = &report["lines"][0];
    assert!(line["work"].as_str().unwrap().contains("in flight"), "{line}");
    // A row and an attempt alone take more than this.
    assert!(line["min"].as_f64().unwrap() > 100.0, "{line}");
}

#[test]
fn the_gateway_is_measured_beside_a_plain_server() {
    let report: Value =
        serde_json::from_str(&quick("deadletter-bench", &["gateway", "--json"])).unwrap();
    let lines = report["lines"].as_array().unwrap();
    let works: Vec<_> = lines.iter().map(|line| line["work"].as_str().unwrap()).collect();
    let expected = ["res.php", "in.php", "latency", "never end", "as fast as", "idle", "unsolved"];
    assert_eq!(works.len(), expected.len(), "{works:?}");
    for (work, line) in expected.iter().zip(lines) {
        assert!(line["work"].as_str().unwrap().contains(work), "no line on {work}: {works:?}");
        assert!(line["met"].is_boolean() && line["max"].as_f64().is_some(), "{line}");
    }
    assert!(lines[0]["min"].as_f64().unwrap() > 0.0 && lines[5]["min"].as_f64().unwrap() > 1.0);
}

#[test]
fn redis_is_measured_beside_bullmq() {
    let url = std::env::var("DLQ_TEST_REDIS")
        .expect("run `scripts/servers cargo test -p deadletter-bench`");
    let report = quick("deadletter-bench", &["redis", "--json", "--url", &url]);
    let report: Value = serde_json::from_str(&report).unwrap();
    let lines = report["lines"].as_array().unwrap();
    let works: Vec<_> = lines.iter().map(|line| line["work"].as_str().unwrap()).collect();
    for work in ["life cycle", "BullMQ", "2 workers", "claim", "site key and cause"] {
        assert!(works.iter().any(|line| line.contains(work)), "no line on {work}: {works:?}");
    }
    assert!(lines.iter().all(|line| line["min"].as_f64().unwrap() > 0.0), "{lines:?}");
}

#[test]
fn postgresql_is_measured_beside_its_own_inserts() {
    let url = std::env::var("DLQ_TEST_POSTGRES")
        .expect("run `scripts/servers cargo test -p deadletter-bench`");
    let report = quick("deadletter-bench", &["postgres", "--json", "--url", &url]);
    let report: Value = serde_json::from_str(&report).unwrap();
    let lines = report["lines"].as_array().unwrap();
    let works: Vec<_> = lines.iter().map(|line| line["work"].as_str().unwrap()).collect();
    for work in ["batches of 64", "life cycle", "2 workers", "claim", "site key and cause"] {
        assert!(works.iter().any(|line| line.contains(work)), "no line on {work}: {works:?}");
    }
    assert!(lines.iter().all(|line| line["min"].as_f64().unwrap() > 0.0), "{lines:?}");
}
