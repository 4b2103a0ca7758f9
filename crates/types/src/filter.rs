//! The filter language: which users (or items) take part.
//!
//! `INCLUDE UserID WHERE Users.AGE >= $AGE | EXCLUDE UserID WHERE Interactions.EVENT_TYPE IN ("buy")`.
//! [`Filter::parse`] reads a text against the schemas of the datasets it names: whoever holds a
//! [`Filter`] knows that its fields exist, that its tests fit their types and that every rule of the
//! language is kept. [`Filter::bind`] puts the values of one input line in the place of the
//! parameters. Any text gives a filter or an error with the place where it went wrong, in time
//! proportional to its length; a filter prints in one form, which reads back as the same filter.
//!
//! What a bound filter means for one user is in [`BoundFilter::keeps`]. How that is found for all
//! users of a dataset at once is the engine's business.

mod bound;
mod error;
mod lexer;
mod print;
mod syntax;
#[cfg(test)]
mod tests;
mod typing;
mod values;

pub use crate::item_query::Number;
pub use bound::{
    BoundCondition, BoundExpression, BoundFilter, BoundTest, Cell, Comparison, FilterRow,
    fold_event_type, values_of_cell,
};
pub use error::FilterError;
pub use values::{BindError, FilterValues, VALUE_CHARACTERS_MAX, VALUES_MAX};

use crate::schema::{DatasetSchema, FieldType};
use std::collections::BTreeSet;

/// Longest expression, in characters.
pub const EXPRESSION_CHARACTERS_MAX: usize = 2_500;
/// Longest name of a parameter, in characters.
pub const PARAMETER_CHARACTERS_MAX: usize = 50;

/// The only field of Interactions that filters know.
pub const EVENT_TYPE: &str = "EVENT_TYPE";
/// The field of Users that is a whole id and never a list of values.
pub const USER_ID: &str = "USER_ID";

/// The schemas of the datasets there are.
#[derive(Clone, Copy, Debug, Default)]
pub struct FilterSchemas<'a> {
    /// Of the Users dataset.
    pub users: Option<&'a DatasetSchema>,
    /// Of the Interactions dataset.
    pub interactions: Option<&'a DatasetSchema>,
    /// Of the Items dataset.
    pub items: Option<&'a DatasetSchema>,
}

/// A filter, checked against schemas.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Filter {
    /// What is kept or left out; the same in all expressions.
    pub target: Target,
    /// In the order they were written; at least one.
    pub expressions: Vec<Expression>,
}

/// What a filter is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Target {
    /// `UserID`.
    Users,
    /// `ItemID`: accepted, but of no use to segment jobs.
    Items,
}

/// The part of a filter between two `|`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Expression {
    /// What happens to those for whom it is true.
    pub action: Action,
    /// True when all conditions of one of these lists are; no list is empty.
    pub any_of: Vec<Vec<Condition>>,
    /// After `IF`, all of them about the current user; only with [`Target::Items`].
    pub only_if: Vec<Condition>,
}

/// What an expression does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Action {
    /// Keeps.
    Include,
    /// Leaves out.
    Exclude,
}

/// One test of one field.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Condition {
    /// Where the field is.
    pub dataset: Dataset,
    /// The field that is tested.
    pub field: Field,
    /// What it has to satisfy.
    pub test: Test,
}

/// Where a field is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Dataset {
    /// Columns of Users.
    Users,
    /// The event type of Interactions.
    Interactions,
    /// Columns of Items.
    Items,
    /// Known as a word, not supported.
    Actions,
    /// The user who asks, after `IF`.
    CurrentUser,
    /// The item that is looked at, on the right side of a test.
    CurrentItem,
}

/// A column, as the schema has it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Field {
    /// Its name in the schema, however it was written.
    pub name: String,
    /// The type of its values.
    pub kind: FieldType,
}

/// What a field has to satisfy.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Test {
    /// `IN (...)`, or `NOT IN (...)`.
    In {
        /// Between the parentheses.
        values: Values,
        /// Whether it is `NOT IN`.
        negated: bool,
    },
    /// `> 25`.
    Compare {
        /// How.
        op: CompareOp,
        /// With what.
        number: Operand,
    },
}

/// What stands in the parentheses of `IN`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Values {
    /// `*`: whatever it is.
    Star,
    /// Strings, as written; at least one.
    List(Vec<String>),
    /// A parameter, which stands for a list.
    Parameter(String),
    /// A field of the item that is looked at; only with [`Target::Items`].
    CurrentItem(Field),
}

/// The right side of a comparison.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Operand {
    /// A number.
    Number(Number),
    /// A parameter, which stands for a number.
    Parameter(String),
    /// A field of the item that is looked at; only with [`Target::Items`].
    CurrentItem(Field),
}

/// How numbers are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum CompareOp {
    /// `=`
    Equal,
    /// `!=`
    NotEqual,
    /// `<`
    Less,
    /// `<=`
    LessOrEqual,
    /// `>`
    Greater,
    /// `>=`
    GreaterOrEqual,
}

impl Filter {
    /// Reads an expression and checks it against the schemas.
    ///
    /// # Errors
    /// The first place that does not fit the language; in a text that does, the first place that does
    /// not fit the schemas.
    pub fn parse(text: &str, schemas: &FilterSchemas<'_>) -> Result<Filter, FilterError> {
        typing::check(&syntax::parse(text)?, schemas)
    }

    /// The names of its parameters without `$`, each once, in the order they appear.
    pub fn parameters(&self) -> Vec<&str> {
        let mut names: Vec<&str> = Vec::new();
        for name in self.conditions().filter_map(Condition::parameter) {
            if !names.contains(&name) {
                names.push(name);
            }
        }
        names
    }

    /// Whether a condition is about this dataset.
    pub fn uses(&self, dataset: Dataset) -> bool {
        self.conditions()
            .any(|condition| condition.dataset == dataset)
    }

    /// The different fields it tests.
    pub fn fields(&self) -> BTreeSet<(Dataset, &str)> {
        self.conditions()
            .map(|condition| {
                let dataset = match condition.dataset {
                    Dataset::CurrentUser => Dataset::Users,
                    dataset => dataset,
                };
                (dataset, condition.field.name.as_str())
            })
            .collect()
    }

    fn conditions(&self) -> impl Iterator<Item = &Condition> {
        self.expressions.iter().flat_map(|expression| {
            let tested = expression.any_of.iter().flatten();
            tested.chain(&expression.only_if)
        })
    }
}

impl Condition {
    /// The parameter on its right side, if there is one.
    pub fn parameter(&self) -> Option<&str> {
        match &self.test {
            Test::In {
                values: Values::Parameter(name),
                ..
            }
            | Test::Compare {
                number: Operand::Parameter(name),
                ..
            } => Some(name),
            _ => None,
        }
    }
}
