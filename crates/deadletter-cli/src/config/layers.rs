//! Every value with its origin: flags over environment over file over defaults.

use super::{
    Environment,
    dotenv::Variables,
    file, key, ledger, passfile,
    table::{KEY_VARIABLE, OTHER_VARIABLES, SETTINGS, TIME_SCALE_VARIABLE, nearest},
};
use crate::fault::Result;
use std::{collections::BTreeMap, fmt, path::PathBuf};

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// Nobody set it.
    Default,
    /// A line of a file.
    File {
        /// The file.
        path: PathBuf,
        /// From 1.
        line: usize,
    },
    /// A variable.
    Variable(String),
    /// A line of `.env` in the working directory.
    EnvFile {
        /// From 1.
        line: usize,
    },
    /// A flag of the command line.
    Flag(&'static str),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File { path, line } => write!(f, "{}:{line}", path.display()),
            Self::Variable(name) => f.write_str(name),
            Self::EnvFile { line } => write!(f, ".env:{line}"),
            Self::Flag(name) => f.write_str(name),
        }
    }
}

/// A value as it was written, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Sourced {
    /// As it was written.
    pub(crate) raw: String,
    /// Where.
    pub(crate) origin: Origin,
}

/// What the command line sets.
#[derive(Clone, Debug, Default)]
pub(crate) struct Flags {
    /// `--config`.
    pub(crate) config: Option<PathBuf>,
    /// Setting, flag, value.
    pub(crate) values: Vec<(&'static str, &'static str, String)>,
}

/// All values, and what is worth a remark.
#[derive(Clone, Debug, Default)]
pub(crate) struct Layers {
    /// The file that was read.
    pub(crate) file: Option<PathBuf>,
    /// By setting.
    pub(crate) values: BTreeMap<String, Sourced>,
    /// Variables that look like ours and are not.
    pub(crate) remarks: Vec<String>,
    /// The parameter that names a folder for submits to the store, where its URL does not.
    pub(crate) ledger: Option<String>,
    /// The time scale of tests.
    pub(crate) time_scale: Option<String>,
}

impl Layers {
    /// A setting's value.
    pub(crate) fn get(&self, key: &str) -> Option<&Sourced> {
        self.values.get(key)
    }

    /// The entries of an open table, by their own key.
    pub(crate) fn entries<'a>(
        &'a self,
        table: &'a str,
    ) -> impl Iterator<Item = (&'a str, &'a Sourced)> {
        self.values.iter().filter_map(move |(key, value)| {
            Some((key.strip_prefix(table)?.strip_prefix('.')?, value))
        })
    }
}

/// Reads all layers.
pub(crate) fn load(environment: &Environment, flags: &Flags) -> Result<Layers> {
    let mut layers =
        Layers { file: file::find(environment, flags.config.as_deref())?, ..Layers::default() };
    layers.defaults(environment);
    if let Some(path) = &layers.file {
        let values = file::read(path)?;
        // A key that lies open is one, whether or not it is the one that is used.
        if values.iter().any(|(key, _)| key == "account.key") {
            key::private(path, "a configuration that holds a key")?;
        }
        layers.values.extend(values);
    }
    let variables = Variables::read(environment)?;
    layers.variables(&variables);
    layers.refuse_open_key(&variables)?;
    for (key, flag, raw) in &flags.values {
        let value = Sourced { raw: raw.clone(), origin: Origin::Flag(flag) };
        layers.values.insert((*key).to_owned(), value);
    }
    if let Some(store) = layers.values.get_mut("store") {
        store.raw = passfile::complete(environment, &store.raw);
        layers.ledger = ledger::parameter(environment, &store.raw);
    }
    layers.time_scale = variables.get(TIME_SCALE_VARIABLE).map(|value| value.raw);
    Ok(layers)
}

impl Layers {
    fn defaults(&mut self, environment: &Environment) {
        let mut set = |key: &str, raw: String| {
            self.values.insert(key.to_owned(), Sourced { raw, origin: Origin::Default });
        };
        for setting in SETTINGS {
            if let Some(default) = setting.default {
                set(setting.key, default.to_owned());
            }
        }
        if let Some(dir) = environment.data_dir() {
            set("store", format!("sqlite:{}", dir.join("deadletter.db").display()));
        }
    }

    fn variables(&mut self, variables: &Variables<'_>) {
        for setting in SETTINGS {
            let Some(name) = setting.variable else { continue };
            let value = variables.get(name);
            self.values.extend(value.map(|value| (setting.key.to_owned(), value)));
        }
        let key_variable = self.get("account.key_env").map(|value| value.raw.clone());
        if let Some(name) = key_variable
            && let Some(value) = variables.get(&name)
        {
            self.values.insert("account.key".to_owned(), value);
        }
        let ours: Vec<_> = SETTINGS
            .iter()
            .filter_map(|setting| setting.variable)
            .chain(OTHER_VARIABLES.iter().copied())
            .collect();
        let unknown =
            variables.names("DEADLETTER_").into_iter().filter(|name| !ours.contains(name));
        for name in unknown {
            let meant = nearest(name, ours.iter().copied())
                .map_or(String::new(), |near| format!("; did you mean {near}?"));
            self.remarks.push(format!("the variable {name} sets nothing{meant}"));
        }
    }
}

impl Layers {
    /// A key in a `.env` that others can read, whether or not it is the one that is used.
    fn refuse_open_key(&self, variables: &Variables<'_>) -> Result<()> {
        let key_env = self.get("account.key_env").map(|value| value.raw.as_str());
        let mut names = key_env.into_iter().chain([KEY_VARIABLE]);
        match &variables.dotenv.path {
            Some(path) if names.any(|name| variables.dotenv.get(name).is_some()) => {
                key::private(path, "a .env that holds a key")
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_win_over_variables_over_the_file_over_defaults() {
        let dir = tempfile::tempdir().expect("a directory");
        std::fs::write(
            dir.path().join("deadletter.toml"),
            "store = \"memory:\"\n[account]\nthreads = 2\nname = \"file\"\n",
        )
        .expect("written");
        let environment = Environment::of(
            &[("DEADLETTER_ACCOUNT", "variable"), ("DEADLETTER_THREADS", "4")],
            dir.path(),
        );
        let flags = Flags {
            config: None,
            values: vec![("account.threads", "--concurrency", "6".to_owned())],
        };
        let layers = load(&environment, &flags).expect("valid");
        let seen = |key| {
            let value = layers.get(key).expect("set");
            (value.raw.clone(), value.origin.to_string())
        };
        assert_eq!(seen("account.threads"), ("6".to_owned(), "--concurrency".to_owned()));
        assert_eq!(seen("account.name"), ("variable".to_owned(), "DEADLETTER_ACCOUNT".to_owned()));
        assert_eq!(seen("store").0, "memory:");
        assert!(seen("store").1.ends_with("deadletter.toml:1"));
        assert_eq!(seen("policy.on_doubt"), ("resubmit".to_owned(), "default".to_owned()));
    }

    #[test]
    fn the_xdg_file_is_read_where_the_directory_has_none() {
        let dir = tempfile::tempdir().expect("a directory");
        std::fs::create_dir(dir.path().join("deadletter")).expect("created");
        std::fs::write(dir.path().join("deadletter/deadletter.toml"), "store = \"memory:\"")
            .expect("written");
        let xdg = dir.path().to_str().expect("UTF-8");
        let environment = Environment::of(&[("XDG_CONFIG_HOME", xdg)], "/nowhere");
        let layers = load(&environment, &Flags::default()).expect("valid");
        assert_eq!(layers.get("store").map(|value| value.raw.as_str()), Some("memory:"));
    }

    #[test]
    fn the_key_is_read_from_the_variable_that_the_configuration_names() {
        let environment = Environment::of(
            &[("DEADLETTER_KEY_ENV", "MY_KEY"), ("MY_KEY", "abc"), ("CAPTCHAAI_API_KEY", "no")],
            "/nowhere",
        );
        let layers = load(&environment, &Flags::default()).expect("valid");
        assert_eq!(layers.get("account.key").map(|value| value.raw.as_str()), Some("abc"));
    }

    #[test]
    fn a_variable_that_sets_nothing_is_remarked_with_a_suggestion() {
        let environment = Environment::of(&[("DEADLETTER_THREAD", "4")], "/nowhere");
        let layers = load(&environment, &Flags::default()).expect("valid");
        assert_eq!(layers.remarks.len(), 1);
        assert!(layers.remarks[0].contains("DEADLETTER_THREADS"), "{:?}", layers.remarks);
    }
}
