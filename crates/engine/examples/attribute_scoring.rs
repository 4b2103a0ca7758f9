//! Measures attribute queries against the processor's multiply-add peak:
//! `attribute_scoring [users=60000] [events=20] [items=20000] [values=400] [d=149] [threads=1] [k=25]`.
//!
//! Items have one of `values` categories each, and every category is asked for, so all items are scored
//! for all users: users × items × 2 d operations. CPU seconds of the process count, so that a pinned run
//! can be compared on a shared machine; the peak is measured before and after.

use std::sync::Arc;
use std::time::Instant;

use kindred_engine::data::attributes::{ItemAttributes, TrainingData};
use kindred_engine::data::table::{Column, Values};
use kindred_engine::interactions::Interactions;
use kindred_engine::progress::Silent;
use kindred_engine::recipes::item_affinity::{ModelChoice, TrainOptions};
use kindred_engine::recipes::item_attribute_affinity::train_on;
use kindred_engine::score::AttributeScorer;
use kindred_types::parts::Clock;
use kindred_types::schema::{Field, FieldType};
use kindred_types::time::Timestamp;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

#[derive(Debug)]
struct Watch(Instant);

impl Clock for Watch {
    fn now(&self) -> Timestamp {
        Timestamp(0)
    }

    fn monotonic_ms(&self) -> u64 {
        self.0.elapsed().as_millis() as u64
    }
}

/// User and system seconds of this process, as Linux counts them in hundredths.
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = stat.rsplit(')').next().unwrap_or_default();
    let ticks = fields.split_whitespace().skip(11).take(2);
    ticks.filter_map(|t| t.parse::<f64>().ok()).sum::<f64>() / 100.0
}

/// Billions of floating-point operations a CPU second of one core, twelve independent chains.
#[cfg(target_arch = "x86_64")]
#[allow(unsafe_code)]
fn peak() -> f64 {
    #[target_feature(enable = "avx2,fma")]
    fn chains(rounds: usize) -> f32 {
        use std::arch::x86_64::{_mm256_cvtss_f32, _mm256_fmadd_ps, _mm256_set1_ps};
        let factor = _mm256_set1_ps(std::hint::black_box(0.999));
        let mut sums = [_mm256_set1_ps(1.0); 12];
        for _ in 0..rounds {
            for sum in &mut sums {
                *sum = _mm256_fmadd_ps(*sum, factor, factor);
            }
        }
        let mut total = 0.0;
        for sum in sums {
            total += _mm256_cvtss_f32(sum);
        }
        total
    }
    if !(std::arch::is_x86_feature_detected!("avx2") && std::arch::is_x86_feature_detected!("fma"))
    {
        return f64::NAN;
    }
    const ROUNDS: usize = 400_000_000;
    let start = cpu_seconds();
    // SAFETY: AVX2 and FMA were detected above.
    std::hint::black_box(unsafe { chains(ROUNDS) });
    (ROUNDS * 12 * 16) as f64 / (cpu_seconds() - start) / 1e9
}

#[cfg(not(target_arch = "x86_64"))]
fn peak() -> f64 {
    f64::NAN
}

/// Users with tastes for some categories; popular items come first.
fn generated(users: usize, events: usize, items: usize, values: usize) -> TrainingData {
    let mut random = ChaCha8Rng::seed_from_u64(1);
    let mut data = Interactions {
        users: (0..users).map(|user| format!("{user:09}")).collect(),
        items: (0..items).map(|item| format!("{item:09}")).collect(),
        user_starts: vec![0],
        ..Interactions::default()
    };
    for user in 0..users {
        for event in 0..events {
            let place = (items as f64 * random.random::<f64>().powi(3)) as usize;
            let value = (user + event % 3) % values;
            let item = (place / values * values + value).min(items - 1);
            data.event_items.push(item as u32);
            data.event_times
                .push((event * 86_400 + random.random_range(0..86_400)) as i64);
        }
        data.user_starts.push(data.event_items.len());
    }
    let column = Column {
        field: Field {
            name: "GENRE".into(),
            kind: FieldType::String,
            nullable: true,
            categorical: true,
            textual: false,
        },
        values: Values::Text(
            (0..items)
                .map(|item| Some(format!("value {}", item % values).into()))
                .collect(),
        ),
    };
    TrainingData {
        interactions: data,
        attributes: ItemAttributes {
            columns: vec![column],
        },
    }
}

#[allow(clippy::disallowed_methods)] // A program of its own: nobody hands it a clock.
fn main() -> Result<(), Box<dyn std::error::Error>> {
    let value = |name: &str, default: usize| -> usize {
        let found =
            std::env::args().find_map(|a| a.strip_prefix(name)?.strip_prefix('=')?.parse().ok());
        found.unwrap_or(default)
    };
    let (users, items, values) = (
        value("users", 60_000),
        value("items", 20_000),
        value("values", 400),
    );
    let (d, threads, k) = (value("d", 149), value("threads", 1), value("k", 25));
    let options = TrainOptions {
        dimension: d,
        threads,
        model: ModelChoice::Ials,
        final_fit: false,
        ..TrainOptions::default()
    };
    let data = generated(users, value("events", 20), items, values);
    let model = train_on(&data, &options, &Silent, &Watch(Instant::now()))?;
    let scorer = AttributeScorer::new(Arc::new(model), None);
    let queries: Vec<[u32; 1]> = (0..values as u32).map(|value| [value]).collect();
    for _ in 0..value("rounds", 3) {
        let before = peak();
        let start = cpu_seconds();
        let rankings = scorer.top_users(&queries, k, threads)?;
        let seconds = cpu_seconds() - start;
        let peak = 0.5 * (before + peak());
        let rate = (users * items * 2 * d) as f64 / seconds / 1e9;
        println!(
            "{} queries, {seconds:.2} CPU s, {rate:.1} GFLOP/s; multiply-add peak {peak:.1}; ratio {:.3}",
            rankings.len(),
            rate / peak
        );
    }
    Ok(())
}
