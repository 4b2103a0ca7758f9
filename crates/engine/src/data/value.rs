//! How one CSV value becomes a typed one: null rules, number forms, lengths.

use kindred_types::schema::{Field, FieldType, STRING_CHARACTERS_MAX};

/// The longest user or item id, in characters.
pub(crate) const ID_CHARACTERS_MAX: usize = 256;
/// Text is cut at so many characters.
pub(crate) const TEXT_CHARACTERS_MAX: usize = 20_000;
/// Epoch seconds from here on are taken as milliseconds.
pub(crate) const MILLISECONDS_FROM: i64 = 100_000_000_000;

/// A typed value; text borrows from the record.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Value<'a> {
    Null,
    Text(&'a str),
    /// Text that was cut at [`TEXT_CHARACTERS_MAX`].
    CutText(&'a str),
    Int(i32),
    Long(i64),
    /// Seconds that were given as milliseconds.
    Milliseconds(i64),
    Float(f32),
    Double(f64),
    Boolean(bool),
}

/// Which rule a value breaks.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Broken {
    /// It is not of the type named.
    Type(&'static str),
    /// It is absent in a column of the type named that allows no null.
    Missing(&'static str),
    /// It is longer than a categorical or plain string may be.
    Length,
}

/// What a column's values must be like.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Rule {
    Id,
    Text,
    String,
    Time,
    Int,
    Long,
    Float,
    Double,
    Boolean,
}

impl Rule {
    pub(crate) fn of(field: &Field) -> Rule {
        match (field.name.as_str(), field.kind) {
            ("USER_ID" | "ITEM_ID", FieldType::String) => Rule::Id,
            ("TIMESTAMP" | "CREATION_TIMESTAMP", FieldType::Long) => Rule::Time,
            (_, FieldType::String) if field.textual => Rule::Text,
            (_, FieldType::String) => Rule::String,
            (_, FieldType::Int) => Rule::Int,
            (_, FieldType::Long) => Rule::Long,
            (_, FieldType::Float) => Rule::Float,
            (_, FieldType::Double) => Rule::Double,
            (_, FieldType::Boolean) => Rule::Boolean,
        }
    }

    fn expected(self) -> Broken {
        Broken::Type(self.name())
    }

    fn name(self) -> &'static str {
        match self {
            Rule::Id => "string of 1 to 256 characters in UTF-8",
            Rule::Text | Rule::String => "string in UTF-8",
            Rule::Time => "long in Unix epoch seconds",
            Rule::Int => "int",
            Rule::Long => "long",
            Rule::Float => "float",
            Rule::Double => "double",
            Rule::Boolean => "boolean",
        }
    }

    fn is_number(self) -> bool {
        matches!(
            self,
            Rule::Time | Rule::Int | Rule::Long | Rule::Float | Rule::Double
        )
    }

    /// Reads `raw` by this rule.
    pub(crate) fn read(self, raw: &[u8], nullable: bool) -> Result<Value<'_>, Broken> {
        let text = std::str::from_utf8(raw).map_err(|_| self.expected())?;
        let absent =
            text.is_empty() || (self.is_number() && matches!(text, "null" | "NULL" | "NaN"));
        if absent {
            return if nullable {
                Ok(Value::Null)
            } else {
                Err(Broken::Missing(self.name()))
            };
        }
        let value = match self {
            Rule::Id if within(text, ID_CHARACTERS_MAX) => Some(Value::Text(text)),
            Rule::Id => None,
            Rule::String if within(text, STRING_CHARACTERS_MAX) => Some(Value::Text(text)),
            Rule::String => return Err(Broken::Length),
            Rule::Text => Some(cut(text)),
            Rule::Time => integer(text).map(seconds),
            Rule::Int => integer(text)
                .and_then(|number| i32::try_from(number).ok())
                .map(Value::Int),
            Rule::Long => integer(text).map(Value::Long),
            Rule::Float => decimal(text)
                .map(|number| number as f32)
                .filter(|number| number.is_finite())
                .map(Value::Float),
            Rule::Double => decimal(text).map(Value::Double),
            Rule::Boolean if text.eq_ignore_ascii_case("true") => Some(Value::Boolean(true)),
            Rule::Boolean if text.eq_ignore_ascii_case("false") => Some(Value::Boolean(false)),
            Rule::Boolean => None,
        };
        value.ok_or_else(|| self.expected())
    }
}

/// Whether `text` has at most `limit` characters; short texts are not counted.
fn within(text: &str, limit: usize) -> bool {
    text.len() <= limit || text.chars().count() <= limit
}

fn cut(text: &str) -> Value<'_> {
    if text.len() <= TEXT_CHARACTERS_MAX {
        return Value::Text(text);
    }
    match text.char_indices().nth(TEXT_CHARACTERS_MAX) {
        None => Value::Text(text),
        Some((end, _)) => Value::CutText(&text[..end]),
    }
}

fn seconds(number: i64) -> Value<'static> {
    if number >= MILLISECONDS_FROM {
        Value::Milliseconds(number / 1000)
    } else {
        Value::Long(number)
    }
}

/// An integer, also in a decimal form such as `12.0` that stands for one exactly.
fn integer(text: &str) -> Option<i64> {
    if let Ok(number) = text.parse() {
        return Some(number);
    }
    const EXACT: f64 = 9_007_199_254_740_992.0;
    decimal(text)
        .filter(|number| number.fract() == 0.0 && number.abs() <= EXACT)
        .map(|number| number as i64)
}

fn decimal(text: &str) -> Option<f64> {
    text.parse().ok().filter(|number: &f64| number.is_finite())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_by_rule() {
        use Value::*;
        for (rule, text, expected) in [
            (Rule::Long, "-12", Ok(Long(-12))),
            (Rule::Long, "+12", Ok(Long(12))),
            (Rule::Long, "12.0", Ok(Long(12))),
            (Rule::Long, "9223372036854775807", Ok(Long(i64::MAX))),
            (Rule::Long, "9223372036854775808", Err(Broken::Type("long"))),
            (Rule::Long, "12.5", Err(Broken::Type("long"))),
            (Rule::Long, " 12", Err(Broken::Type("long"))),
            (Rule::Int, "-5", Ok(Int(-5))),
            (Rule::Int, "2147483648", Err(Broken::Type("int"))),
            (Rule::Float, "1e3", Ok(Float(1000.0))),
            (Rule::Float, "1e39", Err(Broken::Type("float"))),
            (Rule::Double, "inf", Err(Broken::Type("double"))),
            (Rule::Double, "nan", Err(Broken::Type("double"))),
            (Rule::Double, "-0.25", Ok(Double(-0.25))),
            (Rule::Boolean, "TRUE", Ok(Boolean(true))),
            (Rule::Boolean, "1", Err(Broken::Type("boolean"))),
            (Rule::Time, "1586731606", Ok(Long(1_586_731_606))),
            (Rule::Time, "1586731606.0", Ok(Long(1_586_731_606))),
            (Rule::Time, "1586731606123", Ok(Milliseconds(1_586_731_606))),
            (Rule::Time, "99999999999", Ok(Long(99_999_999_999))),
            (Rule::String, "NaN", Ok(Text("NaN"))),
            (Rule::String, "", Err(Broken::Missing("string in UTF-8"))),
            (
                Rule::Id,
                "",
                Err(Broken::Missing("string of 1 to 256 characters in UTF-8")),
            ),
            (Rule::Long, "NaN", Err(Broken::Missing("long"))),
        ] {
            assert_eq!(
                rule.read(text.as_bytes(), false),
                expected,
                "{rule:?} {text}"
            );
        }
        for (rule, text, expected) in [
            (Rule::Double, "NaN", Ok(Null)),
            (Rule::Int, "NULL", Ok(Null)),
            (Rule::Int, "null", Ok(Null)),
            (Rule::String, "null", Ok(Text("null"))),
            (Rule::String, "", Ok(Null)),
            (Rule::Boolean, "null", Err(Broken::Type("boolean"))),
        ] {
            assert_eq!(
                rule.read(text.as_bytes(), true),
                expected,
                "{rule:?} {text}"
            );
        }
    }

    #[test]
    fn lengths_count_characters() {
        let of = |letter: &str, count: usize| letter.repeat(count).into_bytes();
        assert!(Rule::Id.read(&of("ä", 256), false).is_ok());
        assert!(Rule::Id.read(&of("ä", 257), false).is_err());
        assert!(Rule::String.read(&of("€", 1000), false).is_ok());
        assert_eq!(
            Rule::String.read(&of("€", 1001), false),
            Err(Broken::Length)
        );
        assert!(Rule::String.read(b"\xff", false).is_err());
        let text = of("€", 20_001);
        match Rule::Text.read(&text, false) {
            Ok(Value::CutText(cut)) => assert_eq!(cut.chars().count(), 20_000),
            other => panic!("{other:?}"),
        }
    }
}
