//! A gateway, as a process that is killed, frozen and started again at the same port.

use super::signal;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};

/// A gateway at a port that it has again when it is started again.
pub(super) struct Gateway<'a> {
    dir: &'a Path,
    pub(super) address: String,
    variables: Vec<(&'static str, String)>,
    /// With its standard output, which is kept open.
    child: Option<(Child, BufReader<ChildStdout>)>,
}

impl<'a> Gateway<'a> {
    /// Starts it, and waits until it listens.
    pub(super) fn start(dir: &'a Path, variables: Vec<(&'static str, String)>) -> Self {
        let free = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
        let address = free.local_addr().expect("bound").to_string();
        drop(free);
        let mut gateway = Self { dir, address, variables, child: None };
        gateway.begin();
        gateway
    }

    /// Starts it where it was before.
    pub(super) fn begin(&mut self) {
        let log = std::fs::OpenOptions::new().create(true).append(true).open(self.log());
        let mut child = Command::new(env!("CARGO_BIN_EXE_deadletter"))
            .args(["serve", "--listen", &self.address, "--deadline", "1h"])
            .current_dir(self.dir)
            .env_clear()
            .envs(self.variables.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log.expect("the folder can be written"))
            .spawn()
            .expect("the program starts");
        let mut out = BufReader::new(child.stdout.take().expect("piped"));
        let mut line = String::new();
        out.read_line(&mut line).expect("it says where it listens");
        assert!(line.contains(&self.address), "it listens at {line:?}");
        self.child = Some((child, out));
    }

    /// Where it says what it has to say.
    pub(super) fn log(&self) -> PathBuf {
        let port = self.address.rsplit(':').next().unwrap_or_default();
        self.dir.join(format!("gateway-{port}.log"))
    }

    /// Sends it a signal.
    pub(super) fn signal(&self, name: &str) {
        signal(self.process(), name);
    }

    /// As `kill` takes it, and the store's workers are labelled.
    pub(super) fn process(&self) -> u32 {
        self.child.as_ref().expect("it runs").0.id()
    }

    /// Kills it, and waits until it is gone.
    pub(super) fn kill(&mut self) {
        self.signal("-KILL");
        self.ended();
    }

    /// Waits for its end, and tells its exit code.
    pub(super) fn ended(&mut self) -> Option<i32> {
        let (mut child, _) = self.child.take().expect("it runs");
        child.wait().expect("it ends").code()
    }
}

impl Drop for Gateway<'_> {
    fn drop(&mut self) {
        if let Some((mut child, _)) = self.child.take() {
            child.kill().and_then(|()| child.wait()).expect("it is ours");
        }
    }
}
