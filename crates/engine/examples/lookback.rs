//! Measures epochs of the look-back towers against the processor's multiply-add peak:
//! `lookback [users=20000] [events=50] [items=20000] [d=149] [threads=2] [rounds=3]`.
//!
//! Every event has a time of its own, so no state is shared between targets. Seconds are CPU seconds of
//! the process over the number of threads, so that a shared machine does not blur the ratio to the peak,
//! which is measured on as many threads before and after each training in the same run.

mod measuring;

use std::sync::Arc;

use kindred_engine::data::attributes::TrainingData;
use kindred_engine::interactions::Interactions;
use kindred_engine::progress::Silent;
use kindred_engine::recipes::item_affinity::{ModelChoice, TrainOptions, train};
use kindred_types::parts::Clock;
use kindred_types::time::Timestamp;
use measuring::{cpu_seconds, number, peak};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Counts CPU seconds, divided by the threads.
#[derive(Debug)]
struct Watch(usize);

impl Clock for Watch {
    fn now(&self) -> Timestamp {
        Timestamp(0)
    }

    fn monotonic_ms(&self) -> u64 {
        (cpu_seconds() * 1000.0 / self.0 as f64) as u64
    }
}

/// Users with tastes for one of fifty topics; popular items come first.
fn generated(users: usize, events: usize, items: usize) -> Interactions {
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
            let topic = if random.random_range(0..3) == 0 {
                random.random_range(0..50)
            } else {
                user % 50
            };
            let item = (place / 50 * 50 + topic).min(items - 1);
            data.event_items.push(item as u32);
            data.event_times
                .push((event * 86_400 + random.random_range(0..86_400)) as i64);
        }
        data.user_starts.push(data.event_items.len());
    }
    data
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (users, events, items) = (
        number("users", 20_000),
        number("events", 50),
        number("items", 20_000),
    );
    let (d, threads) = (number("d", 149), number("threads", 2));
    let data = Arc::new(TrainingData::bare(generated(users, events, items)));
    println!("{users} users, {events} events each, {items} items, d {d}, {threads} threads");
    let options = TrainOptions {
        dimension: d,
        threads,
        model: ModelChoice::Lookback,
        // Enough for about four epochs.
        budget_flops: 4.5 * 6.0 * (users * (events - 1) * 512 * d) as f64,
        final_fit: false,
        ..TrainOptions::default()
    };
    for _ in 0..number("rounds", 3) {
        let before = peak(threads);
        let trained = train(&data, &options, &Silent, &Watch(threads))?;
        let after = peak(threads);
        let timings = trained.timings;
        let peak = 0.5 * (before + after);
        println!(
            "epochs {:.1} s, {:.1} GFLOP/s; multiply-add peak {before:.1} and {after:.1} GFLOP/s; ratio {:.3}",
            timings.epoch_seconds,
            timings.epoch_gflops,
            timings.epoch_gflops / peak
        );
    }
    Ok(())
}
