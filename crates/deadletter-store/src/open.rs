//! From a URL to a store.

use crate::{
    Clock, Error, MemoryStore, PostgresStore, RedisStore, Result, SqliteStore, Store,
    postgres::{self, is_postgres},
    redis::{self, is_redis},
};
use std::{path::Path, sync::Arc};

/// What a person may write, for every message about it.
const EXPECTED: &str = "expected `memory:`, `sqlite:PATH`, a path that ends in .db, \
     `postgres://USER:PASSWORD@HOST/DATABASE`, or `redis://USER:PASSWORD@HOST`";

/// Opens the store that `url` names; an SQLite file and its directory, or the tables in a database,
/// are created where nothing stands.
///
/// `memory:` lives as long as the process. `sqlite:PATH`, or a bare path that ends in `.db`, is a
/// file on a local disk. `postgres://...` is a schema of a database and `redis://...` a prefix of a
/// server's keys, for many machines: there `clock` is set by the server's, so that all of them
/// measure alike.
///
/// Errors: `BadUrl`, and those of [`SqliteStore::open`], [`PostgresStore::open`] and
/// [`RedisStore::open`].
pub async fn open(url: &str, clock: Arc<dyn Clock>) -> Result<Arc<dyn Store>> {
    if url == "memory:" {
        return Ok(Arc::new(MemoryStore::new(clock)));
    }
    if is_postgres(url) {
        return Ok(Arc::new(PostgresStore::open_by_server_time(url, clock, true).await?));
    }
    if is_redis(url) {
        return Ok(Arc::new(RedisStore::open_by_server_time(url, clock, true).await?));
    }
    Ok(Arc::new(SqliteStore::open(sqlite_path(url)?, clock).await?))
}

/// Opens the store that `url` names for somebody who only looks: where nothing stands, nothing is
/// created, so that a slip in a path is not taken for an empty store.
///
/// Errors: `Missing`, and those of [`open`].
pub async fn open_existing(url: &str, clock: Arc<dyn Clock>) -> Result<Arc<dyn Store>> {
    if is_postgres(url) {
        return Ok(Arc::new(PostgresStore::open_by_server_time(url, clock, false).await?));
    }
    if is_redis(url) {
        return Ok(Arc::new(RedisStore::open_by_server_time(url, clock, false).await?));
    }
    refuse_missing(url)?;
    open(url, clock).await
}

/// `Missing` where no file stands at `url`; memory always does, and a server is not asked here.
/// Errors: `Missing`, `BadUrl`.
pub fn refuse_missing(url: &str) -> Result<()> {
    if url == "memory:" || is_on_a_server(url) {
        return check_url(url);
    }
    let path = sqlite_path(url)?;
    // What cannot even be looked at is told better by the one that opens it.
    if path.try_exists().unwrap_or(true) {
        Ok(())
    } else {
        Err(Error::Missing(path.display().to_string()))
    }
}

/// Checks that `url` names a store that this program can open, without looking at what stands
/// there. Errors: `BadUrl`.
pub fn check_url(url: &str) -> Result<()> {
    match url {
        "memory:" => Ok(()),
        _ if is_postgres(url) => postgres::refuse_bad_url(url),
        _ if is_redis(url) => redis::refuse_bad_url(url),
        _ => sqlite_path(url).map(drop),
    }
}

/// True for the URL of a store that a server keeps for many machines.
#[must_use]
pub fn is_on_a_server(url: &str) -> bool {
    is_postgres(url) || is_redis(url)
}

/// The file of the SQLite store that `url` names, whether it stands or not.
///
/// Errors: `BadUrl` for another kind of store, and for what names none.
pub fn sqlite_path(url: &str) -> Result<&Path> {
    let path = match url.split_once(':') {
        Some(("sqlite", path)) if !path.is_empty() => path,
        Some(("sqlite", _)) => {
            return Err(bad(url, "it names no file: write `sqlite:` and a path"));
        }
        Some(("postgres" | "postgresql" | "redis" | "rediss", _)) => {
            return Err(bad(url, "it is no file; this needs an SQLite store, `sqlite:PATH`"));
        }
        Some(("memory", _)) => return Err(bad(url, "memory has no name: write `memory:`")),
        Some((scheme, _)) if is_scheme(scheme) => {
            return Err(bad(url, "this program knows no such kind of store"));
        }
        _ if url.ends_with(".db") => url,
        _ => return Err(bad(url, "it names no kind of store")),
    };
    // SQLite's own URIs carry options that would switch off what is promised here.
    if path.starts_with("//") {
        return Err(bad(url, "a path stands right after `sqlite:`, without slashes of its own"));
    }
    Ok(Path::new(path))
}

/// True for `postgres`, not for the `C` of a Windows path.
fn is_scheme(text: &str) -> bool {
    text.len() > 1 && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'+')
}

fn bad(url: &str, why: &str) -> Error {
    // A URL of another kind of store may carry a password: only its scheme is repeated.
    let shown = match url.split_once("://") {
        Some((scheme, _)) => format!("{scheme}://..."),
        None => url.chars().take(200).collect(),
    };
    Error::BadUrl(format!("{shown:?} is no store: {why}; {EXPECTED}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_found_in_a_url_or_stands_bare() {
        for (url, path) in [
            ("sqlite:/var/lib/x.db", "/var/lib/x.db"),
            ("sqlite:tasks", "tasks"),
            ("tasks.db", "tasks.db"),
            ("./a b/tasks.db", "./a b/tasks.db"),
        ] {
            assert_eq!(sqlite_path(url).ok(), Some(Path::new(path)), "{url}");
            assert!(check_url(url).is_ok() && check_url("memory:").is_ok(), "{url}");
        }
    }

    #[tokio::test]
    async fn who_only_looks_creates_nothing() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("deeper/tasks.db");
        let url = format!("sqlite:{}", path.display());
        let clock = || Arc::new(crate::SystemClock) as Arc<dyn Clock>;
        let missing = open_existing(&url, clock()).await.err();
        assert!(
            matches!(missing, Some(Error::Missing(missing)) if missing == path.display().to_string())
        );
        assert!(!path.parent().expect("it has one").exists());
        open(&url, clock()).await.expect("created").close().await.expect("closed");
        assert!(open_existing(&url, clock()).await.is_ok() && refuse_missing("memory:").is_ok());
    }

    #[test]
    fn what_names_no_store_is_told_what_is_expected_and_no_password() {
        let password = "mysql://me:hunter2@host/x";
        for url in ["", "tasks", "sqlite:", "memory:x", "sqlite://x.db", password, "mysql:x"] {
            let told = sqlite_path(url).expect_err(url).to_string();
            assert!(told.contains("sqlite:PATH"), "{told}");
            assert!(check_url(url).is_err(), "{url}");
            assert!(!told.contains("hunter2"), "{told}");
        }
        for on_a_server in ["postgres://me:hunter2@host/x", "rediss://:hunter2@host/1"] {
            assert!(check_url(on_a_server).is_ok() && refuse_missing(on_a_server).is_ok());
            let told = sqlite_path(on_a_server).expect_err("no file").to_string();
            assert!(told.contains("SQLite") && !told.contains("hunter2"), "{told}");
        }
    }
}
