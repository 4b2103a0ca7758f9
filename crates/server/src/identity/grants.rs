//! Policies of roles and users: inside them, and attached to them.
//!
//! Roles and users have the same operations under names of their own; [`Holder`] tells them apart.

use super::documents;
use super::roles::role_of;
use super::store::{Grants, Records};
use super::users::user_of;
use super::xml::Xml;
use super::{
    Form, Identity, Refusal, limit_exceeded, name, no_such_entity, page, paged, refusal, required,
};
use crate::policy::Kind;

pub(super) const NAME_CHARACTERS_MAX: usize = 128;
const ATTACHED_MAX: usize = 20;
const INLINE_MAX: usize = 100;
/// All policies inside one role or user together.
const INLINE_CHARACTERS_MAX: usize = 10_240;

/// Whose policies an operation is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Holder {
    Role,
    User,
}

impl Holder {
    fn word(self) -> &'static str {
        match self {
            Holder::Role => "role",
            Holder::User => "user",
        }
    }

    /// The element and parameter with the holder's name.
    fn parameter(self) -> &'static str {
        match self {
            Holder::Role => "RoleName",
            Holder::User => "UserName",
        }
    }

    fn no_inline(self, policy: &str) -> Refusal {
        let word = self.word();
        no_such_entity(format!(
            "The {word} policy with name {policy} cannot be found."
        ))
    }
}

impl Identity {
    pub(super) fn put_inline(&self, form: &Form, holder: Holder) -> Result<(), Refusal> {
        let policy = name(form, "PolicyName", NAME_CHARACTERS_MAX)?;
        let document = required(form, "PolicyDocument")?;
        documents::check(document, Kind::Permissions, INLINE_CHARACTERS_MAX)?;
        self.change_grants(form, holder, |grants| {
            let inline = &mut grants.inline;
            inline.insert(policy.to_owned(), document.to_owned());
            let characters: usize = inline.values().map(|text| text.chars().count()).sum();
            if characters > INLINE_CHARACTERS_MAX {
                let message = format!(
                    "Maximum policy size of {INLINE_CHARACTERS_MAX} bytes exceeded for {} {}",
                    holder.word(),
                    required(form, holder.parameter())?,
                );
                return Err(refusal(409, "LimitExceeded", message));
            }
            if inline.len() > INLINE_MAX {
                return Err(limit_exceeded("InlinePolicies", INLINE_MAX));
            }
            Ok(())
        })
    }

    pub(super) fn get_inline(&self, form: &Form, holder: Holder) -> Result<Xml, Refusal> {
        let policy = name(form, "PolicyName", NAME_CHARACTERS_MAX)?;
        let (owner, grants) = self.grants(form, holder)?;
        let document = grants
            .inline
            .get(policy)
            .ok_or_else(|| holder.no_inline(policy))?;
        Ok(Xml::default()
            .text(holder.parameter(), &owner)
            .text("PolicyName", policy)
            .text("PolicyDocument", &documents::encoded(document)))
    }

    pub(super) fn delete_inline(&self, form: &Form, holder: Holder) -> Result<(), Refusal> {
        let policy = name(form, "PolicyName", NAME_CHARACTERS_MAX)?;
        self.change_grants(form, holder, |grants| {
            let removed = grants.inline.remove(policy);
            removed.map(|_| ()).ok_or_else(|| holder.no_inline(policy))
        })
    }

    pub(super) fn list_inline(&self, form: &Form, holder: Holder) -> Result<Xml, Refusal> {
        let (_, grants) = self.grants(form, holder)?;
        let names: Vec<String> = grants.inline.into_keys().collect();
        let (names, next) = page(form, names, |name| name.as_str())?;
        let list = Xml::default().texts("PolicyNames", names.iter().map(String::as_str));
        Ok(paged(list, next.as_deref()))
    }

    pub(super) fn attach(&self, form: &Form, holder: Holder) -> Result<(), Refusal> {
        let arn = required(form, "PolicyArn")?;
        self.store.write(|records| {
            if self.find_policy(records, arn)?.is_none() {
                let message = format!("Policy {arn} does not exist or is not attachable.");
                return Err(no_such_entity(message));
            }
            change_in(records, form, holder, |grants| {
                // Attaching twice is no error.
                if !grants.attached.iter().any(|attached| attached == arn) {
                    if grants.attached.len() >= ATTACHED_MAX {
                        return Err(limit_exceeded("AttachedPolicies", ATTACHED_MAX));
                    }
                    grants.attached.push(arn.to_owned());
                }
                Ok(())
            })
        })
    }

    pub(super) fn detach(&self, form: &Form, holder: Holder) -> Result<(), Refusal> {
        let arn = required(form, "PolicyArn")?;
        self.change_grants(form, holder, |grants| {
            let before = grants.attached.len();
            grants.attached.retain(|attached| attached != arn);
            if grants.attached.len() == before {
                return Err(no_such_entity(format!("Policy {arn} was not found.")));
            }
            Ok(())
        })
    }

    pub(super) fn list_attached(&self, form: &Form, holder: Holder) -> Result<Xml, Refusal> {
        let (_, grants) = self.grants(form, holder)?;
        let (arns, next) = page(form, grants.attached, |arn| arn.as_str())?;
        let entry = |arn: &String| {
            let name = arn.rsplit('/').next().unwrap_or(arn);
            Xml::default()
                .text("PolicyName", name)
                .text("PolicyArn", arn)
        };
        let list = Xml::default().list("AttachedPolicies", arns.iter().map(entry));
        Ok(paged(list, next.as_deref()))
    }

    /// The holder's name and grants.
    fn grants(&self, form: &Form, holder: Holder) -> Result<(String, Grants), Refusal> {
        self.store.read(|records| match holder {
            Holder::Role => role_of(records, form).map(|role| (role.name, role.grants)),
            Holder::User => user_of(records, form).map(|user| (user.name, user.grants)),
        })
    }

    fn change_grants(
        &self,
        form: &Form,
        holder: Holder,
        change: impl FnOnce(&mut Grants) -> Result<(), Refusal>,
    ) -> Result<(), Refusal> {
        self.store
            .write(|records| change_in(records, form, holder, change))
    }
}

fn change_in(
    records: &Records<'_>,
    form: &Form,
    holder: Holder,
    change: impl FnOnce(&mut Grants) -> Result<(), Refusal>,
) -> Result<(), Refusal> {
    match holder {
        Holder::Role => {
            let mut role = role_of(records, form)?;
            change(&mut role.grants)?;
            records.put_role(&role)
        }
        Holder::User => {
            let mut user = user_of(records, form)?;
            change(&mut user.grants)?;
            records.put_user(&user)
        }
    }
}
