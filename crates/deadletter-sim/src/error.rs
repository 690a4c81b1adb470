//! The errors of this crate, by meaning.

/// What can go wrong in setting up a simulator. Answers on the wire are never errors of this type.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No scenario has that name.
    #[error("no scenario is named `{name}`; there are: {known}")]
    UnknownScenario {
        /// The name that was asked for.
        name: String,
        /// All names, separated by commas.
        known: String,
    },
    /// The text is no scenario. The source's message names line, column and key.
    #[error("the scenario cannot be read: {0}")]
    Unreadable(#[source] Box<toml::de::Error>),
    /// The text is well formed, but asks for something impossible.
    #[error("the scenario cannot be played: {0}")]
    Impossible(String),
    /// The port could not be opened.
    #[error("cannot listen on 127.0.0.1 port {port}")]
    Listen {
        /// The port that was asked for; 0 means any.
        port: u16,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The request log file could not be opened.
    #[error("cannot open the request log {path}")]
    LogFile {
        /// The file as configured.
        path: String,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
}

/// Result with this crate's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;
