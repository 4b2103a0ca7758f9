//! The k best (score, user) of one query, in bounded memory.

use std::cmp::Ordering;

use super::Ranking;

/// Entries beyond 2k before the list is cut.
const ROOM: usize = 64;

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
            entries: Vec::new(),
            // First cut as soon as there are k: a threshold early saves most of the scan.
            full: k.min(users),
            worst: None,
        }
    }

    /// Most memory of one list.
    pub(super) fn bytes(k: usize) -> usize {
        // A vector that grows by doubling can have twice the room it needs.
        2 * (2 * k + ROOM) * size_of::<(f64, u32)>()
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

    fn cut(&mut self) {
        if self.entries.len() > self.k {
            self.entries.select_nth_unstable_by(self.k - 1, order);
            self.entries.truncate(self.k);
            self.worst = Some(self.entries[self.k - 1]);
        } else {
            self.worst = self.entries.iter().copied().max_by(order);
        }
        self.full = 2 * self.k + ROOM;
    }

    pub(super) fn into_ranking(mut self) -> Ranking {
        self.entries.sort_unstable_by(order);
        self.entries.truncate(self.k);
        Ranking {
            users: self.entries.iter().map(|entry| entry.1).collect(),
            scores: self.entries.iter().map(|entry| entry.0 as f32).collect(),
        }
    }
}
