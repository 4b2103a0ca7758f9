//! Roles: make, look up, list, change, tag, delete.

use super::documents;
use super::store::{Grants, Records, Role};
use super::xml::Xml;
use super::{
    Form, Identity, Refusal, description, invalid, limit_exceeded, members, name, no_such_entity,
    page, paged, path, refusal, required,
};
use crate::policy::Kind;
use kindred_types::arn::Account;
use kindred_types::parts::{Clock, Random};
use std::collections::BTreeMap;

const NAME_CHARACTERS_MAX: usize = 64;
const ROLES_MAX: usize = 1000;
const TAGS_MAX: usize = 50;
const TRUST_CHARACTERS_MAX: usize = 4096;
const SESSION_SECONDS: std::ops::RangeInclusive<u32> = 3600..=43_200;
const ID_LETTERS: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

/// The role that exists from the first start: Personalize may use every bucket and customer key with it.
pub(super) fn ready_role(account: &Account, clock: &dyn Clock, random: &dyn Random) -> Role {
    let trust = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"personalize.amazonaws.com"},"Action":"sts:AssumeRole"}]}"#;
    let rights = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["s3:*","kms:DescribeKey","kms:Decrypt","kms:GenerateDataKey"],"Resource":"*"}]}"#;
    Role {
        name: "kindred".into(),
        path: "/".into(),
        id: id("AROA", random),
        arn: account.iam_role("kindred"),
        created: clock.now().0,
        description: Some(
            "Ready-made: Personalize may use every bucket and key of this server".into(),
        ),
        max_session_seconds: *SESSION_SECONDS.start(),
        trust: trust.into(),
        grants: Grants {
            inline: BTreeMap::from([("all-buckets".into(), rights.into())]),
            attached: Vec::new(),
        },
        tags: BTreeMap::new(),
    }
}

impl Identity {
    pub(super) fn create_role(&self, form: &Form) -> Result<Xml, Refusal> {
        let name = name(form, "RoleName", NAME_CHARACTERS_MAX)?;
        let trust = required(form, "AssumeRolePolicyDocument")?;
        documents::check(trust, Kind::Trust, TRUST_CHARACTERS_MAX)?;
        if form.contains_key("PermissionsBoundary") {
            let message = "Permissions boundaries are not supported by this server";
            return Err(refusal(400, "InvalidInput", message));
        }
        let role = Role {
            name: name.to_owned(),
            path: path(form)?.to_owned(),
            id: id("AROA", &*self.random),
            arn: self
                .account
                .iam_role(&format!("{}{name}", &path(form)?[1..])),
            created: self.clock.now().0,
            description: description(form)?,
            max_session_seconds: session_seconds(form)?,
            trust: trust.to_owned(),
            grants: Grants::default(),
            tags: tags(form, BTreeMap::new())?,
        };
        self.store.write(|records| {
            if records.role(name)?.is_some() {
                let message = format!("Role with name {name} already exists.");
                return Err(refusal(409, "EntityAlreadyExists", message));
            }
            if records.roles()?.len() >= ROLES_MAX {
                return Err(limit_exceeded("RolesPerAccount", ROLES_MAX));
            }
            records.put_role(&role)
        })?;
        Ok(Xml::default().nest("Role", role_xml(&role)))
    }

    pub(super) fn get_role(&self, form: &Form) -> Result<Xml, Refusal> {
        let role = self.store.read(|records| role_of(records, form))?;
        Ok(Xml::default().nest("Role", role_xml(&role)))
    }

    pub(super) fn list_roles(&self, form: &Form) -> Result<Xml, Refusal> {
        let prefix = form.get("PathPrefix").map_or("/", String::as_str);
        let mut roles = self.store.read(|records| records.roles())?;
        roles.retain(|role| role.path.starts_with(prefix));
        let (roles, next) = page(form, roles, |role| &role.name)?;
        let list = Xml::default().list("Roles", roles.iter().map(role_xml));
        Ok(paged(list, next.as_deref()))
    }

    pub(super) fn delete_role(&self, form: &Form) -> Result<(), Refusal> {
        self.store.write(|records| {
            let role = role_of(records, form)?;
            let conflict = |message: &str| Err(refusal(409, "DeleteConflict", message));
            if !role.grants.attached.is_empty() {
                return conflict("Cannot delete entity, must detach all policies first.");
            }
            if !role.grants.inline.is_empty() {
                return conflict("Cannot delete entity, must delete policies first.");
            }
            records.delete_role(&role.name)
        })
    }

    pub(super) fn update_trust(&self, form: &Form) -> Result<(), Refusal> {
        let trust = required(form, "PolicyDocument")?;
        documents::check(trust, Kind::Trust, TRUST_CHARACTERS_MAX)?;
        self.change_role(form, |role| {
            role.trust = trust.to_owned();
            Ok(())
        })
    }

    pub(super) fn tag_role(&self, form: &Form) -> Result<(), Refusal> {
        self.change_role(form, |role| {
            role.tags = tags(form, std::mem::take(&mut role.tags))?;
            Ok(())
        })
    }

    pub(super) fn untag_role(&self, form: &Form) -> Result<(), Refusal> {
        let keys = members(form, "TagKeys");
        self.change_role(form, |role| {
            role.tags.retain(|key, _| !keys.contains(&key.as_str()));
            Ok(())
        })
    }

    pub(super) fn list_role_tags(&self, form: &Form) -> Result<Xml, Refusal> {
        let role = self.store.read(|records| role_of(records, form))?;
        Ok(paged(
            Xml::default().list("Tags", tags_xml(&role.tags)),
            None,
        ))
    }

    /// There are no instances here, so no role has a profile; tools ask before they delete a role.
    pub(super) fn list_instance_profiles(&self, form: &Form) -> Result<Xml, Refusal> {
        self.store
            .read(|records| role_of(records, form).map(|_| ()))?;
        Ok(paged(
            Xml::default().list("InstanceProfiles", Vec::new()),
            None,
        ))
    }

    /// Changes the role that a form names, in one transaction.
    fn change_role(
        &self,
        form: &Form,
        change: impl FnOnce(&mut Role) -> Result<(), Refusal>,
    ) -> Result<(), Refusal> {
        self.store.write(|records| {
            let mut role = role_of(records, form)?;
            change(&mut role)?;
            records.put_role(&role)
        })
    }
}

/// The role that a form names.
pub(super) fn role_of(records: &Records<'_>, form: &Form) -> Result<Role, Refusal> {
    let name = name(form, "RoleName", NAME_CHARACTERS_MAX)?;
    records
        .role(name)?
        .ok_or_else(|| no_such_entity(format!("The role with name {name} cannot be found.")))
}

/// A new id in the form that IAM gives its own.
pub(super) fn id(prefix: &str, random: &dyn Random) -> String {
    let mut raw = [0u8; 17];
    random.fill(&mut raw);
    let letters = raw
        .iter()
        .map(|byte| char::from(ID_LETTERS[usize::from(byte % 32)]));
    prefix.chars().chain(letters).collect()
}

/// `2023-11-14T22:13:20Z`.
pub(super) fn date(created_ms: i64) -> String {
    let form = time::macros::format_description!("[year]-[month]-[day]T[hour]:[minute]:[second]Z");
    time::OffsetDateTime::from_unix_timestamp(created_ms.div_euclid(1000))
        .ok()
        .and_then(|date| date.format(form).ok())
        .unwrap_or_default()
}

/// The tags of a form on top of those there are.
pub(super) fn tags(
    form: &Form,
    mut tags: BTreeMap<String, String>,
) -> Result<BTreeMap<String, String>, Refusal> {
    for number in 1.. {
        let Some(key) = form.get(&format!("Tags.member.{number}.Key")) else {
            break;
        };
        let value = form
            .get(&format!("Tags.member.{number}.Value"))
            .cloned()
            .unwrap_or_default();
        if key.is_empty() || key.chars().count() > 128 || value.chars().count() > 256 {
            return Err(invalid(
                "Tags",
                "Member must have keys of 1 to 128 and values of 0 to 256 characters",
            ));
        }
        tags.insert(key.clone(), value);
        if tags.len() > TAGS_MAX {
            return Err(limit_exceeded("TagsPerRole", TAGS_MAX));
        }
    }
    Ok(tags)
}

pub(super) fn tags_xml(tags: &BTreeMap<String, String>) -> Vec<Xml> {
    tags.iter()
        .map(|(key, value)| Xml::default().text("Key", key).text("Value", value))
        .collect()
}

fn session_seconds(form: &Form) -> Result<u32, Refusal> {
    let Some(text) = form.get("MaxSessionDuration") else {
        return Ok(*SESSION_SECONDS.start());
    };
    text.parse()
        .ok()
        .filter(|seconds| SESSION_SECONDS.contains(seconds))
        .ok_or_else(|| {
            invalid(
                "MaxSessionDuration",
                "Member must have value between 3600 and 43200",
            )
        })
}

fn role_xml(role: &Role) -> Xml {
    let xml = Xml::default()
        .text("Path", &role.path)
        .text("RoleName", &role.name)
        .text("RoleId", &role.id)
        .text("Arn", &role.arn)
        .text("CreateDate", &date(role.created))
        .text("AssumeRolePolicyDocument", &documents::encoded(&role.trust))
        .optional("Description", role.description.as_deref())
        .text("MaxSessionDuration", &role.max_session_seconds.to_string());
    if role.tags.is_empty() {
        xml
    } else {
        xml.list("Tags", tags_xml(&role.tags))
    }
}
