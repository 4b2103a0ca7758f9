//! Dataset import jobs.

use super::simple::*;

structures! {
    CreateDatasetImportJobRequest {
        job_name "jobName": Name required,
        dataset_arn "datasetArn": Arn required,
        data_source "dataSource": DataSource required,
        role_arn "roleArn": RoleArn,
        tags "tags": Tags,
        import_mode "importMode": ImportMode,
        publish_attribution_metrics_to_s3 "publishAttributionMetricsToS3": Boolean,
    }
    DataSource {
        data_location "dataLocation": S3Location,
    }
    CreateDatasetImportJobResponse {
        dataset_import_job_arn "datasetImportJobArn": Arn,
    }
    DescribeDatasetImportJobRequest {
        dataset_import_job_arn "datasetImportJobArn": Arn required,
    }
    DescribeDatasetImportJobResponse {
        dataset_import_job "datasetImportJob": DatasetImportJob,
    }
    DatasetImportJob {
        job_name "jobName": Name,
        dataset_import_job_arn "datasetImportJobArn": Arn,
        dataset_arn "datasetArn": Arn,
        data_source "dataSource": DataSource,
        role_arn "roleArn": Arn,
        status "status": Status,
        creation_date_time "creationDateTime": Date,
        last_updated_date_time "lastUpdatedDateTime": Date,
        failure_reason "failureReason": FailureReason,
        import_mode "importMode": ImportMode,
        publish_attribution_metrics_to_s3 "publishAttributionMetricsToS3": Boolean,
    }
    ListDatasetImportJobsRequest {
        dataset_arn "datasetArn": Arn,
        next_token "nextToken": NextToken,
        max_results "maxResults": MaxResults,
    }
    ListDatasetImportJobsResponse {
        dataset_import_jobs "datasetImportJobs": DatasetImportJobs,
        next_token "nextToken": NextToken,
    }
    DatasetImportJobSummary {
        dataset_import_job_arn "datasetImportJobArn": Arn,
        job_name "jobName": Name,
        status "status": Status,
        creation_date_time "creationDateTime": Date,
        last_updated_date_time "lastUpdatedDateTime": Date,
        failure_reason "failureReason": FailureReason,
        import_mode "importMode": ImportMode,
    }
}

operations! {
    CreateDatasetImportJob(CreateDatasetImportJobRequest) -> CreateDatasetImportJobResponse fails [InvalidInput, ResourceNotFound, ResourceAlreadyExists, LimitExceeded, ResourceInUse, TooManyTags];
    DescribeDatasetImportJob(DescribeDatasetImportJobRequest) -> DescribeDatasetImportJobResponse fails [InvalidInput, ResourceNotFound];
    ListDatasetImportJobs(ListDatasetImportJobsRequest) -> ListDatasetImportJobsResponse fails [InvalidInput, InvalidNextToken];
}
