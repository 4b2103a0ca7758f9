//! The answers of a run: rankings on disk, and the ends of lines that were rendered from them.

use super::blocks::{Blocks, StoredRanking};
use super::plan::Plan;
use super::render::TailForm;
use super::tails::Tails;
use crate::Error;
use crate::score::Ranking;

/// What is written behind the input of a line, by the place of its query.
#[derive(Debug)]
pub(crate) struct Answers {
    pub(crate) blocks: Blocks,
    pub(crate) tails: Tails,
    pub(crate) form: TailForm,
}

impl Answers {
    /// Adds the answer in a place to the line; `hand_on` may take from the line what is written.
    ///
    /// # Errors
    /// Those of `hand_on` and of reading the ranking.
    pub(crate) fn push<E: From<Error>>(
        &self,
        plan: &Plan<'_>,
        place: usize,
        line: &mut Vec<u8>,
        ranking: &mut StoredRanking,
        hand_on: impl FnMut(&mut Vec<u8>) -> Result<(), E>,
    ) -> Result<(), E> {
        if let Some(tail) = self.tails.get(place) {
            line.extend_from_slice(tail);
            return Ok(());
        }
        self.blocks.read(place, ranking)?;
        let shared = log_constant(plan, place);
        let log_rates = ranking.scores().map(|score| f64::from(score) + shared);
        let log_rates = self.blocks.has_scores().then_some(log_rates);
        self.form
            .push_ranking(line, ranking.users(), log_rates, hand_on)
    }
}

/// Renders tails in the order of their places, as long as there is room for them.
pub(crate) struct TailMaker<'a> {
    pub(crate) plan: &'a Plan<'a>,
    pub(crate) form: &'a TailForm,
    pub(crate) with_scores: bool,
    pub(crate) tails: Tails,
    /// The place of the next one.
    pub(crate) place: usize,
    pub(crate) line: Vec<u8>,
}

impl TailMaker<'_> {
    /// Whether no tail of a usual length fits any more.
    pub(crate) fn is_full(&self) -> bool {
        self.tails.is_full_for(1)
    }

    /// Makes the tails of the next places.
    pub(crate) fn add(&mut self, rankings: &[Ranking]) {
        for ranking in rankings {
            if self.is_full() {
                return;
            }
            self.line.clear();
            if !self.tails.is_full_for(self.bytes_min(ranking)) {
                self.render(ranking);
            }
            self.tails.push(&self.line);
            self.place += 1;
        }
    }

    /// The tail has more bytes than this.
    fn bytes_min(&self, ranking: &Ranking) -> usize {
        let list = self.form.fragments.list_bytes_min(ranking.users.len());
        list * if self.form.documented { 2 } else { 1 }
    }

    fn render(&mut self, ranking: &Ranking) {
        let shared = log_constant(self.plan, self.place);
        let scores = ranking.scores.iter();
        let log_rates = scores.map(|score| f64::from(*score) + shared);
        let log_rates = self.with_scores.then_some(log_rates);
        let users = ranking.users.iter().copied();
        let whole = |_: &mut Vec<u8>| Ok::<(), std::convert::Infallible>(());
        let Ok(()) = self
            .form
            .push_ranking(&mut self.line, users, log_rates, whole);
    }
}

/// What the scores of the query in a place leave out, because all users share it.
fn log_constant(plan: &Plan<'_>, place: usize) -> f64 {
    let (question, _) = plan.distinct.get(place);
    plan.questions.log_constant(question)
}
