//! What is known about items or users: one row per id, the last one written.
//!
//! Columns lie beside each other in memory, in the order of the ids. Recipes and filters read
//! them; nothing here knows what they are for.

use arrow_array::cast::AsArray;
use arrow_array::types::{Float32Type, Float64Type, Int32Type, Int64Type};
use arrow_array::{Array, RecordBatch};
use kindred_types::schema::{DatasetType, Field, FieldType};
use rustc_hash::FxHashMap;

use super::dataset::{Dataset, Generation};
use super::{Error, shortest_double};
use crate::progress::Progress;

/// How much a table may hold.
#[derive(Clone, Copy, Debug)]
pub struct TableLimits {
    /// Ids.
    pub rows_max: u64,
}

impl Default for TableLimits {
    fn default() -> Self {
        TableLimits {
            rows_max: 200_000_000,
        }
    }
}

/// One row per id.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Table {
    /// Ascending by bytes.
    pub ids: Vec<String>,
    /// All columns but the id, in the schema's order.
    pub columns: Vec<Column>,
}

/// One attribute of all ids.
#[derive(Clone, Debug, PartialEq)]
pub struct Column {
    /// Its name and type.
    pub field: Field,
    /// Its values in the order of the ids.
    pub values: Values,
}

/// The values of a column; absent ones are `None`.
#[derive(Clone, Debug, PartialEq)]
pub enum Values {
    /// Strings of any kind; categorical ones still have their `|`.
    Text(Vec<Option<Box<str>>>),
    /// Both integer types.
    Long(Vec<Option<i64>>),
    /// Both floating types.
    Double(Vec<Option<f64>>),
    /// True or false.
    Boolean(Vec<Option<bool>>),
}

impl Table {
    /// The place of `id`.
    pub fn row(&self, id: &str) -> Option<usize> {
        self.ids
            .binary_search_by(|other| other.as_bytes().cmp(id.as_bytes()))
            .ok()
    }

    /// The column of exactly this name.
    pub fn column(&self, name: &str) -> Option<&Column> {
        self.columns.iter().find(|column| column.field.name == name)
    }

    /// A text value of a row, for naming things.
    pub fn text(&self, row: usize, column: &str) -> Option<&str> {
        match &self.column(column)?.values {
            Values::Text(values) => values.get(row)?.as_deref(),
            _ => None,
        }
    }
}

/// The values of a categorical text: the segments between `|`, empty ones dropped.
pub fn categories(text: &str) -> impl Iterator<Item = &str> {
    text.split('|').filter(|value| !value.is_empty())
}

/// The Items rows in force: of every id the one written last.
pub fn load_items(
    generations: &[Generation],
    limits: &TableLimits,
    progress: &dyn Progress,
) -> Result<Table, Error> {
    load(DatasetType::Items, "ITEM_ID", generations, limits, progress)
}

/// The Users rows in force: of every id the one written last.
pub fn load_users(
    generations: &[Generation],
    limits: &TableLimits,
    progress: &dyn Progress,
) -> Result<Table, Error> {
    load(DatasetType::Users, "USER_ID", generations, limits, progress)
}

fn load(
    kind: DatasetType,
    id_column: &str,
    generations: &[Generation],
    limits: &TableLimits,
    progress: &dyn Progress,
) -> Result<Table, Error> {
    let dataset = Dataset::open(kind, generations)?;
    let fields = dataset.fields();
    let Some(id_place) = fields.iter().position(|field| field.name == id_column) else {
        return Ok(Table::default());
    };
    let places: Vec<usize> = (0..fields.len())
        .filter(|&place| place != id_place)
        .collect();
    let mut slots: FxHashMap<Box<str>, usize> = FxHashMap::default();
    let mut columns: Vec<Column> = places
        .iter()
        .map(|&place| Column {
            field: fields[place].clone(),
            values: Values::empty(fields[place].kind),
        })
        .collect();
    dataset.read(progress, |batch| {
        let ids = batch.column(id_place).as_string::<i32>();
        for row in 0..batch.num_rows() {
            let next = slots.len();
            let slot = match slots.get(ids.value(row)) {
                Some(slot) => *slot,
                None if next as u64 >= limits.rows_max => {
                    return Err(Error::Limit {
                        what: "rows",
                        limit: limits.rows_max,
                    });
                }
                None => {
                    slots.insert(ids.value(row).into(), next);
                    next
                }
            };
            for (column, &place) in columns.iter_mut().zip(&places) {
                column.values.set(slot, batch, place, row);
            }
        }
        Ok(())
    })?;
    let mut sorted: Vec<(Box<str>, usize)> = slots.into_iter().collect();
    sorted.sort_unstable();
    for column in &mut columns {
        column.values.reorder(sorted.iter().map(|(_, slot)| *slot));
    }
    Ok(Table {
        ids: sorted.into_iter().map(|(id, _)| id.into_string()).collect(),
        columns,
    })
}

impl Values {
    fn empty(kind: FieldType) -> Self {
        match kind {
            FieldType::String => Values::Text(Vec::new()),
            FieldType::Int | FieldType::Long => Values::Long(Vec::new()),
            FieldType::Float | FieldType::Double => Values::Double(Vec::new()),
            FieldType::Boolean => Values::Boolean(Vec::new()),
        }
    }

    /// Puts a value of a batch into `slot`, which exists or is the next one.
    fn set(&mut self, slot: usize, batch: &RecordBatch, place: usize, row: usize) {
        let column = batch.column(place);
        let valid = column.is_valid(row);
        match self {
            Values::Text(values) => {
                let value = valid.then(|| column.as_string::<i32>().value(row).into());
                put(values, slot, value);
            }
            Values::Long(values) => {
                let value = valid.then(|| match column.as_primitive_opt::<Int32Type>() {
                    Some(narrow) => i64::from(narrow.value(row)),
                    None => column.as_primitive::<Int64Type>().value(row),
                });
                put(values, slot, value);
            }
            Values::Double(values) => {
                let value = valid.then(|| match column.as_primitive_opt::<Float32Type>() {
                    Some(narrow) => shortest_double(narrow.value(row)),
                    None => column.as_primitive::<Float64Type>().value(row),
                });
                put(values, slot, value);
            }
            Values::Boolean(values) => {
                put(values, slot, valid.then(|| column.as_boolean().value(row)));
            }
        }
    }

    fn reorder(&mut self, order: impl Iterator<Item = usize>) {
        fn take<T>(values: &mut [Option<T>], order: impl Iterator<Item = usize>) -> Vec<Option<T>> {
            order.map(|slot| values[slot].take()).collect()
        }
        match self {
            Values::Text(values) => *values = take(values, order),
            Values::Long(values) => *values = take(values, order),
            Values::Double(values) => *values = take(values, order),
            Values::Boolean(values) => *values = take(values, order),
        }
    }
}

fn put<T>(values: &mut Vec<Option<T>>, slot: usize, value: Option<T>) {
    if slot == values.len() {
        values.push(value);
    } else {
        values[slot] = value;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::dataset::Mode;
    use crate::data::import::{ImportOptions, import};
    use crate::data::source::MemorySource;
    use crate::progress::Silent;
    use kindred_types::schema;

    #[test]
    fn the_last_row_of_an_id_wins_within_and_across_generations() {
        let parse = |more: &str| {
            schema::parse(
                &format!(
                    r#"{{"type":"record","name":"Items","fields":[
                    {{"name":"ITEM_ID","type":"string"}},
                    {{"name":"GENRES","type":["null","string"],"categorical":true}},
                    {{"name":"PRICE","type":["null","float"]}}{more}]}}"#
                ),
                None,
            )
            .unwrap()
        };
        let dir = tempfile::tempdir().unwrap();
        let add = |name: &str, mode, schema: &_, csv: &str| {
            let generation = Generation {
                dir: dir.path().join(name),
                vault: Default::default(),
                mode,
            };
            let source = MemorySource::new("items.csv", csv.as_bytes().to_vec());
            let options = ImportOptions::default();
            import(schema, "d", &[&source], &options, &generation.dir, &Silent).unwrap();
            generation
        };
        let old = parse("");
        let new = parse(
            r#",{"name":"NEW","type":["null","boolean"]},{"name":"N","type":["null","int"]}"#,
        );
        let generations = [
            add(
                "0",
                Mode::Full,
                &old,
                "ITEM_ID,GENRES,PRICE\nb,x|y,1.5\na,z,2\nb,w,\n",
            ),
            add(
                "1",
                Mode::Incremental,
                &new,
                "NEW,ITEM_ID,GENRES,PRICE,N\ntrue,c,,3,7\n,a,q,,-7\n",
            ),
        ];
        let table = load_items(&generations, &TableLimits::default(), &Silent).unwrap();
        assert_eq!(table.ids, ["a", "b", "c"]);
        let values = |name: &str| &table.column(name).unwrap().values;
        let text = |text: &str| Some(Box::<str>::from(text));
        assert_eq!(
            values("GENRES"),
            &Values::Text(vec![text("q"), text("w"), None])
        );
        assert_eq!(
            values("PRICE"),
            &Values::Double(vec![None, None, Some(3.0)])
        );
        assert_eq!(
            values("NEW"),
            &Values::Boolean(vec![None, None, Some(true)])
        );
        assert_eq!(values("N"), &Values::Long(vec![Some(-7), None, Some(7)]));
        assert_eq!(table.text(table.row("b").unwrap(), "GENRES"), Some("w"));
        assert_eq!(table.row("ab"), None);
        let limit = TableLimits { rows_max: 2 };
        assert!(matches!(
            load_items(&generations, &limit, &Silent),
            Err(Error::Limit { limit: 2, .. })
        ));
        assert_eq!(categories("|a|| b |").collect::<Vec<_>>(), ["a", " b "]);
    }
}
