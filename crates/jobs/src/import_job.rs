//! A dataset import job: objects → checked rows → a generation that appears in one transaction.
//!
//! Nothing of a failed import becomes visible and the data before it stays. A killed import starts
//! over: its staged files are scratch.

use crate::artifacts::publish_directory;
use crate::failure::Failure;
use crate::inputs;
use crate::quotas;
use crate::role_store::RoleStore;
use crate::runner::Job;
use crate::sources::ObjectSource;
use crate::vaults::Vaults;
use fail::fail_point;
use kindred_catalog::records::{Dataset, Generation, ImportJob, Schema, status};
use kindred_engine::data::Error as DataError;
use kindred_engine::data::import::{self, ImportOptions, ImportReport};
use kindred_engine::data::source::Source;
use kindred_store::{Error as StoreError, Location, ObjectMeta, Vault};
use kindred_types::parts::random_hex;
use kindred_types::schema::{self, DatasetSchema, Domain};
use serde_json::json;
use std::path::Path;

/// The mode that adds to what is there instead of replacing it.
const INCREMENTAL: &str = "INCREMENTAL";

pub(crate) fn run(job: &Job<'_>) -> Result<(), Failure> {
    let start = job.parts().clock.monotonic_ms();
    let record: ImportJob = job.record()?;
    let (dataset, stored) = job.parts().catalog.read(|tx| {
        let dataset: Dataset = tx.need(&record.dataset_arn)?;
        let stored: Schema = tx.need(&dataset.schema_arn)?;
        Ok::<_, kindred_catalog::Error>((dataset, stored))
    })?;
    let schema = parse(&stored)?;
    let staged = job.scratch()?.join("generation");
    // Known before anything is written: sealed files are bound to the generation that they belong to.
    let id = random_hex(&*job.parts().random, 8);
    let vault = Vaults::of(job, &dataset.group_arn)?.generation(&id);
    let report = stage(job, &record, &dataset, &schema, &staged, vault)?;
    job.check_stop()?;
    fail_point!("import::staged");

    let guard = job.publish_lock();
    publish_directory(&staged, &job.parts().layout.generation(&id))?;
    fail_point!("import::published");
    job.finish(|tx| {
        let mut dataset: Dataset = tx.need(&record.dataset_arn)?;
        let generation = Generation {
            id,
            mode: record.import_mode.clone(),
            rows: report.rows,
            job_arn: record.arn.clone(),
            schema_arn: stored.arn.clone(),
            committed: tx.now(),
        };
        if record.import_mode != INCREMENTAL {
            dataset.generations.clear();
        }
        dataset.generations.push(generation);
        dataset.updated = tx.now();
        tx.update(&dataset)?;
        let mut done: ImportJob = tx.need(&record.arn)?;
        done.status = status::ACTIVE.to_owned();
        done.updated = tx.now();
        done.statistics = Some(json!({
            "rows": report.rows,
            "skipped_rows": report.skipped,
            "warnings": report.warnings,
            "import_seconds": job.seconds_since(start),
            "wall_seconds": job.seconds_since(start),
            "peak_memory_bytes": job.peak_memory_bytes(),
        }));
        tx.update(&done)?;
        Ok(())
    })?;
    fail_point!("import::committed");
    drop(guard);
    job.sweep()
}

/// Reads all objects into staged, synced files.
fn stage(
    job: &Job<'_>,
    record: &ImportJob,
    dataset: &Dataset,
    schema: &DatasetSchema,
    staged: &Path,
    vault: Vault,
) -> Result<ImportReport, Failure> {
    let parts = job.parts();
    let complete = |failure: Failure| match failure {
        Failure::Input(detail) => {
            Failure::Input(import::failure_reason(schema.kind, &dataset.name, &detail))
        }
        other => other,
    };
    let store = parts.store.acting_as(record.role_arn.as_deref(), job.arn());
    let (bucket, objects) = find(&store, &record.data_location).map_err(complete)?;
    let sources: Vec<ObjectSource> = objects
        .into_iter()
        .map(|object| ObjectSource::new(store.clone(), &bucket, object))
        .collect();
    let sources: Vec<&dyn Source> = sources.iter().map(|source| source as &dyn Source).collect();
    let quotas = &parts.settings.quotas;
    let incremental = record.import_mode == INCREMENTAL;
    quotas::need_few_bytes(&sources, incremental, quotas).map_err(complete)?;
    let options = ImportOptions {
        max_invalid_rows: parts.settings.import_max_invalid_rows,
        location: record.data_location.clone(),
        vault,
    };
    let report = import::import(schema, &dataset.name, &sources, &options, staged, job).map_err(
        |error| match error {
            // The engine's sentence is whole; a store's refusal still lacks the dataset's name.
            DataError::Source { source, .. } => complete(source.into()),
            other => other.into(),
        },
    )?;
    quotas::need_enough_rows(schema.kind, report.rows, quotas).map_err(complete)?;
    for warning in &report.warnings {
        tracing::warn!(arn = %record.arn, %warning, "import");
    }
    Ok(report)
}

/// The objects of the location; none is a failure that the engine words when it is given none.
fn find(store: &RoleStore, data_location: &str) -> Result<(String, Vec<ObjectMeta>), Failure> {
    let location = Location::parse(data_location)
        .ok_or_else(|| Failure::Input("Invalid Data location.".to_owned()))?;
    let objects = match inputs::import_objects(store, &location) {
        Ok(objects) => objects,
        Err(StoreError::NoSuchBucket(_)) => Vec::new(),
        Err(error) => return Err(error.into()),
    };
    inputs::check_readable(store, &location, &objects)?;
    Ok((location.bucket, objects))
}

/// A stored schema was parsed when it was created; failing now means the stored text is broken.
pub(crate) fn parse(stored: &Schema) -> Result<DatasetSchema, Failure> {
    let domain = stored.domain.as_deref().and_then(Domain::from_name);
    schema::parse(&stored.schema, domain)
        .map_err(|error| Failure::Internal(format!("stored schema {}: {error}", stored.arn)))
}
