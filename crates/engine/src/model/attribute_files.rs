//! The files of a model that is asked for attributes.
//!
//! As in `artifact`, but `history.parquet` has the columns `events` and `recent` (counts instead of
//! scores), and `attributes.parquet` lists every attribute of every item: name and type of the column,
//! the value as text, the row number of the item; by column (in the order of the card's
//! `attribute_head`), value and item.

use std::path::Path;
use std::sync::Arc;

use arrow_array::{Array, ArrayRef, Float32Array, RecordBatch, StringArray, UInt32Array};
use kindred_store::Vault;
use kindred_types::schema::FieldType;

use super::artifact::{
    CARD, HISTORY, ITEMS, TENSORS, USERS, check_files, each_batch, read_card, write_card,
    write_table,
};
use super::{AttributeModel, Counts, History, Model, RECIPE_ITEM_ATTRIBUTE_AFFINITY};
use crate::attributes::{AttributeIndex, Builder, ColumnInfo};
use crate::error::Error;

const ATTRIBUTES: &str = "attributes.parquet";
const FILES: [&str; 5] = [TENSORS, USERS, ITEMS, HISTORY, ATTRIBUTES];

impl AttributeModel {
    /// Writes the model into `dir`, which must exist; everything is synced.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Input`] for a model whose head was not fitted.
    pub fn save(&self, dir: &Path) -> Result<(), Error> {
        self.save_in(dir, &Vault::plain())
    }

    /// Like [`AttributeModel::save`], with files that are kept in `vault`.
    pub fn save_in(&self, dir: &Path, vault: &Vault) -> Result<(), Error> {
        if self.head().is_none() {
            return Err(Error::Input("the model has no head yet".into()));
        }
        self.model().save_towers(dir, vault)?;
        write_counts(&dir.join(HISTORY), vault, self.counts())?;
        write_attributes(&dir.join(ATTRIBUTES), vault, self.index())?;
        write_card(dir, vault, self.card(), &FILES)
    }

    /// Reads the model in `dir` and checks every file against the card.
    ///
    /// # Errors
    /// [`Error::Damaged`] where a file is not what the card says, and [`Error::Input`] for a model that
    /// is asked for items.
    pub fn open(dir: &Path) -> Result<AttributeModel, Error> {
        AttributeModel::open_in(dir, &Vault::plain())
    }

    /// Like [`AttributeModel::open`], for files that are kept in `vault`.
    pub fn open_in(dir: &Path, vault: &Vault) -> Result<AttributeModel, Error> {
        let path = dir.join(CARD);
        let card = read_card(&path, vault)?;
        if card.recipe != RECIPE_ITEM_ATTRIBUTE_AFFINITY {
            return Err(Error::Input(format!(
                "the model in {} is one of {}: it is asked for itemId, not for itemAttributes",
                dir.display(),
                card.recipe
            )));
        }
        check_files(dir, vault, &card, &FILES)?;
        let head = card.attribute_head.as_ref();
        let head = head.ok_or_else(|| Error::damaged(&path, "it has no attribute_head"))?;
        let index = read_attributes(&dir.join(ATTRIBUTES), vault, &head.columns)?;
        let counts = read_counts(&dir.join(HISTORY), vault, card.items)?;
        let none = History {
            starts: vec![0; card.items + 1],
            ..History::default()
        };
        let model = Model::open_with(dir, vault, card, none)?;
        AttributeModel::new(model, index, counts).map_err(|detail| Error::damaged(dir, detail))
    }
}

fn write_counts(path: &Path, vault: &Vault, counts: &Counts) -> Result<(), Error> {
    let mut items = Vec::with_capacity(counts.users.len());
    for (item, end) in counts.starts.iter().skip(1).enumerate() {
        items.resize(*end, item as u32);
    }
    let names = ["user", "item", "events", "recent"];
    write_table(path, vault, &names, counts.users.len(), |rows| {
        let floats = |values: &[f32]| -> ArrayRef { Arc::new(Float32Array::from(values.to_vec())) };
        vec![
            Arc::new(UInt32Array::from(counts.users[rows.clone()].to_vec())),
            Arc::new(UInt32Array::from(items[rows.clone()].to_vec())),
            floats(&counts.events[rows.clone()]),
            floats(&counts.recent[rows]),
        ]
    })
}

fn read_counts(path: &Path, vault: &Vault, items: usize) -> Result<Counts, Error> {
    let mut counts = Counts {
        starts: vec![0; items + 1],
        ..Counts::default()
    };
    let mut last = 0;
    each_batch(path, vault, |batch| {
        counts.users.extend_from_slice(numbers(batch, "user")?);
        counts.events.extend_from_slice(floats(batch, "events")?);
        counts.recent.extend_from_slice(floats(batch, "recent")?);
        for &item in numbers(batch, "item")? {
            if item < last {
                return None;
            }
            last = item;
            *counts.starts.get_mut(item as usize + 1)? += 1;
        }
        Some(())
    })?;
    for item in 0..items {
        counts.starts[item + 1] += counts.starts[item];
    }
    Ok(counts)
}

fn write_attributes(path: &Path, vault: &Vault, index: &AttributeIndex) -> Result<(), Error> {
    let columns: Vec<(&str, &str)> = index
        .columns()
        .map(|column| (column.name.as_str(), kind_name(column.kind)))
        .collect();
    let mut rows = index.rows();
    let names = ["column", "kind", "value", "item"];
    write_table(path, vault, &names, index.rows_len(), |range| {
        let part: Vec<(usize, String, u32)> = rows.by_ref().take(range.len()).collect();
        let text = |each: fn(&(&str, &str)) -> String| -> ArrayRef {
            let texts = part.iter().map(|row| each(&columns[row.0]));
            Arc::new(StringArray::from_iter_values(texts))
        };
        vec![
            text(|column| column.0.to_owned()),
            text(|column| column.1.to_owned()),
            Arc::new(StringArray::from_iter_values(part.iter().map(|row| &row.1))),
            Arc::new(UInt32Array::from_iter_values(part.iter().map(|row| row.2))),
        ]
    })
}

fn read_attributes(
    path: &Path,
    vault: &Vault,
    columns: &[ColumnInfo],
) -> Result<AttributeIndex, Error> {
    let mut builder = Builder::new(columns.to_vec());
    let mut problem = None;
    let mut number = 0;
    each_batch(path, vault, |batch| {
        let (names, values) = (strings(batch, "column")?, strings(batch, "value")?);
        for (row, &item) in numbers(batch, "item")?.iter().enumerate() {
            while columns.get(number)?.name != names.value(row) {
                number += 1;
            }
            if let Err(detail) = builder.add(number, values.value(row), item) {
                problem.get_or_insert(detail);
                return None;
            }
        }
        Some(())
    })
    .map_err(|error| match problem.take() {
        Some(detail) => Error::damaged(path, detail),
        None => error,
    })?;
    Ok(builder.finish())
}

fn numbers<'b>(batch: &'b RecordBatch, name: &str) -> Option<&'b [u32]> {
    let column = batch.column_by_name(name)?.as_any();
    Some(column.downcast_ref::<UInt32Array>()?.values())
}

fn floats<'b>(batch: &'b RecordBatch, name: &str) -> Option<&'b [f32]> {
    let column = batch.column_by_name(name)?.as_any();
    Some(column.downcast_ref::<Float32Array>()?.values())
}

fn strings<'b>(batch: &'b RecordBatch, name: &str) -> Option<&'b StringArray> {
    let column = batch.column_by_name(name)?;
    let column = column.as_any().downcast_ref::<StringArray>()?;
    (column.null_count() == 0).then_some(column)
}

fn kind_name(kind: FieldType) -> &'static str {
    match kind {
        FieldType::String => "string",
        FieldType::Int => "int",
        FieldType::Long => "long",
        FieldType::Float => "float",
        FieldType::Double => "double",
        FieldType::Boolean => "boolean",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::AnyModel;
    use crate::score::attribute_fixtures;

    fn model() -> AttributeModel {
        attribute_fixtures::with_head(70, 20, 3, 5)
    }

    #[test]
    fn a_saved_model_opens_as_it_was_and_saves_to_the_same_bytes() {
        let model = model();
        let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        model.save(dirs[0].path()).unwrap();
        let opened = AttributeModel::open(dirs[0].path()).unwrap();
        assert_eq!(opened.index(), model.index());
        assert_eq!(opened.counts(), model.counts());
        assert_eq!(opened.head(), model.head());
        opened.save(dirs[1].path()).unwrap();
        for name in FILES.iter().chain(&[CARD]) {
            let [first, second] = &dirs;
            let bytes = |dir: &tempfile::TempDir| std::fs::read(dir.path().join(name)).unwrap();
            assert_eq!(bytes(first), bytes(second), "{name}");
        }
        let any = AnyModel::open(dirs[0].path()).unwrap();
        assert!(matches!(any, AnyModel::Attributes(_)));
    }

    #[test]
    fn a_model_of_the_other_recipe_is_refused_in_words() {
        let dir = tempfile::tempdir().unwrap();
        model().save(dir.path()).unwrap();
        let error = Model::open(dir.path()).unwrap_err().to_string();
        assert!(
            error.contains("is asked for itemAttributes, not for itemId"),
            "{error}"
        );
        let dir = tempfile::tempdir().unwrap();
        let mut other = Model::generated(7, 3, 4, 1);
        *other.card_mut() = crate::model::Card {
            recipe: crate::model::RECIPE_ITEM_AFFINITY.into(),
            users: 7,
            items: 3,
            dimension: 4,
            ..Default::default()
        };
        other.save(dir.path()).unwrap();
        let error = AttributeModel::open(dir.path()).unwrap_err().to_string();
        assert!(
            error.contains("is asked for itemId, not for itemAttributes"),
            "{error}"
        );
        assert!(matches!(AnyModel::open(dir.path()), Ok(AnyModel::Items(_))));
    }

    #[test]
    fn a_flipped_bit_is_noticed_and_named() {
        let dir = tempfile::tempdir().unwrap();
        model().save(dir.path()).unwrap();
        for name in FILES {
            let path = dir.path().join(name);
            let good = std::fs::read(&path).unwrap();
            let mut bad = good.clone();
            bad[good.len() / 2] ^= 4;
            std::fs::write(&path, &bad).unwrap();
            let error = AttributeModel::open(dir.path()).unwrap_err();
            assert!(matches!(&error, Error::Damaged { path: found, .. } if *found == path));
            std::fs::write(&path, &good).unwrap();
        }
    }
}
