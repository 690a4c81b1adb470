//! The binary `deadletter-bench`: measures what the speed table asks for, and prints it.

use std::process::ExitCode;

fn main() -> ExitCode {
    deadletter_bench::cli::start()
}
