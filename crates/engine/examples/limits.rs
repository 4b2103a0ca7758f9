//! Measures what one core can do at best and prints it as one line of JSON:
//! `limits [quick]`: multiply-adds (f32), reading memory, copying it, rows fetched from anywhere.
//!
//! `quick` measures the multiply-adds alone, in a fraction of a second, for a figure taken right beside
//! another measurement. Seconds are those that this thread had a core, so others who want it do not count;
//! each figure is the best of a few tries. The benchmarks of `bench/` read this. Linux only.

mod measuring;

use std::hint::black_box;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Tries of each figure.
const TRIES: usize = 3;
/// Times that the memory is read or copied in a try.
const PASSES: usize = 8;
/// Values of the memory that is read and copied: 1 GiB, which no cache holds.
const VALUES: usize = 1 << 28;
/// Values of a fetched row: 512 bytes, about a vector of 128 numbers.
const ROW: usize = 128;
/// Rows that are fetched.
const FETCHES: usize = 2_000_000;

/// Billions of floating-point operations a second; none where there is no such instruction.
fn multiply_adds() -> f64 {
    let tries = (0..TRIES).map(|_| measuring::peak(1));
    tries.fold(0.0, f64::max)
}

/// Seconds that this thread has been running, from the kernel; not a number where it does not say.
fn cpu_seconds() -> f64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let nanoseconds = text.split(' ').next().and_then(|text| text.parse().ok());
    nanoseconds.map_or(f64::NAN, |nanoseconds: f64| nanoseconds / 1e9)
}

/// Seconds of the fastest of some tries.
fn best_seconds<T>(mut work: impl FnMut() -> T) -> f64 {
    let mut best = f64::INFINITY;
    for _ in 0..TRIES {
        let start = cpu_seconds();
        black_box(work());
        best = best.min(cpu_seconds() - start);
    }
    best
}

/// The sum in so many lanes that the additions do not wait for each other.
fn sum<const LANES: usize>(values: &[f32]) -> f32 {
    let mut lanes = [0.0f32; LANES];
    for chunk in values.as_chunks::<LANES>().0 {
        for (lane, value) in lanes.iter_mut().zip(chunk) {
            *lane += value;
        }
    }
    lanes.iter().sum()
}

/// What memory does, by name.
fn memory() -> [(&'static str, f64); 3] {
    let values = vec![1.0f32; VALUES];
    let mut copy = vec![0.0f32; VALUES];
    let bytes = (PASSES * VALUES * 4) as f64;
    let read = best_seconds(|| -> f32 {
        let passes = 0..PASSES;
        passes.map(|_| sum::<64>(black_box(&values))).sum()
    });
    let copied = best_seconds(|| {
        for _ in 0..PASSES {
            black_box(&mut copy).copy_from_slice(black_box(&values));
        }
    });
    let mut random = ChaCha8Rng::seed_from_u64(1);
    let rows: Vec<usize> = (0..FETCHES)
        .map(|_| random.random_range(0..VALUES / ROW) * ROW)
        .collect();
    let fetched = best_seconds(|| -> f32 {
        let rows = black_box(&rows).iter();
        rows.map(|&row| sum::<16>(&values[row..row + ROW])).sum()
    });
    [
        ("read_gb_per_s", bytes / read / 1e9),
        // Bytes that are copied: each is read once and written once.
        ("copy_gb_per_s", bytes / copied / 1e9),
        ("random_row_ns", fetched / FETCHES as f64 * 1e9),
    ]
}

fn main() {
    let mut figures = vec![("fma_gflops", multiply_adds())];
    if std::env::args().nth(1).as_deref() != Some("quick") {
        figures.extend(memory());
    }
    let members: Vec<String> = figures
        .iter()
        .map(|(name, value)| format!("\"{name}\": {value:.2}"))
        .collect();
    println!("{{{}}}", members.join(", "));
}
