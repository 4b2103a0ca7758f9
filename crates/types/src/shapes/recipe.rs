//! Recipes, algorithms and feature transformations.

use super::simple::*;

structures! {
    ListRecipesRequest {
        recipe_provider "recipeProvider": RecipeProvider,
        next_token "nextToken": NextToken,
        max_results "maxResults": MaxResults,
        domain "domain": Domain,
    }
    ListRecipesResponse {
        recipes "recipes": Recipes,
        next_token "nextToken": NextToken,
    }
    RecipeSummary {
        name "name": Name,
        recipe_arn "recipeArn": Arn,
        status "status": Status,
        creation_date_time "creationDateTime": Date,
        last_updated_date_time "lastUpdatedDateTime": Date,
        domain "domain": Domain,
    }
    DescribeRecipeRequest {
        recipe_arn "recipeArn": Arn required,
    }
    DescribeRecipeResponse {
        recipe "recipe": Recipe,
    }
    Recipe {
        name "name": Name,
        recipe_arn "recipeArn": Arn,
        algorithm_arn "algorithmArn": Arn,
        feature_transformation_arn "featureTransformationArn": Arn,
        status "status": Status,
        description "description": Description,
        creation_date_time "creationDateTime": Date,
        recipe_type "recipeType": RecipeType,
        last_updated_date_time "lastUpdatedDateTime": Date,
    }
    DescribeAlgorithmRequest {
        algorithm_arn "algorithmArn": Arn required,
    }
    DescribeAlgorithmResponse {
        algorithm "algorithm": Algorithm,
    }
    Algorithm {
        name "name": Name,
        algorithm_arn "algorithmArn": Arn,
        algorithm_image "algorithmImage": AlgorithmImage,
        default_hyper_parameters "defaultHyperParameters": HyperParameters,
        default_hyper_parameter_ranges "defaultHyperParameterRanges": DefaultHyperParameterRanges,
        default_resource_config "defaultResourceConfig": ResourceConfig,
        training_input_mode "trainingInputMode": TrainingInputMode,
        role_arn "roleArn": Arn,
        creation_date_time "creationDateTime": Date,
        last_updated_date_time "lastUpdatedDateTime": Date,
    }
    AlgorithmImage {
        name "name": Name,
        docker_uri "dockerURI": DockerURI required,
    }
    DefaultHyperParameterRanges {
        integer_hyper_parameter_ranges "integerHyperParameterRanges": DefaultIntegerHyperParameterRanges,
        continuous_hyper_parameter_ranges "continuousHyperParameterRanges": DefaultContinuousHyperParameterRanges,
        categorical_hyper_parameter_ranges "categoricalHyperParameterRanges": DefaultCategoricalHyperParameterRanges,
    }
    DefaultIntegerHyperParameterRange {
        name "name": ParameterName,
        min_value "minValue": IntegerMinValue,
        max_value "maxValue": IntegerMaxValue,
        is_tunable "isTunable": Tunable,
    }
    DefaultContinuousHyperParameterRange {
        name "name": ParameterName,
        min_value "minValue": ContinuousMinValue,
        max_value "maxValue": ContinuousMaxValue,
        is_tunable "isTunable": Tunable,
    }
    DefaultCategoricalHyperParameterRange {
        name "name": ParameterName,
        values "values": CategoricalValues,
        is_tunable "isTunable": Tunable,
    }
    DescribeFeatureTransformationRequest {
        feature_transformation_arn "featureTransformationArn": Arn required,
    }
    DescribeFeatureTransformationResponse {
        feature_transformation "featureTransformation": FeatureTransformation,
    }
    FeatureTransformation {
        name "name": Name,
        feature_transformation_arn "featureTransformationArn": Arn,
        default_parameters "defaultParameters": FeaturizationParameters,
        creation_date_time "creationDateTime": Date,
        last_updated_date_time "lastUpdatedDateTime": Date,
        status "status": Status,
    }
}

operations! {
    ListRecipes(ListRecipesRequest) -> ListRecipesResponse fails [InvalidNextToken, InvalidInput];
    DescribeRecipe(DescribeRecipeRequest) -> DescribeRecipeResponse fails [InvalidInput, ResourceNotFound];
    DescribeAlgorithm(DescribeAlgorithmRequest) -> DescribeAlgorithmResponse fails [InvalidInput, ResourceNotFound];
    DescribeFeatureTransformation(DescribeFeatureTransformationRequest) -> DescribeFeatureTransformationResponse fails [InvalidInput, ResourceNotFound];
}
