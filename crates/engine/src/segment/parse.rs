//! What an input line asks for.

use super::lines::Line;
use serde::de::{self, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::fmt;

/// The member that names the item.
const ITEM_ID: &str = "itemId";

/// A line, understood.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Query<'a> {
    /// Rank users for this item.
    Item(Cow<'a, str>),
    /// A JSON object without a usable `itemId`.
    NoItem,
    /// No JSON object at all, or too long to look at.
    NotObject,
}

impl Query<'_> {
    /// Whether the line is a JSON object.
    pub(crate) fn is_object(&self) -> bool {
        !matches!(self, Query::NotObject)
    }
}

/// Understands a line for item affinity. Members other than `itemId` are ignored; of a repeated one
/// the last counts.
pub(crate) fn parse<'a>(line: &Line<'a>) -> Query<'a> {
    if line.too_long {
        return Query::NotObject;
    }
    if let Some(id) = plain_item(line.bytes) {
        return Query::Item(Cow::Borrowed(id));
    }
    // The whole line is repeated in the output, so all of it has to be UTF-8; the JSON parser does
    // not look at strings it is not asked for.
    let Ok(text) = std::str::from_utf8(line.bytes) else {
        return Query::NotObject;
    };
    match serde_json::from_str::<Members<'_>>(text) {
        Ok(members) => members
            .item
            .and_then(item_text)
            .map_or(Query::NoItem, Query::Item),
        Err(_) => Query::NotObject,
    }
}

/// The id of `{"itemId": "..."}` written plainly: no escapes, no other members. Nearly every line
/// is, and this is many times faster than a JSON parser.
fn plain_item(line: &[u8]) -> Option<&str> {
    let rest = line.strip_prefix(b"{")?.trim_ascii_start();
    let rest = rest.strip_prefix(b"\"itemId\"")?.trim_ascii_start();
    let rest = rest
        .strip_prefix(b":")?
        .trim_ascii_start()
        .strip_prefix(b"\"")?;
    let end = rest
        .iter()
        .position(|&byte| byte == b'"' || byte == b'\\' || byte < 0x20)?;
    let (id, rest) = rest.split_at(end);
    let rest = rest.strip_prefix(b"\"")?.trim_ascii_start();
    if rest != b"}" {
        return None;
    }
    std::str::from_utf8(id).ok()
}

/// A string's content, or an integer's decimal text.
fn item_text(raw: &RawValue) -> Option<Cow<'_, str>> {
    let text = raw.get();
    if text.starts_with('"') {
        return serde_json::from_str(text).ok().map(Cow::Owned);
    }
    let digits = text.strip_prefix('-').unwrap_or(text);
    let integer = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    integer.then_some(Cow::Borrowed(text))
}

struct Members<'a> {
    item: Option<&'a RawValue>,
}

impl<'de> de::Deserialize<'de> for Members<'de> {
    fn deserialize<D: de::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;

        impl<'de> Visitor<'de> for Object {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members<'de>, A::Error> {
                let mut item = None;
                while let Some(name) = map.next_key::<Cow<'de, str>>()? {
                    if name == ITEM_ID {
                        item = Some(map.next_value::<&'de RawValue>()?);
                    } else {
                        map.next_value::<IgnoredAny>()?;
                    }
                }
                Ok(Members { item })
            }
        }

        deserializer.deserialize_map(Object)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Query<'_> {
        parse(&Line {
            bytes: line.as_bytes(),
            too_long: false,
        })
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
            assert_eq!(parsed(line), Query::Item(id.into()), "{line}");
        }
        // Depth is no reason to refuse a line, and no danger: what is ignored is not descended into.
        let deep = format!(
            r#"{{"a": {}1{}, "itemId": "1"}}"#,
            "[".repeat(5000),
            "]".repeat(5000)
        );
        assert_eq!(parsed(&deep), Query::Item("1".into()));
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
            assert_eq!(parsed(line), Query::NoItem, "{line}");
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
        assert_eq!(parse(&invalid), Query::NotObject);
    }
}
