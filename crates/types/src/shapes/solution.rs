//! Solutions.

use super::common::*;
use super::simple::*;

structures! {
    CreateSolutionRequest {
        name "name": Name required,
        perform_hpo "performHPO": Boolean,
        perform_auto_ml "performAutoML": PerformAutoML,
        perform_auto_training "performAutoTraining": PerformAutoTraining,
        perform_incremental_update "performIncrementalUpdate": PerformIncrementalUpdate,
        recipe_arn "recipeArn": Arn,
        dataset_group_arn "datasetGroupArn": Arn required,
        event_type "eventType": EventType,
        solution_config "solutionConfig": SolutionConfig,
        tags "tags": Tags,
    }
    CreateSolutionResponse {
        solution_arn "solutionArn": Arn,
    }
    UpdateSolutionRequest {
        solution_arn "solutionArn": Arn required,
        perform_auto_training "performAutoTraining": PerformAutoTraining,
        perform_incremental_update "performIncrementalUpdate": PerformIncrementalUpdate,
        solution_update_config "solutionUpdateConfig": SolutionUpdateConfig,
    }
    SolutionUpdateConfig {
        auto_training_config "autoTrainingConfig": AutoTrainingConfig,
        events_config "eventsConfig": EventsConfig,
    }
    UpdateSolutionResponse {
        solution_arn "solutionArn": Arn,
    }
    DescribeSolutionRequest {
        solution_arn "solutionArn": Arn required,
    }
    DescribeSolutionResponse {
        solution "solution": Solution,
    }
    Solution {
        name "name": Name,
        solution_arn "solutionArn": Arn,
        perform_hpo "performHPO": PerformHPO,
        perform_auto_ml "performAutoML": PerformAutoML,
        perform_auto_training "performAutoTraining": PerformAutoTraining,
        perform_incremental_update "performIncrementalUpdate": PerformIncrementalUpdate,
        recipe_arn "recipeArn": Arn,
        dataset_group_arn "datasetGroupArn": Arn,
        event_type "eventType": EventType,
        solution_config "solutionConfig": SolutionConfig,
        auto_ml_result "autoMLResult": AutoMLResult,
        status "status": Status,
        creation_date_time "creationDateTime": Date,
        last_updated_date_time "lastUpdatedDateTime": Date,
        latest_solution_version "latestSolutionVersion": SolutionVersionSummary,
        latest_solution_update "latestSolutionUpdate": SolutionUpdateSummary,
    }
    AutoMLResult {
        best_recipe_arn "bestRecipeArn": Arn,
    }
    SolutionUpdateSummary {
        solution_update_config "solutionUpdateConfig": SolutionUpdateConfig,
        status "status": Status,
        perform_auto_training "performAutoTraining": PerformAutoTraining,
        perform_incremental_update "performIncrementalUpdate": PerformIncrementalUpdate,
        creation_date_time "creationDateTime": Date,
        last_updated_date_time "lastUpdatedDateTime": Date,
        failure_reason "failureReason": FailureReason,
    }
    ListSolutionsRequest {
        dataset_group_arn "datasetGroupArn": Arn,
        next_token "nextToken": NextToken,
        max_results "maxResults": MaxResults,
    }
    ListSolutionsResponse {
        solutions "solutions": Solutions,
        next_token "nextToken": NextToken,
    }
    SolutionSummary {
        name "name": Name,
        solution_arn "solutionArn": Arn,
        status "status": Status,
        creation_date_time "creationDateTime": Date,
        last_updated_date_time "lastUpdatedDateTime": Date,
        recipe_arn "recipeArn": Arn,
    }
    DeleteSolutionRequest {
        solution_arn "solutionArn": Arn required,
    }
}

operations! {
    CreateSolution(CreateSolutionRequest) -> CreateSolutionResponse fails [InvalidInput, ResourceAlreadyExists, ResourceNotFound, LimitExceeded, ResourceInUse, TooManyTags];
    UpdateSolution(UpdateSolutionRequest) -> UpdateSolutionResponse fails [InvalidInput, ResourceNotFound, ResourceInUse, LimitExceeded, ResourceInUse];
    DescribeSolution(DescribeSolutionRequest) -> DescribeSolutionResponse fails [InvalidInput, ResourceNotFound];
    ListSolutions(ListSolutionsRequest) -> ListSolutionsResponse fails [InvalidInput, InvalidNextToken];
    DeleteSolution(DeleteSolutionRequest) fails [InvalidInput, ResourceNotFound, ResourceInUse];
}
