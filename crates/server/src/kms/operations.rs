//! The operations on keys: members of a request in, members of the answer out.

use super::Refusal;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use kindred_store::KeyRing;
use kindred_store::keys::{Context, KeyInfo};
use kindred_types::arn::Account;
use kindred_types::parts::Random;
use serde_json::{Map, Value, json};
use zeroize::Zeroizing;

/// Most bytes that Encrypt takes.
const PLAINTEXT_BYTES_MAX: usize = 4096;
/// Most bytes that Decrypt takes.
const CIPHERTEXT_BYTES_MAX: usize = 6144;
/// Most bytes of a data key.
const DATA_KEY_BYTES_MAX: u64 = 1024;
/// Most characters of all names and values of an encryption context.
const CONTEXT_CHARACTERS_MAX: usize = 8192;
const LIST_DEFAULT: u64 = 100;
const LIST_MAX: u64 = 1000;
const ALGORITHM: &str = "SYMMETRIC_DEFAULT";

/// The operations that there are.
pub(super) const NAMES: [&str; 10] = [
    "CreateKey",
    "Decrypt",
    "DescribeKey",
    "DisableKey",
    "EnableKey",
    "Encrypt",
    "GenerateDataKey",
    "GenerateDataKeyWithoutPlaintext",
    "ListKeys",
    "RotateKeyOnDemand",
];

/// One request.
pub(super) struct Call<'c> {
    pub(super) ring: &'c KeyRing,
    pub(super) account: &'c Account,
    pub(super) random: &'c dyn Random,
    pub(super) input: &'c Map<String, Value>,
}

type Answer = Result<Value, Refusal>;

impl Call<'_> {
    pub(super) fn answer(&self, name: &str) -> Answer {
        match name {
            "CreateKey" => self.create_key(),
            "DescribeKey" => self.describe_key(),
            "ListKeys" => self.list_keys(),
            "EnableKey" => self.set_enabled(true),
            "DisableKey" => self.set_enabled(false),
            "RotateKeyOnDemand" => self.rotate(),
            "Encrypt" => self.encrypt(),
            "Decrypt" => self.decrypt(),
            "GenerateDataKey" => self.generate_data_key(true),
            "GenerateDataKeyWithoutPlaintext" => self.generate_data_key(false),
            _ => Err(Refusal::new(
                "UnknownOperationException",
                format!("Operation {name} is not supported by this server."),
            )),
        }
    }

    /// ARN of the key that the request is about; `*` for none in particular.
    pub(super) fn resource(&self) -> String {
        let wrapped = || {
            let wrapped = self.bytes("CiphertextBlob", CIPHERTEXT_BYTES_MAX).ok()?;
            self.ring.key_of(&wrapped)
        };
        match self.key() {
            Ok(key) if key.starts_with("arn:") => key.to_owned(),
            Ok(key) => self.account.kms_key(key),
            Err(_) => wrapped().unwrap_or_else(|| "*".to_owned()),
        }
    }

    fn create_key(&self) -> Answer {
        self.takes(&[
            "Description",
            "KeyUsage",
            "KeySpec",
            "CustomerMasterKeySpec",
            "Origin",
        ])?;
        self.only("KeyUsage", "ENCRYPT_DECRYPT")?;
        self.only("KeySpec", ALGORITHM)?;
        self.only("CustomerMasterKeySpec", ALGORITHM)?;
        self.only("Origin", "AWS_KMS")?;
        let key = self
            .ring
            .create(self.text("Description")?.unwrap_or_default())?;
        tracing::info!(key = %key.arn, "made a key");
        Ok(json!({"KeyMetadata": self.metadata(&key)}))
    }

    fn describe_key(&self) -> Answer {
        self.takes(&["KeyId"])?;
        let key = self.ring.info_of(self.key()?)?;
        Ok(json!({"KeyMetadata": self.metadata(&key)}))
    }

    fn list_keys(&self) -> Answer {
        self.takes(&["Limit", "Marker"])?;
        let limit = self.number("Limit", 1..=LIST_MAX)?.unwrap_or(LIST_DEFAULT) as usize;
        let keys = self.ring.list();
        let start = match self.text("Marker")? {
            None => 0,
            Some(marker) => match keys.iter().position(|key| key.id == marker) {
                Some(at) => at + 1,
                None => {
                    let message = "The marker was not given by this server.";
                    return Err(Refusal::new("InvalidMarkerException", message));
                }
            },
        };
        let page = &keys[start..keys.len().min(start + limit)];
        let listed = page
            .iter()
            .map(|key| json!({"KeyId": key.id, "KeyArn": key.arn}));
        let truncated = start + page.len() < keys.len();
        let mut answer = json!({"Keys": listed.collect::<Vec<_>>(), "Truncated": truncated});
        if let Some(last) = page.last().filter(|_| truncated) {
            answer["NextMarker"] = last.id.clone().into();
        }
        Ok(answer)
    }

    fn set_enabled(&self, enabled: bool) -> Answer {
        self.takes(&["KeyId"])?;
        let key = self.ring.set_enabled(self.key()?, enabled)?;
        tracing::info!(key = %key.arn, enabled, "a key was enabled or disabled");
        Ok(json!({}))
    }

    fn rotate(&self) -> Answer {
        self.takes(&["KeyId"])?;
        let key = self.ring.rotate(self.key()?)?;
        tracing::info!(key = %key.arn, versions = key.versions, "a key was rotated");
        Ok(json!({"KeyId": key.id}))
    }

    fn encrypt(&self) -> Answer {
        self.takes(&[
            "KeyId",
            "Plaintext",
            "EncryptionContext",
            "EncryptionAlgorithm",
        ])?;
        self.only("EncryptionAlgorithm", ALGORITHM)?;
        let plain = Zeroizing::new(self.bytes("Plaintext", PLAINTEXT_BYTES_MAX)?);
        let context = self.context()?;
        let (arn, wrapped) = self
            .ring
            .wrap("kms:Encrypt", self.key()?, &plain, &context)?;
        Ok(json!({
            "KeyId": arn,
            "CiphertextBlob": STANDARD.encode(wrapped),
            "EncryptionAlgorithm": ALGORITHM,
        }))
    }

    fn decrypt(&self) -> Answer {
        self.takes(&[
            "KeyId",
            "CiphertextBlob",
            "EncryptionContext",
            "EncryptionAlgorithm",
        ])?;
        self.only("EncryptionAlgorithm", ALGORITHM)?;
        let wrapped = self.bytes("CiphertextBlob", CIPHERTEXT_BYTES_MAX)?;
        let key = self.text("KeyId")?;
        let (arn, plain) = self.ring.unwrap(key, &wrapped, &self.context()?)?;
        Ok(json!({
            "KeyId": arn,
            "Plaintext": STANDARD.encode(&plain),
            "EncryptionAlgorithm": ALGORITHM,
        }))
    }

    fn generate_data_key(&self, with_plaintext: bool) -> Answer {
        self.takes(&["KeyId", "KeySpec", "NumberOfBytes", "EncryptionContext"])?;
        let bytes = self.number("NumberOfBytes", 1..=DATA_KEY_BYTES_MAX)?;
        let bytes = match (self.text("KeySpec")?, bytes) {
            (Some("AES_256"), None) => 32,
            (Some("AES_128"), None) => 16,
            (None, Some(bytes)) => bytes,
            _ => {
                let message = "Give either KeySpec, AES_256 or AES_128, or NumberOfBytes.";
                return Err(Refusal::invalid(message));
            }
        };
        let mut plain = Zeroizing::new(vec![0; bytes as usize]);
        self.random.fill(&mut plain);
        let operation = if with_plaintext {
            "kms:GenerateDataKey"
        } else {
            "kms:GenerateDataKeyWithoutPlaintext"
        };
        let context = self.context()?;
        let (arn, wrapped) = self.ring.wrap(operation, self.key()?, &plain, &context)?;
        let mut answer = json!({"KeyId": arn, "CiphertextBlob": STANDARD.encode(wrapped)});
        if with_plaintext {
            answer["Plaintext"] = STANDARD.encode(&plain).into();
        }
        Ok(answer)
    }

    fn metadata(&self, key: &KeyInfo) -> Value {
        json!({
            "AWSAccountId": self.account.account,
            "KeyId": key.id,
            "Arn": key.arn,
            "CreationDate": key.created.0 as f64 / 1000.0,
            "Enabled": key.enabled,
            "Description": key.description,
            "KeyUsage": "ENCRYPT_DECRYPT",
            "KeyState": if key.enabled { "Enabled" } else { "Disabled" },
            "Origin": "AWS_KMS",
            "KeyManager": "CUSTOMER",
            "CustomerMasterKeySpec": ALGORITHM,
            "KeySpec": ALGORITHM,
            "EncryptionAlgorithms": [ALGORITHM],
            "MultiRegion": false,
        })
    }

    /// Refuses members that are not among those that are looked at; empty ones ask for nothing.
    fn takes(&self, members: &[&str]) -> Result<(), Refusal> {
        let asks = |value: &Value| match value {
            Value::Null | Value::Bool(false) => false,
            Value::Array(values) => !values.is_empty(),
            _ => true,
        };
        let other =
            |(name, value): &(&String, &Value)| !members.contains(&name.as_str()) && asks(value);
        match self.input.iter().find(other) {
            None => Ok(()),
            Some((name, _)) => Err(Refusal::new(
                "UnsupportedOperationException",
                format!("{name} is not supported by this server. Leave it out."),
            )),
        }
    }

    fn only(&self, member: &str, value: &str) -> Result<(), Refusal> {
        match self.text(member)? {
            None => Ok(()),
            Some(given) if given == value => Ok(()),
            Some(given) => Err(Refusal::new(
                "UnsupportedOperationException",
                format!("{member} {given} is not supported by this server; only {value} is."),
            )),
        }
    }

    fn text(&self, member: &str) -> Result<Option<&str>, Refusal> {
        match self.input.get(member) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(wrong_type(member, "a string")),
        }
    }

    fn number(
        &self,
        member: &str,
        range: std::ops::RangeInclusive<u64>,
    ) -> Result<Option<u64>, Refusal> {
        match self.input.get(member) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => match value.as_u64() {
                Some(number) if range.contains(&number) => Ok(Some(number)),
                _ => Err(Refusal::invalid(format!(
                    "{member} must be a whole number from {} to {}.",
                    range.start(),
                    range.end()
                ))),
            },
        }
    }

    fn key(&self) -> Result<&str, Refusal> {
        let key = self.text("KeyId")?.filter(|key| !key.is_empty());
        key.ok_or_else(|| Refusal::invalid("KeyId is required."))
    }

    fn bytes(&self, member: &str, bytes_max: usize) -> Result<Vec<u8>, Refusal> {
        let text = self
            .text(member)?
            .ok_or_else(|| Refusal::invalid(format!("{member} is required.")))?;
        let bytes = STANDARD
            .decode(text)
            .map_err(|_| wrong_type(member, "base64"))?;
        if (1..=bytes_max).contains(&bytes.len()) {
            return Ok(bytes);
        }
        Err(Refusal::invalid(format!(
            "{member} must have from 1 to {bytes_max} bytes."
        )))
    }

    fn context(&self) -> Result<Context, Refusal> {
        let pairs = match self.input.get("EncryptionContext") {
            None | Some(Value::Null) => return Ok(Context::new()),
            Some(Value::Object(pairs)) => pairs,
            Some(_) => return Err(wrong_type("EncryptionContext", "an object of strings")),
        };
        let pair = |(name, value): (&String, &Value)| {
            let value = value.as_str()?.to_owned();
            Some((name.clone(), value))
        };
        let context: Option<Context> = pairs.iter().map(pair).collect();
        let context =
            context.ok_or_else(|| wrong_type("EncryptionContext", "an object of strings"))?;
        let characters: usize = context
            .iter()
            .map(|(name, value)| name.chars().count() + value.chars().count())
            .sum();
        if characters > CONTEXT_CHARACTERS_MAX {
            return Err(Refusal::invalid(format!(
                "EncryptionContext must have at most {CONTEXT_CHARACTERS_MAX} characters."
            )));
        }
        Ok(context)
    }
}

fn wrong_type(member: &str, expected: &str) -> Refusal {
    Refusal::new(
        "SerializationException",
        format!("{member} must be {expected}."),
    )
}
