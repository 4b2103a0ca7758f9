//! What a run answers: the distinct pairs of a question and an audience, in one order.
//!
//! The first look at the lines notes what is asked, the second finds the place of each line's answer.
//! Without a filter of the lines there is one audience and a table by question; with one, the pairs
//! are sorted, audience first, so that those who choose from the same users are neighbours.

/// Most different pairs in one run, so that memory does not grow with the input.
pub(crate) const PAIRS_MAX: usize = 20_000_000;
/// Pairs that are collected before repeated ones are dropped for the first time.
const TIDY_PAIRS: usize = 1 << 20;

/// The pairs of a run.
#[derive(Debug)]
pub(crate) struct Distinct {
    /// For every question its place, plus one; 0 where it is not asked. Only with one audience.
    places: Vec<u32>,
    /// Audience (high half) and question; while lines are noted, in any order and repeated.
    pairs: Vec<u64>,
    /// How many pairs there may be until repeated ones are dropped.
    tidy_at: usize,
    /// There are too many pairs; no more are noted.
    full: bool,
    one_audience: bool,
}

impl Distinct {
    pub(crate) fn new(one_audience: bool) -> Distinct {
        Distinct {
            places: Vec::new(),
            pairs: Vec::new(),
            tidy_at: TIDY_PAIRS,
            full: false,
            one_audience,
        }
    }

    /// Takes note that the question is asked of the audience.
    pub(crate) fn note(&mut self, question: u32, audience: u32) {
        if !self.one_audience {
            if !self.full {
                self.pairs.push(pair(question, audience));
            }
            if self.pairs.len() >= self.tidy_at {
                self.tidy();
                self.tidy_at = TIDY_PAIRS.max(2 * self.pairs.len());
            }
            return;
        }
        let question = question as usize;
        if question >= self.places.len() {
            self.places.resize(question + 1, 0);
        }
        self.places[question] = 1;
    }

    /// Ends the first look, the questions having the numbers `renumbered` gives them, if any.
    ///
    /// # Errors
    /// A sentence for the user, if there are too many pairs.
    pub(crate) fn close(&mut self, renumbered: Option<&[u32]>) -> Result<(), String> {
        for (question, place) in self.places.iter().enumerate() {
            if *place > 0 {
                self.pairs.push(question as u64);
            }
        }
        if let Some(numbers) = renumbered {
            for key in &mut self.pairs {
                *key = pair(numbers[*key as u32 as usize], (*key >> 32) as u32);
            }
        }
        self.tidy();
        if self.full {
            return Err(format!(
                "Input asks for more than {PAIRS_MAX} different combinations of queries and filter values."
            ));
        }
        self.places.fill(0);
        if self.one_audience {
            for (key, place) in self.pairs.iter().zip(1u32..) {
                self.places[*key as usize] = place;
            }
        }
        Ok(())
    }

    fn tidy(&mut self) {
        self.pairs.sort_unstable();
        self.pairs.dedup();
        self.full |= !self.one_audience && self.pairs.len() > PAIRS_MAX;
    }

    pub(crate) fn len(&self) -> usize {
        self.pairs.len()
    }

    /// The place of a pair, if it was noted.
    pub(crate) fn place(&self, question: u32, audience: u32) -> Option<usize> {
        if self.one_audience {
            let place = self.places.get(question as usize)?;
            return (*place as usize).checked_sub(1);
        }
        self.pairs.binary_search(&pair(question, audience)).ok()
    }

    /// The question and the audience in a place.
    pub(crate) fn get(&self, place: usize) -> (u32, u32) {
        let pair = self.pairs[place];
        (pair as u32, (pair >> 32) as u32)
    }

    /// All pairs as numbers, in their order.
    pub(crate) fn keys(&self) -> &[u64] {
        &self.pairs
    }
}

fn pair(question: u32, audience: u32) -> u64 {
    u64::from(audience) << 32 | u64::from(question)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_audience_is_a_table_and_new_numbers_decide_the_order() {
        let mut distinct = Distinct::new(true);
        for question in [3, 0, 3, 1] {
            distinct.note(question, 0);
        }
        distinct.close(Some(&[2, 1, 9, 0])).unwrap();
        assert_eq!(distinct.len(), 3);
        let all: Vec<_> = (0..3).map(|place| distinct.get(place)).collect();
        assert_eq!(all, [(0, 0), (1, 0), (2, 0)]);
        assert_eq!(distinct.place(1, 0), Some(1));
        assert_eq!(distinct.place(3, 0), None);
        assert_eq!(distinct.place(77, 0), None);
    }

    #[test]
    fn pairs_are_kept_once_however_often_they_are_noted() {
        let mut distinct = Distinct::new(false);
        // More notes than fit before repeated ones are dropped.
        for note in 0..2 * TIDY_PAIRS as u32 + 5 {
            distinct.note(note * 7 % 11, note % 3);
        }
        assert!(distinct.pairs.len() <= TIDY_PAIRS);
        distinct.close(None).unwrap();
        assert_eq!(distinct.len(), 33);
        for place in 0..33 {
            let (question, audience) = distinct.get(place);
            assert_eq!(
                (question, audience),
                ((place % 11) as u32, (place / 11) as u32)
            );
            assert_eq!(distinct.place(question, audience), Some(place));
        }
        assert_eq!(distinct.place(11, 0), None);
        assert_eq!(distinct.place(0, 3), None);
    }
}
