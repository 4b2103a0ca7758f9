//! Policy documents: whether one is well formed. What it allows is not decided here.

use super::{Refusal, refusal};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;

const ENCODED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~');

/// The two kinds of documents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Who may assume a role: has principals and no resources.
    Trust,
    /// What a role may do: has resources and no principals.
    Permissions,
}

/// Checks a document of at most `max` characters, white space not counted.
pub(super) fn check(text: &str, kind: Kind, max: usize) -> Result<(), Refusal> {
    if text
        .chars()
        .filter(|letter| !letter.is_whitespace())
        .count()
        > max
    {
        let message = format!("Cannot exceed quota for PolicySize: {max}");
        return Err(refusal(409, "LimitExceeded", message));
    }
    let document: Value =
        serde_json::from_str(text).map_err(|_| malformed("This policy contains invalid Json"))?;
    let Value::Object(fields) = &document else {
        return Err(malformed("Syntax errors in policy."));
    };
    match fields.get("Version").map(Value::as_str) {
        None | Some(Some("2012-10-17" | "2008-10-17")) => {}
        Some(_) => {
            return Err(malformed("The policy must contain a valid version string"));
        }
    }
    let statements = match fields.get("Statement") {
        Some(Value::Array(statements)) if !statements.is_empty() => statements.as_slice(),
        Some(single @ Value::Object(_)) => std::slice::from_ref(single),
        _ => return Err(malformed("Syntax errors in policy.")),
    };
    statements
        .iter()
        .try_for_each(|statement| check_statement(statement, kind))
}

/// A document as IAM gives it back: percent-encoded.
pub(super) fn encoded(text: &str) -> String {
    utf8_percent_encode(text, ENCODED).to_string()
}

fn check_statement(statement: &Value, kind: Kind) -> Result<(), Refusal> {
    let Value::Object(fields) = statement else {
        return Err(malformed("Syntax errors in policy."));
    };
    let has = |name: &str, negated: &str| fields.contains_key(name) || fields.contains_key(negated);
    if !matches!(
        fields.get("Effect").and_then(Value::as_str),
        Some("Allow" | "Deny")
    ) {
        return Err(malformed(
            "Missing required field Effect: must be Allow or Deny",
        ));
    }
    if !has("Action", "NotAction") {
        return Err(malformed("Policy statement must contain actions."));
    }
    for name in ["Action", "NotAction", "Resource", "NotResource"] {
        if fields
            .get(name)
            .is_some_and(|value| !is_text_or_texts(value))
        {
            return Err(malformed(&format!(
                "{name} must be a string or a list of strings"
            )));
        }
    }
    match kind {
        Kind::Trust if !has("Principal", "NotPrincipal") => {
            Err(malformed("Missing required field Principal"))
        }
        Kind::Trust if has("Resource", "NotResource") => {
            Err(malformed("Has prohibited field Resource"))
        }
        Kind::Permissions if has("Principal", "NotPrincipal") => {
            Err(malformed("Policy document should not specify a principal."))
        }
        Kind::Permissions if !has("Resource", "NotResource") => {
            Err(malformed("Policy statement must contain resources."))
        }
        _ => Ok(()),
    }
}

fn is_text_or_texts(value: &Value) -> bool {
    match value {
        Value::String(_) => true,
        Value::Array(values) => values.iter().all(Value::is_string),
        _ => false,
    }
}

fn malformed(message: &str) -> Refusal {
    refusal(400, "MalformedPolicyDocument", message)
}
