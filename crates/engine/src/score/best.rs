//! The k best (score, user) of one query, in bounded memory.

use std::cmp::Ordering;

use super::Ranking;

/// Entries beyond 2k before the list is cut.
const ROOM: usize = 64;

/// Lists for fewer than this many grow as they fill.
const GROWING_MAX: usize = 4096;

/// Length at which a list is cut.
fn room(k: usize) -> usize {
    2 * k + ROOM
}

/// Higher score first, then lower user number.
fn order(a: &(f64, u32), b: &(f64, u32)) -> Ordering {
    b.0.total_cmp(&a.0).then(a.1.cmp(&b.1))
}

#[derive(Debug)]
pub(super) struct Best {
    k: usize,
    entries: Vec<(f64, u32)>,
    /// The list is cut when it gets this long.
    full: usize,
    /// The k-th best when the list was last cut; nothing worse is wanted.
    worst: Option<(f64, u32)>,
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
        }
    }

    /// Most memory of one list.
    pub(super) fn bytes(k: usize) -> usize {
        // A vector that grows by doubling can have twice the room it needs.
        let growth = if k < GROWING_MAX { 2 } else { 1 };
        growth * room(k) * size_of::<(f64, u32)>()
    }

    /// No score below it is wanted.
    pub(super) fn threshold(&self) -> f64 {
        self.worst.map_or(f64::NEG_INFINITY, |worst| worst.0)
    }

    pub(super) fn wants(&self, score: f64, user: u32) -> bool {
        // A zero of either sign is the same score.
        self.worst
            .is_none_or(|worst| order(&(score + 0.0, user), &worst) == Ordering::Less)
    }

    pub(super) fn offer(&mut self, score: f64, user: u32) {
        if !self.wants(score, user) {
            return;
        }
        self.entries.push((score + 0.0, user));
        if self.entries.len() >= self.full {
            self.cut();
        }
    }

    /// Whether all that are asked for score no less than this.
    pub(super) fn is_full_from(&self, score: f64) -> bool {
        let reach = self.entries.iter().filter(|entry| entry.0 >= score);
        reach.take(self.k).count() == self.k
    }

    fn cut(&mut self) {
        if self.entries.len() > self.k {
            self.entries.select_nth_unstable_by(self.k - 1, order);
            self.entries.truncate(self.k);
            self.worst = Some(self.entries[self.k - 1]);
        } else {
            self.worst = self.entries.iter().copied().max_by(order);
        }
        self.full = room(self.k);
    }

    pub(super) fn into_ranking(mut self) -> Ranking {
        if self.entries.len() > self.k && self.k < DIGITS_MIN {
            self.cut();
        }
        sort(&mut self.entries);
        self.entries.truncate(self.k);
        Ranking {
            users: self.entries.iter().map(|entry| entry.1).collect(),
            scores: self.entries.iter().map(|entry| entry.0 as f32).collect(),
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
fn sort(entries: &mut Vec<(f64, u32)>) {
    if entries.len() < DIGITS_MIN {
        entries.sort_unstable_by(order);
        return;
    }
    let bounds = (u64::MAX, 0);
    let (low, high) = entries.iter().fold(bounds, |(low, high), entry| {
        let key = key(entry.0);
        (key.min(low), key.max(high))
    });
    // The highest bits in which keys of this list differ at all.
    let below = (u64::BITS - (high - low).leading_zeros()).saturating_sub(DIGIT_BITS * DIGITS);
    let key = |entry: &(f64, u32)| (key(entry.0) - low) >> below;
    let value = |entry: &(f64, u32), digit: u32| {
        (key(entry) >> (digit * DIGIT_BITS)) as usize % DIGIT_VALUES
    };
    let mut counts = vec![[0usize; DIGIT_VALUES]; DIGITS as usize];
    for entry in entries.iter() {
        for (digit, counts) in (0..).zip(&mut counts) {
            counts[value(entry, digit)] += 1;
        }
    }
    let mut moved = vec![(0.0, 0); entries.len()];
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

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(20))]
        #[test]
        fn long_lists_are_sorted_as_short_ones(
            scores in prop::collection::vec(prop_oneof![any::<f64>(), (-3i8..3).prop_map(f64::from)], DIGITS_MIN..3 * DIGITS_MIN)
        ) {
            let mut entries: Vec<(f64, u32)> = scores.into_iter().zip((0..).map(|n: u32| n * 7919 % 10_007)).collect();
            let mut expected = entries.clone();
            expected.sort_by(order);
            sort(&mut entries);
            let bits = |entries: &[(f64, u32)]| -> Vec<(u64, u32)> {
                entries.iter().map(|entry| (entry.0.to_bits(), entry.1)).collect()
            };
            prop_assert_eq!(bits(&entries), bits(&expected));
        }
    }
}
