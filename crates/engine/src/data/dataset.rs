//! Reads datasets: the generations of imports, in the order they were committed.
//!
//! A dataset is one FULL generation and the INCREMENTAL ones after it. Every part file is checked
//! against the manifest before a row of it is used. A column that an older generation lacks, since
//! the schema grew later, reads as null. Which row of an id is in force, and which interactions are
//! duplicates, is decided by `data::table` and `data::snapshot`.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, sync_channel};

use arrow_array::{Array, ArrayRef, RecordBatch, new_null_array};
use arrow_schema::{DataType, Schema};
use kindred_store::Vault;
use kindred_types::schema::{DatasetSchema, DatasetType, Field, FieldType};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use sha2::{Digest, Sha256};

use super::Error;
use super::manifest::{Manifest, Part};
use crate::files::ParquetFile;
use crate::progress::Progress;

const BATCH_ROWS: usize = 32 << 10;
/// Batches that are decoded before they are asked for.
const BATCHES_AHEAD: usize = 4;
const CHECK_BYTES: usize = 1 << 20;

/// How a generation relates to those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Mode {
    /// It replaces them.
    Full,
    /// It is added to them.
    Incremental,
}

/// What one import wrote.
#[derive(Clone, Debug)]
pub struct Generation {
    /// Where its files lie.
    pub dir: PathBuf,
    /// How they are kept.
    pub vault: Vault,
    /// How it relates to those before it.
    pub mode: Mode,
}

/// A dataset as it stood when it was opened.
#[derive(Debug)]
pub struct Dataset {
    kind: DatasetType,
    generations: Vec<Opened>,
}

#[derive(Debug)]
struct Opened {
    dir: PathBuf,
    vault: Vault,
    manifest: Manifest,
}

impl Dataset {
    /// Opens generations of one dataset in the order of their commits: a FULL one first. All
    /// manifests are checked here, the parts when they are read.
    pub fn open(kind: DatasetType, generations: &[Generation]) -> Result<Self, Error> {
        for (index, generation) in generations.iter().enumerate() {
            if (generation.mode == Mode::Full) != (index == 0) {
                return Err(Error::Misuse(format!(
                    "generation {} of the {} dataset is out of order",
                    generation.dir.display(),
                    kind.title()
                )));
            }
        }
        let generations = generations
            .iter()
            .map(|generation| {
                let manifest = Manifest::read(&generation.dir, &generation.vault)?;
                if manifest.schema.kind != kind {
                    return Err(Error::Misuse(format!(
                        "{} holds {}, not {}",
                        generation.dir.display(),
                        manifest.schema.kind.title(),
                        kind.title()
                    )));
                }
                Ok(Opened {
                    dir: generation.dir.clone(),
                    vault: generation.vault.clone(),
                    manifest,
                })
            })
            .collect::<Result<Vec<_>, _>>()?;
        Ok(Dataset { kind, generations })
    }

    /// Rows of all generations, before anything is merged.
    pub fn rows(&self) -> u64 {
        self.generations
            .iter()
            .map(|generation| generation.manifest.rows)
            .sum()
    }

    /// The columns of the newest generation; none if there is no generation.
    pub fn fields(&self) -> &[Field] {
        self.generations
            .last()
            .map_or(&[], |generation| &generation.manifest.schema.fields)
    }

    /// Whether the newest generation has a column of exactly this name.
    pub fn has(&self, column: &str) -> bool {
        self.fields().iter().any(|field| field.name == column)
    }

    /// Stands for all rows and their order, and the schema: what is read changes only with it.
    pub fn digest(&self) -> [u8; 32] {
        let mut sha = Sha256::new();
        sha.update(self.kind.title());
        for Opened { manifest, .. } in &self.generations {
            // The checksums of the parts are in it.
            let text = serde_json::to_vec(manifest).unwrap_or_default();
            sha.update((text.len() as u64).to_le_bytes());
            sha.update(text);
        }
        sha.finalize().into()
    }

    /// Hands `each` all rows in order, batch by batch, with the newest generation's columns in
    /// their order.
    pub fn read(
        &self,
        progress: &dyn Progress,
        each: impl FnMut(&RecordBatch) -> Result<(), Error>,
    ) -> Result<(), Error> {
        self.read_fields(self.fields(), progress, each)
    }

    /// The same with only the named columns of the newest generation, in the order of the names.
    pub fn read_columns(
        &self,
        columns: &[&str],
        progress: &dyn Progress,
        each: impl FnMut(&RecordBatch) -> Result<(), Error>,
    ) -> Result<(), Error> {
        if self.generations.is_empty() {
            return Ok(());
        }
        let all = self.fields();
        let named = columns.iter().map(|name| {
            let field = all.iter().find(|field| field.name == *name);
            field.cloned().ok_or_else(|| {
                Error::Misuse(format!(
                    "the {} dataset has no column {name}",
                    self.kind.title()
                ))
            })
        });
        let fields: Vec<Field> = named.collect::<Result<_, _>>()?;
        self.read_fields(&fields, progress, each)
    }

    fn read_fields(
        &self,
        fields: &[Field],
        progress: &dyn Progress,
        mut each: impl FnMut(&RecordBatch) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let step = format!("read {}", self.kind.title());
        let (mut done, total) = (0, self.rows());
        let (send, batches) = sync_channel(BATCHES_AHEAD);
        std::thread::scope(|scope| {
            scope.spawn(move || self.decode(fields, &send));
            for batch in batches {
                let batch: RecordBatch = batch?;
                each(&batch)?;
                if progress.stopped() {
                    return Err(Error::Stopped);
                }
                done += batch.num_rows() as u64;
                progress.report(&step, done, total, "");
            }
            Ok(())
        })
    }

    /// Hands all batches over in order, the first error last; ends early where nobody takes them.
    fn decode(&self, fields: &[Field], to: &SyncSender<Result<RecordBatch, Error>>) {
        for generation in &self.generations {
            for part in &generation.manifest.parts {
                match generation.decode(part, fields, to) {
                    Ok(true) => {}
                    Ok(false) => return,
                    Err(error) => {
                        // If nobody takes the error, the reading has ended for another.
                        let _ = to.send(Err(error));
                        return;
                    }
                }
            }
        }
    }
}

impl Opened {
    /// Decodes a part; says whether its batches were still taken.
    fn decode(
        &self,
        part: &Part,
        fields: &[Field],
        to: &SyncSender<Result<RecordBatch, Error>>,
    ) -> Result<bool, Error> {
        let path = self.dir.join(&part.name);
        check(&self.vault, &path, part)?;
        let file = self.vault.open(&path).map_err(Error::file(&path))?;
        let builder = ParquetRecordBatchReaderBuilder::try_new(ParquetFile::new(file))
            .map_err(Error::parquet(&path))?;
        let mask = ProjectionMask::columns(
            builder.parquet_schema(),
            fields.iter().map(|field| field.name.as_str()),
        );
        let batches = builder
            .with_batch_size(BATCH_ROWS)
            .with_projection(mask)
            .build()
            .map_err(Error::parquet(&path))?;
        for batch in batches {
            let batch = batch.map_err(|error| Error::Damaged {
                path: path.clone(),
                detail: error.to_string(),
            })?;
            if to.send(aligned(&batch, fields, &path)).is_err() {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// Removes the files of a generation, finished or not; nothing else in `dir` is touched.
pub fn clear(dir: &Path) -> Result<(), Error> {
    let remove = |path: PathBuf| match std::fs::remove_file(&path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(Error::File {
            path,
            source: error,
        }),
        _ => Ok(()),
    };
    // The manifest goes first: without it the rest counts for nothing.
    remove(dir.join(super::manifest::FILE_NAME))?;
    remove(dir.join("generation.json.new"))?;
    for number in 0.. {
        let path = dir.join(part_name(number));
        if !path.exists() {
            return Ok(());
        }
        remove(path)?;
    }
    Ok(())
}

pub(super) fn part_name(number: usize) -> String {
    format!("part-{number:05}.parquet")
}

pub(super) fn arrow_schema(schema: &DatasetSchema) -> Schema {
    let fields: Vec<arrow_schema::Field> = schema
        .fields
        .iter()
        .map(|field| arrow_schema::Field::new(&field.name, data_type(field.kind), field.nullable))
        .collect();
    Schema::new(fields)
}

fn data_type(kind: FieldType) -> DataType {
    match kind {
        FieldType::String => DataType::Utf8,
        FieldType::Int => DataType::Int32,
        FieldType::Long => DataType::Int64,
        FieldType::Float => DataType::Float32,
        FieldType::Double => DataType::Float64,
        FieldType::Boolean => DataType::Boolean,
    }
}

/// The batch with exactly these columns, nulls where it has none.
fn aligned(batch: &RecordBatch, fields: &[Field], path: &Path) -> Result<RecordBatch, Error> {
    let mut types = Vec::with_capacity(fields.len());
    let mut columns: Vec<ArrayRef> = Vec::with_capacity(fields.len());
    for field in fields {
        let wanted = data_type(field.kind);
        let column = match batch.column_by_name(&field.name) {
            None => new_null_array(&wanted, batch.num_rows()),
            Some(column) if *column.data_type() == wanted => Arc::clone(column),
            Some(column) => {
                return Err(Error::Damaged {
                    path: path.to_owned(),
                    detail: format!("column {} is {}", field.name, column.data_type()),
                });
            }
        };
        types.push(arrow_schema::Field::new(&field.name, wanted, true));
        columns.push(column);
    }
    RecordBatch::try_new(Arc::new(Schema::new(types)), columns).map_err(|error| Error::Damaged {
        path: path.to_owned(),
        detail: error.to_string(),
    })
}

/// Compares a part file with what the manifest says of it.
fn check(vault: &Vault, path: &Path, part: &Part) -> Result<(), Error> {
    let mut file = vault.open(path).map_err(Error::file(path))?;
    let mut buffer = vec![0; CHECK_BYTES];
    let (mut bytes, mut crc32c) = (0, 0);
    loop {
        let read = file.read(&mut buffer).map_err(Error::file(path))?;
        if read == 0 {
            break;
        }
        bytes += read as u64;
        crc32c = crc32c::crc32c_append(crc32c, &buffer[..read]);
    }
    if (bytes, crc32c) == (part.bytes, part.crc32c) {
        return Ok(());
    }
    Err(Error::Damaged {
        path: path.to_owned(),
        detail: format!(
            "{bytes} bytes with checksum {crc32c:08x}, expected {} with {:08x}",
            part.bytes, part.crc32c
        ),
    })
}
