//! Who may be in the segments of a job: the data that says so, and what is read from it.
//!
//! The generations committed when the job starts are noted in its record, which keeps them from being
//! swept, and so are the filter and the schemas it is read against. A resumed job reads the same ones,
//! so neither an import nor a change of the datasets meanwhile changes anything.

use crate::failure::Failure;
use crate::runner::Job;
use crate::training;
use crate::vaults::Vaults;
use kindred_catalog::Tx;
use kindred_catalog::records::{
    self, Dataset, Filter, Schema, SegmentData, SegmentFilter, SegmentJob,
};
use kindred_engine::data::dataset::Generation;
use kindred_engine::model::AnyModel;
use kindred_engine::selection::{Selection, SelectionRequest};
use kindred_types::filter::{self, FilterSchemas};
use kindred_types::schema::{self, DatasetSchema, DatasetType};

/// The job's record with its data, which is fixed by the first try and kept by later ones. A job that
/// chooses among all users has none.
pub(crate) fn fix_data(job: &Job<'_>) -> Result<SegmentJob, Failure> {
    let record: SegmentJob = job.record()?;
    let chooses = record.exclude_interacted.is_some() || record.filter_arn.is_some();
    if record.data.is_some() || !chooses {
        return Ok(record);
    }
    job.parts().catalog.write(|tx| {
        let mut record: SegmentJob = tx.need(job.arn())?;
        let datasets: Vec<Dataset> = tx.all(Some(&record.group_arn))?;
        let of = |kind: DatasetType| {
            let mut datasets = datasets.iter();
            datasets.find(|dataset| dataset.dataset_type == kind.as_upper())
        };
        let (interactions, users) = (of(DatasetType::Interactions), of(DatasetType::Users));
        if interactions.is_none() && record.exclude_interacted.is_some() {
            return Err(Failure::Input(
                "The dataset group has no Interactions dataset any more.".to_owned(),
            ));
        }
        let filter = match &record.filter_arn {
            None => None,
            Some(arn) => {
                let filter: Filter = tx.need(arn)?;
                Some(SegmentFilter {
                    expression: filter.expression,
                    users_schema: schema_text(tx, users)?,
                    interactions_schema: schema_text(tx, interactions)?,
                })
            }
        };
        let generations = |dataset: Option<&Dataset>| {
            let generations = dataset.map(|dataset| dataset.generations.clone());
            generations.unwrap_or_default()
        };
        record.data = Some(SegmentData {
            interactions: generations(interactions),
            users: generations(users),
            filter,
        });
        tx.update(&record)?;
        Ok(record)
    })
}

/// Reads who may be in the job's segments.
pub(crate) fn load(
    job: &Job<'_>,
    record: &SegmentJob,
    model: &AnyModel,
    vaults: &Vaults<'_>,
) -> Result<Selection, Failure> {
    let data = record.data.clone().unwrap_or_default();
    let generations = |records: &[records::Generation]| -> Vec<Generation> {
        let of = |record: &records::Generation| {
            let directory = job.parts().layout.generation(&record.id);
            training::generation(&directory, vaults.generation(&record.id), record)
        };
        records.iter().map(of).collect()
    };
    let request = SelectionRequest {
        filter: data.filter.as_ref().map(read_filter).transpose()?,
        exclude_interacted: record.exclude_interacted.as_ref(),
        users: &generations(&data.users),
        interactions: &generations(&data.interactions),
    };
    Ok(Selection::load(request, model.towers(), job)?)
}

fn schema_text(tx: &Tx<'_>, dataset: Option<&Dataset>) -> Result<Option<String>, Failure> {
    match dataset {
        None => Ok(None),
        Some(dataset) => Ok(Some(tx.need::<Schema>(&dataset.schema_arn)?.schema)),
    }
}

/// The expression, typed. It was held against the datasets when the job was asked for, but they may
/// have gone before it started.
fn read_filter(stored: &SegmentFilter) -> Result<filter::Filter, Failure> {
    let parse = |text: &Option<String>| -> Result<Option<DatasetSchema>, Failure> {
        let parsed = text.as_deref().map(|text| schema::parse(text, None));
        let parsed = parsed.transpose();
        parsed
            .map_err(|error| Failure::Internal(format!("a stored schema does not parse: {error}")))
    };
    let users = parse(&stored.users_schema)?;
    let interactions = parse(&stored.interactions_schema)?;
    let schemas = FilterSchemas {
        users: users.as_ref(),
        interactions: interactions.as_ref(),
        items: None,
    };
    filter::Filter::parse(&stored.expression, &schemas).map_err(|error| {
        Failure::Input(format!(
            "The filter does not fit the datasets of its group any more: {} at position {}.",
            error.detail, error.position
        ))
    })
}
