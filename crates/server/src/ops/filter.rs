//! Filters: expressions that say which users a segment job may choose.
//!
//! The language is `kindred_types::filter`; this file holds an expression against the datasets of its
//! group and keeps it byte for byte. A filter does not hold its datasets: they can be deleted and
//! updated, and whether the expression still fits is asked again when a job uses it. Expressions are
//! sensitive: messages name fields and parameters and never show a value.

use super::paging::Page;
use super::{Context, dataset, lookup, recipe, tag};
use crate::error::Exception;
use kindred_catalog::Tx;
use kindred_catalog::records::{DatasetGroup, Filter, SolutionVersion, status};
use kindred_types::filter::{self, FilterError, FilterSchemas, Target};
use kindred_types::schema::DatasetType;
use kindred_types::shapes::{
    self, CreateFilterRequest, CreateFilterResponse, DeleteFilterRequest, DescribeFilterRequest,
    DescribeFilterResponse, FilterSummary, ListFiltersRequest, ListFiltersResponse,
};
use std::collections::BTreeSet;

/// Creates a filter; it is ACTIVE at once.
pub(crate) fn create_filter(
    ctx: &Context,
    request: CreateFilterRequest,
) -> Result<CreateFilterResponse, Exception> {
    let arn = ctx.account.filter(&request.name);
    ctx.catalog.write(|tx| {
        let group = need_open_group(tx, &request.dataset_group_arn)?;
        let parsed = read(ctx, tx, &group, &request.filter_expression)?
            .map_err(|error| Exception::invalid_input(error.to_string()))?;
        lookup::need_free(tx, &arn)?;
        let tags = tag::of_new_resource(request.tags.as_deref())?;
        need_room(ctx, tx, &group, &parsed)?;
        tx.insert(&Filter {
            arn: arn.clone(),
            name: request.name,
            group_arn: group.arn,
            expression: request.filter_expression,
            status: status::ACTIVE.into(),
            failure_reason: None,
            created: tx.now(),
            updated: tx.now(),
        })?;
        tx.set_tags(&arn, &tags)?;
        Ok(CreateFilterResponse {
            filter_arn: Some(arn),
        })
    })
}

/// Describes a filter, its expression as it was given.
pub(crate) fn describe_filter(
    ctx: &Context,
    request: DescribeFilterRequest,
) -> Result<DescribeFilterResponse, Exception> {
    ctx.catalog.read(|tx| {
        let filter: Filter = lookup::need(tx, &request.filter_arn)?;
        let shape = shapes::Filter {
            name: Some(filter.name),
            filter_arn: Some(filter.arn),
            creation_date_time: Some(filter.created),
            last_updated_date_time: Some(filter.updated),
            dataset_group_arn: Some(filter.group_arn),
            failure_reason: filter.failure_reason,
            filter_expression: Some(filter.expression),
            status: Some(filter.status),
        };
        Ok(DescribeFilterResponse {
            filter: Some(shape),
        })
    })
}

/// Lists the filters of a group, or all.
pub(crate) fn list_filters(
    ctx: &Context,
    request: ListFiltersRequest,
) -> Result<ListFiltersResponse, Exception> {
    let group = request.dataset_group_arn.as_deref();
    let token = request.next_token.as_deref();
    let page = Page::of(
        "ListFilters",
        group.unwrap_or_default(),
        token,
        request.max_results,
    )?;
    ctx.catalog.read(|tx| {
        lookup::need_as_filter::<DatasetGroup>(tx, "datasetGroupArn", group)?;
        let (filters, next_token) = page.read::<Filter>(tx, group)?;
        let filters = filters.into_iter().map(|filter| FilterSummary {
            name: Some(filter.name),
            filter_arn: Some(filter.arn),
            creation_date_time: Some(filter.created),
            last_updated_date_time: Some(filter.updated),
            dataset_group_arn: Some(filter.group_arn),
            failure_reason: filter.failure_reason,
            status: Some(filter.status),
        });
        Ok(ListFiltersResponse {
            filters: Some(filters.collect()),
            next_token,
        })
    })
}

/// Deletes a filter that no unfinished job uses.
pub(crate) fn delete_filter(ctx: &Context, request: DeleteFilterRequest) -> Result<(), Exception> {
    let arn = request.filter_arn;
    ctx.catalog.write(|tx| {
        lookup::need::<Filter>(tx, &arn)?;
        if let Some(job) = lookup::unfinished_segment_job_with_filter(tx, &arn)? {
            return Err(Exception::in_use(format!(
                "Filter {arn} is used by {}, which has status {}. Wait until it is finished.",
                job.arn, job.status
            )));
        }
        tx.delete::<Filter>(&arn)?;
        Ok(())
    })
}

/// Reads an expression against the schemas that the datasets of the group have now.
fn read(
    ctx: &Context,
    tx: &Tx<'_>,
    group: &DatasetGroup,
    expression: &str,
) -> Result<Result<filter::Filter, FilterError>, Exception> {
    let schema = |kind| dataset::schema_in_group(ctx, tx, group, kind);
    let users = schema(DatasetType::Users)?;
    let interactions = schema(DatasetType::Interactions)?;
    let items = schema(DatasetType::Items)?;
    let schemas = FilterSchemas {
        users: users.as_ref(),
        interactions: interactions.as_ref(),
        items: items.as_ref(),
    };
    Ok(filter::Filter::parse(expression, &schemas))
}

/// Refuses a filter that a segment job on this version cannot apply.
pub(crate) fn need_usable(
    ctx: &Context,
    tx: &Tx<'_>,
    filter: &Filter,
    version: &SolutionVersion,
) -> Result<(), Exception> {
    let arn = &filter.arn;
    lookup::need_active(arn, &filter.status)?;
    if filter.group_arn != version.group_arn {
        return Err(Exception::invalid_input(format!(
            "Filter {arn} belongs to dataset group {}, solution version {} to {}. Use a filter of the same dataset group.",
            filter.group_arn, version.arn, version.group_arn
        )));
    }
    let group: DatasetGroup = lookup::need(tx, &filter.group_arn)?;
    let parsed = read(ctx, tx, &group, &filter.expression)?.map_err(|error| {
        Exception::invalid_input(format!(
            "Filter {arn} does not fit the datasets of its group any more: {} at position {}.",
            error.detail, error.position
        ))
    })?;
    if parsed.target != Target::Users {
        return Err(Exception::invalid_input(format!(
            "Filter {arn} is about ItemID. Batch segment jobs take filters about UserID."
        )));
    }
    let recipe = recipe::need_known(ctx, &version.recipe_arn)?;
    if recipe.uses_item_attributes && parsed.uses(filter::Dataset::Interactions) {
        return Err(Exception::invalid_input(format!(
            "Filter {arn} has conditions on Interactions, which cannot be used with {}. Use a filter with conditions on Users only.",
            recipe.name
        )));
    }
    Ok(())
}

/// CreateFilter does not declare ResourceInUse, so a group that is not ready is bad input here.
fn need_open_group(tx: &Tx<'_>, arn: &str) -> Result<DatasetGroup, Exception> {
    let group: DatasetGroup = lookup::need(tx, arn)?;
    if group.status == status::ACTIVE {
        return Ok(group);
    }
    Err(Exception::invalid_input(format!(
        "Dataset group {arn} has status {}. Wait until it is ACTIVE and try again.",
        group.status
    )))
}

fn need_room(
    ctx: &Context,
    tx: &Tx<'_>,
    group: &DatasetGroup,
    new: &filter::Filter,
) -> Result<(), Exception> {
    let quotas = &ctx.settings.quotas;
    lookup::need_room(
        quotas.filters_per_group,
        "filters in the dataset group",
        || Ok(tx.count::<Filter>(Some(&group.arn))?),
    )?;
    let own = new.fields();
    need_few(quotas.fields_per_filter, own.len(), "fields in the filter")?;
    if quotas.filter_fields_per_group == 0 {
        return Ok(());
    }
    let mut fields: BTreeSet<_> = own
        .iter()
        .map(|(dataset, name)| (*dataset, (*name).to_owned()))
        .collect();
    for other in tx.all::<Filter>(Some(&group.arn))? {
        // One that no longer fits its datasets has no fields to count.
        if let Ok(other) = read(ctx, tx, group, &other.expression)? {
            let names = other.fields();
            fields.extend(
                names
                    .iter()
                    .map(|(dataset, name)| (*dataset, (*name).to_owned())),
            );
        }
    }
    need_few(
        quotas.filter_fields_per_group,
        fields.len(),
        "fields in the filters of the dataset group",
    )
}

fn need_few(limit: u64, found: usize, counted: &str) -> Result<(), Exception> {
    if limit > 0 && found as u64 > limit {
        return Err(Exception::limit_exceeded(format!(
            "More than {limit} {counted}."
        )));
    }
    Ok(())
}
