//! Batch segment jobs.

use super::simple::*;

structures! {
    CreateBatchSegmentJobRequest {
        job_name "jobName": Name required,
        solution_version_arn "solutionVersionArn": Arn required,
        filter_arn "filterArn": Arn,
        num_results "numResults": NumBatchResults,
        job_input "jobInput": BatchSegmentJobInput required,
        job_output "jobOutput": BatchSegmentJobOutput required,
        role_arn "roleArn": RoleArn required,
        tags "tags": Tags,
    }
    BatchSegmentJobInput {
        s3_data_source "s3DataSource": S3DataConfig required,
    }
    S3DataConfig {
        path "path": S3Location required,
        kms_key_arn "kmsKeyArn": KmsKeyArn,
    }
    BatchSegmentJobOutput {
        s3_data_destination "s3DataDestination": S3DataConfig required,
    }
    CreateBatchSegmentJobResponse {
        batch_segment_job_arn "batchSegmentJobArn": Arn,
    }
    DescribeBatchSegmentJobRequest {
        batch_segment_job_arn "batchSegmentJobArn": Arn required,
    }
    DescribeBatchSegmentJobResponse {
        batch_segment_job "batchSegmentJob": BatchSegmentJob,
    }
    BatchSegmentJob {
        job_name "jobName": Name,
        batch_segment_job_arn "batchSegmentJobArn": Arn,
        filter_arn "filterArn": Arn,
        failure_reason "failureReason": FailureReason,
        solution_version_arn "solutionVersionArn": Arn,
        num_results "numResults": NumBatchResults,
        job_input "jobInput": BatchSegmentJobInput,
        job_output "jobOutput": BatchSegmentJobOutput,
        role_arn "roleArn": RoleArn,
        status "status": Status,
        creation_date_time "creationDateTime": Date,
        last_updated_date_time "lastUpdatedDateTime": Date,
    }
    ListBatchSegmentJobsRequest {
        solution_version_arn "solutionVersionArn": Arn,
        next_token "nextToken": NextToken,
        max_results "maxResults": MaxResults,
    }
    ListBatchSegmentJobsResponse {
        batch_segment_jobs "batchSegmentJobs": BatchSegmentJobs,
        next_token "nextToken": NextToken,
    }
    BatchSegmentJobSummary {
        batch_segment_job_arn "batchSegmentJobArn": Arn,
        job_name "jobName": Name,
        status "status": Status,
        creation_date_time "creationDateTime": Date,
        last_updated_date_time "lastUpdatedDateTime": Date,
        failure_reason "failureReason": FailureReason,
        solution_version_arn "solutionVersionArn": Arn,
    }
}

operations! {
    CreateBatchSegmentJob(CreateBatchSegmentJobRequest) -> CreateBatchSegmentJobResponse fails [InvalidInput, ResourceAlreadyExists, LimitExceeded, ResourceNotFound, ResourceInUse, TooManyTags];
    DescribeBatchSegmentJob(DescribeBatchSegmentJobRequest) -> DescribeBatchSegmentJobResponse fails [InvalidInput, ResourceNotFound];
    ListBatchSegmentJobs(ListBatchSegmentJobsRequest) -> ListBatchSegmentJobsResponse fails [InvalidInput, InvalidNextToken];
}
