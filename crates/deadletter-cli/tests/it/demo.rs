//! `demo`: the story that a newcomer sees first.

use crate::{bench::Bench, upstream::lines};

#[test]
fn it_ends_well_and_its_figures_are_sound() {
    let bench = Bench::new();
    let ran = bench.run(&["demo", "--json"]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let facts = &lines(&ran)[0];
    assert_eq!(facts["totals"]["accepted"], 200);
    assert_eq!(facts["is_conserved"], true);
    assert!(facts["redriven"].as_i64().is_some_and(|n| n > 0), "{facts}");
    let opened = |phase: &str| {
        facts["breaker"].as_array().is_some_and(|turns| turns.iter().any(|t| t["to"] == phase))
    };
    assert!(opened("open") && opened("closed"), "{facts}");
    assert!(facts["peak_threads"].as_u64() <= facts["threads"].as_u64());
    assert!(!ran.stderr.contains("\\n"), "{}", ran.stderr);
}

#[test]
fn processes_that_share_no_memory_or_no_store_are_refused() {
    let bench = Bench::new();
    for (args, told) in [
        (&["demo", "--store", "sqlite:x.db"] as &[&str], "--workers 2"),
        (&["demo", "--workers", "2", "--store", "memory:"], "share no memory"),
        (&["demo", "--workers", "0"], "1..=16"),
    ] {
        let ran = bench.run(args);
        assert_eq!(ran.code, 2, "{args:?}: {}", ran.stderr);
        assert!(ran.stderr.contains(told), "{args:?}: {}", ran.stderr);
    }
}
