//! Texts that lines repeat, and what was made of them the first time.
//!
//! Shared by all workers. It is only a memory: what does not fit is made again.

use rustc_hash::{FxBuildHasher, FxHashMap};
use std::hash::BuildHasher as _;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Parts with a lock each, so that workers seldom wait for one another.
const SHARDS: usize = 64;
/// Bytes an entry takes beside its text, about.
const ENTRY_BYTES: usize = 64;

/// What was made of texts.
#[derive(Debug)]
pub(crate) struct Remembered<T> {
    shards: Vec<Mutex<Shard<T>>>,
    shard_bytes: usize,
}

#[derive(Debug)]
struct Shard<T> {
    made: FxHashMap<Box<str>, T>,
    bytes: usize,
}

impl<T: Clone> Remembered<T> {
    /// Remembers texts of `bytes` bytes in all.
    pub(crate) fn new(bytes: usize) -> Self {
        let shard = || {
            Mutex::new(Shard {
                made: FxHashMap::default(),
                bytes: 0,
            })
        };
        Remembered {
            shards: std::iter::repeat_with(shard).take(SHARDS).collect(),
            shard_bytes: bytes / SHARDS,
        }
    }

    pub(crate) fn get(&self, text: &str) -> Option<T> {
        self.shard(text).made.get(text).cloned()
    }

    pub(crate) fn keep(&self, text: &str, made: T) {
        let mut shard = self.shard(text);
        if shard.bytes + text.len() + ENTRY_BYTES <= self.shard_bytes {
            shard.bytes += text.len() + ENTRY_BYTES;
            shard.made.insert(text.into(), made);
        }
    }

    /// Changes all that was made.
    pub(crate) fn change(&mut self, change: impl Fn(&mut T)) {
        for shard in &mut self.shards {
            let shard = shard.get_mut().unwrap_or_else(PoisonError::into_inner);
            shard.made.values_mut().for_each(&change);
        }
    }

    fn shard(&self, text: &str) -> MutexGuard<'_, Shard<T>> {
        let hash = FxBuildHasher.hash_one(text) as usize;
        // Not the bits that the maps themselves go by.
        let shard = &self.shards[(hash >> 40) % SHARDS];
        shard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fits_is_remembered() {
        let mut remembered = Remembered::new(SHARDS * (ENTRY_BYTES + 1));
        remembered.keep("a", 1);
        remembered.keep("a longer text", 2);
        remembered.change(|made| *made += 10);
        assert_eq!(remembered.get("a"), Some(11));
        assert_eq!(remembered.get("a longer text"), None);
        assert_eq!(remembered.get("b"), None);
    }
}
