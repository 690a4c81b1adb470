//! Which tasks an act is for, and who asks for it.

use crate::{
    app::App,
    exit::Exit,
    fault::{Fault, Result},
    render,
    shelf::filter_of,
};
use deadletter::{
    Deadletter,
    core::{Filter, TaskId},
};

/// Which tasks, and on whose word.
#[derive(Debug, clap::Args)]
pub(in crate::commands) struct Choice {
    /// Ids of tasks
    #[arg(value_name = "ID")]
    pub(super) ids: Vec<TaskId>,
    /// Which tasks
    #[arg(
        long = "where",
        value_name = "FILTER",
        allow_hyphen_values = true,
        conflicts_with = "ids"
    )]
    filter: Option<String>,
    /// Show what it would do, and change nothing
    #[arg(long)]
    pub(super) dry_run: bool,
    /// Tasks at most, oldest first
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = crate::number::from_0)]
    pub(super) limit: Option<u64>,
    /// Why, for the audit log
    #[arg(long, value_name = "TEXT")]
    pub(super) reason: Option<String>,
}

impl Choice {
    /// The filter of an act that is for whatever comes, too: not for a list, and not for some of them.
    pub(in crate::commands) fn open_ended(&self) -> Result<Option<Filter>> {
        match &self.filter {
            Some(text) if self.limit.is_none() => filter_of(std::slice::from_ref(text)),
            _ => Ok(None),
        }
    }

    /// True where nothing is to be changed.
    pub(in crate::commands) const fn is_dry_run(&self) -> bool {
        self.dry_run
    }

    /// Why, in the words of whoever asks for it.
    pub(in crate::commands) fn reason(&self) -> Option<&str> {
        self.reason.as_deref()
    }

    /// The filter, or an error with an example of the act.
    pub(super) fn filter(&self, example: &str) -> Result<Filter> {
        match &self.filter {
            Some(text) => Ok(filter_of(std::slice::from_ref(text))?.unwrap_or_default()),
            None => chosen_ids(&self.ids, example),
        }
    }
}

/// The tasks of these ids; at least one, or nothing says which tasks are meant.
pub(in crate::commands) fn chosen_ids(ids: &[TaskId], example: &str) -> Result<Filter> {
    if ids.is_empty() {
        return Err(Fault::usage("nothing says which tasks are meant")
            .fix(format!("name their ids, or a filter: deadletter {example}")));
    }
    Filter::ids(ids.iter().copied())
        .map_err(|error| Fault::usage("too many ids").because(error).fix("use --where"))
}

/// Who is at the command line, for the audit log.
pub(in crate::commands) fn who(app: &App) -> String {
    let user = ["USER", "LOGNAME"].into_iter().find_map(|name| app.environment.variable(name));
    user.map_or("command line".to_owned(), |user| format!("{user} at the command line"))
}

/// A mistyped id is no empty plan.
pub(in crate::commands) async fn refuse_unknown(engine: &Deadletter, ids: &[TaskId]) -> Result<()> {
    let found = engine.store().get(ids).await.map_err(crate::shelf::fault)?;
    let missing: Vec<_> = ids.iter().zip(&found).filter(|(_, task)| task.is_none()).collect();
    let Some(((first, _), others)) = missing.split_first() else { return Ok(()) };
    let more = if others.is_empty() {
        String::new()
    } else {
        format!(", nor {}", render::counted(others.len(), "other", "others"))
    };
    Err(Fault::failed(format!("there is no task {first}{more}; nothing was changed"))
        .fix("`deadletter list` shows the ids of the dead letters"))
}

/// How it ends where there is nothing to do: by name there should have been.
pub(in crate::commands) const fn nothing(choice: &Choice) -> Exit {
    if choice.ids.is_empty() { Exit::Good } else { Exit::Failed }
}
