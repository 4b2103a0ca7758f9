//! Structures that several operations share.

use super::simple::*;

structures! {
    Tag {
        tag_key "tagKey": TagKey required,
        tag_value "tagValue": TagValue required,
    }
    SolutionConfig {
        event_value_threshold "eventValueThreshold": EventValueThreshold,
        hpo_config "hpoConfig": HPOConfig,
        algorithm_hyper_parameters "algorithmHyperParameters": HyperParameters,
        feature_transformation_parameters "featureTransformationParameters": FeatureTransformationParameters,
        auto_ml_config "autoMLConfig": AutoMLConfig,
        events_config "eventsConfig": EventsConfig,
        optimization_objective "optimizationObjective": OptimizationObjective,
        training_data_config "trainingDataConfig": TrainingDataConfig,
        auto_training_config "autoTrainingConfig": AutoTrainingConfig,
    }
    HPOConfig {
        hpo_objective "hpoObjective": HPOObjective,
        hpo_resource_config "hpoResourceConfig": HPOResourceConfig,
        algorithm_hyper_parameter_ranges "algorithmHyperParameterRanges": HyperParameterRanges,
    }
    HPOObjective {
        r#type "type": HPOObjectiveType,
        metric_name "metricName": MetricName,
        metric_regex "metricRegex": MetricRegex,
    }
    HPOResourceConfig {
        max_number_of_training_jobs "maxNumberOfTrainingJobs": HPOResource,
        max_parallel_training_jobs "maxParallelTrainingJobs": HPOResource,
    }
    HyperParameterRanges {
        integer_hyper_parameter_ranges "integerHyperParameterRanges": IntegerHyperParameterRanges,
        continuous_hyper_parameter_ranges "continuousHyperParameterRanges": ContinuousHyperParameterRanges,
        categorical_hyper_parameter_ranges "categoricalHyperParameterRanges": CategoricalHyperParameterRanges,
    }
    IntegerHyperParameterRange {
        name "name": ParameterName,
        min_value "minValue": IntegerMinValue,
        max_value "maxValue": IntegerMaxValue,
    }
    ContinuousHyperParameterRange {
        name "name": ParameterName,
        min_value "minValue": ContinuousMinValue,
        max_value "maxValue": ContinuousMaxValue,
    }
    CategoricalHyperParameterRange {
        name "name": ParameterName,
        values "values": CategoricalValues,
    }
    AutoMLConfig {
        metric_name "metricName": MetricName,
        recipe_list "recipeList": ArnList,
    }
    EventsConfig {
        event_parameters_list "eventParametersList": EventParametersList,
    }
    EventParameters {
        event_type "eventType": EventType,
        event_value_threshold "eventValueThreshold": EventTypeThresholdValue,
        weight "weight": EventTypeWeight,
    }
    OptimizationObjective {
        item_attribute "itemAttribute": ItemAttribute,
        objective_sensitivity "objectiveSensitivity": ObjectiveSensitivity,
    }
    TrainingDataConfig {
        excluded_dataset_columns "excludedDatasetColumns": ExcludedDatasetColumns,
        included_dataset_columns "includedDatasetColumns": IncludedDatasetColumns,
    }
    AutoTrainingConfig {
        scheduling_expression "schedulingExpression": SchedulingExpression,
    }
    SolutionVersionSummary {
        solution_version_arn "solutionVersionArn": Arn,
        status "status": Status,
        training_mode "trainingMode": TrainingMode,
        training_type "trainingType": TrainingType,
        creation_date_time "creationDateTime": Date,
        last_updated_date_time "lastUpdatedDateTime": Date,
        failure_reason "failureReason": FailureReason,
    }
}
