//! The k best (score, user) of one query, in bounded memory.

use std::cmp::Ordering;

use super::Ranking;

/// Entries beyond those that are wanted before a short list is cut.
const ROOM: usize = 64;

/// Lists for fewer than this many grow as they fill.
const GROWING_MAX: usize = 4096;

/// A list for so many that does not grow is cut when it is this part longer.
const ROOM_PART: usize = 4;

/// Length at which a list is cut.
fn room(k: usize) -> usize {
    if k < GROWING_MAX {
        2 * k + ROOM
    } else {
        k + k / ROOM_PART
    }
}

/// A user who was met. Four bytes of padding in each would be a quarter of a long list.
#[derive(Clone, Copy, Debug)]
#[repr(Rust, packed(4))]
struct Entry {
    score: f64,
    user: u32,
}

/// Higher score first, then lower user number.
fn order(a: &Entry, b: &Entry) -> Ordering {
    let (higher, lower) = (b.score, a.score);
    higher.total_cmp(&lower).then({ a.user }.cmp(&{ b.user }))
}

#[derive(Debug)]
pub(super) struct Best {
    k: usize,
    entries: Vec<Entry>,
    /// The list is cut when it gets this long.
    full: usize,
    /// The k-th best when the list was last cut; nothing worse is wanted.
    worst: Option<Entry>,
    /// No score below it is wanted.
    floor: f64,
}

impl Best {
    /// For the `k` best of at most `users`.
    pub(super) fn new(k: usize, users: usize) -> Best {
        Best {
            k,
            entries: Vec::with_capacity(if k < GROWING_MAX {
                0
            } else {
                room(k).min(users)
            }),
            // First cut as soon as there are k: a threshold early saves most of the scan.
            full: k.min(users),
            worst: None,
            floor: f64::NEG_INFINITY,
        }
    }

    /// Most memory of one list.
    pub(super) fn bytes(k: usize) -> usize {
        // A vector that grows by doubling can have twice the room it needs.
        let growth = if k < GROWING_MAX { 2 } else { 1 };
        growth * room(k) * size_of::<Entry>()
    }

    /// From now on no score below this one, if it is a number, is wanted, and none is in the list.
    pub(super) fn start_from(&mut self, floor: f64) {
        if !floor.is_nan() {
            self.floor = floor;
            // The floor does what an early cut is for.
            self.full = room(self.k).max(self.k + 1);
            self.entries.retain(|entry| { entry.score } >= floor);
        }
    }

    /// No score below it is wanted.
    pub(super) fn threshold(&self) -> f64 {
        self.worst
            .map_or(self.floor, |worst| worst.score.max(self.floor))
    }

    pub(super) fn wants(&self, score: f64, user: u32) -> bool {
        // A zero of either sign is the same score.
        let score = score + 0.0;
        score >= self.floor
            && self
                .worst
                .is_none_or(|worst| order(&Entry { score, user }, &worst) == Ordering::Less)
    }

    pub(super) fn offer(&mut self, score: f64, user: u32) {
        if !self.wants(score, user) {
            return;
        }
        let score = score + 0.0;
        self.entries.push(Entry { score, user });
        if self.entries.len() >= self.full {
            self.cut();
        }
    }

    /// Whether a floor kept some out that belong to the k best.
    pub(super) fn lacks(&self) -> bool {
        self.floor > f64::NEG_INFINITY && self.entries.len() < self.k
    }

    fn cut(&mut self) {
        if self.entries.len() > self.k {
            self.entries.select_nth_unstable_by(self.k - 1, order);
            self.entries.truncate(self.k);
            self.worst = Some(self.entries[self.k - 1]);
        } else {
            self.worst = self.entries.iter().copied().max_by(order);
        }
        self.full = room(self.k).max(self.k + 1);
    }

    pub(super) fn into_ranking(mut self) -> Ranking {
        if self.entries.len() > self.k && self.k < DIGITS_MIN {
            self.cut();
        }
        sort(&mut self.entries);
        self.entries.truncate(self.k);
        Ranking {
            users: self.entries.iter().map(|entry| entry.user).collect(),
            scores: self
                .entries
                .iter()
                .map(|entry| entry.score as f32)
                .collect(),
        }
    }
}

/// Lists from this length on are sorted by digits.
const DIGITS_MIN: usize = 2048;
/// Bits of a digit.
const DIGIT_BITS: u32 = 11;
/// Digits that are sorted by; scores of a list that differ only below them are few.
const DIGITS: u32 = 3;
const DIGIT_VALUES: usize = 1 << DIGIT_BITS;

/// Sorts by [`order`].
fn sort(entries: &mut Vec<Entry>) {
    if entries.len() < DIGITS_MIN {
        entries.sort_unstable_by(order);
        return;
    }
    let bounds = (u64::MAX, 0);
    let (low, high) = entries.iter().fold(bounds, |(low, high), entry| {
        let key = key(entry.score);
        (key.min(low), key.max(high))
    });
    // The highest bits in which keys of this list differ at all.
    let below = (u64::BITS - (high - low).leading_zeros()).saturating_sub(DIGIT_BITS * DIGITS);
    let key = |entry: &Entry| (key(entry.score) - low) >> below;
    let value =
        |entry: &Entry, digit: u32| (key(entry) >> (digit * DIGIT_BITS)) as usize % DIGIT_VALUES;
    let mut counts = vec![[0usize; DIGIT_VALUES]; DIGITS as usize];
    for entry in entries.iter() {
        for (digit, counts) in (0..).zip(&mut counts) {
            counts[value(entry, digit)] += 1;
        }
    }
    let none = Entry {
        score: 0.0,
        user: 0,
    };
    let mut moved = vec![none; entries.len()];
    for (digit, places) in (0..).zip(&mut counts) {
        if places.contains(&entries.len()) {
            continue;
        }
        let mut next = 0;
        for place in places.iter_mut() {
            next += std::mem::replace(place, next);
        }
        for entry in entries.iter() {
            let place = &mut places[value(entry, digit)];
            moved[*place] = *entry;
            *place += 1;
        }
        std::mem::swap(entries, &mut moved);
    }
    for alike in entries.chunk_by_mut(|a, b| key(a) == key(b)) {
        alike.sort_unstable_by(order);
    }
}

/// A number that ascends as scores descend in their total order.
fn key(score: f64) -> u64 {
    let bits = score.to_bits();
    let negative = bits >> 63 == 1;
    if negative { bits } else { !bits & !(1 << 63) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn keys_ascend_as_scores_descend() {
        let scores = [
            f64::INFINITY,
            1e300,
            1.0,
            1e-310,
            0.0,
            -1e-310,
            -1.0,
            f64::NEG_INFINITY,
        ];
        for pair in scores.windows(2) {
            assert!(key(pair[0]) < key(pair[1]), "{pair:?}");
        }
    }

    #[test]
    fn a_floor_keeps_out_and_says_when_it_was_too_high() {
        let mut best = Best::new(3, 100);
        for user in 0..5 {
            best.offer(f64::from(user), user);
        }
        best.start_from(f64::NAN);
        assert!(!best.lacks() && best.threshold() == 0.0);
        best.start_from(3.5);
        assert!(best.lacks() && best.threshold() == 3.5);
        assert!(!best.wants(3.4, 9) && best.wants(3.5, 9));
        best.offer(3.5, 9);
        best.offer(3.5, 8);
        assert!(!best.lacks());
        assert_eq!(best.into_ranking().users, [4, 8, 9]);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(20))]
        #[test]
        fn long_lists_are_sorted_as_short_ones(
            scores in prop::collection::vec(prop_oneof![any::<f64>(), (-3i8..3).prop_map(f64::from)], DIGITS_MIN..3 * DIGITS_MIN)
        ) {
            let users = (0..).map(|n: u32| n * 7919 % 10_007);
            let mut entries: Vec<Entry> = scores.into_iter().zip(users).map(|(score, user)| Entry { score, user }).collect();
            let mut expected = entries.clone();
            expected.sort_by(order);
            sort(&mut entries);
            let bits = |entries: &[Entry]| -> Vec<(u64, u32)> {
                entries.iter().map(|entry| ({ entry.score }.to_bits(), entry.user)).collect()
            };
            prop_assert_eq!(bits(&entries), bits(&expected));
        }
    }
}
