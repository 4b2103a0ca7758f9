//! What a run answers: the distinct pairs of a question and an audience, in one order.
//!
//! The first look at the lines notes what is asked, the second finds the place of each line's answer.
//! Every worker notes by itself, [`Distinct::new`] puts together what they have. Without a filter of
//! the lines there is one audience and a table by question; with one, the pairs are sorted, audience
//! first, so that those who choose from the same users are neighbours.

use super::ahead;
use std::sync::{Mutex, PoisonError};

/// Most different pairs in one run, so that memory does not grow with the input.
pub(crate) const PAIRS_MAX: usize = 20_000_000;
/// Pairs that a worker collects before it hands them over.
const PAIRS_AT_ONCE: usize = 1 << 16;
/// Pairs that are collected before repeated ones are dropped for the first time.
const TIDY_PAIRS: usize = 1 << 20;

/// Pairs that workers have handed over; sorted and without repeats up to a place.
#[derive(Debug, Default)]
pub(crate) struct Pairs(Mutex<Collected>);

#[derive(Debug, Default)]
struct Collected {
    /// Audience (high half) and question.
    pairs: Vec<u64>,
    /// How many there were when repeated ones were dropped.
    tidied: usize,
    /// There are too many pairs; no more are taken.
    full: bool,
}

impl Collected {
    fn take(&mut self, pairs: &[u64]) {
        if self.full {
            return;
        }
        self.pairs.extend_from_slice(pairs);
        if self.pairs.len() >= TIDY_PAIRS.max(2 * self.tidied) {
            self.tidy();
        }
    }

    fn tidy(&mut self) {
        tidy(&mut self.pairs);
        self.tidied = self.pairs.len();
        self.full |= self.pairs.len() > PAIRS_MAX;
    }
}

/// What one worker has noted.
#[derive(Debug)]
pub(crate) enum Noted<'a> {
    /// A bit for each question, all of one audience.
    Questions(Vec<u64>),
    /// Pairs that were not handed over yet.
    Pairs(Vec<u64>, &'a Pairs),
}

impl<'a> Noted<'a> {
    /// Nothing, of one audience or of more, whose pairs are handed over to `pairs`.
    pub(crate) fn new(one_audience: bool, pairs: &'a Pairs) -> Self {
        if one_audience {
            Noted::Questions(Vec::new())
        } else {
            Noted::Pairs(Vec::new(), pairs)
        }
    }

    /// Takes note that the question is asked of the audience.
    pub(crate) fn note(&mut self, question: u32, audience: u32) {
        match self {
            Noted::Questions(bits) => {
                let word = question as usize / 64;
                if word >= bits.len() {
                    bits.resize(word + 1, 0);
                }
                bits[word] |= 1 << (question % 64);
            }
            Noted::Pairs(pairs, _) => {
                pairs.push(pair(question, audience));
                if pairs.len() >= PAIRS_AT_ONCE {
                    self.hand_over();
                }
            }
        }
    }

    fn hand_over(&mut self) {
        if let Noted::Pairs(pairs, all) = self {
            tidy(pairs);
            let mut all = all.0.lock().unwrap_or_else(PoisonError::into_inner);
            all.take(pairs);
            pairs.clear();
        }
    }
}

/// The pairs of a run.
#[derive(Debug, Default)]
pub(crate) struct Distinct {
    /// For every question its place, plus one; 0 where it is not asked. Only with one audience.
    places: Vec<u32>,
    /// Audience (high half) and question, ascending.
    pairs: Vec<u64>,
    one_audience: bool,
}

impl Distinct {
    /// All that was noted, `questions` and `audiences` giving the new numbers by the old ones, if there
    /// are new ones.
    ///
    /// # Errors
    /// A sentence for the user, if there are too many pairs.
    pub(crate) fn new(
        noted: Vec<Noted<'_>>,
        pairs: &Pairs,
        questions: Option<&[u32]>,
        audiences: Option<&[u32]>,
    ) -> Result<Distinct, String> {
        let one_audience = noted
            .iter()
            .any(|noted| matches!(noted, Noted::Questions(_)));
        let mut asked: Vec<u64> = Vec::new();
        for mut noted in noted {
            noted.hand_over();
            if let Noted::Questions(bits) = noted {
                asked.resize(asked.len().max(bits.len()), 0);
                asked
                    .iter_mut()
                    .zip(bits)
                    .for_each(|(all, bits)| *all |= bits);
            }
        }
        let mut all = pairs.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.tidy();
        if all.full {
            return Err(format!(
                "Input asks for more than {PAIRS_MAX} different combinations of queries and filter values."
            ));
        }
        let mut pairs = std::mem::take(&mut all.pairs);
        drop(all);
        pairs.extend(ones(&asked));
        let new = |numbers: Option<&[u32]>, old: u32| numbers.map_or(old, |new| new[old as usize]);
        for key in &mut pairs {
            *key = pair(
                new(questions, *key as u32),
                new(audiences, (*key >> 32) as u32),
            );
        }
        tidy(&mut pairs);
        pairs.shrink_to_fit();
        let mut distinct = Distinct {
            places: Vec::new(),
            pairs,
            one_audience,
        };
        distinct.tabulate();
        Ok(distinct)
    }

    /// Makes the table by question.
    fn tabulate(&mut self) {
        let Some(last) = self.pairs.last().filter(|_| self.one_audience) else {
            return;
        };
        self.places = vec![0; *last as usize + 1];
        for (key, place) in self.pairs.iter().zip(1u32..) {
            self.places[*key as usize] = place;
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.pairs.len()
    }

    /// Bytes of memory.
    pub(crate) fn bytes(&self) -> usize {
        8 * self.pairs.len() + 4 * self.places.len()
    }

    /// Says that the place of a pair will be asked for soon.
    pub(crate) fn fetch(&self, question: u32) {
        ahead::fetch(&self.places, question as usize);
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

fn tidy(pairs: &mut Vec<u64>) {
    pairs.sort_unstable();
    pairs.dedup();
}

/// The places of the bits that are set.
fn ones(words: &[u64]) -> impl Iterator<Item = u64> {
    let bits = |(word, bits): (u64, &u64)| {
        let bits = *bits;
        (0..64)
            .filter(move |bit| bits >> bit & 1 == 1)
            .map(move |bit| 64 * word + bit)
    };
    (0..).zip(words).flat_map(bits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_audience_is_a_table_and_new_numbers_decide_the_order() {
        let pairs = Pairs::default();
        let mut workers = [0, 1].map(|_| Noted::new(true, &pairs));
        for (note, question) in [3, 0, 3, 1].into_iter().enumerate() {
            workers[note % 2].note(question, 0);
        }
        let renumbered = Some(&[2, 1, 9, 0][..]);
        let distinct = Distinct::new(workers.into(), &pairs, renumbered, Some(&[0])).unwrap();
        assert_eq!(distinct.len(), 3);
        let all: Vec<_> = (0..3).map(|place| distinct.get(place)).collect();
        assert_eq!(all, [(0, 0), (1, 0), (2, 0)]);
        assert_eq!(distinct.place(1, 0), Some(1));
        assert_eq!(distinct.place(3, 0), None);
        assert_eq!(distinct.place(77, 0), None);
    }

    #[test]
    fn pairs_are_kept_once_however_often_they_are_noted() {
        for workers in [1, 3] {
            let pairs = Pairs::default();
            let mut noted: Vec<_> = (0..workers).map(|_| Noted::new(false, &pairs)).collect();
            // More notes than fit before repeated ones are dropped.
            for note in 0..2 * TIDY_PAIRS as u32 + 5 {
                noted[note as usize % workers].note(note * 7 % 11, note % 3);
            }
            assert!(pairs.0.lock().unwrap().pairs.len() <= TIDY_PAIRS);
            let distinct = Distinct::new(noted, &pairs, None, Some(&[2, 0, 1])).unwrap();
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

    #[test]
    fn nothing_asked_is_nothing_to_answer() {
        for one_audience in [true, false] {
            let pairs = Pairs::default();
            let noted = vec![Noted::new(one_audience, &pairs)];
            let distinct = Distinct::new(noted, &pairs, None, None).unwrap();
            assert_eq!((distinct.len(), distinct.place(0, 0)), (0, None));
        }
    }
}
