//! The engine's integration tests.
#![allow(clippy::panic, reason = "a test fails by panicking")]

mod engine;
mod rig;
