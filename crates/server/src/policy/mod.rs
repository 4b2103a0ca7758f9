//! Policies: what a document allows and denies.
//!
//! A pure module: documents in, decisions out. `document` reads them, `principals` says who is
//! meant, `conditions` under which circumstances; here is the decision. What documents there are,
//! and who asks about what, is known to `identity` and to the planes.

mod conditions;
mod document;
mod pattern;
mod principals;

#[cfg(test)]
mod tests;

pub(crate) use conditions::{Context, key};
pub(crate) use document::{Kind, Malformed, Policy};
pub(crate) use principals::Actor;

use document::Statement;
use kindred_types::arn::Account;
use principals::Named;

/// Somebody wants to do something.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Question<'a> {
    pub(crate) actor: &'a Actor,
    /// For example `s3:GetObject`.
    pub(crate) action: &'a str,
    /// The ARN of what it is done to; `*` for actions on nothing in particular.
    pub(crate) resource: &'a str,
    pub(crate) context: &'a Context,
}

/// What policies say about a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Decision {
    /// Some statement allows it and none denies it.
    Allowed,
    /// A statement denies it, whatever others allow.
    Denied,
    /// Nothing allows it.
    NotAllowed,
}

/// The ARN of a bucket, or of an object in it.
pub(crate) fn s3_arn(account: &Account, bucket: &str, key: Option<&str>) -> String {
    let slash = if key.is_some() { "/" } else { "" };
    let key = key.unwrap_or_default();
    format!("arn:{}:s3:::{bucket}{slash}{key}", account.partition)
}

/// Decides by the actor's own policies and the policy of the thing itself, which belong to one
/// account: one of them has to allow it, none of them may deny it.
pub(crate) fn decide<'p>(
    own: impl IntoIterator<Item = &'p Policy>,
    of_resource: Option<&Policy>,
    question: &Question<'_>,
) -> Decision {
    let mut allowed = false;
    let own = own.into_iter().flat_map(|policy| &policy.statements);
    let of_resource = of_resource
        .into_iter()
        .flat_map(|policy| &policy.statements);
    for statement in own.chain(of_resource) {
        match statement.applies(question) {
            Named::No => {}
            _ if !statement.allow => return Decision::Denied,
            // To name an account is to leave it to the rights that it gave its users and roles.
            Named::ByAccount => {}
            Named::Directly => allowed = true,
        }
    }
    if allowed {
        Decision::Allowed
    } else {
        Decision::NotAllowed
    }
}

/// Decides whether an actor may take on a role. The role has to trust it by name; where it names
/// the account, the actor's own policies have to allow it. `None` for whom no policy binds.
pub(crate) fn decide_trust(
    own: Option<&[Policy]>,
    trust: &Policy,
    question: &Question<'_>,
) -> Decision {
    let own = match own {
        Some(policies) => decide(policies, None, question),
        None => Decision::Allowed,
    };
    if own == Decision::Denied {
        return Decision::Denied;
    }
    let mut named = Named::No;
    for statement in &trust.statements {
        match statement.applies(question) {
            Named::No => {}
            _ if !statement.allow => return Decision::Denied,
            by => named = named.max(by),
        }
    }
    match (named, own) {
        (Named::Directly, _) | (Named::ByAccount, Decision::Allowed) => Decision::Allowed,
        _ => Decision::NotAllowed,
    }
}

impl Statement {
    fn applies(&self, question: &Question<'_>) -> Named {
        let named = match &self.principals {
            Some(principals) => principals.name(question.actor),
            None => Named::Directly,
        };
        let about = named != Named::No
            && self.covers_action(question.action)
            && self.covers_resource(question.resource)
            && self
                .conditions
                .iter()
                .all(|condition| condition.holds(question.context));
        if about { named } else { Named::No }
    }

    fn covers_action(&self, action: &str) -> bool {
        let patterns = &self.actions.patterns;
        let found = patterns
            .iter()
            .any(|pattern| pattern::matches_ignoring_case(pattern, action));
        found != self.actions.negated
    }

    fn covers_resource(&self, resource: &str) -> bool {
        let Some(resources) = &self.resources else {
            return true;
        };
        let found = resources.patterns.iter().any(|pattern| {
            pattern::matches_arn(pattern, resource) || (resource == "*" && pattern == "*")
        });
        found != resources.negated
    }
}
