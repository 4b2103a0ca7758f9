//! Filters.

use super::simple::*;

structures! {
    CreateFilterRequest {
        name "name": Name required,
        dataset_group_arn "datasetGroupArn": Arn required,
        filter_expression "filterExpression": FilterExpression required,
        tags "tags": Tags,
    }
    CreateFilterResponse {
        filter_arn "filterArn": Arn,
    }
    DescribeFilterRequest {
        filter_arn "filterArn": Arn required,
    }
    DescribeFilterResponse {
        filter "filter": Filter,
    }
    Filter {
        name "name": Name,
        filter_arn "filterArn": Arn,
        creation_date_time "creationDateTime": Date,
        last_updated_date_time "lastUpdatedDateTime": Date,
        dataset_group_arn "datasetGroupArn": Arn,
        failure_reason "failureReason": FailureReason,
        filter_expression "filterExpression": FilterExpression,
        status "status": Status,
    }
    ListFiltersRequest {
        dataset_group_arn "datasetGroupArn": Arn,
        next_token "nextToken": NextToken,
        max_results "maxResults": MaxResults,
    }
    ListFiltersResponse {
        filters "Filters": Filters,
        next_token "nextToken": NextToken,
    }
    FilterSummary {
        name "name": Name,
        filter_arn "filterArn": Arn,
        creation_date_time "creationDateTime": Date,
        last_updated_date_time "lastUpdatedDateTime": Date,
        dataset_group_arn "datasetGroupArn": Arn,
        failure_reason "failureReason": FailureReason,
        status "status": Status,
    }
    DeleteFilterRequest {
        filter_arn "filterArn": Arn required,
    }
}

operations! {
    CreateFilter(CreateFilterRequest) -> CreateFilterResponse fails [InvalidInput, ResourceAlreadyExists, ResourceNotFound, LimitExceeded, TooManyTags];
    DescribeFilter(DescribeFilterRequest) -> DescribeFilterResponse fails [InvalidInput, ResourceNotFound];
    ListFilters(ListFiltersRequest) -> ListFiltersResponse fails [InvalidInput, InvalidNextToken];
    DeleteFilter(DeleteFilterRequest) fails [InvalidInput, ResourceNotFound, ResourceInUse];
}
