//! The data cut at a point in time: what a model may see, and what came after.
//!
//! The first part is what remains of the files when every later row is deleted from them: users and
//! items are numbered anew, so a model trained on it is the one that a user of that day would have
//! got, to the byte. Nothing of the later events is left in it, not even the ids.

use crate::data::attributes::{ItemAttributes, TrainingData, is_learned};
use crate::data::table::Column;
use crate::interactions::Interactions;
use crate::train::events::{Prefix, Sparse};

/// Data before a point in time, and who came in the horizon after it.
#[derive(Clone, Debug)]
pub struct Cut {
    /// What happened before, with the users who have an event there and the items that have one or
    /// are known by their attributes.
    pub training: TrainingData,
    /// Epoch seconds: training ends before it.
    pub time: i64,
    /// How long the period after it is that counts.
    pub horizon_seconds: i64,
    /// For each item of `training` its users of the horizon, ascending; only users of `training`.
    came: Sparse,
}

impl Cut {
    /// Cuts `data` at `time`; the horizon is [time, time + horizon_seconds).
    pub fn new(data: &TrainingData, time: i64, horizon_seconds: i64) -> Cut {
        let whole = Prefix::whole(&data.interactions);
        let before = whole.before(time);
        let until = whole.before(time.saturating_add(horizon_seconds));
        let (items, numbers) = kept_items(data, &before);
        let interactions = renumbered(&before, &items, &numbers);
        let rows: Vec<Option<usize>> = items.iter().map(|&item| Some(item as usize)).collect();
        let columns = data.attributes.columns.iter();
        let columns = columns.map(|column| Column {
            field: column.field.clone(),
            values: column.values.taken(&rows),
        });
        Cut {
            training: TrainingData {
                interactions,
                attributes: ItemAttributes {
                    columns: columns.collect(),
                },
            },
            time,
            horizon_seconds,
            came: came(&before, &until, &numbers, items.len()),
        }
    }

    /// For each item the users who came in the horizon.
    pub(crate) fn came(&self) -> &Sparse {
        &self.came
    }
}

/// The items that stay, ascending, and the new number of each old one.
fn kept_items(data: &TrainingData, before: &Prefix<'_>) -> (Vec<u32>, Vec<Option<u32>>) {
    let columns = &data.attributes.columns;
    let mut kept: Vec<bool> = (0..before.items())
        .map(|item| {
            let mut learned = columns.iter().filter(|column| is_learned(&column.field));
            learned.any(|column| column.values.is_present(item))
        })
        .collect();
    for user in 0..before.users() {
        for event in before.events_of(user) {
            kept[before.data.event_items[event] as usize] = true;
        }
    }
    let items: Vec<u32> = (0..before.items() as u32)
        .filter(|&item| kept[item as usize])
        .collect();
    let mut numbers = vec![None; before.items()];
    for (new, &old) in items.iter().enumerate() {
        numbers[old as usize] = Some(new as u32);
    }
    (items, numbers)
}

fn renumbered(before: &Prefix<'_>, items: &[u32], numbers: &[Option<u32>]) -> Interactions {
    let data = before.data;
    let mut cut = Interactions {
        user_starts: vec![0],
        items: items
            .iter()
            .map(|&item| data.items[item as usize].clone())
            .collect(),
        ..Interactions::default()
    };
    for user in before.known_users() {
        let events = before.events_of(user as usize);
        let old = &data.event_items[events.clone()];
        cut.event_items
            .extend(old.iter().filter_map(|&item| numbers[item as usize]));
        cut.event_times
            .extend_from_slice(&data.event_times[events.clone()]);
        if !data.event_weights.is_empty() {
            cut.event_weights
                .extend_from_slice(&data.event_weights[events]);
        }
        cut.users.push(data.users[user as usize].clone());
        cut.user_starts.push(cut.event_items.len());
    }
    // No weights stands for all weights being 1.
    if cut.event_weights.iter().all(|&weight| weight == 1.0) {
        cut.event_weights = Vec::new();
    }
    cut
}

fn came(before: &Prefix<'_>, until: &Prefix<'_>, numbers: &[Option<u32>], items: usize) -> Sparse {
    let mut items_of = Sparse {
        starts: vec![0],
        indices: Vec::new(),
    };
    for user in before.known_users() {
        let events = before.rest_of(until, user as usize);
        // Events of weight 0 are context: nobody asks who they will be of.
        let mut row: Vec<u32> = events
            .filter(|&event| before.data.weight(event) > 0.0)
            .filter_map(|event| numbers[before.data.event_items[event] as usize])
            .collect();
        row.sort_unstable();
        row.dedup();
        items_of.indices.extend(row);
        items_of.starts.push(items_of.indices.len());
    }
    items_of.transposed(items)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::table::Values;
    use crate::train::fixtures::interactions;
    use kindred_types::schema::{Field, FieldType};

    #[test]
    fn what_was_known_and_who_came() {
        let data = interactions(&[
            ("a", "w", 30),
            ("b", "x", 1),
            ("b", "x", 11),
            ("b", "y", 12),
            ("b", "y", 13),
            ("b", "v", 14),
            ("c", "x", 12),
            ("c", "y", 2),
            ("c", "y", 30),
            ("d", "x", 12),
        ]);
        assert_eq!(data.items, ["v", "w", "x", "y"]);
        let values = Values::Long(vec![Some(7), None, Some(8), None]);
        let field = Field {
            name: "SIZE".into(),
            kind: FieldType::Long,
            nullable: true,
            categorical: false,
            textual: false,
        };
        let data = TrainingData {
            interactions: data,
            attributes: ItemAttributes {
                columns: vec![Column { field, values }],
            },
        };
        let cut = Cut::new(&data, 10, 10);
        // v is known by its size alone, w by nothing; a and d have no event before.
        let expected = interactions(&[("b", "x", 1), ("c", "y", 2)]);
        let found = &cut.training.interactions;
        assert_eq!(found.items, ["v", "x", "y"]);
        assert_eq!(found.users, expected.users);
        assert_eq!(found.user_starts, expected.user_starts);
        assert_eq!(found.event_items, [1, 2]);
        assert_eq!(found.event_times, expected.event_times);
        let sizes = &cut.training.attributes.columns[0].values;
        assert_eq!(sizes, &Values::Long(vec![Some(7), Some(8), None]));
        // c's y at 30 lies beyond the horizon.
        let came: Vec<&[u32]> = (0..3).map(|item| cut.came().row(item)).collect();
        assert_eq!(came, [&[0][..], &[0, 1], &[0]]);
    }
}
