//! Who may be in the segments of a job: the data that says so, and what is read from it.
//!
//! The generations committed when the job starts are noted in its record, which keeps them from being
//! swept. A resumed job reads the same ones, so an import meanwhile changes nothing.

use crate::Layout;
use crate::failure::Failure;
use crate::runner::Job;
use crate::training;
use kindred_catalog::records::{self, Dataset, SegmentData, SegmentJob};
use kindred_engine::data::dataset::Generation;
use kindred_engine::model::AnyModel;
use kindred_engine::selection::{Selection, SelectionRequest};
use kindred_types::schema::DatasetType;

/// The job's record with its data, which is fixed by the first try and kept by later ones. A job that
/// leaves nobody out has none.
pub(crate) fn fix_data(job: &Job<'_>) -> Result<SegmentJob, Failure> {
    let record: SegmentJob = job.record()?;
    if record.data.is_some() || record.exclude_interacted.is_none() {
        return Ok(record);
    }
    job.parts().catalog.write(|tx| {
        let mut record: SegmentJob = tx.need(job.arn())?;
        let datasets: Vec<Dataset> = tx.all(Some(&record.group_arn))?;
        let generations = |kind: DatasetType| {
            let mut datasets = datasets.iter();
            let dataset = datasets.find(|dataset| dataset.dataset_type == kind.as_upper());
            dataset.map(|dataset| dataset.generations.clone())
        };
        let Some(interactions) = generations(DatasetType::Interactions) else {
            return Err(Failure::Input(
                "The dataset group has no Interactions dataset any more.".to_owned(),
            ));
        };
        record.data = Some(SegmentData {
            interactions,
            users: generations(DatasetType::Users).unwrap_or_default(),
        });
        tx.update(&record)?;
        Ok(record)
    })
}

/// Reads who is left out of the job's segments.
pub(crate) fn load(
    job: &Job<'_>,
    record: &SegmentJob,
    model: &AnyModel,
) -> Result<Selection, Failure> {
    let data = record.data.clone().unwrap_or_default();
    let layout = &job.parts().layout;
    let request = SelectionRequest {
        filter: None,
        exclude_interacted: record.exclude_interacted.as_ref(),
        users: &generations(layout, &data.users),
        interactions: &generations(layout, &data.interactions),
    };
    Ok(Selection::load(request, model.towers(), job)?)
}

fn generations(layout: &Layout, records: &[records::Generation]) -> Vec<Generation> {
    let each = records.iter();
    each.map(|record| training::generation(&layout.generation(&record.id), record))
        .collect()
}
