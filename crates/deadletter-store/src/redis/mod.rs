//! The Redis store: one prefix of a server or a cluster, for many processes on many machines.
//!
//! ```text
//! RedisStore             the async shell of the traits
//!   ├ server             one call: load, decide, apply; what is lost is sent again
//!   │   ├ tasks          what is asked and written of tasks; `stage` decides in between
//!   │   ├ apply (.lua)   what a call checks and writes, and the one script that does it
//!   │   └ ready (.lua)   the script that makes due tasks claimable
//!   ├ lanes              calls by number, so that one that is sent twice is done once
//!   ├ life, turn (.lua)  whether the server has lost anything; kept: what is put back then
//!   ├ ledger             submits in a file, for whoever begins when this process is gone
//!   └ lines, connect     the connection, made anew, led to the node that has the keys
//! url                    what a `redis://` URL names
//! rights (.lua)          whether the user may call what is called here
//! keys                   the names of everything that is kept
//! info                   what the server says of itself; failure: errors
//! ```
//!
//! Its [`Durability`](crate::Durability) follows from the server's settings, which are read at
//! opening. Rules stay in the core: scripts here only check and write.

mod apply;
mod audit;
mod census;
mod connect;
mod deliveries;
mod desk;
mod documents;
mod events;
mod failure;
mod forget;
mod info;
mod items;
mod json;
mod kept;
mod keys;
mod lanes;
mod ledger;
mod life;
mod lines;
mod loss;
mod page;
mod ready;
mod registry;
mod rights;
mod server;
mod store;
mod tasks;
mod turn;
mod url;
mod workers;

pub use store::RedisStore;
pub(crate) use url::refuse_bad_url;
pub use url::{is_redis, ledger_of};
