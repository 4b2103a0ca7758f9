//! What the measuring programs share: arguments, seconds, and the multiply-add peak beside which they measure.

#![allow(dead_code)] // Each program uses a part of it.

use std::hint::black_box;
use std::time::Instant;

use kindred_types::parts::Clock;
use kindred_types::time::Timestamp;

/// The text of an argument `name=text`.
pub(crate) fn text(name: &str) -> Option<String> {
    std::env::args().find_map(|argument| {
        let text = argument.strip_prefix(name)?.strip_prefix('=')?;
        Some(text.to_owned())
    })
}

/// The number of an argument `name=number`.
pub(crate) fn number(name: &str, default: usize) -> usize {
    text(name)
        .and_then(|text| text.parse().ok())
        .unwrap_or(default)
}

/// User and system seconds of this process, as Linux counts them in hundredths.
pub(crate) fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = stat.rsplit(')').next().unwrap_or_default();
    let ticks = fields.split_whitespace().skip(11).take(2);
    ticks.filter_map(|t| t.parse::<f64>().ok()).sum::<f64>() / 100.0
}

/// Most memory of this process so far, in MiB; not a number where the system does not say.
pub(crate) fn peak_mib() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok());
    kib.unwrap_or(f64::NAN) / 1024.0
}

/// A clock that counts from its making and has no date.
#[derive(Debug)]
pub(crate) struct Watch(Instant);

impl Watch {
    #[allow(clippy::disallowed_methods)] // A program of its own: nobody hands it a clock.
    pub(crate) fn start() -> Watch {
        Watch(Instant::now())
    }
}

impl Clock for Watch {
    fn now(&self) -> Timestamp {
        Timestamp(0)
    }

    fn monotonic_ms(&self) -> u64 {
        self.0.elapsed().as_millis() as u64
    }
}

/// Multiply-adds of a round of [`chains`].
const CHAINS: usize = 12;
/// Floats of a register.
const LANES: usize = 8;
/// Rounds of a measurement, some tenths of a second: the kernel counts in hundredths.
const ROUNDS: usize = 250_000_000;

/// Billions of floating-point operations a CPU second, of so many threads at once; not a number where there is
/// no such instruction.
#[cfg(target_arch = "x86_64")]
#[allow(unsafe_code)]
pub(crate) fn peak(threads: usize) -> f64 {
    if !(std::arch::is_x86_feature_detected!("avx2") && std::arch::is_x86_feature_detected!("fma"))
    {
        return f64::NAN;
    }
    let start = cpu_seconds();
    std::thread::scope(|scope| {
        for _ in 0..threads {
            // SAFETY: AVX2 and FMA were detected above.
            scope.spawn(|| black_box(unsafe { chains(ROUNDS) }));
        }
    });
    let seconds = (cpu_seconds() - start) / threads as f64;
    (threads * ROUNDS * CHAINS * LANES * 2) as f64 / seconds / 1e9
}

#[cfg(not(target_arch = "x86_64"))]
pub(crate) fn peak(_threads: usize) -> f64 {
    f64::NAN
}

/// Independent chains of multiply-adds, as many as it takes to hide their latency.
#[cfg(target_arch = "x86_64")]
#[allow(unsafe_code)]
#[target_feature(enable = "avx2,fma")]
fn chains(rounds: usize) -> f32 {
    use std::arch::x86_64::{_mm256_fmadd_ps, _mm256_set1_ps, _mm256_storeu_ps};
    let factor = _mm256_set1_ps(black_box(0.999));
    let mut sums = [_mm256_set1_ps(1.0); CHAINS];
    for _ in 0..rounds {
        for sum in &mut sums {
            *sum = _mm256_fmadd_ps(*sum, factor, factor);
        }
    }
    let mut total = 0.0;
    for sum in sums {
        let mut lanes = [0.0f32; LANES];
        // SAFETY: the array has room for the eight floats that are stored.
        unsafe { _mm256_storeu_ps(lanes.as_mut_ptr(), sum) };
        total += lanes[0];
    }
    total
}
