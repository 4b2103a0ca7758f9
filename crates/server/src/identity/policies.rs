//! Policies that stand by themselves: made by somebody, and AWS's own.

use super::documents;
use super::grants::NAME_CHARACTERS_MAX;
use super::managed::{self, Managed};
use super::roles::{date, id, tags, tags_xml};
use super::store::{Policy, Records};
use super::xml::Xml;
use super::{
    Form, Identity, Refusal, description, invalid, limit_exceeded, name, no_such_entity, page,
    paged, path, refusal, required,
};
use crate::policy::Kind;
use std::collections::BTreeMap;

const POLICIES_MAX: usize = 1500;
const POLICY_CHARACTERS_MAX: usize = 6_144;
/// The one version that a policy has here.
const VERSION: &str = "v1";
/// AWS's policies carry no date of ours.
const MANAGED_CREATED_MS: i64 = 0;

impl Identity {
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

fn attachments(records: &Records<'_>, arn: &str) -> Result<usize, Refusal> {
    let (roles, users) = (records.roles()?, records.users()?);
    let grants = roles.iter().map(|role| &role.grants);
    Ok(grants
        .chain(users.iter().map(|user| &user.grants))
        .filter(|grants| grants.attached.iter().any(|attached| attached == arn))
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
