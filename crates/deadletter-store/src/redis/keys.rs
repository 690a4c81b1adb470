//! The names of everything that the store keeps, in one place.
//!
//! All of them begin with the store's prefix in braces, so that a cluster keeps them together and a
//! call can write them all or none.
//!
//! | Key | What it is |
//! |---|---|
//! | `m` | hash: schema, epoch, seq (one more with each call that is news), events (number of the newest) |
//! | `scratch` | what a handle tries its rights on at opening; gone at once |
//! | `c:HANDLE` | hash: the last call of each lane of a handle; expires |
//! | `t:ID` | a task with its attempts, items and deliveries, under the mark of the call that wrote it |
//! | `q:ID`, `w:ID` | its request; its answers, a line each |
//! | `k` | hash: idempotency keys, and the tasks to which they lead |
//! | `r:LANE:ACCOUNT` | queued tasks that may be claimed, in the order of claims |
//! | `f:LANE:ACCOUNT` | queued tasks that were not due when last looked at, by due time |
//! | `x:ACCOUNT` | queued tasks with a deadline, by that |
//! | `p:ACCOUNT` | attempts that hold a permit, by when that ends |
//! | `l:ACCOUNT` | attempts that will lapse, by when |
//! | `o:ACCOUNT HOLDER` | tasks that a worker has leased (behind a NUL), in the order in which they are taken over |
//! | `b:ACCOUNT`, `h:ACCOUNT` | attempts that no task waits for, by holder; set of holders |
//! | `u:ACCOUNT` | hash: upstream ids, and the attempts that bear them |
//! | `i:STATE` | tasks by state, in the order of their ids; those that are leased stand in one, `live` |
//! | `j:STATE:c:CAUSE`, `j:STATE:s:SITEKEY` | the dead and the buried by these |
//! | `g:BATCH` | the tasks of a batch |
//! | `S:DIM` | hash: standing counts |
//! | `T:DIM`, `T:DIM:MINUTE` | minutes that have tallies; hash: those of a minute |
//! | `e`, `E` | events by number, each behind its own; their numbers by task |
//! | `P:OPERATION`, `N:OPERATION` | pending items by task; hash: how many items are in each state |
//! | `W`, `L`, `W:s`, `W:g` | hash of workers; those that live, by beat; all by start; those that are gone, by end |
//! | `dv`, `db`, `dn` | documents: hashes of versions and bodies, names in order |
//! | `y:PLACE`, `yp`, `yc` | deliveries that wait at a place; places by the first due; hash of counts |
//! | `A`, `A:l`, `A:l:WRITER` | the audit log: hash of lines, their order, that of a writer |

use deadletter_core::{
    AccountName, Cause, Lane, OperationId, StateKind, TaskId, UnixMs, counts::Dim,
};
use std::fmt::{self, Write as _};

/// A key, prefix and all.
pub(super) type Key = String;

/// Behind the prefix, most keys are shorter: a change of a task makes a dozen of them.
const ROOM: usize = 32;

/// Makes keys.
#[derive(Clone, Debug)]
pub(super) struct Keys {
    /// With braces and the colon behind them.
    prefix: String,
}

macro_rules! keys {
    ($($(#[$doc:meta])* $name:ident($($part:ident: $kind:ty),*) = $format:literal;)+) => {$(
        $(#[$doc])*
        pub(super) fn $name(&self $(, $part: $kind)*) -> Key {
            self.named(format_args!($format $(, $part = $part)*))
        }
    )+};
}

impl Keys {
    /// Under a prefix without braces.
    pub(super) fn under(prefix: &str) -> Self {
        Self { prefix: format!("{{{prefix}}}:") }
    }

    fn named(&self, name: fmt::Arguments<'_>) -> Key {
        let mut key = String::with_capacity(self.prefix.len() + ROOM);
        key.push_str(&self.prefix);
        key.write_fmt(name).expect("a text takes whatever is written");
        key
    }

    keys! {
        /// What the store knows of itself.
        meta() = "m";
        /// What never holds anything for longer than a script.
        scratch() = "scratch";
        /// The last calls of a handle.
        calls(handle: &str) = "c:{handle}";
        /// A task.
        task(id: TaskId) = "t:{id}";
        /// What it asks for.
        request(id: TaskId) = "q:{id}";
        /// Its answers.
        answers(id: TaskId) = "w:{id}";
        /// Idempotency keys.
        idempotency() = "k";
        /// Deadlines of queued tasks.
        deadlines(account: &AccountName) = "x:{account}";
        /// Permits that are lent.
        permits(account: &AccountName) = "p:{account}";
        /// Attempts that will lapse.
        lapsing(account: &AccountName) = "l:{account}";
        /// Tasks that a worker has leased.
        leases(account: &AccountName, holder: &str) = "o:{account}\0{holder}";
        /// Attempts that no task waits for, by holder.
        abandoned(account: &AccountName) = "b:{account}";
        /// Who has, or had, any of both.
        holders(account: &AccountName) = "h:{account}";
        /// Attempts by upstream id.
        upstream_ids(account: &AccountName) = "u:{account}";
        /// The tasks of a batch.
        batch(batch: &str) = "g:{batch}";
        /// Events.
        events() = "e";
        /// Numbers of events by task.
        events_of() = "E";
        /// Pending items of an operation.
        pending(operation: &OperationId) = "P:{operation}";
        /// How many items of an operation are in each state.
        item_counts(operation: &OperationId) = "N:{operation}";
        /// Workers that live.
        living() = "L";
        /// All workers.
        workers() = "W";
        /// All workers by start.
        workers_by_start() = "W:s";
        /// Workers that are gone, by end.
        workers_by_end() = "W:g";
        /// Deliveries that wait at a place.
        deliveries_at(place: &str) = "y:{place}";
        /// Places where something waits, by what is due first.
        places() = "yp";
        /// How many deliveries are how far.
        delivery_counts() = "yc";
        /// Lines of the audit log.
        audit() = "A";
        /// Versions of documents.
        document_versions() = "dv";
        /// Bodies of documents.
        document_bodies() = "db";
        /// Names of documents.
        document_names() = "dn";
    }

    /// Queued tasks that may be claimed.
    pub(super) fn ready(&self, lane: Lane, account: &AccountName) -> Key {
        self.named(format_args!("r:{}:{account}", lane.label()))
    }

    /// Queued tasks that wait for their time.
    pub(super) fn waiting(&self, lane: Lane, account: &AccountName) -> Key {
        self.named(format_args!("f:{}:{account}", lane.label()))
    }

    /// Tasks in a state; the leased ones in one.
    pub(super) fn state(&self, state: StateKind) -> Key {
        let label = if state.is_leased() { "live" } else { state.label() };
        self.named(format_args!("i:{label}"))
    }

    /// Tasks at rest by cause.
    pub(super) fn cause(&self, state: StateKind, cause: &Cause) -> Key {
        self.named(format_args!("j:{}:c:{}", state.label(), cause.as_str()))
    }

    /// Tasks at rest by site key.
    pub(super) fn sitekey(&self, state: StateKind, sitekey: &str) -> Key {
        self.named(format_args!("j:{}:s:{sitekey}", state.label()))
    }

    /// The order of the audit log, of one writer or of all.
    pub(super) fn audit_log(&self, writer: Option<&str>) -> Key {
        let writer = writer.map_or_else(String::new, |writer| format!(":{writer}"));
        self.named(format_args!("A:l{writer}"))
    }

    /// Standing counts.
    pub(super) fn standing(&self, dim: Dim) -> Key {
        self.named(format_args!("S:{}", dim.label()))
    }

    /// Minutes with tallies.
    pub(super) fn minutes(&self, dim: Dim) -> Key {
        self.named(format_args!("T:{}", dim.label()))
    }

    /// Tallies of a minute.
    pub(super) fn tallies(&self, dim: Dim, minute: UnixMs) -> Key {
        self.named(format_args!("T:{}:{}", dim.label(), minute.0))
    }
}
