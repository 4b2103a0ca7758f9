//! The files of a model, open to anyone: safetensors, Parquet and JSON.
//!
//! `model.safetensors` holds `user_vectors`, `user_offsets`, `user_log_rates`, `item_vectors` and `item_offsets`;
//! `users.parquet` and `items.parquet` the ids in that order; `history.parquet` the pairs (row numbers
//! of user and item) with their score, by item and user; `card.json` the card with the SHA-256 of the
//! others. Models that are asked for attributes differ in the history and have one file more
//! (`attribute_files`). The same model gives the same bytes. Files are synced before `save` returns; moving the
//! folder into place is the caller's business.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fs::File;
use std::io::{BufWriter, Read, Write};
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use arrow_array::{Array, ArrayRef, Float32Array, RecordBatch, StringArray, UInt32Array};
use kindred_store::Vault;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::basic::Compression;
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use sha2::{Digest, Sha256};

use super::floats::{FileBytes, Floats};
use super::{Card, History, Model, Parts, RECIPE_ITEM_ATTRIBUTE_AFFINITY};
use crate::error::Error;
use crate::files::ParquetFile;

pub(super) const TENSORS: &str = "model.safetensors";
pub(super) const USERS: &str = "users.parquet";
pub(super) const ITEMS: &str = "items.parquet";
pub(super) const HISTORY: &str = "history.parquet";
pub(super) const CARD: &str = "card.json";
/// Version of the form described above.
pub(crate) const FORMAT: u32 = 2;
/// The oldest form that is read: without `user_log_rates`, which only attribute queries need.
const FORMAT_OLDEST: u32 = 1;
/// Rows handed to the Parquet writer at once.
const BATCH_ROWS: usize = 1 << 16;
/// A card is a few kilobytes; more is not a card.
const CARD_BYTES_MAX: u64 = 16 << 20;

impl Model {
    /// Writes the model into `dir`, which must exist.
    pub fn save(&self, dir: &Path) -> Result<(), Error> {
        self.save_in(dir, &Vault::plain())
    }

    /// Like [`Model::save`], with files that are kept in `vault`.
    pub fn save_in(&self, dir: &Path, vault: &Vault) -> Result<(), Error> {
        self.save_towers(dir, vault)?;
        self.write_history(&dir.join(HISTORY), vault)?;
        write_card(dir, vault, self.card(), &[TENSORS, USERS, ITEMS, HISTORY])
    }

    /// Reads the model in `dir` and checks every file against the card.
    ///
    /// # Errors
    /// [`Error::Damaged`] where a file is not what the card says, and [`Error::Input`] for a model that
    /// is asked for attributes.
    pub fn open(dir: &Path) -> Result<Model, Error> {
        Model::open_in(dir, &Vault::plain())
    }

    /// Like [`Model::open`], for files that are kept in `vault`.
    pub fn open_in(dir: &Path, vault: &Vault) -> Result<Model, Error> {
        let card = read_card(&dir.join(CARD), vault)?;
        if card.recipe == RECIPE_ITEM_ATTRIBUTE_AFFINITY {
            return Err(Error::Input(format!(
                "the model in {} is one of {RECIPE_ITEM_ATTRIBUTE_AFFINITY}: \
                 it is asked for itemAttributes, not for itemId",
                dir.display()
            )));
        }
        check_files(dir, vault, &card, &[TENSORS, USERS, ITEMS, HISTORY])?;
        let history = read_history(&dir.join(HISTORY), vault, card.items)?;
        Model::open_with(dir, vault, card, history)
    }

    /// Reads everything but the history; the files were checked.
    pub(super) fn open_with(
        dir: &Path,
        vault: &Vault,
        card: Card,
        history: History,
    ) -> Result<Model, Error> {
        let users = read_ids(&dir.join(USERS), vault, card.users)?;
        let items = read_ids(&dir.join(ITEMS), vault, card.items)?;
        let path = dir.join(TENSORS);
        let file = FileBytes::open(&path, vault).map_err(Error::io(&path))?;
        let tensors = SafeTensors::deserialize(&file)
            .map_err(|error| Error::damaged(&path, error.to_string()))?;
        let read = |name: &str, shape: &[usize]| {
            let range = tensor_range(&path, &file, &tensors, name, shape)?;
            Ok::<_, Error>(Floats::in_file(&file, range))
        };
        let (n, m, d) = (users.len(), items.len(), card.dimension);
        let parts = Parts {
            dimension: d,
            user_vectors: read("user_vectors", &[n, d])?,
            user_offsets: read("user_offsets", &[n])?,
            user_log_rates: if card.format == FORMAT_OLDEST {
                vec![0.0; n].into()
            } else {
                read("user_log_rates", &[n])?
            },
            item_vectors: read("item_vectors", &[m, d])?,
            item_offsets: read("item_offsets", &[m])?,
            users,
            items,
            history,
            card,
        };
        Model::new(parts).map_err(|detail| Error::damaged(dir, detail))
    }

    /// Writes ids, vectors and offsets.
    pub(super) fn save_towers(&self, dir: &Path, vault: &Vault) -> Result<(), Error> {
        self.write_tensors(&dir.join(TENSORS), vault)?;
        write_ids(&dir.join(USERS), vault, "USER_ID", self.users())?;
        write_ids(&dir.join(ITEMS), vault, "ITEM_ID", self.items())
    }

    fn write_tensors(&self, path: &Path, vault: &Vault) -> Result<(), Error> {
        let (n, m, d) = (self.users.len(), self.items.len(), self.dimension);
        let tensors = [
            ("user_vectors", vec![n, d], le_bytes(&self.user_vectors)),
            ("user_offsets", vec![n], le_bytes(&self.user_offsets)),
            ("user_log_rates", vec![n], le_bytes(&self.user_log_rates)),
            ("item_vectors", vec![m, d], le_bytes(&self.item_vectors)),
            ("item_offsets", vec![m], le_bytes(&self.item_offsets)),
        ];
        let broken =
            |error: safetensors::SafeTensorError| Error::io(path)(std::io::Error::other(error));
        let mut views = Vec::new();
        for (name, shape, bytes) in &tensors {
            let view = TensorView::new(Dtype::F32, shape.clone(), bytes).map_err(broken)?;
            views.push((*name, view));
        }
        let none: Option<HashMap<String, String>> = None;
        if vault.is_sealed() {
            let bytes = safetensors::tensor::serialize(views, none).map_err(broken)?;
            return write_file(path, vault, &bytes);
        }
        // Without the copy in memory.
        safetensors::tensor::serialize_to_file(views, none, path).map_err(broken)?;
        File::open(path)
            .and_then(|file| file.sync_all())
            .map_err(Error::io(path))
    }

    fn write_history(&self, path: &Path, vault: &Vault) -> Result<(), Error> {
        let history = self.history();
        let mut items = Vec::with_capacity(history.users.len());
        for item in 0..self.items.len() {
            items.resize(history.starts[item + 1], item as u32);
        }
        write_table(
            path,
            vault,
            &["user", "item", "score"],
            history.users.len(),
            |rows| {
                vec![
                    Arc::new(UInt32Array::from(history.users[rows.clone()].to_vec())),
                    Arc::new(UInt32Array::from(items[rows.clone()].to_vec())),
                    Arc::new(Float32Array::from(history.scores[rows].to_vec())),
                ]
            },
        )
    }
}

fn write_file(path: &Path, vault: &Vault, bytes: &[u8]) -> Result<(), Error> {
    let mut file = vault.create(path).map_err(Error::io(path))?;
    file.write_all(bytes).map_err(Error::io(path))?;
    file.finish().map_err(Error::io(path))
}

fn write_ids(path: &Path, vault: &Vault, column: &str, ids: &[String]) -> Result<(), Error> {
    write_table(path, vault, &[column], ids.len(), |rows| {
        vec![Arc::new(StringArray::from_iter_values(ids[rows].iter()))]
    })
}

/// Writes the card, with the checksums of `files`, and syncs the folder.
pub(super) fn write_card(
    dir: &Path,
    vault: &Vault,
    card: &Card,
    files: &[&str],
) -> Result<(), Error> {
    let mut card = card.clone();
    card.format = FORMAT;
    card.checksums.clear();
    for &name in files {
        let sum = sha256(&dir.join(name), vault)?;
        card.checksums.insert(name.into(), sum);
    }
    let path = dir.join(CARD);
    let mut text = serde_json::to_vec_pretty(&card)
        .map_err(|error| Error::io(&path)(std::io::Error::other(error)))?;
    text.push(b'\n');
    write_file(&path, vault, &text)?;
    let folder = File::open(dir).map_err(Error::io(dir))?;
    folder.sync_all().map_err(Error::io(dir))
}

/// Compares `files` with the card's checksums.
pub(super) fn check_files(
    dir: &Path,
    vault: &Vault,
    card: &Card,
    files: &[&str],
) -> Result<(), Error> {
    for &name in files {
        let path = dir.join(name);
        let Some(expected) = card.checksums.get(name) else {
            return Err(Error::damaged(
                &dir.join(CARD),
                format!("it has no checksum of {name}"),
            ));
        };
        let found = sha256(&path, vault)?;
        if found != *expected {
            return Err(Error::damaged(
                &path,
                format!("its SHA-256 is {found} instead of {expected}"),
            ));
        }
    }
    Ok(())
}

/// Writes a table in batches that `columns` makes from row ranges, which come in order.
pub(super) fn write_table(
    path: &Path,
    vault: &Vault,
    names: &[&str],
    rows: usize,
    mut columns: impl FnMut(Range<usize>) -> Vec<ArrayRef>,
) -> Result<(), Error> {
    let failed = |error: ParquetError| Error::io(path)(std::io::Error::other(error));
    let mut batch = |rows: Range<usize>| {
        let columns = names.iter().zip(columns(rows));
        RecordBatch::try_from_iter_with_nullable(
            columns.map(|(name, column)| (*name, column, false)),
        )
        .map_err(|error| failed(error.into()))
    };
    let properties = WriterProperties::builder()
        .set_compression(Compression::SNAPPY)
        .set_created_by("kindred".into())
        .build();
    let file = BufWriter::new(vault.create(path).map_err(Error::io(path))?);
    let schema = batch(0..0)?.schema();
    let mut writer = ArrowWriter::try_new(file, schema, Some(properties)).map_err(failed)?;
    for from in (0..rows).step_by(BATCH_ROWS) {
        let batch = batch(from..(from + BATCH_ROWS).min(rows))?;
        writer.write(&batch).map_err(failed)?;
    }
    let buffer = writer.into_inner().map_err(failed)?;
    let file = buffer
        .into_inner()
        .map_err(|error| Error::io(path)(error.into_error()))?;
    file.finish().map_err(Error::io(path))
}

/// Which recipe the model in `dir` is of.
pub(super) fn recipe(dir: &Path, vault: &Vault) -> Result<String, Error> {
    read_card(&dir.join(CARD), vault).map(|card| card.recipe)
}

pub(super) fn read_card(path: &Path, vault: &Vault) -> Result<Card, Error> {
    let file = vault.open(path).map_err(Error::io(path))?;
    let mut text = Vec::new();
    file.take(CARD_BYTES_MAX)
        .read_to_end(&mut text)
        .map_err(Error::io(path))?;
    let card: Card =
        serde_json::from_slice(&text).map_err(|error| Error::damaged(path, error.to_string()))?;
    if !(FORMAT_OLDEST..=FORMAT).contains(&card.format) {
        return Err(Error::damaged(
            path,
            format!(
                "format {} is none of {FORMAT_OLDEST} to {FORMAT}, which can be read",
                card.format
            ),
        ));
    }
    Ok(card)
}

fn read_ids(path: &Path, vault: &Vault, count: usize) -> Result<Vec<String>, Error> {
    let mut ids = Vec::new();
    each_batch(path, vault, |batch| {
        let column = batch.column(0).as_any().downcast_ref::<StringArray>()?;
        if column.null_count() > 0 {
            return None;
        }
        ids.extend(column.iter().flatten().map(str::to_string));
        Some(())
    })?;
    if ids.len() != count {
        return Err(Error::damaged(
            path,
            format!("it has {} ids, and the card says {count}", ids.len()),
        ));
    }
    Ok(ids)
}

fn read_history(path: &Path, vault: &Vault, items: usize) -> Result<History, Error> {
    let mut history = History {
        starts: vec![0; items + 1],
        ..History::default()
    };
    let mut last = 0;
    each_batch(path, vault, |batch| {
        let users = batch
            .column_by_name("user")?
            .as_any()
            .downcast_ref::<UInt32Array>()?;
        let numbers = batch
            .column_by_name("item")?
            .as_any()
            .downcast_ref::<UInt32Array>()?;
        let scores = batch
            .column_by_name("score")?
            .as_any()
            .downcast_ref::<Float32Array>()?;
        history.users.extend_from_slice(users.values());
        history.scores.extend_from_slice(scores.values());
        for &item in numbers.values() {
            if item < last {
                return None;
            }
            last = item;
            *history.starts.get_mut(item as usize + 1)? += 1;
        }
        Some(())
    })?;
    for item in 0..items {
        history.starts[item + 1] += history.starts[item];
    }
    Ok(history)
}

pub(super) fn each_batch(
    path: &Path,
    vault: &Vault,
    mut each: impl FnMut(&RecordBatch) -> Option<()>,
) -> Result<(), Error> {
    let file = vault.open(path).map_err(Error::io(path))?;
    let reader = ParquetRecordBatchReaderBuilder::try_new(ParquetFile::new(file))
        .and_then(|builder| builder.with_batch_size(BATCH_ROWS).build())
        .map_err(|error| Error::damaged(path, error.to_string()))?;
    for batch in reader {
        let batch = batch.map_err(|error| Error::damaged(path, error.to_string()))?;
        each(&batch)
            .ok_or_else(|| Error::damaged(path, "its columns are not the expected ones"))?;
    }
    Ok(())
}

/// Where the numbers of a tensor lie in its file.
fn tensor_range(
    path: &Path,
    file: &[u8],
    tensors: &SafeTensors<'_>,
    name: &str,
    shape: &[usize],
) -> Result<Range<usize>, Error> {
    let view = tensors
        .tensor(name)
        .map_err(|error| Error::damaged(path, format!("{name}: {error}")))?;
    if view.dtype() != Dtype::F32 || view.shape() != shape {
        return Err(Error::damaged(
            path,
            format!(
                "{name} is {:?} {:?} instead of F32 {shape:?}",
                view.dtype(),
                view.shape()
            ),
        ));
    }
    // The view is a slice of the file.
    let start = view.data().as_ptr().addr() - file.as_ptr().addr();
    Ok(start..start + view.data().len())
}

/// The numbers in little-endian order; copied only on machines of another order.
fn le_bytes(values: &[f32]) -> Cow<'_, [u8]> {
    if cfg!(target_endian = "little") {
        return Cow::Borrowed(bytemuck::cast_slice(values));
    }
    values
        .iter()
        .flat_map(|value| value.to_le_bytes())
        .collect()
}

fn sha256(path: &Path, vault: &Vault) -> Result<String, Error> {
    let mut file = vault.open(path).map_err(Error::io(path))?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0u8; 1 << 18];
    loop {
        let count = file.read(&mut buffer).map_err(Error::io(path))?;
        if count == 0 {
            return Ok(hex::encode(hasher.finalize()));
        }
        hasher.update(&buffer[..count]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn saved(model: &Model) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        model.save(dir.path()).unwrap();
        dir
    }

    fn generated() -> Model {
        let mut model = Model::generated(70, 20, 9, 5);
        model.card_mut().users = 70;
        model.card_mut().items = 20;
        model.card_mut().dimension = 9;
        model
    }

    #[test]
    fn a_saved_model_opens_as_it_was_and_saves_to_the_same_bytes() {
        let model = generated();
        let dir = saved(&model);
        let opened = Model::open(dir.path()).unwrap();
        assert_eq!(opened.history(), model.history());
        assert_eq!(opened.user_vectors, model.user_vectors);
        assert_eq!(opened.items(), model.items());
        assert_eq!(opened.item("i0000007"), Some(7));
        assert_eq!(opened.item("i00000070"), None);
        let again = saved(&opened);
        for name in [TENSORS, USERS, ITEMS, HISTORY, CARD] {
            let bytes = |dir: &tempfile::TempDir| std::fs::read(dir.path().join(name)).unwrap();
            assert_eq!(bytes(&dir), bytes(&again), "{name}");
        }
    }

    #[test]
    fn a_model_of_the_first_form_opens() {
        let model = generated();
        let dir = saved(&model);
        // As it was written then: no log rates, and choices of other names.
        let path = dir.path().join(TENSORS);
        let bytes = std::fs::read(&path).unwrap();
        let tensors = SafeTensors::deserialize(&bytes).unwrap();
        let old = tensors
            .tensors()
            .into_iter()
            .filter(|(name, _)| name != "user_log_rates");
        let none: Option<HashMap<String, String>> = None;
        std::fs::write(&path, safetensors::serialize(old, none).unwrap()).unwrap();
        let card_path = dir.path().join(CARD);
        let text = std::fs::read(&card_path).unwrap();
        let mut card: serde_json::Value = serde_json::from_slice(&text).unwrap();
        card["format"] = 1.into();
        card["checksums"][TENSORS] = sha256(&path, &Vault::plain()).unwrap().into();
        card["choices"] = serde_json::json!({"b": 5.0, "c": 0.4, "kappa": 0.5, "pi": 0.4,
            "tau_days": 120.0, "horizon_seconds": 9, "validation_events": 3, "likelihood": -8.0});
        std::fs::write(&card_path, serde_json::to_vec(&card).unwrap()).unwrap();

        let opened = Model::open(dir.path()).unwrap();
        assert_eq!(opened.user_vectors, model.user_vectors);
        assert_eq!(*opened.user_log_rates, [0.0; 70]);
        assert_eq!(opened.card().choices.as_ref().unwrap().kappa, 0.5);
        card["format"] = 3.into();
        std::fs::write(&card_path, serde_json::to_vec(&card).unwrap()).unwrap();
        assert!(matches!(
            Model::open(dir.path()),
            Err(Error::Damaged { .. })
        ));
    }

    #[test]
    fn a_flipped_bit_in_any_file_is_noticed_and_named() {
        let dir = saved(&generated());
        for name in [TENSORS, USERS, ITEMS, HISTORY] {
            let path = dir.path().join(name);
            let good = std::fs::read(&path).unwrap();
            let mut bad = good.clone();
            let middle = bad.len() / 2;
            bad[middle] ^= 4;
            std::fs::write(&path, &bad).unwrap();
            let error = Model::open(dir.path()).unwrap_err();
            assert!(matches!(&error, Error::Damaged { path: found, .. } if *found == path));
            std::fs::write(&path, &good).unwrap();
        }
        std::fs::remove_file(dir.path().join(USERS)).unwrap();
        assert!(matches!(Model::open(dir.path()), Err(Error::Io { .. })));
    }
}
