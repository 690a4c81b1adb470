//! What every test works with: the binary, in a directory and an environment of its own.

use std::{
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, ChildStderr, ChildStdout, Command, Output, Stdio},
    sync::mpsc::channel,
    thread,
    time::Duration,
};
use tempfile::TempDir;

/// The simulator's key: what must never be seen in any output.
pub(crate) const KEY: &str = "51300000000000000000000000000key";

/// Whoever is waited for longer than this at a pipe does not come.
const PATIENCE: Duration = Duration::from_secs(60);

/// A directory that is home, configuration and data of one test.
#[derive(Debug)]
pub(crate) struct Bench {
    dir: TempDir,
}

/// What a run of the binary left behind.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Bench {
    pub(crate) fn new() -> Self {
        Self { dir: tempfile::tempdir().expect("a temporary directory") }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, text).expect("written");
        path
    }

    pub(crate) fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).expect("a file that was written")
    }

    /// The binary with nothing of this machine's environment.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_deadletter"));
        command.args(args).current_dir(self.dir.path()).env_clear().env("HOME", self.dir.path());
        command
    }

    pub(crate) fn run(&self, args: &[&str]) -> Ran {
        ran(self.command(args))
    }
}

/// Runs to the end; what no test may ever see is checked here, for all of them.
pub(crate) fn ran(mut command: Command) -> Ran {
    let output = command.output().expect("the binary starts");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
    let ran = Ran {
        code: output.status.code().expect("it was not killed"),
        stdout: text(output.stdout),
        stderr: text(output.stderr),
    };
    assert!(!ran.stderr.contains("panicked"), "{}", ran.stderr);
    ran
}

/// A line of standard output of a child that goes on.
pub(crate) fn first_line(child: &mut Child) -> (String, BufReader<ChildStdout>) {
    let mut out = BufReader::new(child.stdout.take().expect("piped"));
    let mut line = String::new();
    out.read_line(&mut line).expect("a line");
    (line, out)
}

/// Starts a child that is to be stopped by a signal.
pub(crate) fn started(mut command: Command) -> Child {
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the binary starts")
}

/// What `act` finds at the other end of a pipe that `child` is to come to; ends the child where it
/// does not come.
pub(crate) fn at_pipe<T: Send + 'static>(
    child: &Child,
    act: impl FnOnce() -> T + Send + 'static,
) -> T {
    let (done, end) = channel();
    // Ends with `act`, or with the tests where nobody ever comes.
    thread::spawn(move || done.send(act()));
    end.recv_timeout(PATIENCE).unwrap_or_else(|_| {
        signal(child.id(), "-KILL");
        panic!("nobody came to the pipe")
    })
}

/// The rest of what a child says once it has said `word`; ends the child where it never does.
pub(crate) fn once_said(child: &mut Child, word: &'static str) -> BufReader<ChildStderr> {
    said_after(child, word).1
}

/// The same, with what follows `word` in its line.
pub(crate) fn said_after(
    child: &mut Child,
    word: &'static str,
) -> (String, BufReader<ChildStderr>) {
    let mut said = BufReader::new(child.stderr.take().expect("piped"));
    let heard = at_pipe(child, move || {
        let mut all = String::new();
        loop {
            let mut line = String::new();
            if said.read_line(&mut line).expect("text") == 0 {
                return Err(all);
            }
            if let Some((_, behind)) = line.split_once(word) {
                return Ok((behind.trim().to_owned(), said));
            }
            all.push_str(&line);
        }
    });
    heard.unwrap_or_else(|said| panic!("it has ended without {word:?}: {said}"))
}

/// Waits for the end of a child that somebody else might keep from it.
pub(crate) fn ended(child: Child) -> Output {
    let id = child.id();
    let (done, end) = channel();
    // Ends with the child.
    thread::spawn(move || done.send(child.wait_with_output()));
    let output = end.recv_timeout(PATIENCE).unwrap_or_else(|_| {
        signal(id, "-KILL");
        panic!("it does not end")
    });
    output.expect("it ends")
}

/// Sends the signal of ctrl-C.
pub(crate) fn interrupt(child: &Child) {
    signal(child.id(), "-INT");
}

fn signal(process: u32, name: &str) {
    let sent = Command::new("kill").args([name, &process.to_string()]).status();
    assert!(sent.expect("kill exists").success());
}

/// Makes `path` private to its owner, or not.
pub(crate) fn set_mode(path: &Path, mode: u32) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("set");
}
