//! A job stays in its budget of memory, and its bytes are those of a job that has all it wants.
//!
//! In a process of its own, because the peak that the system keeps is the process's.

use std::io::{self, Write};
use std::sync::{Arc, Mutex};

use kindred_engine::data::source::MemorySource;
use kindred_engine::model::Model;
use kindred_engine::progress::Silent;
use kindred_engine::score::Scorer;
use kindred_engine::segment::pipeline::{self, SegmentOptions, Sink};
use kindred_engine::selection::Selection;
use kindred_types::parts::Clock;
use kindred_types::time::Timestamp;
use sha2::{Digest, Sha256};

const ITEMS: usize = 100_000;
const USERS: usize = 200;
const K: usize = 100;
/// What a run takes beside its budget: code, stacks, what the allocator keeps.
const BESIDE_BYTES: u64 = 12 << 20;

#[derive(Debug)]
struct NoClock;

impl Clock for NoClock {
    fn now(&self) -> Timestamp {
        Timestamp(0)
    }

    fn monotonic_ms(&self) -> u64 {
        0
    }
}

/// Hashes what it is given.
struct Hashing {
    hash: Sha256,
    done: Arc<Mutex<Vec<u8>>>,
}

impl Write for Hashing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.hash.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Sink for Hashing {
    fn finish(self: Box<Self>) -> io::Result<()> {
        *self.done.lock().unwrap() = self.hash.finalize().to_vec();
        Ok(())
    }
}

fn in_kib(field: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with(field)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// Runs with so much memory; gives the hash of the output and how many bytes the process grew at most.
fn run(scorer: &Scorer, input: &MemorySource, memory_bytes: usize) -> (Vec<u8>, u64) {
    let scratch = tempfile::tempdir().unwrap();
    let done = Arc::new(Mutex::new(Vec::new()));
    let options = SegmentOptions {
        k: K,
        max_records: 0,
        documented_format: false,
        scores: false,
        memory_bytes,
        block_bytes: 64 << 20,
        threads: 2,
        scratch_dir: scratch.path().to_owned(),
        scratch_vault: Default::default(),
    };
    std::fs::write("/proc/self/clear_refs", "5").unwrap();
    let before = in_kib("VmRSS:");
    let mut sinks = |_: usize| -> io::Result<Box<dyn Sink>> {
        Ok(Box::new(Hashing {
            hash: Sha256::new(),
            done: done.clone(),
        }))
    };
    let statistics = pipeline::run(
        scorer,
        &Selection::default(),
        &[input],
        &mut sinks,
        &options,
        &Silent,
        &NoClock,
    );
    assert_eq!(statistics.unwrap().distinct_queries, ITEMS as u64);
    let grown = in_kib("VmHWM:").saturating_sub(before) << 10;
    let hash = done.lock().unwrap().clone();
    (hash, grown)
}

#[test]
fn a_job_stays_in_its_budget_and_its_bytes_do_not_depend_on_it() {
    let vectors = |count: usize, salt: usize| -> Vec<f32> {
        (0..4 * count)
            .map(|at| ((at * 2_654_435_761 + salt) % 1_009) as f32 / 1_009.0 - 0.5)
            .collect()
    };
    let model = Model::from_vectors(4, vectors(USERS, 1), vectors(ITEMS, 7)).unwrap();
    let scorer = Scorer::new(Arc::new(model), None);
    let lines =
        (0..2 * ITEMS).map(|line| format!("{{\"itemId\": \"{:010}\"}}\n", line * 7 % ITEMS));
    let input = MemorySource::new("queries", lines.collect::<String>());
    // Rendered lines of all queries would take 135 MB.
    let mut hashes = Vec::new();
    for memory_bytes in [24 << 20, 64 << 20, 512 << 20] {
        let (hash, grown) = run(&scorer, &input, memory_bytes);
        assert!(
            grown <= memory_bytes as u64 + BESIDE_BYTES,
            "{} MiB of {} MiB",
            grown >> 20,
            memory_bytes >> 20
        );
        hashes.push(hash);
    }
    assert!(hashes.iter().all(|hash| *hash == hashes[0]));
}
