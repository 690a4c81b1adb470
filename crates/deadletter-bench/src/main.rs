//! The binary `deadletter-bench`: measures what the speed table asks for, and prints it.

use std::process::ExitCode;

/// The allocator that the released program has, too.
#[cfg(not(debug_assertions))]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    deadletter_bench::cli::start()
}
