//! Who interacted with which item: the users that a job with `kindred:exclude-interacted` leaves out.
//!
//! Read from the generations of the Interactions dataset, whatever the model was trained on; users and
//! items that the model does not know are left out, since they are neither ranked nor asked for.

use arrow_array::Array;
use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use kindred_types::interacted::InteractedRule;
use kindred_types::schema::DatasetType;
use sha2::{Digest, Sha256};

use super::{Numbers, UserSet};
use crate::data::dataset::{Dataset, Generation};
use crate::data::{Error, same_ignoring_case};
use crate::model::Model;
use crate::progress::Progress;

/// Most interactions that match a rule; each takes eight bytes while they are collected.
const MATCHES_MAX: u64 = 2_000_000_000;
const SECONDS_PER_DAY: i64 = 86_400;

/// The users of each item of a model, by number.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Interacted {
    starts: Vec<usize>,
    users: Vec<u32>,
    /// Stands for the rule and the data.
    digest: [u8; 32],
}

impl Interacted {
    /// Reads who interacted with the items of `model` as the rule says. Days count back from the newest
    /// interaction of the dataset, of whichever type.
    ///
    /// # Errors
    /// [`Error::Input`] if the rule names an event type and the dataset has no such column.
    pub fn load(
        generations: &[Generation],
        rule: &InteractedRule,
        model: &Model,
        progress: &dyn Progress,
    ) -> Result<Interacted, Error> {
        let dataset = Dataset::open(DatasetType::Interactions, generations)?;
        if dataset.rows() == 0 {
            return Ok(Interacted::new(model.items().len(), Vec::new(), [0; 32]));
        }
        let from = match rule.days {
            None => i64::MIN,
            Some(days) => {
                let newest = newest(&dataset, progress)?;
                newest.saturating_sub(i64::from(days) * SECONDS_PER_DAY)
            }
        };
        let mut columns = vec!["USER_ID", "ITEM_ID", "TIMESTAMP"];
        if rule.event_type.is_some() {
            if !dataset.has("EVENT_TYPE") {
                return Err(Error::Input(
                    "kindred:exclude-interacted names an event type, but the Interactions dataset has no EVENT_TYPE column.".to_owned(),
                ));
            }
            columns.push("EVENT_TYPE");
        }
        let (users, items) = (Numbers::of(model.users()), Numbers::of(model.items()));
        let mut pairs: Vec<u64> = Vec::new();
        dataset.read_columns(&columns, progress, |batch| {
            let (user_ids, item_ids) = (batch.column(0), batch.column(1));
            let (user_ids, item_ids) = (user_ids.as_string::<i32>(), item_ids.as_string::<i32>());
            let times = batch.column(2).as_primitive::<Int64Type>();
            let types = rule.event_type.as_deref().map(|wanted| {
                let types = batch.column(3).as_string::<i32>();
                (wanted, types)
            });
            for row in 0..batch.num_rows() {
                let of_type = types.is_none_or(|(wanted, types)| {
                    types.is_valid(row) && same_ignoring_case(types.value(row), wanted)
                });
                if times.value(row) < from || !of_type {
                    continue;
                }
                let number = (
                    items.get(item_ids.value(row)),
                    users.get(user_ids.value(row)),
                );
                if let (Some(item), Some(user)) = number {
                    if pairs.len() as u64 >= MATCHES_MAX {
                        return Err(Error::Limit {
                            what: "interactions to exclude",
                            limit: MATCHES_MAX,
                        });
                    }
                    pairs.push(u64::from(item) << 32 | u64::from(user));
                }
            }
            Ok(())
        })?;
        let mut sha = Sha256::new();
        sha.update(b"kindred interacted 1\n");
        sha.update(rule.to_string());
        sha.update(dataset.digest());
        Ok(Interacted::new(
            model.items().len(),
            pairs,
            sha.finalize().into(),
        ))
    }

    /// From pairs of item (high half) and user, in any order.
    fn new(items: usize, mut pairs: Vec<u64>, digest: [u8; 32]) -> Interacted {
        pairs.sort_unstable();
        pairs.dedup();
        let mut starts = vec![0; items + 1];
        for pair in &pairs {
            starts[(pair >> 32) as usize + 1] += 1;
        }
        for item in 0..items {
            starts[item + 1] += starts[item];
        }
        Interacted {
            starts,
            users: pairs.into_iter().map(|pair| pair as u32).collect(),
            digest,
        }
    }

    /// The users who interacted with an item, ascending.
    pub fn of(&self, item: u32) -> &[u32] {
        let item = item as usize;
        &self.users[self.starts[item]..self.starts[item + 1]]
    }

    /// The users who interacted with any of the items.
    pub fn of_any(&self, items: &[u32]) -> UserSet {
        let mut users = UserSet::new();
        for &item in items {
            users.extend(self.of(item));
        }
        users
    }

    pub(super) fn digest(&self) -> &[u8; 32] {
        &self.digest
    }
}

fn newest(dataset: &Dataset, progress: &dyn Progress) -> Result<i64, Error> {
    let mut newest = i64::MIN;
    dataset.read_columns(&["TIMESTAMP"], progress, |batch| {
        let times = batch.column(0).as_primitive::<Int64Type>();
        newest = times.values().iter().copied().fold(newest, i64::max);
        Ok(())
    })?;
    Ok(newest)
}

#[cfg(test)]
impl Interacted {
    /// From (item, user) pairs, for tests.
    pub(crate) fn of_pairs(items: usize, pairs: &[(u32, u32)]) -> Interacted {
        let pairs = pairs
            .iter()
            .map(|&(item, user)| u64::from(item) << 32 | u64::from(user));
        Interacted::new(items, pairs.collect(), [0; 32])
    }
}

#[cfg(test)]
mod tests {
    use super::super::filter::tests::{generations, interactions_schema, schema};
    use super::*;
    use crate::progress::Silent;

    const DAY: i64 = 86_400;

    #[test]
    fn rules_choose_by_type_and_age() {
        let dir = tempfile::tempdir().unwrap();
        let head = "USER_ID,ITEM_ID,EVENT_TYPE,TIMESTAMP\n";
        let first = format!(
            "{head}u0000002,i0000000,click,{}\nu0000000,i0000000,Purchase,{}\nu0000001,i0000001,,{}\n\
             stranger,i0000000,click,{}\nu0000001,elsewhere,click,{}\n",
            9 * DAY,
            10 * DAY,
            2 * DAY,
            5 * DAY,
            5 * DAY
        );
        // The newest event is of a stranger, and counts.
        let second = format!(
            "{head}u0000000,i0000000,click,{}\nu0000000,i0000001,purchase,{}\nstranger,x,view,{}\n",
            DAY,
            3 * DAY,
            12 * DAY
        );
        let schema = interactions_schema();
        let generations = generations(dir.path(), &schema, &[first, second]);
        let model = Model::generated(3, 2, 1, 1);
        for (rule, expected) in [
            ("true", [&[0, 2][..], &[0, 1]]),
            ("click", [&[0, 2], &[]]),
            ("PURCHASE", [&[0], &[0]]),
            ("true,10d", [&[0, 2], &[0, 1]]),
            ("true,9d", [&[0, 2], &[0]]),
            ("true,3d", [&[0, 2], &[]]),
            ("true,2d", [&[0], &[]]),
            ("click,3d", [&[2], &[]]),
            ("purchase,9d", [&[0], &[0]]),
            ("nothing", [&[], &[]]),
        ] {
            let rule = rule.parse().unwrap();
            let found = Interacted::load(&generations, &rule, &model, &Silent).unwrap();
            assert_eq!([found.of(0), found.of(1)], expected, "{rule}");
            let any: Vec<u32> = found.of_any(&[0, 1]).iter().collect();
            let mut all = [expected[0], expected[1]].concat();
            all.sort_unstable();
            all.dedup();
            assert_eq!(any, all, "{rule}");
        }
        let load = |rule: &str| {
            let rule = rule.parse().unwrap();
            Interacted::load(&generations, &rule, &model, &Silent).unwrap()
        };
        assert_ne!(load("true").digest(), load("true,9d").digest());
    }

    #[test]
    fn a_type_needs_the_column_and_no_data_is_nobody() {
        let dir = tempfile::tempdir().unwrap();
        let schema = schema(
            "Interactions",
            r#"{"name":"USER_ID","type":"string"},{"name":"ITEM_ID","type":"string"},
               {"name":"TIMESTAMP","type":"long"}"#,
        );
        let text = "USER_ID,ITEM_ID,TIMESTAMP\nu0000001,i0000000,7\n".to_owned();
        let generations = generations(dir.path(), &schema, &[text]);
        let model = Model::generated(3, 1, 1, 1);
        let load = |generations: &[Generation], rule: &str| {
            Interacted::load(generations, &rule.parse().unwrap(), &model, &Silent)
        };
        assert_eq!(load(&generations, "true,1d").unwrap().of(0), [1]);
        let error = load(&generations, "buy").unwrap_err();
        assert!(matches!(error, Error::Input(text) if text.contains("no EVENT_TYPE column")));
        for rule in ["true", "buy", "buy,3d"] {
            assert!(load(&[], rule).unwrap().of(0).is_empty());
        }
    }
}
