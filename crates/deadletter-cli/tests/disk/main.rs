//! The binary on disks that fail: full, read-only, with flushes that are refused, with files that
//! are cut off, flipped, emptied or not ours. What was acknowledged before the fault is there after
//! it is healed, and nobody is told of more.
//!
//! The faults are true ones: a small tmpfs, a read-only mount, errors injected into system calls.
//! Where the machine refuses one of them the test fails and says what it needs.
#![cfg(target_os = "linux")]
#![allow(clippy::indexing_slicing, clippy::panic, reason = "a test fails by panicking")]

mod damage;
mod flush;
mod full;
mod mount;
mod refused;
mod scene;
