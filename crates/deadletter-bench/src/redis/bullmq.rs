//! The server with BullMQ instead of us: jobs that are added, worked on and acknowledged.

use anyhow::{Context, Result, ensure};
use std::{
    path::{Path, PathBuf},
    process::{Command, Output},
};

const FILES: [(&str, &str); 3] = [
    ("package.json", include_str!("../../node/package.json")),
    ("bench.mjs", include_str!("../../node/bench.mjs")),
    ("erase.mjs", include_str!("../../node/erase.mjs")),
];

/// How many jobs its worker has in hand at once: of 8 to 1,024 it was fastest with these. With all 256
/// that are under way it does half as many a second, and jobs that are added in bulk, or worked on in
/// a process of their own, are no faster.
const WORKED_ON: [&str; 2] = ["96", "128"];

/// Its scripts with what they need, in a folder of their own.
pub(super) struct BullMq {
    folder: PathBuf,
}

impl BullMq {
    /// Installs it below `directory`, as npm is configured on this machine.
    pub(super) fn install(directory: &Path) -> Result<Self> {
        let folder = directory.join("bullmq");
        std::fs::create_dir(&folder)?;
        for (name, content) in FILES {
            std::fs::write(folder.join(name), content)?;
        }
        let mut npm = Command::new("npm");
        npm.args(["install", "--ignore-scripts", "--no-package-lock", "--no-audit", "--no-fund"]);
        run(npm.arg("--silent").current_dir(&folder))
            .context("BullMQ was not installed; install Node.js from 18 on with npm")?;
        Ok(Self { folder })
    }

    /// Lets so many jobs live; answers how many a second with the setting that served it best.
    pub(super) fn live(&self, url: &str, queue: &str, jobs: usize) -> Result<f64> {
        let rates = WORKED_ON.map(|at_once| self.live_with(url, queue, jobs, at_once));
        rates.into_iter().try_fold(0.0, |best, rate| Ok(rate?.max(best)))
    }

    fn live_with(&self, url: &str, queue: &str, jobs: usize, at_once: &str) -> Result<f64> {
        let (warm_up, jobs) = ((jobs / 10).to_string(), jobs.to_string());
        let mut node = Command::new("node");
        let queue = format!("{queue}-{at_once}");
        node.args(["bench.mjs", url, &queue, &jobs, &warm_up, at_once]).current_dir(&self.folder);
        let said = run(&mut node)?;
        let said = String::from_utf8_lossy(&said.stdout).trim().to_owned();
        said.parse().with_context(|| format!("the script says no rate: {said}"))
    }

    /// Deletes the keys that begin with `prefix`.
    pub(super) fn erase(&self, url: &str, prefix: &str) -> Result<()> {
        run(Command::new("node").args(["erase.mjs", url, prefix]).current_dir(&self.folder))?;
        Ok(())
    }
}

fn run(command: &mut Command) -> Result<Output> {
    let output = command.output().with_context(|| format!("cannot run {command:?}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{command:?} failed: {}", said.trim());
    Ok(output)
}
