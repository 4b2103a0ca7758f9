//! Items that nobody had before the split: does the model know from their attributes who will come?

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use super::Ranks;
use super::baselines::drawn;
use super::cut::Cut;
use super::queries::{Queries, users_of_any};
use super::tally::{Tally, hits};
use super::time_split::{Figures, Named};
use crate::train::events::Pairs;

/// Fewer actual users say too little about an item.
const ACTUAL_MIN: usize = 5;
/// Samples of the items for the intervals.
const RESAMPLES: usize = 1000;
/// Of the sorted means, these two enclose 95 %.
const INTERVAL: [usize; 2] = [25, 974];
/// Seed of the samples: the same data give the same interval.
const SEED: u64 = 0x636f_6c64_6974_656d;

/// How well items without a past are served.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ColdItems {
    /// Items known by attributes alone, without an event before the split, with at least five actual
    /// users.
    pub queries: usize,
    /// The model.
    pub model: ColdModel,
    /// Random and most active users.
    pub baselines: Vec<Named>,
}

/// The model's figures over cold items.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ColdModel {
    /// The same figures as for other items.
    #[serde(flatten)]
    pub figures: Figures,
    /// 95 % of the bootstrap samples of the items have a mean recall between these.
    pub recall_interval: [f64; 2],
    /// The same for recall minus that of the most active users.
    pub gain_interval: [f64; 2],
}

/// Measures lists of `k` users; `active` are the most active ones. None if there is no such item.
pub(crate) fn measure(
    ranks: &dyn Ranks,
    cut: &Cut,
    pairs: &Pairs,
    active: &[u32],
    k: usize,
) -> Option<ColdItems> {
    let came = cut.came();
    let items = (0..came.rows() as u32).filter(|&item| {
        pairs.popularity(item as usize) == 0 && came.range(item as usize).len() >= ACTUAL_MIN
    });
    let queries = Queries::of_items(items);
    if queries.is_empty() {
        return None;
    }
    let users: Vec<u32> = (0..cut.training.interactions.users.len() as u32).collect();
    let mut random = ChaCha8Rng::seed_from_u64(SEED);
    let [mut model, mut by_chance, mut most_active] =
        [0; 3].map(|_| Tally::new(users.len(), usize::MAX));
    let active = &active[..k.min(active.len())];
    let mut recalls = Vec::with_capacity(queries.len());
    let asked: Vec<&[u32]> = queries.iter().collect();
    for block in asked.chunks(ranks.block_len(k)) {
        for (items, ranking) in block.iter().zip(ranks.top(block, k)) {
            let actual = users_of_any(came, items);
            model.add(&ranking.users, &actual);
            most_active.add(active, &actual);
            by_chance.add(&drawn(&mut random, &users, k), &actual);
            let recall = |list: &[u32]| hits(list, &actual) as f64 / actual.len() as f64;
            recalls.push((recall(&ranking.users), recall(active)));
        }
    }
    let [recall_interval, gain_interval] = intervals(&recalls, &mut random);
    let figures = |tally: Tally| Figures::of(&tally, &tally, users.len());
    Some(ColdItems {
        queries: queries.len(),
        model: ColdModel {
            figures: figures(model),
            recall_interval,
            gain_interval,
        },
        baselines: vec![
            figures(by_chance).named("random"),
            figures(most_active).named("most_active"),
        ],
    })
}

/// Bootstrap intervals of the mean recall and of its mean lead, over pairs of (recall, recall of the
/// baseline), one per item.
fn intervals(recalls: &[(f64, f64)], random: &mut ChaCha8Rng) -> [[f64; 2]; 2] {
    let count = recalls.len();
    let mut means: [Vec<f64>; 2] = Default::default();
    for _ in 0..RESAMPLES {
        let (mut recall, mut gain) = (0.0, 0.0);
        for _ in 0..count {
            let (model, baseline) = recalls[random.random_range(0..count)];
            recall += model;
            gain += model - baseline;
        }
        means[0].push(recall / count as f64);
        means[1].push(gain / count as f64);
    }
    means.map(|mut means| {
        means.sort_unstable_by(f64::total_cmp);
        INTERVAL.map(|place| means[place])
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_enclose_the_mean_and_shrink_with_the_number_of_items() {
        let of = |count: usize| {
            let recalls: Vec<(f64, f64)> = (0..count)
                .map(|item| (f64::from(u8::from(item % 2 == 0)), 0.25))
                .collect();
            intervals(&recalls, &mut ChaCha8Rng::seed_from_u64(1))
        };
        // A mean of n coins: 0.5 ± 1.96 · 0.5/√n.
        let [recall, gain] = of(400);
        assert!(
            (recall[0] - 0.451).abs() < 0.01 && (recall[1] - 0.549).abs() < 0.01,
            "{recall:?}"
        );
        assert!((gain[0] - (recall[0] - 0.25)).abs() < 1e-9, "{gain:?}");
        let [few, _] = of(20);
        assert!(few[0] < recall[0] && few[1] > recall[1]);
        assert_eq!(of(400), of(400));
        let one = intervals(&[(0.5, 0.1)], &mut ChaCha8Rng::seed_from_u64(1));
        assert_eq!(one[0], [0.5, 0.5]);
    }
}
