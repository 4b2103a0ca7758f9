//! The embedded key service: keys in one sealed file of the data directory.
//!
//! A key has versions. The newest one wraps, all of them unwrap, so a rotation makes nothing
//! unreadable. A disabled key does neither. Keys are never deleted: what they wrapped would be lost
//! with them. Every change is on disk before it is acknowledged.
//!
//! Wrapped bytes are: form (1 byte), key id (16), version (4), nonce (12), then the bytes under
//! AES-256-GCM, bound to the key's ARN and the context. The key id inside lets Decrypt find the key.

use super::master::MasterKey;
use super::{Context, DataKey, KeyProblem, KeyService, Secret, file, refused};
use crate::Error;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use kindred_types::arn::Account;
use kindred_types::parts::{Clock, Random, random_uuid};
use kindred_types::time::Timestamp;
use ring::aead::{Aad, NONCE_LEN, Nonce};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use zeroize::Zeroizing;

/// Most keys in a ring.
pub const KEYS_MAX: usize = 10_000;
/// Most versions of one key.
pub const VERSIONS_MAX: usize = 1_000;
/// Most characters of a description, as in the service's model.
pub const DESCRIPTION_CHARACTERS_MAX: usize = 8_192;
/// First byte of wrapped bytes.
const FORM: u8 = 1;
const ID_BYTES: usize = 16;
const HEAD_BYTES: usize = 1 + ID_BYTES + 4 + NONCE_LEN;

/// The keys of one data directory.
pub struct KeyRing {
    path: PathBuf,
    account: Account,
    master: MasterKey,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
    keys: Mutex<Vec<Key>>,
}

impl std::fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "KeyRing({}, {} keys)",
            self.path.display(),
            self.lock().len()
        )
    }
}

/// What anybody may know about a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyInfo {
    /// A UUID.
    pub id: String,
    /// `arn:aws:kms:<region>:<account>:key/<id>`.
    pub arn: String,
    /// As given.
    pub description: String,
    /// Whether it may be used.
    pub enabled: bool,
    /// When it was made.
    pub created: Timestamp,
    /// When its newest version was made, if it was rotated.
    pub rotated: Option<Timestamp>,
    /// How many versions it has.
    pub versions: usize,
}

#[derive(Clone, Serialize, Deserialize)]
struct Key {
    id: String,
    description: String,
    enabled: bool,
    created: i64,
    /// Ascending; never empty.
    versions: Vec<Version>,
}

#[derive(Clone, Serialize, Deserialize)]
struct Version {
    number: u32,
    created: i64,
    /// Base64 of the key material; the whole document is sealed.
    material: Zeroizing<String>,
}

impl KeyRing {
    /// Opens the ring at `path`; where there is no file it has no keys.
    ///
    /// # Errors
    /// When the file cannot be opened with the master key, or there is a file and no master key.
    pub fn open(
        path: &Path,
        account: Account,
        master: MasterKey,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
    ) -> Result<Self, Error> {
        let keys = match master.find()? {
            Some(secret) => file::read(path, &secret)?,
            None if path.exists() => {
                return Err(Error::Invalid(format!(
                    "the key ring {} is sealed with a master key, and there is none",
                    path.display()
                )));
            }
            None => None,
        };
        let keys = match keys {
            None => Vec::new(),
            Some(document) => serde_json::from_slice::<Vec<Key>>(&document).map_err(|error| {
                Error::Invalid(format!("the key ring {}: {error}", path.display()))
            })?,
        };
        Ok(KeyRing {
            path: path.to_owned(),
            account,
            master,
            clock,
            random,
            keys: Mutex::new(keys),
        })
    }

    /// Makes a key.
    pub fn create(&self, description: &str) -> Result<KeyInfo, Error> {
        if description.chars().count() > DESCRIPTION_CHARACTERS_MAX {
            return Err(Error::TooLarge {
                what: "the description of a key",
                limit: DESCRIPTION_CHARACTERS_MAX as u64,
            });
        }
        self.change(|keys| {
            if keys.len() >= KEYS_MAX {
                return Err(Error::TooLarge {
                    what: "the number of keys",
                    limit: KEYS_MAX as u64,
                });
            }
            keys.push(Key {
                id: random_uuid(&*self.random),
                description: description.to_owned(),
                enabled: true,
                created: self.clock.now().0,
                versions: vec![self.version(1)],
            });
            Ok(keys.len() - 1)
        })
    }

    /// Lets a key be used, or stops that.
    pub fn set_enabled(&self, key: &str, enabled: bool) -> Result<KeyInfo, Error> {
        let operation = if enabled {
            "kms:EnableKey"
        } else {
            "kms:DisableKey"
        };
        self.change(|keys| {
            let at = self.position(keys, operation, key)?;
            keys[at].enabled = enabled;
            Ok(at)
        })
    }

    /// Gives a key a new version, which wraps from now on.
    pub fn rotate(&self, key: &str) -> Result<KeyInfo, Error> {
        let operation = "kms:RotateKeyOnDemand";
        self.change(|keys| {
            let at = self.position(keys, operation, key)?;
            let key = &mut keys[at];
            if !key.enabled {
                return Err(refused(operation, &self.arn(&key.id), KeyProblem::Disabled));
            }
            if key.versions.len() >= VERSIONS_MAX {
                return Err(Error::TooLarge {
                    what: "the number of versions of a key",
                    limit: VERSIONS_MAX as u64,
                });
            }
            let next = key.versions.last().map_or(0, |version| version.number) + 1;
            key.versions.push(self.version(next));
            Ok(at)
        })
    }

    /// All keys, in the order in which they were made.
    pub fn list(&self) -> Vec<KeyInfo> {
        self.lock().iter().map(|key| self.info(key)).collect()
    }

    /// What is known about a key, enabled or not.
    pub fn info_of(&self, key: &str) -> Result<KeyInfo, Error> {
        let keys = self.lock();
        let at = self.position(&keys, "kms:DescribeKey", key)?;
        Ok(self.info(&keys[at]))
    }

    /// ARN of the key that wrapped bytes name, whether it is here or not.
    pub fn key_of(&self, wrapped: &[u8]) -> Option<String> {
        let (form, rest) = wrapped.split_first()?;
        let id = rest.get(..ID_BYTES)?;
        (*form == FORM).then(|| self.arn(&id_text(id)))
    }

    /// Encrypts bytes with the newest version of a key; gives its ARN and the wrapped bytes.
    pub fn wrap(
        &self,
        operation: &'static str,
        key: &str,
        plain: &[u8],
        context: &Context,
    ) -> Result<(String, Vec<u8>), Error> {
        let keys = self.lock();
        let key = &keys[self.usable(&keys, operation, key)?];
        let arn = self.arn(&key.id);
        let broken = || refused(operation, &arn, KeyProblem::NotFound);
        let version = key.versions.last().ok_or_else(broken)?;
        let id = id_bytes(&key.id).ok_or_else(broken)?;
        let mut nonce = [0; NONCE_LEN];
        self.random.fill(&mut nonce);
        let mut sealed = plain.to_vec();
        file::key(&version.secret().ok_or_else(broken)?)
            .seal_in_place_append_tag(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(bound(&arn, version.number, context)),
                &mut sealed,
            )
            .map_err(|_| broken())?;
        let mut wrapped = Vec::with_capacity(HEAD_BYTES + sealed.len());
        wrapped.push(FORM);
        wrapped.extend_from_slice(&id);
        wrapped.extend_from_slice(&version.number.to_be_bytes());
        wrapped.extend_from_slice(&nonce);
        wrapped.extend_from_slice(&sealed);
        Ok((arn, wrapped))
    }

    /// Decrypts wrapped bytes; with `key`, only what that key wrapped. Gives the key's ARN, too.
    pub fn unwrap(
        &self,
        key: Option<&str>,
        wrapped: &[u8],
        context: &Context,
    ) -> Result<(String, Zeroizing<Vec<u8>>), Error> {
        let operation = "kms:Decrypt";
        let named = key.unwrap_or("(named in the ciphertext)");
        let foreign = || refused(operation, named, KeyProblem::Ciphertext);
        let (head, sealed) = wrapped.split_at_checked(HEAD_BYTES).ok_or_else(foreign)?;
        if head[0] != FORM {
            return Err(foreign());
        }
        let id = id_text(&head[1..1 + ID_BYTES]);
        let number = head[1 + ID_BYTES..HEAD_BYTES - NONCE_LEN]
            .try_into()
            .map(u32::from_be_bytes)
            .map_err(|_| foreign())?;
        let keys = self.lock();
        if let Some(key) = key {
            let asked = self.position(&keys, operation, key)?;
            if keys[asked].id != id {
                return Err(foreign());
            }
        }
        let arn = self.arn(&id);
        let key = &keys[self.usable(&keys, operation, &arn)?];
        let version = key.versions.iter().find(|version| version.number == number);
        let secret = version.and_then(Version::secret).ok_or_else(foreign)?;
        let nonce = Nonce::try_assume_unique_for_key(&head[HEAD_BYTES - NONCE_LEN..])
            .map_err(|_| foreign())?;
        let mut plain = Zeroizing::new(sealed.to_vec());
        let length = file::key(&secret)
            .open_in_place(nonce, Aad::from(bound(&arn, number, context)), &mut plain)
            .map_err(|_| refused(operation, &arn, KeyProblem::Ciphertext))?
            .len();
        plain.truncate(length);
        Ok((arn, plain))
    }

    /// Changes the keys, on disk first. `work` gives the position of the key it changed.
    fn change(
        &self,
        work: impl FnOnce(&mut Vec<Key>) -> Result<usize, Error>,
    ) -> Result<KeyInfo, Error> {
        let mut keys = self.lock();
        let mut changed = keys.clone();
        let at = work(&mut changed)?;
        let master = self.master.find_or_make(&*self.random)?;
        let document = serde_json::to_vec(&changed).map(Zeroizing::new);
        let document = document.map_err(|error| Error::Invalid(error.to_string()))?;
        file::write(&self.path, &master, &document, &*self.random)?;
        *keys = changed;
        Ok(self.info(&keys[at]))
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Key>> {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn arn(&self, id: &str) -> String {
        self.account.kms_key(id)
    }

    fn position(&self, keys: &[Key], operation: &'static str, key: &str) -> Result<usize, Error> {
        // A UUID is told from an ARN by its length alone; both are compared whole.
        keys.iter()
            .position(|held| held.id == key || self.arn(&held.id) == key)
            .ok_or_else(|| refused(operation, key, KeyProblem::NotFound))
    }

    fn usable(&self, keys: &[Key], operation: &'static str, key: &str) -> Result<usize, Error> {
        let at = self.position(keys, operation, key)?;
        if keys[at].enabled {
            Ok(at)
        } else {
            let arn = self.arn(&keys[at].id);
            Err(refused(operation, &arn, KeyProblem::Disabled))
        }
    }

    fn version(&self, number: u32) -> Version {
        let secret = Secret::draw(&*self.random);
        Version {
            number,
            created: self.clock.now().0,
            material: Zeroizing::new(STANDARD.encode(secret.bytes())),
        }
    }

    fn info(&self, key: &Key) -> KeyInfo {
        let rotated = key.versions.last().filter(|_| key.versions.len() > 1);
        KeyInfo {
            id: key.id.clone(),
            arn: self.arn(&key.id),
            description: key.description.clone(),
            enabled: key.enabled,
            created: Timestamp(key.created),
            rotated: rotated.map(|version| Timestamp(version.created)),
            versions: key.versions.len(),
        }
    }
}

impl KeyService for KeyRing {
    fn describe(&self, key: &str) -> Result<String, Error> {
        let keys = self.lock();
        let at = self.usable(&keys, "kms:DescribeKey", key)?;
        Ok(self.arn(&keys[at].id))
    }

    fn generate_data_key(&self, key: &str, context: &Context) -> Result<DataKey, Error> {
        let secret = Secret::draw(&*self.random);
        let operation = "kms:GenerateDataKey";
        let (key_arn, wrapped) = self.wrap(operation, key, secret.bytes(), context)?;
        Ok(DataKey {
            key_arn,
            wrapped,
            secret,
        })
    }

    fn decrypt(&self, key: &str, wrapped: &[u8], context: &Context) -> Result<Secret, Error> {
        let (arn, plain) = self.unwrap(Some(key), wrapped, context)?;
        Secret::from_slice(&plain)
            .ok_or_else(|| refused("kms:Decrypt", &arn, KeyProblem::Ciphertext))
    }
}

impl Version {
    fn secret(&self) -> Option<Secret> {
        let bytes = STANDARD.decode(self.material.as_bytes()).ok()?;
        Secret::from_slice(&Zeroizing::new(bytes))
    }
}

/// What wrapped bytes are bound to. Lengths keep ("ab", "c") and ("a", "bc") apart.
fn bound(arn: &str, version: u32, context: &Context) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut add = |part: &[u8]| {
        bytes.extend_from_slice(&(part.len() as u64).to_be_bytes());
        bytes.extend_from_slice(part);
    };
    add(arn.as_bytes());
    add(&version.to_be_bytes());
    for (name, value) in context {
        add(name.as_bytes());
        add(value.as_bytes());
    }
    bytes
}

fn id_bytes(id: &str) -> Option<[u8; ID_BYTES]> {
    hex::decode(id.replace('-', "")).ok()?.try_into().ok()
}

fn id_text(bytes: &[u8]) -> String {
    let hex = hex::encode(bytes);
    let parts = [0..8, 8..12, 12..16, 16..20, 20..32];
    parts.map(|part| &hex[part]).join("-")
}
