//! The control plane's operations: one table, one file per kind of resource.
//!
//! A handler gets a request whose shape was checked, does its work in one catalog transaction, and
//! gives a response or an exception. Adding an operation is its shapes in `kindred_types::shapes`,
//! a handler, and a line in [`TABLE`].

mod authorize;
mod batch_segment_job;
mod dataset;
mod dataset_group;
mod dataset_import_job;
mod filter;
mod job_report;
mod location;
mod lookup;
mod paging;
mod recipe;
mod schema;
mod solution;
mod solution_config;
mod solution_version;
mod tag;
mod unsupported;

pub(crate) use authorize::{authorize, resource};
pub(crate) use job_report::{job_of, job_report};

use crate::config::Settings;
use crate::error::Exception;
use kindred_catalog::Catalog;
use kindred_store::KeyService;
use kindred_types::arn::Account;
use kindred_types::check;
use kindred_types::parts::{Clock, Random};
use kindred_types::shapes::{self, OperationShape};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::sync::Arc;

/// What a handler works with.
#[derive(Clone)]
pub struct Context {
    /// Resources and jobs.
    pub catalog: Arc<Catalog>,
    /// Customer keys.
    pub customer_keys: Arc<dyn KeyService>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Ids.
    pub random: Arc<dyn Random>,
    /// The configuration.
    pub settings: Arc<Settings>,
    /// What ARNs are made with.
    pub account: Account,
    /// Tells the job runner that there is work.
    pub wake: Arc<dyn Fn() + Send + Sync>,
    /// Who calls.
    pub access_key: String,
    /// The request's id.
    pub request_id: String,
}

type Run = fn(&Context, Value) -> Result<Option<Value>, Exception>;

/// An operation that this server implements.
struct Operation {
    name: &'static str,
    run: Run,
}

/// A line of the table: the shape's name and its handler.
macro_rules! operation {
    ($name:ident, $($handler:tt)+) => {
        Operation {
            name: stringify!($name),
            run: |context, input| call(context, input, $($handler)+),
        }
    };
}

const TABLE: &[Operation] = &[
    operation!(CreateSchema, schema::create_schema),
    operation!(DescribeSchema, schema::describe_schema),
    operation!(ListSchemas, schema::list_schemas),
    operation!(DeleteSchema, schema::delete_schema),
    operation!(CreateDatasetGroup, dataset_group::create_dataset_group),
    operation!(DescribeDatasetGroup, dataset_group::describe_dataset_group),
    operation!(ListDatasetGroups, dataset_group::list_dataset_groups),
    operation!(DeleteDatasetGroup, dataset_group::delete_dataset_group),
    operation!(CreateDataset, dataset::create_dataset),
    operation!(UpdateDataset, dataset::update_dataset),
    operation!(DescribeDataset, dataset::describe_dataset),
    operation!(ListDatasets, dataset::list_datasets),
    operation!(DeleteDataset, dataset::delete_dataset),
    operation!(
        CreateDatasetImportJob,
        dataset_import_job::create_dataset_import_job
    ),
    operation!(
        DescribeDatasetImportJob,
        dataset_import_job::describe_dataset_import_job
    ),
    operation!(
        ListDatasetImportJobs,
        dataset_import_job::list_dataset_import_jobs
    ),
    operation!(CreateFilter, filter::create_filter),
    operation!(DescribeFilter, filter::describe_filter),
    operation!(ListFilters, filter::list_filters),
    operation!(DeleteFilter, filter::delete_filter),
    operation!(CreateSolution, solution::create_solution),
    operation!(UpdateSolution, solution::update_solution),
    operation!(DescribeSolution, solution::describe_solution),
    operation!(ListSolutions, solution::list_solutions),
    operation!(DeleteSolution, solution::delete_solution),
    operation!(
        CreateSolutionVersion,
        solution_version::create_solution_version
    ),
    operation!(
        DescribeSolutionVersion,
        solution_version::describe_solution_version
    ),
    operation!(
        ListSolutionVersions,
        solution_version::list_solution_versions
    ),
    operation!(
        StopSolutionVersionCreation,
        solution_version::stop_solution_version_creation
    ),
    operation!(GetSolutionMetrics, solution_version::get_solution_metrics),
    operation!(
        CreateBatchSegmentJob,
        batch_segment_job::create_batch_segment_job
    ),
    operation!(
        DescribeBatchSegmentJob,
        batch_segment_job::describe_batch_segment_job
    ),
    operation!(
        ListBatchSegmentJobs,
        batch_segment_job::list_batch_segment_jobs
    ),
    operation!(ListRecipes, recipe::list_recipes),
    operation!(DescribeRecipe, recipe::describe_recipe),
    operation!(DescribeAlgorithm, recipe::describe_algorithm),
    operation!(
        DescribeFeatureTransformation,
        recipe::describe_feature_transformation
    ),
    operation!(TagResource, tag::tag_resource),
    operation!(UntagResource, tag::untag_resource),
    operation!(ListTagsForResource, tag::list_tags_for_resource),
];

/// Answers the operation `name`: `None` for an empty body.
///
/// # Errors
/// UnknownOperation for a name that the service's model does not have, and whatever the operation
/// declares.
pub fn dispatch(context: &Context, name: &str, body: &[u8]) -> Result<Option<Value>, Exception> {
    let known = TABLE
        .iter()
        .find(|operation| operation.name == name)
        .zip(shapes::operation(name));
    let Some((operation, shape)) = known else {
        return answer_unsupported(name, body);
    };
    let input = check::decode(shape.input, body)?;
    let output = (operation.run)(context, input)?;
    Ok(output
        .zip(shape.output)
        .map(|(value, shape)| check::encode(shape, value)))
}

/// Whether the service's model knows the operation at all.
pub(crate) fn is_known(name: &str) -> bool {
    shapes::operation(name).is_some() || unsupported::is_known(name)
}

/// Whether `name` declares the error `error`, given without the suffix `Exception`.
pub(crate) fn declares(name: &str, error: &str) -> bool {
    shapes::operation(name).is_some_and(|shape: &OperationShape| shape.errors.contains(&error))
}

fn answer_unsupported(name: &str, body: &[u8]) -> Result<Option<Value>, Exception> {
    if !unsupported::is_known(name) {
        return Err(Exception::unknown_operation(""));
    }
    let input = match body {
        [] => Value::Object(serde_json::Map::new()),
        body => serde_json::from_slice(body).map_err(|error| {
            Exception::serialization(format!("Request body is not valid JSON: {error}"))
        })?,
    };
    match unsupported::answer(name, &input) {
        Some(answer) => answer.map(Some),
        None => Err(Exception::unknown_operation("")),
    }
}

/// Runs a typed handler on checked values.
fn call<I: DeserializeOwned, O: Serialize>(
    context: &Context,
    input: Value,
    handler: impl Fn(&Context, I) -> Result<O, Exception>,
) -> Result<Option<Value>, Exception> {
    let request = serde_json::from_value(input).map_err(Exception::internal)?;
    let response = handler(context, request)?;
    let value = serde_json::to_value(response).map_err(Exception::internal)?;
    Ok(Some(value).filter(|value| !value.is_null()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_declared_operation_has_a_handler_and_the_other_way_round() {
        let mut declared: Vec<_> = shapes::operations().map(|shape| shape.name).collect();
        let mut handled: Vec<_> = TABLE.iter().map(|operation| operation.name).collect();
        declared.sort_unstable();
        handled.sort_unstable();
        assert_eq!(declared, handled);
    }

    #[test]
    fn no_operation_is_both_implemented_and_unsupported() {
        for operation in TABLE {
            assert!(!unsupported::is_known(operation.name), "{}", operation.name);
        }
    }
}
