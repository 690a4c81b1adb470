//! A simulated upstream: a real HTTP server that speaks `in.php` / `res.php`, and `createTask` /
//! `getTaskResult` over the same jobs, with scripted faults.
//!
//! It solves nothing. It takes jobs, lets virtual time pass and gives unique answers, and it fails
//! exactly as its [`Scenario`] says: error codes, error pages, hangs, resets before and after a job
//! was created, cut bodies, late verdicts, outages. Every request is logged, so that a test can
//! count what was paid for. It listens on 127.0.0.1 only.
//!
//! Start one with [`Simulator::start`]; script it with [`Scenario`], [`Rule`] and [`Fault`], or
//! with a text file ([`Scenario::from_toml`], [`Scenario::named`]).
//!
//! All times are **virtual milliseconds**: real time multiplied by [`Scenario::speed`], or moved by
//! hand when that is 0. The same seed gives the same fate to the same page, whatever the order of
//! requests.

mod accounts;
mod admin;
mod answer;
mod clock;
mod dice;
mod error;
mod family;
mod fault;
mod methods;
mod outage;
mod params;
mod question;
mod record;
mod reply;
mod rule;
mod rulebook;
mod scenario;
mod scenario_text;
mod server;
mod simulator;
mod stats;
mod submit;
mod wire;
mod world;

pub use error::{Error, Result};
pub use fault::Fault;
pub use outage::{Outage, OutageMode};
pub use record::{Entry, Records};
pub use rule::{Per, Phase, Rule};
pub use scenario::{ClockStart, DEFAULT_KEY, Key, Limits, Scenario, SolveTime, WhenBusy};
pub use simulator::Simulator;
pub use stats::Stats;
