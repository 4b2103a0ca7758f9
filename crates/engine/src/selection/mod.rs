//! Who may be in a segment: the users that a job ranks for its queries, and those it leaves out.
//!
//! Everything here is read from generations of datasets, once, before a job looks at its lines, and
//! says who is meant by the user numbers of the job's model. [`filter`] finds the users whom a filter
//! keeps, [`interacted`] those who already had an item. What is scored, and how, is `score`'s affair.

mod columns;
pub(crate) mod filter;
mod interacted;

use kindred_types::filter::{BindError, Filter, FilterValues};
use kindred_types::interacted::InteractedRule;
use rustc_hash::FxHashMap;
use sha2::{Digest, Sha256};

use crate::data::Error;
use crate::data::dataset::Generation;
use crate::model::Model;
use crate::progress::Progress;

pub use filter::UserFilter;
pub use interacted::Interacted;

/// Users of a model, by number. Compressed, because the users of a hundred thousand cities together
/// must not take a hundred thousand times the bits of all users.
pub type UserSet = roaring::RoaringBitmap;

/// Bytes of a container of a set beside its content, about: 65,536 numbers share one.
const CONTAINER_BYTES: usize = 64;

/// About how much memory a set takes.
pub(crate) fn set_bytes(set: &UserSet) -> usize {
    set.serialized_size() + set.statistics().n_containers as usize * CONTAINER_BYTES
}

/// Who may be in the segments of a job; everyone by default.
#[derive(Debug, Default)]
pub struct Selection {
    filter: Option<UserFilter>,
    /// Whom a filter without parameters keeps; it is the same for every line.
    candidates: Option<UserSet>,
    interacted: Option<Interacted>,
}

/// What a job asks for.
#[derive(Clone, Debug, Default)]
pub struct SelectionRequest<'a> {
    /// A filter of users, typed against the schemas of the data.
    pub filter: Option<Filter>,
    /// Leaves out who interacted with what a line asks for.
    pub exclude_interacted: Option<&'a InteractedRule>,
    /// Generations of the Users dataset.
    pub users: &'a [Generation],
    /// Generations of the Interactions dataset.
    pub interactions: &'a [Generation],
}

impl Selection {
    /// Reads from the data what the request needs, for the users and items of `model`.
    ///
    /// # Errors
    /// [`Error::Input`] where the data does not have what is asked for.
    pub fn load(
        request: SelectionRequest<'_>,
        model: &Model,
        progress: &dyn Progress,
    ) -> Result<Selection, Error> {
        let SelectionRequest {
            filter,
            exclude_interacted,
            users,
            interactions,
        } = request;
        let filter = match filter {
            Some(filter) => {
                let loaded = UserFilter::load(filter, users, interactions, model, progress)?;
                Some(loaded)
            }
            None => None,
        };
        let interacted = match exclude_interacted {
            Some(rule) => Some(Interacted::load(interactions, rule, model, progress)?),
            None => None,
        };
        Selection::new(filter, interacted).map_err(|error| Error::Input(error.to_string()))
    }

    fn new(
        filter: Option<UserFilter>,
        interacted: Option<Interacted>,
    ) -> Result<Selection, BindError> {
        let candidates = match &filter {
            Some(filter) if !filter.has_parameters() => {
                let bound = filter.bind(&FilterValues::default())?;
                Some(filter.users(&bound))
            }
            _ => None,
        };
        Ok(Selection {
            filter,
            candidates,
            interacted,
        })
    }

    /// The only users to rank for any line; all of the model if `None`.
    pub(crate) fn candidates(&self) -> Option<&UserSet> {
        self.candidates.as_ref()
    }

    /// The filter, if the lines give values to it.
    pub(crate) fn filter_of_lines(&self) -> Option<&UserFilter> {
        let filter = self.filter.as_ref();
        filter.filter(|filter| filter.has_parameters())
    }

    /// Who is left out of the answers for an item.
    pub(crate) fn interacted(&self) -> Option<&Interacted> {
        self.interacted.as_ref()
    }

    /// Adds to a fingerprint all that the selection is.
    pub(crate) fn add_to(&self, hash: &mut Sha256) {
        if let Some(filter) = &self.filter {
            hash.update(b"filter");
            hash.update(filter.digest());
        }
        if let Some(interacted) = &self.interacted {
            hash.update(b"interacted");
            hash.update(interacted.digest());
        }
    }
}

/// The numbers of ids.
struct Numbers<'a> {
    numbers: FxHashMap<&'a str, u32>,
}

impl<'a> Numbers<'a> {
    fn of(ids: &'a [String]) -> Numbers<'a> {
        let ids = ids.iter().map(String::as_str);
        Numbers {
            numbers: ids.zip(0..).collect(),
        }
    }

    fn get(&self, id: &str) -> Option<u32> {
        self.numbers.get(id).copied()
    }

    fn len(&self) -> usize {
        self.numbers.len()
    }
}

#[cfg(test)]
impl Selection {
    /// From its parts, for tests.
    pub(crate) fn of(filter: Option<UserFilter>, interacted: Option<Interacted>) -> Selection {
        Selection::new(filter, interacted).unwrap()
    }
}
