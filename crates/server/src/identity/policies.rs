//! Policies: inside roles, made by somebody, and AWS's own; and attaching them to roles.

use super::documents;
use super::managed::{self, Managed};
use super::roles::{date, id, role_of, tags, tags_xml};
use super::store::{Policy, Records};
use super::xml::Xml;
use super::{
    Form, Identity, Refusal, description, invalid, limit_exceeded, name, no_such_entity, page,
    paged, path, refusal, required,
};
use crate::policy::Kind;
use std::collections::BTreeMap;

const NAME_CHARACTERS_MAX: usize = 128;
const POLICIES_MAX: usize = 1500;
const ATTACHED_MAX: usize = 20;
const INLINE_MAX: usize = 100;
/// All policies inside one role together.
const INLINE_CHARACTERS_MAX: usize = 10_240;
const POLICY_CHARACTERS_MAX: usize = 6_144;
/// The one version that a policy has here.
const VERSION: &str = "v1";
/// AWS's policies carry no date of ours.
const MANAGED_CREATED_MS: i64 = 0;

impl Identity {
    pub(super) fn put_role_policy(&self, form: &Form) -> Result<(), Refusal> {
        let policy = name(form, "PolicyName", NAME_CHARACTERS_MAX)?;
        let document = required(form, "PolicyDocument")?;
        documents::check(document, Kind::Permissions, INLINE_CHARACTERS_MAX)?;
        self.change_role(form, |role| {
            role.inline.insert(policy.to_owned(), document.to_owned());
            let characters: usize = role.inline.values().map(|text| text.chars().count()).sum();
            if characters > INLINE_CHARACTERS_MAX {
                let message = format!(
                    "Maximum policy size of {INLINE_CHARACTERS_MAX} bytes exceeded for role {}",
                    role.name
                );
                return Err(refusal(409, "LimitExceeded", message));
            }
            if role.inline.len() > INLINE_MAX {
                return Err(limit_exceeded("InlinePoliciesPerRole", INLINE_MAX));
            }
            Ok(())
        })
    }

    pub(super) fn get_role_policy(&self, form: &Form) -> Result<Xml, Refusal> {
        let policy = name(form, "PolicyName", NAME_CHARACTERS_MAX)?;
        let role = self.store.read(|records| role_of(records, form))?;
        let document = role.inline.get(policy).ok_or_else(|| no_inline(policy))?;
        Ok(Xml::default()
            .text("RoleName", &role.name)
            .text("PolicyName", policy)
            .text("PolicyDocument", &documents::encoded(document)))
    }

    pub(super) fn delete_role_policy(&self, form: &Form) -> Result<(), Refusal> {
        let policy = name(form, "PolicyName", NAME_CHARACTERS_MAX)?;
        self.change_role(form, |role| {
            role.inline
                .remove(policy)
                .map(|_| ())
                .ok_or_else(|| no_inline(policy))
        })
    }

    pub(super) fn list_role_policies(&self, form: &Form) -> Result<Xml, Refusal> {
        let role = self.store.read(|records| role_of(records, form))?;
        let names: Vec<String> = role.inline.into_keys().collect();
        let (names, next) = page(form, names, |name| name.as_str())?;
        let list = Xml::default().texts("PolicyNames", names.iter().map(String::as_str));
        Ok(paged(list, next.as_deref()))
    }

    pub(super) fn attach_role_policy(&self, form: &Form) -> Result<(), Refusal> {
        let arn = required(form, "PolicyArn")?;
        self.store.write(|records| {
            let mut role = role_of(records, form)?;
            if self.find_policy(records, arn)?.is_none() {
                let message = format!("Policy {arn} does not exist or is not attachable.");
                return Err(no_such_entity(message));
            }
            // Attaching twice is no error.
            if !role.attached.iter().any(|attached| attached == arn) {
                if role.attached.len() >= ATTACHED_MAX {
                    return Err(limit_exceeded("PoliciesPerRole", ATTACHED_MAX));
                }
                role.attached.push(arn.to_owned());
            }
            records.put_role(&role)
        })
    }

    pub(super) fn detach_role_policy(&self, form: &Form) -> Result<(), Refusal> {
        let arn = required(form, "PolicyArn")?;
        self.change_role(form, |role| {
            let before = role.attached.len();
            role.attached.retain(|attached| attached != arn);
            if role.attached.len() == before {
                return Err(no_such_entity(format!("Policy {arn} was not found.")));
            }
            Ok(())
        })
    }

    pub(super) fn list_attached(&self, form: &Form) -> Result<Xml, Refusal> {
        let role = self.store.read(|records| role_of(records, form))?;
        let (arns, next) = page(form, role.attached, |arn| arn.as_str())?;
        let entry = |arn: &String| {
            let name = arn.rsplit('/').next().unwrap_or(arn);
            Xml::default()
                .text("PolicyName", name)
                .text("PolicyArn", arn)
        };
        let list = Xml::default().list("AttachedPolicies", arns.iter().map(entry));
        Ok(paged(list, next.as_deref()))
    }

    pub(super) fn create_policy(&self, form: &Form) -> Result<Xml, Refusal> {
        let name = name(form, "PolicyName", NAME_CHARACTERS_MAX)?;
        let document = required(form, "PolicyDocument")?;
        documents::check(document, Kind::Permissions, POLICY_CHARACTERS_MAX)?;
        let path = path(form)?;
        let (partition, account) = (&self.account.partition, &self.account.account);
        let policy = Policy {
            name: name.to_owned(),
            path: path.to_owned(),
            id: id("ANPA", &*self.random),
            arn: format!("arn:{partition}:iam::{account}:policy{path}{name}"),
            created: self.clock.now().0,
            description: description(form)?,
            document: document.to_owned(),
            tags: tags(form, BTreeMap::new())?,
        };
        self.store.write(|records| {
            if records.policy(name)?.is_some() {
                let message = format!(
                    "A policy called {name} already exists. Duplicate names are not allowed."
                );
                return Err(refusal(409, "EntityAlreadyExists", message));
            }
            if records.policies()?.len() >= POLICIES_MAX {
                return Err(limit_exceeded("PoliciesPerAccount", POLICIES_MAX));
            }
            records.put_policy(&policy)
        })?;
        Ok(Xml::default().nest("Policy", policy_xml(&policy, 0)))
    }

    pub(super) fn get_policy(&self, form: &Form) -> Result<Xml, Refusal> {
        let arn = required(form, "PolicyArn")?;
        let (policy, attached) = self.store.read(|records| {
            Ok((
                self.require_policy(records, arn)?,
                attachments(records, arn)?,
            ))
        })?;
        Ok(Xml::default().nest("Policy", policy_xml(&policy, attached)))
    }

    pub(super) fn get_policy_version(&self, form: &Form) -> Result<Xml, Refusal> {
        let arn = required(form, "PolicyArn")?;
        let version = required(form, "VersionId")?;
        let policy = self
            .store
            .read(|records| self.require_policy(records, arn))?;
        if version != VERSION {
            let message =
                format!("Policy {arn} version {version} does not exist or is not attachable.");
            return Err(no_such_entity(message));
        }
        let version = Xml::default()
            .text("Document", &documents::encoded(&policy.document))
            .text("VersionId", VERSION)
            .text("IsDefaultVersion", "true")
            .text("CreateDate", &date(policy.created));
        Ok(Xml::default().nest("PolicyVersion", version))
    }

    pub(super) fn delete_policy(&self, form: &Form) -> Result<(), Refusal> {
        let arn = required(form, "PolicyArn")?;
        self.store.write(|records| {
            if self.managed(arn).is_some() {
                let message = format!("Policy {arn} is AWS managed and cannot be deleted");
                return Err(refusal(403, "AccessDenied", message));
            }
            let policy = self.require_policy(records, arn)?;
            if attachments(records, arn)? > 0 {
                let message = "Cannot delete a policy attached to entities.";
                return Err(refusal(409, "DeleteConflict", message));
            }
            records.delete_policy(&policy.name)
        })
    }

    pub(super) fn list_policies(&self, form: &Form) -> Result<Xml, Refusal> {
        let scope = form.get("Scope").map_or("All", String::as_str);
        if !["All", "AWS", "Local"].contains(&scope) {
            return Err(invalid(
                "Scope",
                "Member must satisfy enum value set: [All, AWS, Local]",
            ));
        }
        let attached_only = form
            .get("OnlyAttached")
            .is_some_and(|value| value == "true");
        let prefix = form.get("PathPrefix").map_or("/", String::as_str);
        let all = self.store.read(|records| {
            let mut all = if scope == "AWS" {
                Vec::new()
            } else {
                records.policies()?
            };
            if scope != "Local" {
                all.extend(managed::ALL.iter().map(|managed| self.as_policy(managed)));
            }
            let counted = all
                .into_iter()
                .filter(|policy| policy.path.starts_with(prefix));
            let counted = counted.map(|policy| {
                let count = attachments(records, &policy.arn)?;
                Ok((policy, count))
            });
            counted.collect::<Result<Vec<_>, Refusal>>()
        })?;
        let kept = all
            .into_iter()
            .filter(|(_, count)| !attached_only || *count > 0)
            .collect();
        let (policies, next) = page(form, kept, |(policy, _)| &policy.arn)?;
        let entries = policies
            .iter()
            .map(|(policy, count)| policy_xml(policy, *count));
        Ok(paged(
            Xml::default().list("Policies", entries),
            next.as_deref(),
        ))
    }

    fn require_policy(&self, records: &Records<'_>, arn: &str) -> Result<Policy, Refusal> {
        self.find_policy(records, arn)?
            .ok_or_else(|| no_such_entity(format!("Policy {arn} was not found.")))
    }

    pub(super) fn find_policy(
        &self,
        records: &Records<'_>,
        arn: &str,
    ) -> Result<Option<Policy>, Refusal> {
        if let Some(managed) = self.managed(arn) {
            return Ok(Some(self.as_policy(managed)));
        }
        let name = arn.rsplit('/').next().unwrap_or("");
        Ok(records.policy(name)?.filter(|policy| policy.arn == arn))
    }

    fn managed(&self, arn: &str) -> Option<&'static Managed> {
        managed::ALL
            .iter()
            .find(|managed| managed.arn(&self.account.partition) == arn)
    }

    fn as_policy(&self, managed: &Managed) -> Policy {
        Policy {
            name: managed.name.into(),
            path: managed.path.into(),
            id: managed.id.into(),
            arn: managed.arn(&self.account.partition),
            created: MANAGED_CREATED_MS,
            description: Some(managed.description.into()),
            document: managed.document.into(),
            tags: BTreeMap::new(),
        }
    }
}

fn no_inline(policy: &str) -> Refusal {
    no_such_entity(format!(
        "The role policy with name {policy} cannot be found."
    ))
}

fn attachments(records: &Records<'_>, arn: &str) -> Result<usize, Refusal> {
    let roles = records.roles()?;
    Ok(roles
        .iter()
        .filter(|role| role.attached.iter().any(|attached| attached == arn))
        .count())
}

fn policy_xml(policy: &Policy, attached: usize) -> Xml {
    let xml = Xml::default()
        .text("PolicyName", &policy.name)
        .text("PolicyId", &policy.id)
        .text("Arn", &policy.arn)
        .text("Path", &policy.path)
        .text("DefaultVersionId", VERSION)
        .text("AttachmentCount", &attached.to_string())
        .text("PermissionsBoundaryUsageCount", "0")
        .text("IsAttachable", "true")
        .optional("Description", policy.description.as_deref())
        .text("CreateDate", &date(policy.created))
        .text("UpdateDate", &date(policy.created));
    if policy.tags.is_empty() {
        xml
    } else {
        xml.list("Tags", tags_xml(&policy.tags))
    }
}
