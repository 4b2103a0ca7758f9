//! Who is reading what: the blobs of an object that was replaced or deleted stay until its last
//! reader is done.
//!
//! Pinning happens while the object is looked up, under one lock; whoever replaces an object asks
//! for its blobs' removal after the commit, under the same lock. So a reader that saw the old row
//! is always seen here.

use super::disk::Disk;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

#[derive(Debug)]
pub(crate) struct Pins {
    disk: Arc<Disk>,
    pinned: Mutex<HashMap<String, Pinned>>,
}

#[derive(Debug, Default)]
struct Pinned {
    readers: usize,
    doomed: Vec<String>,
}

/// Keeps one object's blobs on disk while it lives.
#[derive(Debug)]
pub(crate) struct Pin {
    pins: Arc<Pins>,
    object: String,
}

impl Pins {
    pub(crate) fn new(disk: Arc<Disk>) -> Self {
        Pins {
            disk,
            pinned: Mutex::default(),
        }
    }

    /// Looks an object up and pins it in one step. `find` gives the object's id and what was found.
    pub(crate) fn pin<T, E>(
        self: &Arc<Self>,
        find: impl FnOnce() -> Result<(String, T), E>,
    ) -> Result<(Pin, T), E> {
        let mut pinned = self.lock();
        let (object, found) = find()?;
        pinned.entry(object.clone()).or_default().readers += 1;
        Ok((
            Pin {
                pins: Arc::clone(self),
                object,
            },
            found,
        ))
    }

    /// Removes `blobs` of `object`, which no row names any more, now or after its last reader.
    pub(crate) fn remove(&self, object: &str, blobs: Vec<String>) {
        let mut pinned = self.lock();
        match pinned.get_mut(object) {
            Some(entry) => entry.doomed.extend(blobs),
            None => {
                drop(pinned);
                blobs.iter().for_each(|blob| self.disk.remove(blob));
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Pinned>> {
        self.pinned.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Pin {
    fn drop(&mut self) {
        let mut pinned = self.pins.lock();
        let Some(entry) = pinned.get_mut(&self.object) else {
            return;
        };
        entry.readers -= 1;
        if entry.readers > 0 {
            return;
        }
        let doomed = pinned
            .remove(&self.object)
            .map(|entry| entry.doomed)
            .unwrap_or_default();
        drop(pinned);
        doomed.iter().for_each(|blob| self.pins.disk.remove(blob));
    }
}
