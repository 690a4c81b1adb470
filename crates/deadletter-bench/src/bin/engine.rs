//! The binary `deadletter-bench-engine`: what a task in flight weighs in the engine.

use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};
use std::{alloc::System, process::ExitCode};

/// Counts what is allocated and freed. What SQLite allocates for itself is not among it.
#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

fn main() -> ExitCode {
    deadletter_bench::engine::start(|| {
        let stats = ALLOCATOR.stats();
        stats.bytes_allocated.saturating_sub(stats.bytes_deallocated)
    })
}
