//! Evaluation on a point in time (`docs/MODEL.md`, "Metrics"): train on what came before, rank,
//! and look who came in the horizon after.

use kindred_types::parts::Clock;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

use super::held_out::drawn;
use super::tally::Tally;
use crate::error::Error;
use crate::interactions::Interactions;
use crate::model::{Baseline, Card};
use crate::progress::Progress;
use crate::recipes::item_affinity;
use crate::score::Scorer;
use crate::train::events::{Pairs, Prefix};
use crate::train::{Question, TrainOptions, Work};

/// What to evaluate.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Split {
    /// Epoch seconds: training sees what is older.
    pub time: i64,
    /// Length of the period that is predicted.
    pub horizon_seconds: i64,
    /// Leave pairs seen before out of lists and actual users: for domains without repeats.
    pub first_time_only: bool,
    /// Only these items are queries; all items of the training if absent.
    pub queries: Option<Vec<u32>>,
}

/// The figures of an evaluation. Recall here is of all actual users, not of at most K.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TimeSplit {
    /// Users with training events.
    pub population: usize,
    /// Length of the lists: 1 % of the population, rounded up.
    pub k: usize,
    /// Queries with actual users.
    pub queries: usize,
    /// The model.
    pub model: Baseline,
    /// Random, most active, most recent users.
    pub baselines: Vec<Baseline>,
    /// Recall over pairs without an event before the split.
    pub first_time_recall: f64,
    /// Mean share of a list that another query's list has, too.
    pub overlap: f64,
    /// Mean share of a list that the most active users' list has, too.
    pub overlap_most_active: f64,
    /// The card of the evaluated model.
    pub card: Card,
}

/// Trains `aws-item-affinity` on the events before the split and measures it on those after.
pub fn time_split(
    data: &Interactions,
    split: &Split,
    options: &TrainOptions,
    progress: &dyn Progress,
    clock: &dyn Clock,
) -> Result<TimeSplit, Error> {
    let whole = Prefix::whole(data);
    let training = whole.before(split.time);
    let until = whole.before(split.time.saturating_add(split.horizon_seconds));
    let mut work = Work::new(progress, clock, 1);
    let model = item_affinity::fit(&training, Question::NextHorizon, options, &mut work)?;
    let card = model.card().clone();
    let population = training.known_users();
    let scorer = Scorer::new(Arc::new(model), Some(&population));
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(options.threads.max(1))
        .build()?;
    let mut found =
        pool.install(|| measure(&scorer, &training, &until, &population, split, options.seed));
    found.card = card;
    Ok(found)
}

fn measure(
    scorer: &Scorer,
    training: &Prefix<'_>,
    until: &Prefix<'_>,
    population: &[u32],
    split: &Split,
    seed: u64,
) -> TimeSplit {
    let pairs = Pairs::new(training);
    let k = population.len().div_ceil(100);
    let users = training.users();
    let (came, first_came) = actual_users(training, until, &pairs);
    let all: Vec<u32> = (0..training.items() as u32).collect();
    let queries: Vec<u32> = split
        .queries
        .as_ref()
        .unwrap_or(&all)
        .iter()
        .copied()
        .filter(|&item| pairs.popularity(item as usize) > 0 && !came[item as usize].is_empty())
        .collect();

    let tally = |name: &str| Tally::new(name, users, usize::MAX);
    let (mut model, mut first_time) = (tally("model"), tally("first time"));
    let mut simple = [tally("random"), tally("most_active"), tally("most_recent")];
    let active = ranked(training, users, |events, _| events.len() as i64);
    let recent = ranked(training, users, |_, last| last);
    let mut random = ChaCha8Rng::seed_from_u64(seed ^ 0x7469_6d65_5f73_706c);
    let mut overlaps = Overlaps::new(users, &active[..k.min(active.len())]);
    for block in queries.chunks(scorer.block_len(k).min(4096)) {
        // Seen pairs can take every place of a list, so as many more are asked for.
        let longest = block
            .iter()
            .map(|&item| pairs.popularity(item as usize))
            .max();
        let rankings = scorer.top_users_here(block, k + longest.unwrap_or(0));
        for (&item, ranking) in block.iter().zip(rankings) {
            let seen = pairs.by_item.row(item as usize);
            let (all, first) = (&came[item as usize], &first_came[item as usize]);
            let new = without(&ranking.users, seen, k);
            let list = &ranking.users[..k.min(ranking.users.len())];
            if !first.is_empty() {
                first_time.add(&new, first);
            }
            if split.first_time_only {
                if !first.is_empty() {
                    model.add(&new, first);
                    overlaps.add(&new);
                    for (tally, list) in simple.iter_mut().zip([
                        without(&drawn(&mut random, population, users), seen, k),
                        without(&active, seen, k),
                        without(&recent, seen, k),
                    ]) {
                        tally.add(&list, first);
                    }
                }
            } else {
                model.add(list, all);
                overlaps.add(list);
                let by_chance = drawn(&mut random, population, k);
                let top = |list: &[u32]| list[..k.min(list.len())].to_vec();
                for (tally, list) in simple
                    .iter_mut()
                    .zip([by_chance, top(&active), top(&recent)])
                {
                    tally.add(&list, all);
                }
            }
        }
    }
    TimeSplit {
        population: population.len(),
        k,
        queries: overlaps.lists,
        model: model.into_baseline(population.len()),
        baselines: simple
            .into_iter()
            .map(|tally| tally.into_baseline(population.len()))
            .collect(),
        first_time_recall: first_time.recall(),
        overlap: overlaps.mean(),
        overlap_most_active: overlaps.mean_active(),
        card: Card::default(),
    }
}

/// The `k` users with the highest value of (events, last time), ties by number; users without events
/// are left out.
pub(super) fn ranked(
    training: &Prefix<'_>,
    k: usize,
    value: impl Fn(&std::ops::Range<usize>, i64) -> i64,
) -> Vec<u32> {
    let mut users: Vec<(i64, u32)> = (0..training.users())
        .filter_map(|user| {
            let events = training.events_of(user);
            let last = training.data.event_times[events.clone()].last()?;
            Some((value(&events, *last), user as u32))
        })
        .collect();
    users.sort_unstable_by(|a, b| b.0.cmp(&a.0).then(a.1.cmp(&b.1)));
    users.into_iter().take(k).map(|(_, user)| user).collect()
}

/// For each item the users of the population who came, and those who came for the first time.
fn actual_users(
    training: &Prefix<'_>,
    until: &Prefix<'_>,
    pairs: &Pairs,
) -> (Vec<Vec<u32>>, Vec<Vec<u32>>) {
    let mut came = vec![Vec::new(); training.items()];
    let mut first = came.clone();
    for user in 0..training.users() {
        let seen = pairs.by_user.row(user);
        if seen.is_empty() {
            continue;
        }
        for event in training.rest_of(until, user) {
            let item = training.data.event_items[event];
            let users: &mut Vec<u32> = &mut came[item as usize];
            if users.last() == Some(&(user as u32)) {
                continue;
            }
            users.push(user as u32);
            if seen.binary_search(&item).is_err() {
                first[item as usize].push(user as u32);
            }
        }
    }
    (came, first)
}

/// The first `k` of `list` that are not in `seen` (ascending).
fn without(list: &[u32], seen: &[u32], k: usize) -> Vec<u32> {
    list.iter()
        .copied()
        .filter(|user| seen.binary_search(user).is_err())
        .take(k)
        .collect()
}

/// How much lists have in common: Σ over users of (lists naming them)² counts the common places of
/// all ordered pairs of lists.
struct Overlaps {
    lists: usize,
    places: usize,
    named: Vec<u64>,
    active: Vec<bool>,
    shared_active: usize,
}

impl Overlaps {
    fn new(users: usize, most_active: &[u32]) -> Overlaps {
        let mut active = vec![false; users];
        for &user in most_active {
            active[user as usize] = true;
        }
        Overlaps {
            lists: 0,
            places: 0,
            named: vec![0; users],
            active,
            shared_active: 0,
        }
    }

    fn add(&mut self, list: &[u32]) {
        self.lists += 1;
        self.places += list.len();
        for &user in list {
            self.named[user as usize] += 1;
            self.shared_active += usize::from(self.active[user as usize]);
        }
    }

    fn mean(&self) -> f64 {
        if self.lists < 2 || self.places == 0 {
            return 0.0;
        }
        let common: f64 = self
            .named
            .iter()
            .map(|&c| c as f64 * (c.max(1) - 1) as f64)
            .sum();
        common / (self.places as f64 * (self.lists - 1) as f64)
    }

    fn mean_active(&self) -> f64 {
        self.shared_active as f64 / self.places.max(1) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::fixtures::interactions;

    #[test]
    fn overlaps_of_three_lists() {
        let mut overlaps = Overlaps::new(6, &[0, 1]);
        overlaps.add(&[0, 1]);
        overlaps.add(&[0, 2]);
        overlaps.add(&[4, 5]);
        // Of six ordered pairs two share one of two places: 2 · 0.5 / 6.
        assert!((overlaps.mean() - 1.0 / 6.0).abs() < 1e-12);
        assert!((overlaps.mean_active() - 0.5).abs() < 1e-12);
    }

    #[test]
    fn who_came_and_who_came_first() {
        let data = interactions(&[
            ("a", "x", 1),
            ("a", "x", 11),
            ("a", "y", 12),
            ("a", "y", 13),
            ("b", "x", 12),
            ("b", "y", 2),
            ("c", "x", 12),
            ("b", "y", 30),
        ]);
        let whole = Prefix::whole(&data);
        let training = whole.before(10);
        let pairs = Pairs::new(&training);
        let (came, first) = actual_users(&training, &whole.before(20), &pairs);
        // c is no part of the population; b's y at 30 lies beyond the horizon.
        assert_eq!(came, [vec![0, 1], vec![0]]);
        assert_eq!(first, [vec![1], vec![0]]);
        assert_eq!(
            ranked(&training, 5, |events, _| events.len() as i64),
            [0, 1]
        );
        assert_eq!(ranked(&training, 1, |_, last| last), [1]);
    }
}
