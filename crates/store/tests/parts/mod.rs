//! Clock, chance and stores for the tests of this crate.
#![allow(dead_code)]

use kindred_store::EmbeddedStore;
use kindred_store::embedded::{DiskStep, DiskWatch};
use kindred_types::parts::{Clock, Random};
use kindred_types::time::Timestamp;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

/// Goes on by a second whenever it is asked.
#[derive(Debug, Default)]
pub(crate) struct TickingClock(AtomicI64);

impl Clock for TickingClock {
    fn now(&self) -> Timestamp {
        Timestamp(1_700_000_000_000 + self.0.fetch_add(1000, Ordering::Relaxed))
    }

    fn monotonic_ms(&self) -> u64 {
        self.0.load(Ordering::Relaxed) as u64
    }
}

/// Bytes that differ from call to call; splitmix64.
#[derive(Debug)]
pub(crate) struct SeededRandom(pub(crate) AtomicU64);

impl Random for SeededRandom {
    fn fill(&self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            let mut z = self.0.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed);
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            chunk.copy_from_slice(&(z ^ (z >> 31)).to_le_bytes()[..chunk.len()]);
        }
    }
}

/// Fails the N-th step (from 1) with an error number; 0 fails none. Counts all steps.
#[derive(Debug, Default)]
pub(crate) struct FailNth {
    pub(crate) nth: AtomicU64,
    pub(crate) errno: AtomicI64,
    pub(crate) seen: AtomicU64,
    pub(crate) fired: AtomicU64,
}

impl DiskWatch for FailNth {
    fn before(&self, _step: DiskStep) -> std::io::Result<()> {
        if self.seen.fetch_add(1, Ordering::SeqCst) + 1 == self.nth.load(Ordering::SeqCst) {
            self.fired.fetch_add(1, Ordering::SeqCst);
            let errno = self.errno.load(Ordering::SeqCst) as i32;
            return Err(std::io::Error::from_raw_os_error(errno));
        }
        Ok(())
    }
}

/// A fresh directory, in memory where the system has such a place: these tests sync a great deal,
/// and what a sync does to a disk is not what they look at.
pub(crate) fn directory() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm")
        .or_else(|_| tempfile::tempdir())
        .expect("a directory")
}

pub(crate) fn open(dir: &Path) -> EmbeddedStore {
    open_watched(dir, Arc::new(FailNth::default()))
}

pub(crate) fn open_watched(dir: &Path, watch: Arc<FailNth>) -> EmbeddedStore {
    // Another seed at every opening: ids must not repeat across restarts.
    static OPENINGS: AtomicU64 = AtomicU64::new(1);
    let seed = OPENINGS
        .fetch_add(1, Ordering::Relaxed)
        .wrapping_mul(0x1234_5678_9abc_def1);
    let clock = Arc::new(TickingClock::default());
    let random = Arc::new(SeededRandom(AtomicU64::new(seed)));
    EmbeddedStore::open_watched(dir, clock, random, watch).expect("the store opens")
}

/// `count` bytes that differ from place to place.
pub(crate) fn noise(count: usize, seed: u64) -> Vec<u8> {
    let mut bytes = vec![0; count];
    SeededRandom(AtomicU64::new(seed)).fill(&mut bytes);
    bytes
}

/// All blob files under a store's directory.
pub(crate) fn blob_files(dir: &Path) -> Vec<std::path::PathBuf> {
    let shards = std::fs::read_dir(dir.join("objects")).unwrap();
    let mut files: Vec<_> = shards
        .flat_map(|shard| std::fs::read_dir(shard.unwrap().path()).unwrap())
        .map(|file| file.unwrap().path())
        .collect();
    files.sort();
    files
}
