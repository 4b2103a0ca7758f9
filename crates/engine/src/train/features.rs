//! Attributes of items as sparse numbers.

use std::collections::BTreeMap;

use crate::data::attributes::{ItemAttributes, is_learned};
use crate::data::table::{Column, Values, categories};

/// A feature that fewer of the known items have tells nothing that the others do not.
const ITEMS_MIN: u32 = 2;
/// Most features; of more, those of the most items.
const FEATURES_MAX: usize = 1 << 16;
/// Longest word that is told apart, in characters, and most words of a text.
const WORD_CHARS_MAX: usize = 32;
const WORDS_MAX: usize = 256;
/// Knots of a numeric column, at equal shares of the known items.
const KNOTS: usize = 8;

/// A feature by its name: column, then value, word or knot.
type Name = (u32, Box<str>);

/// The features of every item.
pub(crate) struct Features {
    count: usize,
    starts: Vec<usize>,
    /// Feature and size.
    cells: Vec<(u32, f32)>,
}

impl Features {
    /// Features that at least a few of the `known` items have.
    pub(crate) fn new(attributes: &ItemAttributes, known: &[u32]) -> Features {
        let readers: Vec<Reader<'_>> = attributes
            .columns
            .iter()
            .zip(0..)
            .filter_map(|(column, number)| Reader::new(column, number, known))
            .collect();
        let items = attributes
            .columns
            .first()
            .map_or(0, |column| column.values.len());
        let mut counts: BTreeMap<Name, u32> = BTreeMap::new();
        for &item in known {
            for reader in &readers {
                for (name, _) in reader.read(item as usize) {
                    *counts.entry(name).or_default() += 1;
                }
            }
        }
        let mut names: Vec<(u32, Name)> = counts
            .into_iter()
            .filter(|(_, count)| *count >= ITEMS_MIN)
            .map(|(name, count)| (count, name))
            .collect();
        names.sort_by(|a, b| b.0.cmp(&a.0).then_with(|| a.1.cmp(&b.1)));
        names.truncate(FEATURES_MAX);
        let numbers: BTreeMap<Name, u32> =
            names.into_iter().map(|(_, name)| name).zip(0..).collect();
        let mut features = Features {
            count: numbers.len(),
            starts: vec![0],
            cells: Vec::new(),
        };
        for item in 0..items {
            for reader in &readers {
                let cells = reader.read(item);
                // A column weighs the same however many values it has.
                let square: f32 = cells.iter().map(|(_, size)| size * size).sum();
                let factor = 1.0 / square.sqrt().max(f32::MIN_POSITIVE);
                features.cells.extend(
                    cells
                        .into_iter()
                        .filter_map(|(name, size)| Some((*numbers.get(&name)?, factor * size))),
                );
            }
            features.starts.push(features.cells.len());
        }
        features
    }

    /// Number of features.
    pub(crate) fn len(&self) -> usize {
        self.count
    }

    /// Features and sizes of an item.
    pub(crate) fn row(&self, item: u32) -> &[(u32, f32)] {
        let item = item as usize;
        match self.starts.get(item + 1) {
            Some(&end) => &self.cells[self.starts[item]..end],
            None => &[],
        }
    }
}

/// Reads the values of a column.
struct Reader<'a> {
    number: u32,
    column: &'a Column,
    /// Ascending, for numbers.
    knots: Vec<f64>,
}

impl<'a> Reader<'a> {
    /// `None` for columns that training does not learn from.
    fn new(column: &'a Column, number: u32, known: &[u32]) -> Option<Reader<'a>> {
        if !is_learned(&column.field) {
            return None;
        }
        let knots = match &column.values {
            Values::Text(_) => Vec::new(),
            _ => knots(
                known
                    .iter()
                    .filter_map(|&item| numeric(column, item as usize)),
            ),
        };
        Some(Reader {
            number,
            column,
            knots,
        })
    }

    fn read(&self, item: usize) -> Vec<(Name, f32)> {
        match &self.column.values {
            Values::Text(values) => match &values[item] {
                None => Vec::new(),
                Some(text) if self.column.field.textual => self.words(text),
                Some(text) => categories(text)
                    .map(|value| (self.name(value), 1.0))
                    .collect(),
            },
            _ => numeric(self.column, item).map_or_else(Vec::new, |value| self.hats(value)),
        }
    }

    fn name(&self, value: &str) -> Name {
        (self.number, value.into())
    }

    /// Each word counts by the root of how often it occurs.
    fn words(&self, text: &str) -> Vec<(Name, f32)> {
        let mut words: BTreeMap<String, f32> = BTreeMap::new();
        let all = text.split(|c: char| !c.is_alphanumeric());
        for word in all.filter(|word| !word.is_empty()).take(WORDS_MAX) {
            let word = word
                .chars()
                .take(WORD_CHARS_MAX)
                .flat_map(char::to_lowercase);
            *words.entry(word.collect()).or_default() += 1.0;
        }
        words
            .into_iter()
            .map(|(word, count)| (self.name(&word), count.sqrt()))
            .collect()
    }

    /// A number belongs to the two knots around it, to the nearer one more.
    fn hats(&self, value: f64) -> Vec<(Name, f32)> {
        let knots = &self.knots;
        let knot = |place: usize, size: f64| (self.name(&place.to_string()), size as f32);
        let above = knots.partition_point(|&knot| knot < value);
        match above {
            _ if knots.is_empty() => Vec::new(),
            0 => vec![knot(0, 1.0)],
            _ if above == knots.len() => vec![knot(above - 1, 1.0)],
            _ => {
                let share = (value - knots[above - 1]) / (knots[above] - knots[above - 1]);
                vec![knot(above - 1, 1.0 - share), knot(above, share)]
            }
        }
    }
}

fn numeric(column: &Column, item: usize) -> Option<f64> {
    match &column.values {
        Values::Long(values) => values[item].map(|value| value as f64),
        Values::Double(values) => values[item].filter(|value| value.is_finite()),
        _ => None,
    }
}

/// Distinct quantiles, ascending.
fn knots(values: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_unstable_by(f64::total_cmp);
    let Some(last) = values.len().checked_sub(1) else {
        return Vec::new();
    };
    let mut knots: Vec<f64> = (0..KNOTS).map(|k| values[last * k / (KNOTS - 1)]).collect();
    knots.dedup();
    knots
}
