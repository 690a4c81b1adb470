//! Benchmarks of deadletter: ratios to what the same machine does without it, in the same run.
//!
//! Two binaries: one measures time, the other memory, since an allocator that counts is slow.

pub mod cli;
pub mod engine;
mod gateway;
mod line;
mod output;
mod postgres;
mod raw;
mod redis;
mod sample;
mod server;
mod store;
