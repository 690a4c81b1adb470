//! The binary's one error: what failed, why, and what the reader can do about it.

use crate::exit::Exit;
use std::{fmt::Display, io, path::Path};

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
        lines.extend(self.why_text().map(|why| ("why", why)));
        let fix = self.fix.clone().unwrap_or_else(|| self.usual_fix().to_owned());
        lines.push(("fix", fix));
        lines
    }

    /// The cause in words, without what the first sentence has said already.
    pub(crate) fn why_text(&self) -> Option<String> {
        let why = self.why.as_ref().map(chain)?;
        let said = self.what.split(';').next().unwrap_or_default();
        let rest = why.strip_prefix(said).filter(|rest| rest.is_empty() || rest.starts_with(": "));
        let news = rest.map_or(why.as_str(), |rest| rest.trim_start_matches(": "));
        (!news.is_empty()).then(|| news.to_owned())
    }

    /// What helps where nothing better is known.
    const fn usual_fix(&self) -> &'static str {
        match self.exit {
            Exit::Usage => "`deadletter COMMAND --help` shows what it takes",
            Exit::Key => {
                "check the key and the plan; `deadletter config show` tells where the key is set"
            }
            Exit::Upstream => "try again later: everything that was accepted is kept",
            _ => "`deadletter doctor` looks for what is in the way; -v tells more of what is done",
        }
    }

    /// The same fault where the output went to a place that was named: a reader that leaves it
    /// has not got what was asked for.
    pub(crate) fn of_named_place(self, place: &Path) -> Self {
        if !self.quiet {
            return self;
        }
        let what = format!("the reader of {} went away before it had everything", place.display());
        Self { quiet: false, ..Self::failed(what) }
            .because_of(self.why)
            .fix("run it again with a reader that stays")
    }

    fn because_of(mut self, why: Option<anyhow::Error>) -> Self {
        self.why = why;
        self
    }
}

/// A cause with its own causes. One that is empty, or was told by the one before it, is left out.
fn chain(error: &anyhow::Error) -> String {
    let mut told: Vec<String> = Vec::new();
    for cause in error.chain() {
        let text = cause.to_string();
        let text = text.trim().trim_end_matches(':').trim_end();
        if !text.is_empty() && !told.iter().any(|before| before.ends_with(text)) {
            told.push(text.to_owned());
        }
    }
    told.join(": ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cause_without_words_leaves_no_empty_line() {
        let told = |error: anyhow::Error| Fault::failed("x").because(error).lines();
        let nested = anyhow::anyhow!("").context("the disk: ").context("cannot write: the disk");
        assert_eq!(told(nested)[1], ("why", "cannot write: the disk".to_owned()));
        let silent = anyhow::anyhow!("y").context("");
        assert_eq!(told(silent)[1], ("why", "y".to_owned()));
        let kinds = |error| told(error).into_iter().map(|(kind, _)| kind).collect::<Vec<_>>();
        assert_eq!(kinds(anyhow::anyhow!(" ")), ["error", "fix"]);
        assert_eq!(kinds(anyhow::anyhow!("y")), ["error", "why", "fix"]);
    }

    #[test]
    fn a_cause_does_not_say_again_what_failed() {
        let fault = |why: &str| Fault::failed("the store is damaged; nothing was changed").why(why);
        let told = |why: &str| fault(why).why_text();
        assert_eq!(told("the store is damaged: page 7").as_deref(), Some("page 7"));
        assert_eq!(told("the store is damaged"), None);
        assert_eq!(told("page 7").as_deref(), Some("page 7"));
    }

    #[test]
    fn every_fault_says_what_to_do() {
        for exit in Exit::ALL {
            assert!(!Fault::new(*exit, "x").lines()[1].1.is_empty(), "{exit:?}");
        }
    }
}
