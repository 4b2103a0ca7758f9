//! Making an index: from the columns of training data, or from rows in the index's own order.

use kindred_types::schema::FieldType;

use super::{AttributeIndex, ColumnInfo, IndexedColumn, Keys, rounded};
use crate::data::attributes::{CREATION_TIMESTAMP, ItemAttributes};
use crate::data::table::{Column, Values, categories};

/// Most values of all columns together, so that a number of 32 bits names each.
const VALUES_MAX: usize = u32::MAX as usize;

impl AttributeIndex {
    /// Indexes the usable columns.
    ///
    /// # Errors
    /// A sentence, if there are more distinct values than can be numbered.
    pub fn new(attributes: &ItemAttributes) -> Result<AttributeIndex, String> {
        let usable = attributes.columns.iter().filter(|column| is_usable(column));
        let columns: Vec<&Column> = usable.collect();
        let infos = columns.iter().map(|column| ColumnInfo {
            name: column.field.name.clone(),
            kind: column.field.kind,
        });
        let mut builder = Builder::new(infos.collect());
        for (number, column) in columns.into_iter().enumerate() {
            let kind = column.field.kind;
            match &column.values {
                Values::Text(values) => {
                    let entries = entries(values, |text| categories(text)).collect();
                    builder.add_all(number, entries, Key::Text)?;
                }
                Values::Long(values) => {
                    let entries = entries(values, |value| [*value]).collect();
                    builder.add_all(number, entries, Key::Long)?;
                }
                Values::Double(values) => {
                    let order = |value: &f64| [Ordered(rounded(*value, kind))];
                    let entries = entries(values, order).collect();
                    builder.add_all(number, entries, |key: Ordered| Key::Double(key.0))?;
                }
                Values::Boolean(_) => {}
            }
        }
        Ok(builder.finish())
    }

    /// Every value with every item that has it, in the order a [`Builder`] takes them: number of the
    /// column, text of the value, item.
    pub(crate) fn rows(&self) -> impl Iterator<Item = (usize, String, u32)> + '_ {
        self.columns
            .iter()
            .enumerate()
            .flat_map(move |(number, column)| {
                (0..column.keys.len()).flat_map(move |place| {
                    let text = column.keys.text(place as usize);
                    let items = self.items_with(column.first + place);
                    items.iter().map(move |&item| (number, text.clone(), item))
                })
            })
    }
}

fn is_usable(column: &Column) -> bool {
    !column.field.textual
        && column.field.kind != FieldType::Boolean
        && !matches!(column.field.name.as_str(), CREATION_TIMESTAMP | "ITEM_ID")
}

/// The keys of each present value with its item.
fn entries<'v, T, K, I>(
    values: &'v [Option<T>],
    keys: impl Fn(&'v T) -> I + 'v,
) -> impl Iterator<Item = (K, u32)> + 'v
where
    K: 'v,
    I: IntoIterator<Item = K> + 'v,
{
    values
        .iter()
        .zip(0u32..)
        .filter_map(|(value, item)| Some((value.as_ref()?, item)))
        .flat_map(move |(value, item)| keys(value).into_iter().map(move |key| (key, item)))
}

/// A finite double in its total order.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Ordered(f64);

impl Eq for Ordered {}

impl Ord for Ordered {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.total_cmp(&other.0)
    }
}

impl PartialOrd for Ordered {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

/// One value of a column.
#[derive(Clone, Copy, Debug)]
enum Key<'a> {
    Text(&'a str),
    Long(i64),
    Double(f64),
}

/// Takes values and items in order: by column, then value, then item.
pub(crate) struct Builder {
    index: AttributeIndex,
    /// The column that is being filled.
    column: usize,
}

impl Builder {
    /// For these columns, in this order.
    pub(crate) fn new(columns: Vec<ColumnInfo>) -> Builder {
        let columns = columns.into_iter().map(|column| IndexedColumn {
            first: 0,
            keys: match column.kind {
                FieldType::Int | FieldType::Long => Keys::Long(Vec::new()),
                FieldType::Float | FieldType::Double => Keys::Double(Vec::new()),
                FieldType::String | FieldType::Boolean => Keys::Text(Vec::new()),
            },
            column,
        });
        Builder {
            index: AttributeIndex {
                columns: columns.collect(),
                starts: vec![0],
                items: Vec::new(),
            },
            column: 0,
        }
    }

    /// Adds a value given as its text and one item that has it.
    ///
    /// # Errors
    /// A sentence, if it is not of the column's type or does not come behind the last one.
    pub(crate) fn add(&mut self, column: usize, text: &str, item: u32) -> Result<(), String> {
        let Some(keys) = self
            .index
            .columns
            .get(column)
            .filter(|_| column >= self.column)
            .map(|column| &column.keys)
        else {
            return Err(format!("column {column} is out of order"));
        };
        let wrong = || format!("{text:?} is no value of column {column}");
        let key = match keys {
            Keys::Text(_) => Key::Text(text),
            Keys::Long(_) => Key::Long(text.parse().map_err(|_| wrong())?),
            Keys::Double(_) => Key::Double(text.parse().map_err(|_| wrong())?),
        };
        self.turn_to(column);
        if !self.push(key, item)? {
            return Err(format!("value {text:?} of column {column} is out of order"));
        }
        Ok(())
    }

    fn add_all<'k, K: Ord + Copy>(
        &mut self,
        column: usize,
        mut entries: Vec<(K, u32)>,
        key: impl Fn(K) -> Key<'k>,
    ) -> Result<(), String> {
        entries.sort_unstable();
        entries.dedup();
        self.turn_to(column);
        for (value, item) in entries {
            self.push(key(value), item)?;
        }
        Ok(())
    }

    /// Starts a column; those before it are complete.
    fn turn_to(&mut self, column: usize) {
        while self.column < column {
            self.column += 1;
            self.index.columns[self.column].first = (self.index.starts.len() - 1) as u32;
        }
    }

    /// Adds an item to the last value, or to a new one behind it; `false` if that breaks the order.
    fn push(&mut self, key: Key<'_>, item: u32) -> Result<bool, String> {
        use std::cmp::Ordering::{Equal, Greater, Less};
        let index = &mut self.index;
        let keys = &mut index.columns[self.column].keys;
        let order = match (&*keys, key) {
            (Keys::Text(keys), Key::Text(key)) => keys
                .last()
                .map_or(Greater, |last| key.as_bytes().cmp(last.as_bytes())),
            (Keys::Long(keys), Key::Long(key)) => keys.last().map_or(Greater, |last| key.cmp(last)),
            (Keys::Double(keys), Key::Double(key)) => {
                keys.last().map_or(Greater, |last| key.total_cmp(last))
            }
            _ => Less,
        };
        match order {
            Less => return Ok(false),
            Equal if index.items.last().is_some_and(|&last| last >= item) => return Ok(false),
            Equal => {}
            Greater => {
                if index.starts.len() > VALUES_MAX {
                    return Err(format!(
                        "the items have more than {VALUES_MAX} attribute values"
                    ));
                }
                match (keys, key) {
                    (Keys::Text(keys), Key::Text(key)) => keys.push(key.into()),
                    (Keys::Long(keys), Key::Long(key)) => keys.push(key),
                    (Keys::Double(keys), Key::Double(key)) => keys.push(key),
                    _ => return Ok(false),
                }
                index.starts.push(index.items.len());
            }
        }
        index.items.push(item);
        if let Some(end) = index.starts.last_mut() {
            *end = index.items.len();
        }
        Ok(true)
    }

    /// The index.
    pub(crate) fn finish(mut self) -> AttributeIndex {
        self.turn_to(self.index.columns.len().saturating_sub(1));
        self.index
    }
}
