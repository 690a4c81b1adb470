//! What is posted to addresses that clients name: which of them may be reached, and one post.
//!
//! A client chooses where its answers are sent, and this process may stand where the client does
//! not: beside services of its own machine, of a private network, of a cloud. So each address is
//! judged where it cannot change any more, at the dial (`dial`); a look at the URL before that
//! ([`Guard::check`]) only tells early what could never work.
//!
//! Nothing is followed, retried, pooled or taken from the environment here. When to try again is
//! the caller's affair, and each try is judged anew.

mod blocks;
mod courier;
mod dial;
mod embedded;
mod guard;
mod ports;
#[cfg(test)]
mod tests;

pub use courier::{Courier, Handover, Parcel};
pub use guard::{BadNetwork, Guard, Refused};
