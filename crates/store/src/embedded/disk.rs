//! Blob files: where they lie, how they become durable, and the end of all writing after a failed
//! sync.
//!
//! A blob is known by 32 hexadecimal digits that come from the random source; no name from outside
//! ever becomes part of a path. All opens go through directory handles and follow no symlink.
//! Every step that can fail asks the [`DiskWatch`] first, which is how tests fail the N-th write or
//! sync.

use crate::Error;
use rustix::fs::{AtFlags, Mode, OFlags};
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// One step of making bytes durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DiskStep {
    /// A staging file is made.
    Create,
    /// Bytes are written to it.
    Write,
    /// It is synced.
    Sync,
    /// It is renamed to its final name.
    Rename,
    /// The directory it was renamed into is synced.
    SyncDirectory,
    /// The index transaction is committed.
    Commit,
}

/// Is told of every step before it happens and may make it fail.
pub trait DiskWatch: Send + Sync + std::fmt::Debug {
    /// Called before `step`; an error takes the step's place.
    fn before(&self, step: DiskStep) -> io::Result<()>;
}

/// Lets everything pass.
#[derive(Debug)]
pub(crate) struct NoWatch;

impl DiskWatch for NoWatch {
    fn before(&self, _step: DiskStep) -> io::Result<()> {
        Ok(())
    }
}

const STAGING: &str = "staging";

/// The directory of blob files of one store, locked against a second process.
#[derive(Debug)]
pub(crate) struct Disk {
    path: PathBuf,
    root: File,
    staging: File,
    watch: Arc<dyn DiskWatch>,
    poisoned: AtomicBool,
}

impl Disk {
    /// Opens (or makes) the blob directory, takes its lock and removes what a crash left in staging.
    pub(crate) fn open(path: &Path, watch: Arc<dyn DiskWatch>) -> Result<Self, Error> {
        let failed = |source: io::Error| Error::Io {
            path: path.to_path_buf(),
            source,
        };
        let mut builder = std::fs::DirBuilder::new();
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.recursive(true).create(path).map_err(failed)?;
        let root = open_directory(rustix::fs::CWD, path).map_err(failed)?;
        rustix::fs::flock(&root, rustix::fs::FlockOperation::NonBlockingLockExclusive).map_err(
            |_| Error::Unavailable(format!("{} is in use by another process", path.display())),
        )?;
        for first in 0..=255u8 {
            make_directory(&root, &format!("{first:02x}")).map_err(failed)?;
        }
        make_directory(&root, STAGING).map_err(failed)?;
        let staging = open_directory(&root, STAGING).map_err(failed)?;
        root.sync_all().map_err(failed)?;
        let disk = Disk {
            path: path.to_path_buf(),
            root,
            staging,
            watch,
            poisoned: AtomicBool::new(false),
        };
        for name in names_in(&disk.staging).map_err(failed)? {
            remove_at(&disk.staging, &name).map_err(failed)?;
        }
        Ok(disk)
    }

    /// Fails once a sync has failed.
    pub(crate) fn check_writable(&self) -> Result<(), Error> {
        if self.is_poisoned() {
            Err(Error::Poisoned)
        } else {
            Ok(())
        }
    }

    /// Whether a sync has failed.
    pub(crate) fn is_poisoned(&self) -> bool {
        self.poisoned.load(Ordering::SeqCst)
    }

    /// Ends all writing: a failed sync may have dropped pages that a second try would not write.
    pub(crate) fn poison(&self, what: &str) {
        if !self.poisoned.swap(true, Ordering::SeqCst) {
            tracing::error!(step = what, "a sync failed; the store takes no more writes");
        }
    }

    pub(crate) fn watch(&self, step: DiskStep) -> io::Result<()> {
        self.watch.before(step)
    }

    /// Makes an empty staging file for blob `id`.
    pub(crate) fn create(&self, id: &str) -> Result<File, Error> {
        self.check_writable()?;
        let flags =
            OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        self.watch(DiskStep::Create)
            .and_then(|()| {
                let file = rustix::fs::openat(&self.staging, id, flags, Mode::from_raw_mode(0o600));
                file.map(File::from).map_err(io::Error::from)
            })
            .map_err(|source| self.failed(id, source))
    }

    /// Appends to a staging file.
    pub(crate) fn write(&self, id: &str, file: &mut File, bytes: &[u8]) -> Result<(), Error> {
        use std::io::Write as _;
        self.watch(DiskStep::Write)
            .and_then(|()| file.write_all(bytes))
            .map_err(|source| self.failed(id, source))
    }

    /// Syncs a staging file, gives it its final name and syncs the directory.
    pub(crate) fn publish(&self, id: &str, file: &File) -> Result<(), Error> {
        self.check_writable()?;
        self.watch(DiskStep::Sync)
            .and_then(|()| file.sync_all())
            .map_err(|source| {
                self.poison("file");
                self.failed(id, source)
            })?;
        let failed = |source| self.failed(id, source);
        let shard = self.shard(id).map_err(failed)?;
        self.watch(DiskStep::Rename)
            .and_then(|()| {
                rustix::fs::renameat(&self.staging, id, &shard, id).map_err(io::Error::from)
            })
            .map_err(failed)?;
        self.watch(DiskStep::SyncDirectory)
            .and_then(|()| shard.sync_all())
            .map_err(|source| {
                self.poison("directory");
                self.failed(id, source)
            })
    }

    /// Opens a published blob for reading.
    pub(crate) fn open_blob(&self, id: &str) -> io::Result<File> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let file = rustix::fs::openat(self.shard(id)?, id, flags, Mode::empty())?;
        Ok(File::from(file))
    }

    /// Removes a staging file, whether it is there or not.
    pub(crate) fn discard(&self, id: &str) {
        if let Err(error) = remove_at(&self.staging, id) {
            tracing::warn!(blob = id, %error, "a staging file stays until the next start");
        }
    }

    /// Removes a published blob. One that stays behind is removed at the next start.
    pub(crate) fn remove(&self, id: &str) {
        if let Err(error) = self.shard(id).and_then(|shard| remove_at(&shard, id)) {
            tracing::warn!(blob = id, %error, "an unused blob stays until the next start");
        }
    }

    /// The blobs whose id starts with the byte `first`.
    pub(crate) fn blobs(&self, first: u8) -> Result<Vec<String>, Error> {
        let shard = format!("{first:02x}");
        open_directory(&self.root, &shard)
            .and_then(|directory| names_in(&directory))
            .map_err(|source| Error::Io {
                path: self.path.join(&shard),
                source,
            })
    }

    /// An i/o error with the path of blob `id`.
    pub(crate) fn failed(&self, id: &str, source: io::Error) -> Error {
        Error::Io {
            path: self.path.join(id.get(..2).unwrap_or("")).join(id),
            source,
        }
    }

    fn shard(&self, id: &str) -> io::Result<File> {
        let good = id.len() == 32
            && id
                .bytes()
                .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        if !good {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a blob id"));
        }
        open_directory(&self.root, &id[..2])
    }
}

fn open_directory<F: std::os::fd::AsFd, P: rustix::path::Arg>(at: F, path: P) -> io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    Ok(File::from(rustix::fs::openat(
        at,
        path,
        flags,
        Mode::empty(),
    )?))
}

fn make_directory(at: &File, name: &str) -> io::Result<()> {
    match rustix::fs::mkdirat(at, name, Mode::from_raw_mode(0o700)) {
        Ok(()) | Err(rustix::io::Errno::EXIST) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

fn remove_at(at: &File, name: &str) -> io::Result<()> {
    match rustix::fs::unlinkat(at, name, AtFlags::empty()) {
        Ok(()) | Err(rustix::io::Errno::NOENT) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

fn names_in(directory: &File) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in rustix::fs::Dir::read_from(directory)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if name != "." && name != ".." {
            names.push(name);
        }
    }
    Ok(names)
}
