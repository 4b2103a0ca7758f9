//! Training a solution version: snapshot → model directory that appears in one transaction.
//!
//! The snapshot is the data committed when the job starts; the record names its generations, which
//! keeps them from being swept, so a re-import meanwhile changes nothing. A killed training starts
//! over and, being deterministic, ends with the same bytes.

use crate::artifacts::publish_directory;
use crate::failure::Failure;
use crate::runner::Job;
use crate::training::{self, Recipe, TrainRequest};
use crate::vaults::Vaults;
use fail::fail_point;
use kindred_catalog::records::{self, Dataset, SolutionVersion, status};
use kindred_engine::data::dataset::Generation;
use kindred_types::arn::{DATASET_INTERACTIONS, DATASET_ITEMS};
use kindred_types::parts::random_hex;

pub(crate) fn run(job: &Job<'_>) -> Result<(), Failure> {
    let start = job.parts().clock.monotonic_ms();
    let (version, interactions) = fix_snapshot(job)?;
    let layout = &job.parts().layout;
    let vaults = Vaults::of(job, &version.group_arn)?;
    // Known before anything is written: sealed files are bound to the model that they belong to.
    let id = random_hex(&*job.parts().random, 8);
    let generations = |records: &[records::Generation]| -> Vec<Generation> {
        let each = records.iter();
        each.map(|record| {
            let vault = vaults.generation(&record.id);
            training::generation(&layout.generation(&record.id), vault, record)
        })
        .collect()
    };
    let staged = job.scratch()?.join("model");
    if staged.exists() {
        std::fs::remove_dir_all(&staged)?;
    }
    std::fs::create_dir_all(&staged)?;
    let request = TrainRequest {
        recipe: Recipe::of_arn(&version.recipe_arn),
        generations: generations(&interactions),
        items: generations(&version.items_snapshot),
        event_type: version.event_type.clone(),
        config: version.config.clone(),
        settings: job.parts().settings.training.clone(),
        threads: job.parts().settings.engine_threads(),
        vault: vaults.model(&id),
    };
    let trained = training::train(&request, &staged, job, &*job.parts().clock)?;
    job.check_stop()?;
    fail_point!("train::staged");

    let guard = job.publish_lock();
    publish_directory(&staged, &job.parts().layout.model(&id))?;
    fail_point!("train::published");
    job.finish(|tx| {
        let mut version: SolutionVersion = tx.need(job.arn())?;
        let seconds = job.seconds_since(start);
        let hours = seconds * job.parts().settings.engine_threads() as f64 / 3600.0;
        version.training_hours = Some((hours * 1000.0).round() / 1000.0);
        version.status = status::ACTIVE.to_owned();
        version.model = Some(id);
        version.metrics = trained.metrics;
        let mut figures = trained.statistics;
        figures["wall_seconds"] = seconds.into();
        crate::statistics::complete(&mut figures, None, job.peak_memory_bytes());
        version.statistics = Some(figures);
        version.updated = tx.now();
        tx.update(&version)?;
        Ok(())
    })?;
    fail_point!("train::committed");
    drop(guard);
    job.sweep()
}

/// The version with its snapshot, which is fixed by the first try and kept by later ones, and the
/// part of it that holds the interactions.
fn fix_snapshot(job: &Job<'_>) -> Result<(SolutionVersion, Vec<records::Generation>), Failure> {
    job.parts().catalog.write(|tx| {
        let mut version: SolutionVersion = tx.need(job.arn())?;
        if let Some(snapshot) = version.snapshot.clone() {
            return Ok((version, snapshot));
        }
        let datasets: Vec<Dataset> = tx.all(Some(&version.group_arn))?;
        let generations = |kind: &str| {
            let mut datasets = datasets.iter();
            let dataset = datasets.find(|dataset| dataset.dataset_type == kind);
            dataset.map(|dataset| dataset.generations.clone())
        };
        let Some(interactions) = generations(DATASET_INTERACTIONS) else {
            return Err(Failure::Input(
                "The dataset group has no Interactions dataset any more.".to_owned(),
            ));
        };
        version.snapshot = Some(interactions.clone());
        version.items_snapshot = generations(DATASET_ITEMS).unwrap_or_default();
        tx.update(&version)?;
        Ok((version, interactions))
    })
}
