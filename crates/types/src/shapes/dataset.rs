//! Datasets.

use super::simple::*;

structures! {
    CreateDatasetRequest {
        name "name": Name required,
        schema_arn "schemaArn": Arn required,
        dataset_group_arn "datasetGroupArn": Arn required,
        dataset_type "datasetType": DatasetType required,
        tags "tags": Tags,
    }
    CreateDatasetResponse {
        dataset_arn "datasetArn": Arn,
    }
    UpdateDatasetRequest {
        dataset_arn "datasetArn": Arn required,
        schema_arn "schemaArn": Arn required,
    }
    UpdateDatasetResponse {
        dataset_arn "datasetArn": Arn,
    }
    DescribeDatasetRequest {
        dataset_arn "datasetArn": Arn required,
    }
    DescribeDatasetResponse {
        dataset "dataset": Dataset,
    }
    Dataset {
        name "name": Name,
        dataset_arn "datasetArn": Arn,
        dataset_group_arn "datasetGroupArn": Arn,
        dataset_type "datasetType": DatasetType,
        schema_arn "schemaArn": Arn,
        status "status": Status,
        creation_date_time "creationDateTime": Date,
        last_updated_date_time "lastUpdatedDateTime": Date,
        latest_dataset_update "latestDatasetUpdate": DatasetUpdateSummary,
        tracking_id "trackingId": TrackingId,
    }
    DatasetUpdateSummary {
        schema_arn "schemaArn": Arn,
        status "status": Status,
        failure_reason "failureReason": FailureReason,
        creation_date_time "creationDateTime": Date,
        last_updated_date_time "lastUpdatedDateTime": Date,
    }
    ListDatasetsRequest {
        dataset_group_arn "datasetGroupArn": Arn,
        next_token "nextToken": NextToken,
        max_results "maxResults": MaxResults,
    }
    ListDatasetsResponse {
        datasets "datasets": Datasets,
        next_token "nextToken": NextToken,
    }
    DatasetSummary {
        name "name": Name,
        dataset_arn "datasetArn": Arn,
        dataset_type "datasetType": DatasetType,
        status "status": Status,
        creation_date_time "creationDateTime": Date,
        last_updated_date_time "lastUpdatedDateTime": Date,
    }
    DeleteDatasetRequest {
        dataset_arn "datasetArn": Arn required,
    }
}

operations! {
    CreateDataset(CreateDatasetRequest) -> CreateDatasetResponse fails [InvalidInput, ResourceNotFound, ResourceAlreadyExists, LimitExceeded, ResourceInUse, TooManyTags];
    UpdateDataset(UpdateDatasetRequest) -> UpdateDatasetResponse fails [InvalidInput, ResourceNotFound, ResourceInUse];
    DescribeDataset(DescribeDatasetRequest) -> DescribeDatasetResponse fails [InvalidInput, ResourceNotFound];
    ListDatasets(ListDatasetsRequest) -> ListDatasetsResponse fails [InvalidInput, InvalidNextToken];
    DeleteDataset(DeleteDatasetRequest) fails [InvalidInput, ResourceNotFound, ResourceInUse];
}
