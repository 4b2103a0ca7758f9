//! Batch segment jobs: accepted here, run by `kindred_jobs`.
//!
//! Nothing in S3 is touched before the job runs. There is no stop and no delete; a job's record
//! stays until its dataset group is deleted.

use super::paging::Page;
use super::{Context, filter, location, lookup, solution_version, tag};
use crate::error::Exception;
use kindred_catalog::records::{Filter, SegmentJob, SolutionVersion, status};
use kindred_catalog::{NewWork, WorkKind};
use kindred_types::shapes::{
    self, BatchSegmentJobInput, BatchSegmentJobOutput, BatchSegmentJobSummary,
    CreateBatchSegmentJobRequest, CreateBatchSegmentJobResponse, DescribeBatchSegmentJobRequest,
    DescribeBatchSegmentJobResponse, ListBatchSegmentJobsRequest, ListBatchSegmentJobsResponse,
    S3DataConfig,
};

/// Users per input line when the request does not say.
const NUM_RESULTS_DEFAULT: i32 = 25;

/// Accepts a segment job and queues it.
pub(crate) fn create_batch_segment_job(
    ctx: &Context,
    request: CreateBatchSegmentJobRequest,
) -> Result<CreateBatchSegmentJobResponse, Exception> {
    let source = request.job_input.s3_data_source;
    let destination = request.job_output.s3_data_destination;
    let input = location::segment_input(&source.path)?;
    let output = location::segment_output(&destination.path)?;
    location::keep_output_apart(&input, &output)?;
    let num_results = num_results(ctx, request.num_results)?;
    let arn = ctx.account.batch_segment_job(&request.job_name);
    let response = ctx.catalog.write(|tx| -> Result<_, Exception> {
        let version: SolutionVersion = lookup::need(tx, &request.solution_version_arn)?;
        let filter: Option<Filter> = match &request.filter_arn {
            Some(arn) => Some(lookup::need(tx, arn)?),
            None => None,
        };
        solution_version::need_trained(&version)?;
        if let Some(filter) = &filter {
            filter::need_usable(ctx, tx, filter, &version)?;
        }
        lookup::need_free(tx, &arn)?;
        let (tags, choices) = tag::of_new_segment_job(request.tags.as_deref())?;
        lookup::need_room(
            ctx.settings.quotas.pending_segment_jobs,
            "batch segment jobs with PENDING or IN_PROGRESS status",
            || lookup::count_unfinished::<SegmentJob>(tx, |job| &job.status),
        )?;
        tx.insert(&SegmentJob {
            arn: arn.clone(),
            job_name: request.job_name,
            group_arn: version.group_arn,
            solution_version_arn: version.arn,
            filter_arn: request.filter_arn,
            num_results,
            scores: choices.scores.unwrap_or(ctx.settings.segment.scores),
            exclude_interacted: choices.exclude_interacted,
            data: None,
            input_path: source.path,
            input_kms_key_arn: source.kms_key_arn,
            output_path: destination.path,
            output_kms_key_arn: destination.kms_key_arn,
            role_arn: request.role_arn,
            status: status::CREATE_PENDING.into(),
            failure_reason: None,
            statistics: None,
            created: tx.now(),
            updated: tx.now(),
        })?;
        tx.set_tags(&arn, &tags)?;
        tx.enqueue(&NewWork {
            arn: &arn,
            kind: WorkKind::Segment,
            queue: &arn,
        })?;
        Ok(CreateBatchSegmentJobResponse {
            batch_segment_job_arn: Some(arn.clone()),
        })
    })?;
    (ctx.wake)();
    Ok(response)
}

/// Describes a segment job: every parameter as given.
pub(crate) fn describe_batch_segment_job(
    ctx: &Context,
    request: DescribeBatchSegmentJobRequest,
) -> Result<DescribeBatchSegmentJobResponse, Exception> {
    ctx.catalog.read(|tx| {
        let job: SegmentJob = lookup::need(tx, &request.batch_segment_job_arn)?;
        let source = S3DataConfig {
            path: job.input_path,
            kms_key_arn: job.input_kms_key_arn,
        };
        let destination = S3DataConfig {
            path: job.output_path,
            kms_key_arn: job.output_kms_key_arn,
        };
        let shape = shapes::BatchSegmentJob {
            job_name: Some(job.job_name),
            batch_segment_job_arn: Some(job.arn),
            filter_arn: job.filter_arn,
            failure_reason: job.failure_reason,
            solution_version_arn: Some(job.solution_version_arn),
            num_results: i32::try_from(job.num_results).ok(),
            job_input: Some(BatchSegmentJobInput {
                s3_data_source: source,
            }),
            job_output: Some(BatchSegmentJobOutput {
                s3_data_destination: destination,
            }),
            role_arn: Some(job.role_arn),
            status: Some(job.status),
            creation_date_time: Some(job.created),
            last_updated_date_time: Some(job.updated),
        };
        Ok(DescribeBatchSegmentJobResponse {
            batch_segment_job: Some(shape),
        })
    })
}

/// Lists the segment jobs of a solution version, or all.
pub(crate) fn list_batch_segment_jobs(
    ctx: &Context,
    request: ListBatchSegmentJobsRequest,
) -> Result<ListBatchSegmentJobsResponse, Exception> {
    let version = request.solution_version_arn.as_deref();
    let page = Page::of(
        "ListBatchSegmentJobs",
        version.unwrap_or_default(),
        request.next_token.as_deref(),
        request.max_results,
    )?;
    ctx.catalog.read(|tx| {
        lookup::need_as_filter::<SolutionVersion>(tx, "solutionVersionArn", version)?;
        let (jobs, next_token) = page.read::<SegmentJob>(tx, version)?;
        let jobs = jobs.into_iter().map(|job| BatchSegmentJobSummary {
            batch_segment_job_arn: Some(job.arn),
            job_name: Some(job.job_name),
            status: Some(job.status),
            creation_date_time: Some(job.created),
            last_updated_date_time: Some(job.updated),
            failure_reason: job.failure_reason,
            solution_version_arn: Some(job.solution_version_arn),
        });
        Ok(ListBatchSegmentJobsResponse {
            batch_segment_jobs: Some(jobs.collect()),
            next_token,
        })
    })
}

fn num_results(ctx: &Context, asked: Option<i32>) -> Result<i64, Exception> {
    let max = ctx.settings.segment.max_num_results;
    let asked = i64::from(asked.unwrap_or(NUM_RESULTS_DEFAULT));
    if (1..=max).contains(&asked) {
        return Ok(asked);
    }
    Err(Exception::invalid_input(format!(
        "numResults must be between 1 and {max}, got {asked}."
    )))
}
