//! One life of the program: started on the batch's folder, and ended by itself, by SIGKILL at an
//! instant, or at a named point of its own code.

use std::io::Read;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

const SIGKILL: i32 = 9;
/// What `abort` at a named point raises: like SIGKILL it runs no destructor and flushes nothing.
const SIGABRT: i32 = 6;
/// A life that goes on longer than this hangs. Whole batches take a few seconds.
pub(crate) const LONGEST_LIFE: Duration = Duration::from_secs(90);
/// How much of what a life said is kept: the end tells why it ended.
const LAST_WORDS: usize = 4_000;

/// How a life is meant to end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It finishes its work.
    Finish,
    /// SIGKILL after so long.
    Instant(Duration),
    /// It dies at the n-th passage of this point, or by SIGKILL where it never gets there.
    Point { name: &'static str, nth: u32, at_latest: Duration },
}

/// How a life ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// With this exit code.
    Exit(i32),
    /// By SIGKILL.
    Killed,
    /// At the named point.
    AtPoint(&'static str),
}

/// The program, and where it lives.
#[derive(Debug)]
pub(crate) struct Program {
    dir: PathBuf,
    variables: Vec<(String, String)>,
}

impl Program {
    /// The binary under test, with `dir` as its working folder, these variables and no others.
    pub(crate) fn new(dir: &Path, variables: &[(&str, &str)]) -> Self {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        Self { dir: dir.to_owned(), variables: variables.iter().map(owned).collect() }
    }

    /// Lives once; answers how it ended and its last words.
    pub(crate) fn live(&self, arguments: &[&str], fate: &Fate) -> std::io::Result<(End, String)> {
        // A companion of another command may live beside this one.
        let last_words = self.dir.join(format!("{}.log", arguments.first().unwrap_or(&"")));
        let mut command = Command::new(env!("CARGO_BIN_EXE_deadletter"));
        command.args(arguments).current_dir(&self.dir).env_clear();
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        if let Fate::Point { name, nth, .. } = fate {
            command.env("DEADLETTER_CRASH_AT", format!("{name}:{nth}"));
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        command.stderr(std::fs::File::create(&last_words)?);
        let mut child = command.spawn()?;
        let mut stdout = child.stdout.take().expect("standard output is piped");
        let (ended, end) = channel::<()>();
        // Ends with the child: its death closes the pipe.
        let reader = std::thread::spawn(move || {
            let mut bytes = Vec::new();
            let read = stdout.read_to_end(&mut bytes);
            drop(ended);
            read.map(|_| bytes)
        });
        let patience = match fate {
            Fate::Finish => LONGEST_LIFE,
            Fate::Instant(after) | Fate::Point { at_latest: after, .. } => *after,
        };
        if end.recv_timeout(patience) == Err(RecvTimeoutError::Timeout) {
            child.kill()?;
        }
        // Nothing is ever sent: the channel closes when the child is gone.
        end.recv().expect_err("the reader sends nothing");
        let status = child.wait()?;
        let said = reader.join().expect("the reader does not panic")?;
        let end = match (status.signal(), fate) {
            (None, _) => End::Exit(status.code().unwrap_or(-1)),
            (Some(SIGKILL), _) => End::Killed,
            (Some(SIGABRT), Fate::Point { name, .. }) => End::AtPoint(name),
            (Some(signal), _) => End::Exit(128 + signal),
        };
        let mut words = std::fs::read(&last_words)?;
        words.extend(said);
        let from = words.len().saturating_sub(LAST_WORDS);
        Ok((end, String::from_utf8_lossy(words.get(from..).unwrap_or_default()).into_owned()))
    }
}
