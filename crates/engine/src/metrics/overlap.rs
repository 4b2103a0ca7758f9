//! How much the lists of different queries have in common.

/// Σ over users of (lists naming them)² counts the common places of all ordered pairs of lists, so
/// the lists themselves need not be kept.
pub(crate) struct Overlaps {
    lists: usize,
    /// Places of a list, also of one that could not be filled.
    k: usize,
    named: Vec<u64>,
    active: Vec<bool>,
    shared_active: usize,
}

impl Overlaps {
    /// For lists of users numbered below `users`; `most_active` is the list they are compared with,
    /// and as long as they can be.
    pub(crate) fn new(users: usize, most_active: &[u32]) -> Overlaps {
        let mut active = vec![false; users];
        for &user in most_active {
            active[user as usize] = true;
        }
        Overlaps {
            lists: 0,
            k: most_active.len(),
            named: vec![0; users],
            active,
            shared_active: 0,
        }
    }

    /// The list of a query.
    pub(crate) fn add(&mut self, list: &[u32]) {
        self.lists += 1;
        for &user in list {
            self.named[user as usize] += 1;
            self.shared_active += usize::from(self.active[user as usize]);
        }
    }

    /// Mean share of a list that another query's list has, too.
    pub(crate) fn mean(&self) -> f64 {
        if self.lists < 2 || self.k == 0 {
            return 0.0;
        }
        let common: f64 = self
            .named
            .iter()
            .map(|&c| c as f64 * (c.max(1) - 1) as f64)
            .sum();
        common / (self.k * self.lists) as f64 / (self.lists - 1) as f64
    }

    /// Mean share of a list that the most active users' list has, too.
    pub(crate) fn mean_active(&self) -> f64 {
        self.shared_active as f64 / (self.k * self.lists).max(1) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overlaps_of_three_lists() {
        let mut overlaps = Overlaps::new(6, &[0, 1]);
        overlaps.add(&[0, 1]);
        overlaps.add(&[0, 2]);
        overlaps.add(&[4, 5]);
        // Of six ordered pairs two share one of two places: 2 · 0.5 / 6.
        assert!((overlaps.mean() - 1.0 / 6.0).abs() < 1e-12);
        assert!((overlaps.mean_active() - 0.5).abs() < 1e-12);
        // A list that could not be filled shares a place with two others: 6 of 12 ordered pairs do.
        overlaps.add(&[0]);
        assert!((overlaps.mean() - 6.0 * 0.5 / 12.0).abs() < 1e-12);
        assert!((overlaps.mean_active() - 4.0 / 8.0).abs() < 1e-12);
    }
}
