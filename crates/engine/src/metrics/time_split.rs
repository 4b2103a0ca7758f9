//! Evaluation on a point in time (`docs/MODEL.md`, "Metrics"): rank with what came before, and look
//! who came in the horizon after.

use std::borrow::Cow;

use kindred_types::parts::Clock;
use rand::SeedableRng;
use rand::seq::index;
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::Ranks;
use super::baselines::{OwnHistory, drawn, ranked, without};
use super::calibration::{self, Calibration};
use super::cold::{self, ColdItems};
use super::cut::Cut;
use super::overlap::Overlaps;
use super::queries::{Queries, users_of_any};
use super::tally::Tally;
use crate::data::attributes::TrainingData;
use crate::error::Error;
use crate::model::Model;
use crate::progress::Progress;
use crate::recipes::item_affinity;
use crate::score::Ranking;
use crate::train::events::{Pairs, Prefix};
use crate::train::{Costs, Question, TrainOptions, Work};

/// Sizes at which the lift is measured, in thousandths of the population.
pub(crate) const LIFT_SIZES: [usize; 6] = [5, 10, 20, 50, 100, 200];
/// Most places of all lists together; with more, queries are sampled.
const PLACES_MAX: usize = 1 << 34;
/// Most queries ranked at once, so that progress is seen.
const BLOCK_QUERIES_MAX: usize = 4096;
/// Seed of the random baseline and of sampled queries.
const SEED: u64 = 0x7469_6d65_5f73_706c;
/// The rankings that are compared, the model first.
const METHODS: [&str; 5] = [
    "model",
    "random",
    "most_active",
    "most_recent",
    "own_history",
];

/// What to look at.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Protocol {
    /// Leave pairs with an event before the split out of lists and actual users: for domains without
    /// repeats.
    pub first_time_only: bool,
    /// The queries, those without an event before the split left aside; every item that has one if
    /// absent.
    pub queries: Option<Queries>,
    /// What is measured as being without a past, if it is: every item if absent.
    pub without_past: Option<Queries>,
}

/// The figures of an evaluation; the lists have `k` users, and recall is of all actual users.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Evaluation {
    /// Epoch seconds: the model has seen what is older.
    pub split: i64,
    /// Length of the period that was predicted.
    pub horizon_seconds: i64,
    /// Whether pairs with an event before the split were left out.
    pub first_time_only: bool,
    /// Users with an event before the split.
    pub population: usize,
    /// Length of the lists: 1 % of the population, rounded up.
    pub k: usize,
    /// Queries with actual users, which are measured.
    pub queries: usize,
    /// Queries asked, if they have an event before the split.
    pub queries_asked: usize,
    /// The model.
    pub model: Figures,
    /// Random, most active and most recent users, and the own history alone.
    pub baselines: Vec<Named>,
    /// Recall over pairs without an event before the split.
    pub first_time_recall: f64,
    /// Queries with such actual users.
    pub first_time_queries: usize,
    /// Mean share of a list that another query's list has, too.
    pub overlap: f64,
    /// Mean share of a list that the most active users' list has, too.
    pub overlap_most_active: f64,
    /// How much better than chance, by size of the list.
    pub lift: Vec<LiftPoint>,
    /// Probabilities of the best 20 % of the users for every query asked, against what happened.
    pub calibration: Calibration,
    /// Items without an event before the split; absent if there are none.
    pub cold_items: Option<ColdItems>,
}

/// The figures of one way of ranking.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Figures {
    /// Mean number of listed users who came.
    pub hits_at_1_percent: f64,
    /// Mean share of those who came that were listed.
    pub recall_at_1_percent: f64,
    /// Share of the population in any list.
    pub coverage: f64,
    /// Recall over pairs without an event before the split.
    pub first_time_recall: f64,
}

/// The figures of a simple ranking.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Named {
    /// Which ranking.
    pub name: String,
    /// What it reaches.
    #[serde(flatten)]
    pub figures: Figures,
}

/// Recall at one size of the lists.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LiftPoint {
    /// Size in percent of the population.
    pub percent: f64,
    /// Size in users, rounded up.
    pub users: usize,
    /// Mean share of those who came that were listed.
    pub recall: f64,
    /// Recall divided by users / population, which is the recall of random lists.
    pub lift: f64,
}

impl Figures {
    pub(crate) fn of(main: &Tally, first_time: &Tally, population: usize) -> Figures {
        Figures {
            hits_at_1_percent: main.hits(),
            recall_at_1_percent: main.recall(),
            coverage: main.coverage(population),
            first_time_recall: first_time.recall(),
        }
    }

    pub(crate) fn named(self, name: &str) -> Named {
        Named {
            name: name.into(),
            figures: self,
        }
    }
}

/// Measures a ranking of the users of `cut.training`, made from nothing but `cut.training`. The
/// figures do not depend on the number of threads.
pub fn time_split(
    ranks: &dyn Ranks,
    cut: &Cut,
    protocol: &Protocol,
    threads: usize,
) -> Result<Evaluation, Error> {
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(threads.max(1))
        .build()?;
    Ok(pool.install(|| measure(ranks, cut, protocol)))
}

fn measure(ranks: &dyn Ranks, cut: &Cut, protocol: &Protocol) -> Evaluation {
    let training = Prefix::whole(&cut.training.interactions);
    let pairs = Pairs::new(&training);
    // Items without a past are measured by themselves.
    let has_past = |items: &[u32]| {
        items
            .iter()
            .any(|&item| pairs.popularity(item as usize) > 0)
    };
    let all = match &protocol.queries {
        Some(queries) => queries.iter().filter(|items| has_past(items)).collect(),
        None => {
            let items = 0..training.items() as u32;
            Queries::of_items(items.filter(|&item| has_past(&[item])))
        }
    };
    let mut measured = Measured::new(ranks, cut, &training, &pairs, protocol);
    let asked = sample(&all, measured.places(0));
    measured.calibration = calibration::Pairs::new(
        asked.len(),
        measured.lift_sizes[LIFT_SIZES.len() - 1],
        rate_scale(ranks, cut),
    );
    let numbered: Vec<(usize, &[u32])> = asked.iter().copied().enumerate().collect();
    for block in numbered.chunks(measured.block_len(&asked)) {
        measured.add_block(block);
    }
    measured.finish(all.len(), protocol.without_past.as_ref())
}

/// The model of `aws-item-affinity` that a job of the service would deliver for `data`. The metrics'
/// own model is not trained, which changes nothing in the delivered one.
pub fn delivered_item_model(
    data: &TrainingData,
    options: &TrainOptions,
    progress: &dyn Progress,
    clock: &dyn Clock,
) -> Result<Model, Error> {
    let whole = Prefix::whole(&data.interactions);
    let costs = Costs::new(&data.interactions, options);
    let mut work = Work::new(progress, clock, costs, 1, false);
    item_affinity::fit(
        &whole,
        &data.attributes,
        Question::NextHorizon,
        options,
        &mut work,
    )
}

/// Expected numbers of events are of the model's horizon; a rate is proportional to its length.
fn rate_scale(ranks: &dyn Ranks, cut: &Cut) -> f64 {
    match ranks.horizon_seconds() {
        Some(horizon) if horizon > 0 => cut.horizon_seconds as f64 / horizon as f64,
        _ => 1.0,
    }
}

/// All queries, or as many by chance as fit into [`PLACES_MAX`] with lists of `places`.
fn sample(queries: &Queries, places: usize) -> Vec<&[u32]> {
    let most = (PLACES_MAX / places.max(1)).max(1);
    if queries.len() <= most {
        return queries.iter().collect();
    }
    tracing::info!(
        queries = queries.len(),
        sampled = most,
        "queries are sampled for the evaluation"
    );
    let mut random = ChaCha8Rng::seed_from_u64(SEED ^ 1);
    let mut chosen = index::sample(&mut random, queries.len(), most).into_vec();
    chosen.sort_unstable();
    chosen.into_iter().map(|query| queries.get(query)).collect()
}

/// A query and what is known about it.
struct Asked<'a> {
    number: usize,
    items: &'a [u32],
    /// Users with an event before the split, ascending.
    seen: Cow<'a, [u32]>,
    /// Users with an event in the horizon, ascending.
    came: Cow<'a, [u32]>,
    /// Those of them without one before.
    first: Vec<u32>,
}

impl Asked<'_> {
    /// Who has to be found.
    fn actual(&self, first_time_only: bool) -> &[u32] {
        if first_time_only {
            &self.first
        } else {
            &self.came
        }
    }
}

/// What the ranking of one query reached, worked out beside the other queries'.
struct Answer {
    /// The list of users beside their scores, as long as the longest of the lift.
    list: Vec<(u32, f32)>,
    /// For each method its list, and the list without the users of before.
    lists: [[Vec<u32>; 2]; METHODS.len()],
    /// For each size of the lift how many of the list came.
    lift_hits: [usize; LIFT_SIZES.len()],
}

/// The sums of an evaluation.
struct Measured<'a> {
    ranks: &'a dyn Ranks,
    cut: &'a Cut,
    pairs: &'a Pairs,
    first_time_only: bool,
    users: Vec<u32>,
    k: usize,
    active: Vec<u32>,
    recent: Vec<u32>,
    own: OwnHistory,
    random: ChaCha8Rng,
    lift_sizes: [usize; LIFT_SIZES.len()],
    /// Each method's figures, and the figures of first times.
    tallies: [[Tally; 2]; METHODS.len()],
    overlaps: Overlaps,
    lift_recall: [f64; LIFT_SIZES.len()],
    calibration: calibration::Pairs,
}

impl<'a> Measured<'a> {
    fn new(
        ranks: &'a dyn Ranks,
        cut: &'a Cut,
        training: &Prefix<'_>,
        pairs: &'a Pairs,
        protocol: &Protocol,
    ) -> Measured<'a> {
        let population = training.users();
        let k = population.div_ceil(100);
        let active = ranked(training, population, |events, _| events.len() as i64);
        let last_horizon = cut.time.saturating_sub(cut.horizon_seconds);
        Measured {
            ranks,
            cut,
            pairs,
            first_time_only: protocol.first_time_only,
            users: (0..population as u32).collect(),
            k,
            overlaps: Overlaps::new(population, &active[..k]),
            active,
            recent: ranked(training, population, |_, last| last),
            own: OwnHistory::new(training, pairs, last_horizon),
            random: ChaCha8Rng::seed_from_u64(SEED),
            lift_sizes: LIFT_SIZES.map(|size| (population * size).div_ceil(1000)),
            tallies: [0; METHODS.len()].map(|_| [0; 2].map(|_| Tally::new(population, usize::MAX))),
            lift_recall: [0.0; LIFT_SIZES.len()],
            calibration: calibration::Pairs::new(0, 0, 1.0),
        }
    }

    /// How many users to ask for so that enough are left when the `seen` ones go, who can take every
    /// place of a list.
    fn places(&self, seen: usize) -> usize {
        let most = self.lift_sizes[LIFT_SIZES.len() - 1];
        let places = if self.first_time_only {
            most + seen
        } else {
            most.max(self.k + seen)
        };
        places.min(self.users.len())
    }

    /// How many queries can be ranked at once.
    fn block_len(&self, asked: &[&[u32]]) -> usize {
        let seen = |items: &&[u32]| -> usize {
            let popularity = items
                .iter()
                .map(|&item| self.pairs.popularity(item as usize));
            popularity.sum()
        };
        let longest = self.places(asked.iter().map(seen).max().unwrap_or(0));
        self.ranks.block_len(longest).clamp(1, BLOCK_QUERIES_MAX)
    }

    fn add_block(&mut self, block: &[(usize, &'a [u32])]) {
        let asked: Vec<Asked<'_>> = block
            .par_iter()
            .map(|&(number, items)| self.asked(number, items))
            .collect();
        let seen = asked.iter().map(|query| query.seen.len()).max();
        let longest = self.places(seen.unwrap_or(0));
        let items: Vec<&[u32]> = asked.iter().map(|query| query.items).collect();
        let rankings = self.ranks.top(&items, longest);
        let draws: Vec<Vec<u32>> = asked
            .iter()
            .map(|query| drawn(&mut self.random, &self.users, self.k + query.seen.len()))
            .collect();
        let answers: Vec<Answer> = asked
            .par_iter()
            .zip(rankings.par_iter().zip(&draws))
            .map(|(query, (ranking, draw))| self.answer(query, ranking, draw))
            .collect();
        for (query, answer) in asked.iter().zip(&answers) {
            self.add(query, answer);
        }
    }

    fn asked(&self, number: usize, items: &'a [u32]) -> Asked<'a> {
        let seen = users_of_any(&self.pairs.by_item, items);
        let came = users_of_any(self.cut.came(), items);
        let first = without(&came, &seen).collect();
        Asked {
            number,
            items,
            seen,
            came,
            first,
        }
    }

    fn answer(&self, query: &Asked<'_>, ranking: &Ranking, draw: &[u32]) -> Answer {
        let k = self.k;
        let own = self
            .own
            .top(query.items, k + query.seen.len(), &self.active);
        let lists = [&ranking.users, draw, &self.active, &self.recent, &own].map(|list| {
            let first: Vec<u32> = without(list, &query.seen).take(k).collect();
            let main = if self.first_time_only {
                first.clone()
            } else {
                list.iter().copied().take(k).collect()
            };
            [main, first]
        });
        let places = ranking
            .users
            .iter()
            .copied()
            .zip(ranking.scores.iter().copied());
        let skipped = |user: &u32| self.first_time_only && query.seen.binary_search(user).is_ok();
        let list: Vec<(u32, f32)> = places
            .filter(|(user, _)| !skipped(user))
            .take(self.lift_sizes[LIFT_SIZES.len() - 1])
            .collect();
        Answer {
            lift_hits: self.lift_hits(&list, query.actual(self.first_time_only)),
            lists,
            list,
        }
    }

    fn lift_hits(&self, list: &[(u32, f32)], actual: &[u32]) -> [usize; LIFT_SIZES.len()] {
        let mut found = 0;
        let mut next = 0;
        self.lift_sizes.map(|size| {
            let end = size.min(list.len());
            for (user, _) in &list[next.min(end)..end] {
                found += usize::from(actual.binary_search(user).is_ok());
            }
            next = end;
            found
        })
    }

    fn add(&mut self, query: &Asked<'_>, answer: &Answer) {
        let log_constant = self.ranks.log_constant(query.items);
        self.calibration
            .add(query.number, &answer.list, &query.came, log_constant);
        let actual = query.actual(self.first_time_only);
        for (tallies, lists) in self.tallies.iter_mut().zip(&answer.lists) {
            if !actual.is_empty() {
                tallies[0].add(&lists[0], actual);
            }
            if !query.first.is_empty() {
                tallies[1].add(&lists[1], &query.first);
            }
        }
        if !actual.is_empty() {
            self.overlaps.add(&answer.lists[0][0]);
            for (recall, &hits) in self.lift_recall.iter_mut().zip(&answer.lift_hits) {
                *recall += hits as f64 / actual.len() as f64;
            }
        }
    }

    fn finish(self, queries_asked: usize, without_past: Option<&Queries>) -> Evaluation {
        let population = self.users.len();
        let [model, first_time] = &self.tallies[0];
        let queries = model.queries();
        let figures = |tallies: &[Tally; 2]| Figures::of(&tallies[0], &tallies[1], population);
        let baselines = METHODS.iter().zip(&self.tallies).skip(1);
        let sizes = LIFT_SIZES.iter().zip(self.lift_sizes).zip(self.lift_recall);
        Evaluation {
            split: self.cut.time,
            horizon_seconds: self.cut.horizon_seconds,
            first_time_only: self.first_time_only,
            population,
            k: self.k,
            queries,
            queries_asked,
            model: figures(&self.tallies[0]),
            baselines: baselines
                .map(|(name, tallies)| figures(tallies).named(name))
                .collect(),
            first_time_recall: first_time.recall(),
            first_time_queries: first_time.queries(),
            overlap: self.overlaps.mean(),
            overlap_most_active: self.overlaps.mean_active(),
            lift: sizes
                .map(|((&thousandths, users), sum)| {
                    let recall = sum / queries.max(1) as f64;
                    LiftPoint {
                        percent: thousandths as f64 / 10.0,
                        users,
                        recall,
                        lift: recall * population as f64 / users.max(1) as f64,
                    }
                })
                .collect(),
            cold_items: cold::measure(self.ranks, self.cut, self.pairs, without_past, &self.active),
            calibration: self.calibration.finish(),
        }
    }
}

#[cfg(test)]
mod tests;
