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

/// What is told alike of every kind of store that is moved.
pub(crate) fn of_move(error: &Error) -> Option<Fault> {
    Some(match error {
        Error::AtWork { .. } => Fault::failed("the store must be at rest, and somebody works on it")
            .fix(
                "stop its gateways, batches and drains (ctrl-C, or `systemctl stop`), then run the \
                 same command again; `deadletter doctor` tells how many are at work",
            ),
        Error::AlreadyMoved { .. } => Fault::failed("it is done already; nothing was changed")
            .fix("work on the target from now on; for another copy name an empty store"),
        Error::Occupied(_) => Fault::failed("the target is not empty; nothing was changed")
            .fix(
                "name an empty one: another file, another schema of a PostgreSQL database \
                 (?schema=NAME), another prefix of a Redis server (?prefix=NAME)",
            ),
        Error::Differs(_) => Fault::failed("the two stores are not the same").fix(
            "look that nobody works on either of them, then move the source into another, empty store",
        ),
        _ => return None,
    })
}

/// Who is to vouch for a server.
const VOUCH: &str = "name the certificate of the authority that signed the server's by \
     sslrootcert=FILE (PEM) in the URL, and write the host as the certificate names it";

fn postgres(error: &Error) -> Option<Fault> {
    Some(match error {
        Error::NoPassword(_) => Fault::failed("the server wants a password").fix(
            "put it into the URL (postgres://USER:PASSWORD@HOST/DATABASE), or into ~/.pgpass or the \
             file of the variable PGPASSFILE, as a line HOST:PORT:DATABASE:USER:PASSWORD that only \
             its owner can read",
        ),
        Error::Untrusted { .. } => Fault::failed("the server's certificate is not trusted").fix(
            format!("{VOUCH}; sslmode=require encrypts without asking who the server is"),
        ),
        Error::NoTls { .. } => Fault::failed("the server speaks no TLS there").fix(
            "set ssl = on in its postgresql.conf, or write sslmode=disable on a network that you \
             trust",
        ),
        Error::ReadOnly { .. } => Fault::failed(UNWRITABLE).fix(
            "name the primary server, and give the role of the URL the rights to its schema; \
             docs/postgresql.md has the lines of SQL",
        ),
        Error::Unavailable { .. } => Fault::failed(AWAY).fix(
            "look whether the server runs and can be reached from here (pg_isready), and how many \
             connections it has left; then try again",
        ),
        Error::Refused(_) => {
            Fault::failed(UNFIT).fix("name another schema by ?schema=NAME, or another server; docs/postgresql.md says what one needs")
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
        Error::Untrusted { .. } => {
            Fault::failed("the server's certificate is not trusted").fix(VOUCH)
        }
        Error::NoTls { .. } => Fault::failed("the server speaks no TLS there").fix(
            "name its port for TLS (tls-port in its settings), or write redis:// on a network that \
             you trust",
        ),
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
            .fix("docs/redis.md says what a server needs; ?prefix=NAME names another place on it"),
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
