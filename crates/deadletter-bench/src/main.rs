//! The binary `deadletter-bench`: measures what the speed table asks for, and prints it.

mod cli;
mod line;
mod output;
mod raw;
mod sample;
mod store;

use clap::Parser;
use std::process::ExitCode;

fn main() -> ExitCode {
    match cli::Cli::parse().run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            output::say(&format!("deadletter-bench: {error:#}"));
            ExitCode::FAILURE
        }
    }
}
