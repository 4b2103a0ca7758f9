//! Simple rankings that a model has to beat: random, most active, most recent, own history alone.

use rand::seq::index;
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

use crate::train::events::{Pairs, Prefix, Sparse, by_block};

/// Decay time of the own history in seconds: 120 days.
const OWN_DECAY_SECONDS: f64 = 120.0 * 86_400.0;

/// `k` of the users by chance, in random order.
pub(crate) fn drawn(random: &mut ChaCha8Rng, users: &[u32], k: usize) -> Vec<u32> {
    index::sample(random, users.len(), k.min(users.len()))
        .into_iter()
        .map(|place| users[place])
        .collect()
}

/// The `k` users with the highest value of (events, last time), ties by number; users without events
/// are left out.
pub(crate) fn ranked(
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

/// Who had the item before, by how much of their behaviour it is and how active they are:
/// share × (1 + events in the last horizon), where the share is Σ exp(−age/120 days) over the user's
/// events with the item, divided by the same sum over all events of the user; ages count from the
/// user's last event.
pub(crate) struct OwnHistory {
    /// Users of each item, ascending, and in `values` what they are worth.
    users: Sparse,
    values: Vec<f64>,
}

impl OwnHistory {
    /// Of everything in `training`, where the last horizon starts at `recent`.
    pub(crate) fn new(training: &Prefix<'_>, pairs: &Pairs, recent: i64) -> OwnHistory {
        let mut by_user = vec![0.0; pairs.by_user.indices.len()];
        let start = |user: usize| pairs.by_user.starts[user];
        by_block(&mut by_user, training.users(), start)
            .into_par_iter()
            .for_each(|(users, sums)| {
                let first = start(users.start);
                for user in users {
                    let range = pairs.by_user.range(user);
                    let sums = &mut sums[range.start - first..range.end - first];
                    Self::of_user(training, pairs, recent, user, sums);
                }
            });
        let values = pairs.by_user.turned(&pairs.by_item, &by_user);
        OwnHistory {
            users: pairs.by_item.clone(),
            values,
        }
    }

    /// What each of a user's pairs is worth.
    fn of_user(training: &Prefix<'_>, pairs: &Pairs, recent: i64, user: usize, sums: &mut [f64]) {
        let times = &training.data.event_times;
        let events = training.events_of(user);
        let Some(&last) = times[events.clone()].last() else {
            return;
        };
        let row = pairs.by_user.row(user);
        let mut total = 0.0;
        let mut newer = 0usize;
        for event in events {
            let age = last.saturating_sub(times[event]) as f64;
            let weight = libm::exp(-age / OWN_DECAY_SECONDS);
            // An event of weight 0 is in no pair.
            if let Ok(place) = row.binary_search(&training.data.event_items[event]) {
                sums[place] += weight;
            }
            total += weight;
            newer += usize::from(times[event] >= recent);
        }
        for sum in sums {
            *sum = *sum / total * (1 + newer) as f64;
        }
    }

    /// The `k` best users of the items, ties by number, filled up with `fill`.
    pub(crate) fn top(&self, items: &[u32], k: usize, fill: &[u32]) -> Vec<u32> {
        let mut worth: Vec<(u32, f64)> = items
            .iter()
            .flat_map(|&item| {
                let range = self.users.range(item as usize);
                let users = self.users.indices[range.clone()].iter().copied();
                users.zip(self.values[range].iter().copied())
            })
            .collect();
        // Stable, so that a user's values add up in the order of the items.
        worth.sort_by_key(|entry| entry.0);
        worth.dedup_by(|next, kept| {
            let same = next.0 == kept.0;
            if same {
                kept.1 += next.1;
            }
            same
        });
        let seen: Vec<u32> = worth.iter().map(|entry| entry.0).collect();
        // As 32-bit numbers: what is equal but for the rounding of the sums is a tie.
        worth.sort_unstable_by(|a, b| {
            let (left, right) = (a.1 as f32, b.1 as f32);
            right.total_cmp(&left).then(a.0.cmp(&b.0))
        });
        let own = worth.into_iter().map(|entry| entry.0);
        own.chain(without(fill, &seen)).take(k).collect()
    }
}

/// `list` but for the users in `seen`, which ascends.
pub(crate) fn without<'a>(list: &'a [u32], seen: &'a [u32]) -> impl Iterator<Item = u32> + 'a {
    list.iter()
        .copied()
        .filter(|user| seen.binary_search(user).is_err())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::fixtures::interactions;

    const DAY: i64 = 86_400;

    #[test]
    fn own_history_by_share_and_recent_events() {
        let data = interactions(&[
            ("a", "x", 0),
            ("a", "y", 120 * DAY),
            ("b", "x", 100 * DAY),
            ("c", "y", 110 * DAY),
            ("d", "z", 1),
            ("d", "z", 2),
        ]);
        let whole = Prefix::whole(&data);
        let pairs = Pairs::new(&whole);
        let own = OwnHistory::new(&whole, &pairs, 110 * DAY);
        let old = (-1.0f64).exp();
        // a: x 120 days before the last event; one event of the last horizon, as c.
        let expected = [2.0 * old / (1.0 + old), 1.0, 2.0 / (1.0 + old), 2.0, 1.0];
        for (found, expected) in own.values.iter().zip(expected) {
            assert!((found - expected).abs() < 1e-12, "{found} {expected}");
        }
        let active = ranked(&whole, 9, |events, _| events.len() as i64);
        assert_eq!(active, [0, 3, 1, 2]);
        assert_eq!(ranked(&whole, 2, |_, last| last), [0, 2]);
        assert_eq!(own.top(&[0], 4, &active), [1, 0, 3, 2]);
        assert_eq!(own.top(&[0], 1, &active), [1]);
        // Either of x and y: a has 2, as has c; b has 1.
        assert_eq!(own.top(&[0, 1], 4, &active), [0, 2, 1, 3]);
    }
}
