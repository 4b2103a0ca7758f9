//! Do predicted probabilities come true?
//!
//! Takes (user, query) pairs of the lists with the predicted probability and whether the user came,
//! and compares in ten bins of equal size. Memory is bounded: of more than [`PAIRS_MAX`] pairs every
//! j-th is taken.

use serde::{Deserialize, Serialize};

/// Most pairs that are looked at.
const PAIRS_MAX: usize = 1 << 22;
/// Bins, by ascending probability.
const BINS: usize = 10;

/// Predicted against happened.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Calibration {
    /// Ten bins of equal size (to one pair) by ascending probability; fewer for fewer pairs.
    pub bins: Vec<Bin>,
    /// Sum of the probabilities: so many pairs were expected to happen.
    pub predicted_total: f64,
    /// Pairs that happened.
    pub happened_total: u64,
    /// The horizon of the evaluation divided by the one of the model: what expected numbers of events
    /// were multiplied by.
    pub rate_scale: f64,
}

/// One of the bins.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Bin {
    /// Mean predicted probability.
    pub predicted: f64,
    /// Share of the pairs that happened.
    pub happened: f64,
    /// Pairs in it.
    pub pairs: u64,
}

/// Collects pairs.
pub(crate) struct Pairs {
    /// Every so many-th place of a list is taken.
    stride: usize,
    rate_scale: f64,
    pairs: Vec<(f64, bool)>,
}

impl Pairs {
    /// For about `queries` lists of `places` users.
    pub(crate) fn new(queries: usize, places: usize, rate_scale: f64) -> Pairs {
        Pairs {
            stride: queries.saturating_mul(places).div_ceil(PAIRS_MAX).max(1),
            rate_scale,
            pairs: Vec::new(),
        }
    }

    /// Adds the list of a query: scores beside users, those who came (ascending), and what makes a
    /// score the log of the expected number of events.
    pub(crate) fn add(
        &mut self,
        query: usize,
        list: &[(u32, f32)],
        came: &[u32],
        log_constant: f64,
    ) {
        for &(user, score) in list.iter().skip(query % self.stride).step_by(self.stride) {
            let expected = libm::exp(f64::from(score) + log_constant) * self.rate_scale;
            let probability = -libm::expm1(-expected);
            self.pairs
                .push((probability, came.binary_search(&user).is_ok()));
        }
    }

    /// The bins. Equal probabilities stay in the order of queries and places.
    pub(crate) fn finish(mut self) -> Calibration {
        self.pairs.sort_by(|a, b| a.0.total_cmp(&b.0));
        let count = self.pairs.len();
        let sum = |pairs: &[(f64, bool)]| pairs.iter().map(|pair| pair.0).sum::<f64>();
        let happened = |pairs: &[(f64, bool)]| pairs.iter().filter(|pair| pair.1).count();
        let bins = (0..BINS)
            .map(|bin| &self.pairs[bin * count / BINS..(bin + 1) * count / BINS])
            .filter(|pairs| !pairs.is_empty())
            .map(|pairs| Bin {
                predicted: sum(pairs) / pairs.len() as f64,
                happened: happened(pairs) as f64 / pairs.len() as f64,
                pairs: pairs.len() as u64,
            });
        Calibration {
            bins: bins.collect(),
            predicted_total: sum(&self.pairs),
            happened_total: happened(&self.pairs) as u64,
            rate_scale: self.rate_scale,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bins_of_twenty_pairs() {
        let mut pairs = Pairs::new(2, 10, 0.5);
        // Expected events 2·odds, halved by the scale: p = 1 − e^−odds.
        let list: Vec<(u32, f32)> = (0..10).map(|user| (user, (2.0f32).ln())).collect();
        pairs.add(0, &list, &[3, 9], (0.25f64).ln());
        pairs.add(1, &list, &[0, 1, 2, 3, 4], (1.0f64).ln());
        let found = pairs.finish();
        assert_eq!(found.bins.len(), 10);
        let low = 1.0 - (-0.25f64).exp();
        let high = 1.0 - (-1.0f64).exp();
        for (bin, (predicted, happened)) in found.bins.iter().zip([
            (low, 0.0),
            (low, 0.5),
            (low, 0.0),
            (low, 0.0),
            (low, 0.5),
            (high, 1.0),
            (high, 1.0),
            (high, 0.5),
            (high, 0.0),
            (high, 0.0),
        ]) {
            // A score is an f32.
            assert!((bin.predicted - predicted).abs() < 1e-7, "{bin:?}");
            assert_eq!((bin.happened, bin.pairs), (happened, 2));
        }
        assert!((found.predicted_total - 10.0 * (low + high)).abs() < 1e-6);
        assert_eq!((found.happened_total, found.rate_scale), (7, 0.5));
    }

    #[test]
    fn too_many_pairs_are_thinned_evenly_and_none_are_no_bins() {
        let mut pairs = Pairs::new(3, PAIRS_MAX, 1.0);
        assert_eq!(pairs.stride, 3);
        let list: Vec<(u32, f32)> = (0..7).map(|user| (user, 0.0)).collect();
        for query in 0..3 {
            pairs.add(query, &list, &[2], 0.0);
        }
        // Places 0 3 6, 1 4, 2 5.
        assert_eq!(pairs.pairs.len(), 7);
        let found = pairs.finish();
        assert_eq!(found.happened_total, 1);
        assert_eq!(found.bins.iter().map(|bin| bin.pairs).sum::<u64>(), 7);
        assert_eq!(Pairs::new(0, 0, 1.0).finish().bins, []);
    }
}
