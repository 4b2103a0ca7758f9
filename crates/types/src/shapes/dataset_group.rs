//! Dataset groups.

use super::simple::*;

structures! {
    CreateDatasetGroupRequest {
        name "name": Name required,
        role_arn "roleArn": RoleArn,
        kms_key_arn "kmsKeyArn": KmsKeyArn,
        domain "domain": Domain,
        tags "tags": Tags,
    }
    CreateDatasetGroupResponse {
        dataset_group_arn "datasetGroupArn": Arn,
        domain "domain": Domain,
    }
    DescribeDatasetGroupRequest {
        dataset_group_arn "datasetGroupArn": Arn required,
    }
    DescribeDatasetGroupResponse {
        dataset_group "datasetGroup": DatasetGroup,
    }
    DatasetGroup {
        name "name": Name,
        dataset_group_arn "datasetGroupArn": Arn,
        status "status": Status,
        role_arn "roleArn": RoleArn,
        kms_key_arn "kmsKeyArn": KmsKeyArn,
        creation_date_time "creationDateTime": Date,
        last_updated_date_time "lastUpdatedDateTime": Date,
        failure_reason "failureReason": FailureReason,
        domain "domain": Domain,
    }
    ListDatasetGroupsRequest {
        next_token "nextToken": NextToken,
        max_results "maxResults": MaxResults,
    }
    ListDatasetGroupsResponse {
        dataset_groups "datasetGroups": DatasetGroups,
        next_token "nextToken": NextToken,
    }
    DatasetGroupSummary {
        name "name": Name,
        dataset_group_arn "datasetGroupArn": Arn,
        status "status": Status,
        creation_date_time "creationDateTime": Date,
        last_updated_date_time "lastUpdatedDateTime": Date,
        failure_reason "failureReason": FailureReason,
        domain "domain": Domain,
    }
    DeleteDatasetGroupRequest {
        dataset_group_arn "datasetGroupArn": Arn required,
    }
}

operations! {
    CreateDatasetGroup(CreateDatasetGroupRequest) -> CreateDatasetGroupResponse fails [InvalidInput, ResourceAlreadyExists, LimitExceeded, TooManyTags];
    DescribeDatasetGroup(DescribeDatasetGroupRequest) -> DescribeDatasetGroupResponse fails [InvalidInput, ResourceNotFound];
    ListDatasetGroups(ListDatasetGroupsRequest) -> ListDatasetGroupsResponse fails [InvalidNextToken];
    DeleteDatasetGroup(DeleteDatasetGroupRequest) fails [InvalidInput, ResourceNotFound, ResourceInUse];
}
