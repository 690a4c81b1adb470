//! What the process was started with: variables and directories, read once and passed in.

use std::{collections::BTreeMap, path::PathBuf};

/// Variables and the current directory.
#[derive(Clone, Debug, Default)]
pub(crate) struct Environment {
    variables: BTreeMap<String, String>,
    /// Where relative paths begin.
    pub(crate) current_dir: PathBuf,
}

impl Environment {
    /// Of this process; variables that are not UTF-8 are left out.
    pub(crate) fn of_process() -> Self {
        let variables = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect();
        Self { variables, current_dir: std::env::current_dir().unwrap_or_default() }
    }

    /// Of a test.
    #[cfg(test)]
    pub(crate) fn of(variables: &[(&str, &str)], current_dir: impl Into<PathBuf>) -> Self {
        let variables =
            variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Self { variables: variables.collect(), current_dir: current_dir.into() }
    }

    /// A variable that is set and not empty.
    pub(crate) fn variable(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// True where a variable is set, be it empty.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.variables.contains_key(name)
    }

    /// Names of the variables that begin with `prefix`.
    pub(crate) fn names(&self, prefix: &str) -> impl Iterator<Item = &str> {
        self.variables.keys().map(String::as_str).filter(move |name| name.starts_with(prefix))
    }

    /// The directory of our configuration after the XDG specification.
    pub(crate) fn config_dir(&self) -> Option<PathBuf> {
        self.xdg("XDG_CONFIG_HOME", ".config")
    }

    /// The directory of our data after the XDG specification.
    pub(crate) fn data_dir(&self) -> Option<PathBuf> {
        self.xdg("XDG_DATA_HOME", ".local/share")
    }

    fn xdg(&self, variable: &str, below_home: &str) -> Option<PathBuf> {
        // The specification says that a relative path is to be ignored.
        let base = self.variable(variable).map(PathBuf::from).filter(|path| path.is_absolute());
        let base = base.or_else(|| Some(PathBuf::from(self.variable("HOME")?).join(below_home)))?;
        Some(base.join("deadletter"))
    }
}
