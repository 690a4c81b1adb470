//! From a URL to a store.

use crate::{Clock, Error, MemoryStore, Result, SqliteStore, Store};
use std::{path::Path, sync::Arc};

/// What a person may write, for every message about it.
const EXPECTED: &str = "expected `memory:`, `sqlite:PATH`, or a path that ends in .db";

/// Opens the store that `url` names; an SQLite file and its directory are created where nothing
/// stands.
///
/// `memory:` lives as long as the process. `sqlite:PATH`, or a bare path that ends in `.db`, is a
/// file on a local disk.
///
/// Errors: `BadUrl`, and those of [`SqliteStore::open`].
pub async fn open(url: &str, clock: Arc<dyn Clock>) -> Result<Arc<dyn Store>> {
    if url == "memory:" {
        return Ok(Arc::new(MemoryStore::new(clock)));
    }
    Ok(Arc::new(SqliteStore::open(sqlite_path(url)?, clock).await?))
}

fn sqlite_path(url: &str) -> Result<&Path> {
    let path = match url.split_once(':') {
        Some(("sqlite", path)) if !path.is_empty() => path,
        Some(("sqlite", _)) => {
            return Err(bad(url, "it names no file: write `sqlite:` and a path"));
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
        }
    }

    #[test]
    fn what_names_no_store_is_told_what_is_expected_and_no_password() {
        let password = "postgres://me:hunter2@host/x";
        for url in ["", "tasks", "sqlite:", "memory:x", "sqlite://x.db", password, "mysql:x"] {
            let told = sqlite_path(url).expect_err(url).to_string();
            assert!(told.contains("sqlite:PATH"), "{told}");
            assert!(!told.contains("hunter2"), "{told}");
        }
    }
}
