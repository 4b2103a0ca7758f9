//! CSV files as the commands without a server read them: schema, import, scratch space, progress.
//!
//! The import is the service's own; what is made of the generations is the command's affair.

use crate::CliError;
use indicatif::{ProgressBar, ProgressStyle};
use kindred_engine::data::csv;
use kindred_engine::data::import::{self, ImportOptions};
use kindred_engine::data::source::{FileSource, Source, open_unpacked};
use kindred_engine::progress::Progress;
use kindred_jobs::Failure;
use kindred_server::parts;
use kindred_types::parts::{Random, random_hex};
use kindred_types::schema::{self, DatasetSchema, DatasetType};
use std::io;
use std::path::{Path, PathBuf};

/// Rows below the header that decide about the type of a column.
const INFERENCE_ROWS: usize = 1000;

/// Imports a CSV file as the service does, with the schema given or one inferred, into a directory of
/// its own in `scratch`; gives the generation's directory.
pub(crate) fn import(
    kind: DatasetType,
    file: &Path,
    schema: Option<&Path>,
    scratch: &Path,
    invalid_max: u64,
    progress: &Bar,
) -> Result<PathBuf, CliError> {
    let source = open_file(file)?;
    let schema = match schema {
        Some(path) => read_schema(path, kind)?,
        None => infer_schema(kind, &source)?,
    };
    let out = scratch.join(kind.title());
    std::fs::create_dir_all(&out).map_err(|error| place(&out, &error))?;
    let options = ImportOptions {
        max_invalid_rows: invalid_max,
        location: file.display().to_string(),
        ..ImportOptions::default()
    };
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    import::import(
        &schema,
        &name,
        &[&source as &dyn Source],
        &options,
        &out,
        progress,
    )
    .map_err(|error| CliError::failed(error.to_string()))?;
    Ok(out)
}

/// A file that can be read more than once, as the engine does.
pub(crate) fn open_file(path: &Path) -> Result<FileSource, CliError> {
    let about = std::fs::metadata(path).map_err(|error| place(path, &error))?;
    if !about.is_file() {
        return Err(CliError::failed(format!(
            "{}: not a regular file; it is read twice, so a pipe will not do",
            path.display()
        )));
    }
    FileSource::new(path).map_err(|error| place(path, &error))
}

/// A schema from the header and the first rows of a file.
fn infer_schema(kind: DatasetType, source: &dyn Source) -> Result<DatasetSchema, CliError> {
    let failed = |reason: String| CliError::failed(format!("{}: {reason}", source.name()));
    let reader = open_unpacked(source).map_err(|error| failed(error.to_string()))?;
    let mut records = csv::Reader::new(reader);
    let mut rows = Vec::new();
    while rows.len() <= INFERENCE_ROWS {
        let record = records
            .next_record()
            .map_err(|error| failed(error.to_string()))?;
        let Some(record) = record else { break };
        let fields = (0..).map_while(|column| record.get(column));
        rows.push(
            fields
                .map(|field| String::from_utf8_lossy(field).into_owned())
                .collect(),
        );
    }
    if rows.is_empty() {
        return Err(failed("the file is empty".to_owned()));
    }
    let header: Vec<String> = rows.remove(0);
    schema::infer(kind, &header, &rows).map_err(|error| failed(error.to_string()))
}

fn read_schema(path: &Path, kind: DatasetType) -> Result<DatasetSchema, CliError> {
    let text = std::fs::read_to_string(path).map_err(|error| place(path, &error))?;
    let schema = schema::parse(&text, None)
        .map_err(|error| CliError::failed(format!("{}: {error}", path.display())))?;
    if schema.kind != kind {
        return Err(CliError::failed(format!(
            "{}: a schema named {} was given for {}",
            path.display(),
            schema.kind.title(),
            kind.title()
        )));
    }
    Ok(schema)
}

/// An error of reading or writing, with its place.
pub(crate) fn place(path: &Path, error: &io::Error) -> CliError {
    CliError::failed(format!("{}: {error}", path.display()))
}

/// A failed job in its words.
pub(crate) fn failed(failure: Failure) -> CliError {
    CliError::failed(failure.to_string())
}

/// A scratch directory in the directory of a file, removed at the end.
pub(crate) struct Scratch {
    pub(crate) path: PathBuf,
}

impl Scratch {
    pub(crate) fn new(beside: &Path) -> Result<Self, CliError> {
        let parent = beside.parent().filter(|path| !path.as_os_str().is_empty());
        let name = format!(
            ".kindred-{}",
            random_hex(&parts::SystemRandom as &dyn Random, 6)
        );
        let path = parent.unwrap_or(Path::new(".")).join(name);
        std::fs::create_dir_all(&path).map_err(|error| place(&path, &error))?;
        Ok(Scratch { path })
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.path);
    }
}

/// Progress on standard error.
pub(crate) struct Bar {
    pub(crate) bar: ProgressBar,
}

impl Bar {
    pub(crate) fn new() -> Self {
        let bar = ProgressBar::new(0);
        if let Ok(style) =
            ProgressStyle::with_template("  {msg:28} {wide_bar} {percent:>3} %  {eta}")
        {
            bar.set_style(style);
        }
        Bar { bar }
    }
}

impl Progress for Bar {
    fn report(&self, step: &str, done: u64, total: u64, detail: &str) {
        self.bar.set_length(total);
        self.bar.set_position(done);
        self.bar.set_message(format!("{step} {detail}"));
    }
}
