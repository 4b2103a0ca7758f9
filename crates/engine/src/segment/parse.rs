//! What an input line asks for, and the values it gives to the parameters of a filter.

use super::asked::Member;
use super::lines::Line;
use serde::de::{self, DeserializeSeed, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::fmt;

/// A line, understood.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Query<'a> {
    /// Rank users for this.
    Asked(Cow<'a, str>),
    /// A JSON object without a usable question.
    Nothing,
    /// No JSON object at all, or too long to look at.
    NotObject,
}

impl Query<'_> {
    /// Whether the line is a JSON object.
    pub(crate) fn is_object(&self) -> bool {
        !matches!(self, Query::NotObject)
    }
}

/// The member with the values for a filter's parameters.
const FILTER_VALUES: &str = "filterValues";

/// What a line says.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Parsed<'a> {
    /// What is asked for.
    pub(crate) query: Query<'a>,
    /// The JSON text of its `filterValues`, unless absent or null.
    pub(crate) filter_values: Option<&'a str>,
}

impl<'a> From<Query<'a>> for Parsed<'a> {
    fn from(query: Query<'a>) -> Self {
        Parsed {
            query,
            filter_values: None,
        }
    }
}

/// Understands a line. Members other than `member` and `filterValues` are ignored; of a repeated one the
/// last counts.
pub(crate) fn parse<'a>(line: &Line<'a>, member: Member) -> Parsed<'a> {
    if line.too_long {
        return Query::NotObject.into();
    }
    if let Some(text) = plain(line.bytes, member) {
        return Query::Asked(Cow::Borrowed(text)).into();
    }
    // The whole line is repeated in the output, so all of it has to be UTF-8; the JSON parser does
    // not look at strings it is not asked for.
    let Ok(text) = std::str::from_utf8(line.bytes) else {
        return Query::NotObject.into();
    };
    let mut json = serde_json::Deserializer::from_str(text);
    let found = Object { member }
        .deserialize(&mut json)
        .and_then(|found| json.end().map(|()| found));
    let Ok(found) = found else {
        return Query::NotObject.into();
    };
    let asked = found.asked.and_then(|value| text_of(value, member));
    let values = found.filter_values.map(RawValue::get);
    Parsed {
        query: asked.map_or(Query::Nothing, Query::Asked),
        filter_values: values.filter(|text| *text != "null"),
    }
}

/// The text of `{"itemId": "..."}` written plainly: no escapes, no other members. Nearly every line for
/// items is, and this is many times faster than a JSON parser.
fn plain(line: &[u8], member: Member) -> Option<&str> {
    let rest = line.strip_prefix(b"{")?.trim_ascii_start();
    let rest = rest
        .strip_prefix(b"\"")?
        .strip_prefix(member.name().as_bytes())?;
    let rest = rest.strip_prefix(b"\"")?.trim_ascii_start();
    let rest = rest
        .strip_prefix(b":")?
        .trim_ascii_start()
        .strip_prefix(b"\"")?;
    let end = rest
        .iter()
        .position(|&byte| byte == b'"' || byte == b'\\' || byte < 0x20)?;
    let (text, rest) = rest.split_at(end);
    let rest = rest.strip_prefix(b"\"")?.trim_ascii_start();
    if rest != b"}" {
        return None;
    }
    std::str::from_utf8(text).ok()
}

/// A string's content, or the decimal text of an integer that names an item.
fn text_of(raw: &RawValue, member: Member) -> Option<Cow<'_, str>> {
    let text = raw.get();
    if text.starts_with('"') {
        return serde_json::from_str(text).ok().map(Cow::Owned);
    }
    if member != Member::ItemId {
        return None;
    }
    let digits = text.strip_prefix('-').unwrap_or(text);
    let integer = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    integer.then_some(Cow::Borrowed(text))
}

/// Reads an object and keeps two of its members.
struct Object {
    member: Member,
}

#[derive(Default)]
struct Members<'de> {
    asked: Option<&'de RawValue>,
    filter_values: Option<&'de RawValue>,
}

impl<'de> DeserializeSeed<'de> for Object {
    type Value = Members<'de>;

    fn deserialize<D: de::Deserializer<'de>>(
        self,
        deserializer: D,
    ) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Object {
    type Value = Members<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut found = Members::default();
        while let Some(name) = map.next_key::<Cow<'de, str>>()? {
            if name == self.member.name() {
                found.asked = Some(map.next_value::<&'de RawValue>()?);
            } else if name == FILTER_VALUES {
                found.filter_values = Some(map.next_value::<&'de RawValue>()?);
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Query<'_> {
        parsed_for(line, Member::ItemId)
    }

    fn parsed_for(line: &str, member: Member) -> Query<'_> {
        let line = Line {
            bytes: line.as_bytes(),
            too_long: false,
        };
        parse(&line, member).query
    }

    #[test]
    fn the_values_for_a_filter_are_kept_as_they_are_written() {
        let of = |line: &'static str| {
            let line = Line {
                bytes: line.as_bytes(),
                too_long: false,
            };
            parse(&line, Member::ItemId).filter_values
        };
        for (line, values) in [
            (r#"{"itemId": "1"}"#, None),
            (r#"{"itemId": "1", "filterValues": null}"#, None),
            (r#"{"itemId": "1", "filterValues": {}}"#, Some("{}")),
            (
                r#"{"filterValues" : { "A": "\"x\"" } , "itemId": "1"}"#,
                Some(r#"{ "A": "\"x\"" }"#),
            ),
            (r#"{"itemId": "1", "filterValues": 5}"#, Some("5")),
            (
                r#"{"filterValues": {"A": "1"}, "filterValues": {"A": "2"}}"#,
                Some(r#"{"A": "2"}"#),
            ),
            (r#"{"filterValues": {"A": "1"}"#, None),
        ] {
            assert_eq!(of(line), values, "{line}");
        }
    }

    #[test]
    fn attributes_are_strings_and_nothing_else() {
        let of = |line| parsed_for(line, Member::ItemAttributes);
        for (line, text) in [
            (
                r#"{"itemAttributes": "ITEMS.genres = \"Comedy\" AND ITEMS.genres = \"Action\""}"#,
                r#"ITEMS.genres = "Comedy" AND ITEMS.genres = "Action""#,
            ),
            (
                r#"{"itemAttributes":"ITEMS.YEAR = 1999"}"#,
                "ITEMS.YEAR = 1999",
            ),
            (r#"{"itemId": "7", "itemAttributes": "x"}"#, "x"),
            (
                r#"{"itemAttributes": "ITEMS.B = \"Tea \\\"Leaf\\\"\""}"#,
                r#"ITEMS.B = "Tea \"Leaf\"""#,
            ),
        ] {
            assert_eq!(of(line), Query::Asked(text.into()), "{line}");
        }
        for line in [
            r#"{"itemId": "7"}"#,
            r#"{"itemAttributes": 7}"#,
            r#"{"itemAttributes": null}"#,
            r#"{"itemattributes": "x"}"#,
        ] {
            assert_eq!(of(line), Query::Nothing, "{line}");
        }
        assert_eq!(of(r#"{"itemAttributes": "\Comedy"}"#), Query::NotObject);
    }

    #[test]
    fn items_are_found_however_they_are_written() {
        for (line, id) in [
            (r#"{"itemId": "105"}"#, "105"),
            (r#"{"itemId":"105"}"#, "105"),
            (r#"{ "itemId" : "105" }"#, "105"),
            (r#"{"itemId": 105}"#, "105"),
            (r#"{"itemId": -7}"#, "-7"),
            (
                r#"{"itemId": 123456789012345678901234567890}"#,
                "123456789012345678901234567890",
            ),
            (r#"{"itemId": "a\"b\u00fc"}"#, "a\"bü"),
            (r#"{"itemId": "ü日本"}"#, "ü日本"),
            (r#"{"filterValues": {"A": "\"x\""}, "itemId": "1"}"#, "1"),
            (r#"{"itemId": "1", "itemId": "2"}"#, "2"),
            (r#"{"\u0069temId": "1"}"#, "1"),
            (r#"{"itemId": ""}"#, ""),
        ] {
            assert_eq!(parsed(line), Query::Asked(id.into()), "{line}");
        }
        // Depth is no reason to refuse a line, and no danger: what is ignored is not descended into.
        let deep = format!(
            r#"{{"a": {}1{}, "itemId": "1"}}"#,
            "[".repeat(5000),
            "]".repeat(5000)
        );
        assert_eq!(parsed(&deep), Query::Asked("1".into()));
    }

    #[test]
    fn objects_without_an_item_are_told_from_what_is_no_object() {
        for line in [
            "{}",
            r#"{"itemid": "1"}"#,
            r#"{"itemId": null}"#,
            r#"{"itemId": 1.5}"#,
            r#"{"itemId": 1e3}"#,
            r#"{"itemId": true}"#,
            r#"{"itemId": ["1"]}"#,
            r#"{"itemId": {"id": "1"}}"#,
        ] {
            assert_eq!(parsed(line), Query::Nothing, "{line}");
        }
        for line in [
            "not json",
            "[1]",
            r#""itemId""#,
            "5",
            r#"{"itemId": "1""#,
            r#"{"itemId": "1"} x"#,
            r#"{"itemId": "1",}"#,
            r#"{'itemId': '1'}"#,
            "{\"itemId\": \"a\tb\"}",
        ] {
            assert_eq!(parsed(line), Query::NotObject, "{line}");
        }
        let invalid = Line {
            bytes: b"{\"itemId\": \"\xff\"}",
            too_long: false,
        };
        assert_eq!(parse(&invalid, Member::ItemId), Query::NotObject.into());
    }
}
