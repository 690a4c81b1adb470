//! Where deadletter keeps its tasks: the store traits, the stores and their wrappers.
//!
//! A store never decides. It writes what the core decided, if the fence still fits: a row's
//! version for the task, an attempt's token for its facts. Start with `memory`, the reference;
//! `tests/it` holds the one suite that every store and every wrapper passes.

pub mod backup;
mod call;
pub mod clock;
pub mod draft;
mod error;
pub mod faulty;
mod gather;
pub mod memory;
pub mod migrate;
mod open;
pub mod postgres;
pub mod redis;
mod requests;
mod server_clock;
pub mod sqlite;
mod stage;
mod traced;
mod traits;
mod trust;

pub use call::Call;
pub use clock::{Clock, FastClock, ManualClock, SystemClock};
pub use error::{Error, Result};
pub use faulty::Faulty;
pub use memory::MemoryStore;
pub use open::{check_url, is_on_a_server, open, open_existing, refuse_missing, sqlite_path};
pub use postgres::PostgresStore;
pub use redis::RedisStore;
pub use requests::{
    Ailment, Among, AuditEntry, Beat, Claim, Claimed, Committed, DeliveryCounts, Document, Due,
    Durability, Forget, Forgotten, Freeze, Frozen, Inserted, Item, NewTasks, NextDelivery, Page,
    Query, SILENT_MS, Seen, Sequenced, TakeOver, Taken, Totals, Trail, Worker, document_of,
};
pub use sqlite::SqliteStore;
pub use traced::Traced;
pub use traits::{Deliveries, Desk, Registry, Store, Tasks};
