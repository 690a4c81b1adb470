//! The places that a run reads and writes: no two of them may be one file.

use super::Args;
use crate::{
    fault::{Fault, Result},
    input::Source,
};
use std::{
    fs,
    path::{Path, PathBuf},
};

/// Refuses a run that would write into its own rows, or answers among rejected rows.
pub(super) fn check(args: &Args) -> Result<()> {
    let (rows, rows_path) = match &args.file {
        Source::File(path) => ("FILE", path.clone()),
        Source::Stdin => ("standard input", PathBuf::from("/dev/stdin")),
    };
    let (answers, answers_path) = match &args.out {
        Some(path) => ("--out", path.clone()),
        None => ("standard output", PathBuf::from("/dev/stdout")),
    };
    let mut places = vec![(rows, rows_path), (answers, answers_path)];
    places.extend(args.rejects.clone().map(|path| ("--rejects", path)));
    for (nth, (name, path)) in places.iter().enumerate() {
        for (other, same) in places.iter().skip(nth + 1) {
            if is_same_file(path, same) {
                return Err(Fault::usage(format!("{name} and {other} are the same file"))
                    .why(format!("{} would be spoilt", path.display()))
                    .fix("name a file of its own for each of --out and --rejects"));
            }
        }
    }
    Ok(())
}

/// True for two ways to one file, whether it exists already or not; devices and pipes may be
/// shared.
fn is_same_file(one: &Path, other: &Path) -> bool {
    match (fs::metadata(one), fs::metadata(other)) {
        (Ok(one_data), Ok(other_data)) => {
            let are_files = one_data.is_file() && other_data.is_file();
            are_files && (is_same_inode(&one_data, &other_data) || is_same_path(one, other))
        }
        (Err(_), Err(_)) => is_same_path(one, other),
        _ => false,
    }
}

/// Two names of one file are told by where it lies.
#[cfg(unix)]
fn is_same_inode(one: &fs::Metadata, other: &fs::Metadata) -> bool {
    use std::os::unix::fs::MetadataExt;
    (one.dev(), one.ino()) == (other.dev(), other.ino())
}

#[cfg(not(unix))]
const fn is_same_inode(_: &fs::Metadata, _: &fs::Metadata) -> bool {
    false
}

fn is_same_path(one: &Path, other: &Path) -> bool {
    match (whole(one), whole(other)) {
        (Some(one), Some(other)) => one == other,
        _ => one == other,
    }
}

/// The whole path without links; a file that is not there yet is looked for in its directory.
fn whole(path: &Path) -> Option<PathBuf> {
    path.canonicalize().ok().or_else(|| {
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        let parent = parent.unwrap_or_else(|| Path::new(".")).canonicalize().ok()?;
        Some(parent.join(path.file_name()?))
    })
}
