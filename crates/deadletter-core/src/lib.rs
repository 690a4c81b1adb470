//! The rules of deadletter: pure functions from values to values.
//!
//! Nothing here reads a clock, draws a random number, does I/O or waits. Instants and random
//! numbers come in as arguments, so every rule can be tested, simulated and stored.

pub mod attempt;
pub mod backoff;
pub mod breaker;
pub mod budget;
pub mod cause;
pub mod change;
pub mod counts;
pub mod decide;
pub mod delivery;
pub mod filter;
pub mod fingerprint;
mod hex;
pub mod histogram;
pub mod id;
pub mod invariants;
pub mod label;
mod limits;
pub mod past;
mod payload;
pub mod policy;
pub mod pollplan;
pub mod reading;
pub mod restore;
#[cfg(test)]
mod samples;
pub mod state;
pub mod task;
pub mod time;
pub mod window;

pub use attempt::{Attempt, Fact, Failure, Learned, Verdict};
pub use cause::{Cause, Class};
pub use change::{Change, Event, ItemState, RowChange};
pub use decide::{AccountSignal, Context, Decision, Happened, decide};
pub use delivery::{Came, Delivery, DeliveryState, Settlement};
pub use filter::{Filter, Range};
pub use hex::hex;
pub use id::{AccountName, AttemptToken, InvalidId, OperationId, TaskId, UpstreamId, WorkerId};
pub use limits::TooLarge;
pub use past::Past;
pub use payload::{Answer, Payload};
pub use policy::{OnDoubt, Policy, Terms};
pub use reading::Reading;
pub use restore::{Held, PutBack};
pub use state::{DeadReason, Next, State, StateKind, Step, StepKind, Why, next};
pub use task::{Counters, Dimensions, Lane, NewTask, Round, Task};
pub use time::UnixMs;
