//! A batch segment job: input objects → ranked users → one output object per input object.
//!
//! The objects are listed once and noted with their ETags, so that a resumed job reads the same
//! input or fails. Finished blocks of rankings are files in the scratch directory; the engine goes
//! on behind the last one. Each output object appears whole, in one move. Who may be in the segments
//! is decided by the data of the moment the job starts, see `selection`.

use crate::failure::Failure;
use crate::inputs;
use crate::measure;
use crate::quotas;
use crate::role_store::RoleStore;
use crate::runner::{Job, Parts};
use crate::selection;
use crate::sources::ObjectSource;
use crate::store_io::{ObjectWriter, abort_journaled};
use crate::vaults::Vaults;
use bytes::Bytes;
use fail::fail_point;
use kindred_catalog::records::{SegmentJob, SolutionVersion, status};
use kindred_engine::data::source::Source;
use kindred_engine::model::AnyModel;
use kindred_engine::segment::asked;
use kindred_engine::segment::pipeline::{self, SegmentError, SegmentOptions, Sink};
use kindred_store::{Error as StoreError, Location, ObjectMeta, Store as _, Vault};
use serde::{Deserialize, Serialize};
use std::io::{self, Write};
use std::path::PathBuf;

/// What a try leaves to the next.
#[derive(Debug, Serialize, Deserialize)]
struct Checkpoint {
    /// Key, size and ETag of every input object, in order.
    inputs: Vec<(String, u64, String)>,
}

pub(crate) fn run(job: &Job<'_>) -> Result<(), Failure> {
    let start = job.parts().clock.monotonic_ms();
    let parts = job.parts();
    let record = selection::fix_data(job)?;
    fail_point!("segment::fixed");
    let version: SolutionVersion = parts
        .catalog
        .read(|tx| tx.need(&record.solution_version_arn))?;
    let model = version
        .model
        .as_deref()
        .ok_or_else(|| Failure::Input(format!("Solution version {} has no model.", version.arn)))?;
    let vaults = Vaults::of(job, &version.group_arn)?;
    let files = parts.layout.model(model);
    let model = AnyModel::open_in(&files, &vaults.model(model))?;
    let selection = selection::load(job, &record, &model, &vaults)?;
    let input = location(&record.input_path)?;
    let output = output_folder(&record.output_path)?;
    let scratch = job.scratch()?;
    let uploads = scratch.join("uploads");
    let store = parts.store.acting_as(Some(&record.role_arn), job.arn());
    abort_journaled(&*store, &uploads)?;

    // All rights are asked for before the first byte is written. The input is decrypted as it is read;
    // the key that the request names for it only has to be one that can be used.
    if let Some(key) = &record.input_kms_key_arn {
        store.may_use_key("kms:DescribeKey", key)?;
        parts.keys.describe(key)?;
    }
    if let Some(key) = &record.output_kms_key_arn {
        store.may_write_with_key(key)?;
    }
    let objects = fix_inputs(job, &store, &input, &record.input_path)?;
    fail_point!("segment::listed");
    let check = Location::new(output.bucket.clone(), format!("{}_CHECK", output.key));
    store.may_write(&check)?;
    for object in &objects {
        let key = output_key(&input, &object.key, &output.key);
        store.may_write(&Location::new(output.bucket.clone(), key))?;
    }
    write_check(&store, &check, &record)?;
    fail_point!("segment::checked");

    let sources: Vec<ObjectSource> = objects
        .iter()
        .map(|object| ObjectSource::new(store.clone(), &input.bucket, object.clone()))
        .collect();
    let sources: Vec<&dyn Source> = sources.iter().map(|source| source as &dyn Source).collect();
    quotas::need_few_lines(&sources, &model, &parts.settings.quotas)?;
    let scorer = asked::scorer(model, &selection);
    let mut sinks = |index: usize| -> io::Result<Box<dyn Sink>> {
        let key = output_key(&input, &objects[index].key, &output.key);
        let target = Location::new(output.bucket.clone(), key);
        let writer = ObjectWriter::new(store.clone(), target, Some(uploads.clone()))
            .with_key(record.output_kms_key_arn.clone());
        Ok(Box::new(ObjectSink { writer }))
    };
    let vault = vaults.scratch(&record.arn);
    let options = options(parts, &record, scratch.join("blocks"), vault);
    let statistics = pipeline::run(
        &*scorer,
        &selection,
        &sources,
        &mut sinks,
        &options,
        job,
        &*parts.clock,
    )
    .map_err(segment_failure)?;
    fail_point!("segment::written");

    job.finish(|tx| {
        let mut done: SegmentJob = tx.need(job.arn())?;
        let mut figures = serde_json::to_value(&statistics)
            .map_err(|error| Failure::Internal(error.to_string()))?;
        let training = version.statistics.as_ref();
        crate::statistics::complete(&mut figures, training, job.peak_memory_bytes());
        figures["wall_seconds"] = job.seconds_since(start).into();
        done.statistics = Some(figures);
        done.status = status::ACTIVE.to_owned();
        done.updated = tx.now();
        tx.update(&done)?;
        Ok(())
    })?;
    measure::lines_scored(statistics.lines);
    fail_point!("segment::committed");
    // Generations that only this job kept.
    if record.data.is_some() {
        job.sweep()
    } else {
        Ok(())
    }
}

fn options(parts: &Parts, record: &SegmentJob, scratch: PathBuf, vault: Vault) -> SegmentOptions {
    let settings = &parts.settings.segment;
    SegmentOptions {
        k: usize::try_from(record.num_results).unwrap_or(1).max(1),
        max_records: settings.max_records,
        documented_format: settings.documented_format,
        scores: record.scores,
        memory_bytes: settings.memory_bytes,
        block_bytes: settings.block_bytes,
        threads: parts.settings.engine_threads(),
        scratch_dir: scratch,
        scratch_vault: vault,
    }
}

fn location(path: &str) -> Result<Location, Failure> {
    Location::parse(path).ok_or_else(|| Failure::Input(format!("Invalid S3 path: {path}.")))
}

/// The output location with the `/` at its end that a folder has.
fn output_folder(path: &str) -> Result<Location, Failure> {
    let mut folder = location(path)?;
    if !folder.key.is_empty() && !folder.key.ends_with('/') {
        folder.key.push('/');
    }
    Ok(folder)
}

/// The key of the output for the input object `key`: its name below the input path, with `.out`, in
/// the output folder.
pub fn output_key(input: &Location, key: &str, output_folder: &str) -> String {
    let base = match input.key.rfind('/') {
        Some(slash) => &input.key[..=slash],
        None => "",
    };
    format!(
        "{output_folder}{}.out",
        key.strip_prefix(base).unwrap_or(key)
    )
}

/// Shows that the output can be written, before any work.
fn write_check(store: &RoleStore, check: &Location, record: &SegmentJob) -> Result<(), Failure> {
    let written = match &record.output_kms_key_arn {
        Some(key) => store.put_with_key(check, Bytes::new(), key),
        None => store.put(check, Bytes::new()),
    };
    match written {
        Ok(_) => Ok(()),
        Err(StoreError::NoSuchBucket(_)) => Err(Failure::Input(format!(
            "Invalid S3 output path: {}.",
            record.output_path
        ))),
        Err(error) => Err(error.into()),
    }
}

/// The input objects: listed by the first try, kept by later ones. The role may list and read them.
fn fix_inputs(
    job: &Job<'_>,
    store: &RoleStore,
    input: &Location,
    path: &str,
) -> Result<Vec<ObjectMeta>, Failure> {
    if let Some(Checkpoint { inputs }) = job.load_checkpoint() {
        let modified = job.now();
        return Ok(inputs
            .into_iter()
            .map(|(key, size, etag)| ObjectMeta {
                key,
                size,
                etag,
                modified,
            })
            .collect());
    }
    let nothing = || Failure::Input(format!("Invalid S3 input path: {path}. No object found."));
    let objects = match inputs::segment_objects(store, input) {
        Ok(objects) if objects.is_empty() => return Err(nothing()),
        Ok(objects) => objects,
        Err(StoreError::NoSuchBucket(_)) => return Err(nothing()),
        Err(error) => return Err(error.into()),
    };
    inputs::check_readable(store, input, &objects)?;
    let inputs = objects
        .iter()
        .map(|object| (object.key.clone(), object.size, object.etag.clone()))
        .collect();
    job.checkpoint(&Checkpoint { inputs })?;
    Ok(objects)
}

struct ObjectSink {
    writer: ObjectWriter,
}

impl Write for ObjectSink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.writer.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.writer.flush()
    }
}

impl Sink for ObjectSink {
    fn finish(self: Box<Self>) -> io::Result<()> {
        self.writer.finish().map(|_| ()).map_err(io::Error::other)
    }
}

fn segment_failure(error: SegmentError) -> Failure {
    match error {
        SegmentError::Stopped => Failure::Stopped,
        SegmentError::Input(reason) => Failure::Input(reason),
        SegmentError::Read { source, .. } | SegmentError::Write { source, .. } => source.into(),
        SegmentError::Threads { source } => Failure::Retry(source.to_string()),
        SegmentError::Engine(error) => error.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_keys_keep_the_part_below_the_given_path() {
        let check = |input: &str, key: &str, folder: &str, expected: &str| {
            let input = Location::parse(input).unwrap();
            assert_eq!(output_key(&input, key, folder), expected);
        };
        check(
            "s3://b/in/job_input.json",
            "in/job_input.json",
            "res/",
            "res/job_input.json.out",
        );
        check(
            "s3://b/in/",
            "in/2026/a.json",
            "res/",
            "res/2026/a.json.out",
        );
        check("s3://b/in/part", "in/part-1.json", "", "part-1.json.out");
        check("s3://b", "a.json", "res/", "res/a.json.out");
    }
}
