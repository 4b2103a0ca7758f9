//! Solution versions: training is accepted and stopped here, run by `kindred_jobs`.
//!
//! A version carries a copy of its solution's settings, so later updates of the solution do not
//! change what was trained.

use super::paging::Page;
use super::{Context, dataset, lookup, recipe, solution, solution_config, tag};
use crate::error::Exception;
use kindred_catalog::records::{DatasetGroup, Solution, SolutionVersion, status};
use kindred_catalog::{NewWork, Tx, WorkKind};
use kindred_types::parts::random_hex;
use kindred_types::schema::DatasetType;
use kindred_types::shapes::{
    self, CreateSolutionVersionRequest, CreateSolutionVersionResponse,
    DescribeSolutionVersionRequest, DescribeSolutionVersionResponse, GetSolutionMetricsRequest,
    GetSolutionMetricsResponse, ListSolutionVersionsRequest, ListSolutionVersionsResponse,
    SolutionVersionSummary, StopSolutionVersionCreationRequest,
};

/// Random bytes in the ARN of a version without a name; 8 hexadecimal digits.
const VERSION_ID_BYTES: usize = 4;

/// Draws of a free random id at most; with any sensible number of versions the first one is free.
const VERSION_ID_DRAWS_MAX: usize = 16;

/// The only training mode of user segmentation.
const FULL: &str = "FULL";

/// Accepts a training and queues it.
pub(crate) fn create_solution_version(
    ctx: &Context,
    request: CreateSolutionVersionRequest,
) -> Result<CreateSolutionVersionResponse, Exception> {
    let mode = request.training_mode.as_deref().unwrap_or(FULL);
    if mode != FULL {
        return Err(Exception::invalid_input(format!(
            "trainingMode {mode} is not supported by user segmentation recipes. Use FULL."
        )));
    }
    let response = ctx.catalog.write(|tx| -> Result<_, Exception> {
        let solution: Solution = lookup::need(tx, &request.solution_arn)?;
        lookup::need_active(&solution.arn, &solution.status)?;
        let group: DatasetGroup = lookup::need(tx, &solution.group_arn)?;
        need_data(ctx, tx, &solution, &group)?;
        let (arn, name) = arn_and_name(ctx, tx, &solution, request.name)?;
        let tags = tag::of_new_resource(request.tags.as_deref())?;
        lookup::need_room(
            ctx.settings.quotas.pending_solution_versions,
            "solution versions with PENDING or IN_PROGRESS status",
            || lookup::count_unfinished::<SolutionVersion>(tx, |version| &version.status),
        )?;
        tx.insert(&SolutionVersion {
            arn: arn.clone(),
            name,
            solution_arn: solution.arn,
            group_arn: solution.group_arn,
            recipe_arn: solution.recipe_arn,
            event_type: solution.event_type,
            config: solution.config,
            training_mode: FULL.into(),
            training_type: "MANUAL".into(),
            training_hours: None,
            status: status::CREATE_PENDING.into(),
            failure_reason: None,
            snapshot: None,
            items_snapshot: Vec::new(),
            model: None,
            metrics: Default::default(),
            statistics: None,
            created: tx.now(),
            updated: tx.now(),
        })?;
        tx.set_tags(&arn, &tags)?;
        tx.enqueue(&NewWork {
            arn: &arn,
            kind: WorkKind::Train,
            queue: &arn,
        })?;
        Ok(CreateSolutionVersionResponse {
            solution_version_arn: Some(arn),
        })
    })?;
    (ctx.wake)();
    Ok(response)
}

/// Describes a version.
pub(crate) fn describe_solution_version(
    ctx: &Context,
    request: DescribeSolutionVersionRequest,
) -> Result<DescribeSolutionVersionResponse, Exception> {
    ctx.catalog.read(|tx| {
        let version: SolutionVersion = lookup::need(tx, &request.solution_version_arn)?;
        let solution: Option<Solution> = tx.get(&version.solution_arn)?;
        let config = version.config.map(serde_json::from_value).transpose();
        let shape = shapes::SolutionVersion {
            name: Some(version.name),
            solution_version_arn: Some(version.arn),
            solution_arn: Some(version.solution_arn),
            perform_hpo: Some(false),
            perform_auto_ml: Some(false),
            perform_incremental_update: solution.and_then(|s| s.perform_incremental_update),
            recipe_arn: Some(version.recipe_arn),
            event_type: version.event_type,
            dataset_group_arn: Some(version.group_arn),
            solution_config: config.map_err(Exception::internal)?,
            training_hours: version.training_hours,
            training_mode: Some(version.training_mode),
            tuned_hpo_params: None,
            status: Some(version.status),
            failure_reason: version.failure_reason,
            creation_date_time: Some(version.created),
            last_updated_date_time: Some(version.updated),
            training_type: Some(version.training_type),
        };
        Ok(DescribeSolutionVersionResponse {
            solution_version: Some(shape),
        })
    })
}

/// Lists the versions of a solution, or all.
pub(crate) fn list_solution_versions(
    ctx: &Context,
    request: ListSolutionVersionsRequest,
) -> Result<ListSolutionVersionsResponse, Exception> {
    let solution = request.solution_arn.as_deref();
    let page = Page::of(
        "ListSolutionVersions",
        solution.unwrap_or_default(),
        request.next_token.as_deref(),
        request.max_results,
    )?;
    ctx.catalog.read(|tx| {
        if let Some(arn) = solution {
            lookup::need::<Solution>(tx, arn)?;
        }
        let (versions, next_token) = page.read::<SolutionVersion>(tx, solution)?;
        let versions = versions.into_iter().map(summary).collect();
        Ok(ListSolutionVersionsResponse {
            solution_versions: Some(versions),
            next_token,
        })
    })
}

/// Stops a training: at once when nobody runs it yet, else as soon as the runner notices.
pub(crate) fn stop_solution_version_creation(
    ctx: &Context,
    request: StopSolutionVersionCreationRequest,
) -> Result<(), Exception> {
    let arn = request.solution_version_arn;
    ctx.catalog.write(|tx| {
        let mut version: SolutionVersion = lookup::need(tx, &arn)?;
        let running = tx.work_state(&arn)?.is_some_and(|work| work.running);
        version.status = match version.status.as_str() {
            status::CREATE_STOPPING => return Ok(()),
            // A runner that has just taken it may not have said so yet.
            status::CREATE_PENDING if !running => {
                tx.remove_work(&arn)?;
                status::CREATE_STOPPED.into()
            }
            status::CREATE_PENDING | status::CREATE_IN_PROGRESS => {
                tx.request_stop(&arn)?;
                status::CREATE_STOPPING.into()
            }
            other => {
                return Err(Exception::invalid_input(format!(
                    "Solution version {arn} has status {other}; only CREATE PENDING and CREATE IN_PROGRESS can be stopped."
                )));
            }
        };
        version.updated = tx.now();
        tx.update(&version)?;
        Ok(())
    })?;
    (ctx.wake)();
    Ok(())
}

/// The held-out metrics of an ACTIVE version.
pub(crate) fn get_solution_metrics(
    ctx: &Context,
    request: GetSolutionMetricsRequest,
) -> Result<GetSolutionMetricsResponse, Exception> {
    ctx.catalog.read(|tx| {
        let version: SolutionVersion = lookup::need(tx, &request.solution_version_arn)?;
        need_trained(&version)?;
        Ok(GetSolutionMetricsResponse {
            solution_version_arn: Some(version.arn),
            metrics: Some(version.metrics),
        })
    })
}

/// A version as lists show it.
pub(crate) fn summary(version: SolutionVersion) -> SolutionVersionSummary {
    SolutionVersionSummary {
        solution_version_arn: Some(version.arn),
        status: Some(version.status),
        training_mode: Some(version.training_mode),
        training_type: Some(version.training_type),
        creation_date_time: Some(version.created),
        last_updated_date_time: Some(version.updated),
        failure_reason: version.failure_reason,
    }
}

/// Only an ACTIVE version has a model and metrics.
pub(crate) fn need_trained(version: &SolutionVersion) -> Result<(), Exception> {
    if matches!(
        version.status.as_str(),
        status::CREATE_FAILED | status::CREATE_STOPPED
    ) {
        return Err(Exception::invalid_input(format!(
            "Solution version {} has status {} and cannot be used. Create a new version.",
            version.arn, version.status
        )));
    }
    lookup::need_active(&version.arn, &version.status)
}

/// The datasets that training reads are there, nobody is importing into them, and they have the
/// columns that the solution's settings speak of.
fn need_data(
    ctx: &Context,
    tx: &Tx<'_>,
    solution: &Solution,
    group: &DatasetGroup,
) -> Result<(), Exception> {
    let recipe = recipe::need_known(ctx, &solution.recipe_arn)?;
    let config = solution::config_of(solution)?.unwrap_or_default();
    let missing = |what: &str| {
        Exception::invalid_input(format!(
            "Dataset group {} has no {what}, which {} needs. Create one and import data first.",
            group.arn, recipe.name
        ))
    };
    let mut needed = vec![DatasetType::Interactions];
    if recipe.uses_item_attributes {
        needed.push(DatasetType::Items);
    }
    for kind in needed {
        let schema = dataset::schema_in_group(ctx, tx, group, kind)?
            .ok_or_else(|| missing(&format!("{} dataset", kind.title())))?;
        if kind == DatasetType::Items && !schema.metadata().any(|field| !field.textual) {
            return Err(missing("Items dataset with a column that is not textual"));
        }
    }
    // Items take part whether the recipe needs them or not; half an import is no snapshot.
    for kind in [DatasetType::Interactions, DatasetType::Items] {
        dataset::need_no_import(tx, &ctx.account.dataset(&group.name, kind.as_upper()))?;
    }
    for named in solution_config::datasets_named(&config)? {
        if dataset::schema_in_group(ctx, tx, group, named)?.is_none() {
            return Err(Exception::invalid_input(format!(
                "trainingDataConfig names columns of the {} dataset, which dataset group {} does not have.",
                named.title(),
                group.arn
            )));
        }
    }
    solution_config::check_columns(solution.event_type.as_deref(), &config, |kind| {
        dataset::schema_in_group(ctx, tx, group, kind)
    })
}

/// A given name makes the ARN and may be taken; without one a free random id is drawn.
fn arn_and_name(
    ctx: &Context,
    tx: &Tx<'_>,
    solution: &Solution,
    given: Option<String>,
) -> Result<(String, String), Exception> {
    if let Some(name) = given {
        let arn = ctx.account.solution_version(&solution.name, &name);
        lookup::need_free(tx, &arn)?;
        return Ok((arn, name));
    }
    for _ in 0..VERSION_ID_DRAWS_MAX {
        let id = random_hex(ctx.random.as_ref(), VERSION_ID_BYTES);
        let arn = ctx.account.solution_version(&solution.name, &id);
        if !tx.exists(&arn)? {
            return Ok((arn, format!("{}/{id}", solution.name)));
        }
    }
    Err(Exception::internal(format!(
        "no free version id for {}",
        solution.arn
    )))
}
