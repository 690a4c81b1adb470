//! Which file systems SQLite's locks and shared memory can be trusted on.

use crate::{Error, Result};
use std::path::Path;

/// Refuses a directory on a network file system, where two machines would not see each other's
/// locks and the write-ahead log's shared memory.
pub(super) fn refuse_network(directory: &Path) -> Result<()> {
    match magic(directory).and_then(network_kind) {
        Some(kind) => {
            Err(Error::NetworkFileSystem { path: directory.to_owned(), kind: kind.to_owned() })
        }
        None => Ok(()),
    }
}

#[cfg(target_os = "linux")]
fn magic(directory: &Path) -> Option<u32> {
    // A file system that cannot be asked is not refused: opening it tells more.
    let found = rustix::fs::statfs(directory).ok()?;
    // The numbers are 32 bits wide; some platforms widen them with their sign.
    Some((found.f_type as i128 & 0xffff_ffff) as u32)
}

#[cfg(not(target_os = "linux"))]
const fn magic(_directory: &Path) -> Option<u32> {
    None
}

/// The name of a network file system by statfs(2)'s `f_type`; none for a local one.
///
/// The numbers are those of statfs(2) and of Linux's `include/uapi/linux/magic.h`. FUSE says
/// nothing of what lies behind it (sshfs as well as a local ntfs), so it is let through.
const fn network_kind(magic: u32) -> Option<&'static str> {
    Some(match magic {
        0x6969 => "NFS",
        0x517b => "SMB",
        0xff53_4d42 => "CIFS",
        0xfe53_4d42 => "SMB2",
        0x0102_1997 => "9p",
        0x00c3_6400 => "Ceph",
        0x5346_414f | 0x6b41_4653 => "AFS",
        0x7375_7245 => "Coda",
        0x564c => "NCP",
        0x0bd0_0bd0 => "Lustre",
        0x0116_1970 => "GFS2",
        0x7461_636f => "OCFS2",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn network_file_systems_are_known_by_their_number() {
        let cases = [
            (0x6969, Some("NFS")),
            (0x517b, Some("SMB")),
            (0xff53_4d42, Some("CIFS")),
            (0xfe53_4d42, Some("SMB2")),
            (0x0102_1997, Some("9p")),
            (0x00c3_6400, Some("Ceph")),
            (0xef53, None),      // ext4
            (0x0102_1994, None), // tmpfs
            (0x5846_5342, None), // xfs
            (0x9123_683e, None), // btrfs
            (0x794c_7630, None), // overlayfs
            (0x2fc1_2fc1, None), // zfs
            (0x6573_5546, None), // fuse
        ];
        for (magic, kind) in cases {
            assert_eq!(network_kind(magic), kind, "{magic:#x}");
        }
    }

    #[test]
    fn a_temporary_directory_is_local() {
        assert!(refuse_network(&std::env::temp_dir()).is_ok());
    }
}
