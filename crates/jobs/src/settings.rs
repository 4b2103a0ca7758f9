//! The numbers jobs run by. Where they come from is decided by the server's configuration.

use kindred_engine::recipes::item_affinity::{BUDGET_FLOPS_DEFAULT, ModelChoice};

/// Settings of the job runner.
#[derive(Clone, Debug)]
pub struct JobSettings {
    /// Jobs that run at the same time.
    pub workers: usize,
    /// Threads of one job; 0 for all cores.
    pub threads: usize,
    /// Invalid rows an import may skip before it fails.
    pub import_max_invalid_rows: u64,
    /// Training.
    pub training: TrainingSettings,
    /// Batch segment jobs.
    pub segment: SegmentSettings,
    /// Quotas of the original service that only a job can check.
    pub quotas: JobQuotas,
}

impl JobSettings {
    /// Threads of one job, resolved against the machine.
    pub fn engine_threads(&self) -> usize {
        if self.threads > 0 {
            return self.threads;
        }
        std::thread::available_parallelism().map_or(1, usize::from)
    }
}

impl Default for JobSettings {
    fn default() -> Self {
        JobSettings {
            workers: 2,
            threads: 0,
            import_max_invalid_rows: 0,
            training: TrainingSettings::default(),
            segment: SegmentSettings::default(),
            quotas: JobQuotas::default(),
        }
    }
}

/// Settings of training.
#[derive(Clone, Debug)]
pub struct TrainingSettings {
    /// Fewest interactions after all filters.
    pub min_interactions: u64,
    /// Fewest users with two or more interactions.
    pub min_users: u64,
    /// Smallest share of users with two or more interactions, in percent.
    pub min_user_share_percent: f64,
    /// Whether the delivered model is fitted again on all data after the metrics were measured.
    pub final_fit: bool,
    /// Configured seed; the snapshot's checksum is mixed in.
    pub seed: u64,
    /// Which towers may serve.
    pub model: ModelChoice,
    /// Floating point operations that the towers of one fit may cost.
    pub budget_flops: f64,
}

impl Default for TrainingSettings {
    fn default() -> Self {
        TrainingSettings {
            min_interactions: 1000,
            min_users: 25,
            min_user_share_percent: 1.0,
            final_fit: true,
            seed: 0,
            model: ModelChoice::Auto,
            budget_flops: BUDGET_FLOPS_DEFAULT,
        }
    }
}

/// Settings of batch segment jobs.
#[derive(Clone, Debug)]
pub struct SegmentSettings {
    /// Most records in the input of one job; 0 for no limit.
    pub max_records: u64,
    /// Write `recommendedUsers` beside `usersList`, for readers written after the guide.
    pub documented_format: bool,
    /// Memory of a job beside the model.
    pub memory_bytes: usize,
    /// Most bytes of the rankings that are scored between two checkpoints.
    pub block_bytes: usize,
}

impl Default for SegmentSettings {
    fn default() -> Self {
        SegmentSettings {
            max_records: 50_000_000,
            documented_format: false,
            memory_bytes: 1 << 30,
            block_bytes: 64 << 20,
        }
    }
}

/// Quotas of the original service that only a job can check; 0 is no limit.
#[derive(Clone, Copy, Debug, Default)]
pub struct JobQuotas {
    /// Lines in one input file with the recipe aws-item-affinity.
    pub lines_item_affinity: u64,
    /// Lines in one input file with the recipe aws-item-attribute-affinity.
    pub lines_item_attribute_affinity: u64,
    /// Stored bytes of a FULL import.
    pub full_import_bytes: u64,
    /// Stored bytes of an INCREMENTAL import.
    pub incremental_import_bytes: u64,
    /// Fewest rows of an Interactions import.
    pub interactions_import_rows_min: u64,
}
