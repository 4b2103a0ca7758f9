//! A filter over the users of a model, by the data of a moment.
//!
//! The columns that the filter names are read once; then every set of values for its parameters gives
//! the users it keeps. What a condition finds is remembered, so that filters that share conditions
//! share the work. What the language means is `kindred_types::filter`'s affair.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use kindred_types::filter::{
    Action, BindError, BoundCondition, BoundFilter, Condition, Dataset as Named, Field, Filter,
    FilterValues, Test, Values,
};
use kindred_types::schema::DatasetType;
use rustc_hash::FxHashMap;
use sha2::{Digest, Sha256};

use super::columns::{Column, Events, read_users};
use super::{Numbers, UserSet, set_bytes};
use crate::data::Error;
use crate::data::dataset::{Dataset, Generation};
use crate::model::Model;
use crate::progress::Progress;

/// Bytes of the sets that are remembered for conditions.
const REMEMBERED_BYTES: usize = 128 << 20;

/// A filter with what it needs to know about every user.
#[derive(Debug)]
pub struct UserFilter {
    filter: Filter,
    everyone: UserSet,
    columns: FxHashMap<String, Column>,
    events: Events,
    remembered: Mutex<Remembered>,
    /// Stands for the filter and the data.
    digest: [u8; 32],
}

#[derive(Debug, Default)]
struct Remembered {
    sets: FxHashMap<BoundCondition, Arc<UserSet>>,
    bytes: usize,
}

impl UserFilter {
    /// Reads what `filter` asks for from the generations of Users and Interactions, for the users of
    /// `model`.
    ///
    /// # Errors
    /// [`Error::Input`] if a column is of another type than the filter was written for.
    pub fn load(
        filter: Filter,
        users: &[Generation],
        interactions: &[Generation],
        model: &Model,
        progress: &dyn Progress,
    ) -> Result<UserFilter, Error> {
        let numbers = Numbers::of(model.users());
        let mut sha = Sha256::new();
        sha.update(b"kindred filter 1\n");
        sha.update(filter.to_string());
        let conditions = || {
            let expressions = filter.expressions.iter();
            expressions.flat_map(|expression| expression.any_of.iter().flatten())
        };
        let of_users = conditions().filter(|condition| condition.dataset == Named::Users);
        let fields: BTreeSet<Field> = of_users.map(|condition| condition.field.clone()).collect();
        let fields: Vec<Field> = fields.into_iter().collect();
        let mut columns = FxHashMap::default();
        if !fields.is_empty() {
            let dataset = Dataset::open(DatasetType::Users, users)?;
            sha.update(dataset.digest());
            let read = read_users(&dataset, &fields, &numbers, progress)?;
            columns = fields
                .into_iter()
                .map(|field| field.name)
                .zip(read)
                .collect();
        }
        let mut events = Events::default();
        if filter.uses(Named::Interactions) {
            let dataset = Dataset::open(DatasetType::Interactions, interactions)?;
            sha.update(dataset.digest());
            let only_star = conditions().all(is_star);
            events = Events::read(&dataset, !only_star, &numbers, progress)?;
        }
        Ok(UserFilter {
            filter,
            everyone: (0..model.users().len() as u32).collect(),
            columns,
            events,
            remembered: Mutex::default(),
            digest: sha.finalize().into(),
        })
    }

    /// Whether lines can choose between sets of users.
    pub fn has_parameters(&self) -> bool {
        !self.filter.parameters().is_empty()
    }

    /// The filter with the values of a line.
    ///
    /// # Errors
    /// The error of the line.
    pub fn bind(&self, values: &FilterValues) -> Result<BoundFilter, BindError> {
        self.filter.bind(values)
    }

    /// The users that `filter`, which was bound here, keeps: those of any INCLUDE, if there is one,
    /// without those of any EXCLUDE.
    pub fn users(&self, filter: &BoundFilter) -> UserSet {
        let mut included: Option<UserSet> = None;
        let mut excluded = UserSet::new();
        for expression in &filter.expressions {
            let mut holds = UserSet::new();
            for conditions in &expression.any_of {
                holds |= self.all_of(conditions);
            }
            match expression.action {
                Action::Include => *included.get_or_insert_default() |= holds,
                Action::Exclude => excluded |= holds,
            }
        }
        match included {
            Some(included) => included - excluded,
            None => &self.everyone - excluded,
        }
    }

    fn all_of(&self, conditions: &[BoundCondition]) -> UserSet {
        let mut sets = conditions.iter().map(|condition| self.one(condition));
        let Some(first) = sets.next() else {
            return self.everyone.clone();
        };
        sets.fold(Arc::unwrap_or_clone(first), |all, set| all & &*set)
    }

    fn one(&self, condition: &BoundCondition) -> Arc<UserSet> {
        // A reader that panicked left a map that is whole.
        let lock = || {
            self.remembered
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
        };
        if let Some(set) = lock().sets.get(condition) {
            return Arc::clone(set);
        }
        let set = match (condition.dataset, self.columns.get(&condition.field.name)) {
            (Named::Interactions, _) => self.events.users(condition, &self.everyone),
            (_, Some(column)) => column.users(condition, &self.everyone),
            (_, None) => UserSet::new(),
        };
        let set = Arc::new(set);
        let mut remembered = lock();
        let bytes = set_bytes(&set);
        if remembered.bytes + bytes <= REMEMBERED_BYTES {
            remembered.bytes += bytes;
            remembered.sets.insert(condition.clone(), Arc::clone(&set));
        }
        set
    }

    pub(super) fn digest(&self) -> &[u8; 32] {
        &self.digest
    }
}

/// Whether a condition asks for any interaction at all; parameters may stand for a type.
fn is_star(condition: &Condition) -> bool {
    matches!(
        condition.test,
        Test::In {
            values: Values::Star,
            ..
        }
    )
}

#[cfg(test)]
pub(crate) mod tests;
