//! The binary `deadletter`: starts the command line and hands its exit code to the shell.

mod app;
mod cli;
mod commands;
mod config;
mod draft;
mod exit;
mod fault;
mod input;
mod letter;
mod output;
mod render;
mod shelf;
mod signals;
mod upstream;
mod work;

use std::process::ExitCode;

fn main() -> ExitCode {
    app::start(std::env::args_os()).into()
}
