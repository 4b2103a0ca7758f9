//! Measures attribute queries against the processor's multiply-add peak:
//! `attribute_scoring [users=60000] [events=20] [items=20000] [values=400] [d=149] [threads=1] [k=25]`.
//!
//! Items have one of `values` categories each, and every category is asked for, so all items are scored
//! for all users: users × items × 2 d operations. CPU seconds of the process count, so that a pinned run
//! can be compared on a shared machine; the peak is measured before and after.

mod measuring;

use std::sync::Arc;

use kindred_engine::data::attributes::{ItemAttributes, TrainingData};
use kindred_engine::data::table::{Column, Values};
use kindred_engine::interactions::Interactions;
use kindred_engine::progress::Silent;
use kindred_engine::recipes::item_affinity::{ModelChoice, TrainOptions};
use kindred_engine::recipes::item_attribute_affinity::train_on;
use kindred_engine::score::AttributeScorer;
use kindred_types::schema::{Field, FieldType};
use measuring::{Watch, cpu_seconds, number, peak};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

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
    let (users, items, values) = (
        number("users", 60_000),
        number("items", 20_000),
        number("values", 400),
    );
    let (d, threads, k) = (number("d", 149), number("threads", 1), number("k", 25));
    let options = TrainOptions {
        dimension: d,
        threads,
        model: ModelChoice::Ials,
        final_fit: false,
        ..TrainOptions::default()
    };
    let data = generated(users, number("events", 20), items, values);
    let model = train_on(&data, &options, &Silent, &Watch::start())?;
    let scorer = AttributeScorer::new(Arc::new(model), None);
    let queries: Vec<[u32; 1]> = (0..values as u32).map(|value| [value]).collect();
    for _ in 0..number("rounds", 3) {
        let before = peak(1);
        let start = cpu_seconds();
        let rankings = scorer.top_users(&queries, k, threads)?;
        let seconds = cpu_seconds() - start;
        let peak = 0.5 * (before + peak(1));
        let rate = (users * items * 2 * d) as f64 / seconds / 1e9;
        println!(
            "{} queries, {seconds:.2} CPU s, {rate:.1} GFLOP/s; multiply-add peak {peak:.1}; ratio {:.3}",
            rankings.len(),
            rate / peak
        );
    }
    Ok(())
}
