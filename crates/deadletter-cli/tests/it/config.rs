//! `config`, and what every command does with the configuration.

use crate::bench::{Bench, KEY, ran, set_mode};

#[test]
fn show_names_the_origin_of_each_value_and_hides_the_key() {
    let bench = Bench::new();
    bench.write("deadletter.toml", "[account]\nname = \"mine\"\n");
    let mut command = bench.command(&["config", "show", "--store", "memory:"]);
    command.env("CAPTCHAAI_API_KEY", KEY).env("DEADLETTER_THREADS", "3");
    let ran = ran(command);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let rows: Vec<serde_json::Value> =
        ran.stdout.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let seen = |key: &str| {
        let row = rows.iter().find(|row| row["setting"] == key).expect("it is listed");
        (row["value"].as_str().expect("text"), row["from"].as_str().expect("text"))
    };
    assert_eq!(seen("store"), ("memory:", "--store"));
    assert_eq!(seen("account.threads"), ("3", "DEADLETTER_THREADS"));
    assert_eq!(seen("account.key"), ("****0key", "CAPTCHAAI_API_KEY"));
    assert_eq!(seen("policy.max_submits"), ("7", "default"));
    assert!(seen("account.name").1.ends_with("deadletter.toml:2"));
    assert!(!ran.stdout.contains(KEY) && !ran.stderr.contains(KEY));
}

#[test]
fn an_unknown_key_is_a_usage_fault_with_what_why_and_fix() {
    let bench = Bench::new();
    bench.write("deadletter.toml", "\n[account]\ntreads = 4\n");
    let ran = bench.run(&["config", "validate"]);
    assert_eq!(ran.code, 2);
    assert!(ran.stderr.contains("error: ") && ran.stderr.contains("deadletter.toml:3"));
    assert!(ran.stderr.contains("  why: "), "{}", ran.stderr);
    assert!(ran.stderr.contains("  fix: did you mean account.threads?"), "{}", ran.stderr);
    assert!(ran.stdout.is_empty());
}

#[test]
fn networks_of_deliveries_are_shown_with_their_origin_and_checked() {
    let bench = Bench::new();
    bench.write("deadletter.toml", "[deliveries]\nallow = [\"10.0.0.0/8\", \"::1\"]\n");
    let shown = bench.run(&["config", "show"]).stdout;
    let row = shown.lines().find(|row| row.contains("deliveries.allow")).expect("it is listed");
    assert!(row.contains("10.0.0.0/8, ::1") && row.contains("deadletter.toml:2"), "{row}");
    let mut command = bench.command(&["config", "validate"]);
    command.env("DEADLETTER_DELIVERIES_ALLOW", "10.1.2.3/8").env("CAPTCHAAI_API_KEY", KEY);
    let ran = ran(command);
    assert_eq!(ran.code, 2);
    assert!(ran.stderr.contains("(DEADLETTER_DELIVERIES_ALLOW)"), "{}", ran.stderr);
    assert!(ran.stderr.contains("within the network 10.0.0.0/8"), "{}", ran.stderr);
}

#[test]
fn validate_ends_with_the_code_of_a_missing_key() {
    let bench = Bench::new();
    assert_eq!(bench.run(&["config", "validate"]).code, 4);
}

#[test]
fn a_key_in_a_file_is_taken_only_where_nobody_else_can_read_it() {
    let bench = Bench::new();
    let path = bench.write("deadletter.toml", &format!("[account]\nkey = \"{KEY}\"\n"));
    set_mode(&path, 0o644);
    let refused = bench.run(&["config", "validate"]);
    assert_eq!(refused.code, 4);
    assert!(refused.stderr.contains("chmod 600"), "{}", refused.stderr);
    assert!(!refused.stderr.contains(KEY));
    set_mode(&path, 0o600);
    assert_eq!(bench.run(&["config", "validate"]).code, 0);
}

#[test]
fn a_key_that_lies_open_is_refused_though_a_variable_or_a_key_file_wins() {
    let bench = Bench::new();
    let path = bench.write("deadletter.toml", &format!("[account]\nkey = \"{KEY}\"\n"));
    let file = bench.write("key.txt", KEY);
    set_mode(&file, 0o600);
    for (variable, value) in
        [("CAPTCHAAI_API_KEY", "another-key"), ("DEADLETTER_KEY_FILE", "key.txt")]
    {
        for (mode, code) in [(0o640, 4), (0o600, 0)] {
            set_mode(&path, mode);
            let mut command = bench.command(&["config", "validate"]);
            command.env(variable, value);
            let ran = ran(command);
            assert_eq!(ran.code, code, "{variable} {mode:o}: {}", ran.stderr);
            assert_eq!(ran.stderr.contains("chmod 600"), code == 4, "{}", ran.stderr);
        }
    }
}

#[test]
fn validate_refuses_what_no_command_could_work_with() {
    let bench = Bench::new();
    let validate = |store: &str, key: &str, endpoint: &str| {
        let mut command = bench.command(&["config", "validate", "--store", store]);
        command.env("CAPTCHAAI_API_KEY", key).env("CAPTCHAAI_SUBMIT_ENDPOINT", endpoint);
        ran(command)
    };
    let there = "https://a.example/in.php";
    assert_eq!(validate("sqlite:new.db", KEY, there).code, 0);
    assert!(!bench.path("new.db").exists());
    for url in ["mysql:x", "tasks", "sqlite:", "memory:x", "sqlite://x.db"] {
        let refused = validate(url, KEY, there);
        assert_eq!(refused.code, 2, "{url}: {}", refused.stderr);
        assert!(refused.stderr.contains("  fix: "), "{}", refused.stderr);
    }
    assert_eq!(validate("memory:", "a*b", there).code, 4);
    assert_eq!(validate("memory:", KEY, "https://a.example:port/in.php").code, 2);
}

#[test]
fn a_word_that_no_setting_knows_is_told_without_the_names_of_the_code() {
    let bench = Bench::new();
    bench.write("deadletter.toml", "[policy]\non_doubt = \"perhaps\"\n");
    let ran = bench.run(&["config", "validate"]);
    assert_eq!(ran.code, 2);
    assert!(ran.stderr.contains("policy.on_doubt"), "{}", ran.stderr);
    assert!(ran.stderr.contains("  why: it is one of: resubmit, dead_letter"), "{}", ran.stderr);
    assert!(!ran.stderr.contains("OnDoubt"), "{}", ran.stderr);
}

#[test]
fn path_says_where_it_looked() {
    let bench = Bench::new();
    let ran = bench.run(&["config", "path"]);
    assert_eq!(ran.code, 0);
    let seen: serde_json::Value = serde_json::from_str(&ran.stdout).expect("JSON");
    assert!(seen["path"].is_null());
    assert_eq!(seen["looked_for"].as_array().map(Vec::len), Some(2));
}

#[test]
fn a_reader_that_has_gone_ends_it_without_a_word() {
    let bench = Bench::new();
    let mut command = bench.command(&["config", "show"]);
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    let output = command.stdout(writer).output().expect("it starts");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    assert_eq!(output.status.code(), Some(0));
}

#[test]
fn an_unknown_command_is_a_usage_fault() {
    let bench = Bench::new();
    assert_eq!(bench.run(&["redrife"]).code, 2);
    assert_eq!(bench.run(&["--help"]).code, 0);
}

#[test]
fn a_number_that_cannot_be_meant_is_told_with_what_can() {
    let bench = Bench::new();
    let cases: [(&[&str], &str); 4] = [
        (&["list", "--limit", "-1"], "0 or more"),
        (&["query", "--limit", "-1", "SELECT 1"], "0 or more"),
        (&["drain", "--max", "many"], "0 or more"),
        (&["simulate", "--threads", "0"], "1 or more"),
    ];
    for (args, range) in cases {
        let ran = bench.run(args);
        assert_eq!(ran.code, 2, "{args:?}: {}", ran.stderr);
        assert!(ran.stderr.contains(range), "{args:?}: {}", ran.stderr);
    }
}

#[test]
fn a_fast_clock_is_refused_unless_both_endpoints_are_on_this_machine() {
    let bench = Bench::new();
    let here = "http://127.0.0.1:9/x";
    let code = |submit: &str, result: &str| {
        let mut command = bench.command(&["config", "validate", "--store", "memory:"]);
        command
            .env("CAPTCHAAI_API_KEY", KEY)
            .env("DEADLETTER_TIME_SCALE", "20")
            .env("CAPTCHAAI_SUBMIT_ENDPOINT", submit)
            .env("CAPTCHAAI_RESULT_ENDPOINT", result);
        let ran = ran(command);
        assert_eq!(ran.code == 2, ran.stderr.contains("unset DEADLETTER_TIME_SCALE"));
        ran.code
    };
    for url in [here, "http://localhost/x", "http://[::1]:9/x", "http://127.8.9.1/x"] {
        assert_eq!(code(url, here), 0, "{url}");
    }
    for url in
        ["https://a.example/x", "http://127.0.0.1.a.example/x", "http://127.0.0.1@a.example/x"]
    {
        assert_eq!((code(url, here), code(here, url)), (2, 2), "{url}");
    }
    let mut solve = bench.command(&["solve", "--sitekey", "x", "--pageurl", "https://a.example"]);
    solve
        .env("CAPTCHAAI_API_KEY", KEY)
        .env("DEADLETTER_TIME_SCALE", "20")
        .env("CAPTCHAAI_SUBMIT_ENDPOINT", "https://upstream.invalid/in.php");
    assert_eq!(ran(solve).code, 2);
}
