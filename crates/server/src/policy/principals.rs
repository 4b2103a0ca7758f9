//! Who a statement is about, and who a request comes from.

use super::document::{Malformed, Many, RawPrincipal, check_texts, meaning};

/// Who does something.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Actor {
    /// The account it belongs to; empty for somebody without a name.
    pub(crate) account: String,
    /// ARNs that it goes by: of a user; of a role and of its session.
    pub(crate) arns: Vec<String>,
    /// The service on whose behalf it acts, for example `personalize.amazonaws.com`.
    pub(crate) service: Option<&'static str>,
}

/// How a statement names an actor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Named {
    No,
    /// By its account: rights of its own have to come to an Allow, as on AWS.
    ByAccount,
    /// By name, or as one of everybody.
    Directly,
}

/// `Principal` or `NotPrincipal`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Principals {
    negated: bool,
    everybody: bool,
    /// Twelve digits each.
    accounts: Vec<String>,
    arns: Vec<String>,
    services: Vec<String>,
}

impl Principals {
    pub(super) fn read(
        plain: Option<RawPrincipal>,
        negated: Option<RawPrincipal>,
        allow: bool,
    ) -> Result<Option<Principals>, Malformed> {
        let (negated, raw) = match (plain, negated) {
            (Some(_), Some(_)) => {
                let reason = "Principal and NotPrincipal cannot be in one statement";
                return Err(Malformed::Syntax(reason.into()));
            }
            (None, Some(_)) if allow => {
                return Err(meaning("Allow with NotPrincipal is not supported"));
            }
            (Some(raw), None) => (false, raw),
            (None, Some(raw)) => (true, raw),
            (None, None) => return Ok(None),
        };
        let mut principals = Principals {
            negated,
            everybody: false,
            accounts: Vec::new(),
            arns: Vec::new(),
            services: Vec::new(),
        };
        let kinds = match raw {
            RawPrincipal::Text(text) if text == "*" => {
                principals.everybody = true;
                return Ok(Some(principals));
            }
            RawPrincipal::Text(text) => {
                return Err(meaning(&format!("Invalid principal in policy: {text}")));
            }
            RawPrincipal::Kinds(kinds) => kinds.0,
        };
        if kinds.is_empty() {
            return Err(meaning("Invalid principal in policy: it is empty"));
        }
        for (kind, names) in kinds {
            principals.add(&kind, names)?;
        }
        Ok(Some(principals))
    }

    fn add(&mut self, kind: &str, names: Many<String>) -> Result<(), Malformed> {
        let names = names.into_vec();
        check_texts("Principal", &names)?;
        for name in names {
            match kind {
                "AWS" => self.add_aws(name)?,
                "Service" if name.ends_with(".amazonaws.com") && !name.contains(['*', '?']) => {
                    self.services.push(name);
                }
                "Service" => {
                    return Err(meaning(&format!(
                        "Invalid principal in policy: \"SERVICE\":\"{name}\""
                    )));
                }
                other => {
                    return Err(meaning(&format!(
                        "Invalid principal in policy: {other} principals are not supported by this server"
                    )));
                }
            }
        }
        Ok(())
    }

    fn add_aws(&mut self, name: String) -> Result<(), Malformed> {
        let digits = |text: &str| text.len() == 12 && text.bytes().all(|b| b.is_ascii_digit());
        if name == "*" {
            self.everybody = true;
            return Ok(());
        }
        if digits(&name) {
            self.accounts.push(name);
            return Ok(());
        }
        let parts: Vec<&str> = name.splitn(6, ':').collect();
        match parts[..] {
            ["arn", _, "iam", "", account, "root"] if digits(account) => {
                self.accounts.push(account.to_owned());
            }
            ["arn", _, "iam" | "sts", "", account, rest]
                if digits(account) && rest.contains('/') && !name.contains(['*', '?']) =>
            {
                self.arns.push(name);
            }
            _ => {
                return Err(meaning(&format!(
                    "Invalid principal in policy: \"AWS\":\"{name}\""
                )));
            }
        }
        Ok(())
    }

    /// How the statement names the actor.
    pub(super) fn name(&self, actor: &Actor) -> Named {
        let directly = self.everybody
            || actor.arns.iter().any(|arn| self.arns.contains(arn))
            || actor
                .service
                .is_some_and(|service| self.services.iter().any(|name| name == service));
        let named = if directly {
            Named::Directly
        } else if self.accounts.contains(&actor.account) {
            Named::ByAccount
        } else {
            Named::No
        };
        match (self.negated, named) {
            (false, named) => named,
            (true, Named::No) => Named::Directly,
            (true, _) => Named::No,
        }
    }
}
