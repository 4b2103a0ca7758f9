//! The language of `itemAttributes`: which items a segment is asked for.
//!
//! `ITEMS.GENRES = "Comedy" AND ITEMS.YEAR = 1999`: equality tests, joined by AND, and nothing else.
//! Whether a column exists and what its values are is not known here; that is the index's business in
//! the engine. Any text gives a query or an error with the place where it went wrong, in time
//! proportional to its length. A query prints in one form, which reads back as the same query.

use std::fmt;

/// Longest expression, in characters.
pub const EXPRESSION_CHARACTERS_MAX: usize = 10_000;
/// Most conditions of one expression.
pub const CONDITIONS_MAX: usize = 100;

/// Items that satisfy every condition.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ItemQuery {
    /// In the order they were written; at least one.
    pub conditions: Vec<Condition>,
}

/// One equality test.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Condition {
    /// The column as it was written.
    pub column: String,
    /// What it has to be, or to contain.
    pub value: Value,
}

/// The right side of a test.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Value {
    /// A quoted string, its escapes resolved.
    Text(String),
    /// A bare number.
    Number(Number),
}

/// A decimal number, exact: digits without superfluous zeros, so equal numbers are equal.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Number(String);

impl Number {
    /// Reads `-12.50`: an optional minus, digits, perhaps a point and more digits.
    pub fn parse(text: &str) -> Option<Number> {
        let (minus, digits) = match text.strip_prefix('-') {
            Some(digits) => ("-", digits),
            None => ("", text),
        };
        let (whole, part) = match digits.split_once('.') {
            Some((_, "")) => return None,
            Some(parts) => parts,
            None => (digits, ""),
        };
        let is_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        if whole.is_empty() || !is_digits(whole) || !is_digits(part) {
            return None;
        }
        let whole = match whole.trim_start_matches('0') {
            "" => "0",
            whole => whole,
        };
        let part = part.trim_end_matches('0');
        Some(Number(match (whole, part) {
            ("0", "") => "0".to_owned(),
            (whole, "") => format!("{minus}{whole}"),
            (whole, part) => format!("{minus}{whole}.{part}"),
        }))
    }

    /// The integer, if it is one of 64 bits.
    pub fn as_i64(&self) -> Option<i64> {
        self.0.parse().ok()
    }

    /// The integer, if it is one; beyond 128 bits the largest or smallest there is.
    pub fn as_whole(&self) -> Option<i128> {
        if self.0.contains('.') {
            return None;
        }
        let beyond = if self.0.starts_with('-') {
            i128::MIN
        } else {
            i128::MAX
        };
        Some(self.0.parse().unwrap_or(beyond))
    }

    /// The nearest single; an infinity beyond the largest.
    pub fn as_f32(&self) -> f32 {
        self.0.parse().unwrap_or(f32::NAN)
    }

    /// The nearest double; an infinity beyond the largest.
    pub fn as_f64(&self) -> f64 {
        // Digits with an optional minus and point are a subset of what the standard parser reads.
        self.0.parse().unwrap_or(f64::NAN)
    }
}

impl Value {
    /// The number, bare or quoted.
    pub fn as_number(&self) -> Option<Number> {
        match self {
            Value::Text(text) => Number::parse(text),
            Value::Number(number) => Some(number.clone()),
        }
    }
}

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Number(number) => number.fmt(f),
            Value::Text(text) => {
                f.write_str("\"")?;
                for character in text.chars() {
                    if matches!(character, '"' | '\\') {
                        f.write_str("\\")?;
                    }
                    write!(f, "{character}")?;
                }
                f.write_str("\"")
            }
        }
    }
}

impl fmt::Display for ItemQuery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, condition) in self.conditions.iter().enumerate() {
            let and = if place > 0 { " AND " } else { "" };
            write!(f, "{and}ITEMS.{} = {}", condition.column, condition.value)?;
        }
        Ok(())
    }
}

/// Why a text is no query.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{detail} at position {position}")]
pub struct ItemQueryError {
    /// What was expected, or which limit was passed.
    pub detail: String,
    /// The first character that does not fit, counted from 1.
    pub position: usize,
}

/// Reads an expression.
///
/// # Errors
/// The first place that does not fit the language, or a limit that was passed.
pub fn parse(text: &str) -> Result<ItemQuery, ItemQueryError> {
    if text.len() > EXPRESSION_CHARACTERS_MAX && text.chars().count() > EXPRESSION_CHARACTERS_MAX {
        return Err(ItemQueryError {
            detail: format!("more than {EXPRESSION_CHARACTERS_MAX} characters"),
            position: EXPRESSION_CHARACTERS_MAX + 1,
        });
    }
    let mut reader = Reader { text, place: 0 };
    let mut conditions = vec![reader.condition()?];
    loop {
        reader.skip_space();
        if reader.rest().is_empty() {
            return Ok(ItemQuery { conditions });
        }
        let start = reader.place;
        if !reader.word().eq_ignore_ascii_case("AND") {
            return Err(reader.expected_at(start, "AND or the end of the expression"));
        }
        if conditions.len() == CONDITIONS_MAX {
            let detail = format!("more than {CONDITIONS_MAX} conditions");
            return Err(reader.error_at(start, detail));
        }
        conditions.push(reader.condition()?);
    }
}

/// A text and how far it was read, in bytes.
struct Reader<'a> {
    text: &'a str,
    place: usize,
}

impl<'a> Reader<'a> {
    fn condition(&mut self) -> Result<Condition, ItemQueryError> {
        self.skip_space();
        let start = self.place;
        if !self.word().eq_ignore_ascii_case("ITEMS") {
            return Err(self.expected_at(start, "ITEMS"));
        }
        self.sign('.', "a point after ITEMS")?;
        self.skip_space();
        let start = self.place;
        let column = self.word();
        if column.is_empty() {
            return Err(self.expected_at(start, "the name of a column"));
        }
        let column = column.to_owned();
        self.sign('=', "=, the only operator")?;
        self.skip_space();
        let value = if self.rest().starts_with('"') {
            Value::Text(self.string()?)
        } else {
            Value::Number(self.number()?)
        };
        Ok(Condition { column, value })
    }

    fn rest(&self) -> &'a str {
        &self.text[self.place..]
    }

    fn skip_space(&mut self) {
        let rest = self.rest();
        let trimmed = rest.trim_start_matches([' ', '\t', '\n', '\r']);
        self.place += rest.len() - trimmed.len();
    }

    /// A name or keyword; empty where none starts.
    fn word(&mut self) -> &'a str {
        let rest = self.rest();
        if rest.starts_with(|c: char| c.is_ascii_digit()) {
            return "";
        }
        let end = rest
            .find(|c: char| !c.is_ascii_alphanumeric() && c != '_')
            .unwrap_or(rest.len());
        self.place += end;
        &rest[..end]
    }

    fn sign(&mut self, sign: char, expected: &str) -> Result<(), ItemQueryError> {
        self.skip_space();
        if !self.rest().starts_with(sign) {
            return Err(self.expected_at(self.place, expected));
        }
        self.place += sign.len_utf8();
        Ok(())
    }

    /// A quoted string; the reader stands at its first quote.
    fn string(&mut self) -> Result<String, ItemQueryError> {
        let mut text = String::new();
        let mut characters = self.rest().char_indices().skip(1);
        while let Some((place, character)) = characters.next() {
            match character {
                '"' => {
                    self.place += place + 1;
                    return Ok(text);
                }
                '\\' => match characters.next() {
                    Some((_, escaped)) => text.push(escaped),
                    None => break,
                },
                character => text.push(character),
            }
        }
        Err(self.expected_at(self.text.len(), "a closing quote"))
    }

    fn number(&mut self) -> Result<Number, ItemQueryError> {
        let rest = self.rest();
        let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | '+');
        let end = rest.find(|c: char| !is_part(c)).unwrap_or(rest.len());
        let number = Number::parse(&rest[..end])
            .ok_or_else(|| self.expected_at(self.place, "a string in double quotes or a number"))?;
        self.place += end;
        Ok(number)
    }

    fn expected_at(&self, place: usize, expected: &str) -> ItemQueryError {
        self.error_at(place, format!("expected {expected}"))
    }

    fn error_at(&self, place: usize, detail: String) -> ItemQueryError {
        ItemQueryError {
            detail,
            position: self.text[..place].chars().count() + 1,
        }
    }
}

#[cfg(test)]
mod tests;
