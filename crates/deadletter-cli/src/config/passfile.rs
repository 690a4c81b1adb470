//! The file of passwords that PostgreSQL's own programs read: `PGPASSFILE`, or `.pgpass` at home.

use super::Environment;
use deadletter::store::postgres::passfile::{lacks_password, with_password};
use std::path::{Path, PathBuf};

/// A URL of a store with the password that stands for it in the user's file; as it is where it names
/// one, and where none fits. A file that others can read is left alone, as PostgreSQL's programs do.
pub(crate) fn complete(environment: &Environment, url: &str) -> String {
    let named = environment.variable("PGPASSFILE").map(PathBuf::from);
    let at_home = || Some(Path::new(environment.variable("HOME")?).join(".pgpass"));
    let Some(path) = named.or_else(at_home).filter(|_| lacks_password(url)) else {
        return url.to_owned();
    };
    // One that cannot be read is none: the server may want no password.
    let Ok(text) = std::fs::read_to_string(&path) else { return url.to_owned() };
    if !is_private(&path) {
        let path = path.display();
        tracing::warn!("{path} is left alone: others can read it; chmod 600 {path}");
        return url.to_owned();
    }
    with_password(url, &text)
}

#[cfg(unix)]
fn is_private(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    std::fs::metadata(path).is_ok_and(|file| file.permissions().mode() & 0o077 == 0)
}

#[cfg(not(unix))]
const fn is_private(_path: &Path) -> bool {
    true
}
