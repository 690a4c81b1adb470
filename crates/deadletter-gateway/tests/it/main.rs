//! The gateway over real sockets, with the engine and a simulated upstream behind it.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod answers;
mod createtask;
mod crowd;
mod folding;
mod forms;
mod hostile;
mod keys;
mod metrics;
mod pingbacks;
mod readings;
mod reports;
mod rig;
mod server;
mod tls;
mod upstream;
