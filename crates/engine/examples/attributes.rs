//! Trains on what happened before a point in time and asks for attributes:
//! `attributes INTERACTIONS ITEMS split=EPOCH [horizon=DAYS] [min=USERS] [seed=N] [d=N] [threads=N]`.
//!
//! Prints the recall at 1 % of every form of the head for the values of single columns and for pairs of
//! values of two columns (at least `min` users came, at most 1,000 of each). An event counts once per
//! user, item and epoch week.

mod measuring;

use std::collections::{BTreeSet, HashSet};
use std::path::Path;
use std::sync::Arc;

use kindred_engine::attributes::head::Form;
use kindred_engine::data::attributes::TrainingData;
use kindred_engine::data::csv;
use kindred_engine::data::dataset::{Generation, Mode};
use kindred_engine::data::import::{ImportOptions, import};
use kindred_engine::data::snapshot::{SnapshotLimits, TrainingFilter, load_interactions};
use kindred_engine::data::source::{FileSource, Source, open_unpacked};
use kindred_engine::data::table::{TableLimits, load_items};
use kindred_engine::interactions::Interactions;
use kindred_engine::model::AttributeModel;
use kindred_engine::progress::{Progress, Silent};
use kindred_engine::recipes::item_affinity::{DIMENSION_DEFAULT, TrainOptions};
use kindred_engine::recipes::item_attribute_affinity::train_on;
use kindred_engine::score::AttributeScorer;
use kindred_types::parts::Clock;
use kindred_types::schema::{self, DatasetType};
use measuring::{Watch, text};
use rand::seq::index;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

const DAY: i64 = 86_400;
const QUERIES_MAX: usize = 1000;

type Failure = Box<dyn std::error::Error>;

struct Printed<'a>(&'a Watch);

impl Progress for Printed<'_> {
    fn report(&self, step: &str, done: u64, total: u64, detail: &str) {
        let seconds = self.0.monotonic_ms() as f64 / 1000.0;
        eprintln!("{seconds:7.2} s  {step} {done}/{total}  {detail}");
    }
}

/// Imports a file with an inferred schema.
fn imported(kind: DatasetType, file: &str, dir: &Path) -> Result<Generation, Failure> {
    let source = FileSource::new(Path::new(file))?;
    let mut records = csv::Reader::new(open_unpacked(&source)?);
    let mut rows: Vec<Vec<String>> = Vec::new();
    while let Some(record) = records.next_record()? {
        let fields = (0..).map_while(|column| record.get(column));
        rows.push(
            fields
                .map(|f| String::from_utf8_lossy(f).into_owned())
                .collect(),
        );
        if rows.len() > 1000 {
            break;
        }
    }
    let header = rows.remove(0);
    let schema = schema::infer(kind, &header, &rows)?;
    let generation = Generation {
        dir: dir.join(kind.title()),
        vault: Default::default(),
        mode: Mode::Full,
    };
    std::fs::create_dir_all(&generation.dir)?;
    let options = ImportOptions::default();
    import(
        &schema,
        file,
        &[&source as &dyn Source],
        &options,
        &generation.dir,
        &Silent,
    )?;
    Ok(generation)
}

/// The events that `keep` takes, of those the first of each user, item and week; all items stay.
fn only(data: &Interactions, keep: impl Fn(i64) -> bool) -> Interactions {
    let mut kept = Interactions {
        items: data.items.clone(),
        user_starts: vec![0],
        ..Interactions::default()
    };
    for user in 0..data.users.len() {
        let mut weeks = HashSet::new();
        for event in data.events_of(user) {
            let (item, time) = (data.event_items[event], data.event_times[event]);
            if keep(time) && weeks.insert((item, time.div_euclid(7 * DAY))) {
                kept.event_items.push(item);
                kept.event_times.push(time);
            }
        }
        if kept.event_items.len() > kept.user_starts[kept.user_starts.len() - 1] {
            kept.users.push(data.users[user].clone());
            kept.user_starts.push(kept.event_items.len());
        }
    }
    kept
}

/// A query and the users who came.
type Asked = (Vec<u32>, Vec<u32>);

struct Judge<'a> {
    model: &'a AttributeModel,
    /// For each item the users of the model who came.
    came: Vec<Vec<u32>>,
    min: usize,
}

impl Judge<'_> {
    fn asked(&self, values: &[u32]) -> Option<Asked> {
        let items = self.model.index().items_with_all(values);
        let users = items.iter().flat_map(|&item| &self.came[item as usize]);
        let users: BTreeSet<u32> = users.copied().collect();
        (users.len() >= self.min).then(|| (values.to_vec(), users.into_iter().collect()))
    }

    fn singles(&self) -> Vec<Asked> {
        let listed = self.model.index().listed();
        listed
            .iter()
            .filter_map(|&value| self.asked(&[value]))
            .collect()
    }

    /// Pairs of values of different columns, as they meet on items.
    fn pairs(&self, random: &mut ChaCha8Rng) -> Vec<Asked> {
        let index = self.model.index();
        let mut values_of = vec![Vec::new(); self.came.len()];
        for value in index.listed() {
            for &item in index.items_with(value) {
                values_of[item as usize].push(value);
            }
        }
        let mut seen = HashSet::new();
        let mut found = Vec::new();
        for _ in 0..200_000 {
            let values = &values_of[random.random_range(0..values_of.len())];
            if values.len() < 2 || found.len() >= QUERIES_MAX {
                continue;
            }
            let (a, b) = (
                values[random.random_range(0..values.len())],
                values[random.random_range(0..values.len())],
            );
            let pair = [a.min(b), a.max(b)];
            if index.describe(a).0 != index.describe(b).0 && seen.insert(pair) {
                found.extend(self.asked(&pair));
            }
        }
        found
    }
}

fn recall(scorer: &AttributeScorer, asked: &[Asked], threads: usize) -> Result<f64, Failure> {
    let k = scorer.len().div_ceil(100);
    let queries: Vec<&[u32]> = asked.iter().map(|(values, _)| values.as_slice()).collect();
    let rankings = scorer.top_users(&queries, k, threads)?;
    let recalls = rankings.iter().zip(asked).map(|(ranking, (_, actual))| {
        let hits = ranking
            .users
            .iter()
            .filter(|user| actual.binary_search(user).is_ok());
        hits.count() as f64 / actual.len() as f64
    });
    Ok(recalls.sum::<f64>() / asked.len().max(1) as f64)
}

#[allow(clippy::disallowed_methods)] // A program of its own: nobody hands it a clock.
fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [interactions, items, ..] = arguments.as_slice() else {
        return Err("the first arguments are the two CSV files".into());
    };
    let value = |name: &str| text(name).and_then(|text| text.parse::<i64>().ok());
    let threads = value("threads").unwrap_or(2) as usize;
    let options = TrainOptions {
        dimension: value("d").map_or(DIMENSION_DEFAULT, |d| d as usize),
        seed: value("seed").unwrap_or(42) as u64,
        threads,
        ..TrainOptions::default()
    };
    let split = value("split").ok_or("split=EPOCH")?;
    let until = split + value("horizon").unwrap_or(14) * DAY;
    let dir = tempfile::tempdir()?;
    let table = load_items(
        &[imported(DatasetType::Items, items, dir.path())?],
        &TableLimits::default(),
        &Silent,
    )?;
    let (all, _) = load_interactions(
        &[imported(
            DatasetType::Interactions,
            interactions,
            dir.path(),
        )?],
        &TrainingFilter::default(),
        &SnapshotLimits::default(),
        &Silent,
    )?;
    let data = TrainingData::join(all, &table, &BTreeSet::new());
    let later = only(&data.interactions, |time| (split..until).contains(&time));
    let data = TrainingData {
        interactions: only(&data.interactions, |time| time < split),
        ..data
    };
    let watch = Watch::start();
    let model = Arc::new(train_on(&data, &options, &Printed(&watch), &watch)?);
    let mut came = vec![Vec::new(); data.interactions.items.len()];
    for (number, id) in later.users.iter().enumerate() {
        if let Some(user) = model.model().user(id) {
            let items: BTreeSet<u32> = later.event_items[later.events_of(number)]
                .iter()
                .copied()
                .collect();
            for item in items {
                came[item as usize].push(user);
            }
        }
    }
    let judge = Judge {
        model: &model,
        came,
        min: value("min").unwrap_or(5) as usize,
    };
    let mut random = ChaCha8Rng::seed_from_u64(7);
    let mut singles = judge.singles();
    if singles.len() > QUERIES_MAX {
        let mut chosen = index::sample(&mut random, singles.len(), QUERIES_MAX).into_vec();
        chosen.sort_unstable();
        singles = chosen
            .into_iter()
            .map(|place| singles[place].clone())
            .collect();
    }
    let pairs = judge.pairs(&mut random);
    println!(
        "{} single values, {} pairs of values",
        singles.len(),
        pairs.len()
    );
    let head = model.head().ok_or("the model has no head")?;
    let mut forms: Vec<(Form, f64)> = Vec::new();
    for candidate in &head.candidates {
        forms.push((candidate.form, candidate.recall_at_1_percent));
    }
    forms.push((head.form, f64::NAN));
    for (form, validation) in forms {
        let start = watch.monotonic_ms();
        let scorer = AttributeScorer::new(model.clone(), None).with_form(form);
        println!(
            "validation {validation:.4} single {:.4} and {:.4} ({} ms) {form:?}",
            recall(&scorer, &singles, threads)?,
            recall(&scorer, &pairs, threads)?,
            watch.monotonic_ms() - start
        );
    }
    println!("{:?} {:?}", model.card().choices, model.card().notes);
    Ok(())
}
