//! Operations of the service that this server knows by name only.
//!
//! Lists of resource kinds that cannot exist here are empty, so that clean-up and inventory
//! scripts work; describing or deleting one finds nothing; everything else says plainly that it
//! is not supported. One line per operation.

use crate::error::Exception;
use serde_json::{Value, json};

/// How an operation is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    /// An empty list under this member.
    EmptyList(&'static str),
    /// Nothing has the ARN given in this member.
    NotFound(&'static str),
    /// Not supported.
    Refused,
}

use Answer::{EmptyList, NotFound, Refused};

const TABLE: &[(&str, Answer)] = &[
    ("CreateBatchInferenceJob", Refused),
    ("CreateCampaign", Refused),
    ("CreateDataDeletionJob", Refused),
    ("CreateDatasetExportJob", Refused),
    ("CreateEventTracker", Refused),
    ("CreateMetricAttribution", Refused),
    ("CreateRecommender", Refused),
    ("DeleteCampaign", NotFound("campaignArn")),
    ("DeleteEventTracker", NotFound("eventTrackerArn")),
    ("DeleteMetricAttribution", NotFound("metricAttributionArn")),
    ("DeleteRecommender", NotFound("recommenderArn")),
    (
        "DescribeBatchInferenceJob",
        NotFound("batchInferenceJobArn"),
    ),
    ("DescribeCampaign", NotFound("campaignArn")),
    ("DescribeDataDeletionJob", NotFound("dataDeletionJobArn")),
    ("DescribeDatasetExportJob", NotFound("datasetExportJobArn")),
    ("DescribeEventTracker", NotFound("eventTrackerArn")),
    (
        "DescribeMetricAttribution",
        NotFound("metricAttributionArn"),
    ),
    ("DescribeRecommender", NotFound("recommenderArn")),
    ("ListBatchInferenceJobs", EmptyList("batchInferenceJobs")),
    ("ListCampaigns", EmptyList("campaigns")),
    ("ListDataDeletionJobs", EmptyList("dataDeletionJobs")),
    ("ListDatasetExportJobs", EmptyList("datasetExportJobs")),
    ("ListEventTrackers", EmptyList("eventTrackers")),
    ("ListMetricAttributionMetrics", Refused),
    ("ListMetricAttributions", EmptyList("metricAttributions")),
    ("ListRecommenders", EmptyList("recommenders")),
    ("StartRecommender", Refused),
    ("StopRecommender", Refused),
    ("UpdateCampaign", Refused),
    ("UpdateMetricAttribution", Refused),
    ("UpdateRecommender", Refused),
];

/// Whether the table has the operation.
pub(crate) fn is_known(operation: &str) -> bool {
    TABLE.iter().any(|(name, _)| *name == operation)
}

/// Answers an operation of the table; `None` when the service has no such operation.
pub(crate) fn answer(operation: &str, input: &Value) -> Option<Result<Value, Exception>> {
    let (_, answer) = TABLE.iter().find(|(name, _)| *name == operation)?;
    Some(match answer {
        EmptyList(member) => match input.get("nextToken") {
            None | Some(Value::Null) => Ok(json!({ *member: [] })),
            Some(_) => Err(Exception::invalid_next_token(format!(
                "nextToken was not issued by {operation}; start again without it."
            ))),
        },
        NotFound(member) => Err(match input.get(*member) {
            Some(Value::String(arn)) => Exception::not_found_arn(arn),
            _ => Exception::invalid_input(format!(
                "1 validation error detected: Value null at '{member}' failed to satisfy constraint: Member must not be null"
            )),
        }),
        Refused => Err(Exception::invalid_input(format!(
            "Operation {operation} is not supported by this server."
        ))),
    })
}
