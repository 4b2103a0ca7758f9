//! What the data says about the users of a model, a column at a time.
//!
//! Of a string column the users of each value are listed, of a column of numbers the users in the
//! order of their numbers, so that a condition costs about as much as it finds. Only the columns that
//! a filter names are read; of several rows of a user the last one counts.

use arrow_array::cast::AsArray;
use arrow_array::types::{Float32Type, Float64Type, Int32Type, Int64Type};
use arrow_array::{Array, ArrayRef};
use kindred_types::filter::{
    BoundCondition, BoundTest, Cell, CompareOp, Comparison, EVENT_TYPE, Field, Number, USER_ID,
    fold_event_type, values_of_cell,
};
use kindred_types::schema::FieldType;
use rustc_hash::FxHashMap;

use super::{Numbers, UserSet};
use crate::data::Error;
use crate::data::dataset::Dataset;
use crate::progress::Progress;

/// Where more than one of so many users are found, looking at every user is cheaper than sorting.
const SCAN_SHARE: usize = 16;

/// A column of Users.
#[derive(Debug)]
pub(super) enum Column {
    Text(Postings),
    Numbers(Ordered),
}

/// The users of each value, ascending.
#[derive(Debug, Default)]
pub(super) struct Postings {
    values: FxHashMap<Box<str>, u32>,
    starts: Vec<usize>,
    users: Vec<u32>,
}

/// The number of each user, and the users in the order of their numbers.
#[derive(Debug)]
pub(super) struct Ordered {
    kind: FieldType,
    cells: Vec<Option<Cell>>,
    order: Vec<u32>,
}

impl Column {
    /// The users for whom the condition is true.
    pub(super) fn users(&self, condition: &BoundCondition, everyone: &UserSet) -> UserSet {
        match (self, &condition.test) {
            (Column::Text(postings), BoundTest::In { values, negated }) => {
                let mut found = UserSet::new();
                for value in values {
                    found.extend(postings.of(value));
                }
                complement_if(*negated, found, everyone)
            }
            (Column::Numbers(ordered), BoundTest::Compare { op, number }) => {
                ordered.users(*op, number, everyone)
            }
            // The filter was typed against the schema of this very data.
            _ => UserSet::new(),
        }
    }
}

/// The set itself, or everyone else.
pub(super) fn complement_if(negated: bool, set: UserSet, everyone: &UserSet) -> UserSet {
    if negated { everyone - set } else { set }
}

impl Postings {
    fn of(&self, value: &str) -> &[u32] {
        let Some(&number) = self.values.get(value) else {
            return &[];
        };
        let number = number as usize;
        &self.users[self.starts[number]..self.starts[number + 1]]
    }
}

impl Ordered {
    fn new(kind: FieldType, cells: Vec<Option<Cell>>) -> Ordered {
        let with_number = cells.iter().zip(0u32..).filter(|(cell, _)| cell.is_some());
        let mut order: Vec<u32> = with_number.map(|(_, user)| user).collect();
        order.sort_by(|&a, &b| compare(cells[a as usize], cells[b as usize]));
        Ordered { kind, cells, order }
    }

    fn users(&self, op: CompareOp, number: &Number, everyone: &UserSet) -> UserSet {
        let until = |op| {
            let comparison = Comparison::new(self.kind, op, number);
            self.order
                .partition_point(|&user| comparison.holds(self.cells[user as usize]))
        };
        let (below, up_to) = (until(CompareOp::Less), until(CompareOp::LessOrEqual));
        let range = match op {
            CompareOp::Equal | CompareOp::NotEqual => below..up_to,
            CompareOp::Less => 0..below,
            CompareOp::LessOrEqual => 0..up_to,
            CompareOp::Greater => up_to..self.order.len(),
            CompareOp::GreaterOrEqual => below..self.order.len(),
        };
        let negated = op == CompareOp::NotEqual;
        let found = if range.len() > self.cells.len() / SCAN_SHARE {
            let op = if negated { CompareOp::Equal } else { op };
            let comparison = Comparison::new(self.kind, op, number);
            let users = self.cells.iter().zip(0u32..);
            let users = users.filter(|(cell, _)| comparison.holds(**cell));
            users.map(|(_, user)| user).collect()
        } else {
            let mut users = self.order[range].to_vec();
            users.sort_unstable();
            users.into_iter().collect()
        };
        complement_if(negated, found, everyone)
    }
}

/// Cells of one column are of one kind, and none is NaN.
fn compare(left: Option<Cell>, right: Option<Cell>) -> std::cmp::Ordering {
    match (left, right) {
        (Some(Cell::Whole(left)), Some(Cell::Whole(right))) => left.cmp(&right),
        (Some(Cell::Real(left)), Some(Cell::Real(right))) => left
            .partial_cmp(&right)
            .unwrap_or(std::cmp::Ordering::Equal),
        _ => std::cmp::Ordering::Equal,
    }
}

/// Reads columns of the Users dataset, of which each name is given once. Of one that the data does not
/// have nobody has a value.
///
/// # Errors
/// [`Error::Input`] if a column is of another type than it is said to be.
pub(super) fn read_users(
    dataset: &Dataset,
    fields: &[Field],
    users: &Numbers<'_>,
    progress: &dyn Progress,
) -> Result<Vec<Column>, Error> {
    let mut columns = vec![USER_ID];
    let mut filled = Vec::new();
    for (place, field) in fields.iter().enumerate() {
        let mut there = dataset.fields().iter();
        match there.find(|there| there.name == field.name) {
            Some(there) if there.kind == field.kind => {
                columns.push(&field.name);
                filled.push(place);
            }
            Some(_) => {
                return Err(Error::Input(format!(
                    "The type of column {} has changed since the filter was created.",
                    field.name
                )));
            }
            None => {}
        }
    }
    let builders = fields.iter();
    let mut builders: Vec<Builder> = builders
        .map(|field| Builder::new(field.kind, users.len()))
        .collect();
    dataset.read_columns(&columns, progress, |batch| {
        let ids = batch.column(0).as_string::<i32>();
        for row in 0..batch.num_rows() {
            let Some(user) = users.get(ids.value(row)) else {
                continue;
            };
            for (&place, column) in filled.iter().zip(&batch.columns()[1..]) {
                builders[place].set(user as usize, column, row)?;
            }
        }
        Ok(())
    })?;
    let built = builders.into_iter().zip(fields);
    Ok(built
        .map(|(builder, field)| builder.finish(field.name == USER_ID))
        .collect())
}

/// The newest cell of each user while rows are read.
enum Builder {
    Text {
        /// Different cells, and their numbers from 1 on.
        numbers: FxHashMap<Box<str>, u32>,
        /// The number of each user's cell; 0 for none.
        cells: Vec<u32>,
    },
    Numbers {
        kind: FieldType,
        cells: Vec<Option<Cell>>,
    },
}

impl Builder {
    fn new(kind: FieldType, users: usize) -> Builder {
        match kind {
            FieldType::String | FieldType::Boolean => Builder::Text {
                numbers: FxHashMap::default(),
                cells: vec![0; users],
            },
            kind => Builder::Numbers {
                kind,
                cells: vec![None; users],
            },
        }
    }

    fn set(&mut self, user: usize, column: &ArrayRef, row: usize) -> Result<(), Error> {
        let valid = column.is_valid(row);
        match self {
            Builder::Text { numbers, cells } => {
                let text = column.as_string_opt::<i32>().filter(|_| valid);
                let text = text.map_or("", |texts| texts.value(row));
                cells[user] = match numbers.get(text) {
                    _ if text.is_empty() => 0,
                    Some(number) => *number,
                    None => {
                        // There are at most as many cells as rows; users are numbered in 32 bits,
                        // rows of the same user could be more.
                        let next = u32::try_from(numbers.len() + 1).map_err(|_| Error::Limit {
                            what: "different values of a column",
                            limit: u64::from(u32::MAX),
                        })?;
                        numbers.insert(text.into(), next);
                        next
                    }
                };
            }
            Builder::Numbers { kind, cells } => {
                cells[user] = valid.then(|| match kind {
                    FieldType::Int => {
                        Cell::Whole(column.as_primitive::<Int32Type>().value(row).into())
                    }
                    FieldType::Long => Cell::Whole(column.as_primitive::<Int64Type>().value(row)),
                    FieldType::Float => {
                        Cell::Real(column.as_primitive::<Float32Type>().value(row).into())
                    }
                    _ => Cell::Real(column.as_primitive::<Float64Type>().value(row)),
                });
            }
        }
        Ok(())
    }

    /// The column; a cell is one value if `whole`, otherwise those between its `|`.
    fn finish(self, whole: bool) -> Column {
        match self {
            Builder::Numbers { kind, cells } => Column::Numbers(Ordered::new(kind, cells)),
            Builder::Text { numbers, cells } => Column::Text(postings(&numbers, &cells, whole)),
        }
    }
}

fn postings(numbers: &FxHashMap<Box<str>, u32>, cells: &[u32], whole: bool) -> Postings {
    let mut postings = Postings::default();
    // The values of each cell, by its number.
    let mut values_of: Vec<Vec<u32>> = vec![Vec::new(); numbers.len() + 1];
    for (cell, number) in numbers {
        let values: Vec<&str> = if whole {
            vec![cell]
        } else {
            values_of_cell(cell).collect()
        };
        let list = &mut values_of[*number as usize];
        for value in values {
            let next = postings.values.len() as u32;
            let number = *postings.values.entry(value.into()).or_insert(next);
            if !list.contains(&number) {
                list.push(number);
            }
        }
    }
    let mut starts = vec![0usize; postings.values.len() + 1];
    for cell in cells {
        for value in &values_of[*cell as usize] {
            starts[*value as usize + 1] += 1;
        }
    }
    for value in 1..starts.len() {
        starts[value] += starts[value - 1];
    }
    let mut next = starts.clone();
    postings.users = vec![0; starts.last().copied().unwrap_or(0)];
    for (cell, user) in cells.iter().zip(0u32..) {
        for value in &values_of[*cell as usize] {
            let place = &mut next[*value as usize];
            postings.users[*place] = user;
            *place += 1;
        }
    }
    postings.starts = starts;
    postings
}

/// The users of each event type.
#[derive(Debug, Default)]
pub(super) struct Events {
    /// With any interaction, of whatever type or of none.
    any: UserSet,
    /// By type, as `fold_event_type` gives it.
    types: FxHashMap<String, UserSet>,
}

impl Events {
    /// Reads the Interactions dataset; the types only if `with_types`.
    pub(super) fn read(
        dataset: &Dataset,
        with_types: bool,
        users: &Numbers<'_>,
        progress: &dyn Progress,
    ) -> Result<Events, Error> {
        let mut any = vec![false; users.len()];
        // A type as it is written, and the place of its users.
        let mut places: FxHashMap<Box<str>, usize> = FxHashMap::default();
        let mut sets: Vec<(String, UserSet)> = Vec::new();
        let mut columns = vec![USER_ID];
        // Without the column no event has a type.
        let with_types = with_types && dataset.has(EVENT_TYPE);
        if with_types {
            columns.push(EVENT_TYPE);
        }
        dataset.read_columns(&columns, progress, |batch| {
            let ids = batch.column(0).as_string::<i32>();
            let types = with_types.then(|| batch.column(1).as_string::<i32>());
            for row in 0..batch.num_rows() {
                let Some(user) = users.get(ids.value(row)) else {
                    continue;
                };
                any[user as usize] = true;
                let Some(types) = types.filter(|types| types.is_valid(row)) else {
                    continue;
                };
                let event_type = types.value(row);
                let place = match places.get(event_type) {
                    Some(place) => *place,
                    None => {
                        places.insert(event_type.into(), sets.len());
                        sets.push((fold_event_type(event_type), UserSet::new()));
                        sets.len() - 1
                    }
                };
                sets[place].1.insert(user);
            }
            Ok(())
        })?;
        let any = any.iter().zip(0u32..).filter(|(any, _)| **any);
        let mut events = Events {
            any: any.map(|(_, user)| user).collect(),
            types: FxHashMap::default(),
        };
        for (event_type, set) in sets {
            *events.types.entry(event_type).or_default() |= set;
        }
        Ok(events)
    }

    /// The users for whom the condition is true.
    pub(super) fn users(&self, condition: &BoundCondition, everyone: &UserSet) -> UserSet {
        match &condition.test {
            BoundTest::Any { negated } => complement_if(*negated, self.any.clone(), everyone),
            BoundTest::In { values, negated } => {
                let mut found = UserSet::new();
                for set in values.iter().filter_map(|value| self.types.get(value)) {
                    found |= set;
                }
                complement_if(*negated, found, everyone)
            }
            BoundTest::Compare { .. } => UserSet::new(),
        }
    }
}
