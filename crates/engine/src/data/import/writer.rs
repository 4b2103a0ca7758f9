//! Writes typed rows as Parquet part files, holding a bounded number of bytes.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow_array::builder::{
    BooleanBuilder, Float32Builder, Float64Builder, Int32Builder, Int64Builder, StringBuilder,
};
use arrow_array::{ArrayRef, RecordBatch};
use arrow_schema::{ArrowError, Schema, SchemaRef};
use kindred_store::Vault;
use kindred_store::files::VaultFile;
use kindred_types::schema::{DatasetSchema, FieldType};
use parquet::arrow::ArrowWriter;
use parquet::basic::Compression;
use parquet::file::properties::{EnabledStatistics, WriterProperties};

use super::super::manifest::{Checked, Part};
use super::super::value::Value;
use super::super::{Error, dataset};

/// Rows of a part file; the next one begins then.
const PART_ROWS_MAX: u64 = 8 << 20;
/// Rows of a row group.
const GROUP_ROWS_MAX: usize = 128 << 10;
/// Encoded bytes after which a row group is closed early.
const GROUP_BYTES_MAX: usize = 64 << 20;
/// Rows and bytes of text that are handed to the encoder at once.
const BATCH_ROWS_MAX: usize = 32 << 10;
const BATCH_BYTES_MAX: usize = 8 << 20;

/// Takes rows one by one and makes batches of them.
pub(super) struct RowBuffer {
    builders: Vec<Builder>,
    rows: usize,
    bytes: usize,
}

/// Rows as columns.
pub(super) struct Rows {
    columns: Vec<ArrayRef>,
    rows: usize,
}

impl RowBuffer {
    pub(super) fn new(schema: &DatasetSchema) -> Self {
        RowBuffer {
            builders: schema
                .fields
                .iter()
                .map(|field| Builder::new(field.kind))
                .collect(),
            rows: 0,
            bytes: 0,
        }
    }

    /// Adds a row; `values` are in the schema's order and of its types. Gives a batch when it is full.
    pub(super) fn push(&mut self, values: &[Value<'_>]) -> Option<Rows> {
        for (builder, value) in self.builders.iter_mut().zip(values) {
            self.bytes += builder.push(value);
        }
        self.rows += 1;
        let full = self.rows >= BATCH_ROWS_MAX || self.bytes >= BATCH_BYTES_MAX;
        full.then(|| self.take())
    }

    /// What there is.
    pub(super) fn take(&mut self) -> Rows {
        self.bytes = 0;
        Rows {
            columns: self.builders.iter_mut().map(Builder::finish).collect(),
            rows: std::mem::take(&mut self.rows),
        }
    }
}

/// Takes batches and leaves `part-00000.parquet` and so on, synced.
pub(super) struct PartWriter {
    dir: PathBuf,
    vault: Vault,
    schema: SchemaRef,
    open: Option<OpenPart>,
    parts: Vec<Part>,
}

struct OpenPart {
    name: String,
    path: PathBuf,
    rows: u64,
    writer: ArrowWriter<Checked<VaultFile>>,
}

enum Builder {
    Text(StringBuilder),
    Int(Int32Builder),
    Long(Int64Builder),
    Float(Float32Builder),
    Double(Float64Builder),
    Boolean(BooleanBuilder),
}

impl PartWriter {
    pub(super) fn new(schema: &DatasetSchema, dir: &Path, vault: &Vault) -> Self {
        PartWriter {
            dir: dir.to_owned(),
            vault: vault.clone(),
            schema: Arc::new(dataset::arrow_schema(schema)),
            open: None,
            parts: Vec::new(),
        }
    }

    /// Makes all parts durable.
    pub(super) fn finish(mut self) -> Result<Vec<Part>, Error> {
        self.close_part()?;
        super::sync_dir(&self.dir)?;
        Ok(self.parts)
    }

    /// Writes a batch.
    pub(super) fn write(&mut self, rows: Rows) -> Result<(), Error> {
        if rows.rows == 0 {
            return Ok(());
        }
        if self
            .open
            .as_ref()
            .is_some_and(|part| part.rows >= PART_ROWS_MAX)
        {
            self.close_part()?;
        }
        let mut part = match self.open.take() {
            Some(part) => part,
            None => self.open_part()?,
        };
        let batch = batch(&self.schema, rows.columns).map_err(Error::parquet(&part.path))?;
        part.writer
            .write(&batch)
            .map_err(Error::parquet(&part.path))?;
        if part.writer.in_progress_size() > GROUP_BYTES_MAX {
            part.writer.flush().map_err(Error::parquet(&part.path))?;
        }
        part.rows += rows.rows as u64;
        self.open = Some(part);
        Ok(())
    }

    fn open_part(&self) -> Result<OpenPart, Error> {
        let name = dataset::part_name(self.parts.len());
        let path = self.dir.join(&name);
        let file = self.vault.create(&path).map_err(Error::file(&path))?;
        let properties = WriterProperties::builder()
            .set_compression(Compression::SNAPPY)
            .set_max_row_group_row_count(Some(GROUP_ROWS_MAX))
            .set_statistics_enabled(EnabledStatistics::None)
            .build();
        let writer = ArrowWriter::try_new(
            Checked::new(file),
            Arc::clone(&self.schema),
            Some(properties),
        )
        .map_err(Error::parquet(&path))?;
        Ok(OpenPart {
            name,
            path,
            rows: 0,
            writer,
        })
    }

    fn close_part(&mut self) -> Result<(), Error> {
        let Some(part) = self.open.take() else {
            return Ok(());
        };
        let written = part
            .writer
            .into_inner()
            .map_err(Error::parquet(&part.path))?;
        let (bytes, crc32c) = (written.bytes, written.crc32c);
        written.inner.finish().map_err(Error::file(&part.path))?;
        self.parts.push(Part {
            name: part.name,
            rows: part.rows,
            bytes,
            crc32c,
        });
        Ok(())
    }
}

fn batch(
    schema: &Arc<Schema>,
    columns: Vec<ArrayRef>,
) -> Result<RecordBatch, parquet::errors::ParquetError> {
    RecordBatch::try_new(Arc::clone(schema), columns)
        .map_err(|error: ArrowError| parquet::errors::ParquetError::External(Box::new(error)))
}

impl Builder {
    fn new(kind: FieldType) -> Self {
        match kind {
            FieldType::String => Builder::Text(StringBuilder::new()),
            FieldType::Int => Builder::Int(Int32Builder::new()),
            FieldType::Long => Builder::Long(Int64Builder::new()),
            FieldType::Float => Builder::Float(Float32Builder::new()),
            FieldType::Double => Builder::Double(Float64Builder::new()),
            FieldType::Boolean => Builder::Boolean(BooleanBuilder::new()),
        }
    }

    /// Adds a value of this builder's type, any other as null; gives the bytes it takes.
    fn push(&mut self, value: &Value<'_>) -> usize {
        match (self, *value) {
            (Builder::Text(builder), Value::Text(text) | Value::CutText(text)) => {
                builder.append_value(text);
                return text.len() + 8;
            }
            (Builder::Int(builder), Value::Int(number)) => builder.append_value(number),
            (Builder::Long(builder), Value::Long(number) | Value::Milliseconds(number)) => {
                builder.append_value(number);
            }
            (Builder::Float(builder), Value::Float(number)) => builder.append_value(number),
            (Builder::Double(builder), Value::Double(number)) => builder.append_value(number),
            (Builder::Boolean(builder), Value::Boolean(truth)) => builder.append_value(truth),
            (builder, value) => {
                debug_assert_eq!(value, Value::Null, "a value of another type");
                builder.push_null();
            }
        }
        8
    }

    fn push_null(&mut self) {
        match self {
            Builder::Text(builder) => builder.append_null(),
            Builder::Int(builder) => builder.append_null(),
            Builder::Long(builder) => builder.append_null(),
            Builder::Float(builder) => builder.append_null(),
            Builder::Double(builder) => builder.append_null(),
            Builder::Boolean(builder) => builder.append_null(),
        }
    }

    fn finish(&mut self) -> ArrayRef {
        match self {
            Builder::Text(builder) => Arc::new(builder.finish()),
            Builder::Int(builder) => Arc::new(builder.finish()),
            Builder::Long(builder) => Arc::new(builder.finish()),
            Builder::Float(builder) => Arc::new(builder.finish()),
            Builder::Double(builder) => Arc::new(builder.finish()),
            Builder::Boolean(builder) => Arc::new(builder.finish()),
        }
    }
}
