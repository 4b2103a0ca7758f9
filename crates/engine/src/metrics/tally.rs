//! Adding up hits, recall and coverage over the queries.

use crate::model::Baseline;

/// What a ranking reached over the queries so far.
#[derive(Clone, Debug)]
pub(crate) struct Tally {
    queries: usize,
    hits: f64,
    recall: f64,
    named: Vec<bool>,
    /// The recall's denominator is at most this.
    actual_max: usize,
}

impl Tally {
    /// For rankings of users numbered below `users`.
    pub(crate) fn new(users: usize, actual_max: usize) -> Tally {
        Tally {
            queries: 0,
            hits: 0.0,
            recall: 0.0,
            named: vec![false; users],
            actual_max,
        }
    }

    /// A query: who was predicted, who came (ascending, not empty).
    pub(crate) fn add(&mut self, predicted: &[u32], actual: &[u32]) {
        for &user in predicted {
            self.named[user as usize] = true;
        }
        let hits = hits(predicted, actual);
        self.queries += 1;
        self.hits += hits as f64;
        self.recall += hits as f64 / actual.len().min(self.actual_max) as f64;
    }

    pub(crate) fn queries(&self) -> usize {
        self.queries
    }

    pub(crate) fn hits(&self) -> f64 {
        self.hits / self.queries.max(1) as f64
    }

    pub(crate) fn recall(&self) -> f64 {
        self.recall / self.queries.max(1) as f64
    }

    /// Share of `population` users that occur in any list.
    pub(crate) fn coverage(&self, population: usize) -> f64 {
        let named = self.named.iter().filter(|&&named| named).count();
        named as f64 / population.max(1) as f64
    }

    pub(crate) fn into_baseline(self, name: &str, population: usize) -> Baseline {
        Baseline {
            coverage: self.coverage(population),
            hits_at_1_percent: self.hits(),
            recall_at_1_percent: self.recall(),
            name: name.into(),
        }
    }
}

/// How many of `predicted` are among `actual`, which ascends.
pub(crate) fn hits(predicted: &[u32], actual: &[u32]) -> usize {
    predicted
        .iter()
        .filter(|user| actual.binary_search(user).is_ok())
        .count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worked_case_of_the_definition() {
        // U = 200, K = 2; a: actual {1,2,3}, predicted {1,9}; b: actual {4}, predicted {4,1}.
        let mut tally = Tally::new(200, 2);
        tally.add(&[1, 9], &[1, 2, 3]);
        tally.add(&[4, 1], &[4]);
        let found = tally.into_baseline("toy", 200);
        assert_eq!(found.hits_at_1_percent, 1.0);
        assert_eq!(found.recall_at_1_percent, 0.75);
        assert_eq!(found.coverage, 0.015);
    }

    #[test]
    fn no_queries_are_zeros() {
        let found = Tally::new(5, 1).into_baseline("none", 5);
        assert_eq!(
            (
                found.hits_at_1_percent,
                found.recall_at_1_percent,
                found.coverage
            ),
            (0.0, 0.0, 0.0)
        );
    }
}
