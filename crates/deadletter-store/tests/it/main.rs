//! The one suite: every case, run over every store and every wrapper, each a test of its own.
//!
//! `backends` lists the stores, `alike` asks several the same and compares what they say, `suite`
//! has the cases, `harness` what cases are written with.

// Helpers of tests are not seen as tests by the lints' own exceptions.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

mod alike;
mod backends;
mod cases;
mod check;
mod cost;
mod harness;
mod line;
mod moves;
mod postgres_crowd;
mod postgres_partitions;
mod postgres_plans;
mod postgres_server;
mod redis_cluster;
mod redis_loss;
mod redis_prefix;
mod redis_server;
mod redis_settings;
mod server;
mod sqlite_file;
mod sqlite_workers;
#[macro_use]
mod suite;
mod wrappers;

conformance! {
    lost when closed: memory traced faulty twins,
    durable: sqlite postgres pooled redis cluster
}
