//! Which file systems SQLite's locks and shared memory can be trusted on.

use crate::{Error, Result};
use std::{fs, path::Path};

/// Refuses a directory on a network file system, where two machines would not see each other's
/// locks and the write-ahead log's shared memory.
pub(super) fn refuse_network(directory: &Path) -> Result<()> {
    let kind = match magic(directory) {
        Some(FUSE) => fuse_kind(directory),
        Some(magic) => network_kind(magic).map(str::to_owned),
        None => None,
    };
    kind.map_or(Ok(()), |kind| Err(Error::NetworkFileSystem { path: directory.to_owned(), kind }))
}

/// The number of every FUSE file system, whatever lies behind it.
const FUSE: u32 = 0x6573_5546;

/// What lies behind a FUSE mount, where that is a network; the mount table names it.
fn fuse_kind(directory: &Path) -> Option<String> {
    let table = fs::read_to_string("/proc/self/mountinfo").ok()?;
    let directory = directory.canonicalize().ok()?;
    let kind = mounted_kind(&table, &directory)?;
    is_network_fuse(kind).then(|| kind.to_owned())
}

/// The file system type of the innermost mount over `directory`, from proc(5)'s mountinfo: the
/// mount point is the fifth field, the type the first after the lone dash.
fn mounted_kind<'t>(table: &'t str, directory: &Path) -> Option<&'t str> {
    let mounts = table.lines().filter_map(|line| {
        let point = line.split(' ').nth(4)?.replace("\\040", " ");
        let kind = line.split_once(" - ")?.1.split(' ').next()?;
        directory.starts_with(&point).then_some((point.len(), kind))
    });
    // Of equal ones the last covers the others.
    mounts.max_by_key(|(length, _)| *length).map(|(_, kind)| kind)
}

fn is_network_fuse(kind: &str) -> bool {
    const NETWORK: &[&str] =
        &["sshfs", "s3fs", "gcsfuse", "glusterfs", "rclone", "davfs", "curlftpfs", "cephfs"];
    kind.strip_prefix("fuse.").is_some_and(|kind| NETWORK.iter().any(|name| kind.contains(name)))
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
/// The numbers are those of statfs(2) and of Linux's `include/uapi/linux/magic.h`.
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
    fn a_fuse_mount_is_known_by_the_innermost_entry_of_the_mount_table() {
        let table = "\
21 1 8:1 / / rw,relatime - ext4 /dev/sda1 rw
90 21 0:50 / /mnt/far\\040away rw shared:1 - fuse.sshfs me@host:/ rw
91 21 0:51 / /mnt/near rw - fuseblk /dev/sdb1 rw
92 90 0:52 / /mnt/far\\040away/cloud rw - fuse.rclone cloud: rw
";
        let cases = [
            ("/home/x", "ext4", false),
            ("/mnt/far away/x", "fuse.sshfs", true),
            ("/mnt/far away/cloud", "fuse.rclone", true),
            ("/mnt/near/x", "fuseblk", false),
            ("/mnt/nearby", "ext4", false),
        ];
        for (directory, kind, is_network) in cases {
            assert_eq!(mounted_kind(table, Path::new(directory)), Some(kind), "{directory}");
            assert_eq!(is_network_fuse(kind), is_network, "{kind}");
        }
    }

    #[test]
    fn a_temporary_directory_is_local() {
        assert!(refuse_network(&std::env::temp_dir()).is_ok());
    }
}
