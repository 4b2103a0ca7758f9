//! What has to be private before a server starts.
//!
//! Whoever can write into the data directory can change keys, roles and data, so one that others
//! could write is refused, unless it is empty and nothing can have been left in it. One that others
//! can only read is made private. From then on this process makes files that only its user can
//! read, whatever umask it was started with. The credentials file has its own check in
//! [`crate::keys`]: what others could read is no secret any more, and that is not repaired.

use crate::server::StartError;
use rustix::fs::Mode;
use std::fs::Permissions;
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

/// Mode bits of everybody but the owner.
const OTHERS: u32 = 0o077;
const OTHERS_WRITE: u32 = 0o022;
/// What the server itself keeps in a data directory; made private when an older program, or a
/// copy, left it readable. Secrets are not here: they are refused instead.
const OWN_NAMES: [&str; 12] = [
    "lock",
    "format",
    "endpoint.json",
    "kindred.db",
    "kindred.db-wal",
    "kindred.db-shm",
    "identity.db",
    "identity.db-wal",
    "identity.db-shm",
    "buckets",
    "datasets",
    "models",
];

/// Makes every file of this process private from now on.
pub(crate) fn make_files_private() {
    rustix::process::umask(Mode::from_raw_mode(OTHERS));
}

/// Refuses a data directory that is not ours alone, or makes it so where that is safe.
pub(crate) fn need_private_directory(root: &Path) -> Result<(), StartError> {
    let io = |source| StartError::Io {
        path: root.to_owned(),
        source,
    };
    let found = std::fs::metadata(root).map_err(io)?;
    let user = rustix::process::geteuid();
    if !user.is_root() && found.uid() != user.as_raw() {
        return Err(StartError::Unsafe {
            path: root.to_owned(),
            reason: format!(
                "belongs to the user {}, and the server runs as {}",
                found.uid(),
                user.as_raw()
            ),
        });
    }
    let mode = found.permissions().mode();
    let empty = std::fs::read_dir(root).map_err(io)?.next().is_none();
    if mode & OTHERS_WRITE != 0 && !empty {
        return Err(StartError::Unsafe {
            path: root.to_owned(),
            reason: "can be written by others: look at what is in it, then run chmod 700".into(),
        });
    }
    tighten(root).map_err(io)?;
    for name in OWN_NAMES {
        let path = root.join(name);
        match tighten(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(StartError::Io {
                    path,
                    source: error,
                });
            }
            _ => {}
        }
    }
    Ok(())
}

fn tighten(path: &Path) -> io::Result<()> {
    let mode = std::fs::metadata(path)?.permissions().mode();
    if mode & OTHERS != 0 {
        tracing::warn!(path = %path.display(), "made private: others had rights on it");
        std::fs::set_permissions(path, Permissions::from_mode(mode & 0o700))?;
    }
    Ok(())
}

/// Whether everybody may write a file.
pub(crate) fn writable_by_all(path: &Path) -> io::Result<bool> {
    Ok(std::fs::metadata(path)?.permissions().mode() & 0o002 != 0)
}
