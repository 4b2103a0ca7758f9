//! The values that an input line gives to the parameters of its filter.

use super::bound::{BoundCondition, BoundExpression, BoundFilter, BoundTest, fold_event_type};
use super::lexer::{is_name, unquote};
use super::{
    Action, Condition, Dataset, Expression, Filter, Number, Operand, PARAMETER_CHARACTERS_MAX,
    Target, Test, Values,
};
use serde_json::value::RawValue;
use std::collections::BTreeMap;

/// Most values of one line.
pub const VALUES_MAX: usize = 25;
/// Longest value, in characters.
pub const VALUE_CHARACTERS_MAX: usize = 1_000;

/// The member `filterValues` of a line, checked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct FilterValues {
    values: BTreeMap<String, String>,
}

/// What is wrong with the values of a line; prints as the line's error.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BindError {
    /// It is no object.
    #[error("User error: filterValues must be a JSON object with one string for each parameter")]
    NotObject,
    /// It has more than [`VALUES_MAX`] members.
    #[error("User error: filterValues has more than {VALUES_MAX} values")]
    TooMany,
    /// A name that no parameter can have.
    #[error(
        "User error: Filter parameter {0} is not a name of letters, digits and underscores with at \
         most {PARAMETER_CHARACTERS_MAX} characters"
    )]
    Name(String),
    /// Neither a string nor a number.
    #[error("User error: Filter parameter {0} is not a string")]
    NotString(String),
    /// A value of more than [`VALUE_CHARACTERS_MAX`] characters.
    #[error("User error: Filter parameter {0} has more than {VALUE_CHARACTERS_MAX} characters")]
    TooLong(String),
    /// No value for a parameter of an INCLUDE expression.
    #[error("User error: Filter parameter {0} has no value")]
    Missing(String),
    /// No list of strings, where the parameter stands for one.
    #[error(
        "User error: Filter parameter {0} is not a list of strings in double quotes, separated by \
         commas"
    )]
    NotList(String),
    /// No number, where the parameter stands for one.
    #[error("User error: Filter parameter {0} is not a number")]
    NotNumber(String),
    /// The filter is not about users; CreateBatchSegmentJob refuses such filters.
    #[error("User error: only filters about UserID can be applied to users")]
    NotUsers,
}

impl FilterValues {
    /// Reads the JSON text of the member `filterValues`: an object of strings; numbers count as their
    /// text. Of a repeated name the last counts.
    ///
    /// # Errors
    /// The first thing that is not as it should be.
    pub fn parse(json: &str) -> Result<FilterValues, BindError> {
        let members: BTreeMap<String, &RawValue> =
            serde_json::from_str(json).map_err(|_| BindError::NotObject)?;
        if members.len() > VALUES_MAX {
            return Err(BindError::TooMany);
        }
        let mut values = BTreeMap::new();
        for (name, raw) in members {
            if name.is_empty()
                || !name.chars().all(is_name)
                || name.len() > PARAMETER_CHARACTERS_MAX
            {
                let shown = name.chars().take(PARAMETER_CHARACTERS_MAX).collect();
                return Err(BindError::Name(shown));
            }
            let text = raw.get();
            let value = if text.starts_with('"') {
                // Surrogates without a partner are the only strings that fail here.
                match serde_json::from_str::<String>(text) {
                    Ok(value) => value,
                    Err(_) => return Err(BindError::NotString(name)),
                }
            } else if text.starts_with(|c: char| c == '-' || c.is_ascii_digit()) {
                text.to_owned()
            } else {
                return Err(BindError::NotString(name));
            };
            if value.len() > VALUE_CHARACTERS_MAX && value.chars().count() > VALUE_CHARACTERS_MAX {
                return Err(BindError::TooLong(name));
            }
            values.insert(name, value);
        }
        Ok(FilterValues { values })
    }

    /// Values from pairs of name and value, for callers without JSON.
    pub fn from_pairs<N: Into<String>, V: Into<String>>(
        pairs: impl IntoIterator<Item = (N, V)>,
    ) -> FilterValues {
        let pairs = pairs.into_iter();
        let values = pairs.map(|(n, v)| (n.into(), v.into())).collect();
        FilterValues { values }
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(String::as_str)
    }
}

impl Filter {
    /// Puts values in the place of the parameters. An EXCLUDE expression that lacks one is left out;
    /// values without a parameter do not matter.
    ///
    /// # Errors
    /// A value that an INCLUDE expression lacks, or that is not what its parameter stands for; and
    /// any filter about items.
    pub fn bind(&self, values: &FilterValues) -> Result<BoundFilter, BindError> {
        if self.target != Target::Users {
            return Err(BindError::NotUsers);
        }
        let mut expressions = Vec::with_capacity(self.expressions.len());
        for expression in &self.expressions {
            if let Some(name) = expression.lacks(values) {
                match expression.action {
                    Action::Include => return Err(BindError::Missing(name.to_owned())),
                    Action::Exclude => continue,
                }
            }
            expressions.push(bind_expression(expression, values)?);
        }
        Ok(BoundFilter { expressions })
    }
}

impl Expression {
    /// The first of its parameters that has no value.
    fn lacks(&self, values: &FilterValues) -> Option<&str> {
        let conditions = self.any_of.iter().flatten();
        conditions
            .filter_map(Condition::parameter)
            .find(|name| values.get(name).is_none())
    }
}

fn bind_expression(
    expression: &Expression,
    values: &FilterValues,
) -> Result<BoundExpression, BindError> {
    let all_of = |conditions: &Vec<Condition>| {
        let each = conditions.iter().map(|one| bind_condition(one, values));
        each.collect::<Result<Vec<_>, _>>()
    };
    Ok(BoundExpression {
        action: expression.action,
        any_of: expression
            .any_of
            .iter()
            .map(all_of)
            .collect::<Result<_, _>>()?,
    })
}

fn bind_condition(
    condition: &Condition,
    values: &FilterValues,
) -> Result<BoundCondition, BindError> {
    let given = |name: &String| {
        let value = values.get(name);
        value.ok_or_else(|| BindError::Missing(name.clone()))
    };
    let events = condition.dataset == Dataset::Interactions;
    let test = match &condition.test {
        Test::In {
            values: list,
            negated,
        } => {
            let negated = *negated;
            match list {
                Values::Star => BoundTest::Any { negated },
                Values::List(strings) => sorted(strings.clone(), events, negated),
                Values::Parameter(name) => {
                    let value = given(name)?;
                    // What may be written into the parentheses may be given, too.
                    if events && value.trim_matches(is_blank) == "\"*\"" {
                        BoundTest::Any { negated }
                    } else {
                        let strings =
                            strings_of(value).ok_or_else(|| BindError::NotList(name.clone()))?;
                        sorted(strings, events, negated)
                    }
                }
                Values::CurrentItem(_) => return Err(BindError::NotUsers),
            }
        }
        Test::Compare { op, number } => {
            let number = match number {
                Operand::Number(number) => number.clone(),
                Operand::Parameter(name) => {
                    number_of(given(name)?).ok_or_else(|| BindError::NotNumber(name.clone()))?
                }
                Operand::CurrentItem(_) => return Err(BindError::NotUsers),
            };
            BoundTest::Compare { op: *op, number }
        }
    };
    Ok(BoundCondition {
        dataset: condition.dataset,
        field: condition.field.clone(),
        test,
    })
}

fn sorted(mut values: Vec<String>, events: bool, negated: bool) -> BoundTest {
    if events {
        for value in &mut values {
            *value = fold_event_type(value);
        }
    }
    values.sort_unstable();
    values.dedup();
    BoundTest::In { values, negated }
}

/// `"gold", "silver"`: strings in double quotes, separated by commas; at least one.
fn strings_of(value: &str) -> Option<Vec<String>> {
    let mut strings = Vec::new();
    let mut rest = value.trim_matches(is_blank);
    loop {
        let (end, string) = unquote(rest)?;
        strings.push(string);
        rest = rest[end..].trim_start_matches(is_blank);
        if rest.is_empty() {
            return Some(strings);
        }
        rest = rest.strip_prefix(',')?.trim_start_matches(is_blank);
    }
}

/// `30`, or the same in double quotes.
fn number_of(value: &str) -> Option<Number> {
    let value = value.trim_matches(is_blank);
    let quoted = value
        .strip_prefix('"')
        .and_then(|rest| rest.strip_suffix('"'));
    Number::parse(quoted.unwrap_or(value))
}

fn is_blank(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\r')
}
