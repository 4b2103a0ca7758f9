//! Solutions: a recipe with its settings, on a dataset group.
//!
//! Settings are judged in `solution_config`, recipes in `recipe`; this file keeps the records.
//! A solution takes its versions with it when it is deleted; the records of segment jobs that
//! used them stay until the group is deleted.

use super::paging::Page;
use super::{Context, dataset, lookup, recipe, solution_config, solution_version, tag};
use crate::error::Exception;
use kindred_catalog::Tx;
use kindred_catalog::records::{DatasetGroup, Solution, SolutionVersion, status};
use kindred_types::shapes::{
    self, CreateSolutionRequest, CreateSolutionResponse, DeleteSolutionRequest,
    DescribeSolutionRequest, DescribeSolutionResponse, ListSolutionsRequest, ListSolutionsResponse,
    SolutionConfig, SolutionSummary, SolutionUpdateConfig, SolutionUpdateSummary,
    UpdateSolutionRequest, UpdateSolutionResponse,
};

/// Creates a solution; it is ACTIVE at once. Nothing is trained until a version is created.
pub(crate) fn create_solution(
    ctx: &Context,
    request: CreateSolutionRequest,
) -> Result<CreateSolutionResponse, Exception> {
    let recipe_arn = need_recipe_arn(&request)?;
    need_plain_training(ctx, &request)?;
    let config = request.solution_config.unwrap_or_default();
    let event_type = request.event_type.as_deref();
    solution_config::check(event_type, &config)?;
    let arn = ctx.account.solution(&request.name);
    ctx.catalog.write(|tx| {
        let group: DatasetGroup = lookup::need(tx, &request.dataset_group_arn)?;
        recipe::need_known(ctx, &recipe_arn)?;
        lookup::need_active(&group.arn, &group.status)?;
        solution_config::check_columns(event_type, &config, |kind| {
            dataset::schema_in_group(ctx, tx, &group, kind)
        })?;
        lookup::need_free(tx, &arn)?;
        let tags = tag::of_new_resource(request.tags.as_deref())?;
        let limit = ctx.settings.quotas.solutions_per_group;
        lookup::need_room(limit, "solutions in the dataset group", || {
            Ok(tx.count::<Solution>(Some(&group.arn))?)
        })?;
        tx.insert(&Solution {
            arn: arn.clone(),
            name: request.name,
            group_arn: group.arn,
            recipe_arn,
            perform_hpo: false,
            perform_auto_ml: false,
            perform_auto_training: false,
            perform_incremental_update: request.perform_incremental_update,
            event_type: request.event_type.clone(),
            config: stored(&config)?,
            latest_update: None,
            status: status::ACTIVE.into(),
            created: tx.now(),
            updated: tx.now(),
        })?;
        tx.set_tags(&arn, &tags)?;
        Ok(CreateSolutionResponse {
            solution_arn: Some(arn),
        })
    })
}

/// Changes the event rules and notes what was asked for; takes effect with the next version.
pub(crate) fn update_solution(
    ctx: &Context,
    request: UpdateSolutionRequest,
) -> Result<UpdateSolutionResponse, Exception> {
    let update = request.solution_update_config.unwrap_or_default();
    if request.perform_auto_training.is_none()
        && request.perform_incremental_update.is_none()
        && update == SolutionUpdateConfig::default()
    {
        return Err(Exception::invalid_input(
            "The request changes nothing. Give performAutoTraining, performIncrementalUpdate or solutionUpdateConfig.",
        ));
    }
    if request.perform_auto_training == Some(true) {
        solution_config::refuse_auto_training("performAutoTraining")?;
    }
    if update.auto_training_config.is_some() {
        solution_config::refuse_auto_training("solutionUpdateConfig.autoTrainingConfig")?;
    }
    need_no_incremental_update(request.perform_incremental_update)?;
    ctx.catalog.write(|tx| {
        let mut solution: Solution = lookup::need(tx, &request.solution_arn)?;
        lookup::need_active(&solution.arn, &solution.status)?;
        if let Some(events) = &update.events_config {
            let mut config = config_of(&solution)?.unwrap_or_default();
            let event_type = solution.event_type.as_deref();
            let threshold = config.event_value_threshold.as_deref();
            solution_config::check_events(event_type, threshold, events)?;
            config.events_config = Some(events.clone());
            let group: DatasetGroup = lookup::need(tx, &solution.group_arn)?;
            solution_config::check_columns(event_type, &config, |kind| {
                dataset::schema_in_group(ctx, tx, &group, kind)
            })?;
            solution.config = stored(&config)?;
        }
        if request.perform_incremental_update.is_some() {
            solution.perform_incremental_update = request.perform_incremental_update;
        }
        let given = (update != SolutionUpdateConfig::default()).then_some(update);
        let summary = SolutionUpdateSummary {
            solution_update_config: given,
            status: Some(status::ACTIVE.into()),
            perform_auto_training: request.perform_auto_training,
            perform_incremental_update: request.perform_incremental_update,
            creation_date_time: Some(tx.now()),
            last_updated_date_time: Some(tx.now()),
            failure_reason: None,
        };
        solution.latest_update = Some(serde_json::to_value(summary).map_err(Exception::internal)?);
        solution.updated = tx.now();
        tx.update(&solution)?;
        Ok(UpdateSolutionResponse {
            solution_arn: Some(solution.arn),
        })
    })
}

/// Describes a solution with its newest version.
pub(crate) fn describe_solution(
    ctx: &Context,
    request: DescribeSolutionRequest,
) -> Result<DescribeSolutionResponse, Exception> {
    ctx.catalog.read(|tx| {
        let solution: Solution = lookup::need(tx, &request.solution_arn)?;
        let newest = tx
            .list::<SolutionVersion>(Some(&solution.arn), None, 1)?
            .pop();
        let config = config_of(&solution)?;
        let update = solution
            .latest_update
            .map(serde_json::from_value::<SolutionUpdateSummary>);
        let shape = shapes::Solution {
            name: Some(solution.name),
            solution_arn: Some(solution.arn),
            perform_hpo: Some(solution.perform_hpo),
            perform_auto_ml: Some(solution.perform_auto_ml),
            perform_auto_training: Some(solution.perform_auto_training),
            perform_incremental_update: solution.perform_incremental_update,
            recipe_arn: Some(solution.recipe_arn),
            dataset_group_arn: Some(solution.group_arn),
            event_type: solution.event_type,
            solution_config: config,
            auto_ml_result: None,
            status: Some(solution.status),
            creation_date_time: Some(solution.created),
            last_updated_date_time: Some(solution.updated),
            latest_solution_version: newest.map(solution_version::summary),
            latest_solution_update: update.transpose().map_err(Exception::internal)?,
        };
        Ok(DescribeSolutionResponse {
            solution: Some(shape),
        })
    })
}

/// Lists the solutions of a group, or all.
pub(crate) fn list_solutions(
    ctx: &Context,
    request: ListSolutionsRequest,
) -> Result<ListSolutionsResponse, Exception> {
    let group = request.dataset_group_arn.as_deref();
    let token = request.next_token.as_deref();
    let page = Page::of(
        "ListSolutions",
        group.unwrap_or_default(),
        token,
        request.max_results,
    )?;
    ctx.catalog.read(|tx| {
        lookup::need_as_filter::<DatasetGroup>(tx, "datasetGroupArn", group)?;
        let (solutions, next_token) = page.read::<Solution>(tx, group)?;
        let solutions = solutions.into_iter().map(|solution| SolutionSummary {
            name: Some(solution.name),
            solution_arn: Some(solution.arn),
            status: Some(solution.status),
            creation_date_time: Some(solution.created),
            last_updated_date_time: Some(solution.updated),
            recipe_arn: Some(solution.recipe_arn),
        });
        Ok(ListSolutionsResponse {
            solutions: Some(solutions.collect()),
            next_token,
        })
    })
}

/// Deletes a solution with all its versions.
pub(crate) fn delete_solution(
    ctx: &Context,
    request: DeleteSolutionRequest,
) -> Result<(), Exception> {
    let arn = request.solution_arn;
    ctx.catalog.write(|tx| {
        lookup::need::<Solution>(tx, &arn)?;
        let versions = tx.all::<SolutionVersion>(Some(&arn))?;
        for version in &versions {
            need_unused(tx, version)?;
        }
        for version in &versions {
            tx.delete::<SolutionVersion>(&version.arn)?;
        }
        tx.delete::<Solution>(&arn)?;
        Ok(())
    })
}

/// The settings of a stored solution.
pub(crate) fn config_of(solution: &Solution) -> Result<Option<SolutionConfig>, Exception> {
    let config = solution.config.clone().map(serde_json::from_value);
    config.transpose().map_err(Exception::internal)
}

/// Settings as they are stored: none at all when nothing was said.
fn stored(config: &SolutionConfig) -> Result<Option<serde_json::Value>, Exception> {
    if *config == SolutionConfig::default() {
        return Ok(None);
    }
    serde_json::to_value(config)
        .map(Some)
        .map_err(Exception::internal)
}

fn need_unused(tx: &Tx<'_>, version: &SolutionVersion) -> Result<(), Exception> {
    if status::is_unfinished(&version.status) {
        return Err(Exception::in_use(format!(
            "Solution version {} has status {}. Wait until it is finished, or stop it.",
            version.arn, version.status
        )));
    }
    if let Some(job) = lookup::unfinished_segment_job(tx, &version.arn)? {
        return Err(Exception::in_use(format!(
            "Solution version {} is used by {}, which has status {}. Wait until it is finished.",
            version.arn, job.arn, job.status
        )));
    }
    Ok(())
}

fn need_recipe_arn(request: &CreateSolutionRequest) -> Result<String, Exception> {
    if request.perform_auto_ml == Some(true) {
        return Err(Exception::invalid_input(
            "performAutoML: AutoML does not choose user segmentation recipes. Leave it out and give a recipeArn.",
        ));
    }
    request.recipe_arn.clone().ok_or_else(|| {
        Exception::invalid_input("recipeArn is required when performAutoML is not true.")
    })
}

fn need_plain_training(ctx: &Context, request: &CreateSolutionRequest) -> Result<(), Exception> {
    if request.perform_hpo == Some(true) {
        return Err(Exception::invalid_input(
            "performHPO: user segmentation recipes do not support hyperparameter optimization. Leave it out.",
        ));
    }
    need_no_incremental_update(request.perform_incremental_update)?;
    if request
        .perform_auto_training
        .unwrap_or(ctx.settings.auto_training_default)
    {
        solution_config::refuse_auto_training("performAutoTraining")?;
    }
    Ok(())
}

fn need_no_incremental_update(asked: Option<bool>) -> Result<(), Exception> {
    if asked == Some(true) {
        return Err(Exception::invalid_input(
            "performIncrementalUpdate is not supported by user segmentation recipes. Leave it out.",
        ));
    }
    Ok(())
}
