//! What lines ask for, and who answers: items for one recipe, attributes for the other.
//!
//! A run looks at its lines twice. The first time every line's question is noted and has a number, equal
//! ones the same. The second time each line is given the number of its question, or the sentence that
//! says why it has none. Many workers look at lines at the same time, in any order. Which users a line
//! chooses from is `audiences`'.

use kindred_types::item_query;
use sha2::{Digest, Sha256};
use std::sync::Arc;

use super::item_ids::ItemIds;
use super::numbered::Numbered;
use super::remembered::Remembered;
use crate::Error;
use crate::model::{AnyModel, AttributeModel, Model};
use crate::score::{AttributeGroup, AttributeScorer, Ranking, Scorer, Tiles, UserGroup};
use crate::selection::{Interacted, Selection, UserSet};

/// Most distinct questions for attributes in one run, so that memory does not grow with the input.
const QUESTIONS_MAX: usize = 20_000_000;

/// A model with the users it ranks, whichever questions it answers.
pub trait Answerer: Sync {
    /// Ids, vectors and the card.
    fn model(&self) -> &Model;
    /// Number of users that are ranked.
    fn users(&self) -> usize;
    /// How many questions to score at once so that the results stay within a fixed memory.
    fn block_len(&self, k: usize) -> usize;
    /// Score tiles since the scorer was made; zeros where nothing can be left out.
    fn tiles(&self) -> Tiles;
    /// The member of a line that has the question.
    fn member(&self) -> Member;
    /// An empty collection of questions, which may remember texts of so many bytes.
    fn questions(&self, remembered_bytes: usize) -> Box<dyn Questions + '_>;
}

/// A scorer for a model of either recipe that ranks the users whom the selection leaves for every line.
pub fn scorer(model: AnyModel, selection: &Selection) -> Box<dyn Answerer> {
    let users: Option<Vec<u32>> = selection.candidates().map(|users| users.iter().collect());
    match model {
        AnyModel::Items(model) => Box::new(Scorer::new(model, users.as_deref())),
        AnyModel::Attributes(model) => Box::new(AttributeScorer::new(model, users.as_deref())),
    }
}

/// The member of an input line that has the question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Member {
    /// `itemId`: a string, or an integer that stands for its digits.
    ItemId,
    /// `itemAttributes`: a string.
    ItemAttributes,
}

impl Member {
    /// Its name in the line.
    pub fn name(self) -> &'static str {
        match self {
            Member::ItemId => "itemId",
            Member::ItemAttributes => "itemAttributes",
        }
    }
}

/// Why a line has no question of the run.
#[derive(Debug, PartialEq, Eq)]
pub enum Refused {
    /// The text of the line's `error`.
    Line(String),
    /// It could be answered, but nobody noted it: the input has changed.
    Unplanned,
}

/// Questions of the same audience.
#[derive(Clone, Debug)]
pub struct Group<'a> {
    /// Whom to rank; everyone if `None`.
    pub users: Option<UserSet>,
    /// Their numbers.
    pub questions: &'a [u32],
}

/// The questions of a run.
pub trait Questions: Sync {
    /// Takes note of the questions of some lines and adds the number of each; nothing for one that
    /// cannot be answered.
    fn note(&self, texts: &[&str], numbers: &mut Vec<Option<u32>>);
    /// Ends the first look. The new numbers of the questions by their old ones, if there are new ones:
    /// the order that they have then does not depend on the order of the lines.
    ///
    /// # Errors
    /// A sentence for the user, if there are too many.
    fn close(&mut self) -> Result<Option<Vec<u32>>, String>;
    /// The numbers of the questions of some lines; for one that has none the sentence for the line, or
    /// that it was never noted.
    fn numbers(&self, texts: &[&str]) -> Vec<Result<u32, Refused>>;
    /// What to add to the scores of a question to have log μ, where a user comes with probability
    /// 1 − exp(−μ) within the horizon.
    fn log_constant(&self, question: u32) -> f64;
    /// The best users of the questions, without those who `interacted` with what is asked for.
    fn rank(
        &self,
        groups: &[Group<'_>],
        interacted: Option<&Interacted>,
        k: usize,
        threads: usize,
    ) -> Result<Vec<Ranking>, Error>;
    /// Adds to the fingerprint what the questions are, beside their numbers.
    fn add_to(&self, hash: &mut Sha256);
    /// Bytes that the questions take, about.
    fn bytes(&self) -> usize;
}

impl Answerer for Scorer {
    fn model(&self) -> &Model {
        Scorer::model(self)
    }

    fn users(&self) -> usize {
        self.len()
    }

    fn block_len(&self, k: usize) -> usize {
        Scorer::block_len(self, k)
    }

    fn tiles(&self) -> Tiles {
        Scorer::tiles(self)
    }

    fn member(&self) -> Member {
        Member::ItemId
    }

    fn questions(&self, _: usize) -> Box<dyn Questions + '_> {
        let ids = ItemIds::new(Scorer::model(self).items());
        Box::new(Items { scorer: self, ids })
    }
}

impl Answerer for AttributeScorer {
    fn model(&self) -> &Model {
        AttributeScorer::model(self).model()
    }

    fn users(&self) -> usize {
        self.len()
    }

    fn block_len(&self, k: usize) -> usize {
        AttributeScorer::block_len(self, k)
    }

    fn tiles(&self) -> Tiles {
        Tiles::default()
    }

    fn member(&self) -> Member {
        Member::ItemAttributes
    }

    fn questions(&self, remembered_bytes: usize) -> Box<dyn Questions + '_> {
        Box::new(Attributes {
            scorer: self,
            numbers: Numbered::new(QUESTIONS_MAX),
            remembered: Remembered::new(remembered_bytes),
            queries: Vec::new(),
        })
    }
}

/// Questions for items: the number of a question is that of its item, so there is nothing to note.
struct Items<'a> {
    scorer: &'a Scorer,
    ids: ItemIds,
}

impl Questions for Items<'_> {
    fn note(&self, ids: &[&str], numbers: &mut Vec<Option<u32>>) {
        self.ids.find(ids, numbers);
    }

    fn close(&mut self) -> Result<Option<Vec<u32>>, String> {
        Ok(None)
    }

    fn numbers(&self, ids: &[&str]) -> Vec<Result<u32, Refused>> {
        let mut found = Vec::with_capacity(ids.len());
        self.ids.find(ids, &mut found);
        let numbers = found.into_iter().zip(ids).map(|(number, id)| {
            number.ok_or_else(|| {
                Refused::Line(format!(
                    "User error: Item {id} was not present when the solution version was created"
                ))
            })
        });
        numbers.collect()
    }

    fn log_constant(&self, item: u32) -> f64 {
        f64::from(self.scorer.model().item_offset(item as usize))
    }

    fn rank(
        &self,
        groups: &[Group<'_>],
        interacted: Option<&Interacted>,
        k: usize,
        threads: usize,
    ) -> Result<Vec<Ranking>, Error> {
        let groups: Vec<UserGroup<'_>> = groups
            .iter()
            .map(|group| UserGroup {
                users: group.users.clone(),
                items: group.questions,
            })
            .collect();
        self.scorer.top_users_among(&groups, interacted, k, threads)
    }

    fn add_to(&self, _: &mut Sha256) {}

    fn bytes(&self) -> usize {
        self.ids.bytes()
    }
}

/// Questions for attributes: the value numbers of each, so that one question written in two ways is
/// one. A question that no item answers is kept, too: lines repeat it, and finding out costs.
struct Attributes<'a> {
    scorer: &'a AttributeScorer,
    /// The number of each question; none where no item has all the values.
    numbers: Numbered<Arc<[u32]>>,
    /// What was found for texts: a number, or the sentence of the lines that have it.
    remembered: Remembered<Result<u32, Arc<str>>>,
    /// The values of each question, the questions ascending.
    queries: Vec<Arc<[u32]>>,
}

impl Attributes<'_> {
    fn model(&self) -> &AttributeModel {
        self.scorer.model()
    }

    /// The values a line asks for, or the text of its error.
    fn values(&self, text: &str) -> Result<Arc<[u32]>, String> {
        let query = item_query::parse(text)
            .map_err(|error| format!("User error: Invalid itemAttributes expression: {error}"))?;
        let values = self.model().index().resolve(&query);
        let values = values.map_err(|error| format!("User error: {error}"))?;
        Ok(values.into())
    }

    fn has_items(&self, values: &[u32]) -> bool {
        // A value by itself is one that some item has.
        values.len() == 1 || !self.model().index().items_with_all(values).is_empty()
    }

    fn note_one(&self, text: &str) -> Option<u32> {
        if let Some(known) = self.remembered.get(text) {
            return known.ok();
        }
        let found = match self.values(text) {
            Ok(values) => {
                let number = self.numbers.note(&values, || self.has_items(&values));
                // Too many questions end the run; what is remembered then does not matter.
                number.ok_or_else(no_item)
            }
            Err(error) => Err(error),
        };
        let found = found.map_err(Arc::from);
        self.remembered.keep(text, found.clone());
        found.ok()
    }

    fn number(&self, text: &str) -> Result<u32, Refused> {
        if let Some(known) = self.remembered.get(text) {
            return known.map_err(|error| Refused::Line(error.to_string()));
        }
        let values = self.values(text).map_err(Refused::Line)?;
        let number = match self.numbers.get(&values) {
            Some(number) => number,
            None if self.has_items(&values) => return Err(Refused::Unplanned),
            None => None,
        };
        number.ok_or_else(|| Refused::Line(no_item()))
    }
}

/// The sentence of lines that ask for what no item has.
fn no_item() -> String {
    let reason = crate::attributes::Unanswerable::NoItem;
    format!("User error: {reason}")
}

impl Questions for Attributes<'_> {
    fn note(&self, texts: &[&str], numbers: &mut Vec<Option<u32>>) {
        numbers.extend(texts.iter().map(|text| self.note_one(text)));
    }

    fn close(&mut self) -> Result<Option<Vec<u32>>, String> {
        if self.numbers.is_full() {
            return Err(format!(
                "Input asks for more than {QUESTIONS_MAX} different sets of attributes."
            ));
        }
        let (queries, renumbered) = self.numbers.close(Arc::clone);
        self.queries = queries;
        self.remembered.change(|found| {
            if let Ok(number) = found {
                *number = renumbered[*number as usize];
            }
        });
        Ok(Some(renumbered))
    }

    fn numbers(&self, texts: &[&str]) -> Vec<Result<u32, Refused>> {
        texts.iter().map(|text| self.number(text)).collect()
    }

    /// The head's scores are complete.
    fn log_constant(&self, _: u32) -> f64 {
        0.0
    }

    fn rank(
        &self,
        groups: &[Group<'_>],
        interacted: Option<&Interacted>,
        k: usize,
        threads: usize,
    ) -> Result<Vec<Ranking>, Error> {
        let queries: Vec<Vec<&[u32]>> = groups
            .iter()
            .map(|group| {
                let numbers = group.questions.iter();
                numbers
                    .map(|&number| &*self.queries[number as usize])
                    .collect()
            })
            .collect();
        let groups: Vec<AttributeGroup<'_, &[u32]>> = groups
            .iter()
            .zip(&queries)
            .map(|(group, queries)| AttributeGroup {
                users: group.users.clone(),
                queries,
            })
            .collect();
        self.scorer.top_users_among(&groups, interacted, k, threads)
    }

    fn add_to(&self, hash: &mut Sha256) {
        // What the scores depend on beside the model's files.
        let card = self.model().card();
        for part in [
            serde_json::to_vec(&card.attribute_head),
            serde_json::to_vec(&card.choices),
        ] {
            hash.update(part.unwrap_or_default());
        }
        for query in &self.queries {
            hash.update((query.len() as u64).to_le_bytes());
            for value in query.iter() {
                hash.update(value.to_le_bytes());
            }
        }
    }

    fn bytes(&self) -> usize {
        /// Of an entry of the map and the list beside its values.
        const ENTRY_BYTES: usize = 80;
        let values: usize = self.queries.iter().map(|values| values.len()).sum();
        4 * values + ENTRY_BYTES * self.queries.len()
    }
}
