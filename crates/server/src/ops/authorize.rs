//! Whether the caller may do an operation of the control plane.
//!
//! The action is `personalize:<Operation>`, the resource the ARN that the operation is about (for a
//! Create, the one that it would make). Whoever may only work in one dataset group is bound by the
//! condition key `kindred:DatasetGroup`: it is answered for every resource that the request names,
//! and is absent where none of them belongs to a group. Passing a role to a job is an action of its
//! own, `iam:PassRole`, because the job gets the role's rights.

use super::Context;
use crate::error::{Exception, ExceptionKind};
use crate::identity::Caller;
use crate::policy;
use crate::policy::key;
use kindred_catalog::Tx;
use kindred_catalog::records::{Filter, ImportJob, SegmentJob, Solution, SolutionVersion};
use serde_json::{Map, Value};
use std::collections::BTreeSet;

/// The service that roles are passed to.
const SERVICE: &str = "personalize.amazonaws.com";
/// Operations whose jobs reach objects.
const JOBS: [&str; 2] = ["CreateDatasetImportJob", "CreateBatchSegmentJob"];
const VERBS: [&str; 7] = [
    "Create", "Describe", "Delete", "Update", "List", "Stop", "Get",
];

/// The ARN that an operation is about; `*` for none in particular.
pub(crate) fn resource(context: &Context, operation: &str, body: &[u8]) -> String {
    resource_of(context, operation, &members(body))
}

/// Fails unless the caller may do it.
///
/// # Errors
/// AccessDenied, or what goes wrong in the catalog.
pub(crate) fn authorize(
    context: &Context,
    caller: &Caller,
    operation: &str,
    body: &[u8],
) -> Result<(), Exception> {
    if caller.is_operator() {
        return Ok(());
    }
    let members = members(body);
    let action = format!("personalize:{operation}");
    let resource = resource_of(context, operation, &members);
    let denied = |message: String| Exception {
        kind: ExceptionKind::AccessDenied,
        message,
    };
    let groups = groups(context, operation, &members)?;
    let mut contexts: Vec<policy::Context> = groups
        .into_iter()
        .map(|group| policy::Context::default().with(key::DATASET_GROUP, group))
        .collect();
    if contexts.is_empty() {
        contexts.push(policy::Context::default());
    }
    for about in contexts {
        caller
            .may(&action, &resource, about, None)
            .map_err(denied)?;
    }
    // A job without a role may act with the server's rights, which is all of them.
    let role = match text(&members, "roleArn") {
        None if JOBS.contains(&operation) => Some("*"),
        named => named,
    };
    if let Some(role) = role {
        let about = policy::Context::default().with(key::PASSED_TO, SERVICE);
        caller
            .may("iam:PassRole", role, about, None)
            .map_err(denied)?;
    }
    Ok(())
}

/// The members of a body; none of one that is not an object, which is refused later.
fn members(body: &[u8]) -> Map<String, Value> {
    match serde_json::from_slice(body) {
        Ok(Value::Object(members)) => members,
        _ => Map::new(),
    }
}

fn text<'m>(members: &'m Map<String, Value>, name: &str) -> Option<&'m str> {
    members.get(name).and_then(Value::as_str)
}

fn resource_of(context: &Context, operation: &str, members: &Map<String, Value>) -> String {
    let found = |name: &str| text(members, name).map(str::to_owned);
    let account = &context.account;
    let made = match operation {
        "CreateDataset" => {
            found("datasetGroupArn")
                .zip(found("datasetType"))
                .map(|(group, kind)| {
                    let group = group.rsplit('/').next().unwrap_or_default();
                    account.dataset(group, &kind.to_uppercase())
                })
        }
        "CreateSolutionVersion" => found("solutionArn"),
        "ListTagsForResource" => found("resourceArn"),
        _ if operation.starts_with("List") => None,
        _ => match operation.strip_prefix("Create") {
            Some(kind) => found("name").or_else(|| found("jobName")).map(|name| {
                format!(
                    "arn:{}:personalize:{}:{}:{}/{name}",
                    account.partition,
                    account.region,
                    account.account,
                    kebab(kind)
                )
            }),
            None => VERBS
                .iter()
                .find_map(|verb| operation.strip_prefix(verb))
                .and_then(|kind| found(&format!("{}Arn", camel(kind))))
                .or_else(|| found("solutionVersionArn"))
                .or_else(|| found("resourceArn")),
        },
    };
    made.unwrap_or_else(|| "*".to_owned())
}

/// The dataset groups that a request is about, by name.
fn groups(
    context: &Context,
    operation: &str,
    members: &Map<String, Value>,
) -> Result<BTreeSet<String>, Exception> {
    let mut groups = BTreeSet::new();
    if operation == "CreateDatasetGroup" {
        groups.extend(text(members, "name").map(str::to_owned));
    }
    let arns: Vec<&str> = members
        .iter()
        .filter(|(name, _)| name.ends_with("Arn"))
        .filter_map(|(_, value)| value.as_str())
        .collect();
    context.catalog.read(|tx| {
        for arn in arns {
            groups.extend(group_of(tx, arn)?);
        }
        Ok::<_, kindred_catalog::Error>(())
    })?;
    Ok(groups)
}

/// The name of the group that a resource belongs to; `None` for what belongs to none, and for what
/// does not exist.
fn group_of(tx: &Tx<'_>, arn: &str) -> Result<Option<String>, kindred_catalog::Error> {
    let mut parts = arn.splitn(6, ':').skip(2);
    if parts.next() != Some("personalize") {
        return Ok(None);
    }
    let resource = parts.nth(2).unwrap_or_default();
    let (kind, rest) = resource.split_once('/').unwrap_or((resource, ""));
    let name = |arn: &str| arn.rsplit('/').next().unwrap_or_default().to_owned();
    Ok(match kind {
        "dataset-group" => Some(rest.to_owned()),
        "dataset" => rest.split_once('/').map(|(group, _)| group.to_owned()),
        "dataset-import-job" => tx
            .get::<ImportJob>(arn)?
            .and_then(|job| Some(job.dataset_arn.split_once(":dataset/")?.1.to_owned()))
            .and_then(|rest| Some(rest.split_once('/')?.0.to_owned())),
        "solution" if rest.contains('/') => tx
            .get::<SolutionVersion>(arn)?
            .map(|version| name(&version.group_arn)),
        "solution" => tx
            .get::<Solution>(arn)?
            .map(|solution| name(&solution.group_arn)),
        "batch-segment-job" => tx.get::<SegmentJob>(arn)?.map(|job| name(&job.group_arn)),
        "filter" => tx.get::<Filter>(arn)?.map(|filter| name(&filter.group_arn)),
        _ => None,
    })
}

/// `DatasetGroup` as `dataset-group`.
fn kebab(name: &str) -> String {
    let mut text = String::new();
    for letter in name.chars() {
        if letter.is_ascii_uppercase() && !text.is_empty() {
            text.push('-');
        }
        text.push(letter.to_ascii_lowercase());
    }
    text
}

/// `DatasetGroup` as `datasetGroup`.
fn camel(name: &str) -> String {
    let mut text = name.to_owned();
    if let Some(first) = text.get_mut(..1) {
        first.make_ascii_lowercase();
    }
    text
}
