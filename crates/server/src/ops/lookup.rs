//! Questions that several operations ask of the catalog before they act.
//!
//! The order in a handler is always the same: what the request names exists, it is in a state
//! that allows the call, the new name is free, the tags are good, the quota has room, write.

use crate::error::Exception;
use kindred_catalog::records::{
    DatasetGroup, ImportJob, SegmentJob, Solution, SolutionVersion, status,
};
use kindred_catalog::{Record, Tx};

/// The record with this ARN. An ARN of another kind, account or region names nothing.
pub(crate) fn need<R: Record>(tx: &Tx<'_>, arn: &str) -> Result<R, Exception> {
    tx.get(arn)?.ok_or_else(|| Exception::not_found_arn(arn))
}

/// For list filters: operations that do not declare NotFound call an unknown parent bad input.
pub(crate) fn need_as_filter<R: Record>(
    tx: &Tx<'_>,
    member: &str,
    arn: Option<&str>,
) -> Result<(), Exception> {
    match arn {
        Some(arn) if tx.get::<R>(arn)?.is_none() => Err(Exception::invalid_input(format!(
            "{member} {arn} does not exist. Name an existing resource, or leave {member} out to list all."
        ))),
        _ => Ok(()),
    }
}

/// A dataset group that new resources can be put into.
pub(crate) fn need_active_group(tx: &Tx<'_>, arn: &str) -> Result<DatasetGroup, Exception> {
    let group: DatasetGroup = need(tx, arn)?;
    need_active(&group.arn, &group.status)?;
    Ok(group)
}

/// Refuses a resource that is not ready to be used.
pub(crate) fn need_active(arn: &str, found: &str) -> Result<(), Exception> {
    if found == status::ACTIVE {
        return Ok(());
    }
    Err(Exception::in_use(format!(
        "Resource {arn} has status {found}. Wait until it is ACTIVE and try again."
    )))
}

/// Refuses an ARN that a resource has already.
pub(crate) fn need_free(tx: &Tx<'_>, arn: &str) -> Result<(), Exception> {
    if tx.exists(arn)? {
        return Err(Exception::already_exists(arn));
    }
    Ok(())
}

/// Refuses one more of something when `limit` are there already; 0 is no limit.
pub(crate) fn need_room(
    limit: u64,
    counted: &str,
    count: impl FnOnce() -> Result<u64, Exception>,
) -> Result<(), Exception> {
    if limit > 0 && count()? >= limit {
        return Err(Exception::limit_exceeded(format!(
            "More than {limit} {counted}."
        )));
    }
    Ok(())
}

/// An import job of the dataset that is not finished.
pub(crate) fn unfinished_import(
    tx: &Tx<'_>,
    dataset_arn: &str,
) -> Result<Option<ImportJob>, Exception> {
    let jobs = tx.all::<ImportJob>(Some(dataset_arn))?;
    Ok(jobs
        .into_iter()
        .find(|job| status::is_unfinished(&job.status)))
}

/// A version of the solution that is not finished.
pub(crate) fn unfinished_version(
    tx: &Tx<'_>,
    solution_arn: &str,
) -> Result<Option<SolutionVersion>, Exception> {
    let versions = tx.all::<SolutionVersion>(Some(solution_arn))?;
    Ok(versions
        .into_iter()
        .find(|version| status::is_unfinished(&version.status)))
}

/// A version of any solution of the group that is not finished.
pub(crate) fn unfinished_version_of_group(
    tx: &Tx<'_>,
    group_arn: &str,
) -> Result<Option<SolutionVersion>, Exception> {
    for solution in tx.all::<Solution>(Some(group_arn))? {
        if let Some(version) = unfinished_version(tx, &solution.arn)? {
            return Ok(Some(version));
        }
    }
    Ok(None)
}

/// A segment job on the version that is not finished.
pub(crate) fn unfinished_segment_job(
    tx: &Tx<'_>,
    version_arn: &str,
) -> Result<Option<SegmentJob>, Exception> {
    let jobs = tx.all::<SegmentJob>(Some(version_arn))?;
    Ok(jobs
        .into_iter()
        .find(|job| status::is_unfinished(&job.status)))
}

/// A segment job with the filter that is not finished.
pub(crate) fn unfinished_segment_job_with_filter(
    tx: &Tx<'_>,
    filter_arn: &str,
) -> Result<Option<SegmentJob>, Exception> {
    let jobs = tx.all::<SegmentJob>(None)?;
    Ok(jobs.into_iter().find(|job| {
        job.filter_arn.as_deref() == Some(filter_arn) && status::is_unfinished(&job.status)
    }))
}

/// How many records of a kind are unfinished.
pub(crate) fn count_unfinished<R: Record>(
    tx: &Tx<'_>,
    status_of: impl Fn(&R) -> &str,
) -> Result<u64, Exception> {
    let all = tx.all::<R>(None)?;
    Ok(all
        .iter()
        .filter(|record| status::is_unfinished(status_of(record)))
        .count() as u64)
}
