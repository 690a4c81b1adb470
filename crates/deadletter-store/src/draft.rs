//! A file that gets its name only when it is whole: until then it is a draft beside it.
//!
//! A draft is readable by its owner alone, and nothing that stands is ever written or removed for
//! its sake: a name that is taken stays taken, on file systems without links too.

use std::{
    ffi::OsString,
    fs::{self, File, OpenOptions},
    hash::{BuildHasher, RandomState},
    io,
    path::{Path, PathBuf},
};

/// Names that are tried for one draft: the first is free, unless somebody makes such names.
const NAMES: usize = 16;
/// What SQLite lays beside a file.
const BESIDE: [&str; 3] = ["-journal", "-wal", "-shm"];

/// A draft; it is removed unless it gets its name.
#[derive(Debug)]
pub struct Draft {
    at: PathBuf,
    path: PathBuf,
}

/// A file that has its name.
#[derive(Debug)]
#[must_use = "its folder may not be on the disk"]
pub struct Placed {
    folder: io::Result<()>,
}

impl Placed {
    /// Makes sure that a loss of power leaves it there.
    ///
    /// Errors: where its folder could not be flushed. The whole file stands under its name then,
    /// and a loss of power may undo that.
    pub fn durable(self) -> io::Result<()> {
        self.folder.map_err(|error| {
            let what = format!(
                "the file stands there whole, but its folder could not be flushed, and a loss of \
                 power may undo that: {error}"
            );
            io::Error::new(error.kind(), what)
        })
    }
}

impl Draft {
    /// Begins the file that is to be called `path`, empty, under a name that nobody has.
    ///
    /// Errors: of the file system.
    pub fn begin(path: &Path) -> io::Result<(Self, File)> {
        let mut options = OpenOptions::new();
        // Never one that stands: it would keep its rights, and a link would lead elsewhere.
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut taken = io::Error::from(io::ErrorKind::AlreadyExists);
        for _ in 0..NAMES {
            let mut at: OsString = path.as_os_str().to_owned();
            // Process ids come again, and are the same in two containers.
            at.push(format!(".part-{:016x}", RandomState::new().hash_one(path)));
            match options.open(&at) {
                Ok(file) => return Ok((Self { at: at.into(), path: path.to_owned() }, file)),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => taken = error,
                Err(error) => return Err(error),
            }
        }
        Err(taken)
    }

    /// Where it is until it has its name.
    #[must_use]
    pub fn at(&self) -> &Path {
        &self.at
    }

    /// Gives it its name, on the disk: first the file, which is closed, then the folder.
    ///
    /// Errors: `AlreadyExists` where something stands under that name by now, which is left as it
    /// is; others of the file system. Nothing of the draft is left then.
    pub fn put_in_place(self, file: File) -> io::Result<Placed> {
        flushed(file)?;
        match link(&self.at, &self.path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Err(error),
            // A file system without links says so in more than one way.
            Err(_) => rename_to_free(&self.at, &self.path)?,
            Ok(()) => {}
        }
        Ok(self.placed())
    }

    /// Gives it its name in the place of what stands there, on the disk: first the file, which is
    /// closed, then the folder.
    ///
    /// Errors: of the file system. What stood there stands then, and nothing of the draft is left.
    pub fn replace(self, file: File) -> io::Result<Placed> {
        flushed(file)?;
        fs::rename(&self.at, &self.path)?;
        Ok(self.placed())
    }

    /// Its other name goes before the folder is flushed, so that none comes back.
    fn placed(self) -> Placed {
        let path = self.path.clone();
        drop(self);
        Placed { folder: flush_folder(&path) }
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        // It is no whole file, and nobody should take it for one.
        for suffix in [""].iter().chain(&BESIDE) {
            let mut name = self.at.clone().into_os_string();
            name.push(suffix);
            match fs::remove_file(&name) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    tracing::warn!(?name, %error, "a draft could not be removed; remove it");
                }
                _ => {}
            }
        }
    }
}

/// Flushes a file and closes it: by its new name others may have locked it already, and closing it
/// would give up the locks of the whole process.
fn flushed(file: File) -> io::Result<()> {
    file.sync_all()
}

/// Flushes the folder that names `path`.
pub(crate) fn flush_folder(path: &Path) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    if cfg!(unix) { File::open(folder.unwrap_or(Path::new(".")))?.sync_all() } else { Ok(()) }
}

/// A second name: unlike a rename, it never takes another file's place.
fn link(from: &Path, to: &Path) -> io::Result<()> {
    fs::hard_link(from, to)
}

/// A new name on a file system that has no links, where nothing stands under it.
fn rename_to_free(from: &Path, to: &Path) -> io::Result<()> {
    match rename_unless_taken(from, to) {
        Err(error) if is_unknown(&error) => rename_to_reserved(from, to),
        renamed => renamed,
    }
}

#[cfg(any(target_os = "linux", target_os = "android", target_vendor = "apple"))]
fn rename_unless_taken(from: &Path, to: &Path) -> io::Result<()> {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    Ok(renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE)?)
}

#[cfg(not(any(target_os = "linux", target_os = "android", target_vendor = "apple")))]
fn rename_unless_taken(_from: &Path, _to: &Path) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// True where the system or the file system does not know how to rename without replacing.
fn is_unknown(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported)
}

/// Takes the name with an empty file first, which fails where it is taken, and puts the draft in the
/// place of that one.
fn rename_to_reserved(from: &Path, to: &Path) -> io::Result<()> {
    OpenOptions::new().write(true).create_new(true).open(to)?;
    let renamed = fs::rename(from, to);
    if renamed.is_err()
        && let Err(error) = fs::remove_file(to)
    {
        tracing::warn!(%error, path = %to.display(), "an empty file that reserved a name is left");
    }
    renamed
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use std::{io::Write, os::unix::fs::MetadataExt};

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("one"));
        entries.map(|entry| entry.file_name().into_string().expect("UTF-8")).collect()
    }

    #[test]
    fn two_drafts_of_one_file_never_meet_and_each_is_its_owners_alone() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("kept");
        let (first, mut file) = Draft::begin(&path).expect("begun");
        let (second, _) = Draft::begin(&path).expect("begun");
        assert_ne!(first.at(), second.at());
        drop(second);
        file.write_all(b"secret").expect("written");
        assert_eq!(file.metadata().expect("it is open").mode() & 0o777, 0o600);
        let placed = first.put_in_place(file).expect("its name is free");
        placed.durable().expect("flushed");
        assert_eq!(fs::read_to_string(&path).expect("read"), "secret");
        assert_eq!(names(folder.path()), ["kept"]);
    }

    #[test]
    fn what_appeared_meanwhile_is_all_that_is_left_of_it_and_stays() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("kept");
        let (draft, file) = Draft::begin(&path).expect("begun");
        fs::write(&path, "of another").expect("written");
        let error = draft.put_in_place(file).expect_err("the name is taken");
        assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read_to_string(&path).expect("read"), "of another");
        assert_eq!(names(folder.path()), ["kept"], "the draft is gone");
        // An export, unlike a keepsake, is written anew.
        let (draft, file) = Draft::begin(&path).expect("begun");
        draft.replace(file).expect("replaced").durable().expect("flushed");
        assert_eq!(fs::read_to_string(&path).expect("read"), "");
        assert_eq!(names(folder.path()), ["kept"]);
    }

    #[test]
    fn no_way_to_give_a_name_takes_one_that_is_taken() {
        let ways: [fn(&Path, &Path) -> io::Result<()>; 3] =
            [link, rename_to_free, rename_to_reserved];
        for (n, way) in ways.into_iter().enumerate() {
            let folder = tempfile::tempdir().expect("a folder");
            let (from, to) = (folder.path().join("draft"), folder.path().join("kept"));
            fs::write(&from, "new").expect("written");
            fs::write(&to, "of another").expect("written");
            let error = way(&from, &to).expect_err("the name is taken");
            assert_eq!(error.kind(), io::ErrorKind::AlreadyExists, "{n}");
            assert_eq!(fs::read_to_string(&to).expect("read"), "of another", "{n}");
            fs::remove_file(&to).expect("removed");
            way(&from, &to).expect("the name is free");
            assert_eq!(fs::read_to_string(&to).expect("read"), "new", "{n}");
        }
    }

    #[test]
    fn a_name_that_was_reserved_for_nothing_is_free_again() {
        let folder = tempfile::tempdir().expect("a folder");
        let to = folder.path().join("kept");
        rename_to_reserved(&folder.path().join("gone"), &to).expect_err("there is no draft");
        assert_eq!(names(folder.path()), [""; 0]);
    }
}
