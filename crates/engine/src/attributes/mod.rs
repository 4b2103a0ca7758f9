//! Which items have which attribute: the index behind `itemAttributes`.
//!
//! Values of all usable columns are numbered by column, then by value; each has its items, ascending.
//! A query is resolved to value numbers once, and to items where they are needed, so that a million
//! queries cost little more than their numbers. Textual and boolean columns and `CREATION_TIMESTAMP`
//! are not indexed, so they are as unknown here as a column that does not exist.

mod build;
mod fit;
pub mod head;
#[cfg(test)]
mod tests;

use kindred_types::item_query::{Condition, ItemQuery, Value};
use kindred_types::schema::FieldType;
use serde::{Deserialize, Serialize};

use crate::data::shortest_double;

pub(crate) use build::Builder;
pub(crate) use fit::{ACTUAL_MIN, Lesson, fit};

/// A numeric column with more distinct values than this is not listed value by value.
pub const LISTED_NUMBERS_MAX: usize = 1000;

/// The items of every value of every usable column.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AttributeIndex {
    columns: Vec<IndexedColumn>,
    /// Where the items of each value start; one more than there are values.
    starts: Vec<usize>,
    /// Item numbers, ascending within a value.
    items: Vec<u32>,
}

/// A usable column.
#[derive(Clone, Debug, PartialEq)]
struct IndexedColumn {
    column: ColumnInfo,
    /// The number of its first value.
    first: u32,
    keys: Keys,
}

/// Name and type of a usable column, as the model card lists it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ColumnInfo {
    /// As in the schema.
    pub name: String,
    /// String, int, long, float or double.
    pub kind: FieldType,
}

/// The distinct values of a column, ascending.
#[derive(Clone, Debug, PartialEq)]
enum Keys {
    Text(Vec<Box<str>>),
    Long(Vec<i64>),
    Double(Vec<f64>),
}

/// Why a query has no items; the text is the one of the output line, behind `User error: `.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unanswerable {
    /// There is no such column, or none that can be asked for.
    #[error("Column {0} cannot be used in itemAttributes")]
    Column(String),
    /// No item has what is asked for.
    #[error(
        "No item with the requested attributes was present when the solution version was created"
    )]
    NoItem,
}

impl AttributeIndex {
    /// Number of values of all columns together.
    pub fn len(&self) -> usize {
        self.starts.len().saturating_sub(1)
    }

    /// Whether no item has a value.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The usable columns, also those without a value.
    pub fn columns(&self) -> impl ExactSizeIterator<Item = &ColumnInfo> {
        self.columns.iter().map(|column| &column.column)
    }

    /// The items with a value, ascending.
    pub fn items_with(&self, value: u32) -> &[u32] {
        let value = value as usize;
        &self.items[self.starts[value]..self.starts[value + 1]]
    }

    /// Column name and text of a value.
    pub fn describe(&self, value: u32) -> (&str, String) {
        let at = self
            .columns
            .partition_point(|column| column.first + column.keys.len() <= value);
        let column = &self.columns[at];
        let text = column.keys.text((value - column.first) as usize);
        (&column.column.name, text)
    }

    /// The values a query asks for: ascending, each once. Every query about the same values gives the
    /// same numbers, however it is written.
    ///
    /// # Errors
    /// A column that cannot be used, or a value that no item has.
    pub fn resolve(&self, query: &ItemQuery) -> Result<Box<[u32]>, Unanswerable> {
        // All columns first: what can never be asked is told before what nobody has.
        let columns = query
            .conditions
            .iter()
            .map(|condition| self.column(&condition.column))
            .collect::<Result<Vec<_>, _>>()?;
        let mut values = columns
            .into_iter()
            .zip(&query.conditions)
            .map(|(column, condition)| column.find(condition))
            .collect::<Option<Vec<u32>>>()
            .ok_or(Unanswerable::NoItem)?;
        values.sort_unstable();
        values.dedup();
        Ok(values.into())
    }

    /// The items that have all of `values`, ascending; none for no values.
    pub fn items_with_all(&self, values: &[u32]) -> Vec<u32> {
        let mut lists: Vec<&[u32]> = values.iter().map(|&value| self.items_with(value)).collect();
        lists.sort_by_key(|list| list.len());
        let Some((shortest, others)) = lists.split_first() else {
            return Vec::new();
        };
        let mut items = shortest.to_vec();
        for other in others {
            let mut rest = *other;
            items.retain(|&item| {
                rest = &rest[rest.partition_point(|&other| other < item)..];
                rest.first() == Some(&item)
            });
        }
        items
    }

    /// The values that are worth listing one by one: all but those of numeric columns with more than
    /// [`LISTED_NUMBERS_MAX`].
    pub fn listed(&self) -> Vec<u32> {
        self.columns
            .iter()
            .filter(|column| {
                matches!(column.keys, Keys::Text(_))
                    || column.keys.len() as usize <= LISTED_NUMBERS_MAX
            })
            .flat_map(|column| column.first..column.first + column.keys.len())
            .collect()
    }

    /// Number of pairs of an item and a value it has.
    pub(crate) fn rows_len(&self) -> usize {
        self.items.len()
    }

    /// The highest number of an item that has a value.
    pub(crate) fn items_max(&self) -> Option<u32> {
        self.items.iter().copied().max()
    }

    /// Bytes the index holds, about.
    pub fn bytes(&self) -> u64 {
        let keys: usize = self
            .columns
            .iter()
            .map(|column| column.keys.bytes() + column.column.name.len())
            .sum();
        (self.items.len() * 4 + self.starts.len() * 8 + keys) as u64
    }

    /// The column of exactly this name, or the only one that differs in case alone.
    fn column(&self, name: &str) -> Result<&IndexedColumn, Unanswerable> {
        let exact = |column: &&IndexedColumn| column.column.name == name;
        let alike = |column: &&IndexedColumn| column.column.name.eq_ignore_ascii_case(name);
        let unknown = || Unanswerable::Column(name.to_owned());
        if let Some(column) = self.columns.iter().find(exact) {
            return Ok(column);
        }
        let mut found = self.columns.iter().filter(alike);
        let column = found.next().ok_or_else(unknown)?;
        found.next().map_or(Ok(column), |_| Err(unknown()))
    }
}

impl IndexedColumn {
    /// The number of the value a condition asks for.
    fn find(&self, condition: &Condition) -> Option<u32> {
        let place = match (&self.keys, &condition.value) {
            (Keys::Text(keys), Value::Text(text)) => place_of(keys, text),
            (Keys::Text(keys), Value::Number(number)) => place_of(keys, &number.to_string()),
            (Keys::Long(keys), value) => keys.binary_search(&value.as_number()?.as_i64()?).ok(),
            (Keys::Double(keys), value) => {
                let number = rounded(value.as_number()?.as_f64(), self.column.kind);
                keys.binary_search_by(|key| key.total_cmp(&number)).ok()
            }
        }?;
        Some(self.first + place as u32)
    }
}

fn place_of(keys: &[Box<str>], text: &str) -> Option<usize> {
    keys.binary_search_by(|key| key.as_bytes().cmp(text.as_bytes()))
        .ok()
}

/// What a number is in a column of this type; tables hold a single precision value as its shortest
/// double. Zero has no sign.
fn rounded(number: f64, kind: FieldType) -> f64 {
    match kind {
        FieldType::Float => shortest_double(number as f32) + 0.0,
        _ => number + 0.0,
    }
}

impl Keys {
    fn len(&self) -> u32 {
        let count = match self {
            Keys::Text(keys) => keys.len(),
            Keys::Long(keys) => keys.len(),
            Keys::Double(keys) => keys.len(),
        };
        count as u32
    }

    fn text(&self, place: usize) -> String {
        match self {
            Keys::Text(keys) => keys[place].to_string(),
            Keys::Long(keys) => keys[place].to_string(),
            Keys::Double(keys) => keys[place].to_string(),
        }
    }

    fn bytes(&self) -> usize {
        match self {
            Keys::Text(keys) => keys.iter().map(|key| key.len() + 16).sum(),
            Keys::Long(keys) => keys.len() * 8,
            Keys::Double(keys) => keys.len() * 8,
        }
    }
}
