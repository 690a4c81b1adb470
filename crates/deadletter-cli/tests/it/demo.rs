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
