//! Datasets: at most one of each type in a group.
//!
//! The records only. What is in a dataset is read and written by jobs; deleting a dataset takes
//! its generations out of the catalog, and files that no record names are nobody's.

use super::paging::Page;
use super::{Context, lookup, schema, tag};
use crate::error::Exception;
use kindred_catalog::Tx;
use kindred_catalog::records::{Dataset, DatasetGroup, DatasetUpdate, ImportJob, Schema, status};
use kindred_types::schema::{DatasetSchema, DatasetType, Domain};
use kindred_types::shapes::{
    self, CreateDatasetRequest, CreateDatasetResponse, DatasetSummary, DatasetUpdateSummary,
    DeleteDatasetRequest, DescribeDatasetRequest, DescribeDatasetResponse, ListDatasetsRequest,
    ListDatasetsResponse, UpdateDatasetRequest, UpdateDatasetResponse,
};

/// Creates a dataset; it is ACTIVE at once and empty.
pub(crate) fn create_dataset(
    ctx: &Context,
    request: CreateDatasetRequest,
) -> Result<CreateDatasetResponse, Exception> {
    let kind = type_of(&request.dataset_type)?;
    ctx.catalog.write(|tx| {
        let stored: Schema = lookup::need(tx, &request.schema_arn)?;
        let group = lookup::need_active_group(tx, &request.dataset_group_arn)?;
        need_fitting_schema(&stored, kind, &group)?;
        let arn = ctx.account.dataset(&group.name, kind.as_upper());
        lookup::need_free(tx, &arn)?;
        let tags = tag::of_new_resource(request.tags.as_deref())?;
        tx.insert(&Dataset {
            arn: arn.clone(),
            name: request.name,
            group_arn: group.arn,
            dataset_type: kind.as_upper().into(),
            schema_arn: stored.arn,
            status: status::ACTIVE.into(),
            latest_update: None,
            generations: Vec::new(),
            created: tx.now(),
            updated: tx.now(),
        })?;
        tx.set_tags(&arn, &tags)?;
        Ok(CreateDatasetResponse {
            dataset_arn: Some(arn),
        })
    })
}

/// Gives an Items or Users dataset a wider schema. It applies at once; rows that are there have
/// null in the new columns.
pub(crate) fn update_dataset(
    ctx: &Context,
    request: UpdateDatasetRequest,
) -> Result<UpdateDatasetResponse, Exception> {
    ctx.catalog.write(|tx| {
        let mut dataset: Dataset = lookup::need(tx, &request.dataset_arn)?;
        let new: Schema = lookup::need(tx, &request.schema_arn)?;
        lookup::need_active(&dataset.arn, &dataset.status)?;
        need_no_import(tx, &dataset.arn)?;
        let kind = type_of(&dataset.dataset_type)?;
        if kind == DatasetType::Interactions {
            return Err(Exception::invalid_input(format!(
                "Dataset {} is an Interactions dataset, whose schema cannot be replaced. Only Items and Users datasets can be updated.",
                dataset.arn
            )));
        }
        let group: DatasetGroup = lookup::need(tx, &dataset.group_arn)?;
        need_fitting_schema(&new, kind, &group)?;
        let old: Schema = lookup::need(tx, &dataset.schema_arn)?;
        schema::stored(&old)?.can_update_to(&schema::stored(&new)?).map_err(|error| {
            Exception::invalid_input(format!(
                "Schema {} cannot replace {}: {error}.",
                new.arn, old.arn
            ))
        })?;
        dataset.schema_arn = new.arn.clone();
        dataset.updated = tx.now();
        dataset.latest_update = Some(DatasetUpdate {
            schema_arn: new.arn,
            status: status::ACTIVE.into(),
            failure_reason: None,
            created: tx.now(),
            updated: tx.now(),
        });
        tx.update(&dataset)?;
        Ok(UpdateDatasetResponse { dataset_arn: Some(dataset.arn) })
    })
}

/// Describes a dataset.
pub(crate) fn describe_dataset(
    ctx: &Context,
    request: DescribeDatasetRequest,
) -> Result<DescribeDatasetResponse, Exception> {
    ctx.catalog.read(|tx| {
        let dataset: Dataset = lookup::need(tx, &request.dataset_arn)?;
        let update = dataset.latest_update.map(|update| DatasetUpdateSummary {
            schema_arn: Some(update.schema_arn),
            status: Some(update.status),
            failure_reason: update.failure_reason,
            creation_date_time: Some(update.created),
            last_updated_date_time: Some(update.updated),
        });
        let shape = shapes::Dataset {
            name: Some(dataset.name),
            dataset_arn: Some(dataset.arn),
            dataset_group_arn: Some(dataset.group_arn),
            dataset_type: Some(dataset.dataset_type),
            schema_arn: Some(dataset.schema_arn),
            status: Some(dataset.status),
            creation_date_time: Some(dataset.created),
            last_updated_date_time: Some(dataset.updated),
            latest_dataset_update: update,
            tracking_id: None,
        };
        Ok(DescribeDatasetResponse {
            dataset: Some(shape),
        })
    })
}

/// Lists the datasets of a group, or all.
pub(crate) fn list_datasets(
    ctx: &Context,
    request: ListDatasetsRequest,
) -> Result<ListDatasetsResponse, Exception> {
    let group = request.dataset_group_arn.as_deref();
    let token = request.next_token.as_deref();
    let page = Page::of(
        "ListDatasets",
        group.unwrap_or_default(),
        token,
        request.max_results,
    )?;
    ctx.catalog.read(|tx| {
        lookup::need_as_filter::<DatasetGroup>(tx, "datasetGroupArn", group)?;
        let (datasets, next_token) = page.read::<Dataset>(tx, group)?;
        let datasets = datasets.into_iter().map(|dataset| DatasetSummary {
            name: Some(dataset.name),
            dataset_arn: Some(dataset.arn),
            dataset_type: Some(dataset.dataset_type),
            status: Some(dataset.status),
            creation_date_time: Some(dataset.created),
            last_updated_date_time: Some(dataset.updated),
        });
        Ok(ListDatasetsResponse {
            datasets: Some(datasets.collect()),
            next_token,
        })
    })
}

/// Deletes a dataset with its data and the records of its import jobs. Trained solution versions
/// keep working.
pub(crate) fn delete_dataset(
    ctx: &Context,
    request: DeleteDatasetRequest,
) -> Result<(), Exception> {
    let arn = request.dataset_arn;
    ctx.catalog.write(|tx| {
        let dataset: Dataset = lookup::need(tx, &arn)?;
        need_no_import(tx, &arn)?;
        if let Some(version) = lookup::unfinished_version_of_group(tx, &dataset.group_arn)? {
            return Err(Exception::in_use(format!(
                "Dataset {arn} may be read by solution version {}, which has status {}. Wait until it is finished, or stop it.",
                version.arn, version.status
            )));
        }
        for job in tx.all::<ImportJob>(Some(&arn))? {
            tx.delete::<ImportJob>(&job.arn)?;
        }
        tx.delete::<Dataset>(&arn)?;
        Ok(())
    })
}

/// The schema of the group's dataset of this type, if it has one.
pub(crate) fn schema_in_group(
    ctx: &Context,
    tx: &Tx<'_>,
    group: &DatasetGroup,
    kind: DatasetType,
) -> Result<Option<DatasetSchema>, Exception> {
    let arn = ctx.account.dataset(&group.name, kind.as_upper());
    match tx.get::<Dataset>(&arn)? {
        None => Ok(None),
        Some(dataset) => schema::stored(&lookup::need(tx, &dataset.schema_arn)?).map(Some),
    }
}

/// Refuses while an import job of the dataset is pending or running.
pub(crate) fn need_no_import(tx: &Tx<'_>, dataset_arn: &str) -> Result<(), Exception> {
    match lookup::unfinished_import(tx, dataset_arn)? {
        None => Ok(()),
        Some(job) => Err(Exception::in_use(format!(
            "Dataset {dataset_arn} is being imported by {}, which has status {}. Wait until it is finished.",
            job.arn, job.status
        ))),
    }
}

/// The dataset type a text names, in whatever case.
pub(crate) fn type_of(text: &str) -> Result<DatasetType, Exception> {
    if let Some(kind) = DatasetType::from_name_ignore_case(text) {
        return Ok(kind);
    }
    let reason = if ["actions", "action_interactions"].contains(&text.to_ascii_lowercase().as_str())
    {
        "is not supported by this server"
    } else {
        "is unknown"
    };
    Err(Exception::invalid_input(format!(
        "Dataset type {text} {reason}. Use Interactions, Items or Users."
    )))
}

/// A schema fits a dataset when it is of the same type and satisfies the group's domain.
fn need_fitting_schema(
    stored: &Schema,
    kind: DatasetType,
    group: &DatasetGroup,
) -> Result<(), Exception> {
    let parsed = schema::stored(stored)?;
    if parsed.kind != kind {
        return Err(Exception::invalid_input(format!(
            "Schema {} is for {} datasets, the dataset is of type {}.",
            stored.arn,
            parsed.kind.title(),
            kind.title()
        )));
    }
    match (&stored.domain, &group.domain) {
        (None, None) => Ok(()),
        (Some(own), Some(wanted)) if own == wanted => Ok(()),
        (None, Some(wanted)) => {
            let domain = Domain::from_name(wanted);
            let checked = domain.map_or(Ok(()), |domain| parsed.check_domain(domain));
            checked.map_err(|error| {
                Exception::invalid_input(format!(
                    "Schema {} has no domain and does not satisfy domain {wanted} of dataset group {}: {error}.",
                    stored.arn, group.arn
                ))
            })
        }
        (Some(own), other) => Err(Exception::invalid_input(format!(
            "Schema {} has domain {own}, dataset group {} has {}. Use a schema of the group's domain.",
            stored.arn,
            group.arn,
            other
                .as_deref()
                .map_or("none".to_owned(), |domain| format!("domain {domain}"))
        ))),
    }
}
