//! Conditions of statements: the operators and keys that can be answered here.
//!
//! A key that no request here carries, or an operator that is not known, refuses the document: a
//! condition that nobody evaluates would give away what it was written to protect.

use super::pattern::{is_arn, matches, matches_arn};

/// The keys that requests and jobs answer, in small letters. A key that a request does not carry
/// is absent for that request.
pub(crate) mod key {
    /// ARN of the user or role that does it.
    pub(crate) const PRINCIPAL_ARN: &str = "aws:principalarn";
    /// Account of the user or role that does it.
    pub(crate) const PRINCIPAL_ACCOUNT: &str = "aws:principalaccount";
    /// Name of the user that does it.
    pub(crate) const USER_NAME: &str = "aws:username";
    /// ARN of the job for which the service does it.
    pub(crate) const SOURCE_ARN: &str = "aws:sourcearn";
    /// Account of the job for which the service does it.
    pub(crate) const SOURCE_ACCOUNT: &str = "aws:sourceaccount";
    /// Whether the request came encrypted; jobs act inside the server, which counts as that.
    pub(crate) const SECURE_TRANSPORT: &str = "aws:securetransport";
    /// Prefix of a listing.
    pub(crate) const PREFIX: &str = "s3:prefix";
    /// Delimiter of a listing.
    pub(crate) const DELIMITER: &str = "s3:delimiter";
    /// External id of an AssumeRole.
    pub(crate) const EXTERNAL_ID: &str = "sts:externalid";
    /// Session name of an AssumeRole.
    pub(crate) const SESSION_NAME: &str = "sts:rolesessionname";
    /// Service that a role is passed to.
    pub(crate) const PASSED_TO: &str = "iam:passedtoservice";
    /// Name of the dataset group that a request is about; a key of this server's own.
    pub(crate) const DATASET_GROUP: &str = "kindred:datasetgroup";

    pub(super) const ALL: [&str; 12] = [
        PRINCIPAL_ARN,
        PRINCIPAL_ACCOUNT,
        USER_NAME,
        SOURCE_ARN,
        SOURCE_ACCOUNT,
        SECURE_TRANSPORT,
        PREFIX,
        DELIMITER,
        EXTERNAL_ID,
        SESSION_NAME,
        PASSED_TO,
        DATASET_GROUP,
    ];
}

/// What a request answers: a key has one value or none.
#[derive(Clone, Debug, Default)]
pub(crate) struct Context(Vec<(&'static str, String)>);

impl Context {
    /// Adds a value of one of the keys in [`key`].
    pub(crate) fn with(mut self, key: &'static str, value: impl Into<String>) -> Self {
        self.0.push((key, value.into()));
        self
    }

    fn get(&self, key: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(name, _)| *name == key)
            .map(|(_, value)| value.as_str())
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Test {
    Equals,
    EqualsIgnoreCase,
    Like,
    Arn,
    Bool,
    Null,
}

/// An operator: a test, its negation, and what it says about a key that is not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Operator {
    test: Test,
    negated: bool,
    if_exists: bool,
}

impl Operator {
    pub(super) fn parse(name: &str) -> Result<Operator, String> {
        if name.contains(':') {
            return Err(format!(
                "Condition operator {name}: set operators are not supported by this server"
            ));
        }
        let (base, if_exists) = match name.strip_suffix("IfExists") {
            Some(base) => (base, true),
            None => (name, false),
        };
        let (test, negated) = match base {
            "StringEquals" => (Test::Equals, false),
            "StringNotEquals" => (Test::Equals, true),
            "StringEqualsIgnoreCase" => (Test::EqualsIgnoreCase, false),
            "StringNotEqualsIgnoreCase" => (Test::EqualsIgnoreCase, true),
            "StringLike" => (Test::Like, false),
            "StringNotLike" => (Test::Like, true),
            // On AWS, too, both take wildcards.
            "ArnEquals" | "ArnLike" => (Test::Arn, false),
            "ArnNotEquals" | "ArnNotLike" => (Test::Arn, true),
            "Bool" => (Test::Bool, false),
            "Null" if !if_exists => (Test::Null, false),
            _ => {
                return Err(format!(
                    "Condition operator {name} is not supported by this server"
                ));
            }
        };
        Ok(Operator {
            test,
            negated,
            if_exists,
        })
    }
}

/// One operator on one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Condition {
    operator: Operator,
    key: String,
    values: Vec<String>,
}

impl Condition {
    pub(super) fn new(
        operator: Operator,
        key: &str,
        values: Vec<String>,
    ) -> Result<Condition, String> {
        let lower = key.to_ascii_lowercase();
        if !key::ALL.contains(&lower.as_str()) {
            return Err(format!(
                "Condition key {key} is not supported by this server"
            ));
        }
        for value in &values {
            let good = match operator.test {
                Test::Bool | Test::Null => {
                    value.eq_ignore_ascii_case("true") || value.eq_ignore_ascii_case("false")
                }
                Test::Arn => value == "*" || is_arn(value),
                _ => true,
            };
            if !good {
                return Err(format!("Invalid value of condition key {key}: {value}"));
            }
        }
        Ok(Condition {
            operator,
            key: lower,
            values,
        })
    }

    /// Whether the request meets it. All values of a condition stand for "or", and "none of them"
    /// where it is negated.
    pub(super) fn holds(&self, context: &Context) -> bool {
        let actual = context.get(&self.key);
        if self.operator.test == Test::Null {
            let absent = actual.is_none().to_string();
            return self
                .values
                .iter()
                .any(|value| value.eq_ignore_ascii_case(&absent));
        }
        let Some(actual) = actual else {
            return self.operator.if_exists || self.operator.negated;
        };
        let met = self.values.iter().any(|value| match self.operator.test {
            Test::Equals => value == actual,
            Test::EqualsIgnoreCase | Test::Bool => value.eq_ignore_ascii_case(actual),
            Test::Like => matches(value, actual),
            Test::Arn => matches_arn(value, actual),
            Test::Null => false,
        });
        met != self.operator.negated
    }
}
