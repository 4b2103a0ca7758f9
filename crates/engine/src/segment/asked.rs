//! What lines ask for, and who answers: items for one recipe, attributes for the other.
//!
//! A run looks at its lines twice. The first time every line's question is noted, equal ones once; then
//! the distinct questions are put in one order that does not depend on the order of the lines, and
//! scored by number. The second time each line is given the number of its question, or the sentence
//! that says why it has none.

use std::ops::Range;

use kindred_types::item_query;
use rustc_hash::FxHashMap;
use sha2::{Digest, Sha256};

use crate::Error;
use crate::model::{AnyModel, AttributeModel, Model};
use crate::score::{AttributeScorer, Ranking, Scorer, Tiles};

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
    /// An empty collection of questions.
    fn questions(&self) -> Box<dyn Questions + '_>;
}

/// A scorer for a model of either recipe, all of its users ranked.
pub fn scorer(model: AnyModel) -> Box<dyn Answerer> {
    match model {
        AnyModel::Items(model) => Box::new(Scorer::new(model, None)),
        AnyModel::Attributes(model) => Box::new(AttributeScorer::new(model, None)),
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

/// The distinct questions of a run.
pub trait Questions {
    /// Takes note of the question of a line; what cannot be answered is left out.
    fn note(&mut self, text: &str);
    /// Ends the first look: puts the questions in their order and says how many there are.
    ///
    /// # Errors
    /// A sentence for the user, if there are too many.
    fn close(&mut self) -> Result<usize, String>;
    /// The number of a line's question.
    ///
    /// # Errors
    /// The sentence for the line, or that the question was never noted.
    fn place(&self, text: &str) -> Result<usize, Refused>;
    /// What to add to the scores of a question to have log μ, where a user comes with probability
    /// 1 − exp(−μ) within the horizon.
    fn log_constant(&self, place: usize) -> f64;
    /// The best users of the questions with these numbers.
    fn rank(&self, places: Range<usize>, k: usize, threads: usize) -> Result<Vec<Ranking>, Error>;
    /// Adds to the fingerprint all that the questions are.
    fn add_to(&self, hash: &mut Sha256);
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

    fn questions(&self) -> Box<dyn Questions + '_> {
        Box::new(Items {
            scorer: self,
            places: vec![0; Scorer::model(self).items().len()],
            items: Vec::new(),
        })
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

    fn questions(&self) -> Box<dyn Questions + '_> {
        Box::new(Attributes {
            scorer: self,
            places: FxHashMap::default(),
            queries: Vec::new(),
        })
    }
}

/// Questions for items: one number for each item of the model, however many lines there are.
struct Items<'a> {
    scorer: &'a Scorer,
    /// For every item its place in `items`, plus one; 0 where it is not asked for.
    places: Vec<u32>,
    /// Items that are asked for, ascending.
    items: Vec<u32>,
}

impl Questions for Items<'_> {
    fn note(&mut self, id: &str) {
        if let Some(item) = self.scorer.model().item(id) {
            self.places[item as usize] = 1;
        }
    }

    fn close(&mut self) -> Result<usize, String> {
        for (item, place) in self.places.iter_mut().enumerate() {
            if *place > 0 {
                self.items.push(item as u32);
                *place = self.items.len() as u32;
            }
        }
        Ok(self.items.len())
    }

    fn place(&self, id: &str) -> Result<usize, Refused> {
        let Some(item) = self.scorer.model().item(id) else {
            return Err(Refused::Line(format!(
                "User error: Item {id} was not present when the solution version was created"
            )));
        };
        let place = self.places[item as usize] as usize;
        place.checked_sub(1).ok_or(Refused::Unplanned)
    }

    fn log_constant(&self, place: usize) -> f64 {
        f64::from(self.scorer.model().item_offset(self.items[place] as usize))
    }

    fn rank(&self, places: Range<usize>, k: usize, threads: usize) -> Result<Vec<Ranking>, Error> {
        self.scorer.top_users(&self.items[places], k, threads)
    }

    fn add_to(&self, hash: &mut Sha256) {
        for item in &self.items {
            hash.update(item.to_le_bytes());
        }
    }
}

/// Questions for attributes: the value numbers of each, so that one question written in two ways is
/// one. A question that no item answers is kept, too: lines repeat it, and finding out costs.
struct Attributes<'a> {
    scorer: &'a AttributeScorer,
    /// Place in `queries`, plus one; 0 where no item has all the values.
    places: FxHashMap<Box<[u32]>, u32>,
    /// The values of each question, the questions ascending.
    queries: Vec<Box<[u32]>>,
}

impl Attributes<'_> {
    fn model(&self) -> &AttributeModel {
        self.scorer.model()
    }

    /// The values a line asks for, or the text of its error.
    fn values(&self, text: &str) -> Result<Box<[u32]>, String> {
        let query = item_query::parse(text)
            .map_err(|error| format!("User error: Invalid itemAttributes expression: {error}"))?;
        let values = self.model().index().resolve(&query);
        values.map_err(|error| format!("User error: {error}"))
    }

    fn has_items(&self, values: &[u32]) -> bool {
        // A value by itself is one that some item has.
        values.len() == 1 || !self.model().index().items_with_all(values).is_empty()
    }
}

impl Questions for Attributes<'_> {
    fn note(&mut self, text: &str) {
        if let Ok(values) = self.values(text)
            && self.places.len() <= QUESTIONS_MAX
            && !self.places.contains_key(&values)
        {
            let known = u32::from(self.has_items(&values));
            self.places.insert(values, known);
        }
    }

    fn close(&mut self) -> Result<usize, String> {
        if self.places.len() > QUESTIONS_MAX {
            return Err(format!(
                "Input asks for more than {QUESTIONS_MAX} different sets of attributes."
            ));
        }
        let asked = self.places.iter().filter(|(_, known)| **known > 0);
        self.queries = asked.map(|(values, _)| values.clone()).collect();
        self.queries.sort_unstable();
        for (query, place) in self.queries.iter().zip(1u32..) {
            if let Some(known) = self.places.get_mut(query) {
                *known = place;
            }
        }
        Ok(self.queries.len())
    }

    fn place(&self, text: &str) -> Result<usize, Refused> {
        let values = self.values(text).map_err(Refused::Line)?;
        let place = match self.places.get(&values) {
            Some(place) => *place as usize,
            None if self.has_items(&values) => return Err(Refused::Unplanned),
            None => 0,
        };
        place.checked_sub(1).ok_or_else(|| {
            Refused::Line(format!(
                "User error: {}",
                crate::attributes::Unanswerable::NoItem
            ))
        })
    }

    /// The head's scores are complete.
    fn log_constant(&self, _: usize) -> f64 {
        0.0
    }

    fn rank(&self, places: Range<usize>, k: usize, threads: usize) -> Result<Vec<Ranking>, Error> {
        self.scorer.top_users(&self.queries[places], k, threads)
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
            for value in query {
                hash.update(value.to_le_bytes());
            }
        }
    }
}
