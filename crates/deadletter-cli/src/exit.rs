//! Exit codes: what a script may rely on.

use std::process::ExitCode;

/// How the program ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Everything that was asked was done.
    Good,
    /// It failed, or a part of it.
    Failed,
    /// The command line or the configuration is wrong.
    Usage,
    /// It finished, and some tasks are in the dead-letter queue.
    DeadTasks,
    /// The key is missing or upstream does not take it.
    Key,
    /// Upstream cannot be reached, or its breaker is open.
    Upstream,
    /// Stopped by ctrl-C or a signal; what was accepted is kept.
    Interrupted,
}

impl Exit {
    /// Every way to end, in the order of the documentation.
    pub(crate) const ALL: &'static [Self] = &[
        Self::Good,
        Self::Failed,
        Self::Usage,
        Self::DeadTasks,
        Self::Key,
        Self::Upstream,
        Self::Interrupted,
    ];

    /// The number that the shell sees.
    pub(crate) const fn code(self) -> u8 {
        match self {
            Self::Good => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::DeadTasks => 3,
            Self::Key => 4,
            Self::Upstream => 5,
            // 128 + SIGINT, as shells report it.
            Self::Interrupted => 130,
        }
    }

    /// For the help text.
    pub(crate) const fn meaning(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Failed => "failed, or a part of it (rejected rows, skipped tasks)",
            Self::Usage => "usage: the command line or the configuration is wrong",
            Self::DeadTasks => "finished, and some tasks are in the dead-letter queue",
            Self::Key => "the key is missing, or upstream refuses it",
            Self::Upstream => "upstream cannot be reached, or its breaker is open",
            Self::Interrupted => "interrupted; what was accepted is kept",
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}
