//! What training sees of the interactions: a prefix of every user's events, and its pairs.
//!
//! Both ways of holding events back (before a point in time; the oldest 80 % of each user) are
//! prefixes, because a user's events lie in time order. Nothing is copied.

use std::ops::Range;

use rayon::prelude::*;

use crate::interactions::Interactions;

/// Users that one worker handles at a time.
pub(crate) const BLOCK_USERS: usize = 4096;
/// Ranges of columns that rows are turned by, at most; each goes through all rows.
const TURN_RANGES_MAX: usize = 16;

/// The oldest events of each user.
#[derive(Clone, Debug)]
pub(crate) struct Prefix<'a> {
    pub(crate) data: &'a Interactions,
    ends: Vec<usize>,
}

impl<'a> Prefix<'a> {
    /// Everything.
    pub(crate) fn whole(data: &'a Interactions) -> Prefix<'a> {
        Prefix {
            data,
            ends: data.user_starts[1..].to_vec(),
        }
    }

    /// Those of this prefix that happened before `time`.
    pub(crate) fn before(&self, time: i64) -> Prefix<'a> {
        let ends = (0..self.users())
            .into_par_iter()
            .map(|user| {
                let events = self.events_of(user);
                events.start + self.data.event_times[events].partition_point(|&t| t < time)
            })
            .collect();
        Prefix {
            data: self.data,
            ends,
        }
    }

    /// All but the newest floor(0.2 n) events of each user (`docs/MODEL.md`, "Metrics").
    pub(crate) fn oldest_four_fifths(&self) -> Prefix<'a> {
        let ends = (0..self.users())
            .map(|user| {
                let events = self.events_of(user);
                events.end - events.len() / 5
            })
            .collect();
        Prefix {
            data: self.data,
            ends,
        }
    }

    pub(crate) fn users(&self) -> usize {
        self.ends.len()
    }

    pub(crate) fn items(&self) -> usize {
        self.data.items.len()
    }

    pub(crate) fn events_of(&self, user: usize) -> Range<usize> {
        self.data.user_starts[user]..self.ends[user]
    }

    /// The events of `user` in `whole` that this prefix leaves out.
    pub(crate) fn rest_of(&self, whole: &Prefix<'_>, user: usize) -> Range<usize> {
        self.ends[user]..whole.ends[user]
    }

    /// Number of distinct times at which a user has events.
    pub(crate) fn steps_of(&self, user: usize) -> usize {
        let times = &self.data.event_times[self.events_of(user)];
        let changes = times.windows(2).filter(|pair| pair[0] != pair[1]).count();
        changes + usize::from(!times.is_empty())
    }

    /// The users with an event.
    pub(crate) fn known_users(&self) -> Vec<u32> {
        let users = 0..self.users() as u32;
        users
            .filter(|&user| !self.events_of(user as usize).is_empty())
            .collect()
    }

    pub(crate) fn len(&self) -> usize {
        (0..self.users())
            .map(|user| self.events_of(user).len())
            .sum()
    }

    /// First and last time, if there is an event.
    pub(crate) fn span(&self) -> Option<(i64, i64)> {
        (0..self.users())
            .map(|user| self.events_of(user))
            .filter(|events| !events.is_empty())
            .map(|events| {
                let times = &self.data.event_times[events];
                (times[0], times[times.len() - 1])
            })
            .reduce(|a, b| (a.0.min(b.0), a.1.max(b.1)))
    }
}

/// Compressed rows of column numbers.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sparse {
    pub(crate) starts: Vec<usize>,
    pub(crate) indices: Vec<u32>,
}

impl Sparse {
    pub(crate) fn row(&self, row: usize) -> &[u32] {
        &self.indices[self.range(row)]
    }

    pub(crate) fn range(&self, row: usize) -> Range<usize> {
        self.starts[row]..self.starts[row + 1]
    }

    pub(crate) fn rows(&self) -> usize {
        self.starts.len() - 1
    }

    /// Values in the order of these rows, in the order of their transposition. Rows ascend.
    pub(crate) fn turned<T>(&self, transposed: &Sparse, values: &[T]) -> Vec<T>
    where
        T: Copy + Default + Send + Sync,
    {
        let mut turned = vec![T::default(); values.len()];
        self.turn(&transposed.starts, &mut turned, |_, place| values[place]);
        turned
    }

    /// Columns become rows; each new row ascends. Rows ascend.
    pub(crate) fn transposed(&self, columns: usize) -> Sparse {
        let mut starts = vec![0usize; columns + 1];
        for &column in &self.indices {
            starts[column as usize + 1] += 1;
        }
        for column in 0..columns {
            starts[column + 1] += starts[column];
        }
        let mut indices = vec![0u32; self.indices.len()];
        self.turn(&starts, &mut indices, |row, _| row as u32);
        Sparse { starts, indices }
    }

    /// Writes `value(row, place)` of every entry where the transposition, whose rows have these
    /// `starts`, has it. Workers share the columns, and each finds its own in every row.
    fn turn<T: Send>(
        &self,
        starts: &[usize],
        turned: &mut [T],
        value: impl Fn(usize, usize) -> T + Sync,
    ) {
        let count = rayon::current_num_threads().clamp(1, TURN_RANGES_MAX);
        let mut ranges = Vec::with_capacity(count);
        let (mut rest, mut first) = (turned, 0);
        for number in 1..=count {
            let end = match number == count {
                true => starts.len() - 1,
                false => {
                    let share = starts[starts.len() - 1] / count * number;
                    starts.partition_point(|&start| start < share).max(first)
                }
            };
            let (own, others) = rest.split_at_mut(starts[end] - starts[first]);
            ranges.push((first..end, own));
            (rest, first) = (others, end);
        }
        ranges.into_par_iter().for_each(|(columns, own)| {
            let offset = starts[columns.start];
            let mut next: Vec<usize> = starts[columns.clone()].to_vec();
            for row in 0..self.rows() {
                let range = self.range(row);
                let entries = &self.indices[range.clone()];
                let from = entries.partition_point(|&column| (column as usize) < columns.start);
                for (place, &column) in (range.start + from..).zip(&entries[from..]) {
                    let Some(next) = next.get_mut(column as usize - columns.start) else {
                        break;
                    };
                    own[*next - offset] = value(row, place);
                    *next += 1;
                }
            }
        });
    }
}

/// Cuts values that lie user by user into what blocks of [`BLOCK_USERS`] users have; `start(user)` says
/// where a user's begin.
pub(crate) fn by_block<T>(
    values: &mut [T],
    users: usize,
    start: impl Fn(usize) -> usize,
) -> Vec<(Range<usize>, &mut [T])> {
    let mut blocks = Vec::with_capacity(users.div_ceil(BLOCK_USERS));
    let mut rest = values;
    for first in (0..users).step_by(BLOCK_USERS) {
        let end = (first + BLOCK_USERS).min(users);
        let (own, others) = rest.split_at_mut(start(end) - start(first));
        blocks.push((first..end, own));
        rest = others;
    }
    blocks
}

/// The distinct pairs of a prefix, both ways. Events of weight 0 make no pair.
pub(crate) struct Pairs {
    /// The items of each user, ascending.
    pub(crate) by_user: Sparse,
    /// The users of each item, ascending.
    pub(crate) by_item: Sparse,
    /// The largest weight among the events of each pair, in the order of `by_user`; absent if all are 1.
    pub(crate) user_weights: Option<Vec<f32>>,
    /// The same in the order of `by_item`.
    pub(crate) item_weights: Option<Vec<f32>>,
    /// For each event of the data (those of the prefix): the place of its item in the user's row.
    places: Vec<u32>,
}

/// The pairs of a block of users.
struct Block {
    counts: Vec<usize>,
    indices: Vec<u32>,
    weights: Vec<f32>,
}

impl Block {
    /// `places` has a place for each event of the data of these users.
    fn new(prefix: &Prefix<'_>, users: Range<usize>, places: &mut [u32]) -> Block {
        let data = prefix.data;
        let first = data.user_starts[users.start];
        let mut block = Block {
            counts: Vec::with_capacity(users.len()),
            indices: Vec::new(),
            weights: Vec::new(),
        };
        let mut row: Vec<u32> = Vec::new();
        for user in users {
            let events = prefix.events_of(user);
            let counted = events.clone().filter(|&event| data.weight(event) > 0.0);
            row.clear();
            row.extend(counted.clone().map(|event| data.event_items[event]));
            row.sort_unstable();
            row.dedup();
            for event in events {
                let item = data.event_items[event];
                places[event - first] = row.partition_point(|&other| other < item) as u32;
            }
            if !data.event_weights.is_empty() {
                let from = block.weights.len();
                block.weights.resize(from + row.len(), 0.0f32);
                for event in counted {
                    let weight = &mut block.weights[from + places[event - first] as usize];
                    *weight = weight.max(data.weight(event));
                }
            }
            block.indices.extend_from_slice(&row);
            block.counts.push(row.len());
        }
        block
    }
}

impl Pairs {
    pub(crate) fn new(prefix: &Prefix<'_>) -> Pairs {
        let data = prefix.data;
        let mut places = vec![0u32; data.len()];
        let blocks: Vec<Block> =
            by_block(&mut places, prefix.users(), |user| data.user_starts[user])
                .into_par_iter()
                .map(|(users, places)| Block::new(prefix, users, places))
                .collect();
        let pairs = blocks.iter().map(|block| block.indices.len()).sum();
        let mut starts = Vec::with_capacity(prefix.users() + 1);
        let mut indices: Vec<u32> = Vec::with_capacity(pairs);
        let mut user_weights = (!data.event_weights.is_empty()).then(Vec::new);
        starts.push(0);
        for block in blocks {
            for count in &block.counts {
                starts.push(starts[starts.len() - 1] + count);
            }
            indices.extend_from_slice(&block.indices);
            if let Some(weights) = &mut user_weights {
                weights.extend_from_slice(&block.weights);
            }
        }
        let by_user = Sparse { starts, indices };
        let by_item = by_user.transposed(prefix.items());
        let item_weights = user_weights
            .as_ref()
            .map(|weights| by_user.turned(&by_item, weights));
        Pairs {
            by_user,
            by_item,
            user_weights,
            item_weights,
            places,
        }
    }

    /// Calls `each` with the place in `by_user` and the time of the events of `user`, oldest first; events
    /// of weight 0 are left out.
    pub(crate) fn each_event(
        &self,
        prefix: &Prefix<'_>,
        user: usize,
        mut each: impl FnMut(usize, i64),
    ) {
        let first = self.by_user.starts[user];
        for event in prefix.events_of(user) {
            if prefix.data.weight(event) > 0.0 {
                each(
                    first + self.places[event] as usize,
                    prefix.data.event_times[event],
                );
            }
        }
    }

    /// Number of distinct users of an item.
    pub(crate) fn popularity(&self, item: usize) -> usize {
        self.by_item.range(item).len()
    }

    /// Adds `weight(step)` times its own weight to the pair of each event of `user`, the steps counted
    /// back from the latest: events with the same timestamp are one step. `sums` has one place per item of the user's row.
    pub(crate) fn add_by_step(
        &self,
        prefix: &Prefix<'_>,
        user: usize,
        mut weight: impl FnMut(usize, i64) -> f64,
        sums: &mut [f64],
    ) {
        let times = &prefix.data.event_times;
        let mut step = 0;
        let mut current = 0.0;
        let mut last: Option<i64> = None;
        for event in prefix.events_of(user).rev() {
            let time = times[event];
            if last != Some(time) {
                if last.is_some() {
                    step += 1;
                }
                current = weight(step, time);
                last = Some(time);
            }
            let own = f64::from(prefix.data.weight(event));
            if own > 0.0 {
                sums[self.places[event] as usize] += own * current;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::fixtures::interactions;

    #[test]
    fn prefixes_and_pairs_of_a_small_set() {
        let data = interactions(&[
            ("a", "x", 10),
            ("a", "y", 20),
            ("a", "x", 20),
            ("a", "z", 30),
            ("a", "x", 40),
            ("b", "z", 15),
        ]);
        let whole = Prefix::whole(&data);
        assert_eq!(whole.len(), 6);
        assert_eq!(whole.span(), Some((10, 40)));
        let early = whole.before(30);
        assert_eq!((early.events_of(0), early.events_of(1)), (0..3, 5..6));
        assert_eq!(early.rest_of(&whole, 0), 3..5);
        let most = whole.oldest_four_fifths();
        assert_eq!((most.events_of(0), most.events_of(1)), (0..4, 5..6));

        let pairs = Pairs::new(&whole);
        assert_eq!(pairs.by_user.row(0), [0, 1, 2]);
        assert_eq!(pairs.by_item.row(2), [0, 1]);
        let mut sums = vec![0.0; 3];
        pairs.add_by_step(&whole, 0, |step, _| 0.5f64.powi(step as i32), &mut sums);
        // x: steps 0, 2 and 3; y: step 2 (the same step as x at 20); z: step 1.
        assert_eq!(sums, [1.0 + 0.25 + 0.125, 0.25, 0.5]);
    }
}
