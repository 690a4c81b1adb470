//! `.env` in the working directory.

use crate::{
    bench::{Bench, KEY, Ran, ran, set_mode},
    upstream::{GOOD, Scene, lines},
};
use std::path::PathBuf;

fn write(bench: &Bench, text: &str) -> PathBuf {
    let path = bench.write(".env", text);
    set_mode(&path, 0o600);
    path
}

fn shown(bench: &Bench, variables: &[(&str, &str)]) -> Ran {
    let mut command = bench.command(&["config", "show"]);
    command.envs(variables.iter().copied());
    ran(command)
}

/// A setting's value, and where it comes from.
fn setting(ran: &Ran, key: &str) -> (String, String) {
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let rows = lines(ran);
    let row = rows.iter().find(|row| row["setting"] == key).expect("it is listed");
    (
        row["value"].as_str().expect("text").to_owned(),
        row["from"].as_str().expect("text").to_owned(),
    )
}

#[test]
fn it_supplies_what_the_environment_does_not_and_is_named_with_its_line() {
    let bench = Bench::new();
    let text = format!(
        "# ours\nexport CAPTCHAAI_API_KEY=\"{KEY}\"\nDEADLETTER_THREADS=3\nDEADLETTER_STORE='sqlite:a b.db' # here\n\
         DATABASE_URL=postgres://x\nDEADLETTER_CONFIG=mine.toml\n"
    );
    write(&bench, &text);
    bench.write("mine.toml", "[account]\nthreads = 9\nname = \"mine\"\n");
    let ran = shown(&bench, &[]);
    let pair = |value: &str, from: &str| (value.to_owned(), from.to_owned());
    assert_eq!(setting(&ran, "account.key"), pair("****0key", ".env:2"));
    assert_eq!(setting(&ran, "account.threads"), pair("3", ".env:3"), "it wins over the file");
    assert_eq!(setting(&ran, "store"), pair("sqlite:a b.db", ".env:4"));
    assert_eq!(setting(&ran, "account.name").0, "mine");
    assert!(!ran.stdout.contains(KEY) && !ran.stderr.contains(KEY));
    let own = [("DEADLETTER_THREADS", "5"), ("DEADLETTER_STORE", "")];
    let ran = shown(&bench, &own);
    assert_eq!(setting(&ran, "account.threads"), pair("5", "DEADLETTER_THREADS"));
    assert_eq!(setting(&ran, "store").1, "default", "an empty variable switches it off");
}

#[test]
fn a_key_in_it_is_taken_only_where_nobody_else_can_read_it() {
    let bench = Bench::new();
    let path = write(&bench, &format!("CAPTCHAAI_API_KEY={KEY}\n"));
    for (mode, code) in [(0o644, 4), (0o600, 0)] {
        set_mode(&path, mode);
        for variables in [&[][..], &[("CAPTCHAAI_API_KEY", "another-key")]] {
            let mut command = bench.command(&["config", "validate"]);
            command.envs(variables.iter().copied());
            let ran = ran(command);
            assert_eq!(ran.code, code, "{mode:o}: {}", ran.stderr);
            assert_eq!(ran.stderr.contains("chmod 600"), code == 4, "{}", ran.stderr);
            assert!(!ran.stderr.contains(KEY));
        }
    }
    // Of a name that the configuration chose.
    write(&bench, &format!("MY_KEY={KEY}\nDEADLETTER_KEY_ENV=MY_KEY\n"));
    assert_eq!(setting(&shown(&bench, &[]), "account.key").1, ".env:1");
    // As a variable does, it wins over a key file.
    let file = bench.write("key.txt", "of-the-key-file");
    set_mode(&file, 0o600);
    let ran = shown(&bench, &[("DEADLETTER_KEY_FILE", "key.txt")]);
    assert_eq!(setting(&ran, "account.key").0, "****0key");
    set_mode(&path, 0o640);
    assert_eq!(shown(&bench, &[]).code, 4);
    // Without a key, anybody may read it.
    let path = write(&bench, "DEADLETTER_THREADS=3\n");
    set_mode(&path, 0o644);
    assert_eq!(setting(&shown(&bench, &[]), "account.threads").0, "3");
}

#[test]
fn a_bad_line_is_named_without_what_stands_there() {
    let bench = Bench::new();
    for (text, line) in [(format!("A=1\n{KEY}\n"), 2), (format!("A=\"{KEY}\n"), 1)] {
        write(&bench, &text);
        let ran = bench.run(&["list"]);
        assert_eq!(ran.code, 2, "{}", ran.stderr);
        assert!(ran.stderr.contains(&format!(".env:{line} cannot be read")), "{}", ran.stderr);
        assert!(ran.stderr.contains("  fix: ") && !ran.stderr.contains(KEY), "{}", ran.stderr);
    }
    write(&bench, "DEADLETTER_THREAD=4\n");
    let ran = shown(&bench, &[]);
    assert!(ran.stderr.contains("did you mean DEADLETTER_THREADS?"), "{}", ran.stderr);
    std::fs::remove_file(bench.path(".env")).expect("removed");
    std::fs::create_dir(bench.path(".env")).expect("a folder, as some tools make");
    assert_eq!(shown(&bench, &[]).code, 0);
}

#[test]
fn a_run_works_from_it_alone() {
    let scene = Scene::happy();
    scene.rows("tasks.csv", GOOD, 2);
    let mut command = scene.command(&["run", "tasks.csv"]);
    command.env_remove("CAPTCHAAI_API_KEY");
    write(&scene.bench, &format!("CAPTCHAAI_API_KEY={KEY}\n"));
    let ran = ran(command);
    assert_eq!((ran.code, lines(&ran).len()), (0, 2), "{}", ran.stderr);
}
