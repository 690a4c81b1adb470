//! A program of the user's that hears of each dead task.

use crate::fault::{Fault, Result};
use deadletter::core::Task;
use std::{process::Stdio, time::Duration};
use tokio::io::AsyncWriteExt;

/// A program that takes longer is ended: the run waits for it.
const PATIENCE: Duration = Duration::from_secs(30);

/// The program and its arguments.
pub(super) struct OnDead {
    program: String,
    args: Vec<String>,
}

impl OnDead {
    /// Words parted by spaces; quotes keep words together, nothing else is special.
    pub(super) fn parse(text: &str) -> Result<Self> {
        let words = shlex::split(text).unwrap_or_default();
        let mut words = words.into_iter();
        let program = words.next().ok_or_else(|| {
            Fault::usage("--on-dead names no program")
                .fix("write a program and its arguments; quotes keep words together")
        })?;
        Ok(Self { program, args: words.collect() })
    }

    /// Hands the task over on standard input, as one JSON document.
    pub(super) async fn tell(&self, task: &Task) -> Result<(), String> {
        let body = serde_json::to_vec(task).map_err(|error| error.to_string())?;
        let mut child = tokio::process::Command::new(&self.program)
            .args(&self.args)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| format!("cannot start {}: {error}", self.program))?;
        let handed = async {
            if let Some(mut stdin) = child.stdin.take() {
                // A program that does not read its input is none of our business.
                stdin.write_all(&body).await.unwrap_or_default();
            }
            child.wait().await
        };
        match tokio::time::timeout(PATIENCE, handed).await {
            Ok(Ok(status)) if status.success() => Ok(()),
            Ok(Ok(status)) => Err(format!("{} ended with {status}", self.program)),
            Ok(Err(error)) => Err(format!("{}: {error}", self.program)),
            Err(_) => Err(format!("{} took more than {} s", self.program, PATIENCE.as_secs())),
        }
    }
}
