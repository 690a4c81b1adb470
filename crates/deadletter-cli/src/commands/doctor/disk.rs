//! The place where the store's file is, or would be: whether it takes files, room, and who reads it.

use super::Finding;
use crate::{fault::Fault, shelf::Place};
use std::path::{Path, PathBuf};

/// Below this a busy day fills the disk: 100,000 tasks take about as much.
const LITTLE_BYTES: u64 = 512 << 20;
/// Below this SQLite's log alone may not fit.
const NOTHING_BYTES: u64 = 64 << 20;

/// Looks at the place of the store's file, if it is one, without making anything that stays.
pub(super) fn look(place: Place<'_>) -> Finding {
    match place {
        Place::Memory => Finding::Doubtful(
            "memory: keeps tasks as long as the process lives".to_owned(),
            "name a file in `store`, such as sqlite:tasks.db".to_owned(),
        ),
        Place::Server => Finding::Unknown("the server has it: watch its room there"),
        Place::File(path) => of_file(path),
    }
}

fn of_file(path: &Path) -> Finding {
    let folder = nearest_folder(path);
    let shown = folder.display().to_string();
    if let Err(error) = tempfile::tempfile_in(&folder) {
        return Finding::Bad(
            Fault::failed(format!("no file can be made in {shown}")).because(error).fix(format!(
                "give this user the right to write in {shown}, or name another `store`"
            )),
        );
    }
    if path.is_dir() {
        return Finding::Bad(
            Fault::failed(format!("{} is a folder, and no store", path.display()))
                .fix("name a file in it, such as sqlite:FOLDER/tasks.db"),
        );
    }
    if let Some(finding) = read_by_others(path) {
        return finding;
    }
    match rustix::fs::statvfs(&folder) {
        Ok(disk) => room(disk.f_bavail.saturating_mul(disk.f_frsize), &shown),
        Err(error) => Finding::Doubtful(
            format!("the room on the disk of {shown} is not known: {error}"),
            "look with `df`".to_owned(),
        ),
    }
}

fn room(bytes: u64, folder: &str) -> Finding {
    let shown = format!("{} MB free in {folder}", bytes >> 20);
    let fix = || "make room, or name a `store` on another disk".to_owned();
    match bytes {
        0..NOTHING_BYTES => Finding::Bad(Fault::failed(shown).fix(fix())),
        NOTHING_BYTES..LITTLE_BYTES => Finding::Doubtful(shown, fix()),
        _ => Finding::Good(shown),
    }
}

/// The folder of `path`, or the first above it that exists.
pub(super) fn nearest_folder(path: &Path) -> PathBuf {
    let here = || Path::new(".");
    let folders =
        path.ancestors().skip(1).map(|f| if f.as_os_str().is_empty() { here() } else { f });
    folders.into_iter().find(|folder| folder.is_dir()).unwrap_or_else(here).to_owned()
}

/// The file holds answers and proxies' passwords.
#[cfg(unix)]
fn read_by_others(path: &Path) -> Option<Finding> {
    use std::os::unix::fs::PermissionsExt;
    let mode = std::fs::metadata(path).ok()?.permissions().mode() & 0o777;
    let shown = path.display();
    (mode & 0o077 != 0).then(|| {
        Finding::Doubtful(
            format!("{shown} has mode {mode:03o}: others can read its answers and proxies"),
            format!("chmod 600 {shown}"),
        )
    })
}

#[cfg(not(unix))]
fn read_by_others(_path: &Path) -> Option<Finding> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn little_room_is_told_before_there_is_none() {
        assert!(matches!(room(1 << 20, "/x"), Finding::Bad(_)));
        assert!(matches!(room(100 << 20, "/x"), Finding::Doubtful(..)));
        assert!(matches!(room(4 << 30, "/x"), Finding::Good(_)));
    }

    #[test]
    fn the_folder_of_a_store_is_the_nearest_that_exists() {
        let dir = tempfile::tempdir().expect("a directory");
        assert_eq!(nearest_folder(&dir.path().join("a/b/c.db")), dir.path());
        assert_eq!(nearest_folder(Path::new("tasks.db")), Path::new("."));
    }
}
