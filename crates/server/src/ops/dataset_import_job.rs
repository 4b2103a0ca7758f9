//! Dataset import jobs: accepted here, run by `kindred_jobs`.
//!
//! Jobs of one dataset run one after the other in creation order. Whether the data is there, may
//! be read and is good shows when the job runs.

use super::paging::Page;
use super::{Context, location, lookup, tag};
use crate::error::Exception;
use kindred_catalog::records::{Dataset, ImportJob, status};
use kindred_catalog::{NewWork, WorkKind};
use kindred_types::shapes::{
    self, CreateDatasetImportJobRequest, CreateDatasetImportJobResponse, DataSource,
    DatasetImportJobSummary, DescribeDatasetImportJobRequest, DescribeDatasetImportJobResponse,
    ListDatasetImportJobsRequest, ListDatasetImportJobsResponse,
};

const FULL: &str = "FULL";
const INCREMENTAL: &str = "INCREMENTAL";

/// Accepts an import and queues it behind the dataset's other ones.
pub(crate) fn create_dataset_import_job(
    ctx: &Context,
    request: CreateDatasetImportJobRequest,
) -> Result<CreateDatasetImportJobResponse, Exception> {
    let data_location = request.data_source.data_location;
    location::import_source(data_location.as_deref())?;
    if request.publish_attribution_metrics_to_s3 == Some(true) {
        return Err(Exception::invalid_input(
            "publishAttributionMetricsToS3 needs a metric attribution, which this server does not support. Leave it out or set it to false.",
        ));
    }
    let import_mode = request.import_mode.unwrap_or_else(|| FULL.into());
    let arn = ctx.account.dataset_import_job(&request.job_name);
    let response = ctx.catalog.write(|tx| -> Result<_, Exception> {
        let dataset: Dataset = lookup::need(tx, &request.dataset_arn)?;
        lookup::need_active(&dataset.arn, &dataset.status)?;
        if import_mode == INCREMENTAL && !dataset.generations.iter().any(|g| g.mode == FULL) {
            return Err(Exception::invalid_input(format!(
                "Dataset {} has no data from a FULL import yet. Import with importMode FULL first.",
                dataset.arn
            )));
        }
        lookup::need_free(tx, &arn)?;
        let tags = tag::of_new_resource(request.tags.as_deref())?;
        lookup::need_room(
            ctx.settings.quotas.pending_import_jobs,
            "dataset import jobs with PENDING or IN_PROGRESS status",
            || lookup::count_unfinished::<ImportJob>(tx, |job| &job.status),
        )?;
        tx.insert(&ImportJob {
            arn: arn.clone(),
            job_name: request.job_name,
            dataset_arn: dataset.arn.clone(),
            data_location: data_location.unwrap_or_default(),
            role_arn: request.role_arn,
            import_mode,
            publish_attribution_metrics_to_s3: request.publish_attribution_metrics_to_s3,
            status: status::CREATE_PENDING.into(),
            failure_reason: None,
            statistics: None,
            created: tx.now(),
            updated: tx.now(),
        })?;
        tx.set_tags(&arn, &tags)?;
        tx.enqueue(&NewWork {
            arn: &arn,
            kind: WorkKind::Import,
            queue: &dataset.arn,
        })?;
        Ok(CreateDatasetImportJobResponse {
            dataset_import_job_arn: Some(arn.clone()),
        })
    })?;
    (ctx.wake)();
    Ok(response)
}

/// Describes an import job.
pub(crate) fn describe_dataset_import_job(
    ctx: &Context,
    request: DescribeDatasetImportJobRequest,
) -> Result<DescribeDatasetImportJobResponse, Exception> {
    ctx.catalog.read(|tx| {
        let job: ImportJob = lookup::need(tx, &request.dataset_import_job_arn)?;
        let shape = shapes::DatasetImportJob {
            job_name: Some(job.job_name),
            dataset_import_job_arn: Some(job.arn),
            dataset_arn: Some(job.dataset_arn),
            data_source: Some(DataSource {
                data_location: Some(job.data_location),
            }),
            role_arn: job.role_arn,
            status: Some(job.status),
            creation_date_time: Some(job.created),
            last_updated_date_time: Some(job.updated),
            failure_reason: job.failure_reason,
            import_mode: Some(job.import_mode),
            publish_attribution_metrics_to_s3: job.publish_attribution_metrics_to_s3,
        };
        Ok(DescribeDatasetImportJobResponse {
            dataset_import_job: Some(shape),
        })
    })
}

/// Lists the import jobs of a dataset, or all.
pub(crate) fn list_dataset_import_jobs(
    ctx: &Context,
    request: ListDatasetImportJobsRequest,
) -> Result<ListDatasetImportJobsResponse, Exception> {
    let dataset = request.dataset_arn.as_deref();
    let page = Page::of(
        "ListDatasetImportJobs",
        dataset.unwrap_or_default(),
        request.next_token.as_deref(),
        request.max_results,
    )?;
    ctx.catalog.read(|tx| {
        lookup::need_as_filter::<Dataset>(tx, "datasetArn", dataset)?;
        let (jobs, next_token) = page.read::<ImportJob>(tx, dataset)?;
        let jobs = jobs.into_iter().map(|job| DatasetImportJobSummary {
            dataset_import_job_arn: Some(job.arn),
            job_name: Some(job.job_name),
            status: Some(job.status),
            creation_date_time: Some(job.created),
            last_updated_date_time: Some(job.updated),
            failure_reason: job.failure_reason,
            import_mode: Some(job.import_mode),
        });
        Ok(ListDatasetImportJobsResponse {
            dataset_import_jobs: Some(jobs.collect()),
            next_token,
        })
    })
}
