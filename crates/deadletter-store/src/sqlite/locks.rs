//! Proof of life between processes: each worker holds a lock on a small file beside the store.
//!
//! The operating system frees the lock when the process ends, however it ends, so a process that
//! starts can tell at once who is gone. A file that is missing proves nothing.

use super::{
    file::{beside, create_directory, remove, unavailable},
    writer::lock,
};
use crate::{Error, Result};
use deadletter_core::WorkerId;
use std::{
    collections::HashMap,
    fs::{File, OpenOptions, TryLockError},
    path::{Path, PathBuf},
    sync::Mutex,
};

/// Longest worker id that is a file name as it stands; no file system takes more than 255 bytes.
const PLAIN_LIMIT: usize = 100;

/// The lock files of a store, and the locks that this handle holds.
#[derive(Debug)]
pub(super) struct Locks {
    directory: PathBuf,
    /// Guards the locks of this handle's own workers.
    held: Mutex<HashMap<WorkerId, File>>,
}

impl Locks {
    /// The locks beside the store at `path`.
    pub(super) fn beside(path: &Path) -> Self {
        Self { directory: beside(path, ".workers"), held: Mutex::new(HashMap::new()) }
    }

    /// Takes the worker's lock, before anybody else can know of the worker.
    ///
    /// Errors: `DeclaredDead` where another process, or this one, holds it already.
    pub(super) fn acquire(&self, worker: &WorkerId) -> Result<()> {
        let path = self.path(worker);
        create_directory(&self.directory).map_err(|e| unavailable("create", &self.directory, e))?;
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let file = options.open(&path).map_err(|e| unavailable("create", &path, e))?;
        match file.try_lock() {
            Ok(()) => {
                lock(&self.held).insert(worker.clone(), file);
                Ok(())
            }
            Err(TryLockError::WouldBlock) => Err(Error::DeclaredDead(worker.clone())),
            Err(TryLockError::Error(error)) => Err(unavailable("lock", &path, error)),
        }
    }

    /// True where the worker's process is proven to be gone.
    pub(super) fn is_gone(&self, worker: &WorkerId) -> bool {
        let file = OpenOptions::new().read(true).write(true).open(self.path(worker));
        file.is_ok_and(|file| file.try_lock().is_ok())
    }

    /// Lets a worker's lock go and removes its file.
    pub(super) fn release(&self, worker: &WorkerId) {
        let held = lock(&self.held).remove(worker);
        self.sweep(worker);
        drop(held);
    }

    /// Removes the file of a worker that nobody asks about any more.
    pub(super) fn sweep(&self, worker: &WorkerId) {
        if let Err(error) = remove(&self.path(worker)) {
            tracing::warn!(%worker, %error, "a worker's lock file could not be removed");
        }
    }

    /// Lets all locks go; the files stay and prove that nobody holds them.
    pub(super) fn drop_all(&self) {
        lock(&self.held).clear();
    }

    fn path(&self, worker: &WorkerId) -> PathBuf {
        self.directory.join(file_name(worker.as_str()))
    }
}

/// A file name for any worker id: the id itself where it is plain, else its plain part and a hash.
fn file_name(worker: &str) -> String {
    let is_plain = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    if worker.len() <= PLAIN_LIMIT && worker.chars().all(|c| is_plain(&c)) {
        return format!("{worker}.lock");
    }
    let plain: String = worker.chars().filter(is_plain).take(PLAIN_LIMIT).collect();
    // FNV-1a, 64 bits: enough to keep names apart, and nobody gains by making two meet.
    let hash = worker.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    format!("{plain}~{hash:016x}.lock")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(text: &str) -> WorkerId {
        WorkerId::new(text).expect("a worker id")
    }

    #[test]
    fn a_lock_file_never_leaves_its_directory() {
        assert_eq!(file_name("w-1"), "w-1.lock");
        for odd in ["../../etc/passwd", "a/b", "..", ".", "ü", "a b", &"x".repeat(200)] {
            let name = file_name(odd);
            assert!(name.len() < 255 && !name.contains('/') && !name.starts_with('.'), "{name}");
        }
        assert_ne!(file_name("a/b"), file_name("ab"));
        assert_ne!(file_name("a/b"), file_name("a.b"));
    }

    #[test]
    fn a_worker_is_gone_when_its_handle_is() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("x.db");
        let (ours, theirs) = (Locks::beside(&path), Locks::beside(&path));
        let worker = id("w");
        assert!(!ours.is_gone(&worker), "a file that is missing proved a death");
        theirs.acquire(&worker).expect("a lock");
        assert!(!ours.is_gone(&worker));
        assert!(ours.acquire(&worker).is_err(), "two hold one lock");
        drop(theirs);
        assert!(ours.is_gone(&worker));
        ours.release(&worker);
        assert!(!ours.is_gone(&worker), "the file stayed");
    }
}
