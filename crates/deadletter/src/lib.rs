//! Durable submit-then-poll tasks: retries by the meaning of the error, a circuit breaker, a
//! dead-letter queue with its whole history, and the way back.
//!
//! Begin with [`Deadletter::builder`]. What the parts of a running engine are, and how one task
//! goes through them, is in the repository's ARCHITECTURE.md.
//!
//! What holds for all of it:
//!
//! - **Runtime.** Everything `async` wants a Tokio runtime with its timers (and its I/O, for the
//!   HTTP provider); the engine's loops are spawned on the one that [`Builder::start`] is called on.
//! - **Units.** Numbers that end in `_ms` are milliseconds, instants (`*_at`, [`core::UnixMs`])
//!   are milliseconds since 1970 in UTC, by the store's clock.
//! - **Errors.** [`Error::is_retryable`] tells what may succeed later and has written nothing.
//!   Where the store answers [`store::Error::InDoubt`] nobody knows whether a call was written:
//!   look, or make a call again that may be made twice.
//! - **Cancellation.** A future that is dropped never harms what is stored: each write is made
//!   whole or not at all, and the engine goes on. What only reads or waits may be dropped and made
//!   again. A call that writes may have written although it was dropped; each such call says what
//!   is left then.

mod absence;
mod account;
mod act;
mod audit;
mod breakers;
mod builder;
mod bulk;
mod committer;
mod crash;
mod delivery;
mod desk;
mod dispatcher;
pub mod document;
mod engine;
mod error;
mod fair;
mod fold;
mod forget;
mod gate;
mod guarded;
mod health;
mod heap;
mod hearing;
mod heartbeat;
mod holds;
mod inhand;
mod intake;
mod job;
mod keeper;
mod notice;
mod operation;
mod operator;
mod orphans;
pub mod outbound;
mod patience;
mod poller;
pub mod provider;
mod ramp;
mod readings;
mod redrive;
mod report;
mod reporter;
mod retention;
mod secrets;
mod settle;
mod shared;
mod stop;
mod strangers;
mod sweeper;
mod turn;
mod walk;
mod watcher;

pub use account::AccountConfig;
pub use act::{Act, Skip};
pub use audit::chained;
pub use breakers::BreakerStatus;
pub use builder::Builder;
pub use bulk::{ActOptions, ActPlan};
pub use crash::{CRASH_POINTS, CrashPoint};
pub use deadletter_core as core;
pub use deadletter_store as store;
pub use delivery::{FIELDS as TARGET_FIELDS, Form, Target, Tries, death};
pub use desk::{Desk, RedrivePlan, TaskFile};
pub use engine::{AccountStatus, Deadletter, Handle, Outcome, Status, Submitted};
pub use error::{Error, Result};
pub use heartbeat::worker_label;
pub use holds::{Heeding, StandingHold};
pub use job::Job;
pub use notice::Notice;
pub use operation::{Operation, OperationState, RedriveOptions};
pub use report::{Report, ReportState, Reported, report_on};
pub use secrets::is_secret_field;
pub use turn::{Holder, Turn, TurnTaken};
