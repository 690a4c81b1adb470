//! The simulator as its clients see it: over real sockets.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "clippy lets these pass in test functions, but not in the functions that tests share"
)]

mod accounts;
mod admin;
mod client;
mod family;
mod faults;
mod happy;
mod outages;
mod record;
mod scenarios;
