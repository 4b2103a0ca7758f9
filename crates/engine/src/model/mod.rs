//! A trained model: vectors and offsets of users and items, and the scores of known pairs.
//!
//! The score of user x for item y is q_y · p_x + offset_x, a log intensity up to a constant of the
//! item; a pair in the history has its repaired score instead (repeats and own history count there).
//! Files are `artifact`'s, what is known about the training is in the card, ranking is `score`'s.

mod artifact;
mod attribute_files;
mod attributes;
mod card;
mod floats;

use std::ops::Deref;
use std::sync::Arc;

use kindred_store::Vault;

use crate::error::Error;

pub use attributes::{AttributeModel, Counts};
pub use card::{Baseline, Card, Metrics, RECIPE_ITEM_AFFINITY, RECIPE_ITEM_ATTRIBUTE_AFFINITY};
pub(crate) use floats::Floats;

/// A trained model. Users and items are numbered in the byte order of their ids.
#[derive(Clone, Debug, PartialEq)]
pub struct Model {
    dimension: usize,
    users: Vec<String>,
    items: Vec<String>,
    user_vectors: Floats,
    user_offsets: Floats,
    user_log_rates: Floats,
    item_vectors: Floats,
    item_offsets: Floats,
    history: History,
    card: Card,
}

/// A model of either recipe.
#[derive(Clone, Debug, PartialEq)]
pub enum AnyModel {
    /// Is asked for items.
    Items(Arc<Model>),
    /// Is asked for attributes.
    Attributes(Arc<AttributeModel>),
}

impl AnyModel {
    /// Reads the model in `dir`, whichever it is, and checks every file against the card.
    pub fn open(dir: &std::path::Path) -> Result<AnyModel, Error> {
        AnyModel::open_in(dir, &Vault::plain())
    }

    /// Like [`AnyModel::open`], for files that are kept in `vault`.
    pub fn open_in(dir: &std::path::Path, vault: &Vault) -> Result<AnyModel, Error> {
        if artifact::recipe(dir, vault)? == RECIPE_ITEM_ATTRIBUTE_AFFINITY {
            AttributeModel::open_in(dir, vault).map(|model| AnyModel::Attributes(model.into()))
        } else {
            Model::open_in(dir, vault).map(|model| AnyModel::Items(model.into()))
        }
    }

    /// Ids and vectors, which both kinds have.
    pub fn towers(&self) -> &Model {
        match self {
            AnyModel::Items(model) => model,
            AnyModel::Attributes(model) => model.model(),
        }
    }
}

/// Posting lists: for each item the users who interacted with it, and their repaired scores.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct History {
    pub(crate) starts: Vec<usize>,
    pub(crate) users: Vec<u32>,
    pub(crate) scores: Vec<f32>,
}

impl History {
    /// Users (ascending) and scores of an item.
    pub fn of(&self, item: usize) -> (&[u32], &[f32]) {
        let range = self.starts[item]..self.starts[item + 1];
        (&self.users[range.clone()], &self.scores[range])
    }
}

/// What a model is built from; lengths must agree.
pub(crate) struct Parts<F = Vec<f32>> {
    pub(crate) dimension: usize,
    pub(crate) users: Vec<String>,
    pub(crate) items: Vec<String>,
    pub(crate) user_vectors: F,
    pub(crate) user_offsets: F,
    pub(crate) user_log_rates: F,
    pub(crate) item_vectors: F,
    pub(crate) item_offsets: F,
    pub(crate) history: History,
    pub(crate) card: Card,
}

impl Model {
    /// Puts the parts together, or says in words which of them do not fit.
    pub(crate) fn new<F: Into<Floats> + Deref<Target = [f32]>>(
        parts: Parts<F>,
    ) -> Result<Model, String> {
        let (n, m, d) = (parts.users.len(), parts.items.len(), parts.dimension);
        let history = &parts.history;
        let pairs = history.users.len();
        let lengths = [
            ("user_vectors", parts.user_vectors.len(), n * d),
            ("user_offsets", parts.user_offsets.len(), n),
            ("user_log_rates", parts.user_log_rates.len(), n),
            ("item_vectors", parts.item_vectors.len(), m * d),
            ("item_offsets", parts.item_offsets.len(), m),
            ("history starts", history.starts.len(), m + 1),
            ("history scores", history.scores.len(), pairs),
        ];
        for (name, found, expected) in lengths {
            if found != expected {
                return Err(format!("{name} has {found} values instead of {expected}"));
            }
        }
        for (name, ids) in [("users", &parts.users), ("items", &parts.items)] {
            if !ids
                .windows(2)
                .all(|pair| pair[0].as_bytes() < pair[1].as_bytes())
            {
                return Err(format!("the ids of {name} do not ascend"));
            }
        }
        let mut ends = history.starts.iter();
        let ordered = ends.next() == Some(&0)
            && history.starts.windows(2).all(|pair| pair[0] <= pair[1])
            && history.starts.last() == Some(&pairs);
        let listed = ordered
            && (0..m).all(|item| {
                let users = history.of(item).0;
                users.windows(2).all(|pair| pair[0] < pair[1])
                    && users.last().is_none_or(|&user| (user as usize) < n)
            });
        if !listed {
            return Err("the history is not ordered by item and user".into());
        }
        let floats: [&[f32]; 6] = [
            &parts.user_vectors,
            &parts.user_offsets,
            &parts.user_log_rates,
            &parts.item_vectors,
            &parts.item_offsets,
            &history.scores,
        ];
        if floats
            .iter()
            .any(|values| values.iter().any(|value| value.is_nan()))
        {
            return Err("a value is not a number".into());
        }
        Ok(Model {
            dimension: d,
            users: parts.users,
            items: parts.items,
            user_vectors: parts.user_vectors.into(),
            user_offsets: parts.user_offsets.into(),
            user_log_rates: parts.user_log_rates.into(),
            item_vectors: parts.item_vectors.into(),
            item_offsets: parts.item_offsets.into(),
            history: parts.history,
            card: parts.card,
        })
    }

    /// A model of bare vectors: numbered ids, no offsets, no history. For comparisons with other engines
    /// on the same factors. Lengths that are no multiple of `dimension` are refused.
    pub fn from_vectors(
        dimension: usize,
        user_vectors: Vec<f32>,
        item_vectors: Vec<f32>,
    ) -> Result<Model, Error> {
        let (users, items) = (
            user_vectors.len() / dimension.max(1),
            item_vectors.len() / dimension.max(1),
        );
        let ids = |count: usize| (0..count).map(|number| format!("{number:010}")).collect();
        Model::new(Parts {
            dimension,
            users: ids(users),
            items: ids(items),
            user_vectors,
            user_offsets: vec![0.0; users],
            user_log_rates: vec![0.0; users],
            item_vectors,
            item_offsets: vec![0.0; items],
            history: History {
                starts: vec![0; items + 1],
                ..History::default()
            },
            card: Card::default(),
        })
        .map_err(Error::Input)
    }

    /// The same without the known pairs.
    pub(crate) fn without_history(mut self) -> Model {
        self.history = History {
            starts: vec![0; self.items.len() + 1],
            ..History::default()
        };
        self
    }

    /// Length of the vectors.
    pub fn dimension(&self) -> usize {
        self.dimension
    }

    /// Ids of the users, in the order of their numbers.
    pub fn users(&self) -> &[String] {
        &self.users
    }

    /// Ids of the items, in the order of their numbers.
    pub fn items(&self) -> &[String] {
        &self.items
    }

    /// The number of an item, if the model knows it.
    pub fn item(&self, id: &str) -> Option<u32> {
        let place = self
            .items
            .binary_search_by(|item| item.as_bytes().cmp(id.as_bytes()));
        place.ok().map(|place| place as u32)
    }

    /// The number of a user, if the model knows it.
    pub fn user(&self, id: &str) -> Option<u32> {
        let place = self
            .users
            .binary_search_by(|user| user.as_bytes().cmp(id.as_bytes()));
        place.ok().map(|place| place as u32)
    }

    /// The vector of a user.
    pub fn user_vector(&self, user: usize) -> &[f32] {
        &self.user_vectors[user * self.dimension..(user + 1) * self.dimension]
    }

    /// log λ − log Z of a user.
    pub fn user_offset(&self, user: usize) -> f32 {
        self.user_offsets[user]
    }

    /// log λ of a user: how many events are expected of them in the horizon.
    pub fn user_log_rate(&self, user: usize) -> f32 {
        self.user_log_rates[user]
    }

    /// The vector of an item.
    pub fn item_vector(&self, item: usize) -> &[f32] {
        &self.item_vectors[item * self.dimension..(item + 1) * self.dimension]
    }

    /// The vectors of items beside each other.
    pub(crate) fn item_vectors(&self, items: std::ops::Range<usize>) -> &[f32] {
        &self.item_vectors[items.start * self.dimension..items.end * self.dimension]
    }

    /// What is the same for all users, so that rankings leave it out: score + item offset is the log of
    /// the number of events expected between the two in the horizon.
    pub fn item_offset(&self, item: usize) -> f32 {
        self.item_offsets[item]
    }

    /// The known pairs.
    pub fn history(&self) -> &History {
        &self.history
    }

    pub(crate) fn shift_history(&mut self, by: f32) {
        for score in &mut self.history.scores {
            *score += by;
        }
    }

    /// What is known about the training.
    pub fn card(&self) -> &Card {
        &self.card
    }

    /// For the caller's facts: snapshot and metrics.
    pub fn card_mut(&mut self) -> &mut Card {
        &mut self.card
    }

    /// Bytes the model holds, about.
    pub fn bytes(&self) -> u64 {
        let floats = self.user_vectors.len()
            + self.user_offsets.len()
            + self.user_log_rates.len()
            + self.item_vectors.len()
            + self.item_offsets.len()
            + 2 * self.history.users.len();
        let text: usize = self
            .users
            .iter()
            .chain(&self.items)
            .map(|id| id.len() + 24)
            .sum();
        (floats * 4 + self.history.starts.len() * 8 + text) as u64
    }
}

#[cfg(test)]
impl Model {
    /// The same with other offsets of the users.
    pub(crate) fn with_user_offsets(mut self, offsets: Vec<f32>) -> Model {
        assert_eq!(offsets.len(), self.user_offsets.len());
        self.user_offsets = offsets.into();
        self
    }

    /// A random model: log-normal norms, some history, offsets of about the size of the products.
    pub(crate) fn generated(users: usize, items: usize, dimension: usize, seed: u64) -> Model {
        use rand::{Rng, SeedableRng};
        let mut random = rand_chacha::ChaCha8Rng::seed_from_u64(seed);
        let mut side = |count: usize| -> Vec<f32> {
            (0..count)
                .flat_map(|_| {
                    let scale = (random.random::<f32>() * 3.0 - 1.0).exp();
                    (0..dimension)
                        .map(|_| (random.random::<f32>() - 0.5) * scale)
                        .collect::<Vec<f32>>()
                })
                .collect()
        };
        let user_vectors = side(users);
        let item_vectors = side(items);
        let mut history = History {
            starts: vec![0],
            ..History::default()
        };
        for _ in 0..items {
            for user in 0..users as u32 {
                if random.random_range(0..10) == 0 {
                    history.users.push(user);
                    history.scores.push(random.random::<f32>() * 4.0 - 1.0);
                }
            }
            history.starts.push(history.users.len());
        }
        Model::new(Parts {
            dimension,
            users: (0..users).map(|user| format!("u{user:07}")).collect(),
            items: (0..items).map(|item| format!("i{item:07}")).collect(),
            user_vectors,
            user_offsets: (0..users)
                .map(|_| random.random::<f32>() * 2.0 - 4.0)
                .collect(),
            user_log_rates: vec![0.0; users],
            item_vectors,
            item_offsets: vec![0.0; items],
            history,
            card: Card::default(),
        })
        .unwrap()
    }
}
