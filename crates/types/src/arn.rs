//! Amazon Resource Names: how the service's resources are called.
//!
//! ARNs are compared as exact strings everywhere; this file only builds them.

use serde::{Deserialize, Serialize};

/// The dataset type of interactions, as it stands in ARNs and answers.
pub const DATASET_INTERACTIONS: &str = "INTERACTIONS";
/// Dataset type of what is known about items.
pub const DATASET_ITEMS: &str = "ITEMS";

/// Where this server's resources live: partition, region and account of every ARN it makes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// `aws`, as a rule.
    pub partition: String,
    /// For example `us-east-1`.
    pub region: String,
    /// Twelve digits.
    pub account: String,
}

impl Default for Account {
    fn default() -> Self {
        Account {
            partition: "aws".into(),
            region: "us-east-1".into(),
            account: "000000000000".into(),
        }
    }
}

impl Account {
    fn personalize(&self, resource: &str) -> String {
        format!(
            "arn:{}:personalize:{}:{}:{resource}",
            self.partition, self.region, self.account
        )
    }

    /// `…:schema/<name>`.
    pub fn schema(&self, name: &str) -> String {
        self.personalize(&format!("schema/{name}"))
    }

    /// `…:dataset-group/<name>`.
    pub fn dataset_group(&self, name: &str) -> String {
        self.personalize(&format!("dataset-group/{name}"))
    }

    /// `…:dataset/<group>/<TYPE>`; the dataset's own name is not part of it.
    pub fn dataset(&self, group_name: &str, dataset_type: &str) -> String {
        self.personalize(&format!("dataset/{group_name}/{dataset_type}"))
    }

    /// `…:dataset-import-job/<name>`.
    pub fn dataset_import_job(&self, name: &str) -> String {
        self.personalize(&format!("dataset-import-job/{name}"))
    }

    /// `…:filter/<name>`.
    pub fn filter(&self, name: &str) -> String {
        self.personalize(&format!("filter/{name}"))
    }

    /// `…:solution/<name>`.
    pub fn solution(&self, name: &str) -> String {
        self.personalize(&format!("solution/{name}"))
    }

    /// `…:solution/<solution>/<version>`; the version is 8 hexadecimal digits or a given name.
    pub fn solution_version(&self, solution_name: &str, version: &str) -> String {
        self.personalize(&format!("solution/{solution_name}/{version}"))
    }

    /// `…:batch-segment-job/<name>`.
    pub fn batch_segment_job(&self, name: &str) -> String {
        self.personalize(&format!("batch-segment-job/{name}"))
    }

    /// `arn:aws:kms:<region>:<account>:key/<id>`.
    pub fn kms_key(&self, id: &str) -> String {
        format!(
            "arn:{}:kms:{}:{}:key/{id}",
            self.partition, self.region, self.account
        )
    }

    /// `arn:aws:iam::<account>:role/<name>`.
    pub fn iam_role(&self, name: &str) -> String {
        format!("arn:{}:iam::{}:role/{name}", self.partition, self.account)
    }
}
