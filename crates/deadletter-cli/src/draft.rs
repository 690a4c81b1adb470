//! A file that gets its name only when it is whole: until then it is a draft beside it.
//!
//! A draft is this process's own and readable by its owner alone, whatever stood there before.

use std::{
    ffi::OsString,
    fs::{self, File, OpenOptions},
    io,
    path::{Path, PathBuf},
};

/// A draft; it is removed unless it gets its name.
pub(crate) struct Draft {
    at: PathBuf,
    path: PathBuf,
}

impl Draft {
    /// Begins the file that is to be called `path`. No two processes write into one draft.
    pub(crate) fn begin(path: &Path) -> io::Result<(Self, File)> {
        let mut at: OsString = path.as_os_str().to_owned();
        at.push(format!(".part-{}", std::process::id()));
        let draft = Self { at: at.into(), path: path.to_owned() };
        draft.remove()?;
        let mut options = OpenOptions::new();
        // Never one that stands: it would keep its rights, and a link would lead elsewhere.
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let file = options.open(&draft.at)?;
        Ok((draft, file))
    }

    /// Gives it its name, on the disk: the file first, then the folder that names it. An error
    /// where something stands under that name by now.
    pub(crate) fn put_in_place(self, file: &File) -> io::Result<()> {
        file.sync_all()?;
        // A link, unlike a rename, never takes another file's place.
        fs::hard_link(&self.at, &self.path)?;
        let folder = self.path.parent().filter(|folder| !folder.as_os_str().is_empty());
        #[cfg(unix)]
        File::open(folder.unwrap_or(Path::new(".")))?.sync_all()?;
        #[cfg(not(unix))]
        drop(folder);
        Ok(())
    }

    /// Gives it its name, in the place of what stands there.
    pub(crate) fn replace(self) -> io::Result<()> {
        fs::rename(&self.at, &self.path)
    }

    fn remove(&self) -> io::Result<()> {
        match fs::remove_file(&self.at) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        // It is no whole file, and nobody should take it for one.
        self.remove().unwrap_or_default();
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use std::{
        io::Write,
        os::unix::fs::{MetadataExt, symlink},
    };

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("one"));
        entries.map(|entry| entry.file_name().into_string().expect("UTF-8")).collect()
    }

    #[test]
    fn what_stands_under_a_drafts_name_lends_it_neither_its_rights_nor_its_place() {
        let folder = tempfile::tempdir().expect("a folder");
        let (path, public) = (folder.path().join("kept"), folder.path().join("public"));
        fs::write(&public, "of somebody").expect("written");
        let stale = folder.path().join(format!("kept.part-{}", std::process::id()));
        symlink(&public, &stale).expect("linked");
        let (draft, mut file) = Draft::begin(&path).expect("begun");
        file.write_all(b"secret").expect("written");
        assert_eq!(file.metadata().expect("it is open").mode() & 0o777, 0o600);
        draft.put_in_place(&file).expect("its name is free");
        assert!(!path.is_symlink());
        assert_eq!(fs::read_to_string(&path).expect("read"), "secret");
        assert_eq!(fs::read_to_string(&public).expect("read"), "of somebody");
        assert_eq!(names(folder.path()).len(), 2, "{:?}", names(folder.path()));
    }

    #[test]
    fn what_appeared_meanwhile_is_all_that_is_left_of_it_and_stays() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("kept");
        let (draft, file) = Draft::begin(&path).expect("begun");
        assert!(names(folder.path())[0].ends_with(&std::process::id().to_string()));
        fs::write(&path, "of another").expect("written");
        let error = draft.put_in_place(&file).expect_err("the name is taken");
        assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read_to_string(&path).expect("read"), "of another");
        assert_eq!(names(folder.path()), ["kept"], "the draft is gone");
        // An export, unlike a keepsake, is written anew.
        let (draft, _) = Draft::begin(&path).expect("begun");
        draft.replace().expect("replaced");
        assert_eq!(fs::read_to_string(&path).expect("read"), "");
        assert_eq!(names(folder.path()), ["kept"]);
    }
}
