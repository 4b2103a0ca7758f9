//! A model that is asked for attributes: the towers, the index of attributes, and who did how much.
//!
//! Instead of repaired scores the history has counts: for each pair the weighted number of events, and
//! the same with every event decayed by its age. The score is made by `score::attributes` from these,
//! the towers and the head in the card.

use super::{Card, Model};
use crate::attributes::AttributeIndex;
use crate::attributes::head::AttributeHead;
use crate::train::events::Prefix;

const SECONDS_PER_DAY: f64 = 86_400.0;

/// A trained model of `aws-item-attribute-affinity`.
#[derive(Clone, Debug, PartialEq)]
pub struct AttributeModel {
    model: Model,
    index: AttributeIndex,
    counts: Counts,
    totals: Totals,
}

/// Posting lists: for each item the users with events on it, and how much they did.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Counts {
    pub(crate) starts: Vec<usize>,
    pub(crate) users: Vec<u32>,
    pub(crate) events: Vec<f32>,
    pub(crate) recent: Vec<f32>,
}

/// Sums over the counts.
#[derive(Clone, Debug, Default, PartialEq)]
struct Totals {
    user_events: Vec<f32>,
    user_recent: Vec<f32>,
    item_events: Vec<f64>,
    events: f64,
}

impl Counts {
    /// Counts the events of `prefix`; an event decays by exp(−age / τ), its age counted back from the
    /// user's last event.
    pub(crate) fn new(prefix: &Prefix<'_>, tau_days: f64) -> Counts {
        let tau = tau_days * SECONDS_PER_DAY;
        let data = prefix.data;
        let mut rows: Vec<(u32, u32, f64, f64)> = Vec::new();
        let mut row: Vec<(u32, f64, f64)> = Vec::new();
        for user in 0..prefix.users() {
            let events = prefix.events_of(user);
            let Some(last) = events.clone().last() else {
                continue;
            };
            let last = data.event_times[last];
            row.clear();
            row.extend(events.map(|event| {
                let age = last.saturating_sub(data.event_times[event]) as f64;
                let weight = f64::from(data.weight(event));
                (
                    data.event_items[event],
                    weight,
                    weight * libm::exp(-age / tau),
                )
            }));
            // Stable: the events of a pair are added in the order of time.
            row.sort_by_key(|entry| entry.0);
            for pair in row.chunk_by(|a, b| a.0 == b.0) {
                let sum = |each: fn(&(u32, f64, f64)) -> f64| pair.iter().map(each).sum();
                rows.push((pair[0].0, user as u32, sum(|e| e.1), sum(|e| e.2)));
            }
        }
        Counts::by_item(&rows, prefix.items())
    }

    /// Turns rows of (item, user, events, recent), ascending by user, into posting lists.
    fn by_item(rows: &[(u32, u32, f64, f64)], items: usize) -> Counts {
        let mut starts = vec![0usize; items + 1];
        for row in rows {
            starts[row.0 as usize + 1] += 1;
        }
        for item in 0..items {
            starts[item + 1] += starts[item];
        }
        let mut next = starts.clone();
        let mut counts = Counts {
            starts,
            users: vec![0; rows.len()],
            events: vec![0.0; rows.len()],
            recent: vec![0.0; rows.len()],
        };
        for &(item, user, events, recent) in rows {
            let place = next[item as usize];
            next[item as usize] += 1;
            counts.users[place] = user;
            counts.events[place] = events as f32;
            counts.recent[place] = recent as f32;
        }
        counts
    }

    /// Users (ascending), events and decayed events of an item.
    pub fn of(&self, item: usize) -> (&[u32], &[f32], &[f32]) {
        let range = self.starts[item]..self.starts[item + 1];
        (
            &self.users[range.clone()],
            &self.events[range.clone()],
            &self.recent[range],
        )
    }

    fn check(&self, users: usize, items: usize) -> Result<(), String> {
        let pairs = self.users.len();
        if self.starts.len() != items + 1 || self.starts.last() != Some(&pairs) {
            return Err("the history is not that of the items".into());
        }
        let ordered = (0..items).all(|item| {
            self.starts[item] <= self.starts[item + 1] && {
                let users_of = self.of(item).0;
                users_of.windows(2).all(|pair| pair[0] < pair[1])
                    && users_of.last().is_none_or(|&user| (user as usize) < users)
            }
        });
        if !ordered || self.events.len() != pairs || self.recent.len() != pairs {
            return Err("the history is not ordered by item and user".into());
        }
        let counts = || self.events.iter().chain(&self.recent);
        if counts().any(|count| !count.is_finite() || *count < 0.0) {
            return Err("a count of the history is negative or not a number".into());
        }
        Ok(())
    }

    fn totals(&self, users: usize) -> Totals {
        let mut user_events = vec![0.0f64; users];
        let mut user_recent = vec![0.0f64; users];
        let mut item_events = Vec::with_capacity(self.starts.len());
        for item in 0..self.starts.len() - 1 {
            let (users, events, recent) = self.of(item);
            let mut sum = 0.0;
            for ((&user, &events), &recent) in users.iter().zip(events).zip(recent) {
                user_events[user as usize] += f64::from(events);
                user_recent[user as usize] += f64::from(recent);
                sum += f64::from(events);
            }
            item_events.push(sum);
        }
        let narrow = |sums: Vec<f64>| sums.into_iter().map(|sum| sum as f32).collect();
        Totals {
            events: item_events.iter().sum(),
            user_events: narrow(user_events),
            user_recent: narrow(user_recent),
            item_events,
        }
    }
}

impl AttributeModel {
    /// Puts the parts together, or says in words which of them do not fit. The model has no history of
    /// its own; its card has the choices of the training.
    pub(crate) fn new(
        model: Model,
        index: AttributeIndex,
        counts: Counts,
    ) -> Result<AttributeModel, String> {
        let (n, m) = (model.users().len(), model.items().len());
        counts.check(n, m)?;
        if index.items_max().is_some_and(|item| item as usize >= m) {
            return Err("an attribute belongs to an unknown item".into());
        }
        if model.card().choices.is_none() {
            return Err("the card has no choices".into());
        }
        Ok(AttributeModel {
            totals: counts.totals(n),
            model,
            index,
            counts,
        })
    }

    /// Ids, vectors and offsets, and the card.
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// What is known about the training.
    pub fn card(&self) -> &Card {
        self.model.card()
    }

    /// For the caller's facts: snapshot, head and metrics.
    pub fn card_mut(&mut self) -> &mut Card {
        self.model.card_mut()
    }

    /// How scores are made, if that was fitted already.
    pub fn head(&self) -> Option<&AttributeHead> {
        self.card().attribute_head.as_ref()
    }

    /// Which items have which attribute.
    pub fn index(&self) -> &AttributeIndex {
        &self.index
    }

    /// Who did how much.
    pub fn counts(&self) -> &Counts {
        &self.counts
    }

    /// Weighted events and decayed events of a user.
    pub(crate) fn user_totals(&self, user: usize) -> (f32, f32) {
        (self.totals.user_events[user], self.totals.user_recent[user])
    }

    /// Weighted events of an item.
    pub(crate) fn item_events(&self, item: usize) -> f64 {
        self.totals.item_events[item]
    }

    /// Weighted events of all items.
    pub(crate) fn events(&self) -> f64 {
        self.totals.events
    }

    /// Bytes the model holds, about.
    pub fn bytes(&self) -> u64 {
        let pairs = self.counts.users.len() * 12 + self.counts.starts.len() * 16;
        self.model.bytes() + self.index.bytes() + (pairs + self.model.users().len() * 8) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::fixtures::interactions;

    #[test]
    fn events_are_counted_by_pair_and_decay_from_the_users_last() {
        let day = 86_400;
        let mut data = interactions(&[
            ("a", "x", 0),
            ("a", "x", 10 * day),
            ("a", "y", 10 * day),
            ("b", "y", 0),
        ]);
        data.event_weights = vec![1.0, 0.5, 0.5, 1.0];
        let counts = Counts::new(&Prefix::whole(&data), 10.0);
        let decayed = libm::exp(-1.0) as f32;
        assert_eq!(counts.of(0), (&[0][..], &[1.5][..], &[0.5 + decayed][..]));
        assert_eq!(
            counts.of(1),
            (&[0, 1][..], &[0.5, 1.0][..], &[0.5, 1.0][..])
        );
        let totals = counts.totals(2);
        assert_eq!(totals.user_events, [2.0, 1.0]);
        assert_eq!((totals.item_events, totals.events), (vec![1.5, 1.5], 3.0));
        assert!(counts.check(2, 2).is_ok() && counts.check(1, 2).is_err());
    }
}
