//! A worker of the demo: a process of this very program, as an operator would start it.

use crate::{
    app::App,
    config::TIME_SCALE_VARIABLE,
    fault::{Fault, Result},
};
use deadletter::core::{TaskId, WorkerId};
use deadletter_sim::DEFAULT_KEY;
use rustix::process::{Pid, Signal, kill_process};
use std::{collections::BTreeSet, path::Path, process::Stdio, time::Duration};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, ChildStdout, Command},
};

/// A worker that does not say where it listens by then has not started.
const START_MAX: Duration = Duration::from_secs(30);
/// What is on the wire ends sooner; whoever hangs is killed.
const STOP_MAX: Duration = Duration::from_secs(20);
/// Variables that a worker needs from whoever started the demo: where PostgreSQL's passwords are.
const KEPT: [&str; 3] = ["HOME", "PGPASSFILE", "PATH"];

/// What all workers of a demo have in common.
pub(super) struct Stage<'a> {
    /// Configuration and logs lie there.
    pub(super) dir: &'a Path,
    /// The store's URL, with its password: it goes by a variable, which no list of processes shows.
    pub(super) store: &'a str,
    /// The simulated upstream.
    pub(super) upstream: &'a str,
    /// How fast time runs, and since when.
    pub(super) time_scale: String,
}

/// How a worker's part in the story ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// Somebody killed it, or it fell over.
    Gone,
    /// It was frozen, or cut off, until the store declared it dead.
    DeclaredDead,
}

impl End {
    pub(super) const fn label(self) -> &'static str {
        match self {
            Self::Gone => "killed",
            Self::DeclaredDead => "declared dead",
        }
    }
}

/// One worker.
pub(super) struct Worker {
    pub(super) pid: u32,
    /// Where its gateway listens.
    pub(super) url: String,
    /// What the store calls it: one id, and another each time that it begins anew.
    pub(super) ids: BTreeSet<WorkerId>,
    pub(super) end: Option<End>,
    /// What it held when it ended.
    pub(super) held: Vec<TaskId>,
    child: Child,
    /// Kept open, so that nothing that it prints fails.
    _out: BufReader<ChildStdout>,
}

impl Worker {
    /// Starts the `n`th, and waits until it listens. It ends with this value.
    pub(super) async fn start(app: &App, stage: &Stage<'_>, n: usize) -> Result<Self> {
        let cannot = |error: std::io::Error| {
            Fault::failed(format!("worker {n} of the demo does not start")).because(error)
        };
        let program = std::env::current_exe().map_err(cannot)?;
        let log = std::fs::File::create(stage.dir.join(format!("worker-{n}.log")));
        let kept = KEPT.iter().filter_map(|name| Some((*name, app.environment.variable(name)?)));
        let mut child = Command::new(program)
            .args(["serve", "--listen", "127.0.0.1:0", "--config", "demo.toml"])
            .current_dir(stage.dir)
            .env_clear()
            .envs(kept)
            .env("CAPTCHAAI_API_KEY", DEFAULT_KEY)
            .env("CAPTCHAAI_SUBMIT_ENDPOINT", format!("{}/in.php", stage.upstream))
            .env("CAPTCHAAI_RESULT_ENDPOINT", format!("{}/res.php", stage.upstream))
            .env("DEADLETTER_STORE", stage.store)
            .env(TIME_SCALE_VARIABLE, &stage.time_scale)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log.map_err(cannot)?)
            .kill_on_drop(true)
            .spawn()
            .map_err(cannot)?;
        let piped =
            child.stdout.take().ok_or_else(|| cannot(std::io::ErrorKind::BrokenPipe.into()));
        let mut out = BufReader::new(piped?);
        let mut url = String::new();
        let listens = tokio::time::timeout(START_MAX, out.read_line(&mut url)).await;
        let listens = listens.map_err(|_| cannot(std::io::ErrorKind::TimedOut.into()))?;
        let pid = child.id().unwrap_or_default();
        if listens.map_err(cannot)? == 0 {
            let said = std::fs::read_to_string(stage.dir.join(format!("worker-{n}.log")));
            return Err(cannot(std::io::ErrorKind::UnexpectedEof.into())
                .why(said.unwrap_or_default().trim()));
        }
        let url = url.trim().to_owned();
        Ok(Self { pid, url, ids: BTreeSet::new(), end: None, held: Vec::new(), child, _out: out })
    }

    /// True where its process has ended.
    pub(super) fn is_gone(&mut self) -> bool {
        !matches!(self.child.try_wait(), Ok(None))
    }

    /// Asks it to end, as ctrl-C does, and waits until it has.
    pub(super) async fn stop(&mut self) {
        if self.is_gone() {
            return;
        }
        let pid = i32::try_from(self.pid).ok().and_then(Pid::from_raw);
        let is_asked = pid.is_some_and(|pid| kill_process(pid, Signal::INT).is_ok());
        let ended = tokio::time::timeout(STOP_MAX, self.child.wait()).await;
        if !is_asked || ended.is_err() {
            tracing::warn!(pid = self.pid, "a worker of the demo does not end; it is killed");
            self.child.kill().await.unwrap_or_default();
        }
    }
}
