//! Policy documents as they are written: read whole, or refused with the reason.
//!
//! An element, operator, condition key or variable that is not understood refuses the document when
//! it is stored. Nothing of a stored document is ever passed over when it is evaluated.

use super::conditions::{Condition, Operator};
use super::pattern::is_arn;
use super::principals::Principals;
use serde::Deserialize;
use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{self, Deserializer, IntoDeserializer as _, MapAccess, SeqAccess, Visitor};
use std::fmt;
use std::marker::PhantomData;

/// Most statements of one document.
const STATEMENTS_MAX: usize = 200;
/// Most texts in one element of a statement.
const TEXTS_MAX: usize = 1000;
/// Most conditions of one statement.
const CONDITIONS_MAX: usize = 50;
/// Longest single action, resource, principal or condition value.
const TEXT_BYTES_MAX: usize = 2048;

/// Where a document stands, which decides its elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind<'a> {
    /// Who may assume a role: principals, no resources.
    Trust,
    /// What a role or user may do: resources, no principals.
    Permissions,
    /// Who may do what in the bucket of this name: both.
    Bucket(&'a str),
}

/// A document that was understood to its last element.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Policy {
    pub(super) statements: Vec<Statement>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Statement {
    pub(super) allow: bool,
    /// `None` where the document belongs to the one whose rights it describes.
    pub(super) principals: Option<Principals>,
    pub(super) actions: OneOf,
    /// `None` in trust policies: their resource is the role itself.
    pub(super) resources: Option<OneOf>,
    pub(super) conditions: Vec<Condition>,
}

/// `Action` or `NotAction`, `Resource` or `NotResource`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct OneOf {
    pub(super) negated: bool,
    pub(super) patterns: Vec<String>,
}

/// Why a document is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Malformed {
    /// Not JSON at all.
    #[error("This policy contains invalid Json")]
    Json,
    /// JSON, but no policy.
    #[error("Syntax errors in policy: {0}")]
    Syntax(String),
    /// A policy with something in it that means nothing, or nothing here.
    #[error("{0}")]
    Meaning(String),
}

/// The document's elements, unknown ones refused.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "PascalCase")]
struct RawPolicy {
    version: Option<String>,
    #[serde(rename = "Id")]
    _id: Option<String>,
    statement: Many<RawStatement>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "PascalCase")]
struct RawStatement {
    #[serde(rename = "Sid")]
    _sid: Option<String>,
    effect: Option<String>,
    principal: Option<RawPrincipal>,
    not_principal: Option<RawPrincipal>,
    action: Option<Many<String>>,
    not_action: Option<Many<String>>,
    resource: Option<Many<String>>,
    not_resource: Option<Many<String>>,
    condition: Option<Entries<Entries<Many<Scalar>>>>,
}

/// `"*"`, or kinds of principals with their names.
#[derive(Deserialize)]
#[serde(untagged)]
pub(super) enum RawPrincipal {
    Text(String),
    Kinds(Entries<Many<String>>),
}

/// One value, or a list of them.
pub(super) enum Many<T> {
    One(T),
    List(Vec<T>),
}

/// By hand, so that what is wrong inside a value is said as it is.
impl<'de, T: Deserialize<'de>> Deserialize<'de> for Many<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OneOrList<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for OneOrList<T> {
            type Value = Many<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a value or a list of values")
            }

            fn visit_bool<E: de::Error>(self, value: bool) -> Result<Self::Value, E> {
                T::deserialize(value.into_deserializer()).map(Many::One)
            }

            fn visit_u64<E: de::Error>(self, value: u64) -> Result<Self::Value, E> {
                T::deserialize(value.into_deserializer()).map(Many::One)
            }

            fn visit_str<E: de::Error>(self, value: &str) -> Result<Self::Value, E> {
                T::deserialize(value.into_deserializer()).map(Many::One)
            }

            fn visit_map<M: MapAccess<'de>>(self, map: M) -> Result<Self::Value, M::Error> {
                T::deserialize(MapAccessDeserializer::new(map)).map(Many::One)
            }

            fn visit_seq<S: SeqAccess<'de>>(self, list: S) -> Result<Self::Value, S::Error> {
                Vec::deserialize(SeqAccessDeserializer::new(list)).map(Many::List)
            }
        }
        deserializer.deserialize_any(OneOrList(PhantomData))
    }
}

impl<T> Many<T> {
    pub(super) fn into_vec(self) -> Vec<T> {
        match self {
            Many::One(value) => vec![value],
            Many::List(values) => values,
        }
    }
}

/// A condition's value: numbers and booleans count as their text.
#[derive(Deserialize)]
#[serde(untagged)]
enum Scalar {
    Text(String),
    Bool(bool),
    Number(serde_json::Number),
}

impl fmt::Display for Scalar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Scalar::Text(text) => f.write_str(text),
            Scalar::Bool(value) => value.fmt(f),
            Scalar::Number(number) => number.fmt(f),
        }
    }
}

/// The members of an object in their order, none of them twice.
pub(super) struct Entries<V>(pub(super) Vec<(String, V)>);

impl<'de, V: Deserialize<'de>> Deserialize<'de> for Entries<V> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members<V>(PhantomData<V>);
        impl<'de, V: Deserialize<'de>> Visitor<'de> for Members<V> {
            type Value = Entries<V>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Self::Value, M::Error> {
                let mut members: Vec<(String, V)> = Vec::new();
                while let Some((name, value)) = map.next_entry::<String, V>()? {
                    if members.iter().any(|(known, _)| *known == name) {
                        return Err(de::Error::custom(format!("{name} stands there twice")));
                    }
                    if members.len() >= CONDITIONS_MAX {
                        return Err(de::Error::custom(format!(
                            "more than {CONDITIONS_MAX} members"
                        )));
                    }
                    members.push((name, value));
                }
                Ok(Entries(members))
            }
        }
        deserializer.deserialize_map(Members(PhantomData))
    }
}

impl Policy {
    /// Reads a document. Its size is the caller's to limit; its depth is that of its form.
    pub(crate) fn parse(text: &str, kind: Kind<'_>) -> Result<Policy, Malformed> {
        let raw: RawPolicy =
            serde_json::from_str(text).map_err(|error| match error.classify() {
                serde_json::error::Category::Data => Malformed::Syntax(plain(&error)),
                _ => Malformed::Json,
            })?;
        if let Some(version) = &raw.version
            && !["2012-10-17", "2008-10-17"].contains(&version.as_str())
        {
            return Err(meaning("The policy must contain a valid version string"));
        }
        let raw = raw.statement.into_vec();
        if raw.is_empty() || raw.len() > STATEMENTS_MAX {
            let reason = format!("a policy has 1 to {STATEMENTS_MAX} statements");
            return Err(Malformed::Syntax(reason));
        }
        let statements = raw
            .into_iter()
            .map(|statement| read_statement(statement, kind))
            .collect::<Result<_, _>>()?;
        Ok(Policy { statements })
    }
}

fn read_statement(raw: RawStatement, kind: Kind<'_>) -> Result<Statement, Malformed> {
    let allow = match raw.effect.as_deref() {
        Some("Allow") => true,
        Some("Deny") => false,
        _ => {
            return Err(meaning(
                "Missing required field Effect: must be Allow or Deny",
            ));
        }
    };
    let actions = one_of("Action", raw.action, raw.not_action)?
        .ok_or_else(|| meaning("Policy statement must contain actions."))?;
    for action in &actions.patterns {
        check_action(action, kind)?;
    }
    let resources = one_of("Resource", raw.resource, raw.not_resource)?;
    let principals = Principals::read(raw.principal, raw.not_principal, allow)?;
    match kind {
        Kind::Trust if resources.is_some() => return Err(meaning("Has prohibited field Resource")),
        Kind::Permissions if resources.is_none() => {
            return Err(meaning("Policy statement must contain resources."));
        }
        Kind::Bucket(_) if resources.is_none() => {
            return Err(meaning("Missing required field Resource"));
        }
        Kind::Permissions if principals.is_some() => {
            return Err(meaning("Policy document should not specify a principal."));
        }
        Kind::Trust | Kind::Bucket(_) if principals.is_none() => {
            return Err(meaning("Missing required field Principal"));
        }
        _ => {}
    }
    for resource in resources.iter().flat_map(|resources| &resources.patterns) {
        check_resource(resource, kind)?;
    }
    Ok(Statement {
        allow,
        principals,
        actions,
        resources,
        conditions: read_conditions(raw.condition)?,
    })
}

fn one_of(
    name: &str,
    plain: Option<Many<String>>,
    negated: Option<Many<String>>,
) -> Result<Option<OneOf>, Malformed> {
    let (negated, texts) = match (plain, negated) {
        (Some(_), Some(_)) => {
            let reason = format!("{name} and Not{name} cannot be in one statement");
            return Err(Malformed::Syntax(reason));
        }
        (Some(texts), None) => (false, texts),
        (None, Some(texts)) => (true, texts),
        (None, None) => return Ok(None),
    };
    let patterns = texts.into_vec();
    check_texts(name, &patterns)?;
    Ok(Some(OneOf { negated, patterns }))
}

/// The limits of every list of texts, and that no variable stands in one.
pub(super) fn check_texts(name: &str, texts: &[String]) -> Result<(), Malformed> {
    if texts.is_empty() || texts.len() > TEXTS_MAX {
        return Err(Malformed::Syntax(format!(
            "{name} has 1 to {TEXTS_MAX} values"
        )));
    }
    for text in texts {
        if text.len() > TEXT_BYTES_MAX {
            let reason = format!("a value of {name} is longer than {TEXT_BYTES_MAX} bytes");
            return Err(Malformed::Syntax(reason));
        }
        if text.contains("${") {
            return Err(meaning(&format!(
                "{name} {text}: policy variables are not supported by this server"
            )));
        }
    }
    Ok(())
}

fn check_action(action: &str, kind: Kind<'_>) -> Result<(), Malformed> {
    if action == "*" {
        return Ok(());
    }
    let Some((service, name)) = action.split_once(':') else {
        return Err(meaning(&format!(
            "Actions/Conditions must be prefaced by a vendor, e.g., iam, sdb, ec2, etc.: {action}"
        )));
    };
    if service.is_empty() || name.is_empty() {
        return Err(meaning(&format!("Action {action} is not <service>:<name>")));
    }
    match kind {
        Kind::Bucket(_) if !service.eq_ignore_ascii_case("s3") => Err(meaning(&format!(
            "Policy has invalid action: {action} is none of S3's"
        ))),
        Kind::Trust if !service.eq_ignore_ascii_case("sts") => Err(meaning(&format!(
            "AssumeRole policy may only specify STS AssumeRole actions: {action}"
        ))),
        _ => Ok(()),
    }
}

fn check_resource(resource: &str, kind: Kind<'_>) -> Result<(), Malformed> {
    if let Kind::Bucket(bucket) = kind {
        return match resource.splitn(6, ':').collect::<Vec<_>>()[..] {
            _ if resource == "*" => Ok(()),
            ["arn", _, "s3", "", "", name] if may_be_in(name, bucket) => Ok(()),
            _ => Err(meaning(&format!(
                "Policy has invalid resource: {resource} is not in bucket {bucket}"
            ))),
        };
    }
    if resource != "*" && !is_arn(resource) {
        return Err(meaning(&format!(
            "Resource {resource} must be in ARN format or \"*\"."
        )));
    }
    Ok(())
}

/// Whether the last part of a resource can be the bucket or something in it.
fn may_be_in(name: &str, bucket: &str) -> bool {
    let literal = name.split(['*', '?']).next().unwrap_or_default();
    let whole = literal.len() == name.len();
    let inside = format!("{bucket}/");
    name == bucket || literal.starts_with(&inside) || (!whole && inside.starts_with(literal))
}

fn read_conditions(
    raw: Option<Entries<Entries<Many<Scalar>>>>,
) -> Result<Vec<Condition>, Malformed> {
    let mut conditions = Vec::new();
    for (operator, keys) in raw.map(|entries| entries.0).unwrap_or_default() {
        let operator = Operator::parse(&operator).map_err(|reason| meaning(&reason))?;
        for (key, values) in keys.0 {
            let values: Vec<String> = values.into_vec().iter().map(Scalar::to_string).collect();
            check_texts(&key, &values)?;
            let condition =
                Condition::new(operator, &key, values).map_err(|reason| meaning(&reason))?;
            conditions.push(condition);
        }
    }
    if conditions.len() > CONDITIONS_MAX {
        let reason = format!("a statement has at most {CONDITIONS_MAX} conditions");
        return Err(Malformed::Syntax(reason));
    }
    Ok(conditions)
}

pub(super) fn meaning(reason: &str) -> Malformed {
    Malformed::Meaning(reason.to_owned())
}

/// The parser's words, which already name line and column.
fn plain(error: &serde_json::Error) -> String {
    error.to_string()
}
