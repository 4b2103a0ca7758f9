//! What is stored about each kind of resource.
//!
//! One struct per kind; the wire's shapes are made from them in `kindred_server::ops`. Status
//! texts are the service's own (`ACTIVE`, `CREATE PENDING`, ...), see [`status`].

use kindred_types::interacted::InteractedRule;
use kindred_types::time::Timestamp;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::collections::BTreeMap;

/// Status texts of the service.
pub mod status {
    /// Ready, or finished and complete.
    pub const ACTIVE: &str = "ACTIVE";
    /// Accepted, waiting for a worker.
    pub const CREATE_PENDING: &str = "CREATE PENDING";
    /// A worker is at it.
    pub const CREATE_IN_PROGRESS: &str = "CREATE IN_PROGRESS";
    /// Ended without success; `failure_reason` says why.
    pub const CREATE_FAILED: &str = "CREATE FAILED";
    /// A stop was asked for and is under way.
    pub const CREATE_STOPPING: &str = "CREATE STOPPING";
    /// Stopped by request.
    pub const CREATE_STOPPED: &str = "CREATE STOPPED";

    /// Whether a job or version with this status still has work before it.
    pub fn is_unfinished(status: &str) -> bool {
        matches!(
            status,
            CREATE_PENDING | CREATE_IN_PROGRESS | CREATE_STOPPING
        )
    }
}

/// A kind of resource that the catalog stores.
pub trait Record: Serialize + DeserializeOwned {
    /// Name of the kind in the database; never changed once released.
    const KIND: &'static str;

    /// Identity.
    fn arn(&self) -> &str;

    /// ARN of the resource it is listed under: a dataset's group, a version's solution.
    fn parent(&self) -> Option<&str>;

    /// Sort key of listings.
    fn created(&self) -> Timestamp;
}

macro_rules! record {
    ($type:ident, $kind:literal, parent: $parent:expr) => {
        impl Record for $type {
            const KIND: &'static str = $kind;

            fn arn(&self) -> &str {
                &self.arn
            }

            fn parent(&self) -> Option<&str> {
                let parent: fn(&Self) -> Option<&str> = $parent;
                parent(self)
            }

            fn created(&self) -> Timestamp {
                self.created
            }
        }
    };
}

/// A schema. Immutable, without status.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Schema {
    /// Its ARN.
    pub arn: String,
    /// Its name.
    pub name: String,
    /// The Avro text, byte for byte as given.
    pub schema: String,
    /// `ECOMMERCE` or `VIDEO_ON_DEMAND`, when given.
    pub domain: Option<String>,
    /// When it was created.
    pub created: Timestamp,
    /// When it last changed.
    pub updated: Timestamp,
}
record!(Schema, "schema", parent: |_| None);

/// A dataset group.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DatasetGroup {
    /// Its ARN.
    pub arn: String,
    /// Its name.
    pub name: String,
    /// Its status.
    pub status: String,
    /// Why it failed, if it did.
    pub failure_reason: Option<String>,
    /// Role for the customer key, if any.
    pub role_arn: Option<String>,
    /// Customer key, if any.
    pub kms_key_arn: Option<String>,
    /// Domain, when given.
    pub domain: Option<String>,
    /// When it was created.
    pub created: Timestamp,
    /// When it last changed.
    pub updated: Timestamp,
}
record!(DatasetGroup, "dataset-group", parent: |_| None);

/// A committed import of a dataset: one generation of its bulk layer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Generation {
    /// Name of the directory that holds its files.
    pub id: String,
    /// `FULL` or `INCREMENTAL`.
    pub mode: String,
    /// Number of rows.
    pub rows: u64,
    /// The import job that made it.
    pub job_arn: String,
    /// The schema its columns follow.
    pub schema_arn: String,
    /// When it was committed.
    pub committed: Timestamp,
}

/// A schema change of a dataset.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DatasetUpdate {
    /// The new schema.
    pub schema_arn: String,
    /// Its status.
    pub status: String,
    /// Why it failed, if it did.
    pub failure_reason: Option<String>,
    /// When it was asked for.
    pub created: Timestamp,
    /// When it last changed.
    pub updated: Timestamp,
}

/// A dataset of a group.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Dataset {
    /// Its ARN.
    pub arn: String,
    /// Its name, which is not part of the ARN.
    pub name: String,
    /// The group it belongs to.
    pub group_arn: String,
    /// `INTERACTIONS`, `ITEMS` or `USERS`.
    pub dataset_type: String,
    /// The schema in force.
    pub schema_arn: String,
    /// Its status.
    pub status: String,
    /// The latest schema change.
    pub latest_update: Option<DatasetUpdate>,
    /// The bulk layer: at most one FULL generation, then INCREMENTAL ones in commit order.
    pub generations: Vec<Generation>,
    /// When it was created.
    pub created: Timestamp,
    /// When it last changed.
    pub updated: Timestamp,
}
record!(Dataset, "dataset", parent: |r| Some(&r.group_arn));

/// A dataset import job.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ImportJob {
    /// Its ARN.
    pub arn: String,
    /// Its name.
    pub job_name: String,
    /// What it imports into.
    pub dataset_arn: String,
    /// The `s3://` location as given.
    pub data_location: String,
    /// The role as given.
    pub role_arn: Option<String>,
    /// `FULL` or `INCREMENTAL`.
    pub import_mode: String,
    /// Echoed when given.
    pub publish_attribution_metrics_to_s3: Option<bool>,
    /// Its status.
    pub status: String,
    /// Why it failed, if it did.
    pub failure_reason: Option<String>,
    /// What it did: rows, files, seconds.
    pub statistics: Option<serde_json::Value>,
    /// When it was created.
    pub created: Timestamp,
    /// When it last changed.
    pub updated: Timestamp,
}
record!(ImportJob, "dataset-import-job", parent: |r| Some(&r.dataset_arn));

/// A solution: a recipe with its settings.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Solution {
    /// Its ARN.
    pub arn: String,
    /// Its name.
    pub name: String,
    /// The group it trains on.
    pub group_arn: String,
    /// The recipe.
    pub recipe_arn: String,
    /// Echoed; always false for these recipes.
    pub perform_hpo: bool,
    /// Echoed; always false for these recipes.
    pub perform_auto_ml: bool,
    /// Whether new versions are trained by schedule.
    pub perform_auto_training: bool,
    /// Echoed when given.
    pub perform_incremental_update: Option<bool>,
    /// Train on this event type only.
    pub event_type: Option<String>,
    /// The `SolutionConfig` member as given.
    pub config: Option<serde_json::Value>,
    /// The `SolutionUpdateSummary` of the latest update.
    pub latest_update: Option<serde_json::Value>,
    /// Its status.
    pub status: String,
    /// When it was created.
    pub created: Timestamp,
    /// When it last changed.
    pub updated: Timestamp,
}
record!(Solution, "solution", parent: |r| Some(&r.group_arn));

/// A trained (or failed, or stopped) version of a solution.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SolutionVersion {
    /// Its ARN.
    pub arn: String,
    /// `<solution>/<8 hex digits>`, or the given name.
    pub name: String,
    /// The solution it belongs to.
    pub solution_arn: String,
    /// The group it trains on.
    pub group_arn: String,
    /// The recipe.
    pub recipe_arn: String,
    /// Copied from the solution when the version was created.
    pub event_type: Option<String>,
    /// Copied from the solution when the version was created.
    pub config: Option<serde_json::Value>,
    /// `FULL`.
    pub training_mode: String,
    /// `MANUAL` or `AUTOMATIC`.
    pub training_type: String,
    /// Wall seconds times worker threads / 3600, once ACTIVE.
    pub training_hours: Option<f64>,
    /// Its status.
    pub status: String,
    /// Why it failed, if it did.
    pub failure_reason: Option<String>,
    /// Generations of the interactions dataset that were read, once training has started.
    pub snapshot: Option<Vec<Generation>>,
    /// Generations of the Items dataset that were read with them; none if the group has no Items.
    #[serde(default)]
    pub items_snapshot: Vec<Generation>,
    /// Name of the directory that holds the model, once ACTIVE.
    pub model: Option<String>,
    /// GetSolutionMetrics, once ACTIVE.
    pub metrics: BTreeMap<String, f64>,
    /// What training did: seconds per phase, sizes.
    pub statistics: Option<serde_json::Value>,
    /// When it was created.
    pub created: Timestamp,
    /// When it last changed.
    pub updated: Timestamp,
}
record!(SolutionVersion, "solution-version", parent: |r| Some(&r.solution_arn));

/// A filter of a group.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Filter {
    /// Its ARN.
    pub arn: String,
    /// Its name.
    pub name: String,
    /// The group whose datasets it is about.
    pub group_arn: String,
    /// The expression, byte for byte as given; sensitive.
    pub expression: String,
    /// Its status.
    pub status: String,
    /// Why it failed, if it did.
    pub failure_reason: Option<String>,
    /// When it was created.
    pub created: Timestamp,
    /// When it last changed.
    pub updated: Timestamp,
}
record!(Filter, "filter", parent: |r| Some(&r.group_arn));

/// What a segment job reads beside its model, as it was when the job started.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SegmentData {
    /// Of the Interactions dataset.
    pub interactions: Vec<Generation>,
    /// Of the Users dataset; none if the group has no Users.
    pub users: Vec<Generation>,
    /// The job's filter, if it has one.
    #[serde(default)]
    pub filter: Option<SegmentFilter>,
}

/// A filter with the schemas that it was read against: a later try must read it the same way, whatever
/// became of the datasets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SegmentFilter {
    /// The expression; sensitive.
    pub expression: String,
    /// The schema text of the Users dataset, if the group had one.
    pub users_schema: Option<String>,
    /// The schema text of the Interactions dataset, if the group had one.
    pub interactions_schema: Option<String>,
}

/// A batch segment job.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SegmentJob {
    /// Its ARN.
    pub arn: String,
    /// Its name.
    pub job_name: String,
    /// The version that ranks the users.
    pub solution_version_arn: String,
    /// The group of that version; the record stays until the group is deleted.
    pub group_arn: String,
    /// The filter as given.
    pub filter_arn: Option<String>,
    /// Users per line.
    pub num_results: i64,
    /// Whether the probability of each user is written, too.
    #[serde(default)]
    pub scores: bool,
    /// Whose interactions with what a line asks for leave them out, if any.
    #[serde(default)]
    pub exclude_interacted: Option<InteractedRule>,
    /// The data that decides about users, once the job has started; only where something asks for it.
    #[serde(default)]
    pub data: Option<SegmentData>,
    /// `jobInput.s3DataSource.path` as given.
    pub input_path: String,
    /// `jobInput.s3DataSource.kmsKeyArn` as given.
    pub input_kms_key_arn: Option<String>,
    /// `jobOutput.s3DataDestination.path` as given.
    pub output_path: String,
    /// `jobOutput.s3DataDestination.kmsKeyArn` as given.
    pub output_kms_key_arn: Option<String>,
    /// The role as given.
    pub role_arn: String,
    /// Its status.
    pub status: String,
    /// Why it failed, if it did.
    pub failure_reason: Option<String>,
    /// The statistics object of the contract, once finished.
    pub statistics: Option<serde_json::Value>,
    /// When it was created.
    pub created: Timestamp,
    /// When it last changed.
    pub updated: Timestamp,
}
record!(SegmentJob, "batch-segment-job", parent: |r| Some(&r.solution_version_arn));

#[cfg(test)]
mod tests {
    use super::*;

    /// Records that were stored before a member existed.
    fn without<R: Record>(record: &R, member: &str) -> R {
        let mut stored = serde_json::to_value(record).unwrap();
        assert!(stored.as_object_mut().unwrap().remove(member).is_some());
        serde_json::from_value(stored).unwrap()
    }

    #[test]
    fn records_of_earlier_versions_open() {
        let version: SolutionVersion = serde_json::from_value(serde_json::json!({
            "arn": "v", "name": "v", "solution_arn": "s", "group_arn": "g", "recipe_arn": "r",
            "training_mode": "FULL", "training_type": "MANUAL", "status": status::ACTIVE,
            "items_snapshot": [], "metrics": {}, "created": 0, "updated": 0,
        }))
        .unwrap();
        assert_eq!(without(&version, "items_snapshot"), version);
        let job: SegmentJob = serde_json::from_value(serde_json::json!({
            "arn": "j", "job_name": "j", "solution_version_arn": "v", "group_arn": "g",
            "num_results": 25, "scores": false, "exclude_interacted": null, "data": null, "input_path": "s3://b/i", "output_path": "s3://b/o/",
            "role_arn": "r", "status": status::ACTIVE, "created": 0, "updated": 0,
        }))
        .unwrap();
        for member in ["scores", "exclude_interacted", "data"] {
            assert_eq!(without(&job, member), job);
        }
    }
}
