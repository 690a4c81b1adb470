//! Where the clients are installed, by `clients/install`, which finds its own work done.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

/// The top of the repository.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().expect("the workspace")
}

/// The folder of the installed clients, in that of the build.
pub(crate) fn folder() -> PathBuf {
    // `PROFILE/deadletter`, in the folder of the build.
    let built = Path::new(env!("CARGO_BIN_EXE_deadletter")).parent().and_then(Path::parent);
    let folder = built.expect("a folder of builds").join("clients");
    let installed = Command::new(root().join("clients/install")).arg(&folder).output();
    let installed = installed.expect("bash runs");
    let said = String::from_utf8_lossy(&installed.stderr);
    assert!(installed.status.success(), "the clients cannot be installed:\n{said}");
    folder
}
