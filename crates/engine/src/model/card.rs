//! The model card: what a model was trained from, how, and how good it was on held-back data.
//!
//! Nothing in it depends on the time of day, the machine's speed or the number of threads, so the
//! card of a repeated training is the same to the byte.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::attributes::head::AttributeHead;
use crate::train::Choices;
use crate::train::intensity::Intensity;

/// Name of the recipe in cards.
pub const RECIPE_ITEM_AFFINITY: &str = "aws-item-affinity";
/// Name of the other recipe in cards.
pub const RECIPE_ITEM_ATTRIBUTE_AFFINITY: &str = "aws-item-attribute-affinity";

/// What is known about a model.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Card {
    /// Version of the artifact's form.
    pub format: u32,
    /// Which recipe.
    pub recipe: String,
    /// Which towers.
    pub towers: String,
    /// Length of the vectors.
    pub dimension: usize,
    /// The seed that was used.
    pub seed: u64,
    /// Number of users.
    pub users: usize,
    /// Number of items.
    pub items: usize,
    /// Number of interactions trained on.
    pub interactions: usize,
    /// Facts about the data, as the caller knows them.
    pub snapshot: serde_json::Value,
    /// Fixed settings of the training by name.
    pub settings: BTreeMap<String, f64>,
    /// What validation chose.
    pub choices: Option<Choices>,
    /// The fitted intensity.
    pub intensity: Option<Intensity>,
    /// How attribute queries are scored; absent in models that are asked for items.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attribute_head: Option<AttributeHead>,
    /// Metrics on held-back data, beside the baselines.
    pub metrics: Option<Metrics>,
    /// What the data could not support, in sentences.
    pub notes: Vec<String>,
    /// Instruction set of the training; bytes are reproducible on the same one.
    pub instruction_set: String,
    /// SHA-256 of the other files by name.
    pub checksums: BTreeMap<String, String>,
}

/// The metrics of GetSolutionMetrics (`docs/MODEL.md`, "Metrics"), unrounded.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Metrics {
    /// Share of the users that occur in any predicted list.
    pub coverage: f64,
    /// Mean number of predicted users that are actual ones.
    pub hits_at_1_percent: f64,
    /// Mean share of the actual users that were predicted.
    pub recall_at_1_percent: f64,
    /// Number of queries measured.
    pub queries: usize,
    /// Number of queries there were.
    pub queries_found: usize,
    /// Length of the predicted lists.
    pub k: usize,
    /// The same figures for simple rankings on the same queries.
    pub baselines: Vec<Baseline>,
}

/// The figures of a simple ranking.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Baseline {
    /// Which ranking.
    pub name: String,
    /// As in [`Metrics`].
    pub coverage: f64,
    /// As in [`Metrics`].
    pub hits_at_1_percent: f64,
    /// As in [`Metrics`].
    pub recall_at_1_percent: f64,
}

impl Metrics {
    /// The three keys as the service returns them, rounded to four decimals.
    pub fn rounded(&self) -> [(&'static str, f64); 3] {
        let round = |value: f64| (value * 1e4).round() / 1e4;
        [
            ("coverage", round(self.coverage)),
            ("hits_at_1_percent", round(self.hits_at_1_percent)),
            ("recall_at_1_percent", round(self.recall_at_1_percent)),
        ]
    }
}
