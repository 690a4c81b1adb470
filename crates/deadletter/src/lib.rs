//! Durable submit-then-poll tasks: retries by the meaning of the error, a circuit breaker, a
//! dead-letter queue with its whole history, and the way back.
//!
//! Begin with [`Deadletter::builder`]. What the parts of a running engine are, and how one task
//! goes through them, is in the repository's ARCHITECTURE.md.

mod account;
mod act;
mod audit;
mod breakers;
mod builder;
mod bulk;
mod committer;
mod crash;
mod desk;
mod dispatcher;
mod document;
mod engine;
mod error;
mod forget;
mod gate;
mod guarded;
mod health;
mod heap;
mod heartbeat;
mod inhand;
mod job;
mod keeper;
mod notice;
mod operation;
mod operator;
mod orphans;
mod patience;
mod poller;
pub mod provider;
mod ramp;
mod redrive;
mod retention;
mod shared;
mod stop;
mod strangers;
mod sweeper;
mod turn;
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
pub use desk::{Desk, RedrivePlan, TaskFile};
pub use engine::{AccountStatus, Deadletter, Handle, Outcome, Status, Submitted};
pub use error::{Error, Result};
pub use job::Job;
pub use notice::Notice;
pub use operation::{Operation, OperationState, RedriveOptions};
pub use turn::{Holder, RENEW_EVERY, Turn, TurnTaken};
