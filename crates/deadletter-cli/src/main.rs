//! The binary `deadletter`: starts the command line and hands its exit code to the shell.

mod ahead;
mod app;
mod cli;
mod commands;
mod config;
mod exit;
mod fault;
mod input;
mod letter;
mod number;
mod on_a_server;
mod output;
mod render;
mod shelf;
mod signals;
mod typed;
mod upstream;
mod work;

use std::process::ExitCode;

/// A tenth to a seventh faster where many share a flush (`deadletter-bench store --only inserts`).
/// Debug builds keep the system's allocator, which tools know.
#[cfg(not(debug_assertions))]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    app::start(std::env::args_os()).into()
}
