//! A store that is not there is told, never made by somebody who only looks.

use crate::bench::{Bench, KEY, ran};

const LOOKS: [&[&str]; 7] = [
    &["list"],
    &["show", "7"],
    &["stats"],
    &["export"],
    &["export", "--out", "dead.jsonl"],
    &["redrive", "--where", "*", "--dry-run"],
    &["redrive", "--where", "*"],
];

#[test]
fn a_slip_in_the_path_is_not_taken_for_an_empty_queue() {
    let bench = Bench::new();
    for args in LOOKS {
        let mut command = bench.command(args);
        command.env("CAPTCHAAI_API_KEY", KEY).env("DEADLETTER_STORE", "sqlite:no/tsaks.db");
        let ran = ran(command);
        assert_eq!((ran.code, ran.stdout.as_str()), (1, ""), "{args:?}: {}", ran.stderr);
        for told in ["there is no store at no/tsaks.db", "DEADLETTER_STORE names it", "  fix: "] {
            assert!(ran.stderr.contains(told), "{args:?}: {}", ran.stderr);
        }
    }
    assert!(!bench.path("no").exists() && !bench.path("dead.jsonl").exists());
}

#[test]
fn at_first_use_a_look_says_what_begins_a_store() {
    let bench = Bench::new();
    for args in LOOKS {
        let mut command = bench.command(args);
        command.env("CAPTCHAAI_API_KEY", KEY);
        let ran = ran(command);
        assert_eq!(ran.code, 1, "{args:?}: {}", ran.stderr);
        for told in ["nothing has been stored yet", "  why: ", "deadletter run FILE"] {
            assert!(ran.stderr.contains(told), "{args:?}: {}", ran.stderr);
        }
    }
    assert!(!bench.path(".local").exists());
}
