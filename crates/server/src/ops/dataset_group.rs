//! Dataset groups: what everything else belongs to.
//!
//! A group goes only when its datasets and solutions are gone; its filters and the records of its
//! jobs go with it, which frees their names.
//!
//! A group may have a customer key: then its datasets, models and checkpoints are sealed with it.
//! The key must be usable when the group is created; it cannot be changed.

use super::paging::Page;
use super::{Context, lookup, tag};
use crate::error::Exception;
use kindred_catalog::records::{Dataset, DatasetGroup, Filter, SegmentJob, Solution, status};
use kindred_store::Error as StoreError;
use kindred_types::shapes::{
    self, CreateDatasetGroupRequest, CreateDatasetGroupResponse, DatasetGroupSummary,
    DeleteDatasetGroupRequest, DescribeDatasetGroupRequest, DescribeDatasetGroupResponse,
    ListDatasetGroupsRequest, ListDatasetGroupsResponse,
};

/// Creates a group; it is ACTIVE at once.
pub(crate) fn create_dataset_group(
    ctx: &Context,
    request: CreateDatasetGroupRequest,
) -> Result<CreateDatasetGroupResponse, Exception> {
    check_customer_key(ctx, &request)?;
    let arn = ctx.account.dataset_group(&request.name);
    ctx.catalog.write(|tx| {
        lookup::need_free(tx, &arn)?;
        let tags = tag::of_new_resource(request.tags.as_deref())?;
        let limit = ctx.settings.quotas.dataset_groups;
        lookup::need_room(limit, "dataset groups", || {
            Ok(tx.count::<DatasetGroup>(None)?)
        })?;
        tx.insert(&DatasetGroup {
            arn: arn.clone(),
            name: request.name,
            status: status::ACTIVE.into(),
            failure_reason: None,
            role_arn: request.role_arn,
            kms_key_arn: request.kms_key_arn,
            domain: request.domain.clone(),
            created: tx.now(),
            updated: tx.now(),
        })?;
        tx.set_tags(&arn, &tags)?;
        Ok(CreateDatasetGroupResponse {
            dataset_group_arn: Some(arn),
            domain: request.domain,
        })
    })
}

/// Describes a group.
pub(crate) fn describe_dataset_group(
    ctx: &Context,
    request: DescribeDatasetGroupRequest,
) -> Result<DescribeDatasetGroupResponse, Exception> {
    ctx.catalog.read(|tx| {
        let group: DatasetGroup = lookup::need(tx, &request.dataset_group_arn)?;
        let shape = shapes::DatasetGroup {
            name: Some(group.name),
            dataset_group_arn: Some(group.arn),
            status: Some(group.status),
            role_arn: group.role_arn,
            kms_key_arn: group.kms_key_arn,
            creation_date_time: Some(group.created),
            last_updated_date_time: Some(group.updated),
            failure_reason: group.failure_reason,
            domain: group.domain,
        };
        Ok(DescribeDatasetGroupResponse {
            dataset_group: Some(shape),
        })
    })
}

/// Lists all groups.
pub(crate) fn list_dataset_groups(
    ctx: &Context,
    request: ListDatasetGroupsRequest,
) -> Result<ListDatasetGroupsResponse, Exception> {
    let token = request.next_token.as_deref();
    let page = Page::of("ListDatasetGroups", "", token, request.max_results)?;
    ctx.catalog.read(|tx| {
        let (groups, next_token) = page.read::<DatasetGroup>(tx, None)?;
        let groups = groups.into_iter().map(|group| DatasetGroupSummary {
            name: Some(group.name),
            dataset_group_arn: Some(group.arn),
            status: Some(group.status),
            creation_date_time: Some(group.created),
            last_updated_date_time: Some(group.updated),
            failure_reason: group.failure_reason,
            domain: group.domain,
        });
        Ok(ListDatasetGroupsResponse {
            dataset_groups: Some(groups.collect()),
            next_token,
        })
    })
}

/// Deletes a group that has neither datasets nor solutions, with its filters and the records
/// of its jobs.
pub(crate) fn delete_dataset_group(
    ctx: &Context,
    request: DeleteDatasetGroupRequest,
) -> Result<(), Exception> {
    let arn = request.dataset_group_arn;
    ctx.catalog.write(|tx| {
        lookup::need::<DatasetGroup>(tx, &arn)?;
        let datasets = tx.count::<Dataset>(Some(&arn))?;
        let solutions = tx.count::<Solution>(Some(&arn))?;
        if datasets > 0 || solutions > 0 {
            return Err(Exception::in_use(format!(
                "Dataset group {arn} still has {datasets} datasets and {solutions} solutions. Delete them first."
            )));
        }
        for job in tx.all::<SegmentJob>(None)? {
            if job.group_arn == arn {
                tx.delete::<SegmentJob>(&job.arn)?;
            }
        }
        for filter in tx.all::<Filter>(Some(&arn))? {
            tx.delete::<Filter>(&filter.arn)?;
        }
        tx.delete::<DatasetGroup>(&arn)?;
        Ok(())
    })
}

fn check_customer_key(ctx: &Context, request: &CreateDatasetGroupRequest) -> Result<(), Exception> {
    match (&request.role_arn, &request.kms_key_arn) {
        (None, None) => Ok(()),
        (Some(_), None) => Err(Exception::invalid_input(
            "roleArn is only allowed together with kmsKeyArn. Leave roleArn out.",
        )),
        (None, Some(_)) => Err(Exception::invalid_input(
            "kmsKeyArn requires roleArn. Give both, or leave kmsKeyArn out.",
        )),
        (Some(_), Some(key)) => match ctx.customer_keys.describe(key) {
            Ok(_) => Ok(()),
            Err(StoreError::Key { problem, .. }) => Err(Exception::invalid_input(format!(
                "The key {key} of kmsKeyArn cannot be used: {problem}."
            ))),
            Err(error) => Err(Exception::internal(error)),
        },
    }
}
