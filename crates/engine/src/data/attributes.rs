//! The attributes of the items a model knows, in the order of the model's items.
//!
//! Joins the interactions with the Items dataset: items that have attributes but no interactions yet
//! become known, items without a row have absent values. What the attributes are used for is not
//! known here: attribute queries and the vectors of new items read them.

use std::collections::BTreeSet;

use kindred_types::schema::{Field, FieldType};
use sha2::{Digest, Sha256};

use super::table::{Column, Table, Values};
use crate::interactions::Interactions;

/// The columns of the Items dataset, one value per item of the model.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ItemAttributes {
    /// In the schema's order.
    pub columns: Vec<Column>,
}

/// What a recipe trains on.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TrainingData {
    /// Who did what when; its items are those of the attributes.
    pub interactions: Interactions,
    /// What the items are like; no columns if nothing is known.
    pub attributes: ItemAttributes,
}

/// A column that takes no part in training: when a row was made says nothing about taste.
pub const CREATION_TIMESTAMP: &str = "CREATION_TIMESTAMP";

impl TrainingData {
    /// Without any attributes.
    pub fn bare(interactions: Interactions) -> TrainingData {
        TrainingData {
            interactions,
            attributes: ItemAttributes::default(),
        }
    }

    /// Joins interactions and Items rows. Columns named in `excluded` and `CREATION_TIMESTAMP` are left
    /// out; a row makes an item known if it has a value that training can learn from: a category, a text
    /// or a number.
    pub fn join(
        interactions: Interactions,
        items: &Table,
        excluded: &BTreeSet<String>,
    ) -> TrainingData {
        let columns: Vec<&Column> = items
            .columns
            .iter()
            .filter(|column| column.field.name != CREATION_TIMESTAMP)
            .filter(|column| !excluded.contains(&column.field.name))
            .collect();
        let known = |row: usize| {
            let mut learned = columns.iter().filter(|column| is_learned(&column.field));
            learned.any(|column| column.values.is_present(row))
        };
        let added: Vec<usize> = (0..items.ids.len())
            .filter(|&row| known(row))
            .filter(|&row| find(&interactions.items, &items.ids[row]).is_none())
            .collect();
        let interactions = with_items(interactions, &added, items);
        let rows: Vec<Option<usize>> = interactions.items.iter().map(|id| items.row(id)).collect();
        let columns = columns
            .into_iter()
            .map(|column| Column {
                field: column.field.clone(),
                values: column.values.taken(&rows),
            })
            .collect();
        TrainingData {
            interactions,
            attributes: ItemAttributes { columns },
        }
    }

    /// Stands for all that is trained on: `interactions` is the checksum of the interactions before
    /// they were joined (`data::snapshot`). Without attributes it is that very checksum, otherwise
    /// SHA-256, in hexadecimal digits, over it, the ids of all items and the columns by name; so
    /// neither the order of rows nor that of columns matters.
    pub fn checksum(&self, interactions: &str) -> String {
        if self.attributes.columns.is_empty() {
            return interactions.to_owned();
        }
        let mut sha = Sha256::new();
        sha.update(b"kindred items 1\n");
        sha.update(interactions);
        let ids = &self.interactions.items;
        sha.update((ids.len() as u64).to_le_bytes());
        for id in ids {
            hash_text(&mut sha, id);
        }
        let mut columns: Vec<&Column> = self.attributes.columns.iter().collect();
        columns.sort_by(|a, b| a.field.name.cmp(&b.field.name));
        for column in columns {
            hash_text(&mut sha, &column.field.name);
            let roles = [column.field.categorical, column.field.textual];
            sha.update(roles.map(u8::from));
            column.values.hash(&mut sha);
        }
        hex::encode(sha.finalize())
    }
}

fn hash_text(sha: &mut Sha256, text: &str) {
    sha.update((text.len() as u64).to_le_bytes());
    sha.update(text);
}

/// Whether training learns from a column: booleans and plain strings are stored, but tell it nothing.
pub(crate) fn is_learned(field: &Field) -> bool {
    match field.kind {
        FieldType::Boolean => false,
        FieldType::String => field.categorical || field.textual,
        FieldType::Int | FieldType::Long | FieldType::Float | FieldType::Double => true,
    }
}

fn find(ids: &[String], id: &str) -> Option<usize> {
    ids.binary_search_by(|other| other.as_bytes().cmp(id.as_bytes()))
        .ok()
}

/// The interactions with `added` rows of `items` among their items.
fn with_items(mut interactions: Interactions, added: &[usize], items: &Table) -> Interactions {
    if added.is_empty() {
        return interactions;
    }
    let old = std::mem::take(&mut interactions.items);
    let mut numbers = Vec::with_capacity(old.len());
    let mut all: Vec<String> = Vec::with_capacity(old.len() + added.len());
    let mut next = added.iter().map(|&row| &items.ids[row]).peekable();
    for id in old {
        while let Some(before) = next.next_if(|other| other.as_bytes() < id.as_bytes()) {
            all.push(before.clone());
        }
        numbers.push(all.len() as u32);
        all.push(id);
    }
    all.extend(next.cloned());
    for item in &mut interactions.event_items {
        *item = numbers[*item as usize];
    }
    interactions.items = all;
    interactions
}

impl Values {
    /// Number of rows.
    pub(crate) fn len(&self) -> usize {
        match self {
            Values::Text(values) => values.len(),
            Values::Long(values) => values.len(),
            Values::Double(values) => values.len(),
            Values::Boolean(values) => values.len(),
        }
    }

    /// Whether `row` has a value.
    pub fn is_present(&self, row: usize) -> bool {
        match self {
            Values::Text(values) => values[row].is_some(),
            Values::Long(values) => values[row].is_some(),
            Values::Double(values) => values[row].is_some(),
            Values::Boolean(values) => values[row].is_some(),
        }
    }

    /// Adds the kind of the values and each of them, or that it is absent.
    fn hash(&self, sha: &mut Sha256) {
        fn each<T>(values: &[Option<T>], sha: &mut Sha256, hash: impl Fn(&T, &mut Sha256)) {
            for value in values {
                sha.update([u8::from(value.is_some())]);
                if let Some(value) = value {
                    hash(value, sha);
                }
            }
        }
        match self {
            Values::Text(values) => {
                sha.update(b"t");
                each(values, sha, |value, sha| hash_text(sha, value));
            }
            Values::Long(values) => {
                sha.update(b"l");
                each(values, sha, |value, sha| sha.update(value.to_le_bytes()));
            }
            Values::Double(values) => {
                sha.update(b"d");
                each(values, sha, |value, sha| {
                    sha.update(value.to_bits().to_le_bytes());
                });
            }
            Values::Boolean(values) => {
                sha.update(b"b");
                each(values, sha, |value, sha| sha.update([u8::from(*value)]));
            }
        }
    }

    /// The values of `rows`, absent where there is no row.
    pub(crate) fn taken(&self, rows: &[Option<usize>]) -> Values {
        fn take<T: Clone>(values: &[Option<T>], rows: &[Option<usize>]) -> Vec<Option<T>> {
            rows.iter().map(|row| values[(*row)?].clone()).collect()
        }
        match self {
            Values::Text(values) => Values::Text(take(values, rows)),
            Values::Long(values) => Values::Long(take(values, rows)),
            Values::Double(values) => Values::Double(take(values, rows)),
            Values::Boolean(values) => Values::Boolean(take(values, rows)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::fixtures::interactions;

    fn column(name: &str, kind: FieldType, values: Values) -> Column {
        Column {
            field: Field {
                name: name.into(),
                kind,
                nullable: true,
                categorical: kind == FieldType::String,
                textual: false,
            },
            values,
        }
    }

    fn text<const N: usize>(name: &str, values: [&str; N]) -> Column {
        let values = values.map(|value| (!value.is_empty()).then(|| value.into()));
        column(name, FieldType::String, Values::Text(values.into()))
    }

    #[test]
    fn items_with_attributes_become_known_and_events_keep_their_items() {
        let data = interactions(&[("u", "b", 1), ("u", "d", 2), ("v", "b", 3)]);
        let table = Table {
            ids: ["a", "b", "c", "e"].map(String::from).into(),
            columns: vec![
                text("BRAND", ["x", "y", "", ""]),
                text("SECRET", ["", "", "z", ""]),
            ],
        };
        let joined = TrainingData::join(data.clone(), &table, &BTreeSet::new());
        assert_eq!(joined.interactions.items, ["a", "b", "c", "d"]);
        assert_eq!(joined.interactions.event_items, [1, 3, 1]);
        assert_eq!(
            joined.attributes.columns[0],
            text("BRAND", ["x", "y", "", ""])
        );
        let mut plain = table.clone();
        plain.columns[1].field.categorical = false;
        let plain = TrainingData::join(data.clone(), &plain, &BTreeSet::new());
        assert_eq!(plain.interactions.items, ["a", "b", "d"]);
        let excluded = BTreeSet::from(["SECRET".to_owned()]);
        let joined = TrainingData::join(data, &table, &excluded);
        assert_eq!(joined.interactions.items, ["a", "b", "d"]);
        assert_eq!(joined.attributes.columns.len(), 1);
    }

    #[test]
    fn the_checksum_follows_what_is_trained_on_and_nothing_else() {
        let data = interactions(&[("u", "b", 1), ("u", "d", 2)]);
        let checksum = |ids: &[&str], columns: Vec<Column>, excluded: &[&str]| {
            let table = Table {
                ids: ids.iter().map(|id| (*id).to_owned()).collect(),
                columns,
            };
            let excluded = excluded.iter().map(|name| (*name).to_owned()).collect();
            TrainingData::join(data.clone(), &table, &excluded).checksum("events")
        };
        let price = |values: [f64; 2]| {
            let values = Values::Double(values.map(Some).into());
            column("PRICE", FieldType::Double, values)
        };
        let brand = || text("BRAND", ["x", "y"]);
        let ids = ["a", "b"];
        let first = checksum(&ids, vec![brand(), price([1.0, 2.0])], &[]);
        assert_eq!(first.len(), 64);
        // The order of the columns and a row without values do not count.
        assert_eq!(checksum(&ids, vec![price([1.0, 2.0]), brand()], &[]), first);
        let longs = |values: Vec<i64>| {
            let values = Values::Long(values.into_iter().map(Some).collect());
            column(CREATION_TIMESTAMP, FieldType::Long, values)
        };
        let more = vec![brand(), price([1.0, 2.0]), longs(vec![1, 2])];
        assert_eq!(checksum(&ids, more, &[]), first);
        // Every value, id and name does.
        let others = [
            checksum(&ids, vec![brand(), price([1.0, 3.0])], &[]),
            checksum(
                &ids,
                vec![text("BRAND", ["x", "x"]), price([1.0, 2.0])],
                &[],
            ),
            checksum(&ids, vec![text("BRAND", ["x", ""]), price([1.0, 2.0])], &[]),
            checksum(&["a", "c"], vec![brand(), price([1.0, 2.0])], &[]),
            checksum(
                &ids,
                vec![text("LABEL", ["x", "y"]), price([1.0, 2.0])],
                &[],
            ),
            checksum(&ids, vec![brand(), price([1.0, 2.0])], &["PRICE"]),
        ];
        let mut all: BTreeSet<&String> = others.iter().collect();
        all.insert(&first);
        assert_eq!(all.len(), others.len() + 1);
        // Values of an excluded column do not, and without columns the interactions decide alone.
        assert_eq!(
            checksum(&ids, vec![brand(), price([7.0, 7.0])], &["PRICE"]),
            others[5]
        );
        assert_eq!(checksum(&ids, vec![brand()], &["BRAND"]), "events");
    }
}
