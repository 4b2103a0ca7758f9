//! Filters without parameters, and what they mean for a user.
//!
//! Two-valued: a user either passes a test or does not, and every negated test is the exact complement
//! of its positive form. Where a user has no value (null, an empty string, no row in Users) the
//! positive form is false.

use super::{Action, CompareOp, Dataset, Field, Number, USER_ID};
use crate::schema::FieldType;
use std::cmp::Ordering;

/// A filter of users whose parameters have their values. Equal ones keep the same users.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct BoundFilter {
    /// The expressions that apply; none keeps everyone.
    pub expressions: Vec<BoundExpression>,
}

/// An expression of a [`BoundFilter`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct BoundExpression {
    /// What happens to those for whom it is true.
    pub action: Action,
    /// True when all conditions of one of these lists are; no list is empty.
    pub any_of: Vec<Vec<BoundCondition>>,
}

/// One test of one field.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct BoundCondition {
    /// [`Dataset::Users`], or [`Dataset::Interactions`] for the event type.
    pub dataset: Dataset,
    /// The field that is tested.
    pub field: Field,
    /// What it has to satisfy.
    pub test: BoundTest,
}

/// What a field has to satisfy.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum BoundTest {
    /// One of these values, or with `negated` none of them.
    In {
        /// Sorted, each once; event types as [`fold_event_type`] gives them.
        values: Vec<String>,
        /// Whether it is `NOT IN`.
        negated: bool,
    },
    /// At least one interaction, or with `negated` none.
    Any {
        /// Whether it is `NOT IN`.
        negated: bool,
    },
    /// A number in this relation; see [`BoundCondition::comparison`].
    Compare {
        /// How.
        op: CompareOp,
        /// With what.
        number: Number,
    },
}

/// What is known about one user.
pub trait FilterRow {
    /// What the user's newest row in Users has in this string column.
    fn text(&self, field: &str) -> Option<&str>;
    /// The same for a column of numbers.
    fn number(&self, field: &str) -> Option<Cell>;
    /// Whether the user has an interaction, of whatever type or of none.
    fn has_interactions(&self) -> bool;
    /// The types of the user's interactions, as they were imported.
    fn event_types(&self) -> Vec<&str>;
}

/// A number in a column.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Cell {
    /// Of an int or long column.
    Whole(i64),
    /// Of a float (widened) or double column.
    Real(f64),
}

/// A comparison with a number, rounded as the column's type wants it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Comparison {
    op: CompareOp,
    right: Right,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Right {
    Whole(i128),
    Real(f64),
}

impl BoundFilter {
    /// Whether this user takes part: in one of the INCLUDE expressions, if there are any, and in none
    /// of the EXCLUDE expressions.
    pub fn keeps(&self, user: &impl FilterRow) -> bool {
        let mut included = None;
        for expression in &self.expressions {
            match (expression.action, expression.holds(user)) {
                (Action::Exclude, true) => return false,
                (Action::Exclude, false) => {}
                (Action::Include, holds) => {
                    included = Some(included.unwrap_or(false) || holds);
                }
            }
        }
        included.unwrap_or(true)
    }
}

impl BoundExpression {
    /// Whether it is true for this user.
    pub fn holds(&self, user: &impl FilterRow) -> bool {
        self.any_of
            .iter()
            .any(|conditions| conditions.iter().all(|condition| condition.holds(user)))
    }
}

impl BoundCondition {
    /// Whether it is true for this user.
    pub fn holds(&self, user: &impl FilterRow) -> bool {
        let name = &self.field.name;
        match (&self.test, self.dataset) {
            (BoundTest::Any { negated }, _) => user.has_interactions() != *negated,
            (BoundTest::Compare { .. }, _) => self.holds_number(user.number(name)),
            (BoundTest::In { values, negated }, Dataset::Interactions) => {
                let types = user.event_types();
                let found = types
                    .into_iter()
                    .any(|event_type| values.binary_search(&fold_event_type(event_type)).is_ok());
                found != *negated
            }
            (BoundTest::In { .. }, _) => self.holds_text(user.text(name)),
        }
    }

    /// Whether it is true for what a string column of Users has. False for tests of another kind.
    pub fn holds_text(&self, cell: Option<&str>) -> bool {
        let BoundTest::In { values, negated } = &self.test else {
            return false;
        };
        let is_wanted = |value: &str| {
            let place = values.binary_search_by(|wanted| wanted.as_str().cmp(value));
            place.is_ok()
        };
        let cell = cell.unwrap_or_default();
        let found = if self.field.name == USER_ID {
            !cell.is_empty() && is_wanted(cell)
        } else {
            values_of_cell(cell).any(is_wanted)
        };
        found != *negated
    }

    /// Whether it is true for what a column of numbers has. False for tests of another kind.
    pub fn holds_number(&self, cell: Option<Cell>) -> bool {
        self.comparison()
            .is_some_and(|comparison| comparison.holds(cell))
    }

    /// The comparison it makes, if it makes one.
    pub fn comparison(&self) -> Option<Comparison> {
        match &self.test {
            BoundTest::Compare { op, number } => {
                Some(Comparison::new(self.field.kind, *op, number))
            }
            _ => None,
        }
    }
}

impl Comparison {
    /// With whole columns exactly when the number is whole; otherwise as 64-bit floats, the number
    /// rounded to 32 bits first for a column of those.
    pub fn new(kind: FieldType, op: CompareOp, number: &Number) -> Self {
        let right = match kind {
            FieldType::Int | FieldType::Long => number
                .as_whole()
                .map_or_else(|| Right::Real(number.as_f64()), Right::Whole),
            FieldType::Float => Right::Real(f64::from(number.as_f32())),
            FieldType::Double | FieldType::String | FieldType::Boolean => {
                Right::Real(number.as_f64())
            }
        };
        Comparison { op, right }
    }

    /// Whether it is true for a cell: without a value only `!=` is.
    pub fn holds(&self, cell: Option<Cell>) -> bool {
        let order = cell.and_then(|cell| match (cell, self.right) {
            (Cell::Whole(left), Right::Whole(right)) => Some(i128::from(left).cmp(&right)),
            (Cell::Whole(left), Right::Real(right)) => (left as f64).partial_cmp(&right),
            (Cell::Real(left), Right::Whole(right)) => left.partial_cmp(&(right as f64)),
            (Cell::Real(left), Right::Real(right)) => left.partial_cmp(&right),
        });
        match self.op {
            CompareOp::Equal => order == Some(Ordering::Equal),
            CompareOp::NotEqual => order != Some(Ordering::Equal),
            CompareOp::Less => order == Some(Ordering::Less),
            CompareOp::LessOrEqual => matches!(order, Some(Ordering::Less | Ordering::Equal)),
            CompareOp::Greater => order == Some(Ordering::Greater),
            CompareOp::GreaterOrEqual => {
                matches!(order, Some(Ordering::Greater | Ordering::Equal))
            }
        }
    }
}

/// The form in which event types are compared: case does not count.
pub fn fold_event_type(event_type: &str) -> String {
    event_type.to_lowercase()
}

/// The values of a string column's text: those between `|` that are not empty.
pub fn values_of_cell(cell: &str) -> impl Iterator<Item = &str> {
    cell.split('|').filter(|value| !value.is_empty())
}
