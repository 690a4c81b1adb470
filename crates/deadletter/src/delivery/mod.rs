//! Tells whoever asked for it that a task has ended: at least once, under one id, over crashes.
//!
//! ```text
//! store: a delivery, made with the end of its task
//!   └ deliverer   takes what is due, a few for each place, and settles what came of it
//!       ├ places    which of them have their share
//!       ├ target    where to, and in which form: parameters of the task's request
//!       └ message   what is said: the same words as in.php's or getTaskResult's
//! ```
//!
//! The try is written down before it is made, so a process that dies over one is followed by
//! another, which says the same under the same id. What is never told twice is impossible here:
//! a receiver that has taken a message and is not heard gets it again.

pub(crate) mod deliverer;
mod message;
mod places;
mod target;
pub(crate) mod tries;

pub use message::death;
use message::message;
pub use target::{FIELDS, Form, Target};
pub use tries::Tries;
