//! The PostgreSQL store: one schema of one database, for many processes on many machines.
//!
//! ```text
//! PostgresStore          the async shell of the traits
//!   ├ server             what calls need, shared with the loops of `crate::gather`
//!   ├ transaction        one call, one short transaction: load, decide, write; unknown commits
//!   │   ├ tasks          what is asked and written of tasks; `stage` decides in between
//!   │   └ registry, deliveries, desk, page, forget: what other calls ask and write
//!   ├ pool, connect, tls connections, lent to one piece of work at a time
//!   ├ schema             tables, and the steps to them
//!   ├ partition          past attempts by the day of their tasks, dropped whole
//!   └ clock              the server's time, by which all processes measure (`crate::server_clock`)
//! url                    what a `postgres://` URL names
//! passfile               passwords that stand in a file; binding: what their proof is bound to
//! statement, bulk        values on their way there, one by one or many rows at once
//! columns                values on their way back; failure: errors
//! ```
//!
//! Its [`Durability`](crate::Durability) follows from the server's settings, which are read at
//! opening. Rules stay in the core: SQL here only finds and writes rows. Nothing of a call stays in
//! the session of its connection, so a pooler between may give each transaction another one.

mod ailment;
mod binding;
mod bulk;
mod clock;
mod columns;
mod connect;
mod deliveries;
mod desk;
mod failure;
mod fate;
mod forget;
mod nul;
mod page;
mod partition;
pub mod passfile;
mod pool;
mod registry;
mod schema;
mod server;
mod statement;
mod store;
mod tasks;
mod tls;
mod transaction;
mod url;

pub use store::PostgresStore;
pub(crate) use url::{is_postgres, refuse_bad_url};
