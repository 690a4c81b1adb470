//! The rules of deadletter: pure functions from values to values.
//!
//! Nothing here reads a clock, draws a random number, does I/O or waits. Instants and random
//! numbers come in as arguments, so every rule can be tested, simulated and stored.

pub mod backoff;
pub mod breaker;
pub mod budget;
pub mod histogram;
pub mod pollplan;
pub mod time;
pub mod window;

pub use time::UnixMs;
