//! Trains on a CSV of USER_ID, ITEM_ID, TIMESTAMP (other columns ignored, `.gz` welcome) and prints
//! quality and time: `quality FILE [train] [split=EPOCH horizon=DAYS min=EVENTS before=EPOCH]`.
//!
//! `train` runs the recipe as a solution version does, with its metrics. `split` runs the time-split
//! evaluation on purchases taken once per user, item and epoch week; only items with at least `min` of
//! those before `before` are queries (`keep` = are in the data at all).

use std::collections::{HashMap, HashSet};
use std::io::{BufRead, BufReader, Read};

use kindred_engine::data::attributes::TrainingData;
use kindred_engine::interactions::Interactions;
use kindred_engine::metrics::{Split, time_split};
use kindred_engine::progress::Progress;
use kindred_engine::recipes::item_affinity::{
    BUDGET_FLOPS_DEFAULT, DIMENSION_DEFAULT, ModelChoice, TrainOptions, Without, train,
};
use kindred_types::parts::Clock;
use kindred_types::time::Timestamp;

const DAY: i64 = 86_400;

/// Counts from its making.
#[derive(Debug)]
struct Watch(std::time::Instant);

impl Clock for Watch {
    fn now(&self) -> Timestamp {
        Timestamp(0)
    }

    fn monotonic_ms(&self) -> u64 {
        self.0.elapsed().as_millis() as u64
    }
}

struct Printed<'a>(&'a Watch);

impl Progress for Printed<'_> {
    fn report(&self, step: &str, done: u64, total: u64, detail: &str) {
        let seconds = self.0.monotonic_ms() as f64 / 1000.0;
        eprintln!("{seconds:7.2} s  {step} {done}/{total}  {detail}");
    }
}

type Row = (String, i64, String);

fn read(path: &str) -> Result<Vec<Row>, Box<dyn std::error::Error>> {
    let file = std::fs::File::open(path)?;
    let input: Box<dyn Read> = if path.ends_with(".gz") {
        Box::new(flate2::read::GzDecoder::new(file))
    } else {
        Box::new(file)
    };
    let mut lines = BufReader::new(input).lines();
    let header = lines.next().ok_or("the file is empty")??;
    let names: Vec<&str> = header.split(',').collect();
    let column = |name: &str| {
        names
            .iter()
            .position(|n| *n == name)
            .ok_or(format!("no column {name}"))
    };
    let (user, item, time) = (column("USER_ID")?, column("ITEM_ID")?, column("TIMESTAMP")?);
    let mut rows = Vec::new();
    for line in lines {
        let line = line?;
        let cells: Vec<&str> = line.split(',').collect();
        rows.push((cells[user].into(), cells[time].parse()?, cells[item].into()));
    }
    rows.sort_unstable();
    Ok(rows)
}

fn interactions(rows: &[Row]) -> Interactions {
    let items: HashSet<&String> = rows.iter().map(|row| &row.2).collect();
    let mut items: Vec<String> = items.into_iter().cloned().collect();
    items.sort_unstable();
    let numbers: HashMap<&String, u32> = items.iter().zip(0..).collect();
    let mut data = Interactions::default();
    for (user, time, item) in rows {
        if data.users.last() != Some(user) {
            data.users.push(user.clone());
            data.user_starts.push(data.event_items.len());
        }
        data.event_items.push(numbers[item]);
        data.event_times.push(*time);
    }
    data.user_starts.push(data.event_items.len());
    data.items = items;
    data
}

#[allow(clippy::disallowed_methods)] // A program of its own: nobody hands it a clock.
fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let path = arguments
        .first()
        .ok_or("the first argument is the CSV file")?;
    let value = |name: &str| -> Option<i64> {
        let found = arguments
            .iter()
            .find_map(|argument| argument.strip_prefix(name)?.strip_prefix('='));
        found.and_then(|text| text.parse().ok())
    };
    let has = |name: &str| arguments.iter().any(|argument| argument == name);
    let options = TrainOptions {
        dimension: value("d").map_or(DIMENSION_DEFAULT, |d| d as usize),
        seed: value("seed").unwrap_or(42) as u64,
        threads: value("threads").unwrap_or(2) as usize,
        final_fit: true,
        model: if has("ials") {
            ModelChoice::Ials
        } else if has("lookback") {
            ModelChoice::Lookback
        } else {
            ModelChoice::Auto
        },
        budget_flops: value("tflops").map_or(BUDGET_FLOPS_DEFAULT, |t| t as f64 * 1e12),
        without: Without {
            intensity: has("-intensity"),
            lookback: has("-lookback"),
            kappa: has("-kappa"),
            own_history: has("-own"),
        },
    };
    let mut rows = read(path)?;
    let watch = Watch(std::time::Instant::now());
    if has("train") {
        rows.dedup();
        let data = TrainingData::bare(interactions(&rows));
        let trained = train(&data, &options, &Printed(&watch), &watch)?;
        println!("{:#?}", trained.metrics);
        println!("{:#?}", trained.model.card().choices);
        println!("{:?} {:?}", trained.timings, trained.model.card().notes);
        return Ok(());
    }
    let split_time = value("split").ok_or("train, or split=EPOCH")?;
    let before = value("before").unwrap_or(split_time - 14 * DAY);
    let mut seen = HashSet::new();
    rows.retain(|(user, time, item)| {
        seen.insert((user.clone(), item.clone(), time.div_euclid(7 * DAY)))
    });
    drop(seen);
    let mut counts: HashMap<String, i64> = HashMap::new();
    for (_, time, item) in &rows {
        *counts.entry(item.clone()).or_default() += i64::from(*time < before);
    }
    let enough = |item: &String| counts[item] >= value("min").unwrap_or(1);
    if has("keep") {
        rows.retain(|row| enough(&row.2));
    }
    let data = interactions(&rows);
    let split = Split {
        time: split_time,
        horizon_seconds: value("horizon").unwrap_or(14) * DAY,
        first_time_only: has("first"),
        queries: Some(
            (0..data.items.len() as u32)
                .filter(|&i| enough(&data.items[i as usize]))
                .collect(),
        ),
    };
    println!(
        "{} users, {} items, {} events",
        data.users.len(),
        data.items.len(),
        data.len()
    );
    let found = time_split(&data, &split, &options, &Printed(&watch), &watch)?;
    println!("{:#?}", found.card.choices);
    println!("{:?}", found.card.notes);
    println!(
        "{} users, K {}, {} queries",
        found.population, found.k, found.queries
    );
    for figures in found.baselines.iter().chain([&found.model]) {
        println!(
            "{:12} hit {:.3} recall {:.4} coverage {:.3}",
            figures.name, figures.hits_at_1_percent, figures.recall_at_1_percent, figures.coverage
        );
    }
    println!(
        "first-time recall {:.4}, overlap {:.3}, with most active {:.3}",
        found.first_time_recall, found.overlap, found.overlap_most_active
    );
    Ok(())
}
