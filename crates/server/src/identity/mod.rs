//! STS and the part of IAM that sample notebooks and tools use: who am I, roles, policies.
//!
//! Requests are forms (`Action=…&Version=…`), answers are XML documents in AWS's words. Roles and
//! policies are kept durably in their own database. What documents mean is `crate::policy`'s; what
//! a job's role may do is decided in `authority`. Sessions are not issued: AssumeRole says so.

mod authority;
mod documents;
mod managed;
mod plane;
mod policies;
mod rights;
mod roles;
mod store;
mod xml;

#[cfg(test)]
mod tests;

pub(crate) use authority::{BucketPolicies, RoleAuthority};
pub(crate) use plane::IdentityPlane;

use kindred_types::arn::Account;
use kindred_types::parts::{Clock, Random};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use store::IdentityStore;
pub(crate) use store::OpenError;
use xml::Xml;

const IAM: &str = "https://iam.amazonaws.com/doc/2010-05-08/";
const STS: &str = "https://sts.amazonaws.com/doc/2011-06-15/";

/// Who sent a request.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    /// The access key that signed it; a made-up name where nothing is signed.
    pub(crate) access_key: String,
}

/// The answer to a form: a status and an XML document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FormAnswer {
    pub(crate) status: u16,
    pub(crate) body: String,
}

/// Answers STS and IAM forms.
#[derive(Debug)]
pub(crate) struct Identity {
    store: IdentityStore,
    account: Account,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
}

/// Why a request is not done, as the client is told.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Refusal {
    status: u16,
    code: &'static str,
    message: String,
}

/// The parameters of a request.
type Form = BTreeMap<String, String>;

impl Identity {
    /// Opens the database at `path`. The first time, it gets the role `kindred` that may use every
    /// bucket here.
    pub(crate) fn open(
        path: &Path,
        account: Account,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
    ) -> Result<Self, OpenError> {
        let first = roles::ready_role(&account, &*clock, &*random);
        let store = IdentityStore::open(path, &first)?;
        Ok(Identity {
            store,
            account,
            clock,
            random,
        })
    }

    /// Answers one form. Waits for the disk, so it is called where waiting is allowed.
    pub(crate) fn handle(&self, caller: &Caller, form: &Form, request_id: &str) -> FormAnswer {
        let action = form.get("Action").map_or("", String::as_str);
        let space = namespace(action).unwrap_or(IAM);
        match self.run(caller, action, form) {
            Ok(result) => FormAnswer {
                status: 200,
                body: xml::response(action, space, result, request_id),
            },
            Err(refusal) => {
                tracing::debug!(%request_id, action, code = refusal.code, "identity request refused");
                let Refusal {
                    status,
                    code,
                    message,
                } = refusal;
                FormAnswer {
                    status,
                    body: xml::error(space, status, code, &message, request_id),
                }
            }
        }
    }

    /// Does an action; gives the content of its result element, none where it has no result.
    fn run(&self, caller: &Caller, action: &str, form: &Form) -> Result<Option<Xml>, Refusal> {
        match action {
            "GetCallerIdentity" => Ok(Some(self.caller_identity(caller))),
            "AssumeRole"
            | "AssumeRoleWithSAML"
            | "AssumeRoleWithWebIdentity"
            | "GetSessionToken"
            | "GetFederationToken" => Err(Refusal {
                status: 403,
                code: "AccessDenied",
                message: format!(
                    "{action} is not available: this server issues no session credentials"
                ),
            }),
            "CreateRole" => self.create_role(form).map(Some),
            "GetRole" => self.get_role(form).map(Some),
            "ListRoles" => self.list_roles(form).map(Some),
            "DeleteRole" => self.delete_role(form).map(|()| None),
            "UpdateAssumeRolePolicy" => self.update_trust(form).map(|()| None),
            "TagRole" => self.tag_role(form).map(|()| None),
            "UntagRole" => self.untag_role(form).map(|()| None),
            "ListRoleTags" => self.list_role_tags(form).map(Some),
            "ListInstanceProfilesForRole" => self.list_instance_profiles(form).map(Some),
            "PutRolePolicy" => self.put_role_policy(form).map(|()| None),
            "GetRolePolicy" => self.get_role_policy(form).map(Some),
            "DeleteRolePolicy" => self.delete_role_policy(form).map(|()| None),
            "ListRolePolicies" => self.list_role_policies(form).map(Some),
            "AttachRolePolicy" => self.attach_role_policy(form).map(|()| None),
            "DetachRolePolicy" => self.detach_role_policy(form).map(|()| None),
            "ListAttachedRolePolicies" => self.list_attached(form).map(Some),
            "CreatePolicy" => self.create_policy(form).map(Some),
            "GetPolicy" => self.get_policy(form).map(Some),
            "GetPolicyVersion" => self.get_policy_version(form).map(Some),
            "DeletePolicy" => self.delete_policy(form).map(|()| None),
            "ListPolicies" => self.list_policies(form).map(Some),
            "" => Err(refusal(
                400,
                "MissingAction",
                "The request is missing an Action parameter",
            )),
            other => Err(refusal(
                400,
                "InvalidAction",
                format!("Could not find operation {other} for this server"),
            )),
        }
    }

    /// Every key is a user of the account, named after itself.
    fn caller_identity(&self, caller: &Caller) -> Xml {
        let Account {
            partition, account, ..
        } = &self.account;
        Xml::default()
            .text(
                "Arn",
                &format!("arn:{partition}:iam::{account}:user/{}", caller.access_key),
            )
            .text("UserId", &caller.access_key)
            .text("Account", account)
    }
}

fn namespace(action: &str) -> Option<&'static str> {
    match action {
        "GetCallerIdentity"
        | "AssumeRole"
        | "AssumeRoleWithSAML"
        | "AssumeRoleWithWebIdentity"
        | "GetSessionToken"
        | "GetFederationToken" => Some(STS),
        "CreateRole"
        | "GetRole"
        | "ListRoles"
        | "DeleteRole"
        | "UpdateAssumeRolePolicy"
        | "TagRole"
        | "UntagRole"
        | "ListRoleTags"
        | "ListInstanceProfilesForRole"
        | "PutRolePolicy"
        | "GetRolePolicy"
        | "DeleteRolePolicy"
        | "ListRolePolicies"
        | "AttachRolePolicy"
        | "DetachRolePolicy"
        | "ListAttachedRolePolicies"
        | "CreatePolicy"
        | "GetPolicy"
        | "GetPolicyVersion"
        | "DeletePolicy"
        | "ListPolicies" => Some(IAM),
        _ => None,
    }
}

fn refusal(status: u16, code: &'static str, message: impl Into<String>) -> Refusal {
    Refusal {
        status,
        code,
        message: message.into(),
    }
}

fn no_such_entity(message: impl Into<String>) -> Refusal {
    refusal(404, "NoSuchEntity", message)
}

fn limit_exceeded(what: &str, limit: usize) -> Refusal {
    refusal(
        409,
        "LimitExceeded",
        format!("Cannot exceed quota for {what}: {limit}"),
    )
}

/// A violated constraint, in the words that AWS uses.
fn invalid(parameter: &str, constraint: &str) -> Refusal {
    let mut name = parameter.to_owned();
    if let Some(first) = name.get_mut(..1) {
        first.make_ascii_lowercase();
    }
    refusal(
        400,
        "ValidationError",
        format!(
            "1 validation error detected: Value at '{name}' failed to satisfy constraint: {constraint}"
        ),
    )
}

/// A required parameter.
fn required<'f>(form: &'f Form, name: &str) -> Result<&'f str, Refusal> {
    form.get(name)
        .map(String::as_str)
        .filter(|value| !value.is_empty())
        .ok_or_else(|| invalid(name, "Member must not be null"))
}

/// A required name of at most `max` characters out of letters, digits and `+=,.@-_`.
fn name<'f>(form: &'f Form, parameter: &str, max: usize) -> Result<&'f str, Refusal> {
    let name = required(form, parameter)?;
    if name.chars().count() > max {
        let constraint = format!("Member must have length less than or equal to {max}");
        return Err(invalid(parameter, &constraint));
    }
    let good = |letter: char| letter.is_ascii_alphanumeric() || "_+=,.@-".contains(letter);
    if !name.chars().all(good) {
        return Err(invalid(
            parameter,
            "Member must satisfy regular expression pattern: [\\w+=,.@-]+",
        ));
    }
    Ok(name)
}

/// The path of a role or policy: `/`, or `/` around printable characters.
fn path(form: &Form) -> Result<&str, Refusal> {
    let path = form.get("Path").map_or("/", String::as_str);
    let printable = path.bytes().all(|byte| (0x21..=0x7e).contains(&byte));
    if path.len() <= 512 && printable && path.starts_with('/') && path.ends_with('/') {
        return Ok(path);
    }
    Err(invalid(
        "Path",
        "Member must satisfy regular expression pattern: (\\u002F)|(\\u002F[\\u0021-\\u007E]+\\u002F)",
    ))
}

/// A description of at most 1,000 characters.
fn description(form: &Form) -> Result<Option<String>, Refusal> {
    let description = form.get("Description");
    if description.is_some_and(|text| text.chars().count() > 1000) {
        return Err(invalid(
            "Description",
            "Member must have length less than or equal to 1000",
        ));
    }
    Ok(description.cloned())
}

/// Members of a list parameter, `Prefix.member.N`, in order.
fn members<'f>(form: &'f Form, prefix: &str) -> Vec<&'f str> {
    (1..)
        .map_while(|number| form.get(&format!("{prefix}.member.{number}")))
        .map(String::as_str)
        .collect()
}

/// A page of a sorted list: what comes behind the marker, and the next marker where there is more.
fn page<T>(
    form: &Form,
    all: Vec<T>,
    key: impl Fn(&T) -> &str,
) -> Result<(Vec<T>, Option<String>), Refusal> {
    let max = match form.get("MaxItems") {
        None => 100,
        Some(text) => text
            .parse::<usize>()
            .ok()
            .filter(|max| (1..=1000).contains(max))
            .ok_or_else(|| invalid("MaxItems", "Member must have value between 1 and 1000"))?,
    };
    let after = form.get("Marker").map_or("", String::as_str);
    let mut rest: Vec<T> = all.into_iter().filter(|entry| key(entry) > after).collect();
    rest.sort_by(|a, b| key(a).cmp(key(b)));
    let more = rest.len() > max;
    rest.truncate(max);
    let next = rest
        .last()
        .filter(|_| more)
        .map(|entry| key(entry).to_owned());
    Ok((rest, next))
}

/// The end of every listing.
fn paged(xml: Xml, next: Option<&str>) -> Xml {
    let xml = xml.text("IsTruncated", if next.is_some() { "true" } else { "false" });
    xml.optional("Marker", next)
}
