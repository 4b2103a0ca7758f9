//! The shapes of every operation, declared once.
//!
//! One declaration gives the Rust structs, the constraints that `crate::check` enforces, the
//! dispatch table's names and errors, and [`describe`], which a test compares with the service
//! model of an installed botocore, member by member. Facts of that model, in our own notation:
//! `member "wireName": Type required`.
//!
//! Fields hold what passed the checks; a member that is not required is an `Option`. Timestamps are
//! milliseconds inside and epoch seconds on the wire, see `crate::check::encode`.

// The members of the shapes are documented by the service; repeating that here would only drift.
#![allow(missing_docs)]

#[macro_use]
mod declare;

mod batch_segment_job;
mod common;
mod dataset;
mod dataset_group;
mod dataset_import_job;
mod filter;
mod recipe;
mod schema;
pub mod simple;
mod solution;
mod solution_version;
mod tag;

pub use batch_segment_job::*;
pub use common::*;
pub use dataset::*;
pub use dataset_group::*;
pub use dataset_import_job::*;
pub use filter::*;
pub use recipe::*;
pub use schema::*;
pub use solution::*;
pub use solution_version::*;
pub use tag::*;

use serde_json::{Value, json};

/// A type of the wire with its constraints.
#[derive(Debug)]
pub struct Shape {
    /// Its name in the service's model.
    pub name: &'static str,
    /// What it is.
    pub kind: Kind,
    /// Smallest length or value.
    pub min: Option<i64>,
    /// Largest length or value.
    pub max: Option<i64>,
    /// Regular expression over the whole value.
    pub pattern: Option<&'static str>,
    /// The only values allowed; empty for any.
    pub one_of: &'static [&'static str],
    /// Never shown in messages or logs.
    pub sensitive: bool,
}

/// What a shape is.
#[derive(Debug)]
pub enum Kind {
    /// Text.
    String,
    /// A whole number of 32 bits.
    Integer,
    /// A floating-point number.
    Double,
    /// True or false.
    Boolean,
    /// A point in time.
    Timestamp,
    /// A list of one shape.
    List(&'static Shape),
    /// A map from text to one shape.
    Map(&'static Shape, &'static Shape),
    /// Named members.
    Structure(&'static [Member]),
}

/// A member of a structure.
#[derive(Debug)]
pub struct Member {
    /// Its name on the wire.
    pub name: &'static str,
    /// Its shape.
    pub shape: &'static Shape,
    /// Whether it has to be there.
    pub required: bool,
}

/// An operation: names, shapes, declared errors.
#[derive(Debug)]
pub struct OperationShape {
    /// Its name.
    pub name: &'static str,
    /// The request.
    pub input: &'static Shape,
    /// The answer; `None` for an empty body.
    pub output: Option<&'static Shape>,
    /// Declared errors, without the suffix `Exception`.
    pub errors: &'static [&'static str],
}

/// A Rust type or marker that has a shape.
pub trait Described {
    /// How a value is held.
    type Rust;
    /// The shape.
    const SHAPE: &'static Shape;
}

const TABLES: [&[OperationShape]; 10] = [
    schema::OPERATIONS,
    dataset_group::OPERATIONS,
    dataset::OPERATIONS,
    dataset_import_job::OPERATIONS,
    filter::OPERATIONS,
    solution::OPERATIONS,
    solution_version::OPERATIONS,
    batch_segment_job::OPERATIONS,
    recipe::OPERATIONS,
    tag::OPERATIONS,
];

/// The other operations of the service's model: known by name, not implemented here.
pub const NOT_IMPLEMENTED: &[&str] = &[
    "CreateBatchInferenceJob",
    "CreateCampaign",
    "CreateDataDeletionJob",
    "CreateDatasetExportJob",
    "CreateEventTracker",
    "CreateMetricAttribution",
    "CreateRecommender",
    "DeleteCampaign",
    "DeleteEventTracker",
    "DeleteMetricAttribution",
    "DeleteRecommender",
    "DescribeBatchInferenceJob",
    "DescribeCampaign",
    "DescribeDataDeletionJob",
    "DescribeDatasetExportJob",
    "DescribeEventTracker",
    "DescribeMetricAttribution",
    "DescribeRecommender",
    "ListBatchInferenceJobs",
    "ListCampaigns",
    "ListDataDeletionJobs",
    "ListDatasetExportJobs",
    "ListEventTrackers",
    "ListMetricAttributionMetrics",
    "ListMetricAttributions",
    "ListRecommenders",
    "StartRecommender",
    "StopRecommender",
    "UpdateCampaign",
    "UpdateMetricAttribution",
    "UpdateRecommender",
];

/// Every declared operation.
pub fn operations() -> impl Iterator<Item = &'static OperationShape> {
    TABLES.into_iter().flatten()
}

/// The operation of this name.
pub fn operation(name: &str) -> Option<&'static OperationShape> {
    operations().find(|operation| operation.name == name)
}

/// All operations as JSON, for comparison with a service model: names, members, types,
/// constraints, errors.
pub fn describe() -> Value {
    let all = operations().map(|operation| {
        let mut errors: Vec<String> = operation
            .errors
            .iter()
            .map(|name| format!("{name}Exception"))
            .collect();
        errors.sort_unstable();
        // The model declares an error twice for one operation; that says nothing.
        errors.dedup();
        let facts = json!({
            "input": operation.input.describe(),
            "output": operation.output.map(Shape::describe),
            "errors": errors,
        });
        (operation.name.to_owned(), facts)
    });
    Value::Object(all.collect())
}

impl Shape {
    /// This shape with everything below it, as JSON.
    pub fn describe(&self) -> Value {
        let mut facts = serde_json::Map::new();
        facts.insert("name".into(), self.name.into());
        let kind = match self.kind {
            Kind::String => "string",
            Kind::Integer => "integer",
            Kind::Double => "double",
            Kind::Boolean => "boolean",
            Kind::Timestamp => "timestamp",
            Kind::List(element) => {
                facts.insert("element".into(), element.describe());
                "list"
            }
            Kind::Map(key, value) => {
                facts.insert("key".into(), key.describe());
                facts.insert("value".into(), value.describe());
                "map"
            }
            Kind::Structure(members) => {
                let all = members.iter().map(|member| {
                    let facts =
                        json!({"required": member.required, "shape": member.shape.describe()});
                    (member.name.to_owned(), facts)
                });
                facts.insert("members".into(), Value::Object(all.collect()));
                "structure"
            }
        };
        facts.insert("kind".into(), kind.into());
        facts.insert("min".into(), self.min.into());
        facts.insert("max".into(), self.max.into());
        facts.insert("pattern".into(), self.pattern.into());
        facts.insert("one_of".into(), self.one_of.into());
        facts.insert("sensitive".into(), self.sensitive.into());
        Value::Object(facts)
    }
}
