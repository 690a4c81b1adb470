//! The article's eleven defects: its programs have them, deadletter does not.
//!
//! Each `aNN_...` drives deadletter against the simulated upstream over HTTP and asserts the
//! opposite of defect N. Where a mechanism could pass by chance, the same test first runs a `port`
//! of the article's algorithm against the same faults and sees it fail. The port ends by counts,
//! never by the clock: what never ends is stopped after so many rounds.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "clippy lets these pass in test functions, but not in the functions that tests share"
)]

mod keeping;
mod port;
mod redriving;
mod rig;
mod shell;
mod spending;
mod tap;
mod telling;
