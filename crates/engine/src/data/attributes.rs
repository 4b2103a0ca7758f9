//! The attributes of the items a model knows, in the order of the model's items.
//!
//! Joins the interactions with the Items dataset: items that have attributes but no interactions yet
//! become known, items without a row have absent values. What the attributes are used for is not
//! known here: attribute queries and the vectors of new items read them.

use std::collections::BTreeSet;

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
    /// out; a row whose remaining values are all absent makes no item known.
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
        let known = |row: usize| columns.iter().any(|column| column.values.is_present(row));
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
    /// Whether `row` has a value.
    pub fn is_present(&self, row: usize) -> bool {
        match self {
            Values::Text(values) => values[row].is_some(),
            Values::Long(values) => values[row].is_some(),
            Values::Double(values) => values[row].is_some(),
            Values::Boolean(values) => values[row].is_some(),
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
    use kindred_types::schema::{Field, FieldType};

    #[test]
    fn items_with_attributes_become_known_and_events_keep_their_items() {
        let data = interactions(&[("u", "b", 1), ("u", "d", 2), ("v", "b", 3)]);
        let text = |value: &str| Some(Box::<str>::from(value));
        let column = |name: &str, values| Column {
            field: Field {
                name: name.into(),
                kind: FieldType::String,
                nullable: true,
                categorical: true,
                textual: false,
            },
            values: Values::Text(values),
        };
        let table = Table {
            ids: ["a", "b", "c", "e"].map(String::from).into(),
            columns: vec![
                column("BRAND", vec![text("x"), text("y"), None, None]),
                column("SECRET", vec![None, None, text("z"), None]),
            ],
        };
        let joined = TrainingData::join(data.clone(), &table, &BTreeSet::new());
        assert_eq!(joined.interactions.items, ["a", "b", "c", "d"]);
        assert_eq!(joined.interactions.event_items, [1, 3, 1]);
        assert_eq!(
            joined.attributes.columns[0].values,
            Values::Text(vec![text("x"), text("y"), None, None])
        );
        let excluded = BTreeSet::from(["SECRET".to_owned()]);
        let joined = TrainingData::join(data, &table, &excluded);
        assert_eq!(joined.interactions.items, ["a", "b", "d"]);
        assert_eq!(joined.attributes.columns.len(), 1);
    }
}
