//! The metrics of GetSolutionMetrics (`docs/MODEL.md`, "Metrics"): the newest fifth of every user.

use rand::seq::index;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

use super::Ranks;
use super::baselines::{drawn, ranked};
use super::queries::{Queries, users_of_any};
use super::tally::Tally;
use crate::model::Metrics;
use crate::score::Scorer;
use crate::train::events::{Prefix, Sparse};

/// More queries than this are sampled, and more than the multiply-adds of a model allow, but never fewer
/// than the least number.
const QUERIES_MAX: usize = 20_000;
const QUERIES_MIN: usize = 2_000;
/// Users times multiply-adds for each of them and each query, altogether.
const QUERY_BUDGET: usize = 1 << 38;

/// Measures an item model trained on `training` with the rest of `whole`: every item with a training
/// event is a query. Runs in the current thread pool.
pub(crate) fn measure(
    scorer: &Scorer,
    training: &Prefix<'_>,
    whole: &Prefix<'_>,
    seed: u64,
) -> Metrics {
    let trained = trained_items(training);
    let items = (0..training.items() as u32).filter(|&item| trained[item as usize]);
    measure_queries(scorer, &Queries::of_items(items), training, whole, seed)
}

/// Measures any ranking, trained on `training`, with the rest of `whole` on those of `candidates`
/// that have actual users. Runs in the current thread pool.
pub(crate) fn measure_queries(
    ranks: &dyn Ranks,
    candidates: &Queries,
    training: &Prefix<'_>,
    whole: &Prefix<'_>,
    seed: u64,
) -> Metrics {
    let users = training.users();
    let known = training.known_users();
    let population = known.len();
    let k = (population / 100).max(1);
    let actual = users_beyond(training, whole);
    let found: Vec<u32> = (0..candidates.len() as u32)
        .filter(|&query| {
            let mut items = candidates.get(query as usize).iter();
            items.any(|&item| !actual.range(item as usize).is_empty())
        })
        .collect();
    let mut random = ChaCha8Rng::seed_from_u64(seed ^ 0x6d65_7472_6963_7321);
    let each = population.saturating_mul(ranks.query_cost()).max(1);
    let most = (QUERY_BUDGET / each).clamp(QUERIES_MIN, QUERIES_MAX);
    let queries = sample(&found, most, &mut random);

    let [mut model, mut by_chance, mut active] = [0; 3].map(|_| Tally::new(users, k));
    let most_active = ranked(training, k, |events, _| events.len() as i64);
    for block in queries.chunks(ranks.block_len(k)) {
        let block: Vec<&[u32]> = block
            .iter()
            .map(|&query| candidates.get(query as usize))
            .collect();
        for (items, ranking) in block.iter().zip(ranks.top(&block, k)) {
            let actual = users_of_any(&actual, items);
            model.add(&ranking.users, &actual);
            active.add(&most_active, &actual);
            by_chance.add(&drawn(&mut random, &known, k), &actual);
        }
    }
    Metrics {
        coverage: model.coverage(population),
        hits_at_1_percent: model.hits(),
        recall_at_1_percent: model.recall(),
        queries: queries.len(),
        queries_found: found.len(),
        k,
        baselines: vec![
            by_chance.into_baseline("random", population),
            active.into_baseline("most_active", population),
        ],
    }
}

/// For each item the users with an event in `whole` beyond `training`, ascending. Events of weight 0
/// are context and do not count.
pub(crate) fn users_beyond(training: &Prefix<'_>, whole: &Prefix<'_>) -> Sparse {
    let rows: Vec<Vec<u32>> = (0..whole.users())
        .into_par_iter()
        .map(|user| {
            let events = training.rest_of(whole, user);
            let mut items: Vec<u32> = events
                .filter(|&event| whole.data.weight(event) > 0.0)
                .map(|event| whole.data.event_items[event])
                .collect();
            items.sort_unstable();
            items.dedup();
            items
        })
        .collect();
    let mut items_of = Sparse {
        starts: vec![0],
        indices: Vec::new(),
    };
    for items in rows {
        items_of.indices.extend(items);
        items_of.starts.push(items_of.indices.len());
    }
    items_of.transposed(whole.items())
}

fn trained_items(training: &Prefix<'_>) -> Vec<bool> {
    let mut trained = vec![false; training.items()];
    for user in 0..training.users() {
        for event in training.events_of(user) {
            trained[training.data.event_items[event] as usize] = true;
        }
    }
    trained
}

fn sample(found: &[u32], most: usize, random: &mut impl Rng) -> Vec<u32> {
    if found.len() <= most {
        return found.to_vec();
    }
    tracing::info!(
        queries = found.len(),
        sampled = most,
        "queries are sampled for the metrics"
    );
    let mut chosen: Vec<u32> = index::sample(random, found.len(), most)
        .into_iter()
        .map(|place| found[place])
        .collect();
    chosen.sort_unstable();
    chosen
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::score::Ranking;
    use crate::train::fixtures::interactions;

    /// Always the same users, first to last.
    struct Always(Vec<u32>);

    impl Ranks for Always {
        fn block_len(&self, _: usize) -> usize {
            1
        }

        fn top(&self, queries: &[&[u32]], k: usize) -> Vec<Ranking> {
            let users: Vec<u32> = self.0.iter().copied().take(k).collect();
            let scores = vec![0.0; users.len()];
            vec![Ranking { users, scores }; queries.len()]
        }

        fn log_constant(&self, _: &[u32]) -> f64 {
            0.0
        }

        fn query_cost(&self) -> usize {
            1
        }

        fn horizon_seconds(&self) -> Option<i64> {
            None
        }
    }

    #[test]
    fn the_newest_fifth_of_three_users() {
        let rows = [
            ("a", "x", 1),
            ("a", "x", 2),
            ("a", "x", 3),
            ("a", "x", 4),
            ("a", "y", 5),
            ("b", "y", 1),
            ("b", "y", 2),
            ("b", "y", 3),
            ("b", "y", 4),
            ("b", "y", 5),
            ("b", "y", 6),
            ("b", "y", 7),
            ("b", "y", 8),
            ("b", "x", 9),
            ("b", "z", 10),
            ("c", "y", 1),
        ];
        let data = interactions(&rows);
        let whole = Prefix::whole(&data);
        let training = whole.oldest_four_fifths();
        let measured = |queries: &Queries, ranking: Vec<u32>| {
            measure_queries(&Always(ranking), queries, &training, &whole, 3)
        };
        // K = 1. Held back: a's y, b's x and z, of which only x and y are trained.
        let items = Queries::of_items([0, 1]);
        let found = measured(&items, vec![0, 1, 2]);
        assert_eq!((found.k, found.queries, found.queries_found), (1, 2, 2));
        assert_eq!(found.hits_at_1_percent, 0.5);
        assert_eq!(found.recall_at_1_percent, 0.5);
        assert_eq!(found.coverage, 1.0 / 3.0);
        // b has the most events: right for x, wrong for y.
        assert_eq!(found.baselines[1].name, "most_active");
        assert_eq!(found.baselines[1].hits_at_1_percent, 0.5);
        assert_eq!(trained_items(&training), [true, true, false]);

        // Any of x and y: a and b, of whom one place can find one, which counts as all of it.
        let mut sets = Queries::default();
        sets.push(&[0, 1]);
        sets.push(&[2]);
        let found = measured(&sets, vec![1]);
        assert_eq!(found.queries, 2);
        assert_eq!(found.recall_at_1_percent, 1.0);
        let found = measured(&sets, vec![2]);
        assert_eq!(found.recall_at_1_percent, 0.0);
        assert_eq!(
            measured(&Queries::default(), vec![0])
                .rounded()
                .map(|m| m.1),
            [0.0; 3]
        );
    }
}
