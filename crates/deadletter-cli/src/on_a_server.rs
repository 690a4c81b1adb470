//! What to do about a store that a server keeps, where that is something else than with a file.

use crate::fault::Fault;
use deadletter::store::Error;

/// The fault that the error of a store on a server is; none where it is any store's. Such an error
/// names the store by its URL, and that of a file by its path.
pub(crate) fn kind(error: &Error) -> Option<Fault> {
    let told = error.to_string();
    if told.contains("postgres://") {
        postgres(error)
    } else if told.contains("redis://") || told.contains("rediss://") {
        redis(error)
    } else {
        None
    }
}

/// What does for such a store what commands for files do for a file.
pub(crate) fn own_tools(url: &str) -> &'static str {
    if url.starts_with("postgres") {
        "`deadletter doctor`, `stats` and `list` look at this one; copy it by `deadletter store \
         backup` or pg_dump, check it by pg_amcheck, and ask it in SQL by psql"
    } else {
        "`deadletter doctor`, `stats` and `list` look at this one; copy it by `deadletter store \
         backup` while nobody works on it; its server keeps copies of its own"
    }
}

fn postgres(error: &Error) -> Option<Fault> {
    Some(match error {
        Error::ReadOnly { .. } => Fault::failed(UNWRITABLE).fix(
            "name the primary server, and give the role of the URL the rights to its schema; \
             docs/postgresql.md has the lines of SQL",
        ),
        Error::Unavailable { .. } => Fault::failed(AWAY).fix(
            "look whether the server runs and can be reached from here (pg_isready), and how many \
             connections it has left; then try again",
        ),
        Error::Refused(_) => {
            Fault::failed(UNFIT).fix("name another schema by ?schema=NAME, or another server")
        }
        Error::Damaged { .. } => Fault::failed(ODD).fix(
            "look whether somebody has changed the tables of its schema, and into the log of the \
             server",
        ),
        Error::InDoubt { .. } => Fault::failed(IN_DOUBT).fix(AGAIN),
        _ => return None,
    })
}

fn redis(error: &Error) -> Option<Fault> {
    Some(match error {
        Error::Denied { .. } => Fault::failed("the server does not let this program in").fix(
            "look for a slip in user, password and number of the database of the URL; docs/redis.md \
             has the line that makes a user",
        ),
        Error::ReadOnly { .. } => Fault::failed(UNWRITABLE).fix(
            "name the master, and give the user of the URL its rights; docs/redis.md has the line \
             that does",
        ),
        Error::Full { .. } => Fault::failed("the server has no room left for the store").fix(
            "raise its maxmemory, or look after its disk; what was accepted is kept, and the same \
             command can be run again (a batch with --resume)",
        ),
        Error::Unavailable { .. } => Fault::failed(AWAY).fix(
            "look whether the server runs and can be reached from here (redis-cli ping); then try \
             again",
        ),
        Error::Refused(_) => Fault::failed(UNFIT)
            .fix("docs/redis.md says what a server needs; or name another one"),
        Error::Damaged { .. } => Fault::failed(ODD).fix(
            "look whether somebody else writes keys of its prefix; ?prefix=NAME names another one",
        ),
        Error::InDoubt { .. } => Fault::failed(IN_DOUBT).fix(AGAIN),
        Error::RolledBack(_) => Fault::failed("the server has lost what it had answered").fix(
            "look why (FLUSHALL, a start without its files), restore its files if there are any, then \
             start again: what it has is gone on with, and what it lost is gone",
        ),
        _ => return None,
    })
}

const UNWRITABLE: &str = "the store may not be written";
const AWAY: &str = "the store is not available";
const UNFIT: &str = "a store cannot be kept there";
const ODD: &str = "the store is not as it should be; nothing was changed";
const IN_DOUBT: &str =
    "the server went away in the middle of a write; nobody knows what was written";
const AGAIN: &str = "what was accepted before is kept, and the same command can be run again (a batch with --resume)";
