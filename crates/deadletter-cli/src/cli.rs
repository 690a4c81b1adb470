//! The command line: options that every command has, and the table of commands.

use crate::{commands::Command, exit::Exit};
use clap::{Args, Parser};
use deadletter::core::filter::Key;
use std::{ffi::OsString, fmt::Write as _, path::PathBuf};

/// Keeps every submit-then-poll task until it is solved, or until you give up on it.
#[derive(Debug, Parser)]
#[command(
    name = "deadletter",
    version,
    before_help = "Examples:\n  deadletter demo\n  deadletter run tasks.csv",
    after_help = after_help(),
    disable_help_subcommand = true,
    arg_required_else_help = true,
    max_term_width = 100
)]
pub(crate) struct Cli {
    /// For every command.
    #[command(flatten)]
    pub(crate) global: Global,
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Options that every command takes.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Options of every command")]
pub(crate) struct Global {
    /// Configuration file [default: ./deadletter.toml, then the XDG configuration path]
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Where tasks are kept: sqlite:PATH, postgres://USER:PASSWORD@HOST/DATABASE,
    /// redis://USER:PASSWORD@HOST or memory:
    #[arg(long, global = true, value_name = "URL")]
    pub(crate) store: Option<String>,
    /// JSON lines on standard output, on a terminal too
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Nothing on standard error but errors
    #[arg(long, short, global = true)]
    pub(crate) quiet: bool,
    /// Log to standard error; twice for more
    #[arg(long, short, global = true, action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,
    /// How log lines are written
    #[arg(long, global = true, value_name = "FORMAT", default_value_t, value_enum)]
    pub(crate) log_format: LogFormat,
}

/// How log lines are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum LogFormat {
    /// For people
    #[default]
    Text,
    /// One JSON object a line, for programs
    Json,
}

/// A term of a filter may begin with a dash, as in `-batch:nightly`, and would be taken for a row
/// of short options: a space before it says what it is.
pub(crate) fn as_term(word: OsString) -> OsString {
    let key = word.to_str().and_then(|word| word.strip_prefix('-')?.split_once(':'));
    if key.is_some_and(|(key, _)| key.parse::<Key>().is_ok()) {
        let mut term = OsString::from(" ");
        term.push(word);
        return term;
    }
    word
}

fn after_help() -> String {
    let mut text = "Exit codes:\n".to_owned();
    for exit in Exit::ALL {
        // Writing to a String cannot fail.
        writeln!(text, "  {:>3}  {}", exit.code(), exit.meaning()).unwrap_or_default();
    }
    text.push_str(
        "\nThe key comes from CAPTCHAAI_API_KEY, from .env in the working directory or from a key\n\
         file, never from an argument.\n\
         For systems that you own or may test.",
    );
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_table_of_commands_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_term_that_begins_with_a_dash_is_no_option() {
        for (word, expected) in [
            ("-batch:x", " -batch:x"),
            ("-age:<1h", " -age:<1h"),
            ("--limit", "--limit"),
            ("-q", "-q"),
            ("-x:y", "-x:y"),
            ("batch:x", "batch:x"),
        ] {
            assert_eq!(as_term(word.into()), OsString::from(expected), "{word}");
        }
    }

    #[test]
    fn each_help_text_opens_with_two_examples_that_parse() {
        let mut commands = vec![Cli::command()];
        while let Some(command) = commands.pop() {
            commands.extend(command.get_subcommands().cloned());
            let name = command.get_name().to_owned();
            let opening = command.get_before_help().map(ToString::to_string).unwrap_or_default();
            let examples: Vec<_> =
                opening.lines().map(str::trim).filter(|l| l.starts_with("deadletter ")).collect();
            assert!(examples.len() >= 2, "{name} has {} examples", examples.len());
            for example in examples {
                // What stands behind > is the shell's.
                let words = shlex::split(example).expect("quotes are closed");
                let words = words.split(|word| word == ">").next().expect("a command");
                assert!(Cli::try_parse_from(words).is_ok(), "{name}: {example:?} does not parse");
            }
        }
    }
}
