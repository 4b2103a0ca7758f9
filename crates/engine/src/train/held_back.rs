//! The events that validation holds back, and who they belong to.

use rayon::prelude::*;

use super::events::{Pairs, Prefix};

/// The events between two prefixes that belong to users and items known before.
pub(crate) struct HeldBack<'a> {
    pub(crate) all: &'a Prefix<'a>,
    pub(crate) before: &'a Prefix<'a>,
    /// Of what came before.
    pub(crate) pairs: Pairs,
    /// Users with such an event.
    pub(crate) users: Vec<u32>,
    pub(crate) events: usize,
}

impl<'a> HeldBack<'a> {
    pub(crate) fn new(all: &'a Prefix<'a>, before: &'a Prefix<'a>) -> HeldBack<'a> {
        let mut held_back = HeldBack {
            all,
            before,
            pairs: Pairs::new(before),
            users: Vec::new(),
            events: 0,
        };
        let counts: Vec<u32> = (0..all.users() as u32)
            .into_par_iter()
            .map(|user| held_back.events_of(user).count() as u32)
            .collect();
        for (user, count) in (0..).zip(counts) {
            if count > 0 {
                held_back.events += count as usize;
                held_back.users.push(user);
            }
        }
        held_back
    }

    /// Items and weights of the held-back events of a user.
    pub(crate) fn events_of(&self, user: u32) -> impl Iterator<Item = (u32, f64)> {
        let known = !self.before.events_of(user as usize).is_empty();
        let data = self.all.data;
        let rest = if known {
            self.before.rest_of(self.all, user as usize)
        } else {
            0..0
        };
        rest.map(move |event| (data.event_items[event], f64::from(data.weight(event))))
            .filter(|&(item, weight)| weight > 0.0 && self.pairs.popularity(item as usize) > 0)
    }

    /// Up to `count` of the users, evenly spaced.
    pub(crate) fn some_users(&self, count: usize) -> Vec<u32> {
        let users = &self.users;
        if users.len() <= count {
            return users.clone();
        }
        (0..count).map(|i| users[i * users.len() / count]).collect()
    }
}
