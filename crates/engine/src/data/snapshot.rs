//! The closed snapshot a solution version trains on: which interactions count, in canonical form.
//!
//! Event filters first, then exact duplicates (all columns equal) are dropped, then the minimums are
//! checked. The result and its checksum depend on the set of rows alone, not on their order, on
//! files or on threads. Weights of event types are part of it as soon as one differs from 1. A fitting machine holds about 24 bytes per interaction beside the ids.

use std::hash::{DefaultHasher, Hash, Hasher};

use arrow_array::cast::AsArray;
use arrow_array::types::{Float32Type, Float64Type, Int32Type, Int64Type};
use arrow_array::{Array, RecordBatch, StringArray};
use arrow_schema::DataType;
use kindred_types::schema::{DatasetType, Field};
use rayon::slice::ParallelSliceMut;
use rustc_hash::FxHashMap;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::dataset::{Dataset, Generation};
use super::{Error, same_ignoring_case, shortest_double};
use crate::interactions::Interactions;
use crate::progress::Progress;

#[cfg(test)]
mod tests;

/// Which interactions train a model. Types are compared ignoring case; a missing type or value
/// never matches a condition on it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TrainingFilter {
    /// Only events of this type.
    pub event_type: Option<String>,
    /// Only events of at least this value.
    pub event_value_threshold: Option<f64>,
    /// If any are given: only events one of these rules takes.
    pub events: Vec<EventRule>,
}

/// Takes events of one type, perhaps from a value on, and says what they weigh.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EventRule {
    /// The type.
    pub event_type: String,
    /// The least value.
    pub threshold: Option<f64>,
    /// How much such an event counts, 0 to 1. An event of weight 0 belongs to the user's activity
    /// and is no target of training. Where several rules take an event, the largest weight counts.
    pub weight: f32,
}

/// Different weights that one filter may use.
const WEIGHTS_MAX: usize = 256;
/// How far the place of a weight is shifted in an event's last key; see [`Event`].
const WEIGHT_SHIFT: u32 = 56;

/// How much a snapshot may hold.
#[derive(Clone, Copy, Debug)]
pub struct SnapshotLimits {
    /// Interactions after filtering, before duplicates are dropped.
    pub interactions_max: u64,
}

impl Default for SnapshotLimits {
    fn default() -> Self {
        SnapshotLimits {
            interactions_max: 2_000_000_000,
        }
    }
}

/// What there is to say about a snapshot.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SnapshotFacts {
    /// Rows of the dataset.
    pub rows_read: u64,
    /// Rows the filter takes.
    pub rows_matched: u64,
    /// Unique interactions among those.
    pub rows: u64,
    /// Users with an interaction.
    pub users: u64,
    /// Users with at least two.
    pub users_with_two: u64,
    /// Items with an interaction.
    pub items: u64,
    /// The first time stamp.
    pub first_time: i64,
    /// The last time stamp.
    pub last_time: i64,
    /// SHA-256 of the canonical content, in hexadecimal digits.
    pub checksum: String,
}

impl SnapshotFacts {
    /// The facts of interactions that are already filtered and free of duplicates; counts of rows are
    /// those of the interactions.
    pub fn of(interactions: &Interactions) -> SnapshotFacts {
        let rows = interactions.len() as u64;
        let mut facts = SnapshotFacts {
            rows_read: rows,
            rows_matched: rows,
            ..SnapshotFacts::default()
        };
        complete(&mut facts, interactions);
        facts
    }
}

/// What a snapshot needs at least before a model is trained on it; zero asks for nothing.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Minimums {
    /// Unique interactions after filtering.
    pub interactions: u64,
    /// Users with at least two interactions.
    pub users_with_two: u64,
    /// Percent of all users that must have at least two interactions.
    pub users_with_two_percent: f64,
}

impl Default for Minimums {
    fn default() -> Self {
        Minimums {
            interactions: 1_000,
            users_with_two: 25,
            users_with_two_percent: 1.0,
        }
    }
}

impl Minimums {
    /// Whether a snapshot has enough; if not, the failure reason.
    pub fn check(&self, facts: &SnapshotFacts, filter: &TrainingFilter) -> Result<(), String> {
        if facts.rows < self.interactions {
            return Err(format!(
                "Dataset has fewer than {} interactions{}",
                self.interactions,
                filter.describe()
            ));
        }
        if facts.users_with_two < self.users_with_two {
            return Err(format!(
                "Dataset has fewer than {} users with at least 2 interactions each.",
                self.users_with_two
            ));
        }
        let percent = 100.0 * facts.users_with_two as f64 / facts.users.max(1) as f64;
        if percent < self.users_with_two_percent {
            return Err(format!(
                "Dataset has fewer than {} percent of its users with at least 2 interactions each.",
                self.users_with_two_percent
            ));
        }
        Ok(())
    }
}

impl TrainingFilter {
    fn describe(&self) -> String {
        let types: Vec<&str> = match &self.event_type {
            Some(event_type) => vec![event_type],
            None => self
                .events
                .iter()
                .map(|rule| rule.event_type.as_str())
                .collect(),
        };
        if !types.is_empty() {
            format!(" after filtering by event type: {}", types.join(", "))
        } else if let Some(threshold) = self.event_value_threshold {
            format!(" after filtering by event value threshold: {threshold}")
        } else {
            String::new()
        }
    }

    fn needs_value(&self) -> bool {
        self.event_value_threshold.is_some()
            || self.events.iter().any(|rule| rule.threshold.is_some())
    }

    /// The weights of the rules, ascending, each once; 1 where there are none.
    fn weights(&self) -> Result<Vec<f32>, Error> {
        let mut weights: Vec<f32> = self.events.iter().map(|rule| rule.weight).collect();
        if weights.iter().any(|weight| !(0.0..=1.0).contains(weight)) {
            return Err(Error::Misuse(
                "the weight of an event type must lie between 0 and 1".into(),
            ));
        }
        if weights.is_empty() {
            weights.push(1.0);
        }
        weights.sort_unstable_by(f32::total_cmp);
        weights.dedup();
        if weights.len() > WEIGHTS_MAX {
            return Err(Error::Limit {
                what: "different event weights",
                limit: WEIGHTS_MAX as u64,
            });
        }
        Ok(weights)
    }

    /// The weight of an event, or nothing if it is not taken.
    fn takes(&self, event_type: Option<&str>, value: Option<f64>) -> Option<f32> {
        let at_least = |threshold: Option<f64>| {
            threshold.is_none_or(|least| value.is_some_and(|value| value >= least))
        };
        let is_of = |wanted: &str| {
            event_type.is_some_and(|event_type| same_ignoring_case(event_type, wanted))
        };
        if !self.event_type.as_deref().is_none_or(is_of) || !at_least(self.event_value_threshold) {
            return None;
        }
        if self.events.is_empty() {
            return Some(1.0);
        }
        let rules = self.events.iter();
        rules
            .filter(|rule| is_of(&rule.event_type) && at_least(rule.threshold))
            .map(|rule| rule.weight)
            .max_by(f32::total_cmp)
    }
}

/// Reads the interactions in force, takes those that `filter` takes, and numbers them.
pub fn load_interactions(
    generations: &[Generation],
    filter: &TrainingFilter,
    limits: &SnapshotLimits,
    progress: &dyn Progress,
) -> Result<(Interactions, SnapshotFacts), Error> {
    let dataset = Dataset::open(DatasetType::Interactions, generations)?;
    let weights = filter.weights()?;
    let mut rows = Rows::default();
    let mut facts = SnapshotFacts {
        rows_read: dataset.rows(),
        ..SnapshotFacts::default()
    };
    let needs_value = filter.needs_value();
    dataset.read(progress, |batch| {
        let columns = Columns::of(batch, dataset.fields());
        for row in 0..batch.num_rows() {
            let value = needs_value.then(|| columns.event_value(row)).flatten();
            let Some(weight) = filter.takes(columns.event_type(row), value) else {
                continue;
            };
            let weight = weights.partition_point(|other| *other < weight);
            if rows.events.len() as u64 >= limits.interactions_max {
                return Err(Error::Limit {
                    what: "interactions",
                    limit: limits.interactions_max,
                });
            }
            rows.push(&columns, row, weight)?;
        }
        Ok(())
    })?;
    facts.rows_matched = rows.events.len() as u64;
    let interactions = rows.number(&weights);
    complete(&mut facts, &interactions);
    Ok((interactions, facts))
}

/// An interaction while it is being sorted; the order of the fields is the order of the result.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Event {
    user: u32,
    time: i64,
    item: u32,
    /// In the highest byte the place of the weight among the filter's, so that events that differ in
    /// nothing else have an order of their own; below it a hash of all other columns: only rows that
    /// agree in all of them are duplicates.
    rest: u64,
}

#[derive(Default)]
struct Rows {
    users: Numbers,
    items: Numbers,
    events: Vec<Event>,
}

impl Rows {
    fn push(&mut self, columns: &Columns<'_>, row: usize, weight: usize) -> Result<(), Error> {
        self.events.push(Event {
            user: self.users.number(columns.users.value(row), "users")?,
            time: columns.times.value(row),
            item: self.items.number(columns.items.value(row), "items")?,
            rest: (weight as u64) << WEIGHT_SHIFT | columns.hash_rest(row) >> (64 - WEIGHT_SHIFT),
        });
        Ok(())
    }

    /// Numbers ids in byte order, sorts, and drops exact duplicates.
    fn number(mut self, weights: &[f32]) -> Interactions {
        let (users, user_rank) = self.users.sorted();
        let (items, item_rank) = self.items.sorted();
        for event in &mut self.events {
            event.user = user_rank[event.user as usize];
            event.item = item_rank[event.item as usize];
        }
        drop((user_rank, item_rank));
        self.events.par_sort_unstable();
        self.events.dedup();
        let mut user_starts = vec![0; users.len() + 1];
        for event in &self.events {
            user_starts[event.user as usize + 1] += 1;
        }
        for user in 0..users.len() {
            user_starts[user + 1] += user_starts[user];
        }
        let weight = |event: &Event| weights[(event.rest >> WEIGHT_SHIFT) as usize];
        let event_weights = if self.events.iter().all(|event| weight(event) == 1.0) {
            Vec::new()
        } else {
            self.events.iter().map(weight).collect()
        };
        Interactions {
            users,
            items,
            user_starts,
            event_items: self.events.iter().map(|event| event.item).collect(),
            event_times: self.events.iter().map(|event| event.time).collect(),
            event_weights,
        }
    }
}

/// Numbers ids as they come.
#[derive(Default)]
struct Numbers {
    numbers: FxHashMap<Box<str>, u32>,
}

impl Numbers {
    fn number(&mut self, id: &str, what: &'static str) -> Result<u32, Error> {
        if let Some(number) = self.numbers.get(id) {
            return Ok(*number);
        }
        let number = u32::try_from(self.numbers.len())
            .ok()
            .filter(|number| *number < u32::MAX)
            .ok_or(Error::Limit {
                what,
                limit: u64::from(u32::MAX),
            })?;
        self.numbers.insert(id.into(), number);
        Ok(number)
    }

    /// The ids ascending by bytes, and the new number of each old one.
    fn sorted(&mut self) -> (Vec<String>, Vec<u32>) {
        let mut ids: Vec<(Box<str>, u32)> = std::mem::take(&mut self.numbers).into_iter().collect();
        ids.par_sort_unstable();
        let mut rank = vec![0; ids.len()];
        for (new, (_, old)) in ids.iter().enumerate() {
            rank[*old as usize] = new as u32;
        }
        let ids = ids.into_iter().map(|(id, _)| id.into_string()).collect();
        (ids, rank)
    }
}

/// The columns of a batch by their meaning.
struct Columns<'a> {
    users: &'a StringArray,
    items: &'a StringArray,
    times: &'a arrow_array::Int64Array,
    event_type: Option<&'a StringArray>,
    event_value: Option<&'a dyn Array>,
    rest: Vec<&'a dyn Array>,
}

impl<'a> Columns<'a> {
    /// `fields` came from a checked schema, so ids and times are there and of their types.
    fn of(batch: &'a RecordBatch, fields: &[Field]) -> Self {
        let place = |name: &str| fields.iter().position(|field| field.name == name);
        let column = |name: &str| place(name).map(|place| batch.column(place).as_ref());
        let required =
            |name: &str| column(name).expect("a checked Interactions schema has this column");
        let is_key =
            |field: &&Field| matches!(field.name.as_str(), "USER_ID" | "ITEM_ID" | "TIMESTAMP");
        // By name, so that a schema whose columns were reordered gives the same hashes.
        let mut rest: Vec<&Field> = fields.iter().filter(|field| !is_key(field)).collect();
        rest.sort_by(|a, b| a.name.cmp(&b.name));
        Columns {
            users: required("USER_ID").as_string(),
            items: required("ITEM_ID").as_string(),
            times: required("TIMESTAMP").as_primitive(),
            event_type: column("EVENT_TYPE").map(|column| column.as_string()),
            event_value: column("EVENT_VALUE"),
            rest: rest
                .into_iter()
                .filter_map(|field| column(&field.name))
                .collect(),
        }
    }

    fn event_type(&self, row: usize) -> Option<&'a str> {
        self.event_type
            .filter(|column| column.is_valid(row))
            .map(|column| column.value(row))
    }

    fn event_value(&self, row: usize) -> Option<f64> {
        let column = self.event_value.filter(|column| column.is_valid(row))?;
        Some(match column.data_type() {
            DataType::Float32 => shortest_double(column.as_primitive::<Float32Type>().value(row)),
            _ => column.as_primitive::<Float64Type>().value(row),
        })
    }

    fn hash_rest(&self, row: usize) -> u64 {
        if self.rest.is_empty() {
            return 0;
        }
        let mut hasher = DefaultHasher::new();
        for column in &self.rest {
            if column.is_null(row) {
                hasher.write_u8(0);
                continue;
            }
            hasher.write_u8(1);
            match column.data_type() {
                DataType::Utf8 => column.as_string::<i32>().value(row).hash(&mut hasher),
                DataType::Int32 => hasher.write_i32(column.as_primitive::<Int32Type>().value(row)),
                DataType::Int64 => hasher.write_i64(column.as_primitive::<Int64Type>().value(row)),
                DataType::Float32 => {
                    hasher.write_u32(column.as_primitive::<Float32Type>().value(row).to_bits());
                }
                DataType::Float64 => {
                    hasher.write_u64(column.as_primitive::<Float64Type>().value(row).to_bits());
                }
                _ => hasher.write_u8(u8::from(column.as_boolean().value(row))),
            }
        }
        hasher.finish()
    }
}

fn complete(facts: &mut SnapshotFacts, interactions: &Interactions) {
    let starts = &interactions.user_starts;
    facts.rows = interactions.len() as u64;
    facts.users = interactions.users.len() as u64;
    facts.items = interactions.items.len() as u64;
    facts.users_with_two = starts
        .windows(2)
        .filter(|pair| pair[1] - pair[0] >= 2)
        .count() as u64;
    facts.first_time = interactions.event_times.iter().copied().min().unwrap_or(0);
    facts.last_time = interactions.event_times.iter().copied().max().unwrap_or(0);
    facts.checksum = checksum(interactions);
}

/// SHA-256 over ids and events, every list after its length, and the weights if any is not 1.
fn checksum(interactions: &Interactions) -> String {
    let mut sha = Sha256::new();
    sha.update(b"kindred interactions 1\n");
    for ids in [&interactions.users, &interactions.items] {
        sha.update((ids.len() as u64).to_le_bytes());
        for id in ids {
            sha.update((id.len() as u32).to_le_bytes());
            sha.update(id);
        }
    }
    sha.update((interactions.len() as u64).to_le_bytes());
    let mut block = Vec::with_capacity(64 << 10);
    for user in 0..interactions.users.len() {
        let events = interactions.events_of(user);
        block.extend((events.len() as u64).to_le_bytes());
        for event in events {
            block.extend(interactions.event_items[event].to_le_bytes());
            block.extend(interactions.event_times[event].to_le_bytes());
            if block.len() >= 48 << 10 {
                sha.update(&block);
                block.clear();
            }
        }
    }
    sha.update(&block);
    if !interactions.event_weights.is_empty() {
        sha.update(b"weights\n");
        for weights in interactions.event_weights.chunks(8 << 10) {
            let bytes: Vec<u8> = weights.iter().flat_map(|w| w.to_le_bytes()).collect();
            sha.update(bytes);
        }
    }
    hex::encode(sha.finalize())
}
