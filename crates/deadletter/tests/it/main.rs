//! The engine's integration tests.

mod engine;
mod rig;
