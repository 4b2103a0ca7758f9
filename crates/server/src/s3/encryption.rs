//! Encryption with a customer key: which key a request names, and what an answer says of it.
//!
//! `x-amz-server-side-encryption: aws:kms` with a key of the key service is honoured. There is no
//! default key and no key of S3's own, so a request has to name one; a key that the client hands over
//! and an encryption context of the client's are refused.

use super::errors::refused;
use s3s::dto::ServerSideEncryption;
use s3s::{S3ErrorCode, S3Result};

/// What the header says when a key of the key service encrypts.
pub(super) const KMS: &str = "aws:kms";

/// The members of an input that ask for encryption.
pub(super) struct Asked<'i> {
    pub(super) kind: Option<&'i ServerSideEncryption>,
    pub(super) key: Option<&'i str>,
    pub(super) context: bool,
    pub(super) bucket_key: bool,
    pub(super) of_client: bool,
}

impl Asked<'_> {
    /// The key that is to encrypt, if one is.
    pub(super) fn key(&self) -> S3Result<Option<String>> {
        let unsupported = |message: &str| Err(refused(S3ErrorCode::NotImplemented, message));
        if self.of_client {
            return unsupported(
                "Encryption with keys of the client is not supported by this server.",
            );
        }
        match self.kind.map(ServerSideEncryption::as_str) {
            None if self.key.is_some() || self.context || self.bucket_key => Err(refused(
                S3ErrorCode::InvalidArgument,
                "A key, a context or a bucket key need the header x-amz-server-side-encryption: aws:kms.",
            )),
            None => Ok(None),
            Some(KMS) if self.context => {
                unsupported("An encryption context of the client is not supported by this server.")
            }
            Some(KMS) if self.bucket_key => {
                unsupported("Bucket keys are not supported by this server.")
            }
            Some(KMS) => match self.key.filter(|key| !key.is_empty()) {
                Some(key) => Ok(Some(key.to_owned())),
                None => Err(refused(
                    S3ErrorCode::InvalidArgument,
                    "This server has no default key. Name one with x-amz-server-side-encryption-aws-kms-key-id.",
                )),
            },
            Some(other) => unsupported(&format!(
                "Server-side encryption {other} is not supported by this server; aws:kms is."
            )),
        }
    }
}

/// The key that an input names.
macro_rules! key_of {
    ($input:expr) => {
        $crate::s3::encryption::Asked {
            kind: $input.server_side_encryption.as_ref(),
            key: $input.ssekms_key_id.as_deref(),
            context: $input.ssekms_encryption_context.is_some(),
            bucket_key: $input.bucket_key_enabled == Some(true),
            of_client: $input.sse_customer_algorithm.is_some(),
        }
        .key()
    };
}
pub(super) use key_of;

/// Says in an output how the object is encrypted.
macro_rules! set_encryption {
    ($output:expr, $attributes:expr) => {
        if let Some(encryption) = &$attributes.encryption {
            let kms = $crate::s3::encryption::KMS;
            $output.server_side_encryption = Some(s3s::dto::ServerSideEncryption::from_static(kms));
            $output.ssekms_key_id = Some(encryption.key_arn.clone());
        }
    };
}
pub(super) use set_encryption;
