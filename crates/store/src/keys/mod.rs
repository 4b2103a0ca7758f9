//! Keys that wrap data keys, as everything that encrypts sees them.
//!
//! A key service holds keys that never leave it. It makes data keys and hands them out twice: in
//! the clear, to encrypt with, and wrapped by the key, to be kept beside what was encrypted. To read
//! it again the wrapped form goes back to the service, which refuses when the key is disabled or
//! gone. The embedded service is [`KeyRing`]; another one may stand behind the same trait.
//!
//! A context is bound to a wrapped data key: unwrapping needs the same one. It is no secret.

mod file;
pub mod master;
mod ring;

pub use ring::{DESCRIPTION_CHARACTERS_MAX, KEYS_MAX, KeyInfo, KeyRing, VERSIONS_MAX};

use crate::Error;
use std::collections::BTreeMap;
use zeroize::Zeroizing;

/// Bytes of every key: AES-256.
pub const KEY_BYTES: usize = 32;

/// What a wrapped data key is bound to: names and values, in the order of the names.
pub type Context = BTreeMap<String, String>;

/// A key in the clear. Wiped when dropped, never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Zeroizing<[u8; KEY_BYTES]>);

impl Secret {
    /// Takes over key material.
    pub fn new(bytes: [u8; KEY_BYTES]) -> Self {
        Secret(Zeroizing::new(bytes))
    }

    /// Takes over key material, if it has the length of a key.
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        <[u8; KEY_BYTES]>::try_from(bytes).ok().map(Secret::new)
    }

    /// Draws a fresh key.
    pub fn draw(random: &dyn kindred_types::parts::Random) -> Self {
        let mut bytes = Zeroizing::new([0; KEY_BYTES]);
        random.fill(&mut bytes[..]);
        Secret(bytes)
    }

    /// The key material.
    pub fn bytes(&self) -> &[u8; KEY_BYTES] {
        &self.0
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(****)")
    }
}

/// A data key: in the clear for now, wrapped for later.
#[derive(Clone, Debug)]
pub struct DataKey {
    /// The key that wrapped it, as an ARN.
    pub key_arn: String,
    /// What is kept beside the encrypted bytes.
    pub wrapped: Vec<u8>,
    /// What encrypts.
    pub secret: Secret,
}

/// Why a key could not be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyProblem {
    /// There is no such key.
    NotFound,
    /// It is disabled.
    Disabled,
    /// The caller, or the role that a job acts as, may not use it.
    Denied,
    /// The wrapped data key was not made by it, or not for this.
    Ciphertext,
}

impl std::fmt::Display for KeyProblem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            KeyProblem::NotFound => "the key does not exist",
            KeyProblem::Disabled => "the key is disabled",
            KeyProblem::Denied => "there is no right to it",
            KeyProblem::Ciphertext => "the data key was not wrapped by it, or not for this",
        })
    }
}

/// A service that holds keys. Blocking: it is called from job threads, next to files.
pub trait KeyService: Send + Sync + std::fmt::Debug {
    /// The ARN of a key that can be used now; `key` is its ARN or its id.
    fn describe(&self, key: &str) -> Result<String, Error>;

    /// A fresh data key, wrapped by `key` and bound to `context`.
    fn generate_data_key(&self, key: &str, context: &Context) -> Result<DataKey, Error>;

    /// The data key in `wrapped`, which `key` wrapped for `context`.
    fn decrypt(&self, key: &str, wrapped: &[u8], context: &Context) -> Result<Secret, Error>;
}

/// A service without any key.
#[derive(Clone, Copy, Debug)]
pub struct NoKeys;

impl KeyService for NoKeys {
    fn describe(&self, key: &str) -> Result<String, Error> {
        Err(refused("kms:DescribeKey", key, KeyProblem::NotFound))
    }

    fn generate_data_key(&self, key: &str, _context: &Context) -> Result<DataKey, Error> {
        Err(refused("kms:GenerateDataKey", key, KeyProblem::NotFound))
    }

    fn decrypt(&self, key: &str, _wrapped: &[u8], _context: &Context) -> Result<Secret, Error> {
        Err(refused("kms:Decrypt", key, KeyProblem::NotFound))
    }
}

/// The error of a refused operation.
pub fn refused(operation: &'static str, key: &str, problem: KeyProblem) -> Error {
    Error::Key {
        operation,
        key: key.to_owned(),
        problem,
    }
}
