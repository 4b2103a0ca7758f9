//! Directories that appear whole or not at all.
//!
//! A dataset generation or a model is written in a job's scratch directory, synced, renamed to its
//! final place, and named in the catalog afterwards. What no record names is rubbish of a crash or
//! of a replaced generation and is swept; the publish lock keeps the sweep away from a directory
//! that is renamed but not yet named.

use crate::Layout;
use kindred_catalog::records::{Dataset, SegmentJob, SolutionVersion, status};
use kindred_catalog::{Catalog, Error};
use std::collections::HashSet;
use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Held from the rename of a directory until its record is committed, and by the sweep.
#[derive(Debug, Default)]
pub(crate) struct PublishLock(Mutex<()>);

impl PublishLock {
    pub(crate) fn hold(&self) -> MutexGuard<'_, ()> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Syncs a directory's own entries.
pub fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// Moves the directory `staged`, whose files are synced already, to `target` in one step; when this
/// returns the move is on disk. A leftover at `target` is replaced.
pub fn publish_directory(staged: &Path, target: &Path) -> io::Result<()> {
    sync_directory(staged)?;
    if target.exists() {
        std::fs::remove_dir_all(target)?;
    }
    std::fs::rename(staged, target)?;
    match target.parent() {
        Some(parent) => sync_directory(parent),
        None => Ok(()),
    }
}

/// Removes generations and models that no record names. Trouble with a single directory is logged
/// and tried again with the next sweep.
pub(crate) fn sweep(layout: &Layout, catalog: &Catalog, lock: &PublishLock) -> Result<(), Error> {
    let _guard = lock.hold();
    let (generations, models) = catalog.read(|tx| {
        let mut generations = HashSet::new();
        let mut models = HashSet::new();
        for dataset in tx.all::<Dataset>(None)? {
            generations.extend(
                dataset
                    .generations
                    .into_iter()
                    .map(|generation| generation.id),
            );
        }
        for version in tx.all::<SolutionVersion>(None)? {
            // A finished version has its model; only one in training still reads its snapshot.
            if status::is_unfinished(&version.status) {
                let interactions = version.snapshot.unwrap_or_default();
                let read = interactions.into_iter().chain(version.items_snapshot);
                generations.extend(read.map(|generation| generation.id));
            }
            models.extend(version.model);
        }
        for job in tx.all::<SegmentJob>(None)? {
            if let Some(data) = job.data.filter(|_| status::is_unfinished(&job.status)) {
                let read = data.interactions.into_iter().chain(data.users);
                generations.extend(read.map(|generation| generation.id));
            }
        }
        Ok::<_, Error>((generations, models))
    })?;
    remove_others(&layout.datasets(), &generations);
    remove_others(&layout.models(), &models);
    Ok(())
}

fn remove_others(directory: &Path, keep: &HashSet<String>) {
    let Ok(entries) = std::fs::read_dir(directory) else {
        return;
    };
    for entry in entries.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if keep.contains(&name) {
            continue;
        }
        if let Err(error) = std::fs::remove_dir_all(entry.path()) {
            tracing::warn!(path = %entry.path().display(), %error, "cannot remove an unused directory");
        }
    }
}
