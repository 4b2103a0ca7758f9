//! The metrics of GetSolutionMetrics (`docs/MODEL.md`, "Metrics"): the newest fifth of every user.

use rand::seq::index;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::tally::Tally;
use crate::model::Metrics;
use crate::score::Scorer;
use crate::train::events::Prefix;

/// More queries than this are sampled.
const QUERIES_MAX: usize = 20_000;

/// Measures a model trained on `training` with the rest of `whole`. Runs in the current thread pool.
pub(crate) fn measure(
    scorer: &Scorer,
    training: &Prefix<'_>,
    whole: &Prefix<'_>,
    seed: u64,
) -> Metrics {
    let users = training.users();
    let known = training.known_users();
    let population = known.len();
    let k = (population / 100).max(1);
    let actual = actual_users(training, whole);
    let trained = trained_items(training);
    let found: Vec<u32> = (0..actual.len() as u32)
        .filter(|&item| trained[item as usize] && !actual[item as usize].is_empty())
        .collect();
    let mut random = ChaCha8Rng::seed_from_u64(seed ^ 0x6d65_7472_6963_7321);
    let queries = sample(&found, &mut random);

    let mut model = Tally::new("model", users, k);
    let mut by_chance = Tally::new("random", users, k);
    let mut active = Tally::new("most_active", users, k);
    let most_active = super::time_split::ranked(training, k, |events, _| events.len() as i64);
    for block in queries.chunks(scorer.block_len(k)) {
        for (&item, ranking) in block.iter().zip(scorer.top_users_here(block, k)) {
            let actual = &actual[item as usize];
            model.add(&ranking.users, actual);
            active.add(&most_active, actual);
            by_chance.add(&drawn(&mut random, &known, k), actual);
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
            by_chance.into_baseline(population),
            active.into_baseline(population),
        ],
    }
}

/// `k` of the users by chance.
pub(crate) fn drawn(random: &mut ChaCha8Rng, users: &[u32], k: usize) -> Vec<u32> {
    index::sample(random, users.len(), k.min(users.len()))
        .into_iter()
        .map(|place| users[place])
        .collect()
}

/// For each item the users with an event in `whole` beyond `training`, ascending.
fn actual_users(training: &Prefix<'_>, whole: &Prefix<'_>) -> Vec<Vec<u32>> {
    let mut actual = vec![Vec::new(); whole.items()];
    for user in 0..whole.users() {
        for event in training.rest_of(whole, user) {
            let users: &mut Vec<u32> = &mut actual[whole.data.event_items[event] as usize];
            if users.last() != Some(&(user as u32)) {
                users.push(user as u32);
            }
        }
    }
    actual
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

fn sample(found: &[u32], random: &mut impl Rng) -> Vec<u32> {
    if found.len() <= QUERIES_MAX {
        return found.to_vec();
    }
    tracing::info!(
        queries = found.len(),
        sampled = QUERIES_MAX,
        "queries are sampled for the metrics"
    );
    let mut chosen: Vec<u32> = index::sample(random, found.len(), QUERIES_MAX)
        .into_iter()
        .map(|place| found[place])
        .collect();
    chosen.sort_unstable();
    chosen
}
