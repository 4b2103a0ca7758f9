//! What a user of training may choose.

/// See [`TrainOptions::budget_flops`].
pub const BUDGET_FLOPS_DEFAULT: f64 = 4e12;

/// What a user of training may choose.
#[derive(Clone, Debug, PartialEq)]
pub struct TrainOptions {
    /// Length of the vectors, 32 to 256.
    pub dimension: usize,
    /// Seed of everything random: the configured seed combined with the snapshot's checksum.
    pub seed: u64,
    /// Worker threads; the result does not depend on it.
    pub threads: usize,
    /// Whether the delivered model is fitted again on all data after the metrics were measured.
    pub final_fit: bool,
    /// Which towers may serve.
    pub model: ModelChoice,
    /// Floating point operations that the towers of one fit may cost; decides about epochs, and about
    /// whether the look-back towers can be had at all. Never seconds, so that every machine decides alike.
    pub budget_flops: f64,
    /// Parts to leave out, to see what they earn.
    pub without: Without,
}

impl Default for TrainOptions {
    fn default() -> Self {
        TrainOptions {
            dimension: 149,
            seed: 0,
            threads: 1,
            final_fit: true,
            model: ModelChoice::Auto,
            budget_flops: BUDGET_FLOPS_DEFAULT,
            without: Without::default(),
        }
    }
}

/// Which towers may serve: the better by validation, or one of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ModelChoice {
    /// Whichever validation prefers, within the budget.
    #[default]
    Auto,
    /// The bag that is trained by looking back.
    Lookback,
    /// Implicit alternating least squares.
    Ials,
}

/// Parts of the model that an ablation leaves out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Without {
    /// λ = 1 for every user.
    pub intensity: bool,
    /// The bag is trained on the next events instead of on later ones.
    pub lookback: bool,
    /// κ = 1: seen items weigh in Z as they do in the score.
    pub kappa: bool,
    /// π = 0: no own history.
    pub own_history: bool,
}
