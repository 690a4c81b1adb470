//! The binary with a simulated upstream and a store on a disk that is about to fail.

use crate::mount::Disk;
use deadletter::store::{Clock, SystemClock};
use deadletter_sim::{DEFAULT_KEY, Scenario, Simulator};
use serde_json::Value;
use std::{
    os::unix::process::CommandExt,
    path::PathBuf,
    process::{Child, Command, Output, Stdio},
    sync::mpsc::channel,
    time::Duration,
};
use tempfile::TempDir;
use tokio::runtime::Runtime;

/// Both clocks run so many times faster than the wall's.
const SPEED: f64 = 60.0;
/// A run takes a few seconds, and some more where it is patient with its store.
const LONGEST_LIFE: Duration = Duration::from_secs(120);
/// Room for a few hundred tasks.
const ROOMY_KIB: u32 = 32 << 10;

/// A folder, a disk in it, and an upstream.
pub(crate) struct Scene {
    // The disk goes before the folder that it lies in.
    pub(crate) disk: Disk,
    pub(crate) simulator: Simulator,
    dir: TempDir,
    runtime: Runtime,
    anchor: i64,
}

/// What a run of the binary left behind.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Scene {
    /// Jobs take a while; the disk is roomy.
    pub(crate) fn new() -> Self {
        Self::on(ROOMY_KIB)
    }

    /// The same on a disk of that size.
    pub(crate) fn on(kib: u32) -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let disk = Disk::mount(&dir.path().join("disk"), kib);
        let runtime = Runtime::new().expect("a runtime");
        let scenario = Scenario::default().solve_ms(20_000).speed(SPEED);
        let simulator = runtime.block_on(Simulator::start(scenario)).expect("a free port");
        Self { disk, simulator, dir, runtime, anchor: SystemClock.now().0 }
    }

    /// A path beside the disk.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The store's file, or what lies beside it by its suffix.
    pub(crate) fn store(&self, suffix: &str) -> PathBuf {
        self.disk.path().join(format!("tasks.db{suffix}"))
    }

    /// The binary, or another program that is given the binary's place, with the scene's variables.
    pub(crate) fn program(&self, program: &str, args: &[&str]) -> Command {
        let base = self.simulator.base_url();
        let mut command = Command::new(program);
        command
            .args(args)
            .current_dir(self.dir.path())
            .env_clear()
            .env("HOME", self.dir.path())
            .env("TMPDIR", self.dir.path())
            .env("PATH", "/usr/local/bin:/usr/bin:/bin")
            .env("CAPTCHAAI_API_KEY", DEFAULT_KEY)
            .env("CAPTCHAAI_SUBMIT_ENDPOINT", format!("{base}/in.php"))
            .env("CAPTCHAAI_RESULT_ENDPOINT", format!("{base}/res.php"))
            .env("DEADLETTER_STORE", format!("sqlite:{}", self.store("").display()))
            .env("DEADLETTER_TIME_SCALE", format!("{SPEED}@{}", self.anchor));
        command
    }

    pub(crate) fn command(&self, args: &[&str]) -> Command {
        self.program(env!("CARGO_BIN_EXE_deadletter"), args)
    }

    pub(crate) fn run(&self, args: &[&str]) -> Ran {
        ended(self.start(self.command(args)))
    }

    /// Runs what must go well.
    pub(crate) fn good(&self, args: &[&str]) -> Ran {
        let ran = self.run(args);
        assert_eq!(ran.code, 0, "{args:?}: {}", ran.stderr);
        ran
    }

    /// Starts what is to meet a fault on its way, in a process group of its own.
    pub(crate) fn start(&self, mut command: Command) -> Child {
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
        command.spawn().expect("the binary starts")
    }

    /// Waits until upstream was paid for `n` jobs.
    pub(crate) fn until_paid(&self, n: u64) {
        self.runtime.block_on(self.simulator.until(|stats| stats.paid >= n));
    }

    /// A file of `n` tasks to run.
    pub(crate) fn rows(&self, n: usize) {
        let rows = (0..n).map(|i| format!("6Le-good,https://a.example/{i}\n"));
        let text: String = std::iter::once("sitekey,url\n".to_owned()).chain(rows).collect();
        std::fs::write(self.path("tasks.csv"), text).expect("written");
    }

    /// `n` dead letters, as a file to import.
    pub(crate) fn letters(&self, name: &str, n: usize) -> String {
        let entry = |i| {
            serde_json::json!({"sitekey": name, "page_url": format!("https://{name}.example/{i}"),
                "error": "Task 1 timed out", "attempts": 4, "timestamp": 1_800_000_000 + i})
        };
        let list: Vec<Value> = (0..n).map(entry).collect();
        let path = self.path(name);
        std::fs::write(&path, Value::from(list).to_string()).expect("written");
        path.display().to_string()
    }

    /// How many tasks stand, by the store's own count of its rows.
    pub(crate) fn standing(&self) -> i64 {
        let sql = "SELECT count(*) AS n FROM tasks";
        lines(&self.good(&["query", sql]))[0]["n"].as_i64().expect("a number")
    }

    /// Each promise of every task holds, and submits on the wire stay within the intents.
    pub(crate) fn assert_whole(&self) {
        let check = self.run(&["store", "check"]);
        assert_eq!(check.code, 0, "{}\n{}", check.stdout, check.stderr);
        let sql = "SELECT coalesce(sum(submits), 0) AS n FROM tasks";
        let intents = lines(&self.good(&["query", sql]))[0]["n"].as_u64().expect("a number");
        let paid = self.simulator.stats().paid;
        assert!(paid <= intents, "{paid} submits were paid for, and {intents} were written down");
    }
}

/// The end of a child; one that never comes to it is ended, and its test fails.
pub(crate) fn ended(child: Child) -> Ran {
    let id = child.id().to_string();
    let (tell, ended) = channel();
    // Ends with the child, which is ended below if need be.
    std::thread::spawn(move || tell.send(child.wait_with_output()));
    match ended.recv_timeout(LONGEST_LIFE) {
        Ok(output) => ran(output.expect("it ends")),
        Err(_) => {
            // Its whole group: under strace it has a child of its own.
            let killed = Command::new("kill").args(["-KILL", "--", &format!("-{id}")]).status();
            panic!("it hung for {LONGEST_LIFE:?}, and was killed: {killed:?}");
        }
    }
}

fn ran(output: Output) -> Ran {
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
    let ran = Ran {
        code: output.status.code().expect("it was not killed"),
        stdout: text(output.stdout),
        stderr: text(output.stderr),
    };
    assert!(!ran.stderr.contains("panicked"), "{}", ran.stderr);
    ran
}

impl Ran {
    /// It failed with a word of what happened, the file that it happened to, and what to do.
    pub(crate) fn assert_told(&self, code: i32, word: &str) {
        assert_eq!(self.code, code, "{}", self.stderr);
        assert!(self.stderr.contains(".db"), "no file in: {}", self.stderr);
        assert!(self.stderr.contains(word), "no {word:?} in: {}", self.stderr);
        assert!(self.stderr.contains("fix: "), "no advice in: {}", self.stderr);
    }
}

/// The JSON documents on standard output.
pub(crate) fn lines(ran: &Ran) -> Vec<Value> {
    let line = |line: &str| serde_json::from_str(line).expect("one JSON document a line");
    ran.stdout.lines().map(line).collect()
}
