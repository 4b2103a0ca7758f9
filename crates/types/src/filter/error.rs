//! Why a text is no filter.

use std::fmt;

/// What does not fit, and where. The text of the expression is sensitive: a message names fields and
/// parameters and never repeats a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FilterError {
    /// What was expected, or which rule is not kept.
    pub detail: String,
    /// The first character that does not fit, counted from 1.
    pub position: usize,
    /// The parameter that stands where none is allowed.
    symbol: Option<String>,
}

impl std::error::Error for FilterError {}

impl FilterError {
    pub(super) fn new(position: usize, detail: impl Into<String>) -> Self {
        FilterError {
            detail: detail.into(),
            position,
            symbol: None,
        }
    }

    /// For a parameter where the language allows none.
    pub(super) fn parameter(position: usize, name: &str) -> Self {
        FilterError {
            detail:
                "Placeholders can only be used with IN and with comparison operators, not with \
                     NOT IN: use IN with the opposite action"
                    .to_owned(),
            position,
            symbol: Some(format!("${name}")),
        }
    }
}

impl fmt::Display for FilterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let FilterError {
            detail, position, ..
        } = self;
        f.write_str("Could not create filter. ")?;
        match &self.symbol {
            None => write!(f, "Invalid Expression: {detail} at position {position}"),
            Some(symbol) => write!(f, "Invalid input symbol {symbol}. {detail}."),
        }
    }
}
