//! From bytes to a value that satisfies its shape, and back.
//!
//! [`decode`] refuses what is not JSON or has members of the wrong type, drops nulls and unknown
//! members, and reports all violated constraints in one message, in the service's words. [`encode`]
//! writes timestamps as the wire wants them. Nothing here knows which operation it serves.

use crate::shapes::{Kind, Shape};
use regex::Regex;
use serde_json::{Map, Number, Value};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

/// Longest value that a message repeats, in characters.
const SHOWN_CHARS_MAX: usize = 256;
/// Most violations that a message lists.
const VIOLATIONS_MAX: usize = 20;

/// Why a body was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Not JSON, not an object, or a member of the wrong JSON type.
    #[error("{0}")]
    Serialization(String),
    /// Constraints are violated; the text names all of them.
    #[error("{0}")]
    Constraints(String),
}

/// Reads a request body as a value of `shape`; an empty body is an empty object.
pub fn decode(shape: &Shape, body: &[u8]) -> Result<Value, Refusal> {
    let value = if body.iter().all(u8::is_ascii_whitespace) {
        Value::Object(Map::new())
    } else {
        serde_json::from_slice(body).map_err(|error| {
            Refusal::Serialization(format!("Request body is not valid JSON: {error}"))
        })?
    };
    if !value.is_object() {
        return Err(Refusal::Serialization(
            "Request body is not a JSON object.".to_owned(),
        ));
    }
    let mut violations = Violations::default();
    let value = read(shape, value, "", &mut violations)?;
    violations.into_result().map(|()| value)
}

/// Writes timestamps below `value` as epoch seconds with at most three decimals.
pub fn encode(shape: &Shape, value: Value) -> Value {
    match (&shape.kind, value) {
        (Kind::Timestamp, Value::Number(ms)) => {
            let ms = ms.as_i64().unwrap_or_default();
            if ms % 1000 == 0 {
                Value::from(ms / 1000)
            } else {
                Number::from_f64(ms as f64 / 1000.0).map_or(Value::from(ms / 1000), Value::Number)
            }
        }
        (Kind::List(element), Value::Array(values)) => Value::Array(
            values
                .into_iter()
                .map(|value| encode(element, value))
                .collect(),
        ),
        (Kind::Structure(members), Value::Object(mut object)) => {
            for member in *members {
                if let Some(value) = object.get_mut(member.name) {
                    *value = encode(member.shape, value.take());
                }
            }
            Value::Object(object)
        }
        (_, value) => value,
    }
}

#[derive(Default)]
struct Violations {
    texts: Vec<String>,
    count: usize,
}

impl Violations {
    /// `shown` is the value as the message shows it, `None` for a missing one.
    fn add(&mut self, shape: &Shape, shown: Option<&str>, path: &str, constraint: &str) {
        self.count += 1;
        if self.texts.len() >= VIOLATIONS_MAX {
            return;
        }
        let value = match shown {
            None => "null".to_owned(),
            Some(_) if shape.sensitive => "'****'".to_owned(),
            Some(text) if text.chars().count() > SHOWN_CHARS_MAX => {
                format!(
                    "'{}...'",
                    text.chars().take(SHOWN_CHARS_MAX).collect::<String>()
                )
            }
            Some(text) => format!("'{text}'"),
        };
        self.texts.push(format!(
            "Value {value} at '{path}' failed to satisfy constraint: {constraint}"
        ));
    }

    fn into_result(self) -> Result<(), Refusal> {
        if self.count == 0 {
            return Ok(());
        }
        let noun = if self.count == 1 { "error" } else { "errors" };
        Err(Refusal::Constraints(format!(
            "{} validation {noun} detected: {}",
            self.count,
            self.texts.join("; ")
        )))
    }
}

fn wrong_type(path: &str, expected: &str) -> Refusal {
    Refusal::Serialization(format!("Member '{path}' must be {expected}."))
}

fn read(shape: &Shape, value: Value, path: &str, found: &mut Violations) -> Result<Value, Refusal> {
    match &shape.kind {
        Kind::String => {
            let Value::String(text) = value else {
                return Err(wrong_type(path, "a string"));
            };
            check_text(shape, &text, path, found);
            Ok(Value::String(text))
        }
        Kind::Integer => {
            let number = value.as_i64().and_then(|number| i32::try_from(number).ok());
            let Some(number) = number else {
                return Err(wrong_type(path, "an integer of at most 32 bits"));
            };
            check_number(shape, f64::from(number), &number.to_string(), path, found);
            Ok(value)
        }
        Kind::Double => {
            let Some(number) = value.as_f64() else {
                return Err(wrong_type(path, "a number"));
            };
            check_number(shape, number, &value.to_string(), path, found);
            Ok(value)
        }
        Kind::Timestamp => match value.as_f64() {
            Some(_) => Ok(value),
            None => Err(wrong_type(path, "a timestamp in epoch seconds")),
        },
        Kind::Boolean => match value {
            Value::Bool(_) => Ok(value),
            _ => Err(wrong_type(path, "true or false")),
        },
        Kind::List(element) => read_list(shape, element, value, path, found),
        Kind::Map(key, inner) => read_map(shape, key, inner, value, path, found),
        Kind::Structure(_) => read_structure(shape, value, path, found),
    }
}

fn read_list(
    shape: &Shape,
    element: &Shape,
    value: Value,
    path: &str,
    found: &mut Violations,
) -> Result<Value, Refusal> {
    let Value::Array(values) = value else {
        return Err(wrong_type(path, "a list"));
    };
    check_length(shape, values.len(), "[...]", path, found);
    let mut kept = Vec::with_capacity(values.len());
    for (index, value) in values.into_iter().enumerate() {
        let place = format!("{path}.{}.member", index + 1);
        if value.is_null() {
            found.add(element, None, &place, "Member must not be null");
            continue;
        }
        kept.push(read(element, value, &place, found)?);
    }
    Ok(Value::Array(kept))
}

fn read_map(
    shape: &Shape,
    key: &Shape,
    inner: &Shape,
    value: Value,
    path: &str,
    found: &mut Violations,
) -> Result<Value, Refusal> {
    let Value::Object(entries) = value else {
        return Err(wrong_type(path, "a map"));
    };
    check_length(shape, entries.len(), "{...}", path, found);
    let mut kept = Map::new();
    for (name, value) in entries {
        let place = format!(
            "{path}.{}",
            name.chars().take(SHOWN_CHARS_MAX).collect::<String>()
        );
        check_text(key, &name, &place, found);
        if value.is_null() {
            found.add(inner, None, &place, "Member must not be null");
            continue;
        }
        kept.insert(name, read(inner, value, &place, found)?);
    }
    Ok(Value::Object(kept))
}

fn read_structure(
    shape: &Shape,
    value: Value,
    path: &str,
    found: &mut Violations,
) -> Result<Value, Refusal> {
    let Kind::Structure(members) = &shape.kind else {
        return Ok(value);
    };
    let Value::Object(mut object) = value else {
        return Err(wrong_type(path, "a structure"));
    };
    let mut kept = Map::new();
    for member in *members {
        let place = if path.is_empty() {
            member.name.to_owned()
        } else {
            format!("{path}.{}", member.name)
        };
        match object.remove(member.name) {
            Some(value) if !value.is_null() => {
                kept.insert(
                    member.name.to_owned(),
                    read(member.shape, value, &place, found)?,
                );
            }
            _ if member.required => {
                found.add(member.shape, None, &place, "Member must not be null");
            }
            _ => {}
        }
    }
    Ok(Value::Object(kept))
}

fn check_text(shape: &Shape, text: &str, path: &str, found: &mut Violations) {
    check_length(shape, text.chars().count(), text, path, found);
    if let Some(pattern) = shape.pattern
        && !compiled(pattern).is_match(text)
    {
        let constraint = format!("Member must satisfy regular expression pattern: {pattern}");
        found.add(shape, Some(text), path, &constraint);
    }
    if !shape.one_of.is_empty() && !shape.one_of.contains(&text) {
        let constraint = format!(
            "Member must satisfy enum value set: [{}]",
            shape.one_of.join(", ")
        );
        found.add(shape, Some(text), path, &constraint);
    }
}

fn check_length(shape: &Shape, length: usize, shown: &str, path: &str, found: &mut Violations) {
    let length = i64::try_from(length).unwrap_or(i64::MAX);
    if let Some(min) = shape.min.filter(|min| length < *min) {
        let constraint = format!("Member must have length greater than or equal to {min}");
        found.add(shape, Some(shown), path, &constraint);
    }
    if let Some(max) = shape.max.filter(|max| length > *max) {
        let constraint = format!("Member must have length less than or equal to {max}");
        found.add(shape, Some(shown), path, &constraint);
    }
}

fn check_number(shape: &Shape, number: f64, shown: &str, path: &str, found: &mut Violations) {
    if let Some(min) = shape.min.filter(|min| number < *min as f64) {
        let constraint = format!("Member must have value greater than or equal to {min}");
        found.add(shape, Some(shown), path, &constraint);
    }
    if let Some(max) = shape.max.filter(|max| number > *max as f64) {
        let constraint = format!("Member must have value less than or equal to {max}");
        found.add(shape, Some(shown), path, &constraint);
    }
}

/// The pattern anchored to the whole value. In the service's patterns `\d` means ASCII digits.
fn compiled(pattern: &'static str) -> Arc<Regex> {
    static CACHE: OnceLock<Mutex<HashMap<&'static str, Arc<Regex>>>> = OnceLock::new();
    let mut cache = CACHE
        .get_or_init(Mutex::default)
        .lock()
        .unwrap_or_else(PoisonError::into_inner);
    let regex = cache.entry(pattern).or_insert_with(|| {
        let ascii = pattern.replace(r"\d", "[0-9]");
        // The patterns are declarations of ours; a test compiles every one of them.
        Arc::new(Regex::new(&format!(r"\A(?:{ascii})\z")).expect("declared patterns compile"))
    });
    regex.clone()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shapes::{self, Described as _, operations};

    fn decode_for(operation: &str, body: &str) -> Result<Value, Refusal> {
        decode(shapes::operation(operation).unwrap().input, body.as_bytes())
    }

    fn refused(operation: &str, body: &str, expected: &str) {
        let refusal = decode_for(operation, body).unwrap_err();
        assert_eq!(refusal.to_string(), expected, "{body}");
    }

    #[test]
    fn every_declared_pattern_compiles() {
        fn walk(shape: &Shape) {
            if let Some(pattern) = shape.pattern {
                compiled(pattern);
            }
            match shape.kind {
                Kind::List(element) => walk(element),
                Kind::Map(key, value) => [key, value].into_iter().for_each(walk),
                Kind::Structure(members) => members.iter().for_each(|member| walk(member.shape)),
                _ => {}
            }
        }
        assert_eq!(operations().count(), 40);
        for operation in operations() {
            walk(operation.input);
            operation.output.into_iter().for_each(walk);
        }
    }

    #[test]
    fn nulls_and_unknown_members_are_dropped_and_an_empty_body_is_an_object() {
        let body = r#"{"name": "a", "schema": "{}", "domain": null, "colour": {"deep": [1]}}"#;
        let value = decode_for("CreateSchema", body).unwrap();
        assert_eq!(value, serde_json::json!({"name": "a", "schema": "{}"}));
        assert_eq!(
            decode_for("ListSchemas", "").unwrap(),
            serde_json::json!({})
        );
    }

    #[test]
    fn wrong_types_are_serialization_errors() {
        for (operation, body) in [
            ("CreateSchema", "[]"),
            ("CreateSchema", "{"),
            ("CreateSchema", r#"{"name": 1, "schema": "{}"}"#),
            ("ListSchemas", r#"{"maxResults": "5"}"#),
            ("ListSchemas", r#"{"maxResults": 25.0}"#),
            ("ListSchemas", r#"{"maxResults": 1e1}"#),
            ("CreateBatchSegmentJob", r#"{"numResults": 99999999999}"#),
            ("CreateSolution", r#"{"performHPO": "true"}"#),
            ("TagResource", r#"{"resourceArn": "a", "tags": {}}"#),
            ("CreateSolution", r#"{"solutionConfig": []}"#),
        ] {
            let refusal = decode_for(operation, body).unwrap_err();
            assert!(
                matches!(refusal, Refusal::Serialization(_)),
                "{body}: {refusal:?}"
            );
        }
    }

    #[test]
    fn violations_are_told_in_the_services_words_all_at_once() {
        refused(
            "CreateSchema",
            r#"{"name": "-a"}"#,
            "2 validation errors detected: Value '-a' at 'name' failed to satisfy constraint: Member must \
             satisfy regular expression pattern: ^[a-zA-Z0-9][a-zA-Z0-9\\-_]*; Value null at 'schema' \
             failed to satisfy constraint: Member must not be null",
        );
        refused(
            "ListSchemas",
            r#"{"maxResults": 101}"#,
            "1 validation error detected: Value '101' at 'maxResults' failed to satisfy constraint: Member \
             must have value less than or equal to 100",
        );
        refused(
            "CreateDatasetGroup",
            r#"{"name": "g", "domain": "FISH"}"#,
            "1 validation error detected: Value 'FISH' at 'domain' failed to satisfy constraint: Member \
             must satisfy enum value set: [ECOMMERCE, VIDEO_ON_DEMAND]",
        );
    }

    #[test]
    fn sensitive_values_are_masked() {
        let body = r#"{"resourceArn": "arn:aws:personalize:x:y:z", "tags": [{"tagKey": "se,cret", "tagValue": ""}]}"#;
        let text = decode_for("TagResource", body).unwrap_err().to_string();
        assert!(
            text.contains("'****' at 'tags.1.member.tagKey'") && !text.contains("cret"),
            "{text}"
        );
    }

    #[test]
    fn patterns_cover_the_whole_value() {
        refused(
            "DescribeSchema",
            r#"{"schemaArn": "arn:aws:personalize:x:y:z\n"}"#,
            "1 validation error detected: Value 'arn:aws:personalize:x:y:z\n' at 'schemaArn' failed to \
             satisfy constraint: Member must satisfy regular expression pattern: \
             arn:([a-z\\d-]+):personalize:.*:.*:.+",
        );
    }

    #[test]
    fn timestamps_leave_as_epoch_seconds() {
        let shape = shapes::DescribeSchemaResponse::SHAPE;
        let value = serde_json::json!({"schema": {"creationDateTime": 1_542_392_161_837_i64,
            "lastUpdatedDateTime": 1_542_392_161_000_i64}});
        let text = encode(shape, value).to_string();
        assert!(
            text.contains(r#""creationDateTime":1542392161.837"#),
            "{text}"
        );
        assert!(
            text.contains(r#""lastUpdatedDateTime":1542392161"#),
            "{text}"
        );
    }
}
