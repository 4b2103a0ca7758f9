//! STS and the part of IAM that sample notebooks and tools use: who am I, roles, policies, users.
//!
//! Requests are forms (`Action=…&Version=…`), answers are XML documents in AWS's words. Roles and
//! policies are kept durably in their own database. What documents mean is `crate::policy`'s; what
//! a job's role may do is decided in `authority`, whose a key is and what it may do in `callers`.

mod authority;
mod callers;
mod documents;
mod grants;
mod managed;
mod plane;
mod policies;
mod rights;
mod roles;
mod sessions;
mod store;
mod users;
mod xml;

#[cfg(test)]
mod tests;

pub(crate) use authority::{Audited, BucketPolicies, RoleAuthority};
pub(crate) use callers::{Caller, Callers, KnownCallers};
pub(crate) use plane::IdentityPlane;

use crate::policy::Context;
use grants::Holder;
use kindred_types::arn::Account;
use kindred_types::parts::{Clock, Random};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use store::IdentityStore;
pub(crate) use store::OpenError;
use xml::Xml;

const IAM: &str = "https://iam.amazonaws.com/doc/2010-05-08/";
const STS: &str = "https://sts.amazonaws.com/doc/2011-06-15/";

/// The actions of STS; all others are IAM's.
const STS_ACTIONS: [&str; 6] = [
    "GetCallerIdentity",
    "AssumeRole",
    "AssumeRoleWithSAML",
    "AssumeRoleWithWebIdentity",
    "GetSessionToken",
    "GetFederationToken",
];
/// Actions that mean the calling user where they name none.
const OWN_NAME: [&str; 5] = [
    "GetUser",
    "CreateAccessKey",
    "ListAccessKeys",
    "UpdateAccessKey",
    "DeleteAccessKey",
];

/// The answer to a form: a status and an XML document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FormAnswer {
    pub(crate) status: u16,
    /// The error's code; none for what was done.
    pub(crate) code: Option<&'static str>,
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
        let space = namespace(action);
        let outcome = self.authorized(caller, action, form);
        match outcome.and_then(|form| self.run(caller, action, &form)) {
            Ok(result) => FormAnswer {
                status: 200,
                code: None,
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
                    code: Some(code),
                    body: xml::error(space, status, code, &message, request_id),
                }
            }
        }
    }

    /// The form of a request that the caller may make; a user's own name is filled in where an
    /// action on users names none.
    fn authorized<'f>(
        &self,
        caller: &Caller,
        action: &str,
        form: &'f Form,
    ) -> Result<Cow<'f, Form>, Refusal> {
        let mut form = Cow::Borrowed(form);
        if OWN_NAME.contains(&action)
            && !form.contains_key("UserName")
            && let Some(name) = caller.user_name()
        {
            form.to_mut().insert("UserName".into(), name.to_owned());
        }
        // Everybody may ask who they are; who may take on a role is said by the role.
        if ["GetCallerIdentity", "AssumeRole", ""].contains(&action) {
            return Ok(form);
        }
        let action = action_name(&form);
        caller
            .may(&action, &self.resource(&form), Context::default(), None)
            .map_err(|message| refusal(403, "AccessDenied", message))?;
        Ok(form)
    }

    /// The ARN of what a form is about; `*` for nothing in particular.
    pub(crate) fn resource(&self, form: &Form) -> String {
        let Account {
            partition, account, ..
        } = &self.account;
        let stored = |kind: &str, name: &str| {
            let found = self.store.read(|records| match kind {
                "role" => Ok(records.role(name)?.map(|role| role.arn)),
                _ => Ok(records.user(name)?.map(|user| user.arn)),
            });
            let found = found.ok().flatten();
            found.unwrap_or_else(|| format!("arn:{partition}:iam::{account}:{kind}/{name}"))
        };
        if let Some(name) = form.get("RoleName") {
            stored("role", name)
        } else if let Some(name) = form.get("UserName") {
            stored("user", name)
        } else if let Some(arn) = form.get("PolicyArn").or_else(|| form.get("RoleArn")) {
            arn.clone()
        } else if let Some(name) = form.get("PolicyName") {
            format!("arn:{partition}:iam::{account}:policy/{name}")
        } else {
            "*".to_owned()
        }
    }

    /// Does an action; gives the content of its result element, none where it has no result.
    fn run(&self, caller: &Caller, action: &str, form: &Form) -> Result<Option<Xml>, Refusal> {
        use Holder::{Role, User};
        match action {
            "GetCallerIdentity" => Ok(Some(self.caller_identity(caller))),
            "AssumeRole" => self.assume_role(caller, form).map(Some),
            "AssumeRoleWithSAML"
            | "AssumeRoleWithWebIdentity"
            | "GetSessionToken"
            | "GetFederationToken" => Err(refusal(
                403,
                "AccessDenied",
                format!("{action} is not available: this server only issues sessions of roles"),
            )),
            "CreateRole" => self.create_role(form).map(Some),
            "GetRole" => self.get_role(form).map(Some),
            "ListRoles" => self.list_roles(form).map(Some),
            "DeleteRole" => self.delete_role(form).map(|()| None),
            "UpdateAssumeRolePolicy" => self.update_trust(form).map(|()| None),
            "TagRole" => self.tag_role(form).map(|()| None),
            "UntagRole" => self.untag_role(form).map(|()| None),
            "ListRoleTags" => self.list_role_tags(form).map(Some),
            "ListInstanceProfilesForRole" => self.list_instance_profiles(form).map(Some),
            "PutRolePolicy" => self.put_inline(form, Role).map(|()| None),
            "GetRolePolicy" => self.get_inline(form, Role).map(Some),
            "DeleteRolePolicy" => self.delete_inline(form, Role).map(|()| None),
            "ListRolePolicies" => self.list_inline(form, Role).map(Some),
            "AttachRolePolicy" => self.attach(form, Role).map(|()| None),
            "DetachRolePolicy" => self.detach(form, Role).map(|()| None),
            "ListAttachedRolePolicies" => self.list_attached(form, Role).map(Some),
            "CreateUser" => self.create_user(form).map(Some),
            "GetUser" => self.get_user(form).map(Some),
            "ListUsers" => self.list_users(form).map(Some),
            "DeleteUser" => self.delete_user(form).map(|()| None),
            "CreateAccessKey" => self.create_access_key(form).map(Some),
            "ListAccessKeys" => self.list_access_keys(form).map(Some),
            "UpdateAccessKey" => self.update_access_key(form).map(|()| None),
            "DeleteAccessKey" => self.delete_access_key(form).map(|()| None),
            "PutUserPolicy" => self.put_inline(form, User).map(|()| None),
            "GetUserPolicy" => self.get_inline(form, User).map(Some),
            "DeleteUserPolicy" => self.delete_inline(form, User).map(|()| None),
            "ListUserPolicies" => self.list_inline(form, User).map(Some),
            "AttachUserPolicy" => self.attach(form, User).map(|()| None),
            "DetachUserPolicy" => self.detach(form, User).map(|()| None),
            "ListAttachedUserPolicies" => self.list_attached(form, User).map(Some),
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

    /// The operator's keys are users of the account, named after themselves.
    fn caller_identity(&self, caller: &Caller) -> Xml {
        Xml::default()
            .text("Arn", &caller.arn)
            .text("UserId", &caller.id)
            .text("Account", &self.account.account)
    }
}

/// The action of a form as policies name it.
fn action_name(form: &Form) -> String {
    let action = form.get("Action").map_or("", String::as_str);
    let service = if STS_ACTIONS.contains(&action) {
        "sts"
    } else {
        "iam"
    };
    format!("{service}:{action}")
}

/// The XML namespace of an action's answer; that of IAM for unknown ones.
fn namespace(action: &str) -> &'static str {
    if STS_ACTIONS.contains(&action) {
        STS
    } else {
        IAM
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
