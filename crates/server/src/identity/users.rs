//! Users: the holders of access keys that are not the operator's own.
//!
//! A user may do what its policies allow and nothing else. Its access keys are made, switched off
//! and deleted here; two at a time, so that one can be replaced by the other without a pause.

use super::roles::{date, id, tags, tags_xml};
use super::store::{AccessKey, Grants, Records, User};
use super::xml::Xml;
use super::{
    Form, Identity, Refusal, invalid, limit_exceeded, name, no_such_entity, page, paged, path,
    refusal, required,
};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use kindred_types::parts::Random;
use std::collections::BTreeMap;

const NAME_CHARACTERS_MAX: usize = 64;
const USERS_MAX: usize = 1000;
const KEYS_PER_USER_MAX: usize = 2;
/// Random bytes of a secret; 40 letters in base 64, as AWS's have.
const SECRET_BYTES: usize = 30;
const ID_LETTERS: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

impl Identity {
    pub(super) fn create_user(&self, form: &Form) -> Result<Xml, Refusal> {
        let name = name(form, "UserName", NAME_CHARACTERS_MAX)?;
        if form.contains_key("PermissionsBoundary") {
            let message = "Permissions boundaries are not supported by this server";
            return Err(refusal(400, "InvalidInput", message));
        }
        let path = path(form)?;
        let (partition, account) = (&self.account.partition, &self.account.account);
        let user = User {
            name: name.to_owned(),
            path: path.to_owned(),
            id: id("AIDA", &*self.random),
            arn: format!("arn:{partition}:iam::{account}:user{path}{name}"),
            created: self.clock.now().0,
            grants: Grants::default(),
            tags: tags(form, BTreeMap::new())?,
        };
        self.store.write(|records| {
            if records.user(name)?.is_some() {
                let message = format!("User with name {name} already exists.");
                return Err(refusal(409, "EntityAlreadyExists", message));
            }
            if records.users()?.len() >= USERS_MAX {
                return Err(limit_exceeded("UsersPerAccount", USERS_MAX));
            }
            records.put_user(&user)
        })?;
        Ok(Xml::default().nest("User", user_xml(&user)))
    }

    pub(super) fn get_user(&self, form: &Form) -> Result<Xml, Refusal> {
        let user = self.store.read(|records| user_of(records, form))?;
        Ok(Xml::default().nest("User", user_xml(&user)))
    }

    pub(super) fn list_users(&self, form: &Form) -> Result<Xml, Refusal> {
        let prefix = form.get("PathPrefix").map_or("/", String::as_str);
        let mut users = self.store.read(|records| records.users())?;
        users.retain(|user| user.path.starts_with(prefix));
        let (users, next) = page(form, users, |user| &user.name)?;
        let list = Xml::default().list("Users", users.iter().map(user_xml));
        Ok(paged(list, next.as_deref()))
    }

    pub(super) fn delete_user(&self, form: &Form) -> Result<(), Refusal> {
        self.store.write(|records| {
            let user = user_of(records, form)?;
            let conflict = |message: &str| Err(refusal(409, "DeleteConflict", message));
            if !user.grants.attached.is_empty() {
                return conflict("Cannot delete entity, must detach all policies first.");
            }
            if !user.grants.inline.is_empty() {
                return conflict("Cannot delete entity, must delete policies first.");
            }
            if !keys_of(records, &user.name)?.is_empty() {
                return conflict("Cannot delete entity, must delete access keys first.");
            }
            records.delete_user(&user.name)
        })
    }

    pub(super) fn create_access_key(&self, form: &Form) -> Result<Xml, Refusal> {
        let key = self.store.write(|records| {
            let user = user_of(records, form)?;
            if keys_of(records, &user.name)?.len() >= KEYS_PER_USER_MAX {
                return Err(limit_exceeded("AccessKeysPerUser", KEYS_PER_USER_MAX));
            }
            let key = AccessKey {
                id: key_id("AKIA", &*self.random),
                secret: secret(&*self.random),
                user: user.name,
                active: true,
                created: self.clock.now().0,
            };
            records.put_access_key(&key)?;
            Ok(key)
        })?;
        let xml = key_xml(&key).text("SecretAccessKey", &key.secret);
        Ok(Xml::default().nest("AccessKey", xml))
    }

    pub(super) fn list_access_keys(&self, form: &Form) -> Result<Xml, Refusal> {
        let keys = self
            .store
            .read(|records| keys_of(records, &user_of(records, form)?.name))?;
        let (keys, next) = page(form, keys, |key| &key.id)?;
        let list = Xml::default().list("AccessKeyMetadata", keys.iter().map(key_xml));
        Ok(paged(list, next.as_deref()))
    }

    pub(super) fn update_access_key(&self, form: &Form) -> Result<(), Refusal> {
        let active = match required(form, "Status")? {
            "Active" => true,
            "Inactive" => false,
            _ => {
                return Err(invalid(
                    "Status",
                    "Member must satisfy enum value set: [Active, Inactive]",
                ));
            }
        };
        self.store.write(|records| {
            let mut key = key_of(records, form)?;
            key.active = active;
            records.put_access_key(&key)
        })
    }

    pub(super) fn delete_access_key(&self, form: &Form) -> Result<(), Refusal> {
        self.store.write(|records| {
            let key = key_of(records, form)?;
            records.delete_access_key(&key.id)
        })
    }
}

/// The user that a form names.
pub(super) fn user_of(records: &Records<'_>, form: &Form) -> Result<User, Refusal> {
    if !form.contains_key("UserName") {
        let message = "Must specify userName when calling with non-User credentials";
        return Err(refusal(400, "ValidationError", message));
    }
    let name = name(form, "UserName", NAME_CHARACTERS_MAX)?;
    records
        .user(name)?
        .ok_or_else(|| no_such_entity(format!("The user with name {name} cannot be found.")))
}

/// The access key that a form names, which has to be the named user's.
fn key_of(records: &Records<'_>, form: &Form) -> Result<AccessKey, Refusal> {
    let id = required(form, "AccessKeyId")?;
    let user = user_of(records, form)?;
    records
        .access_key(id)?
        .filter(|key| key.user == user.name)
        .ok_or_else(|| no_such_entity(format!("The Access Key with id {id} cannot be found.")))
}

fn keys_of(records: &Records<'_>, user: &str) -> Result<Vec<AccessKey>, Refusal> {
    let mut keys = records.access_keys()?;
    keys.retain(|key| key.user == user);
    Ok(keys)
}

/// An access key id: a prefix that says its kind, then sixteen letters.
pub(super) fn key_id(prefix: &str, random: &dyn Random) -> String {
    let mut raw = [0u8; 16];
    random.fill(&mut raw);
    let letters = raw
        .iter()
        .map(|byte| char::from(ID_LETTERS[usize::from(byte % 32)]));
    prefix.chars().chain(letters).collect()
}

/// A secret of forty letters.
pub(super) fn secret(random: &dyn Random) -> String {
    let mut raw = [0u8; SECRET_BYTES];
    random.fill(&mut raw);
    STANDARD.encode(raw)
}

fn user_xml(user: &User) -> Xml {
    let xml = Xml::default()
        .text("Path", &user.path)
        .text("UserName", &user.name)
        .text("UserId", &user.id)
        .text("Arn", &user.arn)
        .text("CreateDate", &date(user.created));
    if user.tags.is_empty() {
        xml
    } else {
        xml.list("Tags", tags_xml(&user.tags))
    }
}

/// What may be shown of a key at any time: all but its secret.
fn key_xml(key: &AccessKey) -> Xml {
    Xml::default()
        .text("UserName", &key.user)
        .text("AccessKeyId", &key.id)
        .text("Status", if key.active { "Active" } else { "Inactive" })
        .text("CreateDate", &date(key.created))
}
