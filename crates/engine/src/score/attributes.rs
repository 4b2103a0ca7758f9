//! Exact top-k users of sets of items: one fused pass for all queries.
//!
//! The mass that a user's choice probabilities give to a set is no inner product, so nothing can be
//! left out: blocks of users are multiplied with blocks of items, the exponentials taken in place, and
//! each item's row added to the queries it belongs to. Users lie beside each other in a row, items and
//! queries below each other. Work is cut into fixed blocks and sums run in the order of the items, so
//! that the bytes do not depend on threads. How signals become a score is `attributes::head`'s.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use rayon::prelude::*;

use super::best::Best;
use super::{BLOCK_BYTES, GROUP_BYTES, Ranking};
use crate::attributes::head::{Form, POPULARITY_EVENTS_MIN, RECENT_PRIOR, SHARE_PRIOR, Signals};
use crate::error::Error;
use crate::model::AttributeModel;
use crate::selection::{Interacted, UserSet, set_bytes};
use crate::train::{kernels, linear};

/// Users of one block.
pub(crate) const BLOCK_USERS: usize = 256;
/// Items of one tile, which stays in the second cache beside the vectors it is made of.
const TILE_ITEMS: usize = 128;
/// Queries that one pass over the items answers; a block of users holds three floats for each of them
/// and each user, 6 MiB.
const BATCH_QUERIES: usize = 2048;
/// Item numbers in the sets of one pass (64 MiB); a single larger set is a pass of its own.
const BATCH_MEMBERS_MAX: usize = 1 << 24;
/// Bytes of the sets of users that the queries of one pass leave out.
const BATCH_SET_BYTES_MAX: usize = 64 << 20;

/// A model with the users it ranks for attribute queries.
#[derive(Debug)]
pub struct AttributeScorer {
    model: Arc<AttributeModel>,
    form: Form,
    users: Vec<u32>,
}

impl AttributeScorer {
    /// Ranks all users, or the `candidates` (user numbers, any order).
    pub fn new(model: Arc<AttributeModel>, candidates: Option<&[u32]>) -> AttributeScorer {
        let form = model.head().map_or(Form::DEFAULT, |head| head.form);
        let users = match candidates {
            Some(candidates) => {
                let mut users = candidates.to_vec();
                users.sort_unstable();
                users.dedup();
                users
            }
            None => (0..model.model().users().len() as u32).collect(),
        };
        AttributeScorer { model, form, users }
    }

    /// Scores by another form than the model's own, to compare them.
    pub fn with_form(self, form: Form) -> AttributeScorer {
        AttributeScorer { form, ..self }
    }

    /// Number of users that are ranked.
    pub fn len(&self) -> usize {
        self.users.len()
    }

    /// Whether no user is ranked.
    pub fn is_empty(&self) -> bool {
        self.users.is_empty()
    }

    /// The model.
    pub fn model(&self) -> &Arc<AttributeModel> {
        &self.model
    }

    /// Gives the model back.
    pub(crate) fn into_model(self) -> Arc<AttributeModel> {
        self.model
    }

    /// How many queries a caller should hand over at once so that results stay within a fixed memory,
    /// at least 1.
    pub fn block_len(&self, k: usize) -> usize {
        let each = k.clamp(1, self.users.len().max(1)) * 8;
        (BLOCK_BYTES / each).clamp(1, 1 << 16)
    }

    /// The `k` best users of each query (value numbers of the index, as it resolves them), in the order
    /// of `queries`; fewer if there are fewer users. Scores are logs of expected numbers of events.
    pub fn top_users(
        &self,
        queries: &[impl AsRef<[u32]> + Sync],
        k: usize,
        threads: usize,
    ) -> Result<Vec<Ranking>, Error> {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads.max(1))
            .build()?;
        Ok(pool.install(|| self.top_users_here(queries, k)))
    }

    /// The `k` best users of each query, groups and their queries in order; without those who
    /// `interacted` with an item of the query, if given. A ranking is shorter where there are fewer
    /// users.
    pub fn top_users_among<Q: AsRef<[u32]> + Sync>(
        &self,
        groups: &[AttributeGroup<'_, Q>],
        interacted: Option<&Interacted>,
        k: usize,
        threads: usize,
    ) -> Result<Vec<Ranking>, Error> {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads.max(1))
            .build()?;
        let queries: Vec<(Option<&UserSet>, &Q)> = groups
            .iter()
            .flat_map(|group| {
                group
                    .queries
                    .iter()
                    .map(|query| (group.users.as_ref(), query))
            })
            .collect();
        let index = self.model.index();
        let ask = |query: usize| {
            let (among, query) = queries[query];
            let items = index.items_with_all(query.as_ref());
            Asked {
                among,
                without: interacted.map(|interacted| interacted.of_any(&items)),
                items,
            }
        };
        Ok(pool.install(|| self.rank_all(queries.len(), ask, k)))
    }

    /// The same in the current thread pool, all users for every query.
    pub(crate) fn top_users_here(&self, queries: &[impl AsRef<[u32]>], k: usize) -> Vec<Ranking> {
        let index = self.model.index();
        let ask = |query: usize| Asked::of(index.items_with_all(queries[query].as_ref()));
        self.rank_all(queries.len(), ask, k)
    }

    /// The `k` best users of each set of ascending item numbers. Runs in the current thread pool.
    pub(crate) fn top_users_of(&self, sets: &[&[u32]], k: usize) -> Vec<Ranking> {
        self.rank_all(sets.len(), |query| Asked::of(sets[query].to_vec()), k)
    }

    fn rank_all<'a>(
        &self,
        queries: usize,
        ask: impl Fn(usize) -> Asked<'a>,
        k: usize,
    ) -> Vec<Ranking> {
        let k = k.min(self.users.len());
        if k == 0 {
            return vec![Ranking::default(); queries];
        }
        let at_once = (GROUP_BYTES / Best::bytes(k)).clamp(1, BATCH_QUERIES);
        let mut rankings = Vec::with_capacity(queries);
        let mut next = None;
        while rankings.len() < queries {
            let mut batch: Vec<Asked<'_>> = Vec::new();
            let mut members = 0;
            let mut left_out_bytes = 0;
            while batch.len() < at_once && rankings.len() + batch.len() < queries {
                let asked = next
                    .take()
                    .unwrap_or_else(|| ask(rankings.len() + batch.len()));
                members += asked.items.len();
                left_out_bytes += asked.without.as_ref().map_or(0, set_bytes);
                let full = members > BATCH_MEMBERS_MAX || left_out_bytes > BATCH_SET_BYTES_MAX;
                if full && !batch.is_empty() {
                    next = Some(asked);
                    break;
                }
                batch.push(asked);
            }
            rankings.extend(self.rank_batch(&batch, k));
        }
        rankings
    }

    /// Ranks the queries of one batch: each group of queries with the same candidates by itself, or
    /// all together for all who are a candidate of any. Both give the same bytes.
    fn rank_batch(&self, batch: &[Asked<'_>], k: usize) -> Vec<Ranking> {
        let same = |a: &Asked<'_>, b: &Asked<'_>| match (a.among, b.among) {
            (Some(a), Some(b)) => std::ptr::eq(a, b),
            (None, None) => true,
            _ => false,
        };
        let groups: Vec<&[Asked<'_>]> = batch.chunk_by(same).collect();
        let apart: u64 = groups.iter().map(|group| self.cost(group)).sum();
        if groups.len() > 1 && apart < self.cost(batch) {
            let rankings = groups.into_par_iter().map(|group| self.rank(group, k));
            return rankings.flatten_iter().collect();
        }
        self.rank(batch, k)
    }

    /// Products of users and items that it takes to rank these queries together.
    fn cost(&self, queries: &[Asked<'_>]) -> u64 {
        let mut items = UserSet::new();
        for asked in queries {
            items.extend(&asked.items);
        }
        let users = candidates(queries).map_or(self.users.len() as u64, |users| users.len());
        items.len() * users
    }

    fn rank(&self, queries: &[Asked<'_>], k: usize) -> Vec<Ranking> {
        let users = match candidates(queries) {
            None => Cow::Borrowed(&self.users),
            Some(set) if self.users.len() == self.model.model().users().len() => {
                Cow::Owned(set.iter().collect())
            }
            Some(set) => {
                let users = self.users.iter().copied();
                Cow::Owned(
                    users
                        .filter(|&user| set.contains(user))
                        .collect::<Vec<u32>>(),
                )
            }
        };
        let sets: Vec<&[u32]> = queries.iter().map(|asked| &asked.items[..]).collect();
        let batch = Batch::new(&self.model, &sets);
        let mut bests: Vec<(Best, &Asked<'_>)> = queries
            .iter()
            .map(|asked| (Best::new(k.min(users.len()).max(1), users.len()), asked))
            .collect();
        let at_once = rayon::current_num_threads();
        let mut tiles: Vec<Tile> = Vec::new();
        tiles.resize_with(at_once, Tile::default);
        for users in users.chunks(BLOCK_USERS * at_once) {
            let blocks = users.par_chunks(BLOCK_USERS).zip(&mut tiles);
            blocks.for_each(|(users, tile)| self.score(&batch, users, tile));
            let each = bests.par_iter_mut().enumerate();
            each.for_each(|(query, (best, asked))| {
                for (users, tile) in users.chunks(BLOCK_USERS).zip(&tiles) {
                    let scores = &tile.scores[query * users.len()..(query + 1) * users.len()];
                    for (&user, &score) in users.iter().zip(scores) {
                        let score = f64::from(score);
                        if best.wants(score, user) && asked.takes(user) {
                            best.offer(score, user);
                        }
                    }
                }
            });
        }
        let rankings = bests.into_par_iter().map(|(best, _)| best.into_ranking());
        rankings.collect()
    }

    /// Scores each query for each of `users`.
    fn score(&self, batch: &Batch, users: &[u32], tile: &mut Tile) {
        let model = self.model.model();
        let rates: Vec<f32> = users
            .iter()
            .map(|&user| model.user_log_rate(user as usize))
            .collect();
        tile.signals.fill(&self.model, batch, users);
        zeros(&mut tile.scores, batch.len() * users.len());
        for (query, out) in tile.scores.chunks_exact_mut(users.len()).enumerate() {
            self.form
                .scores(&rates, tile.signals.signals(batch, query), out);
        }
    }
}

/// What a block of users is scored in, block after block: new memory for each would cost a tenth of the time.
#[derive(Default)]
struct Tile {
    signals: SignalTile,
    /// Rows of queries, a user in each column.
    scores: Vec<f32>,
}

/// So many zeros.
fn zeros(values: &mut Vec<f32>, count: usize) {
    values.clear();
    values.resize(count, 0.0);
}

/// Attribute queries with the same candidates.
#[derive(Clone, Debug)]
pub struct AttributeGroup<'a, Q> {
    /// Whom to rank; everyone if `None`.
    pub users: Option<UserSet>,
    /// The queries, each value numbers of the index.
    pub queries: &'a [Q],
}

/// A query for a set of items.
#[derive(Clone, Debug)]
struct Asked<'a> {
    /// Ascending.
    items: Vec<u32>,
    /// Only these users, unless all.
    among: Option<&'a UserSet>,
    /// Not these users.
    without: Option<UserSet>,
}

impl Asked<'_> {
    fn of(items: Vec<u32>) -> Self {
        Asked {
            items,
            among: None,
            without: None,
        }
    }

    fn takes(&self, user: u32) -> bool {
        self.among.is_none_or(|set| set.contains(user))
            && self.without.as_ref().is_none_or(|set| !set.contains(user))
    }
}

/// The candidates of any of the queries; nothing if one of them has all users.
fn candidates<'a>(queries: &[Asked<'a>]) -> Option<Cow<'a, UserSet>> {
    let mut sets = queries.iter().map(|asked| asked.among);
    let mut last = sets.next()??;
    let mut all = Cow::Borrowed(last);
    for set in sets {
        let set = set?;
        if !std::ptr::eq(set, last) {
            *all.to_mut() |= set;
            last = set;
        }
    }
    Some(all)
}

/// Sets of items, turned: which queries each item belongs to.
pub(crate) struct Batch {
    /// Items of any query, ascending.
    items: Vec<u32>,
    /// Where the queries of each of them start.
    starts: Vec<usize>,
    queries: Vec<u32>,
    /// Share of all events that are on each query's items.
    popularity: Vec<f32>,
}

impl Batch {
    /// For sets of ascending item numbers.
    pub(crate) fn new(model: &AttributeModel, sets: &[impl AsRef<[u32]>]) -> Batch {
        let mut places: BTreeMap<u32, usize> = BTreeMap::new();
        for &item in sets.iter().flat_map(AsRef::as_ref) {
            *places.entry(item).or_default() += 1;
        }
        let mut starts = vec![0usize];
        for count in places.values_mut() {
            let start = starts[starts.len() - 1];
            starts.push(start + std::mem::replace(count, start));
        }
        let mut queries = vec![0u32; starts[starts.len() - 1]];
        for (query, set) in sets.iter().enumerate() {
            for item in set.as_ref() {
                if let Some(next) = places.get_mut(item) {
                    queries[*next] = query as u32;
                    *next += 1;
                }
            }
        }
        let all = model.events().max(POPULARITY_EVENTS_MIN);
        let popularity = sets.iter().map(|set| {
            let items = set.as_ref().iter();
            let events: f64 = items.map(|&i| model.item_events(i as usize)).sum();
            (events.max(POPULARITY_EVENTS_MIN) / all) as f32
        });
        Batch {
            popularity: popularity.collect(),
            items: places.into_keys().collect(),
            starts,
            queries,
        }
    }

    /// Number of queries.
    pub(crate) fn len(&self) -> usize {
        self.popularity.len()
    }

    /// Log share of all events that are on a query's items.
    pub(crate) fn log_popularity(&self, query: usize) -> f32 {
        libm::log(f64::from(self.popularity[query])) as f32
    }

    fn queries_of(&self, place: usize) -> &[u32] {
        &self.queries[self.starts[place]..self.starts[place + 1]]
    }
}

/// The signals of a batch for a block of users: rows of queries, a user in each column.
#[derive(Default)]
pub(crate) struct SignalTile {
    users: usize,
    share: Vec<f32>,
    mass: Vec<f32>,
    recent: Vec<f32>,
    /// Items below each other, a user in each column.
    products: Vec<f32>,
    /// Vectors of items that do not lie beside each other.
    vectors: Vec<f32>,
}

impl SignalTile {
    /// Computes the signals for `users`, ascending and not more than [`BLOCK_USERS`].
    pub(crate) fn new(model: &AttributeModel, batch: &Batch, users: &[u32]) -> SignalTile {
        let mut tile = SignalTile::default();
        tile.fill(model, batch, users);
        tile
    }

    /// The same in the place of others.
    fn fill(&mut self, model: &AttributeModel, batch: &Batch, users: &[u32]) {
        self.users = users.len();
        for signal in [&mut self.share, &mut self.mass, &mut self.recent] {
            zeros(signal, users.len() * batch.len());
        }
        let block = Block::new(model, users);
        let mut products = std::mem::take(&mut self.products);
        products.resize(TILE_ITEMS * users.len(), 0.0);
        for (number, items) in batch.items.chunks(TILE_ITEMS).enumerate() {
            for &item in items {
                block.fetch_history(item as usize);
            }
            let products = &mut products[..items.len() * users.len()];
            block.probabilities(items, &mut self.vectors, products);
            let rows = products.chunks_exact_mut(users.len()).zip(items);
            for (place, (row, &item)) in (number * TILE_ITEMS..).zip(rows) {
                let queries = batch.queries_of(place);
                self.add_history(&block, item as usize, queries, row);
                for &query in queries {
                    let mass = &mut self.mass[query as usize * users.len()..][..users.len()];
                    kernels::add(mass, row);
                }
            }
        }
        self.products = products;
        self.smooth(&block, batch);
    }

    /// What one query knows.
    pub(crate) fn signals(&mut self, batch: &Batch, query: usize) -> Signals<'_> {
        let range = query * self.users..(query + 1) * self.users;
        Signals {
            share: &mut self.share[range.clone()],
            mass: &mut self.mass[range.clone()],
            recent: &mut self.recent[range],
            popularity: batch.log_popularity(query),
        }
    }

    /// Counts the events of an item's users, and weighs their probabilities as those of seen items.
    fn add_history(&mut self, block: &Block<'_>, item: usize, queries: &[u32], row: &mut [f32]) {
        let (users, events, recent) = block.model.counts().of(item);
        let from = start_of(block.users[0], users, block.guess(users));
        for at in from..users.len() {
            let Some(place) = block.place(users[at]) else {
                if users[at] > block.users[block.users.len() - 1] {
                    break;
                }
                continue;
            };
            row[place] = (row[place] * block.kappa).min(1.0);
            for &query in queries {
                self.share[query as usize * self.users + place] += events[at];
                self.recent[query as usize * self.users + place] += recent[at];
            }
        }
    }

    /// Turns counts into shares that lean on popularity.
    fn smooth(&mut self, block: &Block<'_>, batch: &Batch) {
        for (query, popularity) in batch.popularity.iter().enumerate() {
            let range = query * self.users..(query + 1) * self.users;
            let cells = self.share[range.clone()]
                .iter_mut()
                .zip(&mut self.recent[range]);
            for ((share, recent), (all, lately)) in cells.zip(&block.totals) {
                *share = (*share + SHARE_PRIOR * popularity) / (all + SHARE_PRIOR);
                *recent = (*recent + RECENT_PRIOR * popularity) / (lately + RECENT_PRIOR);
            }
        }
    }
}

/// A block of users, gathered.
struct Block<'a> {
    model: &'a AttributeModel,
    users: &'a [u32],
    vectors: Vec<f32>,
    /// −log Z of each user.
    constants: Vec<f32>,
    /// Events and decayed events of each user.
    totals: Vec<(f32, f32)>,
    kappa: f32,
    /// What the item offsets have and the towers' own probability has not.
    log_new: f32,
}

impl<'a> Block<'a> {
    fn new(model: &'a AttributeModel, users: &'a [u32]) -> Block<'a> {
        let towers = model.model();
        let (kappa, log_new) = model
            .card()
            .choices
            .as_ref()
            .map_or((1.0, 0.0), |choices| (choices.kappa, choices.log_new()));
        let numbers = || users.iter().map(|&user| user as usize);
        Block {
            model,
            users,
            vectors: numbers()
                .flat_map(|user| towers.user_vector(user).iter().copied())
                .collect(),
            constants: numbers()
                .map(|user| towers.user_offset(user) - towers.user_log_rate(user))
                .collect(),
            totals: numbers().map(|user| model.user_totals(user)).collect(),
            kappa: kappa as f32,
            log_new: log_new as f32,
        }
    }

    /// Where the users of this block would be in a list, if it has users from everywhere alike.
    fn guess(&self, users: &[u32]) -> usize {
        let all = self.model.model().users().len();
        (users.len() as u64 * u64::from(self.users[0]) / all as u64) as usize
    }

    /// Asks for that part of the history of an item.
    fn fetch_history(&self, item: usize) {
        let (users, ..) = self.model.counts().of(item);
        let guess = self.guess(users).min(users.len());
        kernels::prefetch(&users[guess..users.len().min(guess + 1)]);
    }

    /// p(y|x) of the towers for each of `items` (rows) and each user, as if no item were seen.
    fn probabilities(&self, items: &[u32], vectors: &mut Vec<f32>, out: &mut [f32]) {
        let towers = self.model.model();
        let together = towers.item_vectors(items[0] as usize..items[items.len() - 1] as usize + 1);
        let vectors = if together.len() == items.len() * towers.dimension() {
            together
        } else {
            vectors.clear();
            for &item in items {
                vectors.extend_from_slice(towers.item_vector(item as usize));
            }
            &vectors[..]
        };
        linear::products(vectors, &self.vectors, towers.dimension(), out);
        for (row, &item) in out.chunks_exact_mut(self.users.len()).zip(items) {
            let offset = towers.item_offset(item as usize) - self.log_new;
            // Z is estimated, so a probability can come out above one; nothing overflows.
            kernels::exp_shifted(row, &self.constants, offset);
        }
    }

    fn place(&self, user: u32) -> Option<usize> {
        let guess = (user - self.users[0]) as usize;
        if self.users.get(guess) == Some(&user) {
            return Some(guess);
        }
        self.users.binary_search(&user).ok()
    }
}

/// The first place in an ascending list that is not below `first`, looked for from a guess outward.
fn start_of(first: u32, users: &[u32], guess: usize) -> usize {
    let guess = guess.min(users.len());
    let mut step = 1;
    if users.get(guess).is_some_and(|&user| user < first) {
        let mut low = guess + 1;
        while users.get(low + step).is_some_and(|&user| user < first) {
            low += step + 1;
            step *= 2;
        }
        let high = users.len().min(low + step);
        return low + users[low..high].partition_point(|&user| user < first);
    }
    let mut high = guess;
    while high >= step && users[high - step] >= first {
        high -= step;
        step *= 2;
    }
    let low = high.saturating_sub(step);
    low + users[low..high].partition_point(|&user| user < first)
}

#[cfg(test)]
mod tests;
