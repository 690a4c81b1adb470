//! The binary's one error: what failed, why, and what the reader can do about it.

use crate::exit::Exit;
use std::{fmt::Display, io};

/// What a command ends with when it cannot go on.
#[derive(Debug)]
pub(crate) struct Fault {
    /// The exit code.
    pub(crate) exit: Exit,
    /// What failed, in one sentence.
    pub(crate) what: String,
    /// The cause, with its own causes.
    pub(crate) why: Option<anyhow::Error>,
    /// What to do.
    pub(crate) fix: Option<String>,
    /// Nobody reads any more: end without a word.
    pub(crate) quiet: bool,
}

/// A command's result.
pub(crate) type Result<T, E = Fault> = std::result::Result<T, E>;

impl Fault {
    /// A fault that ends with `exit`.
    pub(crate) fn new(exit: Exit, what: impl Into<String>) -> Self {
        Self { exit, what: what.into(), why: None, fix: None, quiet: false }
    }

    /// Something failed while the command did its work.
    pub(crate) fn failed(what: impl Into<String>) -> Self {
        Self::new(Exit::Failed, what)
    }

    /// The command line or the configuration is wrong.
    pub(crate) fn usage(what: impl Into<String>) -> Self {
        Self::new(Exit::Usage, what)
    }

    /// The same fault with its cause.
    pub(crate) fn because(mut self, why: impl Into<anyhow::Error>) -> Self {
        self.why = Some(why.into());
        self
    }

    /// The same fault with its cause in words.
    pub(crate) fn why(mut self, why: impl Display) -> Self {
        self.why = Some(anyhow::anyhow!("{why}"));
        self
    }

    /// The same fault with advice.
    pub(crate) fn fix(mut self, fix: impl Into<String>) -> Self {
        self.fix = Some(fix.into());
        self
    }

    /// A failed write to standard output: quiet where the reader has gone.
    pub(crate) fn of_output(error: io::Error) -> Self {
        let quiet = error.kind() == io::ErrorKind::BrokenPipe;
        let exit = if quiet { Exit::Good } else { Exit::Failed };
        Self { quiet, exit, ..Self::failed("cannot write the output").because(error) }
    }

    /// The lines that people read, without colour.
    pub(crate) fn lines(&self) -> Vec<(&'static str, String)> {
        let mut lines = vec![("error", self.what.clone())];
        lines.extend(self.why.as_ref().map(|why| ("why", format!("{why:#}"))));
        lines.extend(self.fix.clone().map(|fix| ("fix", fix)));
        lines
    }
}
