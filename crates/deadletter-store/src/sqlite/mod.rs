//! The SQLite store: one file, one writer thread per process, several processes.
//!
//! ```text
//! SqliteStore            the async shell of the traits
//!   ├ writer             one thread: all that waits in one transaction, answers after the commit
//!   │   ├ insert, claim, commit, adopt, deliveries, desk, registry: what a request does in it
//!   │   └ statements: compiled once per connection
//!   ├ readers            three threads, one snapshot per question
//!   ├ locks              proof of life between processes
//!   └ file, filesystem   what must hold before SQLite sees the file
//! inspect                the file from outside: checks, copies, questions in SQL
//! salvage                what can be read of a damaged file, page by page
//! schema                 tables, and the steps to them; connect: settings of connections
//! task_row, attempt_row  rows and back; counts: merged deltas; failure: errors
//! ```
//!
//! [`Durability::D2`](crate::Durability::D2): write-ahead log with `synchronous = FULL`, so what is answered survives a
//! loss of power. Rules stay in the core: SQL here only finds and writes rows.

mod adopt;
mod attempt_row;
mod checkpoint;
mod claim;
mod columns;
mod commit;
mod connect;
mod counts;
mod deliveries;
mod desk;
mod failure;
mod file;
mod filesystem;
mod forget;
mod hidden;
mod insert;
pub mod inspect;
mod job;
mod locks;
mod log;
mod page;
mod permits;
#[cfg(test)]
mod plans;
mod readers;
mod registry;
pub mod salvage;
mod schema;
mod statements;
mod store;
mod task_row;
mod unnamed;
mod writer;

pub use store::{SqliteStore, Written};
pub(crate) use unnamed::Unnamed;
