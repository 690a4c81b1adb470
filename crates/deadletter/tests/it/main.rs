//! The engine's integration tests.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "clippy lets these pass in test functions, but not in the functions that tests share"
)]

mod acts;
mod breaker;
mod crash;
mod deliveries;
mod engine;
mod faults;
mod fleet;
mod holds;
mod ids;
mod limits;
mod operations;
mod provider;
mod quiet;
mod receiver;
mod record;
mod retention;
mod rig;
mod sim;
mod stopping;
