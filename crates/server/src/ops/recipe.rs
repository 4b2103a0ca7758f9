//! The recipes this server knows, their algorithms and feature transformations.
//!
//! They belong to the service, not to an account: nothing of them is stored.

use super::Context;
use super::paging::Page;
use crate::error::Exception;
use kindred_catalog::PageStart;
use kindred_catalog::records::status;
use kindred_types::shapes::{
    Algorithm, DefaultHyperParameterRanges, DefaultIntegerHyperParameterRange,
    DescribeAlgorithmRequest, DescribeAlgorithmResponse, DescribeFeatureTransformationRequest,
    DescribeFeatureTransformationResponse, DescribeRecipeRequest, DescribeRecipeResponse,
    FeatureTransformation, ListRecipesRequest, ListRecipesResponse, RecipeSummary,
};
use kindred_types::time::Timestamp;
use std::collections::BTreeMap;

/// Smallest `hidden_dimension`.
pub(crate) const HIDDEN_DIMENSION_MIN: i32 = 32;

/// Largest `hidden_dimension`.
pub(crate) const HIDDEN_DIMENSION_MAX: i32 = 256;

/// `hidden_dimension` when a solution does not say.
const HIDDEN_DIMENSION_DEFAULT: i32 = 149;

/// The type of both recipes.
const RECIPE_TYPE: &str = "USER_SEGMENTATION";

/// How algorithms read their training data.
const TRAINING_INPUT_MODE: &str = "File";

/// Seconds since the epoch at which this program was built.
const BUILT: &str = env!("KINDRED_BUILD_SECONDS");

/// A recipe of this server.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Known {
    /// Its name, the last part of its ARN; also its algorithm's name.
    pub(crate) name: &'static str,
    transformation: &'static str,
    description: &'static str,
    created: Timestamp,
    /// Whether segments are asked for by item attributes, which training must then know.
    pub(crate) uses_item_attributes: bool,
}

/// All of them, by name.
static RECIPES: [Known; 2] = [
    Known {
        name: "aws-item-affinity",
        transformation: "item-affinity",
        description: "Ranks the users of a dataset group by how likely they are to interact with each item that a segment job asks about.",
        created: Timestamp(1_626_307_200_000),
        uses_item_attributes: false,
    },
    Known {
        name: "aws-item-attribute-affinity",
        transformation: "item-attribute-affinity",
        description: "Ranks the users of a dataset group by how likely they are to interact with items that have the attributes a segment job asks about.",
        created: Timestamp(1_629_849_600_000),
        uses_item_attributes: true,
    },
];

/// Recipes of the service that serve other purposes than user segmentation.
const OTHER_PURPOSES: &[&str] = &[
    "aws-ecomm-customers-who-viewed-x-also-viewed",
    "aws-ecomm-frequently-bought-together",
    "aws-ecomm-popular-items-by-purchases",
    "aws-ecomm-popular-items-by-views",
    "aws-ecomm-recommended-for-you",
    "aws-hrnn",
    "aws-hrnn-coldstart",
    "aws-hrnn-metadata",
    "aws-next-best-action",
    "aws-personalized-ranking",
    "aws-personalized-ranking-v2",
    "aws-popularity-count",
    "aws-semantic-similarity",
    "aws-similar-items",
    "aws-sims",
    "aws-trending-now",
    "aws-user-personalization",
    "aws-user-personalization-v2",
    "aws-vod-because-you-watched-x",
    "aws-vod-more-like-x",
    "aws-vod-most-popular",
    "aws-vod-top-picks",
    "aws-vod-trending-now",
];

/// The recipe with this ARN.
pub(crate) fn need_known(ctx: &Context, arn: &str) -> Result<&'static Known, Exception> {
    if let Some(recipe) = find(ctx, "recipe", arn, |recipe| recipe.name) {
        return Ok(recipe);
    }
    if OTHER_PURPOSES
        .iter()
        .any(|name| arn_of(ctx, "recipe", name) == arn)
    {
        return Err(Exception::invalid_input(format!(
            "Recipe {arn} is not supported: this server trains user segmentation only. Use {}.",
            all_arns(ctx)
        )));
    }
    Err(Exception::not_found_arn(arn))
}

/// Whether the ARN is that of a recipe, an algorithm or a feature transformation.
pub(crate) fn is_service_resource(ctx: &Context, arn: &str) -> bool {
    find(ctx, "recipe", arn, |recipe| recipe.name).is_some()
        || find(ctx, "algorithm", arn, |recipe| recipe.name).is_some()
        || find(ctx, "feature-transformation", arn, |recipe| {
            recipe.transformation
        })
        .is_some()
}

/// Lists the recipes by name. None of them belongs to a domain.
pub(crate) fn list_recipes(
    ctx: &Context,
    request: ListRecipesRequest,
) -> Result<ListRecipesResponse, Exception> {
    let filter = format!(
        "{}/{}",
        request.recipe_provider.as_deref().unwrap_or_default(),
        request.domain.as_deref().unwrap_or_default()
    );
    let page = Page::of(
        "ListRecipes",
        &filter,
        request.next_token.as_deref(),
        request.max_results,
    )?;
    let start = |name: &str| PageStart {
        created: Timestamp(0),
        arn: name.to_owned(),
    };
    let after = page.after.as_ref().map_or("", |start| start.arn.as_str());
    let rest: Vec<&Known> = RECIPES
        .iter()
        .filter(|recipe| request.domain.is_none() && recipe.name > after)
        .collect();
    let (rows, next_token) = page.cut(rest, |recipe| start(recipe.name));
    let recipes = rows.into_iter().map(|recipe| RecipeSummary {
        name: Some(recipe.name.into()),
        recipe_arn: Some(arn_of(ctx, "recipe", recipe.name)),
        status: Some(status::ACTIVE.into()),
        creation_date_time: Some(recipe.created),
        last_updated_date_time: Some(built()),
        domain: None,
    });
    Ok(ListRecipesResponse {
        recipes: Some(recipes.collect()),
        next_token,
    })
}

/// Describes a recipe.
pub(crate) fn describe_recipe(
    ctx: &Context,
    request: DescribeRecipeRequest,
) -> Result<DescribeRecipeResponse, Exception> {
    let recipe = find(ctx, "recipe", &request.recipe_arn, |recipe| recipe.name)
        .ok_or_else(|| Exception::not_found_arn(&request.recipe_arn))?;
    let shape = kindred_types::shapes::Recipe {
        name: Some(recipe.name.into()),
        recipe_arn: Some(request.recipe_arn),
        algorithm_arn: Some(arn_of(ctx, "algorithm", recipe.name)),
        feature_transformation_arn: Some(arn_of(
            ctx,
            "feature-transformation",
            recipe.transformation,
        )),
        status: Some(status::ACTIVE.into()),
        description: Some(recipe.description.into()),
        creation_date_time: Some(recipe.created),
        recipe_type: Some(RECIPE_TYPE.into()),
        last_updated_date_time: Some(built()),
    };
    Ok(DescribeRecipeResponse {
        recipe: Some(shape),
    })
}

/// Describes the algorithm behind a recipe.
pub(crate) fn describe_algorithm(
    ctx: &Context,
    request: DescribeAlgorithmRequest,
) -> Result<DescribeAlgorithmResponse, Exception> {
    let arn = request.algorithm_arn;
    let recipe = find(ctx, "algorithm", &arn, |recipe| recipe.name)
        .ok_or_else(|| Exception::not_found_arn(&arn))?;
    let range = DefaultIntegerHyperParameterRange {
        name: Some("hidden_dimension".into()),
        min_value: Some(HIDDEN_DIMENSION_MIN),
        max_value: Some(HIDDEN_DIMENSION_MAX),
        is_tunable: Some(false),
    };
    let defaults = [(
        "hidden_dimension".to_owned(),
        HIDDEN_DIMENSION_DEFAULT.to_string(),
    )];
    let shape = Algorithm {
        name: Some(recipe.name.into()),
        algorithm_arn: Some(arn),
        default_hyper_parameters: Some(BTreeMap::from(defaults)),
        default_hyper_parameter_ranges: Some(DefaultHyperParameterRanges {
            integer_hyper_parameter_ranges: Some(vec![range]),
            ..Default::default()
        }),
        training_input_mode: Some(TRAINING_INPUT_MODE.into()),
        creation_date_time: Some(recipe.created),
        last_updated_date_time: Some(built()),
        ..Default::default()
    };
    Ok(DescribeAlgorithmResponse {
        algorithm: Some(shape),
    })
}

/// Describes the feature transformation of a recipe; it has no parameters.
pub(crate) fn describe_feature_transformation(
    ctx: &Context,
    request: DescribeFeatureTransformationRequest,
) -> Result<DescribeFeatureTransformationResponse, Exception> {
    let arn = request.feature_transformation_arn;
    let recipe = find(ctx, "feature-transformation", &arn, |recipe| {
        recipe.transformation
    })
    .ok_or_else(|| Exception::not_found_arn(&arn))?;
    let shape = FeatureTransformation {
        name: Some(recipe.transformation.into()),
        feature_transformation_arn: Some(arn),
        default_parameters: Some(BTreeMap::new()),
        creation_date_time: Some(recipe.created),
        last_updated_date_time: Some(built()),
        status: Some(status::ACTIVE.into()),
    };
    Ok(DescribeFeatureTransformationResponse {
        feature_transformation: Some(shape),
    })
}

fn find(
    ctx: &Context,
    kind: &str,
    arn: &str,
    name: fn(&Known) -> &'static str,
) -> Option<&'static Known> {
    RECIPES
        .iter()
        .find(|recipe| arn_of(ctx, kind, name(recipe)) == arn)
}

/// Resources of the service have neither region nor account.
fn arn_of(ctx: &Context, kind: &str, name: &str) -> String {
    format!("arn:{}:personalize:::{kind}/{name}", ctx.account.partition)
}

fn all_arns(ctx: &Context) -> String {
    let arns = RECIPES.iter();
    let arns: Vec<String> = arns
        .map(|recipe| arn_of(ctx, "recipe", recipe.name))
        .collect();
    arns.join(" or ")
}

fn built() -> Timestamp {
    let seconds: i64 = BUILT.parse().expect("the build script writes digits");
    Timestamp(seconds * 1000)
}
