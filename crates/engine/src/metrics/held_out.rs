//! The metrics of GetSolutionMetrics (`docs/MODEL.md`, "Metrics"): the newest fifth of every user.

use std::borrow::Cow;

use rand::seq::index;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::tally::Tally;
use crate::model::Metrics;
use crate::score::{AttributeScorer, Ranking, Scorer};
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
    let known = training.known_users();
    let k = (known.len() / 100).max(1);
    let actual = actual_users(training, whole);
    let trained = trained_items(training);
    let found: Vec<u32> = (0..actual.len() as u32)
        .filter(|&item| trained[item as usize] && !actual[item as usize].is_empty())
        .collect();
    let mut random = random(seed);
    let queries = sample(&found, &mut random);
    let counted = Counted {
        training,
        known,
        k,
        found: found.len(),
        block_len: scorer.block_len(k),
    };
    let actual = |&item: &u32| Cow::Borrowed(actual[item as usize].as_slice());
    counted.measure(&queries, actual, random, |block| {
        scorer.top_users_here(block, k)
    })
}

/// Measures a model of attributes on the listed values that occur on an item with a held-back event.
pub(crate) fn measure_attributes(
    scorer: &AttributeScorer,
    training: &Prefix<'_>,
    whole: &Prefix<'_>,
    seed: u64,
) -> Metrics {
    let known = training.known_users();
    let k = (known.len() / 100).max(1);
    let actual = actual_users(training, whole);
    let index = scorer.model().index();
    let listed = index.listed().into_iter();
    let found: Vec<u32> = listed
        .filter(|&value| {
            let mut items = index.items_with(value).iter();
            items.any(|&item| !actual[item as usize].is_empty())
        })
        .collect();
    let mut random = random(seed);
    let queries: Vec<[u32; 1]> = sample(&found, &mut random)
        .into_iter()
        .map(|value| [value])
        .collect();
    let counted = Counted {
        training,
        known,
        k,
        found: found.len(),
        block_len: scorer.block_len(k),
    };
    let actual =
        |&[value]: &[u32; 1]| Cow::Owned(actual_of(&actual, index.items_with(value), |_| true));
    counted.measure(&queries, actual, random, |block| {
        scorer.top_users_here(block, k)
    })
}

fn random(seed: u64) -> ChaCha8Rng {
    ChaCha8Rng::seed_from_u64(seed ^ 0x6d65_7472_6963_7321)
}

/// What is the same for every query.
struct Counted<'a> {
    training: &'a Prefix<'a>,
    /// Users with training interactions.
    known: Vec<u32>,
    k: usize,
    /// Queries there were before sampling.
    found: usize,
    block_len: usize,
}

impl Counted<'_> {
    /// Compares the rankings of the queries with their actual users, and simple rankings with the same.
    fn measure<'u, Q>(
        &self,
        queries: &[Q],
        actual: impl Fn(&Q) -> Cow<'u, [u32]>,
        mut random: ChaCha8Rng,
        rank: impl Fn(&[Q]) -> Vec<Ranking>,
    ) -> Metrics {
        let (users, population, k) = (self.training.users(), self.known.len(), self.k);
        let mut model = Tally::new("model", users, k);
        let mut by_chance = Tally::new("random", users, k);
        let mut active = Tally::new("most_active", users, k);
        let most_active =
            super::time_split::ranked(self.training, k, |events, _| events.len() as i64);
        for block in queries.chunks(self.block_len) {
            for (query, ranking) in block.iter().zip(rank(block)) {
                let actual = actual(query);
                model.add(&ranking.users, &actual);
                active.add(&most_active, &actual);
                by_chance.add(&drawn(&mut random, &self.known, k), &actual);
            }
        }
        Metrics {
            coverage: model.coverage(population),
            hits_at_1_percent: model.hits(),
            recall_at_1_percent: model.recall(),
            queries: queries.len(),
            queries_found: self.found,
            k,
            baselines: vec![
                by_chance.into_baseline(population),
                active.into_baseline(population),
            ],
        }
    }
}

/// The users of any of `items` that `counts` takes, ascending.
pub(crate) fn actual_of(
    actual: &[Vec<u32>],
    items: &[u32],
    counts: impl Fn(u32) -> bool,
) -> Vec<u32> {
    let users = items.iter().flat_map(|&item| &actual[item as usize]);
    let mut users: Vec<u32> = users.copied().filter(|&user| counts(user)).collect();
    users.sort_unstable();
    users.dedup();
    users
}

/// `k` of the users by chance.
pub(crate) fn drawn(random: &mut ChaCha8Rng, users: &[u32], k: usize) -> Vec<u32> {
    index::sample(random, users.len(), k.min(users.len()))
        .into_iter()
        .map(|place| users[place])
        .collect()
}

/// For each item the users with an event in `whole` beyond `training`, ascending.
pub(crate) fn actual_users(training: &Prefix<'_>, whole: &Prefix<'_>) -> Vec<Vec<u32>> {
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
