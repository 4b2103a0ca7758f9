//! How good a candidate is on the held-back events: the recall a marketer would see.

use super::Choices;
use super::Validation;
use super::assemble::{Fitted, Moment};
use super::held_back::HeldBack;
use crate::error::Error;
use crate::metrics::baselines;
use crate::metrics::calibration::{self, Calibration};
use crate::metrics::overlap::Overlaps;
use crate::metrics::tally::{Tally, hits};
use crate::metrics::{LIFT_SIZES, LiftPoint};
use crate::model::{Card, Model, Parts};
use crate::score::Scorer;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use std::sync::Arc;

/// Queries that are looked at, at most and at least; in between, as many as the multiply-adds allow.
const QUERIES_MAX: usize = 2048;
const QUERIES_MIN: usize = 128;
const QUERY_BUDGET: usize = 1 << 34;
/// Seed of the random baseline.
const RANDOM_SEED: u64 = 0x7661_6c69_6461_7465;
/// Fewer events than this in the lists say nothing about the scale.
const SCALE_EVENTS_MIN: f64 = 30.0;
/// Pseudo-events that hold the scale at 1.
const SCALE_PRIOR: f64 = 10.0;

/// Means over items with a held-back user.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Recalls {
    /// Share of an item's held-back users among its best 1 % of the users.
    pub(crate) all: f64,
    /// The same without users who had the item before.
    pub(crate) first_time: f64,
}

/// A model of the data before the cut, and who came after it.
pub(crate) struct Tried<'a> {
    held_back: &'a HeldBack<'a>,
    scorer: Scorer,
    came: Vec<Vec<(u32, f64)>>,
    k: usize,
    queries_max: usize,
    /// What item offsets lack.
    log_scale: f64,
}

impl<'a> Tried<'a> {
    pub(crate) fn new(held_back: &'a HeldBack<'a>, fitted: Fitted) -> Result<Tried<'a>, Error> {
        let population = held_back.before.known_users();
        let model = model(held_back, fitted)?;
        let each = population.len() * model.dimension();
        Ok(Tried {
            k: population.len().div_ceil(100),
            queries_max: (QUERY_BUDGET / each.max(1)).clamp(QUERIES_MIN, QUERIES_MAX),
            scorer: Scorer::new(Arc::new(model), Some(&population)),
            came: came(held_back),
            held_back,
            log_scale: 0.0,
        })
    }

    /// log of (events that came / events expected) over the best 1 % of the users who never had an item,
    /// for items drawn by popularity.
    pub(crate) fn first_time_scale(&self) -> f64 {
        let (mut expected, mut found) = (0.0f64, 0.0f64);
        self.each_ranking(&self.by_popularity(), 0, |item, ranking| {
            let came = &self.came[item as usize];
            let offset = f64::from(self.scorer.model().item_offset(item as usize));
            let seen = self.held_back.pairs.by_item.row(item as usize);
            let pairs = ranking.users.iter().zip(&ranking.scores);
            let new = pairs.filter(|(user, _)| seen.binary_search(user).is_err());
            for (user, score) in new.take(self.k) {
                expected += libm::exp(f64::from(*score) + offset);
                if let Ok(place) = came.binary_search_by_key(user, |&(user, _)| user) {
                    found += came[place].1;
                }
            }
        });
        if found < SCALE_EVENTS_MIN || !expected.is_finite() {
            return 0.0;
        }
        libm::log((found + SCALE_PRIOR) / (expected + SCALE_PRIOR))
    }

    /// Multiplies the intensity of pairs that never met.
    pub(crate) fn scale_first_time(&mut self, log_scale: f64) {
        self.scorer.shift_history(-log_scale as f32);
        self.log_scale = log_scale;
    }

    /// Items with a held-back user; of many, evenly spaced ones.
    fn queries(&self) -> Vec<u32> {
        let queries: Vec<u32> = (0..self.came.len() as u32)
            .filter(|&item| !self.came[item as usize].is_empty())
            .collect();
        let spacing = queries.len().div_ceil(self.queries_max).max(1);
        queries.into_iter().step_by(spacing).collect()
    }

    /// Ranks and looks who came: the recalls that decide, and the figures of the time split at the cut for
    /// the model card, beside simple rankings.
    pub(crate) fn measure(&self, moment: &Moment<'_>, seed: u64) -> (Recalls, Validation) {
        let (before, k) = (self.held_back.before, self.k);
        let known = before.known_users();
        let events = |events: &std::ops::Range<usize>, _| events.len() as i64;
        let active = baselines::ranked(before, known.len(), events);
        let recent = baselines::ranked(before, k, |_, last| last);
        let since = moment
            .now
            .map_or(i64::MAX, |now| now.saturating_sub(moment.horizon));
        let own = baselines::OwnHistory::new(before, &self.held_back.pairs, since);
        let mut random = ChaCha8Rng::seed_from_u64(seed ^ RANDOM_SEED);
        let tally = || Tally::new(before.users(), usize::MAX);
        let mut tallies = [tally(), tally(), tally(), tally(), tally()];
        let mut overlaps = Overlaps::new(before.users(), &active[..k.min(active.len())]);
        let queries = self.queries();
        let sizes = LIFT_SIZES.map(|size| (known.len() * size).div_ceil(1000));
        let mut by_size = sizes.map(|_| Mean::default());
        let mut recalls = RecallSums::default();
        self.each_ranking(&queries, sizes[sizes.len() - 1], |item, ranking| {
            recalls.add(self, item, ranking);
            let came: Vec<u32> = self.came[item as usize].iter().map(|came| came.0).collect();
            let list = &ranking.users[..k.min(ranking.users.len())];
            overlaps.add(list);
            let by_chance = baselines::drawn(&mut random, &known, k);
            let had_it = own.top(&[item], k, &active);
            let lists = [
                list,
                &by_chance,
                &active[..k.min(active.len())],
                &recent,
                &had_it,
            ];
            for (tally, list) in tallies.iter_mut().zip(lists) {
                tally.add(list, &came);
            }
            for (recall, size) in by_size.iter_mut().zip(sizes) {
                let list = &ranking.users[..size.min(ranking.users.len())];
                recall.add(hits(list, &came), came.len());
            }
        });
        let names = [
            "model",
            "random",
            "most_active",
            "most_recent",
            "own_history",
        ];
        let mut rankings = tallies
            .into_iter()
            .zip(names)
            .map(|(tally, name)| tally.into_baseline(name, known.len()));
        let validation = Validation {
            population: known.len(),
            k,
            queries: queries.len(),
            model: rankings.next().unwrap_or_default(),
            baselines: rankings.collect(),
            overlap: overlaps.mean(),
            overlap_most_active: overlaps.mean_active(),
            lift: LIFT_SIZES
                .iter()
                .zip(sizes)
                .zip(by_size)
                .map(|((&size, users), recall)| LiftPoint {
                    percent: size as f64 / 10.0,
                    users,
                    recall: recall.value(),
                    lift: recall.value() * known.len() as f64 / users.max(1) as f64,
                })
                .collect(),
            calibration: self.calibration(sizes[sizes.len() - 1]),
        };
        (recalls.finish(), validation)
    }

    /// Probabilities of the best users against who came, for items drawn by popularity, whether anybody
    /// came or not.
    fn calibration(&self, places: usize) -> Calibration {
        let queries = self.by_popularity();
        let mut pairs = calibration::Pairs::new(queries.len(), places, 1.0);
        let mut query = 0;
        self.each_ranking(&queries, places, |item, ranking| {
            let came: Vec<u32> = self.came[item as usize].iter().map(|came| came.0).collect();
            let scored = ranking.users.iter().zip(&ranking.scores).take(places);
            let list: Vec<(u32, f32)> = scored.map(|(&user, &score)| (user, score)).collect();
            let constant = self.scorer.model().item_offset(item as usize);
            pairs.add(query, &list, &came, f64::from(constant) + self.log_scale);
            query += 1;
        });
        pairs.finish()
    }

    /// The model of the cut, with these choices on its card. Its history has been scaled.
    pub(crate) fn into_model(self, choices: Choices) -> Model {
        let mut model = Arc::unwrap_or_clone(self.scorer.into_model());
        model.card_mut().choices = Some(choices);
        model
    }

    /// Rankings that are long enough to leave out the users who had the item, and of `places` at least.
    fn each_ranking(
        &self,
        queries: &[u32],
        places: usize,
        mut each: impl FnMut(u32, &crate::score::Ranking),
    ) {
        let seen = queries
            .iter()
            .map(|&item| self.held_back.pairs.popularity(item as usize));
        let k = (self.k + seen.max().unwrap_or(0)).max(places);
        for block in queries.chunks(self.scorer.block_len(k)) {
            for (&item, ranking) in block.iter().zip(self.scorer.top_users_here(block, k)) {
                each(item, &ranking);
            }
        }
    }

    /// Items at equal distances on the cumulated popularity, each once.
    fn by_popularity(&self) -> Vec<u32> {
        let by_item = &self.held_back.pairs.by_item;
        let spacing = (by_item.indices.len() as f64 / self.queries_max as f64).max(1.0);
        let mut items = Vec::new();
        let mut point = 0.5 * spacing;
        for item in 0..by_item.rows() {
            let end = by_item.starts[item + 1] as f64;
            if point < end {
                items.push(item as u32);
                point = (((end / spacing) - 0.5).floor() + 1.5) * spacing;
            }
        }
        items
    }
}

/// Sums of the recalls over queries.
#[derive(Default)]
struct RecallSums {
    all: Mean,
    first_time: Mean,
}

impl RecallSums {
    fn add(&mut self, tried: &Tried<'_>, item: u32, ranking: &crate::score::Ranking) {
        let came = &tried.came[item as usize];
        let seen = tried.held_back.pairs.by_item.row(item as usize);
        let new = |user: &u32| seen.binary_search(user).is_err();
        let hit = |user: &&u32| came.binary_search_by_key(*user, |&(user, _)| user).is_ok();
        let hits = ranking.users.iter().take(tried.k).filter(hit).count();
        self.all.add(hits, came.len());
        let users = ranking.users.iter().filter(|user| new(user));
        let hits = users.take(tried.k).filter(hit).count();
        let first = came.iter().filter(|(user, _)| new(user)).count();
        self.first_time.add(hits, first);
    }

    fn finish(&self) -> Recalls {
        Recalls {
            all: self.all.value(),
            first_time: self.first_time.value(),
        }
    }
}

#[derive(Clone, Copy, Default)]
struct Mean {
    sum: f64,
    count: f64,
}

impl Mean {
    fn add(&mut self, hits: usize, of: usize) {
        if of > 0 {
            self.sum += hits as f64 / of as f64;
            self.count += 1.0;
        }
    }

    fn value(&self) -> f64 {
        self.sum / self.count.max(1.0)
    }
}

/// The users with held-back events of each item, ascending, and the weights of those.
fn came(held_back: &HeldBack<'_>) -> Vec<Vec<(u32, f64)>> {
    let mut came = vec![Vec::new(); held_back.before.items()];
    for &user in &held_back.users {
        for (item, weight) in held_back.events_of(user) {
            let users: &mut Vec<(u32, f64)> = &mut came[item as usize];
            match users.last_mut() {
                Some((last, sum)) if *last == user => *sum += weight,
                _ => users.push((user, weight)),
            }
        }
    }
    came
}

fn model(held_back: &HeldBack<'_>, fitted: Fitted) -> Result<Model, Error> {
    let data = held_back.before.data;
    let dimension = fitted.user_vectors.len() / data.users.len().max(1);
    Model::new(Parts {
        dimension,
        users: data.users.clone(),
        items: data.items.clone(),
        user_vectors: fitted.user_vectors,
        user_offsets: fitted.user_offsets,
        user_log_rates: fitted.user_log_rates,
        item_vectors: fitted.item_vectors,
        item_offsets: fitted.item_offsets,
        history: fitted.history,
        card: Card::default(),
    })
    .map_err(|detail| Error::Input(format!("validation came to no usable model: {detail}")))
}
