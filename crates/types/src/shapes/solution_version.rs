//! Solution versions and their metrics.

use super::common::*;
use super::simple::*;

structures! {
    CreateSolutionVersionRequest {
        name "name": Name,
        solution_arn "solutionArn": Arn required,
        training_mode "trainingMode": TrainingMode,
        tags "tags": Tags,
    }
    CreateSolutionVersionResponse {
        solution_version_arn "solutionVersionArn": Arn,
    }
    DescribeSolutionVersionRequest {
        solution_version_arn "solutionVersionArn": Arn required,
    }
    DescribeSolutionVersionResponse {
        solution_version "solutionVersion": SolutionVersion,
    }
    SolutionVersion {
        name "name": Name,
        solution_version_arn "solutionVersionArn": Arn,
        solution_arn "solutionArn": Arn,
        perform_hpo "performHPO": PerformHPO,
        perform_auto_ml "performAutoML": PerformAutoML,
        perform_incremental_update "performIncrementalUpdate": PerformIncrementalUpdate,
        recipe_arn "recipeArn": Arn,
        event_type "eventType": EventType,
        dataset_group_arn "datasetGroupArn": Arn,
        solution_config "solutionConfig": SolutionConfig,
        training_hours "trainingHours": TrainingHours,
        training_mode "trainingMode": TrainingMode,
        tuned_hpo_params "tunedHPOParams": TunedHPOParams,
        status "status": Status,
        failure_reason "failureReason": FailureReason,
        creation_date_time "creationDateTime": Date,
        last_updated_date_time "lastUpdatedDateTime": Date,
        training_type "trainingType": TrainingType,
    }
    TunedHPOParams {
        algorithm_hyper_parameters "algorithmHyperParameters": HyperParameters,
    }
    ListSolutionVersionsRequest {
        solution_arn "solutionArn": Arn,
        next_token "nextToken": NextToken,
        max_results "maxResults": MaxResults,
    }
    ListSolutionVersionsResponse {
        solution_versions "solutionVersions": SolutionVersions,
        next_token "nextToken": NextToken,
    }
    StopSolutionVersionCreationRequest {
        solution_version_arn "solutionVersionArn": Arn required,
    }
    GetSolutionMetricsRequest {
        solution_version_arn "solutionVersionArn": Arn required,
    }
    GetSolutionMetricsResponse {
        solution_version_arn "solutionVersionArn": Arn,
        metrics "metrics": Metrics,
    }
}

operations! {
    CreateSolutionVersion(CreateSolutionVersionRequest) -> CreateSolutionVersionResponse fails [InvalidInput, ResourceNotFound, LimitExceeded, ResourceInUse, TooManyTags, ResourceAlreadyExists];
    DescribeSolutionVersion(DescribeSolutionVersionRequest) -> DescribeSolutionVersionResponse fails [InvalidInput, ResourceNotFound];
    ListSolutionVersions(ListSolutionVersionsRequest) -> ListSolutionVersionsResponse fails [InvalidInput, ResourceNotFound, InvalidNextToken];
    StopSolutionVersionCreation(StopSolutionVersionCreationRequest) fails [InvalidInput, ResourceNotFound, ResourceInUse];
    GetSolutionMetrics(GetSolutionMetricsRequest) -> GetSolutionMetricsResponse fails [InvalidInput, ResourceNotFound, ResourceInUse];
}
