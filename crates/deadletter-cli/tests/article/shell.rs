//! The binary, on a store of a test's own and with nothing of this machine's environment.

use deadletter_sim::DEFAULT_KEY;
use serde_json::Value;
use std::{path::Path, process::Command};

/// What a run left behind.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ran {
    /// The documents on standard output, one a line.
    pub(crate) fn documents(&self) -> Vec<Value> {
        self.stdout.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
    }
}

/// Runs `deadletter` in `directory` on the store in `tasks.db` there, with the upstream's key.
pub(crate) fn deadletter(directory: &Path, args: &[&str]) -> Ran {
    let mut command = Command::new(env!("CARGO_BIN_EXE_deadletter"));
    command.args(args).current_dir(directory).env_clear().env("HOME", directory);
    command.env("DEADLETTER_STORE", "sqlite:tasks.db").env("CAPTCHAAI_API_KEY", DEFAULT_KEY);
    let output = command.output().expect("the binary starts");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
    let (stdout, stderr) = (text(output.stdout), text(output.stderr));
    let ran = Ran { code: output.status.code(), stdout, stderr };
    assert!(!ran.stderr.contains("panicked"), "{ran:?}");
    ran
}
