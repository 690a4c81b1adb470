//! The createTask family: anti-captcha, 2captcha's second API, CapMonster, CapSolver.
//!
//! What the family calls a task is our payload in other words. One table ([`kinds`]) holds both,
//! and serves clients that speak the family's words and upstreams that do.

mod kinds;
mod solution;
mod task;
mod written;

pub use solution::{DIALECT, solution};
pub use task::{NotATask, payload};
pub use written::{Unwritable, task};
