//! Different keys of many workers, and a number for each that does not depend on them.
//!
//! While keys are noted they have the numbers of their arrival, which is anybody's; when all are
//! there, they get those of their order.

use rustc_hash::{FxBuildHasher, FxHashMap};
use std::hash::{BuildHasher as _, Hash};
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Parts with a lock each, so that workers seldom wait for one another.
const SHARDS: usize = 64;

/// Keys and their numbers. Some keys are known to have none.
#[derive(Debug)]
pub(crate) struct Numbered<K> {
    shards: Vec<Mutex<FxHashMap<K, Option<u32>>>>,
    keys: AtomicUsize,
    keys_max: usize,
    /// The number of the next key that gets one.
    next: AtomicU32,
}

impl<K: Hash + Eq + Clone> Numbered<K> {
    /// Notes no more than about `keys_max` keys.
    pub(crate) fn new(keys_max: usize) -> Self {
        let shards = std::iter::repeat_with(Mutex::default).take(SHARDS);
        Numbered {
            shards: shards.collect(),
            keys: AtomicUsize::new(0),
            keys_max,
            next: AtomicU32::new(0),
        }
    }

    /// Whether there were more keys than may be noted.
    pub(crate) fn is_full(&self) -> bool {
        self.keys.load(Ordering::Relaxed) > self.keys_max
    }

    /// The number of a key; a new one gets a number if it `has` one. Nothing if it has none or there
    /// are too many keys.
    pub(crate) fn note(&self, key: &K, has: impl FnOnce() -> bool) -> Option<u32> {
        let mut shard = self.shard(key);
        if let Some(number) = shard.get(key) {
            return *number;
        }
        if self.is_full() {
            return None;
        }
        self.keys.fetch_add(1, Ordering::Relaxed);
        let number = has().then(|| self.next.fetch_add(1, Ordering::Relaxed));
        shard.insert(key.clone(), number);
        number
    }

    /// The number of a key that was noted, if it has one; nothing at all if it was not.
    pub(crate) fn get(&self, key: &K) -> Option<Option<u32>> {
        self.shard(key).get(key).copied()
    }

    /// All keys with a number, in the order of `by`, which are their numbers from now on; and the new
    /// numbers by the old ones.
    pub(crate) fn close<O: Ord>(&mut self, by: impl Fn(&K) -> O) -> (Vec<K>, Vec<u32>) {
        let mut keys = Vec::new();
        for shard in &mut self.shards {
            let shard = shard.get_mut().unwrap_or_else(PoisonError::into_inner);
            let known = shard.iter().filter(|(_, number)| number.is_some());
            keys.extend(known.map(|(key, _)| key.clone()));
        }
        keys.sort_by_cached_key(by);
        let mut renumbered = vec![0; keys.len()];
        for (key, new) in keys.iter().zip(0u32..) {
            if let Some(Some(number)) = self.shard(key).get_mut(key) {
                renumbered[*number as usize] = new;
                *number = new;
            }
        }
        (keys, renumbered)
    }

    fn shard(&self, key: &K) -> MutexGuard<'_, FxHashMap<K, Option<u32>>> {
        let hash = FxBuildHasher.hash_one(key) as usize;
        // Not the bits that the maps themselves go by.
        let shard = &self.shards[(hash >> 40) % SHARDS];
        shard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_do_not_depend_on_who_comes_first() {
        let all: Vec<u64> = (0..5_000).map(|number| number * 7_919 % 5_003).collect();
        let numbers = |threads: usize| {
            let mut numbered = Numbered::new(10_000);
            std::thread::scope(|scope| {
                for thread in 0..threads {
                    let (numbered, mut mine) = (&numbered, all.clone());
                    mine.rotate_left(thread * 1_000);
                    scope.spawn(move || {
                        for key in mine {
                            numbered.note(&key, || key % 3 > 0);
                        }
                    });
                }
            });
            let (keys, renumbered) = numbered.close(|key| *key);
            assert!(keys.is_sorted() && renumbered.len() == keys.len());
            let get = |key| numbered.get(key);
            (keys, all.iter().map(get).collect::<Vec<_>>())
        };
        let one = numbers(1);
        assert!(one == numbers(4));
        for (key, number) in all.iter().zip(&one.1) {
            let number = number.unwrap();
            assert_eq!(number.is_some(), key % 3 > 0);
            assert!(number.is_none_or(|number| one.0[number as usize] == *key));
        }
    }

    #[test]
    fn too_many_keys_are_noticed() {
        let numbered = Numbered::new(2);
        for key in 0..3 {
            assert_eq!(numbered.note(&key, || true), Some(key));
        }
        assert!(numbered.is_full());
        assert_eq!(numbered.note(&7, || true), None);
        assert_eq!(numbered.note(&1, || true), Some(1));
        assert_eq!((numbered.get(&7), numbered.get(&2)), (None, Some(Some(2))));
    }
}
