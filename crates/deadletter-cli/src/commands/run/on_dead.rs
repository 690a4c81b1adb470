//! A program of the user's that hears of each dead task.

use crate::{
    app::App,
    fault::{Fault, Result},
    letter,
};
use deadletter::TaskFile;
use std::{process::Stdio, time::Duration};
use tokio::{io::AsyncWriteExt, process::Command, task::JoinSet};

/// A program that takes longer is ended: the run waits for it.
const PATIENCE: Duration = Duration::from_secs(30);
/// Programs at once; the next death waits for one of them.
const AT_ONCE: usize = 4;

/// The program and its arguments.
pub(super) struct OnDead {
    program: String,
    args: Vec<String>,
    /// The variable with the key, which is none of the program's business.
    key_env: String,
    /// Each ends by itself, within its patience.
    running: JoinSet<Result<(), String>>,
}

impl OnDead {
    /// Words parted by spaces; quotes keep words together, nothing else is special.
    pub(super) fn parse(text: &str, key_env: &str) -> Result<Self> {
        let words = shlex::split(text).unwrap_or_default();
        let mut words = words.into_iter();
        let program = words.next().ok_or_else(|| {
            Fault::usage("--on-dead names no program")
                .fix("write a program and its arguments; quotes keep words together")
        })?;
        let args = words.collect();
        Ok(Self { program, args, key_env: key_env.to_owned(), running: JoinSet::new() })
    }

    /// Hands the letter over on standard input, as one JSON document without its secrets.
    pub(super) async fn tell(&mut self, app: &App, file: &TaskFile) -> Result<()> {
        let body = serde_json::to_vec(&letter::document(file, false))
            .map_err(|error| Fault::failed("cannot write a letter as JSON").because(error))?;
        if self.running.len() >= AT_ONCE {
            self.join(app).await;
        }
        let mut command = Command::new(&self.program);
        command.args(&self.args).env_remove(&self.key_env);
        self.running.spawn(run(self.program.clone(), command, body));
        Ok(())
    }

    /// Waits for those that are still running.
    pub(super) async fn finish(&mut self, app: &App) {
        while !self.running.is_empty() {
            self.join(app).await;
        }
    }

    async fn join(&mut self, app: &App) {
        match self.running.join_next().await {
            Some(Ok(Err(error))) => app.out.warn(&format!("--on-dead: {error}")),
            Some(Err(error)) => app.out.warn(&format!("--on-dead broke off: {error}")),
            Some(Ok(Ok(()))) | None => {}
        }
    }
}

async fn run(program: String, mut command: Command, body: Vec<u8>) -> Result<(), String> {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| format!("cannot start {program}: {error}"))?;
    let handed = async {
        if let Some(mut stdin) = child.stdin.take() {
            // A program that does not read its input is none of our business.
            stdin.write_all(&body).await.unwrap_or_default();
        }
        child.wait().await
    };
    match tokio::time::timeout(PATIENCE, handed).await {
        Ok(Ok(status)) if status.success() => Ok(()),
        Ok(Ok(status)) => Err(format!("{program} ended with {status}")),
        Ok(Err(error)) => Err(format!("{program}: {error}")),
        Err(_) => Err(format!("{program} took more than {} s", PATIENCE.as_secs())),
    }
}
