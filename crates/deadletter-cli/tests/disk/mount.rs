//! A disk of a test's own: a small tmpfs, taken away with its owner.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// Where a tmpfs is mounted.
pub(crate) struct Disk {
    path: PathBuf,
}

impl Disk {
    /// Mounts `kib` KiB at `path`, which is created.
    pub(crate) fn mount(path: &Path, kib: u32) -> Self {
        fs::create_dir_all(path).expect("created");
        let size = format!("size={kib}k");
        run("mount", &["-t", "tmpfs", "-o", &size, "tmpfs", &path.display().to_string()]);
        Self { path: path.to_owned() }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Gives it that size from now on; what stands on it stays.
    pub(crate) fn resize(&self, kib: u32) {
        self.remount(&format!("size={kib}k"));
    }

    /// Nothing can be written from now on.
    pub(crate) fn set_read_only(&self) {
        self.remount("ro");
    }

    /// It can be written again.
    pub(crate) fn set_writable(&self) {
        self.remount("rw");
    }

    /// Fills it to the last byte.
    pub(crate) fn fill(&self) {
        use std::io::Write;
        let mut filler = fs::File::create(self.path.join("filler")).expect("created");
        let block = [0; 4_096];
        while filler.write_all(&block).is_ok() {}
    }

    /// Makes the room again that `fill` took.
    pub(crate) fn make_room(&self) {
        fs::remove_file(self.path.join("filler")).expect("it was filled");
    }

    fn remount(&self, option: &str) {
        let option = format!("remount,{option}");
        run("mount", &["-o", &option, &self.path.display().to_string()]);
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // A test that has failed already must not fail again here.
        Command::new("umount").arg("-l").arg(&self.path).status().ok();
    }
}

fn run(program: &str, args: &[&str]) {
    let output = Command::new(program).args(args).output();
    let output = output.unwrap_or_else(|error| panic!("{program} cannot be run: {error}"));
    assert!(
        output.status.success(),
        "{program} {args:?} was refused: {}; these tests mount a small tmpfs of their own: run \
         them as root (in a container with CAP_SYS_ADMIN), or under `unshare --map-root-user --mount`",
        String::from_utf8_lossy(&output.stderr)
    );
}
